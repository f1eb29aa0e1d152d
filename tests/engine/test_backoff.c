/* SPDX-License-Identifier: MIT */
#include "engine/swarm/backoff.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct backoff *backoff_make(uint32_t entries_max, uint64_t salt) {
    struct backoff_config config = {
        .entries_max = entries_max, .first_ns = NS_PER_S, .most_ns = 300 * NS_PER_S, .salt = salt};
    struct backoff *backoff = calloc(1, sizeof *backoff);
    backoff_init(backoff, aligned_alloc(CACHE_LINE, backoff_footprint(&config)), &config);
    return backoff;
}

static void backoff_free(struct backoff *backoff) {
    free(backoff->entries.slots);
    free(backoff);
}

static uint64_t failed(struct backoff *backoff, uint32_t address, uint64_t now_ns) {
    return backoff_failed(backoff, &address, sizeof address, now_ns);
}

static uint64_t until(const struct backoff *backoff, uint32_t address, uint64_t now_ns) {
    return backoff_until(backoff, &address, sizeof address, now_ns);
}

Test(backoff, rests_twice_as_long_each_time_up_to_the_most) {
    struct backoff *backoff = backoff_make(16, 1);
    uint64_t now = 1000 * NS_PER_S, rest = NS_PER_S;
    cr_assert_eq(until(backoff, 7, now), 0);
    for (uint32_t i = 0; i < 12; i++) {
        uint64_t again = failed(backoff, 7, now);
        cr_assert_geq(again - now, rest - rest / 4);
        cr_assert_leq(again - now, rest + rest / 4);
        cr_assert_eq(until(backoff, 7, now), again);
        cr_assert_eq(until(backoff, 7, again - 1), again);
        cr_assert_eq(until(backoff, 7, again), 0);
        now = again;
        rest = rest * 2 < 300 * NS_PER_S ? rest * 2 : 300 * NS_PER_S;
    }
    cr_assert_eq(until(backoff, 8, now), 0, "another address is another matter");
    backoff_free(backoff);
}

Test(backoff, a_success_or_a_long_quiet_forgets) {
    struct backoff *backoff = backoff_make(16, 1);
    uint64_t now = NS_PER_S;
    for (uint32_t i = 0; i < 6; i++) {
        (void)failed(backoff, 7, now);
    }
    uint32_t address = 7;
    backoff_succeeded(backoff, &address, sizeof address);
    backoff_succeeded(backoff, &address, sizeof address);
    cr_assert_eq(until(backoff, 7, now), 0);
    cr_assert_leq(failed(backoff, 7, now) - now, 2 * NS_PER_S);
    for (uint32_t i = 0; i < 6; i++) {
        (void)failed(backoff, 7, now);
    }
    now += 601 * NS_PER_S;
    cr_assert_leq(failed(backoff, 7, now) - now, 2 * NS_PER_S);
    backoff_free(backoff);
}

Test(backoff, the_one_that_failed_longest_ago_makes_room) {
    struct backoff *backoff = backoff_make(4, 1);
    for (uint32_t address = 0; address < 4; address++) {
        (void)failed(backoff, address, 100 + address);
    }
    (void)failed(backoff, 0, 200); /* no longer the oldest */
    (void)failed(backoff, 4, 201);
    cr_assert_eq(backoff->evicted, 1);
    cr_assert_eq(until(backoff, 1, 202), 0);
    cr_assert_gt(until(backoff, 0, 202), 0);
    for (uint32_t address = 2; address <= 4; address++) {
        cr_assert_gt(until(backoff, address, 202), 0);
    }
    backoff_free(backoff);
}

Test(backoff, those_that_failed_together_do_not_come_back_together) {
    struct backoff *backoff = backoff_make(1024, 1);
    uint64_t least = UINT64_MAX, most = 0;
    for (uint32_t address = 0; address < 1000; address++) {
        uint64_t again = failed(backoff, address, 0);
        least = again < least ? again : least;
        most = again > most ? again : most;
    }
    cr_assert_lt(least, 800 * NS_PER_MS);
    cr_assert_gt(most, 1200 * NS_PER_MS);
    backoff_free(backoff);
}

/* Chains and list hold together over many calls on few entries. */
Test(backoff, keeps_exactly_the_latest_failures) {
    struct backoff *backoff = backoff_make(32, 5);
    uint64_t last[100] = {0}, random = 11;
    for (uint64_t now = 1; now < 20000; now++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint32_t address = (uint32_t)(random >> 40) % 100;
        if ((random >> 60) % 4 == 0) {
            backoff_succeeded(backoff, &address, sizeof address);
            last[address] = 0;
        } else {
            (void)failed(backoff, address, now);
            last[address] = now;
        }
        uint32_t newer = 0, asked = (uint32_t)(random >> 33) % 100;
        for (uint32_t i = 0; i < 100; i++) {
            newer += last[i] > last[asked];
        }
        bool known = until(backoff, asked, now) != 0;
        cr_assert(!known || last[asked] != 0);
        if (last[asked] != 0 && newer < 16) {
            cr_assert(known, "nothing that recent is forgotten");
        }
    }
    backoff_free(backoff);
}
