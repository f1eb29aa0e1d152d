/* SPDX-License-Identifier: MIT */
#include "engine/swarm/trim.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static const struct trim_config config = {.high = 96, .low = 32, .grace_ns = 20 * NS_PER_S};

static struct trim_candidate plain(uint64_t id) {
    return (struct trim_candidate){.id = id, .age_ns = 100 * NS_PER_S};
}

Test(trim, begins_above_high_and_goes_on_until_low) {
    struct trim trim;
    uint64_t ids[TRIM_BATCH];
    trim_init(&trim, &config);
    cr_assert_not(trim_begin(&trim, 96));
    cr_assert(trim_begin(&trim, 97));
    cr_assert_eq(trim_end(&trim, ids), 0, "nobody was offered");
    cr_assert(trim_begin(&trim, 60));
    cr_assert(trim_begin(&trim, 33), "the same round, still on");
    cr_assert_not(trim_begin(&trim, 32));
    struct trim_candidate candidate = plain(1);
    trim_offer(&trim, &candidate);
    cr_assert_eq(trim_end(&trim, ids), 0, "no round is on");
    cr_assert_not(trim_begin(&trim, 50), "down once, it waits for high again");
    cr_assert_eq(trim.rounds, 2);
}

Test(trim, takes_no_more_than_the_surplus_and_no_more_than_a_batch) {
    struct trim trim;
    uint64_t ids[TRIM_BATCH];
    trim_init(&trim, &config);
    for (uint32_t connections = 97; connections <= 500; connections += 403) {
        cr_assert(trim_begin(&trim, connections));
        for (uint64_t i = 0; i < 500; i++) {
            struct trim_candidate candidate = plain(i);
            trim_offer(&trim, &candidate);
        }
        cr_assert_eq(trim_end(&trim, ids), TRIM_BATCH);
    }
    cr_assert(trim_begin(&trim, 35));
    for (uint64_t i = 0; i < 35; i++) {
        struct trim_candidate candidate = plain(i);
        trim_offer(&trim, &candidate);
    }
    cr_assert_eq(trim_end(&trim, ids), 3);
    cr_assert_eq(trim.chosen, 2 * TRIM_BATCH + 3);
}

Test(trim, leaves_alone_who_is_protected_in_use_or_young) {
    struct trim trim;
    uint64_t ids[TRIM_BATCH];
    trim_init(&trim, &config);
    cr_assert(trim_begin(&trim, 97));
    struct trim_candidate candidates[4] = {plain(1), plain(2), plain(3), plain(4)};
    candidates[0].protected = true;
    candidates[1].in_use = true;
    candidates[2].age_ns = config.grace_ns - 1;
    candidates[3].age_ns = config.grace_ns;
    for (uint32_t i = 0; i < 4; i++) {
        trim_offer(&trim, &candidates[i]);
    }
    cr_assert_eq(trim_end(&trim, ids), 1);
    cr_assert_eq(ids[0], 4);
}

Test(trim, each_thing_that_counts_counts_its_way) {
    struct trim_candidate base = plain(1);
    base.idle_ns = 10 * NS_PER_S;
    int32_t worth = trim_worth(&base);
    struct trim_candidate other = base;
    other.bytes_received = MiB;
    int32_t received = trim_worth(&other);
    cr_assert_gt(received, worth);
    other = base;
    other.bytes_sent = MiB;
    cr_assert_gt(trim_worth(&other), worth);
    cr_assert_lt(trim_worth(&other), received, "giving counts more than taking");
    other = base;
    other.wants_queued = 1;
    cr_assert_gt(trim_worth(&other), worth);
    other = base;
    other.outbound = true;
    cr_assert_gt(trim_worth(&other), worth);
    other = base;
    other.idle_ns = 100 * NS_PER_S;
    cr_assert_lt(trim_worth(&other), worth);
    other = base;
    other.neighbours = 7;
    cr_assert_lt(trim_worth(&other), worth);
}

/* Whatever the order of the offers, it is the least worth that go, the very least first. */
Test(trim, chooses_as_a_full_sort_would) {
    uint64_t random = 7;
    for (uint32_t run = 0; run < 50; run++) {
        struct trim trim;
        struct trim_candidate candidates[300];
        uint64_t ids[TRIM_BATCH];
        trim_init(&trim, &config);
        cr_assert(trim_begin(&trim, 97));
        for (uint64_t i = 0; i < 300; i++) {
            candidates[i] = plain(i);
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            candidates[i].bytes_received = (random >> 40) % 4 * MiB;
            candidates[i].idle_ns = (random >> 33) % 1000 * NS_PER_S;
            trim_offer(&trim, &candidates[i]);
        }
        uint32_t count = trim_end(&trim, ids);
        cr_assert_eq(count, TRIM_BATCH);
        bool chosen[300] = {false};
        for (uint32_t i = 0; i < count; i++) {
            cr_assert_not(chosen[ids[i]]);
            chosen[ids[i]] = true;
            if (i > 0) {
                int32_t here = trim_worth(&candidates[ids[i]]);
                int32_t before = trim_worth(&candidates[ids[i - 1]]);
                cr_assert(before < here || (before == here && candidates[ids[i - 1]].idle_ns >=
                                                                  candidates[ids[i]].idle_ns));
            }
        }
        int32_t last = trim_worth(&candidates[ids[count - 1]]);
        for (uint32_t i = 0; i < 300; i++) {
            cr_assert(chosen[i] || trim_worth(&candidates[i]) >= last);
        }
    }
}
