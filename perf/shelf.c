/* SPDX-License-Identifier: MIT */
#include "perf/shelf.h"

#include "base/clock.h"
#include "base/hash.h"
#include "perf/kit.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPS 1024u /* puts or reads in flight */

struct shelf {
    struct shelf_config config;
    char dir[512];
    struct disk_sync *sync;
    struct disk disk;
    struct store *store;
    struct key *keys;
    struct store_op ops[OPS];
    uint8_t *bodies; /* OPS x bytes */
    uint32_t free_ops[OPS];
    uint32_t free_count;
    pthread_t helper, porter;
    _Atomic uint32_t stop;
    _Atomic uint64_t maintained;
    double fill_seconds;
};

static void *help(void *argument) {
    struct shelf *shelf = argument;
    while (!atomic_load_explicit(&shelf->stop, memory_order_relaxed)) { /* late is harmless */
        if (store_housekeep(shelf->store) == 0) {
            struct timespec pause = {.tv_nsec = (long)NS_PER_MS};
            nanosleep(&pause, NULL);
        }
    }
    return NULL;
}

static void *maintain(void *argument) {
    struct shelf *shelf = argument;
    while (!atomic_load_explicit(&shelf->stop, memory_order_relaxed)) { /* late is harmless */
        if (store_maintain(shelf->store, clock_ns()) == 0) {
            struct timespec pause = {.tv_nsec = (long)NS_PER_MS};
            nanosleep(&pause, NULL);
        } else {
            atomic_fetch_add_explicit(&shelf->maintained, 1, memory_order_relaxed);
        }
    }
    return NULL;
}

/* One step of keeper and disk. Returns: operations that came back. */
static uint32_t turn(struct shelf *shelf) {
    struct keeper *keeper = store_keeper(shelf->store, 0);
    store_turn(shelf->store, 0);
    (void)disk_sync_poll(shelf->sync);
    (void)keeper_poll(keeper, clock_ns());
    uint32_t back = 0;
    struct store_op *op;
    while ((op = keeper_done(keeper)) != NULL) {
        if (op->result != 0) {
            fprintf(stderr, "operation %u on block ended with %d\n", op->kind, op->result);
            exit(1);
        }
        if (op->kind == STORE_READ) {
            frame_give_back(op->frame);
        }
        shelf->free_ops[shelf->free_count++] = (uint32_t)(op - shelf->ops);
        back++;
    }
    return back;
}

static struct store_op *op_take(struct shelf *shelf) {
    while (shelf->free_count == 0) {
        (void)turn(shelf);
    }
    return &shelf->ops[shelf->free_ops[--shelf->free_count]];
}

static void drain(struct shelf *shelf) {
    while (shelf->free_count < OPS || !keeper_idle(store_keeper(shelf->store, 0))) {
        (void)turn(shelf);
    }
}

static void put(struct shelf *shelf, uint64_t index, uint64_t number) {
    const struct shelf_config *config = &shelf->config;
    struct store_op *op = op_take(shelf);
    uint8_t *body = shelf->bodies + (size_t)(op - shelf->ops) * config->bytes;
    memset(body, (int)number, config->bytes);
    memcpy(body, &number, sizeof number);
    struct key *key = &shelf->keys[index];
    *key = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
    if (hash_compute(HASH_SHA2_256, body, config->bytes, key->digest, 32) != 0) {
        kit_fail("sha2-256");
    }
    *op = (struct store_op){
        .kind = STORE_PUT, .key = *key, .data = body, .bytes = config->bytes, .codec = 0x55};
    keeper_begin(store_keeper(shelf->store, 0), op);
    if ((number & 255) == 255) {
        (void)turn(shelf);
    }
}

static void fill(struct shelf *shelf) {
    uint64_t start = clock_ns();
    for (uint64_t i = 0; i < shelf->config.blocks; i++) {
        put(shelf, i, i);
    }
    drain(shelf);
    shelf->fill_seconds = (double)(clock_ns() - start) / 1e9;
}

void shelf_replace(struct shelf *shelf, uint64_t index, uint64_t number) {
    struct store_op *op = op_take(shelf);
    *op = (struct store_op){.kind = STORE_DELETE, .key = shelf->keys[index]};
    keeper_begin(store_keeper(shelf->store, 0), op);
    put(shelf, index, number);
}

void shelf_drain(struct shelf *shelf) {
    (void)turn(shelf); /* also where nothing is out: notes of the porter want answers */
    drain(shelf);
}

uint64_t shelf_maintained(const struct shelf *shelf) {
    return atomic_load_explicit(&shelf->maintained, memory_order_relaxed);
}

static void make_dir(struct shelf *shelf) {
    const char *parent = shelf->config.dir ? shelf->config.dir : getenv("TMPDIR");
    parent = !parent && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : parent;
    snprintf(shelf->dir, sizeof shelf->dir, "%s/millrace-perf-XXXXXX",
             parent ? parent : "/var/tmp");
    if (!mkdtemp(shelf->dir)) {
        kit_fail(shelf->dir);
    }
}

struct shelf *shelf_open(const struct shelf_config *config) {
    struct shelf *shelf = kit_map(sizeof *shelf);
    shelf->config = *config;
    shelf->keys = kit_map(config->blocks * sizeof(struct key));
    shelf->bodies = kit_map((size_t)OPS * config->bytes);
    for (uint32_t i = 0; i < OPS; i++) {
        shelf->free_ops[shelf->free_count++] = i;
    }
    make_dir(shelf);
    if (hash_open() != 0 || disk_sync_open(&shelf->sync, &shelf->disk) != 0) {
        kit_fail("hash or disk");
    }
    struct store_config store = {.dir = shelf->dir,
                                 .keepers = 1,
                                 .readers = 1,
                                 .segment_bytes = config->segment_bytes,
                                 .memory_bytes = config->memory_bytes,
                                 .create = true,
                                 .disk = shelf->disk};
    struct store_report report = {0};
    int r = store_open(&store, &report, &shelf->store);
    if (r != 0) {
        fprintf(stderr, "store in %s: %s (%d)\n", shelf->dir, report.why, r);
        exit(1);
    }
    if (pthread_create(&shelf->helper, NULL, help, shelf) != 0) {
        kit_fail("thread");
    }
    if (config->porter && pthread_create(&shelf->porter, NULL, maintain, shelf) != 0) {
        kit_fail("thread");
    }
    fill(shelf);
    return shelf;
}

struct store *shelf_store(struct shelf *shelf) {
    return shelf->store;
}

const struct key *shelf_keys(const struct shelf *shelf) {
    return shelf->keys;
}

const char *shelf_dir(const struct shelf *shelf) {
    return shelf->dir;
}

double shelf_fill_seconds(const struct shelf *shelf) {
    return shelf->fill_seconds;
}

uint64_t shelf_warm(struct shelf *shelf) {
    for (uint64_t i = 0; i < shelf->config.blocks; i++) {
        struct find find = {.key = &shelf->keys[i]};
        store_find(shelf->store, 0, &find, 1);
        if (find.state == FIND_FRAME) {
            frame_give_back(find.frame);
        } else if (find.state == FIND_DISK) {
            struct store_op *op = op_take(shelf);
            *op = (struct store_op){.kind = STORE_READ, .key = shelf->keys[i]};
            keeper_begin(store_keeper(shelf->store, 0), op);
        }
        if ((i & 63) == 63) {
            (void)turn(shelf);
        }
    }
    drain(shelf);
    uint64_t frames = 0;
    for (uint64_t i = 0; i < shelf->config.blocks; i++) {
        struct find find = {.key = &shelf->keys[i]};
        store_find(shelf->store, 0, &find, 1);
        if (find.state == FIND_FRAME) {
            frame_give_back(find.frame);
            frames++;
        }
    }
    return frames;
}

static int remove_one(const char *path, const struct stat *stat, int kind, struct FTW *walk) {
    (void)stat;
    (void)kind;
    (void)walk;
    return remove(path);
}

void shelf_close(struct shelf *shelf) {
    drain(shelf);
    atomic_store(&shelf->stop, 1);
    pthread_join(shelf->helper, NULL);
    if (shelf->config.porter) {
        pthread_join(shelf->porter, NULL);
    }
    if (store_close(shelf->store) != 0) {
        fprintf(stderr, "the store in %s did not close clean\n", shelf->dir);
    }
    disk_sync_close(shelf->sync);
    if (!shelf->config.keep) {
        (void)nftw(shelf->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    }
}
