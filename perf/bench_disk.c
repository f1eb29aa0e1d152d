/* SPDX-License-Identifier: MIT */

/* bench_disk — one keeper on one core over io_uring, as the daemon runs it, without a network: G11
 * and G15.
 *
 *   --what put    new blocks, each verified to its multihash, acknowledged when durable
 *   --what null   the same where every write of a log is done at once: what a put costs the core
 *   --what read   blocks of a store without memory to speak of, at random: disk, checked, let go
 *
 * Keys are hashed before the clock starts. --dir says which file system; fio beside it must use the
 * same. */

#include "base/clock.h"
#include "base/hash.h"
#include "engine/io.h"
#include "perf/kit.h"
#include "store/store.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX   256u
#define NULL_BLOCKS (240 * MiB) /* bytes: what one segment holds, so that none is sealed */
#define EVENTS      64u

enum what { WHAT_PUT, WHAT_NULL, WHAT_READ };

static uint64_t what, bytes = 256 * KiB, blocks = 2048, depth = 32, seconds = 3, seed = 1, quick;

struct bed {
    struct io io;
    char dir[512];
    struct disk disk, ring_disk;
    struct disk_sync *sync;
    struct store *store;
    struct key *keys;
    struct store_op ops[DEPTH_MAX];
    struct store_op *idle[DEPTH_MAX];
    uint32_t idle_count;
    uint8_t *bodies; /* one an operation */
    struct disk_op *null_head, **null_tail;
    pthread_t helper;
    bool reading;
    _Atomic bool stop;
};

static struct bed bed;

/* ---- disks ------------------------------------------------------------------------------------
 */

static void submit_to_ring(void *backend, struct disk_op *op) {
    io_disk(backend, op);
}

/* Reads cannot be asked for: nothing is there. */
static void submit_to_nobody(void *backend, struct disk_op *op) {
    (void)backend;
    op->result = (int32_t)op->bytes;
    op->next = NULL;
    *bed.null_tail = op;
    bed.null_tail = &op->next;
}

static void finish_null(void) {
    while (bed.null_head != NULL) {
        struct disk_op *op = bed.null_head;
        bed.null_head = op->next;
        bed.null_tail = bed.null_head ? bed.null_tail : &bed.null_head;
        op->done(op);
    }
}

static void *help(void *argument) {
    (void)argument;
    while (!atomic_load_explicit(&bed.stop, memory_order_relaxed)) { /* late is harmless */
        if (store_housekeep(bed.store) == 0) {
            struct timespec pause = {.tv_nsec = (long)NS_PER_MS};
            nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

static void open_bed(const char *parent) {
    static struct disk_calls calls;
    calls = disk_sync_calls;
    calls.submit = what == WHAT_NULL ? submit_to_nobody : submit_to_ring;
    if (what == WHAT_NULL) {
        calls.allocate = calls.truncate;
    }
    bed.null_tail = &bed.null_head;
    snprintf(bed.dir, sizeof bed.dir, "%s/millrace-disk-XXXXXX", parent);
    if (!mkdtemp(bed.dir)) {
        kit_fail(bed.dir);
    }
    if (hash_open() != 0 || io_open(&bed.io, 1024) != 0 || io_start(&bed.io) != 0) {
        kit_skip("no io_uring here: millrace doctor says why");
    }
    bed.ring_disk = (struct disk){&calls, &bed.io};
    bed.disk = (struct disk){&calls, &bed.io};
    struct store_config config = {.dir = bed.dir,
                                  .keepers = 1,
                                  .readers = 1,
                                  .segment_bytes = quick ? STORE_SEGMENT_BYTES_MIN : 0,
                                  .memory_bytes = MiB,
                                  .create = true,
                                  .disk = bed.disk,
                                  .keeper_disks = &bed.ring_disk};
    static struct store_report report;
    if (store_open(&config, &report, &bed.store) != 0) {
        kit_fail(report.why);
    }
    if (what != WHAT_NULL && pthread_create(&bed.helper, NULL, help, NULL) != 0) {
        kit_fail("thread");
    }
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk) {
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

/* ---- operations -------------------------------------------------------------------------------
 */

static void turn(bool wait) {
    struct io_event events[EVENTS];
    struct keeper *keeper = store_keeper(bed.store, 0);
    store_turn(bed.store, 0);
    (void)keeper_poll(keeper, clock_ns());
    if (what == WHAT_NULL) {
        finish_null();
    } else {
        /* A batch that is due by time must not be slept over; where none is, no timer is set, as in
         * the daemon. */
        if (io_enter(&bed.io, wait, bed.reading ? 0 : 200 * NS_PER_US) != 0) {
            kit_fail("the ring broke");
        }
        (void)io_reap(&bed.io, events, EVENTS);
    }
    struct store_op *op;
    while ((op = keeper_done(keeper)) != NULL) {
        if (op->result != 0) {
            fprintf(stderr, "operation %u ended with %d\n", op->kind, op->result);
            exit(1);
        }
        if (op->kind == STORE_READ) {
            frame_give_back(op->frame);
        }
        bed.idle[bed.idle_count++] = op;
    }
}

static struct store_op *take_op(void) {
    while (bed.idle_count == 0) {
        turn(true);
    }
    return bed.idle[--bed.idle_count];
}

static void drain(void) {
    while (bed.idle_count < depth || !keeper_idle(store_keeper(bed.store, 0))) {
        turn(true);
    }
}

static void set_number(uint8_t *body, uint64_t number) {
    memcpy(body, &number, sizeof number);
}

static void make_keys(void) {
    struct kit_random random = {.state = seed};
    bed.keys = kit_map(blocks * sizeof *bed.keys);
    bed.bodies = kit_map(depth * bytes);
    for (uint64_t i = 0; i < bytes / 8; i++) {
        uint64_t word = kit_random(&random);
        memcpy(bed.bodies + i * 8, &word, 8);
    }
    for (uint64_t i = 1; i < depth; i++) {
        memcpy(bed.bodies + i * bytes, bed.bodies, bytes);
    }
    for (uint64_t i = 0; i < blocks; i++) {
        set_number(bed.bodies, i);
        bed.keys[i] = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
        if (hash_compute(HASH_SHA2_256, bed.bodies, bytes, bed.keys[i].digest, 32) != 0) {
            kit_fail("sha2-256");
        }
    }
    for (uint64_t i = 0; i < depth; i++) {
        bed.idle[bed.idle_count++] = &bed.ops[i];
    }
}

static struct store_op *make_put(uint64_t number) {
    struct store_op *op = take_op();
    uint8_t *body = bed.bodies + (size_t)(op - bed.ops) * bytes;
    set_number(body, number);
    *op = (struct store_op){.kind = STORE_PUT,
                            .key = bed.keys[number],
                            .data = body,
                            .bytes = (uint32_t)bytes,
                            .codec = 0x55};
    return op;
}

/* As a work tile does it: two that are there are looked at together (engine/work.c). */
static uint64_t put_some(uint64_t number) {
    struct store_op *ops[2] = {make_put(number), NULL};
    if (number + 1 < blocks && bed.idle_count > 0) {
        ops[1] = make_put(number + 1);
        struct hash_claim a = {ops[0]->data, bytes, HASH_SHA2_256, ops[0]->key.digest, 32};
        struct hash_claim b = {ops[1]->data, bytes, HASH_SHA2_256, ops[1]->key.digest, 32};
        uint32_t proven = hash_prove_two(&a, &b);
        ops[0]->hashed = (proven & 1) != 0;
        ops[1]->hashed = (proven & 2) != 0;
    }
    for (uint32_t i = 0; i < 2 && ops[i]; i++) {
        keeper_begin(store_keeper(bed.store, 0), ops[i]);
    }
    turn(false);
    return ops[1] ? 2 : 1;
}

static void put_all(void) {
    for (uint64_t number = 0; number < blocks;) {
        number += put_some(number);
    }
    drain();
}

/* Returns: reads done in the time given. */
static uint64_t read_some(uint64_t until_ns) {
    struct kit_random random = {.state = seed + 1};
    uint64_t done = 0;
    bed.reading = true;
    while (kit_ns() < until_ns) {
        for (uint32_t i = 0; i < depth; i++, done++) {
            struct store_op *op = take_op();
            *op = (struct store_op){
                .kind = STORE_READ, .no_admit = true, .key = bed.keys[kit_below(&random, blocks)]};
            keeper_begin(store_keeper(bed.store, 0), op);
        }
        turn(false);
    }
    drain();
    return done;
}

static uint64_t thread_cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void report(uint64_t count, uint64_t wall_ns, uint64_t cpu_ns) {
    const struct store_counters *counters = keeper_counters(store_keeper(bed.store, 0));
    double total = (double)count * (double)bytes;
    kit_begin("bench_disk");
    kit_number("count", (double)count, "operations");
    kit_number("bytes", (double)bytes, "bytes of a block");
    kit_number("rate", (double)count * 1e9 / (double)wall_ns, "a second");
    kit_number("bytes_per_second", total * 1e9 / (double)wall_ns, "bytes/s");
    kit_number("cpu_ns_per_byte", (double)cpu_ns / total, "ns, of the core");
    kit_number("write_bytes", (double)counter_get(&counters->write_bytes), "bytes written");
    kit_number("read_bytes", (double)counter_get(&counters->read_bytes), "bytes read");
    kit_number("batches", (double)counter_get(&counters->batches), "group commits");
    kit_end();
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--what", &what, "0 put, 1 put on a disk that is none, 2 read"},
        {"--size", &bytes, "bytes of a block, from 8"},
        {"--blocks", &blocks, "blocks that are put"},
        {"--depth", &depth, "operations in flight, 1..256"},
        {"--seconds", &seconds, "how long is read"},
        {"--seed", &seed, "of content and draws"},
        {"--quick", &quick, "small and short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    blocks = quick ? 64 : blocks;
    bytes = quick && bytes > 16 * KiB ? 16 * KiB : bytes;
    if (what == WHAT_NULL && blocks * (bytes + 4096) > (quick ? 3 * MiB : NULL_BLOCKS)) {
        blocks = (quick ? 3 * MiB : NULL_BLOCKS) / (bytes + 4096);
    }
    if (what > WHAT_READ || bytes < 8 || bytes > STORE_BLOCK_MAX || depth < 1 ||
        depth > DEPTH_MAX || blocks < 1) {
        kit_skip("--what 0..2, --size 8..2 MiB, --depth 1..256");
    }
    const char *parent = getenv("TMPDIR");
    open_bed(what == WHAT_NULL ? "/dev/shm" : parent ? parent : "/var/tmp");
    kit_pin(0); /* this thread alone: the helper goes where there is room, as in the daemon */
    make_keys();
    uint64_t start = kit_ns(), cpu = thread_cpu_ns(), count = blocks;
    put_all();
    if (what == WHAT_READ) {
        start = kit_ns();
        cpu = thread_cpu_ns();
        count = read_some(start + (quick ? 100 * NS_PER_MS : seconds * NS_PER_S));
    }
    report(count, kit_ns() - start, thread_cpu_ns() - cpu);
    if (what != WHAT_NULL) {
        atomic_store(&bed.stop, true);
        pthread_join(bed.helper, NULL);
        if (store_close(bed.store) != 0) {
            kit_fail("the store did not close");
        }
    } /* what was never written cannot be sealed: that store is only removed */
    (void)nftw(bed.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}
