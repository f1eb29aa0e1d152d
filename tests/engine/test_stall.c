/* SPDX-License-Identifier: MIT */
#include "engine/stall.h"

#include <criterion/criterion.h>

/* What stands still is said once in a while, and nothing else is (engine/stall.c). */

Test(stall, it_is_said_after_three_seconds_and_then_ever_more_rarely) {
    struct stall stall = {.done = 7};
    uint64_t said[4], count = 0;
    for (uint32_t s = 1; s <= 30; s++) {
        uint64_t seconds = stall_look(&stall, true, 7);
        if (seconds > 0) {
            cr_assert_lt(count, 4);
            said[count++] = seconds;
        }
    }
    cr_assert_eq(count, 4);
    cr_assert(said[0] == 3 && said[1] == 6 && said[2] == 12 && said[3] == 24);
}

Test(stall, what_goes_on_or_has_nothing_to_do_is_none) {
    struct stall stall = {.done = 0};
    for (uint64_t s = 1; s <= 30; s++) {
        cr_assert_eq(stall_look(&stall, true, s), 0);
    }
    for (uint64_t s = 1; s <= 30; s++) {
        cr_assert_eq(stall_look(&stall, false, 30), 0);
    }
}

Test(stall, one_that_ended_is_forgotten) {
    struct stall stall = {.done = 0};
    for (uint32_t s = 0; s < 5; s++) {
        (void)stall_look(&stall, true, 0);
    }
    cr_assert_eq(stall_look(&stall, true, 1), 0);
    cr_assert_eq(stall_look(&stall, true, 1), 0);
    cr_assert_eq(stall_look(&stall, true, 1), 0);
    cr_assert_eq(stall_look(&stall, true, 1), 3);
}
