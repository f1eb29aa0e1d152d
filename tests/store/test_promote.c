/* SPDX-License-Identifier: MIT */
#include "store/promote.h"

#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* A fast tier too small for all blocks: the oldest lie on the slow one, and come up when read. */

enum { BLOCKS = 420, BYTES = 60000, FILLER = BLOCKS - 100 };

static const struct store_tier tiers[] = {{"ssd", 40 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};

static void start(struct rig *rig, uint64_t seed, uint64_t budget) {
    rig_start(rig, seed);
    rig->config.tiers = tiers;
    rig->config.tier_count = 2;
    rig->config.promote_budget = budget;
}

static void turn(struct rig *rig) {
    rig_turn(rig);
    rig->now_ns += NS_PER_S;
    (void)store_housekeep(rig->store);
    (void)store_maintain(rig->store, rig->now_ns);
}

static void turns(struct rig *rig, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        turn(rig);
    }
}

static void fill(struct rig *rig, uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        cr_assert_eq(rig_put(rig, i, BYTES), 0, "put %u", i);
        turn(rig);
    }
    turns(rig, 100);
}

/* A full store with its oldest blocks on the slow tier. */
static void demoted(struct rig *rig, uint64_t seed, uint64_t budget) {
    start(rig, seed, budget);
    cr_assert_eq(rig_open(rig), 0);
    fill(rig, 0, BLOCKS);
    rig_mark(rig);
}

static uint64_t hash_of(const struct rig *rig, uint32_t i) {
    struct key key;
    (void)rig_block(i, BYTES, &key);
    return store_hash(rig->store, &key);
}

static uint64_t word_of(const struct rig *rig, uint32_t i) {
    uint64_t places[CATALOG_MATCHES_MAX];
    cr_assert_eq(catalog_find(&rig->store->catalog, hash_of(rig, i), places), 1, "block %u", i);
    return places[0];
}

static uint64_t place_of(const struct rig *rig, uint32_t i) {
    uint64_t word = word_of(rig, i);
    if (place_resident(word)) {
        word = atomic_load(&store_frame(rig->store, word)->place);
    }
    return word & (PLACE_MASK | PLACE_STATE_MASK);
}

static bool is_slow(const struct rig *rig, uint32_t i) {
    return (place_of(rig, i) & PLACE_STATE_MASK) == PLACE_HDD;
}

static uint32_t next_slow(const struct rig *rig, uint32_t from) {
    while (!is_slow(rig, from)) {
        from++;
        cr_assert_lt(from, FILLER);
    }
    return from;
}

/* Others are read until it is no longer in memory. */
static void push_out(struct rig *rig, uint32_t i) {
    for (uint32_t n = 0; place_resident(word_of(rig, i)); n++) {
        cr_assert_lt(n, 1000);
        cr_assert_eq(rig_get(rig, FILLER + n % (BLOCKS - FILLER), BYTES), 0);
    }
}

/* Read, forgotten by memory, and read again: what is worth a better place. */
static void read_twice(struct rig *rig, uint32_t i) {
    cr_assert_eq(rig_get(rig, i, BYTES), 0);
    push_out(rig, i);
    cr_assert_eq(rig_get(rig, i, BYTES), 0);
}

static void wish(struct rig *rig, uint32_t i) {
    cr_assert(wish_push(&store_keeper(rig->store, 0)->wishes,
                        &(struct wish){hash_of(rig, i), place_of(rig, i)}));
}

static const struct upkeep_counters *upkeep(const struct rig *rig) {
    return store_upkeep(rig->store);
}

Test(promote, what_is_read_again_comes_to_the_fast_tier_and_stays_there) {
    struct rig rig;
    demoted(&rig, 1, GiB);
    uint32_t block = next_slow(&rig, 0), other = next_slow(&rig, block + 1);
    cr_assert_eq(rig_get(&rig, block, BYTES), 0);
    turns(&rig, 20);
    cr_assert(is_slow(&rig, block), "read once: that may have been a scan");
    push_out(&rig, block);
    cr_assert_eq(rig_get(&rig, block, BYTES), 0);
    cr_assert_eq(rig_get(&rig, block, BYTES), 0);
    struct store_tier_usage before[2], after[2];
    cr_assert_eq(store_tiers(rig.store, before, 2), 2);
    turns(&rig, 20);
    cr_assert_not(is_slow(&rig, block));
    cr_assert(is_slow(&rig, other));
    cr_assert_eq(store_tiers(rig.store, after, 2), 2);
    cr_assert_eq(counter_get(&upkeep(&rig)->promotions), 1);
    cr_assert_geq(counter_get(&upkeep(&rig)->promoted_bytes), BYTES);
    cr_assert_eq(after[0].moved_in, before[0].moved_in + 1);
    cr_assert_eq(after[1].moved_out, before[1].moved_out + 1);
    push_out(&rig, block);
    cr_assert_geq(word_of(&rig, block) >> PLACE_FREQ_SHIFT & 3, 2);
    uint32_t sibling = FILLER; /* on the fast tier now, and never read once its kin is demoted */
    cr_assert_not(is_slow(&rig, sibling));
    uint64_t demotions = counter_get(&upkeep(&rig)->demotions);
    fill(&rig, BLOCKS, 2 * BLOCKS + BLOCKS);
    cr_assert_gt(counter_get(&upkeep(&rig)->demotions), demotions + 4);
    cr_assert(is_slow(&rig, sibling), "the whole fast tier was written over");
    cr_assert_not(is_slow(&rig, block), "no way down for what just came up");
    cr_assert_eq(rig_get(&rig, block, BYTES), 0);
    rig_end(&rig);
}

Test(promote, scans_and_reads_that_admit_nothing_promote_nothing) {
    struct rig rig;
    demoted(&rig, 2, GiB);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
        turn(&rig);
    }
    uint32_t block = next_slow(&rig, 0);
    for (uint32_t i = 0; i < 5; i++) {
        struct store_op op = {.kind = STORE_READ, .no_admit = true};
        (void)rig_block(block, BYTES, &op.key);
        cr_assert_eq(rig_do(&rig, &op), 0);
        frame_give_back(op.frame);
        turn(&rig);
    }
    turns(&rig, 20);
    cr_assert_eq(counter_get(&upkeep(&rig)->promotions), 0);
    cr_assert(is_slow(&rig, block));
    rig_end(&rig);
}

Test(promote, the_days_budget_is_kept_and_the_next_day_brings_another) {
    struct rig rig;
    demoted(&rig, 3, 100000);
    uint32_t first = next_slow(&rig, 0), second = next_slow(&rig, first + 1);
    read_twice(&rig, first);
    turns(&rig, 20);
    cr_assert_not(is_slow(&rig, first));
    read_twice(&rig, second);
    turns(&rig, 20);
    cr_assert(is_slow(&rig, second));
    cr_assert_eq(counter_get(&upkeep(&rig)->promotions_over_budget), 1);
    rig.now_ns += 86400 * NS_PER_S;
    push_out(&rig, second);
    cr_assert_eq(rig_get(&rig, second, BYTES), 0);
    turns(&rig, 20);
    cr_assert_not(is_slow(&rig, second));
    rig_end(&rig);
}

Test(promote, a_bucket_fills_with_time_and_holds_one_day) {
    struct day_budget budget = {.day_bytes = 864001, .left = 1};
    cr_assert_eq(day_budget_left(&budget, NS_PER_S / 2), 1);
    cr_assert_eq(day_budget_left(&budget, NS_PER_S), 11);
    cr_assert_eq(day_budget_left(&budget, NS_PER_S), 11);
    cr_assert_eq(day_budget_left(&budget, 0), 11, "a clock that stood still");
    budget.left = 0;
    cr_assert_eq(day_budget_left(&budget, 86401 * NS_PER_S), 864001);
    cr_assert_eq(day_budget_left(&budget, 1000000 * NS_PER_S), 864001);
}

Test(promote, without_a_budget_or_on_its_rung_of_the_ladder_nothing_comes_up) {
    struct rig rig;
    demoted(&rig, 4, 0);
    read_twice(&rig, next_slow(&rig, 0));
    turns(&rig, 20);
    cr_assert_eq(counter_get(&upkeep(&rig)->promotions), 0);
    rig_close(&rig);
    rig.config.promote_budget = GiB;
    cr_assert_eq(rig_open(&rig), 0);
    uint32_t block = next_slow(&rig, 20);
    store_press(rig.store, &(struct ladder_step){LADDER_PROMOTIONS, MiB});
    wish(&rig, block); /* from before */
    read_twice(&rig, block);
    turns(&rig, 20);
    cr_assert(is_slow(&rig, block));
    store_press(rig.store, &(struct ladder_step){LADDER_GHOSTS, MiB});
    turns(&rig, 20);
    cr_assert_not(is_slow(&rig, block));
    rig_end(&rig);
}

Test(promote, policies_that_keep_no_ghosts_promote_too) {
    for (enum store_policy policy = STORE_POLICY_LRU; policy <= STORE_POLICY_LRFU; policy++) {
        struct rig rig;
        start(&rig, 10, GiB);
        rig.config.policy = policy;
        cr_assert_eq(rig_open(&rig), 0);
        fill(&rig, 0, BLOCKS);
        uint32_t block = next_slow(&rig, 0);
        read_twice(&rig, block);
        turns(&rig, 20);
        cr_assert_not(is_slow(&rig, block), "policy %d", policy);
        rig_end(&rig);
    }
}

Test(promote, a_full_fast_tier_takes_nothing_up) {
    struct rig rig;
    demoted(&rig, 5, GiB);
    uint32_t block = next_slow(&rig, 0);
    rig.store->tiers.all[0].size_bytes = 24 * MiB; /* fuller than the high water at once */
    wish(&rig, block);
    (void)store_maintain(rig.store, rig.now_ns += NS_PER_S);
    cr_assert_eq(counter_get(&upkeep(&rig)->promotions_no_room), 1);
    cr_assert(is_slow(&rig, block));
    rig_end(&rig);
}

Test(promote, a_full_ring_drops_and_counts) {
    static struct wishes wishes;
    struct wish got;
    for (uint64_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < WISHES_MAX; i++) {
            cr_assert(wish_push(&wishes, &(struct wish){i + 1, round}));
        }
        cr_assert_not(wish_push(&wishes, &(struct wish){9999, 9}));
        for (uint64_t i = 0; i < WISHES_MAX - round; i++) {
            cr_assert(wish_take(&wishes, &got));
            cr_assert(got.hash == i + 1 && got.place == round);
        }
        while (wish_take(&wishes, &got)) {
        }
    }
    struct rig rig;
    demoted(&rig, 6, GiB);
    uint32_t block = next_slow(&rig, 0);
    cr_assert_eq(rig_get(&rig, block, BYTES), 0);
    push_out(&rig, block);
    struct keeper *keeper = store_keeper(rig.store, 0);
    for (uint32_t i = 0; i < WISHES_MAX + 7; i++) {
        promote_read(keeper, hash_of(&rig, block), place_of(&rig, block));
    }
    cr_assert_eq(counter_get(&keeper->counters.promotions_dropped), 7);
    turns(&rig, 60);
    cr_assert_eq(counter_get(&upkeep(&rig)->promotions), 1, "the others are nobody's");
    cr_assert_eq(rig_get(&rig, block, BYTES), 0);
    rig_end(&rig);
}

Test(promote, a_delete_that_comes_at_any_step_wins) {
    struct rig rig;
    demoted(&rig, 7, GiB);
    uint32_t blocks[14], next = 0;
    for (uint32_t steps = 0; steps < array_count(blocks); steps++) {
        uint32_t block = blocks[steps] = next_slow(&rig, next);
        next = block + 1;
        turns(&rig, 3);
        wish(&rig, block);
        for (uint32_t i = 0; i < steps; i++) {
            if (i >= 8) { /* the owner takes part */
                rig_turn(&rig);
            }
            (void)store_maintain(rig.store, rig.now_ns += NS_PER_S);
        }
        cr_assert_eq(rig_delete(&rig, block, BYTES), 0, "after %u steps", steps);
        turns(&rig, 20);
        cr_assert_eq(rig_get(&rig, block, BYTES), STORE_ABSENT, "after %u steps", steps);
    }
    cr_assert_geq(counter_get(&upkeep(&rig)->promotions), 1, "some were up before they went");
    cr_assert_lt(counter_get(&upkeep(&rig)->promotions), array_count(blocks));
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < array_count(blocks); i++) {
        cr_assert_eq(rig_get(&rig, blocks[i], BYTES), STORE_ABSENT, "of which copies may be left");
    }
    rig_end(&rig);
}

/* A rig with the files of another, open. */
static void reopened(struct rig *rig, uint64_t seed, const struct rig *image) {
    start(rig, seed, GiB);
    sim_disk_copy(rig->sim, image->sim);
    cr_assert_eq(rig_open(rig), 0, "%s", rig->report.why);
}

static void check_some(struct rig *rig, uint32_t slow, uint32_t dead, const char *when,
                       uint64_t at) {
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(rig_get(rig, slow + i, BYTES), 0, "%s %lu: block %u", when, at, slow + i);
    }
    cr_assert_eq(rig_get(rig, FILLER, BYTES), 0);
    cr_assert_eq(rig_get(rig, dead, BYTES), STORE_ABSENT, "%s %lu", when, at);
}

Test(promote, power_goes_at_every_call_of_a_promotion) {
    struct rig image, rig;
    demoted(&image, 8, GiB);
    uint32_t dead = next_slow(&image, 0), slow = next_slow(&image, dead + 1);
    cr_assert_eq(rig_delete(&image, dead, BYTES), 0);
    rig_close(&image);
    uint64_t calls = 0;
    for (uint64_t at = 1; calls == 0; at++) {
        cr_assert_lt(at, 300);
        reopened(&rig, at, &image);
        turns(&rig, 2);
        for (uint32_t i = 0; i < 4; i++) {
            wish(&rig, slow + i);
        }
        uint64_t from = sim_disk_calls(rig.sim);
        sim_disk_crash_after(rig.sim, at);
        for (uint32_t i = 0; i < 30 && !sim_disk_dead(rig.sim); i++) {
            turn(&rig);
        }
        if (!sim_disk_dead(rig.sim)) {
            cr_assert_eq(counter_get(&upkeep(&rig)->promotions), 4);
            calls = sim_disk_calls(rig.sim) - from;
        }
        sim_disk_crash_after(rig.sim, 0);
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0, "call %lu: %s", at, rig.report.why);
        cr_assert_eq(rig.report.corrupt_ranges, 0, "call %lu", at);
        cr_assert_eq(rig.report.blocks, BLOCKS - 1, "call %lu", at);
        check_some(&rig, slow, dead, "call", at);
        cr_assert_eq(rig_delete(&rig, slow, BYTES), 0);
        rig_mark(&rig);
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(rig_get(&rig, slow, BYTES), STORE_ABSENT, "call %lu: both copies died", at);
        rig_end(&rig);
    }
    cr_assert_gt(calls, 8);
    rig_end(&image);
}

static void tier_goes(const struct rig *image, const char *dir, uint32_t slow, uint32_t dead) {
    struct rig rig;
    for (uint64_t steps = 0; steps < 10; steps++) {
        reopened(&rig, steps, image);
        turns(&rig, 2);
        for (uint32_t i = 0; i < 4; i++) {
            wish(&rig, slow + i);
        }
        for (uint64_t i = 0; i < steps; i++) {
            (void)store_maintain(rig.store, rig.now_ns += NS_PER_S);
        }
        sim_disk_device(rig.sim, dir, &(struct sim_device){.state = SIM_DEVICE_GONE});
        turns(&rig, 30);
        for (uint32_t i = 0; i < 4; i++) {
            int32_t r = rig_get(&rig, slow + i, BYTES);
            cr_assert(r == 0 || r == STORE_RETRY, "%s, step %lu: %d", dir, steps, r);
        }
        sim_disk_device(rig.sim, dir, &(struct sim_device){.state = SIM_DEVICE_FINE});
        turns(&rig, 60);
        check_some(&rig, slow, dead, dir, steps);
        for (uint32_t i = 0; i < 4; i++) {
            if (is_slow(&rig, slow + i)) {
                wish(&rig, slow + i);
            }
        }
        turns(&rig, 40);
        for (uint32_t i = 0; i < 4; i++) {
            cr_assert_not(is_slow(&rig, slow + i), "%s, step %lu", dir, steps);
        }
        rig_mark(&rig);
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0);
        check_some(&rig, slow, dead, dir, steps);
        rig_end(&rig);
    }
}

Test(promote, a_tier_that_goes_while_blocks_come_up_loses_none) {
    struct rig image;
    demoted(&image, 9, GiB);
    uint32_t dead = next_slow(&image, 0), slow = next_slow(&image, dead + 1);
    cr_assert_eq(rig_delete(&image, dead, BYTES), 0);
    rig_close(&image);
    tier_goes(&image, "/s/hdd", slow, dead);
    tier_goes(&image, "/s/ssd", slow, dead);
    rig_end(&image);
}
