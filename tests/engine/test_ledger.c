/* SPDX-License-Identifier: MIT */
#include "engine/swarm/ledger.h"

#include "engine/swarm/ledger_index.h"

#include "base/bits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct rig {
    struct ledger ledger;
    struct ledger_peer *peers;
    uint64_t now;
};

static struct rig *rig_make(uint32_t wants_max, uint32_t peer_max, uint32_t peers) {
    struct rig *rig = calloc(1, sizeof *rig);
    struct ledger_config config = {
        .wants_max = wants_max, .peer_wants_max = peer_max, .salt = 0x5eed};
    size_t bytes = round_up(ledger_footprint(&config), CACHE_PAIR);
    uint8_t *memory = aligned_alloc(CACHE_PAIR, bytes);
    memset(memory, 0xa5, bytes); /* it may hold anything */
    ledger_init(&rig->ledger, memory, &config);
    rig->peers = calloc(peers, sizeof *rig->peers);
    for (uint32_t i = 0; i < peers; i++) {
        ledger_peer_init(&rig->ledger, &rig->peers[i]);
    }
    return rig;
}

static void rig_free(struct rig *rig) {
    free(rig->ledger.wants.slots);
    free(rig->peers);
    free(rig);
}

static struct bitswap_want want_of(uint32_t n, int32_t priority) {
    struct bitswap_want want = {
        .key = {.code = HASH_SHA2_256, .digest_bytes = 32},
        .form = {.codec = 0x55, .version = 1},
        .priority = priority,
    };
    memcpy(want.key.digest, &n, sizeof n);
    return want;
}

static uint32_t number_of(const struct ledger_want *want) {
    uint32_t n;
    memcpy(&n, want->key.digest, sizeof n);
    return n;
}

static int add(struct rig *rig, uint32_t peer, uint32_t n, int32_t priority) {
    struct bitswap_want want = want_of(n, priority);
    return ledger_add(&rig->ledger, &rig->peers[peer], &want, CLASS_NORMAL, rig->now++);
}

static bool cancel(struct rig *rig, uint32_t peer, uint32_t n) {
    struct bitswap_want want = want_of(n, 0);
    return ledger_cancel(&rig->ledger, &rig->peers[peer], &want);
}

static struct ledger_want *next(struct rig *rig, uint32_t peer) {
    return ledger_next(&rig->ledger, &rig->peers[peer]);
}

/* Takes the first want and says its block is absent. */
static int absent(struct rig *rig, uint32_t peer) {
    return ledger_absent(&rig->ledger, next(rig, peer));
}

static uint32_t arrive(struct rig *rig, uint32_t n, struct ledger_peer *woken[], uint32_t max) {
    struct bitswap_want want = want_of(n, 0);
    return ledger_arrived(&rig->ledger, &want.key, woken, max);
}

Test(ledger, serves_by_class_then_priority_then_age) {
    struct rig *rig = rig_make(64, 16, 1);
    struct bitswap_want low = want_of(5, 100);
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &low, CLASS_LOW, 1), 0);
    cr_assert_eq(add(rig, 0, 1, 3), 0);
    cr_assert_eq(add(rig, 0, 2, 7), 0);
    cr_assert_eq(add(rig, 0, 3, 3), 0);
    cr_assert_eq(add(rig, 0, 4, -1), 0);
    cr_assert_eq(number_of(ledger_peek(&rig->ledger, rig->peers)), 2);
    const uint32_t order[] = {2, 1, 3, 4, 5};
    for (uint32_t i = 0; i < array_count(order); i++) {
        cr_assert_eq(number_of(next(rig, 0)), order[i]);
    }
    cr_assert_null(next(rig, 0));
    cr_assert_null(ledger_peek(&rig->ledger, rig->peers));
    cr_assert_eq(rig->peers->serving, 5);
    rig_free(rig);
}

Test(ledger, naming_again_merges_and_block_beats_have) {
    struct rig *rig = rig_make(64, 16, 1);
    struct bitswap_want want = want_of(1, 5);
    want.have = true;
    want.send_dont_have = true;
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &want, CLASS_NORMAL, 1), 0);
    cr_assert_eq(add(rig, 0, 1, 9), LEDGER_MERGED);
    want.priority = 2;
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &want, CLASS_HIGH, 1), LEDGER_MERGED);
    const struct ledger_want *held = ledger_peek(&rig->ledger, rig->peers);
    cr_assert(!held->have);
    cr_assert(held->send_dont_have);
    cr_assert_eq(held->priority, 2);
    cr_assert_eq(held->class, CLASS_HIGH);
    cr_assert_eq(rig->peers->wants, 1);
    cr_assert_eq(counter_get(&rig->ledger.counters.merged), 2);
    rig_free(rig);
}

Test(ledger, one_hash_in_two_forms_is_two_wants) {
    struct rig *rig = rig_make(64, 16, 1);
    struct bitswap_want v0 = want_of(1, 5);
    v0.form = (struct bitswap_form){.codec = 0x70, .version = 0};
    cr_assert_eq(add(rig, 0, 1, 5), 0);
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &v0, CLASS_NORMAL, 1), 0);
    v0.form.version = 1;
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &v0, CLASS_NORMAL, 1), 0);
    v0.form.version = 0;
    cr_assert(ledger_cancel(&rig->ledger, rig->peers, &v0));
    cr_assert_not(ledger_cancel(&rig->ledger, rig->peers, &v0));
    cr_assert_eq(rig->peers->wants, 2);
    cr_assert_eq(ledger_form(next(rig, 0)).codec, 0x55);
    cr_assert_eq(ledger_form(next(rig, 0)).codec, 0x70);
    rig_free(rig);
}

Test(ledger, what_is_absent_waits_is_told_once_and_comes_back_on_arrival) {
    struct rig *rig = rig_make(64, 16, 1);
    struct ledger_peer *woken[4];
    struct bitswap_want want = want_of(1, 5);
    want.send_dont_have = true;
    cr_assert_eq(add(rig, 0, 9, -1), 0); /* slot 0, so that the want's slot is not */
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &want, CLASS_NORMAL, 1), 0);
    cr_assert_eq(absent(rig, 0), LEDGER_TELL);
    cr_assert(cancel(rig, 0, 9));
    cr_assert_eq(rig->peers->waiting, 1);
    ledger_rescan_begin(&rig->ledger);
    cr_assert_eq(ledger_rescan(&rig->ledger, woken, 4), 1);
    cr_assert_eq(woken[0], rig->peers);
    cr_assert_eq(absent(rig, 0), 0, "it was told before");
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &want, CLASS_NORMAL, 1), LEDGER_MERGED);
    cr_assert_eq(absent(rig, 0), LEDGER_TELL, "named again, told again");
    cr_assert_eq(rig->peers->dont_haves_sent, 2);
    cr_assert_eq(arrive(rig, 2, woken, 4), 0);
    cr_assert_eq(arrive(rig, 1, woken, 4), 1);
    cr_assert_eq(arrive(rig, 1, woken, 4), 0);
    struct ledger_want *held = next(rig, 0);
    cr_assert_eq(held->offset, 0);
    ledger_done(&rig->ledger, held, LEDGER_BLOCK, 1000);
    cr_assert_eq(rig->peers->blocks_sent, 1);
    cr_assert_eq(rig->peers->bytes_sent, 1000);
    rig->peers->bytes_received = 1500;
    cr_assert_eq(ledger_debt(rig->peers), -500);
    cr_assert_eq(rig->peers->wants, 0);
    cr_assert_eq(counter_get(&rig->ledger.counters.waiting), 0);
    rig_free(rig);
}

Test(ledger, a_block_that_arrives_while_its_lookup_is_out_is_not_missed) {
    struct rig *rig = rig_make(64, 16, 1);
    struct ledger_peer *woken[4];
    cr_assert_eq(add(rig, 0, 1, 5), 0);
    struct ledger_want *held = next(rig, 0);
    cr_assert_eq(arrive(rig, 1, woken, 4), 0);
    cr_assert_eq(ledger_absent(&rig->ledger, held), LEDGER_AGAIN);
    cr_assert_eq(rig->peers->queued, 1);
    held = next(rig, 0);
    ledger_rescan_begin(&rig->ledger);
    cr_assert_eq(ledger_rescan(&rig->ledger, woken, 4), 0);
    cr_assert_eq(ledger_absent(&rig->ledger, held), LEDGER_AGAIN, "word of it may be lost");
    cr_assert_eq(absent(rig, 0), 0);
    rig_free(rig);
}

Test(ledger, arrivals_and_rescans_come_in_bounded_batches) {
    struct rig *rig = rig_make(1024, 16, 100);
    struct ledger_peer *woken[100];
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert_eq(add(rig, i, 7, 1), 0);
        cr_assert_eq(absent(rig, i), 0);
    }
    cr_assert_eq(arrive(rig, 7, woken, 30), 30);
    cr_assert_eq(woken[0], &rig->peers[0], "who waited first comes first");
    cr_assert_eq(woken[29], &rig->peers[29]);
    cr_assert_eq(rig->ledger.waiting, 70);
    uint32_t moved = 0, calls = 0;
    ledger_rescan_begin(&rig->ledger);
    for (; ledger_rescanning(&rig->ledger); calls++) {
        moved += ledger_rescan(&rig->ledger, woken, 30);
    }
    cr_assert_eq(moved, 70);
    cr_assert_eq(calls, 4, "100 slots were ever used");
    rig_free(rig);
}

Test(ledger, a_want_withdrawn_while_served_is_marked_and_may_be_named_again) {
    struct rig *rig = rig_make(64, 16, 1);
    struct bitswap_want want = want_of(1, 5);
    cr_assert_eq(add(rig, 0, 1, 5), 0);
    struct ledger_want *held = next(rig, 0);
    cr_assert(cancel(rig, 0, 1));
    cr_assert_not(cancel(rig, 0, 1));
    cr_assert(held->canceled);
    want.have = true;
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &want, CLASS_NORMAL, 1), LEDGER_MERGED);
    cr_assert_not(held->canceled);
    cr_assert(held->have, "what was withdrawn does not count");
    held->offset = 77;
    cr_assert(ledger_put_back(&rig->ledger, held));
    held = next(rig, 0);
    cr_assert_eq(held->offset, 77);
    cr_assert(cancel(rig, 0, 1));
    cr_assert_not(ledger_put_back(&rig->ledger, held));
    cr_assert_eq(rig->peers->wants, 0);

    cr_assert_eq(add(rig, 0, 2, 5), 0);
    held = next(rig, 0);
    cr_assert(cancel(rig, 0, 2));
    cr_assert_eq(ledger_absent(&rig->ledger, held), LEDGER_GONE);
    cr_assert_eq(pool_used(&rig->ledger.wants), 0);
    rig_free(rig);
}

Test(ledger, a_full_list_drops_what_it_does_not_name) {
    struct rig *rig = rig_make(64, 16, 2);
    cr_assert_eq(add(rig, 1, 1, 9), 0);
    cr_assert_eq(add(rig, 0, 1, 9), 0);
    cr_assert_eq(add(rig, 0, 2, 8), 0);
    cr_assert_eq(add(rig, 0, 3, 7), 0);
    cr_assert_eq(add(rig, 0, 4, 6), 0);
    struct ledger_want *served = next(rig, 0);
    cr_assert_eq(absent(rig, 0), 0);
    uint64_t outer = ledger_mark(&rig->ledger, rig->now);
    cr_assert_eq(add(rig, 0, 3, 1), LEDGER_MERGED);
    uint64_t inner = ledger_mark(&rig->ledger, rig->now);
    cr_assert_eq(add(rig, 0, 5, 1), 0);
    cr_assert_eq(ledger_message_full(&rig->ledger, rig->peers, outer), 3);
    cr_assert(served->canceled);
    cr_assert_eq(rig->peers->wants, 3, "3, 5 and the one being served");
    cr_assert_eq(ledger_message_full(&rig->ledger, rig->peers, inner), 1);
    cr_assert_eq(number_of(next(rig, 0)), 5);
    cr_assert_eq(rig->peers[1].wants, 1);
    cr_assert_eq(ledger_message_full(&rig->ledger, rig->peers, UINT64_MAX), 1);
    cr_assert_eq(rig->peers->serving, 2);
    rig_free(rig);
}

Test(ledger, a_peer_at_its_bound_loses_its_least_want_or_is_refused) {
    struct rig *rig = rig_make(1024, 4, 2);
    cr_assert_eq(add(rig, 1, 50, -100), 0);
    cr_assert_eq(add(rig, 0, 1, 9), 0);
    cr_assert_eq(absent(rig, 0), 0);
    cr_assert_eq(add(rig, 0, 2, 9), 0);
    cr_assert_eq(absent(rig, 0), 0);
    cr_assert_eq(add(rig, 0, 3, 5), 0);
    cr_assert_eq(add(rig, 0, 4, 6), 0);
    cr_assert_eq(add(rig, 0, 5, 1), 0, "the oldest that waits goes");
    cr_assert(!cancel(rig, 0, 1));
    cr_assert_eq(add(rig, 0, 6, 1), 0);
    cr_assert(!cancel(rig, 0, 2));
    cr_assert_eq(add(rig, 0, 7, 1), LEDGER_REFUSED, "as low as the last");
    cr_assert_eq(add(rig, 0, 7, 2), 0, "better than the last");
    cr_assert(!cancel(rig, 0, 6), "of the two lowest the later was last");
    cr_assert_eq(counter_get(&rig->ledger.counters.evicted), 3);
    cr_assert_eq(counter_get(&rig->ledger.counters.refused_peer_full), 1);
    struct bitswap_want low = want_of(8, 99);
    cr_assert_eq(ledger_add(&rig->ledger, rig->peers, &low, CLASS_LOW, 1), LEDGER_REFUSED);
    for (uint32_t i = 0; i < 4; i++) {
        (void)next(rig, 0);
    }
    cr_assert_eq(add(rig, 0, 9, 99), LEDGER_REFUSED, "what is being served is not evicted");
    cr_assert_eq(rig->peers[1].wants, 1);
    rig_free(rig);
}

Test(ledger, any_number_of_greedy_peers_leaves_room) {
    struct rig *rig = rig_make(4096, 1024, 101);
    uint32_t most = 0;
    for (uint32_t n = 0; n < 2048; n++) {
        for (uint32_t peer = 0; peer < 100; peer++) {
            (void)add(rig, peer, n, 1);
        }
    }
    for (uint32_t peer = 0; peer < 100; peer++) {
        most = most > rig->peers[peer].wants ? most : rig->peers[peer].wants;
    }
    cr_assert_leq(most, 4096 / 104 + 1);
    cr_assert_gt(rig->ledger.wants.free_count, 4 * (most - 2));
    cr_assert_gt(counter_get(&rig->ledger.counters.refused_pool), 0);
    cr_assert_eq(add(rig, 100, 1, 1), 0, "one who comes late finds room");
    rig_free(rig);
}

Test(ledger, wants_that_waited_too_long_expire_and_others_do_not) {
    struct rig *rig = rig_make(64, 16, 1);
    rig->now = 1000;
    cr_assert_eq(add(rig, 0, 1, 9), 0);
    cr_assert_eq(absent(rig, 0), 0);
    cr_assert_eq(add(rig, 0, 2, 9), 0); /* queued */
    rig->now = 2000;
    cr_assert_eq(add(rig, 0, 3, 10), 0);
    cr_assert_eq(absent(rig, 0), 0);
    cr_assert_eq(ledger_expire(&rig->ledger, 1500, 0), 0);
    uint32_t dropped = 0;
    for (uint32_t i = 0; i < 3; i++) {
        dropped += ledger_expire(&rig->ledger, 1500, 1);
    }
    cr_assert_eq(dropped, 1);
    cr_assert_eq(rig->peers->wants, 2);
    cr_assert_eq(ledger_expire(&rig->ledger, 3000, 100), 1);
    cr_assert_eq(ledger_expire(&rig->ledger, 3000, 100), 0);
    cr_assert_eq(rig->peers->queued, 1);
    rig_free(rig);
}

Test(ledger, a_peer_that_goes_takes_its_wants_along_and_stale_handles_name_nothing) {
    struct rig *rig = rig_make(64, 16, 2);
    struct ledger_peer *woken[2];
    cr_assert_eq(add(rig, 0, 1, 9), 0);
    cr_assert_eq(absent(rig, 0), 0);
    cr_assert_eq(add(rig, 1, 1, 9), 0);
    cr_assert_eq(absent(rig, 1), 0);
    cr_assert_eq(add(rig, 0, 2, 9), 0);
    cr_assert_eq(add(rig, 0, 3, 8), 0);
    cr_assert_eq(add(rig, 0, 4, 7), 0);
    struct ledger_want *served = next(rig, 0);
    struct ledger_handle handle = ledger_handle(&rig->ledger, served);
    cr_assert_eq(ledger_find(&rig->ledger, handle), served);
    (void)next(rig, 0);
    cr_assert(cancel(rig, 0, 2));
    ledger_peer_gone(&rig->ledger, &rig->peers[0]);
    cr_assert_null(ledger_find(&rig->ledger, handle));
    cr_assert_eq(pool_used(&rig->ledger.wants), 1);
    cr_assert_eq(counter_get(&rig->ledger.counters.gone), 3);
    cr_assert_eq(arrive(rig, 1, woken, 2), 1);
    cr_assert_eq(woken[0], &rig->peers[1]);
    rig_free(rig);
}

/* A popular key is one entry of its bucket, and ranks keep the tree flat whatever the priorities:
 * counted in steps, not in time. */
static uint32_t depth(const struct ledger *ledger, uint32_t root) {
    uint32_t deepest = 0;
    uint32_t stack[1024], level[1024], used = 0;
    for (stack[used] = root, level[used++] = 1; used > 0;) {
        used--;
        uint32_t slot = stack[used], at = level[used];
        if (slot == LEDGER_NONE) {
            continue;
        }
        deepest = at > deepest ? at : deepest;
        stack[used] = ledger_at(ledger, slot)->left;
        level[used++] = at + 1;
        stack[used] = ledger_at(ledger, slot)->right;
        level[used++] = at + 1;
    }
    return deepest;
}

Test(ledger_index, no_order_of_priorities_makes_a_tree_deep) {
    for (uint32_t kind = 0; kind < 3; kind++) {
        struct rig *rig = rig_make(8192, 1024, 1);
        for (uint32_t i = 0; i < 1024; i++) {
            int32_t priority = kind == 0 ? (int32_t)i : kind == 1 ? -(int32_t)i : 1;
            cr_assert_eq(add(rig, 0, i, priority), 0);
        }
        cr_assert_leq(depth(&rig->ledger, rig->peers->queued_root), 40);
        rig_free(rig);
    }
}

Test(ledger_index, everyone_who_waits_for_a_key_is_one_entry_of_its_bucket) {
    struct rig *rig = rig_make(65536, 16, 10000);
    for (uint32_t i = 0; i < 10000; i++) {
        cr_assert_eq(add(rig, i, 7, 1), 0);
        cr_assert_eq(absent(rig, i), 0);
    }
    struct bitswap_want want = want_of(7, 0);
    uint64_t hash = ledger_hash(&rig->ledger, &want.key);
    uint32_t first = ledger_group_find(&rig->ledger, &want.key, hash);
    cr_assert_eq(ledger_at(&rig->ledger, first)->key_chain, LEDGER_NONE);
    cr_assert(cancel(rig, 0, 7), "the first of the group");
    uint32_t second = ledger_group_find(&rig->ledger, &want.key, hash);
    cr_assert_neq(second, first);
    cr_assert_eq(ledger_at(&rig->ledger, second)->peer, &rig->peers[1]);
    cr_assert(cancel(rig, 9999, 7), "the last");
    struct ledger_peer **woken = calloc(10000, sizeof *woken);
    cr_assert_eq(arrive(rig, 7, woken, 10000), 9998);
    cr_assert_eq(ledger_group_find(&rig->ledger, &want.key, hash), LEDGER_NONE);
    free(woken);
    rig_free(rig);
}
