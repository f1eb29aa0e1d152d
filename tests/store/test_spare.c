/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <errno.h>

/* store/spare.c: how far ahead of a log space is written with zeroes, what it is told of what is
 * behind it, and when a tier is full. */

Test(spare, zeroes_go_ahead_of_logs_with_small_commits_alone) {
    static const struct {
        enum segment_state state;
        uint32_t commit_bytes;
        uint64_t ahead;
    } cases[] = {
        {SEGMENT_OPEN, 0, HOUSEKEEP_AHEAD}, /* not known: it may be the first */
        {SEGMENT_OPEN, 8 * KiB, HOUSEKEEP_AHEAD},
        {SEGMENT_OPEN, HOUSEKEEP_SMALL - 1, HOUSEKEEP_AHEAD},
        {SEGMENT_OPEN, HOUSEKEEP_SMALL, 0},
        {SEGMENT_OPEN, UINT32_MAX, 0},
        {SEGMENT_SPARE, 0, HOUSEKEEP_STEP},
        {SEGMENT_SPARE, 8 * KiB, HOUSEKEEP_STEP},
        {SEGMENT_SPARE, MiB, 0},
        {SEGMENT_NONE, 0, 0},
        {SEGMENT_CLOSED, 0, 0},
        {SEGMENT_SEALED, 8 * KiB, 0},
        {SEGMENT_DYING, 8 * KiB, 0},
    };
    for (uint32_t i = 0; i < array_count(cases); i++) {
        cr_assert_eq(spare_ahead(cases[i].state, cases[i].commit_bytes), cases[i].ahead, "%u", i);
    }
}

/* Puts one after the other, and lets housekeeping do what it wants. Returns: bytes that are ready
 * behind the last of them. */
static uint64_t ready_after(uint32_t bytes, uint32_t puts) {
    struct rig rig;
    rig_start(&rig, 11);
    rig.config.segment_bytes = 64 * MiB;
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t i = 0; i < puts; i++) {
        cr_assert_eq(rig_put(&rig, i, bytes), 0);
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
    }
    const struct segment *open = store_keeper(rig.store, 0)->log.open;
    uint64_t ready = prewrite_zeroed(open) - atomic_load(&open->data_bytes);
    rig_end(&rig);
    return ready;
}

Test(spare, a_log_of_small_commits_finds_its_space_written) {
    cr_assert_gt(ready_after(4 * KiB, 40), 4 * MiB);
}

Test(spare, a_log_of_large_commits_writes_every_byte_once) {
    cr_assert_eq(ready_after(MiB, 20), 0);
}

enum { SMALL_BLOCKS = 900, SMALL_BYTES = 60000 };

/* 54 MB put onto a fast tier of 48 MiB, and the background work done until it rests: it was full on
 * the way, and all spares lie on the slow one since. */
static void overfill(struct rig *rig) {
    static const struct store_tier tiers[] = {{"ssd", 48 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};
    rig_start(rig, 12);
    rig->config.tiers = tiers;
    rig->config.tier_count = 2;
    cr_assert_eq(rig_open(rig), 0, "%s", rig->report.why);
    for (uint32_t i = 0; i < SMALL_BLOCKS; i++) {
        cr_assert_eq(rig_put(rig, i, SMALL_BYTES), 0, "put %u", i);
        (void)store_housekeep(rig->store);
    }
    cr_assert_eq(tier_state(&rig->store->tiers.all[0]), TIER_FULL);
    for (uint32_t i = 0; i < 40; i++) {
        rig_maintain(rig, 100);
        rig->now_ns += 200 * NS_PER_MS;
        (void)store_housekeep(rig->store);
    }
}

Test(spare, a_small_fast_tier_that_was_full_keeps_what_fits_and_is_online_again) {
    struct rig rig;
    struct store_tier_usage usages[2];
    overfill(&rig);
    cr_assert_eq(store_tiers(rig.store, usages, 2), 2);
    cr_assert_eq(usages[0].state, TIER_ONLINE, "there is room, and nobody asked");
    cr_assert_geq(usages[0].live_bytes, 28 * MiB, "%lu", usages[0].live_bytes);
    cr_assert_lt(usages[0].bytes_on_disk, 44 * MiB, "%lu", usages[0].bytes_on_disk);
    rig_end(&rig);
}

Test(spare, a_tier_that_refused_a_segment_is_full_until_it_holds_less) {
    struct rig rig;
    overfill(&rig);
    struct tier *tier = &rig.store->tiers.all[0];
    tier->refused_at = 1;
    tier_made(tier, -EDQUOT);
    tier_freed(rig.store, tier);
    cr_assert_eq(tier_state(tier), TIER_FULL);
    tier->refused_at = UINT64_MAX;
    tier_freed(rig.store, tier);
    cr_assert_eq(tier_state(tier), TIER_ONLINE);
    rig_end(&rig);
}

/* Housekeeping comes between the two words with which a log hands its segment over, and then the
 * segment's tier is lost before it is sealed. */
Test(spare, what_a_log_hands_over_is_kept_till_its_segment_cannot_be_sealed) {
    struct rig rig;
    rig_start(&rig, 12);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    struct log *log = &store_keeper(rig.store, 0)->log;
    struct segment *segment = log->open;
    struct roll *roll = log->roll;
    cr_assert_not_null(roll);
    roll_leave(roll, false);
    log->roll = NULL;
    (void)store_housekeep(rig.store);
    cr_assert_eq(roll_state(roll), ROLL_LEFT, "its segment is OPEN yet");
    log_leave(log);
    cr_assert_eq(segment_state(segment), SEGMENT_CLOSED);
    struct tier *tier = tier_of(rig.store, segment);
    enum tier_state before = tier_state(tier);
    atomic_store(&tier->state, TIER_MISSING);
    (void)store_housekeep(rig.store);
    cr_assert_eq(segment_state(segment), SEGMENT_CLOSED);
    cr_assert_eq(roll_state(roll), ROLL_FREE, "for the segments of other tiers");
    atomic_store(&tier->state, before);
    for (uint32_t i = 0; i < 10 && segment_state(segment) == SEGMENT_CLOSED; i++) {
        (void)store_housekeep(rig.store);
    }
    cr_assert_eq(segment_state(segment), SEGMENT_SEALED, "read back");
    cr_assert_eq(rig_get(&rig, 1, 5000), 0);
    rig_end(&rig);
}
