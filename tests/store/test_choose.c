/* SPDX-License-Identifier: MIT */
#include "store/choose.h"

#include <criterion/criterion.h>

/* The policy alone: tables in, a choice out. */

#define SEGMENT (4 * MiB)

static struct choose_rules rules(void) {
    struct choose_rules rules = choose_default;
    rules.segment_bytes = SEGMENT;
    return rules;
}

static struct choose_segment segment(uint32_t id, uint64_t live_of_1000) {
    return (struct choose_segment){.id = id,
                                   .generation = id,
                                   .data_bytes = SEGMENT,
                                   .live_bytes = SEGMENT / 1000 * live_of_1000};
}

static struct choice ask(const struct choose_segment *segments, uint32_t count, uint32_t fill) {
    struct choose_rules given = rules();
    struct choose_tier tier = {.present = true, .fill = fill};
    return choose(&given, segments, count, &tier, 1);
}

Test(choose, nothing_where_all_is_live) {
    struct choose_segment segments[] = {segment(1, 1000), segment(2, 700)};
    cr_assert_eq(ask(segments, 2, 500).reason, CHOOSE_NOTHING);
    cr_assert_eq(ask(segments, 0, 500).reason, CHOOSE_NOTHING);
}

Test(choose, what_is_dead_goes_first) {
    struct choose_segment segments[] = {segment(1, 650), segment(2, 0)};
    struct choice choice = ask(segments, 2, 500);
    cr_assert_eq(choice.reason, CHOOSE_DEAD);
    cr_assert_eq(choice.id, 2);
    segments[1].needed_bytes = 4096; /* tombstones go along: that is a rewrite */
    cr_assert_eq(ask(segments, 2, 500).reason, CHOOSE_GARBAGE);
    cr_assert_eq(ask(segments, 2, 500).id, 2);
}

Test(choose, what_is_dead_and_stuck_does_not_keep_others_from_their_turn) {
    struct choose_segment segments[] = {segment(1, 0), segment(2, 300)};
    segments[0].stuck_bytes = CHOOSE_STUCK_DEAD; /* a record of a pin cannot be read */
    cr_assert_eq(ask(segments, 2, 500).reason, CHOOSE_GARBAGE);
    cr_assert_eq(ask(segments, 2, 500).id, 2);
    cr_assert_eq(ask(segments, 1, 1000).reason, CHOOSE_NOTHING, "or it is chosen without end");
}

Test(choose, garbage_weighs_with_age) {
    struct choose_segment even[] = {segment(5, 500), segment(9, 500)};
    cr_assert_eq(ask(even, 2, 500).reason, CHOOSE_GARBAGE);
    cr_assert_eq(ask(even, 2, 500).id, 5, "of two alike the older: what died early died");
    struct choose_segment old[] = {segment(5, 590), segment(6, 550), segment(7, 100)};
    cr_assert_eq(ask(old, 3, 500).id, 5, "age outweighs somewhat less garbage");
    struct choose_segment below[] = {segment(1, 610)};
    cr_assert_eq(ask(below, 1, 500).reason, CHOOSE_NOTHING, "0.39 is below 0.40");
}

Test(choose, a_full_tier_takes_what_it_can_get) {
    struct choose_segment segments[] = {segment(1, 980), segment(2, 900), segment(3, 800)};
    cr_assert_eq(ask(segments, 3, 899).reason, CHOOSE_NOTHING);
    struct choice choice = ask(segments, 3, 900);
    cr_assert_eq(choice.reason, CHOOSE_FORCED);
    cr_assert_eq(choice.id, 3);
    cr_assert_eq(ask(segments, 1, 1000).reason, CHOOSE_NOTHING, "a fiftieth is not worth it");
}

Test(choose, what_is_stuck_is_let_alone_until_something_changes) {
    struct choose_segment segments[] = {segment(1, 10)};
    segments[0].stuck_bytes = segments[0].live_bytes;
    cr_assert_eq(ask(segments, 1, 950).reason, CHOOSE_NOTHING);
    segments[0].live_bytes = 0; /* the damaged block was put anew, or deleted */
    cr_assert_eq(ask(segments, 1, 500).reason, CHOOSE_DEAD);
}

Test(choose, the_oldest_leaves_full_fast_tiers_if_a_slow_one_has_room) {
    struct choose_rules given = rules();
    struct choose_segment segments[] = {segment(3, 1000), segment(2, 1000), segment(1, 1000)};
    segments[2].tier = 1;
    struct choose_tier tiers[] = {{.present = true, .fill = 860},
                                  {.present = true, .slow = true, .fill = 100}};
    struct choice choice = choose(&given, segments, 3, tiers, 2);
    cr_assert_eq(choice.reason, CHOOSE_DEMOTE);
    cr_assert_eq(choice.id, 2, "the oldest of those on the fast tier");
    tiers[1].fill = 950;
    cr_assert_eq(choose(&given, segments, 3, tiers, 2).reason, CHOOSE_NOTHING);
    tiers[1] = (struct choose_tier){.present = false, .slow = true};
    cr_assert_eq(choose(&given, segments, 3, tiers, 2).reason, CHOOSE_NOTHING, "it is away");
    tiers[0].fill = 800;
    tiers[1] = (struct choose_tier){.present = true, .slow = true};
    cr_assert_eq(choose(&given, segments, 3, tiers, 2).reason, CHOOSE_NOTHING);
}

Test(choose, a_tier_without_room_for_logs_is_relieved_whatever_its_fill) {
    struct choose_rules given = rules();
    struct choose_segment segments[] = {segment(1, 1000), segment(2, 900)};
    struct choose_tier tiers[] = {{.present = true, .full = true, .fill = 500},
                                  {.present = true, .slow = true}};
    cr_assert_eq(choose(&given, segments, 2, tiers, 2).reason, CHOOSE_FORCED);
    cr_assert_eq(choose(&given, segments, 1, tiers, 2).reason, CHOOSE_DEMOTE);
    tiers[1].full = true;
    cr_assert_eq(choose(&given, segments, 1, tiers, 2).reason, CHOOSE_NOTHING);
    tiers[0].full = tiers[1].full = false;
    cr_assert_eq(choose(&given, segments, 2, tiers, 2).reason, CHOOSE_NOTHING);
}

Test(choose, many_crumbs_are_swept_together) {
    struct choose_segment segments[20];
    for (uint32_t i = 0; i < 20; i++) {
        segments[i] = (struct choose_segment){
            .id = 40 - i, .generation = 40 - i, .data_bytes = 8192, .live_bytes = 8192};
    }
    cr_assert_eq(ask(segments, choose_default.crumbs, 100).reason, CHOOSE_NOTHING);
    struct choice choice = ask(segments, 20, 100);
    cr_assert_eq(choice.reason, CHOOSE_CRUMBS);
    cr_assert_eq(choice.id, 21);
    cr_assert_str_eq(choose_word(choice.reason), "crumbs");
}

Test(choose, an_allowance_is_so_much_a_second) {
    struct allowance allowance = {.rate = 1000, .burst_ns = NS_PER_S};
    uint64_t now_ns = 100 * NS_PER_S, spent = 0;
    for (uint32_t i = 0; i < 1000; i++, now_ns += 10 * NS_PER_MS) { /* ten seconds */
        while (allowance_open(&allowance, now_ns)) {
            allowance_spend(&allowance, now_ns, 100);
            spent += 100;
        }
    }
    cr_assert_geq(spent, 10000);
    cr_assert_leq(spent, 11200, "a second's worth was saved up, not more");
    struct allowance none = {.rate = 0};
    allowance_spend(&none, now_ns, UINT64_C(1) << 60);
    cr_assert(allowance_open(&none, now_ns), "no limit");
    struct allowance wide = {.rate = 3, .burst_ns = 0};
    allowance_spend(&wide, NS_PER_S, UINT64_C(1) << 33);
    cr_assert_not(allowance_open(&wide, NS_PER_S * (UINT64_C(1) << 31)));
    cr_assert(allowance_open(&wide, NS_PER_S * (UINT64_C(1) << 32)));
}
