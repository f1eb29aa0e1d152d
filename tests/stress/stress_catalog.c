/* SPDX-License-Identifier: MIT */
#include "store/catalog.h"

#include "store/table.h"
#include "tests/stress/kit.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

/* Readers against a writer that inserts, moves, grows, splits, changes and removes.
 *
 *   stress_catalog [seed] [seconds] [lookups]     lookups: go on until so many were done
 *
 * Keys 1 .. stable are in the catalog for good once the writer has said so; every lookup of one
 * must find its place, whatever is being moved. Keys above come and go; those of another kind were
 * never in it. A false miss, a false hit or a wrong place ends the program. Rounds begin with an
 * empty catalog, so that growth from the smallest table on is seen again and again. */

enum { READERS = 3, GROUP = 32, ROUND_KEYS = 300000, CHURN = 2000, CHURN_TURNS = 200000 };

static struct stress stress;
static uint64_t lookups_wanted;
static struct turn_reader readers[READERS];
static struct turns turns = {.readers_max = READERS, .readers = readers};
static struct catalog catalog;
static struct catalog_arena arenas[1];
static _Atomic uint64_t stable;
static _Atomic bool round_over;
static uint64_t salt;

static uint64_t hash_of(uint64_t key) {
    uint64_t x = (key + salt) * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return x ? x : 1;
}

/* A place that says whose it is, with marks that change. */
static uint64_t place_of(uint64_t key) {
    return key << 8 & PLACE_MASK;
}

struct reader {
    uint32_t index;
    uint64_t random;
    uint64_t lookups, misses, busy;
};

static void look_up(struct reader *reader, uint64_t key, bool must_be_there, bool may_be_there) {
    uint64_t places[CATALOG_MATCHES_MAX];
    uint32_t count = catalog_find(&catalog, hash_of(key), places);
    reader->lookups++;
    if (count == UINT32_MAX) {
        reader->busy++; /* "cannot tell" is no miss */
        return;
    }
    stress_check(&stress, count > 0 || !must_be_there, "key %" PRIu64 " was missed", key);
    stress_check(&stress, count == 0 || may_be_there, "key %" PRIu64 " was never there", key);
    stress_check(&stress, count <= 1, "key %" PRIu64 " was found %u times", key, count);
    stress_check(&stress, count == 0 || (places[0] & PLACE_MASK & ~UINT64_C(0xff)) == place_of(key),
                 "key %" PRIu64 " with another's place", key);
    reader->misses += count == 0;
}

static void *reader_run(void *argument) {
    struct reader *reader = argument;
    while (!atomic_load(&round_over)) {
        turn_begin(&turns, reader->index);
        uint64_t have = atomic_load(&stable);
        for (uint32_t i = 0; i < GROUP && have > 0; i++) {
            uint64_t random = stress_random(&reader->random);
            uint64_t kind = random >> 60;
            if (kind < 10) {
                look_up(reader, 1 + random % have, true, true);
            } else if (kind < 13) {
                look_up(reader, ROUND_KEYS + 1 + random % CHURN, false, true);
            } else {
                look_up(reader, 10 * ROUND_KEYS + random % 100000, false, false);
            }
        }
    }
    turn_park(&turns, reader->index);
    return NULL;
}

static void insert(uint64_t key) {
    stress_check(&stress, catalog_insert(&catalog, hash_of(key), place_of(key)) == 0, "no memory");
}

/* Removes it if it is there, puts it if it is not. */
static void churn(uint64_t key) {
    uint64_t places[CATALOG_MATCHES_MAX];
    if (catalog_find(&catalog, hash_of(key), places) == 0) {
        insert(key);
        return;
    }
    struct entry entry = catalog_entry(&catalog, hash_of(key), places[0]);
    catalog_remove(&catalog, hash_of(key), &entry);
}

static void remark(uint64_t key, uint64_t mark) {
    uint64_t places[CATALOG_MATCHES_MAX];
    stress_check(&stress, catalog_find(&catalog, hash_of(key), places) == 1, "owner's own miss");
    struct entry entry = catalog_entry(&catalog, hash_of(key), places[0]);
    entry_set(&entry, place_of(key) | (mark & 0xff));
}

static void write_round(uint64_t *random) {
    for (uint64_t key = 1; key <= ROUND_KEYS; key++) {
        insert(key);
        atomic_store(&stable, key);
        uint64_t r = stress_random(random);
        if (r % 4 == 0) {
            churn(ROUND_KEYS + 1 + r / 4 % CHURN);
        }
        if (r % 16 == 1) {
            remark(1 + r / 16 % key, r >> 40);
        }
        if (key % 512 == 0) {
            (void)catalog_poll(&catalog, 0);
        }
    }
    for (uint32_t i = 0; i < CHURN_TURNS; i++) {
        churn(ROUND_KEYS + 1 + stress_random(random) % CHURN);
    }
}

int main(int argc, char **argv) {
    stress = stress_args(argc, argv);
    lookups_wanted = argc > 3 ? strtoull(argv[3], NULL, 10) : 0;
    uint64_t random = stress_seed(stress.seed, 99), lookups = 0, misses = 0, busy = 0, rounds = 0;
    while (lookups_wanted ? lookups < lookups_wanted : rounds == 0 || !stress_over(&stress)) {
        salt = stress_random(&random);
        memset(&catalog, 0, sizeof catalog);
        memset(arenas, 0, sizeof arenas);
        for (uint32_t i = 0; i < READERS; i++) {
            atomic_store(&readers[i].seen, TURN_PARKED);
        }
        stress_check(&stress, catalog_open(&catalog, &turns, 1, arenas) == 0, "no memory");
        atomic_store(&stable, 0);
        atomic_store(&round_over, false);
        struct reader state[READERS];
        pthread_t threads[READERS];
        for (uint32_t i = 0; i < READERS; i++) {
            state[i] = (struct reader){.index = i,
                                       .random = stress_seed(stress.seed, rounds * READERS + i)};
            threads[i] = stress_thread(reader_run, &state[i]);
        }
        write_round(&random);
        atomic_store(&round_over, true);
        for (uint32_t i = 0; i < READERS; i++) {
            pthread_join(threads[i], NULL);
            lookups += state[i].lookups;
            misses += state[i].misses;
            busy += state[i].busy;
        }
        catalog_close(&catalog);
        rounds++;
    }
    printf("%" PRIu64 " lookups in %" PRIu64 " rounds, %" PRIu64 " true misses, %" PRIu64
           " could not tell, no false miss\n",
           lookups, rounds, misses, busy);
    return 0;
}
