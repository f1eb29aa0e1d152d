/* SPDX-License-Identifier: MIT */
#include "engine/swarm/frontier.h"

#include "tests/engine/lent.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Identity CIDs have any length up to 128: entries of every size. */
static struct cid cid_of(uint32_t n) {
    struct cid cid = {.version = 1, .codec = CID_DAG_CBOR, .hash = 0, .digest_bytes = n % 129};
    memset(cid.digest, (int)(n & 0xff), cid.digest_bytes);
    return cid;
}

static bool same(const struct cid *a, const struct cid *b) {
    return a->version == b->version && a->codec == b->codec && a->hash == b->hash &&
           a->digest_bytes == b->digest_bytes && memcmp(a->digest, b->digest, a->digest_bytes) == 0;
}

Test(frontier, the_last_block_s_links_come_first_and_in_their_order) {
    struct frontier frontier;
    struct cid got;
    frontier_init(&frontier, &lender, 1 << 20);
    for (uint32_t block = 0; block < 20; block++) {
        size_t mark = frontier.used;
        for (uint32_t i = 0; i < 50; i++) {
            struct cid cid = cid_of(block * 50 + i);
            cr_assert_eq(frontier_push(&frontier, &cid), 0);
        }
        frontier_turn(&frontier, mark);
    }
    cr_assert_eq(frontier.entries, 1000);
    for (uint32_t block = 20; block-- > 0;) {
        for (uint32_t i = 0; i < 50; i++) {
            struct cid cid = cid_of(block * 50 + i);
            cr_assert(frontier_pop(&frontier, &got));
            cr_assert(same(&got, &cid), "block %u link %u", block, i);
        }
    }
    cr_assert_not(frontier_pop(&frontier, &got));
    cr_assert_eq(frontier.entries, 0);
    frontier_turn(&frontier, frontier.used); /* nothing to turn */
    frontier_fini(&frontier);
    cr_assert_eq(lent, 0);
}

Test(frontier, full_and_no_memory_are_answers) {
    struct frontier frontier;
    struct cid cid = cid_of(100);
    frontier_init(&frontier, &lender, 8192);
    int r = 0;
    uint32_t pushed = 0;
    while ((r = frontier_push(&frontier, &cid)) == 0) {
        pushed++;
    }
    cr_assert_eq(r, FRONTIER_FULL);
    cr_assert_geq(pushed, 70);
    cr_assert_leq(frontier.used, 8192);
    struct cid got;
    while (pushed > 0) {
        cr_assert(frontier_pop(&frontier, &got));
        pushed--;
    }
    frontier_fini(&frontier);
    lent_max = 4096;
    frontier_init(&frontier, &lender, 1 << 20);
    while ((r = frontier_push(&frontier, &cid)) == 0) {
    }
    cr_assert_eq(r, -ENOMEM);
    frontier_fini(&frontier);
    cr_assert_eq(lent, 0);
}
