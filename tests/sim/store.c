/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include "base/bits.h"
#include "base/hash.h"
#include "base/must.h"
#include "tests/sim/disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

/* sim_store — the real store on a simulated disk, against an oracle of what was acknowledged.
 *
 *   sim_store [--crashes N | --seconds S] [--seed N] [--lives N] [--verbose]
 *
 * A life is one seed: a store that is opened (by one to three keepers), worked on with puts,
 * deletes, reads and housekeeping, and loses power at some disk call, often while it is being
 * opened or closed; then again, some ten times. After every start all keys are looked up:
 *
 *   I1  an acknowledged put is there, or (only where the disk itself lied) a typed error
 *   I2  bytes are those that were put
 *   I3  an acknowledged delete stays deleted
 *   I4  the store opens, or power was lost while it opened
 *   I5  opening again without work in between changes nothing
 *
 * An operation that had no answer, or an error, may have happened or not; what the next start shows
 * of it holds from then on. --seed replays one life alone. */

enum { KEYS = 112, OPS = 48, BYTES_MAX = 300 * 1024 };

enum known { KNOWN_ABSENT, KNOWN_PRESENT, KNOWN_EITHER };

struct slot {
    struct store_op op;
    bool out;
    uint32_t key;
    uint32_t epoch; /* of the key's oracle when it was begun */
};

struct life {
    uint64_t seed, random, now_ns;
    struct sim_disk *sim;
    struct disk disk;
    struct store *store;
    uint32_t keepers;
    enum known known[KEYS];
    uint32_t writes_out[KEYS]; /* puts and deletes under way */
    struct slot slots[OPS];
    struct sim_faults faults;
    bool verbose;
    uint64_t crashes, opens, puts, deletes, reads, corrupt;
};

static uint8_t *bodies[KEYS];
static uint32_t body_bytes[KEYS];
static struct key keys[KEYS];

static uint32_t pick(struct life *life, uint32_t below) {
    return (uint32_t)(sim_random(&life->random) % below);
}

static _Noreturn void fail(const struct life *life, uint32_t key, const char *what) {
    fprintf(stderr, "seed %" PRIu64 ": key %u: %s (crash %" PRIu64 ", opening %" PRIu64 ")\n",
            life->seed, key, what, life->crashes, life->opens);
    exit(1);
}

static void make_blocks(void) {
    uint64_t random = 42;
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t kind = (uint32_t)(sim_random(&random) % 10);
        uint32_t bytes = kind == 0   ? (uint32_t)(sim_random(&random) % BYTES_MAX)
                         : kind == 1 ? 0
                         : kind < 5  ? (uint32_t)(sim_random(&random) % 200)
                                     : (uint32_t)(sim_random(&random) % 12000);
        bodies[i] = malloc(bytes + 8);
        must(bodies[i] != NULL);
        for (uint32_t b = 0; b < bytes; b++) {
            bodies[i][b] = (uint8_t)sim_random(&random);
        }
        if (bytes >= 4) {
            memcpy(bodies[i], &i, 4);
        }
        body_bytes[i] = bytes;
        bool wide = i % 7 == 3;
        keys[i] = (struct key){.code = wide ? HASH_SHA2_512 : HASH_SHA2_256,
                               .digest_bytes = wide ? 64 : 32};
        must(hash_compute(keys[i].code, bodies[i], bytes, keys[i].digest, keys[i].digest_bytes) ==
             0);
    }
}

/* Two keys of one content (the empty blocks) are one key. */
static uint32_t canonical(uint32_t key) {
    for (uint32_t i = 0; i < key; i++) {
        if (key_equal(&keys[i], &keys[key])) {
            return i;
        }
    }
    return key;
}

/* --- operations ------------------------------------------------------------------------------- */

static void check_body(const struct life *life, const struct slot *slot) {
    const struct frame *frame = slot->op.frame;
    uint32_t key = slot->key;
    if (!frame || frame_bytes(frame) != body_bytes[key] ||
        memcmp(frame_body(frame), bodies[key], body_bytes[key]) != 0) {
        fail(life, key, "I2: other bytes than were put");
    }
}

static void learn_write(struct life *life, struct slot *slot) {
    uint32_t key = slot->key;
    int32_t result = slot->op.result;
    bool put = slot->op.kind == STORE_PUT;
    life->writes_out[key]--;
    if (put && result == 0) {
        life->puts++;
        life->known[key] = KNOWN_PRESENT;
    } else if (!put && (result == 0 || result == STORE_ABSENT)) {
        if (result == STORE_ABSENT && life->known[key] == KNOWN_PRESENT &&
            life->writes_out[key] == 0 && slot->epoch == 1) {
            fail(life, key, "I1: a delete did not find an acknowledged block");
        }
        life->deletes++;
        life->known[key] = KNOWN_ABSENT;
    } else {
        bool expected = result < 0 || result == STORE_FULL || result == STORE_READONLY;
        if (!expected) {
            fail(life, key, "an outcome that nothing explains");
        }
        /* A write that was refused for want of space or kept out never began: all others may have
         * reached the disk. */
        if (result != STORE_FULL) {
            life->known[key] = KNOWN_EITHER;
        }
    }
}

static void learn_read(struct life *life, struct slot *slot) {
    int32_t result = slot->op.result;
    bool quiet = slot->epoch == 1 && life->writes_out[slot->key] == 0;
    life->reads++;
    if (slot->op.kind == STORE_READ && result == 0) {
        check_body(life, slot);
        frame_give_back(slot->op.frame);
    }
    if (sim_disk_dead(life->sim) || !quiet) {
        return;
    }
    if (result == STORE_ABSENT && life->known[slot->key] == KNOWN_PRESENT) {
        fail(life, slot->key, "I1: an acknowledged block is said to be absent");
    }
    if (result == 0 && life->known[slot->key] == KNOWN_ABSENT) {
        fail(life, slot->key, "I3: a deleted block is back");
    }
    if (result == STORE_CORRUPT && life->faults.read_flip == 0) {
        fail(life, slot->key, "a sound block is said to be damaged");
    }
    life->corrupt += result == STORE_CORRUPT;
}

static void reap(struct life *life) {
    for (uint32_t k = 0; k < life->keepers; k++) {
        struct store_op *op;
        while ((op = keeper_done(store_keeper(life->store, k))) != NULL) {
            struct slot *slot = container_of(op, struct slot, op);
            must(slot->out);
            slot->out = false;
            bool write = op->kind == STORE_PUT || op->kind == STORE_DELETE;
            if (write) {
                learn_write(life, slot);
            } else {
                learn_read(life, slot);
            }
        }
    }
}

/* A read's answer says something of the oracle only if no write of its key overlapped it. */
static void begin(struct life *life, struct slot *slot, uint32_t key, enum store_op_kind kind) {
    bool write = kind == STORE_PUT || kind == STORE_DELETE;
    slot->op = (struct store_op){.kind = (uint8_t)kind,
                                 .key = keys[key],
                                 .data = bodies[key],
                                 .bytes = body_bytes[key],
                                 .codec = 0x55,
                                 .no_admit = pick(life, 8) == 0};
    slot->out = true;
    slot->key = key;
    slot->epoch = life->writes_out[key] == 0;
    if (write) {
        for (uint32_t i = 0; i < OPS; i++) {
            if (life->slots[i].out && life->slots[i].key == key && &life->slots[i] != slot) {
                life->slots[i].epoch = 0;
            }
        }
        life->writes_out[key]++;
    }
    uint32_t owner = store_keeper_of(life->store, &keys[key]);
    uint32_t where = write ? owner : pick(life, life->keepers);
    keeper_begin(store_keeper(life->store, where), &slot->op);
}

static uint32_t turn(struct life *life) {
    uint32_t work = 0;
    life->now_ns += pick(life, 400 * 1000);
    if (pick(life, 200) == 0) {
        life->now_ns += NS_PER_S;
    }
    for (uint32_t k = 0; k < life->keepers; k++) {
        work += keeper_poll(store_keeper(life->store, k), life->now_ns);
    }
    for (uint32_t i = pick(life, 6); i > 0; i--) {
        work += sim_disk_step(life->sim);
    }
    reap(life);
    return work;
}

static bool all_idle(const struct life *life) {
    for (uint32_t k = 0; k < life->keepers; k++) {
        if (!keeper_idle(store_keeper(life->store, k))) {
            return false;
        }
    }
    return true;
}

/* Until nothing is under way: on a dead disk everything ends in errors. */
static void drain(struct life *life) {
    for (uint32_t i = 0; !all_idle(life); i++) {
        (void)turn(life);
        if (i % 16 == 15) {
            (void)store_housekeep(life->store);
        }
        if (sim_disk_dead(life->sim) && i > 2000) {
            fail(life, 0, "operations that never end on a dead disk");
        }
        if (i > 200000) {
            fail(life, 0, "operations that never end");
        }
    }
}

/* --- starts and ends -------------------------------------------------------------------------- */

static bool open_store(struct life *life, struct store_report *report) {
    life->keepers = 1 + pick(life, 3);
    life->opens++;
    struct store_config config = {.dir = "/s",
                                  .keepers = life->keepers,
                                  .readers = 1,
                                  .segment_bytes = STORE_SEGMENT_BYTES_MIN,
                                  .memory_bytes = 200 * 1024 + pick(life, 1000) * UINT64_C(1024),
                                  .policy = pick(life, 2) ? STORE_POLICY_S3FIFO : STORE_POLICY_LRU,
                                  .create = true,
                                  .disk = life->disk};
    int r = store_open(&config, report, &life->store);
    if (r != 0) {
        life->store = NULL;
        bool excused = sim_disk_dead(life->sim) || r == -ENOSPC || life->faults.read_eio > 0 ||
                       life->faults.sync_eio > 0 || life->faults.open_eio > 0 ||
                       life->faults.write_eio > 0;
        if (!excused) {
            fprintf(stderr, "%d: %s\n", r, report->why);
            fail(life, 0, "I4: the store does not open");
        }
        return false;
    }
    if (life->verbose) {
        fprintf(stderr,
                "open %" PRIu64 ": %u keepers, clean %d, %" PRIu64 " blocks in %u"
                " segments, torn %" PRIu64 ", corrupt %" PRIu64 "\n",
                life->opens, life->keepers, report->clean, report->blocks, report->segments,
                report->torn_batches, report->corrupt_ranges);
    }
    if (report->corrupt_ranges != 0 && life->faults.read_eio == 0 && life->faults.read_flip == 0) {
        fail(life, 0, "damage reported where there is none");
    }
    return true;
}

static void power_off(struct life *life) {
    if (!sim_disk_dead(life->sim)) {
        sim_disk_crash(life->sim);
    }
    life->crashes++;
    if (life->store) {
        drain(life);
        int r = store_close(life->store);
        (void)r; /* the disk is dead */
        life->store = NULL;
    }
    sim_disk_restart(life->sim);
    for (uint32_t i = 0; i < KEYS; i++) {
        must(life->writes_out[i] == 0);
    }
}

/* Reads every key once, all alone. */
static void check_all(struct life *life) {
    struct slot *slot = &life->slots[0];
    for (uint32_t i = 0; i < KEYS; i++) {
        uint32_t key = canonical(i);
        if (key != i) {
            continue;
        }
        int32_t result = 0;
        for (uint32_t tries = 0; tries < 50; tries++) {
            begin(life, slot, key, STORE_READ);
            while (slot->out && !sim_disk_dead(life->sim)) {
                (void)turn(life);
            }
            result = slot->op.result;
            if (sim_disk_dead(life->sim) || result == 0 || result == STORE_ABSENT) {
                break; /* others are faults of the disk, by rate: try again */
            }
        }
        if (sim_disk_dead(life->sim)) {
            return;
        }
        if (result != 0 && result != STORE_ABSENT) {
            fail(life, key, "I1: cannot be read, try as one may");
        }
        life->known[key] = result == 0 ? KNOWN_PRESENT : KNOWN_ABSENT;
    }
}

static void work(struct life *life, uint32_t turns) {
    for (uint32_t i = 0; i < turns && !sim_disk_dead(life->sim); i++) {
        for (uint32_t n = pick(life, 4); n > 0; n--) {
            struct slot *slot = &life->slots[pick(life, OPS)];
            uint32_t key = canonical(pick(life, KEYS));
            uint32_t what = pick(life, 10);
            if (!slot->out) {
                begin(life, slot, key,
                      what < 5   ? STORE_PUT
                      : what < 7 ? STORE_DELETE
                      : what < 9 ? STORE_READ
                                 : STORE_VERIFY);
            }
        }
        (void)turn(life);
        if (pick(life, 12) == 0) {
            (void)store_housekeep(life->store);
        }
        if (pick(life, 6) == 0) {
            (void)store_maintain(life->store, life->now_ns);
        }
    }
}

/* A digest of all that is listed: order and content. */
static uint64_t listing(struct life *life) {
    struct store_item items[64];
    uint64_t cursor = 0, sum = 0, count = 0;
    while (cursor != UINT64_MAX) {
        uint32_t n = 0;
        must(store_page(life->store, &cursor, items, 64, &n) == 0);
        for (uint32_t i = 0; i < n; i++) {
            uint64_t x = items[i].birth_lsn ^ (uint64_t)items[i].bytes << 40;
            for (uint32_t b = 0; b < 8; b++) {
                x ^= (uint64_t)items[i].key.digest[b] << (8 * b);
            }
            sum += sim_random(&x);
            count++;
        }
    }
    return sum ^ count;
}

/* I5: power lost right after a start, and again: the second start shows what the first did. */
static void check_again(struct life *life) {
    struct store_report report;
    uint64_t before = listing(life);
    power_off(life);
    if (!open_store(life, &report)) {
        return;
    }
    if (listing(life) != before) {
        fail(life, 0, "I5: a second recovery shows something else");
    }
}

static void choose_faults(struct life *life) {
    life->faults = (struct sim_faults){0};
    switch (pick(life, 6)) {
    case 0:
        life->faults.write_eio = pick(life, 1500);
        break;
    case 1:
        life->faults.write_short = pick(life, 1500);
        break;
    case 2:
        life->faults.read_eio = pick(life, 600);
        break;
    case 3:
        life->faults.sync_eio = pick(life, 4000);
        break;
    case 4:
        life->faults.space = (10 + pick(life, 40)) * MiB;
        life->faults.space_hidden = pick(life, 2);
        break;
    default:
        break;
    }
}

static void crash_round(struct life *life) {
    struct store_report report;
    /* Some starts are themselves cut short, several in a row. */
    for (uint32_t i = 0; i < 3 && pick(life, 2) == 0; i++) {
        sim_disk_crash_after(life->sim, 1 + pick(life, 60));
        if (!open_store(life, &report)) {
            if (sim_disk_dead(life->sim)) {
                power_off(life);
            }
            continue;
        }
        power_off(life);
    }
    sim_disk_faults(life->sim, &(struct sim_faults){0});
    sim_disk_crash_after(life->sim, 0);
    struct sim_faults faults = life->faults;
    life->faults = (struct sim_faults){.space = faults.space, .space_hidden = faults.space_hidden};
    sim_disk_faults(life->sim, &life->faults);
    if (!open_store(life, &report)) {
        return; /* no space: nothing else can be wrong now */
    }
    check_all(life);
    if (pick(life, 4) == 0) {
        check_again(life);
    }
    life->faults = faults;
    sim_disk_faults(life->sim, &faults);
    if (life->store) {
        sim_disk_crash_after(life->sim, pick(life, 3) ? 1 + pick(life, 500) : 0);
        work(life, 30 + pick(life, 170));
        if (!sim_disk_dead(life->sim) && pick(life, 4) == 0) {
            drain(life);
            if (!sim_disk_dead(life->sim)) {
                sim_disk_crash_after(life->sim, pick(life, 2) ? 1 + pick(life, 40) : 0);
                int r = store_close(life->store);
                (void)r; /* faults may keep it from closing clean */
                life->store = NULL;
                if (!sim_disk_dead(life->sim)) {
                    return;
                }
            }
        }
    }
    power_off(life);
    choose_faults(life);
}

static void live(uint64_t seed, bool verbose, struct life *totals) {
    struct life *life = calloc(1, sizeof *life);
    must(life != NULL);
    life->seed = seed;
    life->random = seed * 77 + 5;
    life->verbose = verbose;
    life->now_ns = NS_PER_S;
    life->sim = sim_disk_open(seed, &life->disk);
    choose_faults(life);
    for (uint32_t i = 0; i < 24; i++) {
        crash_round(life);
    }
    if (life->store) {
        power_off(life);
    }
    totals->crashes += life->crashes;
    totals->opens += life->opens;
    totals->puts += life->puts;
    totals->deletes += life->deletes;
    totals->reads += life->reads;
    sim_disk_close(life->sim);
    free(life);
}

struct options {
    uint64_t crashes; /* go on until so many; fewer is a failure */
    uint64_t seconds; /* and no longer than this */
    uint64_t seed, lives;
    bool verbose;
};

static bool options_take(struct options *options, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--seconds") == 0 && more) {
            options->seconds = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--crashes") == 0 && more) {
            options->crashes = strtoull(argv[++i], NULL, 10);
            options->seconds = UINT32_MAX;
        } else if (strcmp(argv[i], "--seed") == 0 && more) {
            options->seed = strtoull(argv[++i], NULL, 10);
            options->lives = 1;
        } else if (strcmp(argv[i], "--lives") == 0 && more) {
            options->lives = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--verbose") == 0) {
            options->verbose = true;
        } else {
            fprintf(stderr, "usage: sim_store [--crashes N | --seconds S] [--seed N] [--lives N]"
                            " [--verbose]\n");
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv) {
    struct options options = {.seconds = 20, .lives = UINT64_MAX};
    if (!options_take(&options, argc, argv)) {
        return 2;
    }
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* zeroing 2 MiB for a table of 4 KiB is slow */
    must(hash_open() == 0);
    make_blocks();
    struct life totals = {0};
    time_t began = time(NULL);
    uint64_t done = 0;
    while (done < options.lives) {
        bool over = (uint64_t)(time(NULL) - began) >= options.seconds ||
                    (options.crashes != 0 && totals.crashes >= options.crashes);
        if (options.lives == UINT64_MAX && over) {
            break;
        }
        live(options.seed + done++, options.verbose, &totals);
    }
    printf("%" PRIu64 " lives from seed %" PRIu64 " in %" PRIu64 " s: %" PRIu64
           " power losses, %" PRIu64 " starts, %" PRIu64 " puts, %" PRIu64 " deletes, %" PRIu64
           " reads\n",
           done, options.seed, (uint64_t)(time(NULL) - began), totals.crashes, totals.opens,
           totals.puts, totals.deletes, totals.reads);
    if (totals.crashes < options.crashes) {
        fprintf(stderr, "%" PRIu64 " power losses are fewer than %" PRIu64 "\n", totals.crashes,
                options.crashes);
        return 1;
    }
    return 0;
}
