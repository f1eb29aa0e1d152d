/* SPDX-License-Identifier: MIT */
#include "engine/swarm/visited.h"

#include "tests/engine/lent.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

static uint64_t hash_of(uint64_t n) {
    n = (n + 1) * UINT64_C(0x9e3779b97f4a7c15);
    n = (n ^ n >> 31) * UINT64_C(0xbf58476d1ce4e5b9);
    return n ^ n >> 29;
}

Test(visited, an_entry_is_new_once) {
    struct visited visited;
    visited_init(&visited, &lender, 10);
    cr_assert_not(visited_has(&visited, 7));
    cr_assert_eq(visited_add(&visited, 7), 0);
    cr_assert_eq(visited_add(&visited, 7), VISITED_SEEN);
    cr_assert(visited_has(&visited, 7));
    cr_assert_not(visited_has(&visited, 8));
    cr_assert_eq(visited_add(&visited, 0), 0);
    cr_assert_eq(visited_add(&visited, 0), VISITED_SEEN);
    cr_assert_eq(visited.entries, 2);
    visited_fini(&visited);
    cr_assert_eq(lent, 0);
}

Test(visited, holds_a_million_within_its_bytes_and_gives_them_back) {
    enum { COUNT = 1000000 };
    struct visited visited;
    visited_init(&visited, &lender, COUNT);
    for (uint64_t i = 0; i < COUNT; i++) {
        cr_assert_eq(visited_add(&visited, hash_of(i)), 0);
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        cr_assert_eq(visited_add(&visited, hash_of(i)), VISITED_SEEN);
        cr_assert_not(visited_has(&visited, hash_of(i + COUNT)));
    }
    cr_assert_eq(visited.bytes, lent);
    cr_assert_leq(lent, 22u * COUNT);
    cr_assert_eq(visited_add(&visited, hash_of(COUNT)), VISITED_FULL);
    visited_fini(&visited);
    cr_assert_eq(lent, 0);
}

Test(visited, without_memory_it_stays_as_it_was) {
    struct visited visited;
    lent_max = 16 * sizeof(uint64_t);
    visited_init(&visited, &lender, 100);
    uint32_t added = 0;
    int r = 0;
    while (r == 0) {
        r = visited_add(&visited, added + 1); /* all in one part */
        added += r == 0;
    }
    cr_assert_eq(r, -ENOMEM);
    cr_assert_eq(added, 12);
    for (uint64_t i = 1; i <= added; i++) {
        cr_assert(visited_has(&visited, i));
    }
    visited_fini(&visited);
    cr_assert_eq(lent, 0);
}
