/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include "base/hash.h"
#include "tests/stress/kit.h"

#include <ftw.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

/* A whole store on a real directory: two keepers on their threads, two readers that look up and
 * hold leases, and the helper that makes spares, zeroes ahead and seals behind.
 *
 *   stress_store [seed] [seconds]
 *
 * Each keeper puts and deletes keys of its own shards and reads keys of all; a block that is read,
 * by whom and from where ever, has its key's bytes. Memory is small, so frames come and go. */

enum { KEEPERS = 2, READERS = 2, KEYS = 600, OPS = 24, BODY_MAX = 9000 };

static struct stress stress;
static struct store *store;
static struct disk_sync *disks[KEEPERS];
static uint8_t bodies[KEYS][BODY_MAX];
static uint32_t body_bytes[KEYS];
static struct key keys[KEYS];
static char dir[] = "/tmp/millrace-stress-XXXXXX";
static _Atomic bool over;

struct worker {
    uint32_t index;
    uint64_t random;
    uint64_t puts, deletes, reads, hits;
    struct store_op ops[OPS];
    uint32_t key_of[OPS];
    bool out[OPS];
};

static void check(const struct frame *frame, uint32_t key) {
    stress_check(&stress,
                 frame_bytes(frame) == body_bytes[key] &&
                     memcmp(frame_body(frame), bodies[key], body_bytes[key]) == 0,
                 "key %u: other bytes", key);
}

static void make_keys(void) {
    uint64_t random = stress_seed(stress.seed, 1000);
    for (uint32_t i = 0; i < KEYS; i++) {
        body_bytes[i] = 1 + (uint32_t)(stress_random(&random) % BODY_MAX);
        for (uint32_t b = 0; b < body_bytes[i]; b++) {
            bodies[i][b] = (uint8_t)stress_random(&random);
        }
        keys[i] = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
        stress_check(&stress,
                     hash_compute(HASH_SHA2_256, bodies[i], body_bytes[i], keys[i].digest, 32) == 0,
                     "no hash");
    }
}

static void begin(struct worker *worker, uint32_t slot) {
    uint64_t random = stress_random(&worker->random);
    uint32_t key = (uint32_t)(random % KEYS);
    bool ours = store_keeper_of(store, &keys[key]) == worker->index;
    uint32_t what = (uint32_t)(random >> 32) % 10;
    uint8_t kind = !ours || what < 6 ? STORE_READ : what < 9 ? STORE_PUT : STORE_DELETE;
    worker->ops[slot] = (struct store_op){.kind = kind,
                                          .key = keys[key],
                                          .data = bodies[key],
                                          .bytes = body_bytes[key],
                                          .codec = 0x55};
    worker->key_of[slot] = key;
    worker->out[slot] = true;
    keeper_begin(store_keeper(store, worker->index), &worker->ops[slot]);
}

static void finish(struct worker *worker, struct store_op *op) {
    uint32_t slot = (uint32_t)(op - worker->ops);
    worker->out[slot] = false;
    bool expected = op->result == 0 || op->result == STORE_ABSENT || op->result == STORE_RETRY ||
                    op->result == STORE_FULL;
    stress_check(&stress, expected, "kind %u ended with %d", op->kind, op->result);
    worker->puts += op->kind == STORE_PUT;
    worker->deletes += op->kind == STORE_DELETE;
    worker->reads += op->kind == STORE_READ;
    if (op->frame) {
        check(op->frame, worker->key_of[slot]);
        frame_give_back(op->frame);
    }
}

static void *worker_run(void *argument) {
    struct worker *worker = argument;
    struct keeper *keeper = store_keeper(store, worker->index);
    while (!atomic_load(&over) || !keeper_idle(keeper)) {
        for (uint32_t slot = 0; slot < OPS && !atomic_load(&over); slot++) {
            if (!worker->out[slot]) {
                begin(worker, slot);
            }
        }
        (void)keeper_poll(keeper, clock_ns());
        (void)disk_sync_poll(disks[worker->index]);
        struct store_op *op;
        while ((op = keeper_done(keeper)) != NULL) {
            finish(worker, op);
        }
    }
    return NULL;
}

static void *reader_run(void *argument) {
    struct worker *reader = argument;
    while (!atomic_load(&over)) {
        struct find finds[20];
        uint32_t at[20];
        for (uint32_t i = 0; i < 20; i++) {
            at[i] = (uint32_t)(stress_random(&reader->random) % KEYS);
            finds[i] = (struct find){.key = &keys[at[i]]};
        }
        store_turn(store, reader->index);
        store_find(store, reader->index, finds, 20);
        for (uint32_t i = 0; i < 20; i++) {
            if (finds[i].state == FIND_FRAME) {
                check(finds[i].frame, at[i]);
                frame_give_back(finds[i].frame);
                reader->hits++;
            }
        }
        if (stress_random(&reader->random) % 64 == 0) {
            store_park(store, reader->index);
        }
    }
    store_park(store, reader->index);
    return NULL;
}

static void *helper_run(void *argument) {
    (void)argument;
    struct store_item items[64];
    uint64_t cursor = 0;
    while (!atomic_load(&over)) {
        (void)store_housekeep(store);
        uint32_t count = 0;
        stress_check(&stress, store_page(store, &cursor, items, 64, &count) == 0, "no page");
        cursor = cursor == UINT64_MAX ? 0 : cursor;
    }
    return NULL;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status;
    (void)kind;
    (void)walk;
    return remove(path);
}

static void open_store(void) {
    struct disk submit[KEEPERS];
    for (uint32_t k = 0; k < KEEPERS; k++) {
        stress_check(&stress, disk_sync_open(&disks[k], &submit[k]) == 0, "no memory");
    }
    static struct disk kept[KEEPERS];
    memcpy(kept, submit, sizeof kept);
    struct store_config config = {.dir = dir,
                                  .keepers = KEEPERS,
                                  .readers = READERS,
                                  .segment_bytes = STORE_SEGMENT_BYTES_MIN,
                                  .memory_bytes = 2 * MiB,
                                  .quota_bytes = 400 * MiB,
                                  .create = true,
                                  .disk = {&disk_sync_calls, NULL},
                                  .keeper_disks = kept};
    struct store_report report;
    int r = store_open(&config, &report, &store);
    stress_check(&stress, r == 0, "%s", report.why);
}

int main(int argc, char **argv) {
    stress = stress_args(argc, argv);
    stress_check(&stress, mkdtemp(dir) != NULL && hash_open() == 0, "no directory");
    make_keys();
    open_store();
    static struct worker workers[KEEPERS], readers[READERS];
    pthread_t threads[KEEPERS + READERS + 1];
    for (uint32_t i = 0; i < KEEPERS; i++) {
        workers[i] = (struct worker){.index = i, .random = stress_seed(stress.seed, i)};
        threads[i] = stress_thread(worker_run, &workers[i]);
        readers[i] = (struct worker){.index = i, .random = stress_seed(stress.seed, 50 + i)};
        threads[KEEPERS + i] = stress_thread(reader_run, &readers[i]);
    }
    pthread_t helper = stress_thread(helper_run, NULL);
    while (!stress_over(&stress)) {
        struct timespec pause = {.tv_nsec = 20 * (long)NS_PER_MS};
        nanosleep(&pause, NULL);
    }
    atomic_store(&over, true);
    struct worker sum = {0};
    pthread_join(helper, NULL);
    for (uint32_t i = 0; i < KEEPERS; i++) {
        pthread_join(threads[i], NULL);
        pthread_join(threads[KEEPERS + i], NULL);
        sum.puts += workers[i].puts;
        sum.deletes += workers[i].deletes;
        sum.reads += workers[i].reads;
        sum.hits += readers[i].hits;
    }
    stress_check(&stress, store_close(store) == 0, "did not close");
    for (uint32_t k = 0; k < KEEPERS; k++) {
        disk_sync_close(disks[k]);
    }
    (void)nftw(dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    printf("%" PRIu64 " puts, %" PRIu64 " deletes, %" PRIu64 " reads, %" PRIu64 " leases found\n",
           sum.puts, sum.deletes, sum.reads, sum.hits);
    return 0;
}
