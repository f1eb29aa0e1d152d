/* SPDX-License-Identifier: MIT */
#include "store/judge.h"

#include "store/format.h"

#include <criterion/criterion.h>

/* LSNs here count from 1 in epoch 1. */
static struct judge_item batch(uint64_t first, uint64_t last, uint64_t durable, bool sound) {
    return (struct judge_item){.first_lsn = lsn_make(1, first),
                               .last_lsn = lsn_make(1, last),
                               .durable_lsn = lsn_make(1, durable),
                               .sound = sound};
}

static struct judge_verdict run(struct judge_item items[], uint64_t count) {
    static struct judge_gap gaps[8];
    struct judge_verdict verdict = {.gaps = gaps, .gaps_max = 8};
    judge(items, count, &verdict);
    return verdict;
}

Test(judge, accepts_a_whole_log) {
    struct judge_item items[] = {batch(4, 6, 3, true), batch(1, 3, 0, true)};
    struct judge_verdict verdict = run(items, 2);
    cr_assert(items[0].accepted && items[1].accepted);
    cr_assert_eq(items[0].first_lsn, lsn_make(1, 1), "in order of LSN");
    cr_assert_eq(verdict.gap_count + verdict.ignored, 0);
}

Test(judge, a_torn_tail_is_ignored_and_everything_after_it) {
    struct judge_item items[] = {batch(1, 3, 0, true), batch(4, 6, 3, false), batch(7, 9, 3, true)};
    struct judge_verdict verdict = run(items, 3);
    cr_assert(items[0].accepted);
    cr_assert_not(items[1].accepted);
    cr_assert_not(items[2].accepted, "batch n lost, n+1 durable: n+1 was never acknowledged");
    cr_assert_eq(verdict.gap_count, 0);
    cr_assert_eq(verdict.ignored, 2);
}

Test(judge, what_a_later_batch_calls_durable_is_damage_when_it_is_gone) {
    struct judge_item items[] = {batch(1, 3, 0, true), batch(7, 9, 6, true)};
    struct judge_verdict verdict = run(items, 2);
    cr_assert(items[0].accepted && items[1].accepted, "what lies behind it still counts");
    cr_assert_eq(verdict.gap_count, 1);
    cr_assert_eq(verdict.gaps[0].first_lsn, lsn_make(1, 4));
    cr_assert_eq(verdict.gaps[0].last_lsn, lsn_make(1, 6));
}

Test(judge, an_acknowledged_batch_that_does_not_verify_counts_as_damaged) {
    struct judge_item items[] = {batch(1, 3, 0, false), batch(4, 6, 3, true)};
    struct judge_verdict verdict = run(items, 2);
    cr_assert(items[0].accepted && items[0].damaged);
    cr_assert(items[1].accepted && !items[1].damaged);
    cr_assert_eq(verdict.gap_count, 0);
}

Test(judge, a_rewritten_batch_counts_once_and_its_torn_copy_is_no_damage) {
    struct judge_item items[] = {batch(1, 3, 0, true), batch(4, 6, 3, false), batch(4, 6, 3, true),
                                 batch(7, 9, 6, true)};
    struct judge_verdict verdict = run(items, 4);
    uint32_t accepted = 0;
    for (uint32_t i = 0; i < 4; i++) {
        accepted += items[i].accepted;
        cr_assert_not(items[i].damaged);
    }
    cr_assert_eq(accepted, 3);
    cr_assert_eq(verdict.gap_count + verdict.ignored, 0);
}

Test(judge, a_sealed_segment_vouches_for_its_range) {
    struct judge_item items[] = {batch(1, 30, 30, true), batch(31, 33, 0, true)};
    items[0].sealed = true;
    struct judge_verdict verdict = run(items, 2);
    cr_assert(items[0].accepted && items[1].accepted);
    cr_assert_eq(verdict.gap_count, 0);
}

Test(judge, the_first_segment_of_a_log_is_missed_too) {
    struct judge_item items[] = {batch(10, 12, 9, true)};
    struct judge_verdict verdict = run(items, 1);
    cr_assert_eq(verdict.gap_count, 1);
    cr_assert(items[0].accepted);
}

Test(judge, logs_are_judged_apart) {
    struct judge_item items[] = {batch(1, 3, 0, true), batch(1, 2, 0, false), batch(4, 6, 3, true)};
    items[1].log = 1;
    struct judge_verdict verdict = run(items, 3);
    cr_assert_eq(verdict.gap_count, 0);
    cr_assert_eq(verdict.ignored, 1);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(items[i].accepted, items[i].log == 0);
    }
}
