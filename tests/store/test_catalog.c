/* SPDX-License-Identifier: MIT */
#include "store/catalog.h"

#include "store/table.h"
#include "tests/sim/disk.h"

#include <criterion/criterion.h>
#include <errno.h>

/* Readers, owners and quiescence on one thread; what threads do to each other is
 * tests/stress/stress_catalog.c. */

static struct turn_reader readers[2];
static struct turns turns = {.readers_max = 2, .readers = readers};
static struct catalog catalog;
static struct catalog_arena arenas[3];

static void open_catalog(uint32_t keepers) {
    for (uint32_t i = 0; i < 2; i++) {
        atomic_store(&readers[i].seen, TURN_PARKED);
    }
    cr_assert_eq(catalog_open(&catalog, &turns, keepers, arenas), 0);
}

static uint64_t hash_of(uint64_t i) {
    uint64_t state = i;
    return sim_random(&state) | 1;
}

static void poll_all(void) {
    for (uint32_t k = 0; k < catalog.keepers; k++) {
        (void)catalog_poll(&catalog, k);
    }
}

static bool holds(uint64_t i, uint64_t place) {
    uint64_t places[CATALOG_MATCHES_MAX];
    return catalog_find(&catalog, hash_of(i), places) == 1 && places[0] == place;
}

Test(catalog, finds_all_that_was_put_through_growth_and_splits) {
    open_catalog(3);
    const uint64_t count = 5000000;
    for (uint64_t i = 0; i < count; i++) {
        cr_assert_eq(catalog_insert(&catalog, hash_of(i), i), 0);
        if (i % 4096 == 0) {
            poll_all();
        }
    }
    poll_all();
    cr_assert_eq(catalog_entries(&catalog), count);
    for (uint64_t i = 0; i < count; i++) {
        cr_assert(holds(i, i));
    }
    double each = (double)catalog_memory(&catalog) / (double)count;
    cr_assert_leq(each, 20.0, "%.2f bytes a block", each);
    uint64_t places[CATALOG_MATCHES_MAX];
    for (uint64_t i = count; i < count + 100000; i++) {
        cr_assert_eq(catalog_find(&catalog, hash_of(i), places), 0);
    }
    catalog_close(&catalog);
}

Test(catalog, removes_one_and_leaves_the_others) {
    open_catalog(1);
    for (uint64_t i = 0; i < 60000; i++) {
        cr_assert_eq(catalog_insert(&catalog, hash_of(i), i), 0);
    }
    for (uint64_t i = 0; i < 60000; i += 3) {
        struct entry entry = catalog_entry(&catalog, hash_of(i), i);
        cr_assert_not_null(entry.bucket);
        catalog_remove(&catalog, hash_of(i), &entry);
    }
    uint64_t places[CATALOG_MATCHES_MAX];
    for (uint64_t i = 0; i < 60000; i++) {
        cr_assert_eq(catalog_find(&catalog, hash_of(i), places), i % 3 != 0);
    }
    cr_assert_eq(catalog_entries(&catalog), 40000);
    catalog_close(&catalog);
}

Test(catalog, keeps_both_of_two_keys_whose_hashes_collide) {
    open_catalog(1);
    cr_assert_eq(catalog_insert(&catalog, 77, 5), 0);
    cr_assert_eq(catalog_insert(&catalog, 77, 6), 0);
    uint64_t places[CATALOG_MATCHES_MAX];
    cr_assert_eq(catalog_find(&catalog, 77, places), 2);
    cr_assert_eq(places[0] + places[1], 11);
    struct entry entry = catalog_entry(&catalog, 77, 5);
    catalog_remove(&catalog, 77, &entry);
    cr_assert_eq(catalog_find(&catalog, 77, places), 1);
    cr_assert_eq(places[0], 6);
    catalog_close(&catalog);
}

Test(catalog, refuses_one_more_of_a_hash_than_two_buckets_hold) {
    open_catalog(1);
    for (uint64_t i = 0; i < CATALOG_MATCHES_MAX; i++) {
        cr_assert_eq(catalog_insert(&catalog, hash_of(7), i), 0);
    }
    uint64_t before = catalog_memory(&catalog);
    cr_assert_eq(catalog_insert(&catalog, hash_of(7), CATALOG_MATCHES_MAX), -EOVERFLOW);
    cr_assert_eq(catalog_memory(&catalog), before, "nothing grew for it");
    cr_assert_eq(catalog_insert(&catalog, hash_of(8), 1), 0);
    cr_assert(holds(8, 1));
    catalog_close(&catalog);
}

Test(catalog, changes_a_place_where_it_lies) {
    open_catalog(1);
    cr_assert_eq(catalog_insert(&catalog, 99, 1 | PLACE_GHOST), 0);
    struct entry entry = catalog_entry(&catalog, 99, 1);
    cr_assert_not_null(entry.bucket, "ghost and other marks are no part of a place");
    entry_set(&entry, 42 | PLACE_RESIDENT);
    uint64_t places[CATALOG_MATCHES_MAX];
    cr_assert_eq(catalog_find(&catalog, 99, places), 1);
    cr_assert(place_resident(places[0]));
    cr_assert_null(catalog_entry(&catalog, 99, 42).bucket, "another state, another place");
    catalog_close(&catalog);
}

Test(catalog, reserves_so_that_a_long_load_does_not_grow) {
    open_catalog(2);
    cr_assert_eq(catalog_reserve(&catalog, 1000000), 0);
    for (uint64_t i = 0; i < 950000; i++) {
        cr_assert_eq(catalog_insert(&catalog, hash_of(i), i), 0);
    }
    cr_assert_leq(arenas[0].grows + arenas[1].grows, 32);
    for (uint64_t i = 0; i < 950000; i++) {
        cr_assert(holds(i, i));
    }
    catalog_close(&catalog);
}

Test(catalog, keeps_retired_tables_until_every_reader_has_turned) {
    open_catalog(1);
    turn_begin(&turns, 0);
    for (uint64_t i = 0; i < 200000; i++) {
        cr_assert_eq(catalog_insert(&catalog, hash_of(i), i), 0);
    }
    cr_assert_eq(catalog_poll(&catalog, 0), 0, "reader 0 may still look at the first table");
    turn_begin(&turns, 0);
    cr_assert_gt(catalog_poll(&catalog, 0), 0);
    turn_park(&turns, 0);
    for (uint64_t i = 200000; i < 400000; i++) {
        cr_assert_eq(catalog_insert(&catalog, hash_of(i), i), 0);
    }
    cr_assert_gt(catalog_poll(&catalog, 0), 0, "a parked reader holds nothing");
    catalog_close(&catalog);
}

Test(catalog, sweeps_every_ghost_of_a_shard_in_one_round) {
    open_catalog(1);
    for (uint64_t i = 0; i < 200000; i++) {
        cr_assert_eq(catalog_insert(&catalog, hash_of(i), i | PLACE_GHOST), 0);
    }
    uint64_t cursor = 0;
    uint64_t rounds = 0;
    uint64_t before = 0;
    do {
        before = cursor & ~(UINT64_C(0xff) << 56);
        catalog_sweep(&catalog, 7, &cursor, 3);
        cr_assert_lt(rounds++, 100000);
    } while ((cursor & ~(UINT64_C(0xff) << 56)) > before);
    uint64_t places[CATALOG_MATCHES_MAX];
    for (uint64_t i = 0; i < 200000; i++) {
        cr_assert_eq(catalog_find(&catalog, hash_of(i), places), 1);
        cr_assert_eq((places[0] & PLACE_GHOST) == 0, hash_shard(hash_of(i)) == 7);
    }
    catalog_close(&catalog);
}

Test(catalog, packs_a_place_and_takes_it_apart) {
    struct spot spot = {.segment = 0xfffff, .offset_units = 0x3fffff, .length_units = 0xffff};
    struct spot back = place_spot(place_pack(&spot));
    cr_assert_eq(place_pack(&spot), PLACE_MASK);
    cr_assert_eq(back.segment, spot.segment);
    cr_assert_eq(back.offset_units, spot.offset_units);
    cr_assert_eq(back.length_units, spot.length_units);
}
