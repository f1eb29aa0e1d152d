/* SPDX-License-Identifier: MIT */
#include "tools/load/pace.h"

#include <criterion/criterion.h>
#include <math.h>

Test(load_pace, a_fixed_pace_is_exact_after_a_million_requests) {
    struct pace pace;
    pace_init(&pace, 1000, 3000, 0, false, 1);
    uint64_t last_ns = 0;
    for (int i = 0; i <= 3000000; i++) {
        last_ns = pace_take(&pace);
    }
    /* 3,000,000 gaps at 3,000 a second are 1,000 seconds, whatever a third of a microsecond does.
     */
    cr_assert(last_ns - 1000 <= 1000 * NS_PER_S && last_ns - 1000 >= 1000 * NS_PER_S - 1);
}

Test(load_pace, intended_times_do_not_depend_on_when_they_are_taken) {
    struct pace one, two;
    pace_init(&one, 5, 1e5, 0, true, 7);
    pace_init(&two, 5, 1e5, 0, true, 7);
    for (int i = 0; i < 1000; i++) {
        uint64_t peeked = pace_peek(&one);
        cr_assert_eq(peeked, pace_peek(&one));
        cr_assert_eq(peeked, pace_take(&one));
        cr_assert_eq(peeked, pace_take(&two));
    }
}

Test(load_pace, threads_with_phases_interleave_evenly) {
    struct pace first, second;
    pace_init(&first, 0, 500, 0, false, 1);
    pace_init(&second, 0, 500, 0.5, false, 1);
    for (uint64_t i = 0; i < 100; i++) {
        cr_assert_eq(pace_take(&first), i * 2000000);
        cr_assert_eq(pace_take(&second), i * 2000000 + 1000000);
    }
}

Test(load_pace, poisson_gaps_have_the_mean_and_the_spread_of_the_exponential_law) {
    struct pace pace;
    pace_init(&pace, 0, 1e6, 0, true, 42);
    double sum = 0, squares = 0;
    uint64_t before_ns = 0;
    const int count = 400000;
    for (int i = 0; i < count; i++) {
        uint64_t at_ns = pace_take(&pace);
        cr_assert(at_ns >= before_ns);
        double gap = (double)(at_ns - before_ns);
        before_ns = at_ns;
        sum += gap;
        squares += gap * gap;
    }
    double mean = sum / count, deviation = sqrt(squares / count - mean * mean);
    cr_assert_float_eq(mean, 1000, 10, "mean gap %f ns", mean);
    cr_assert_float_eq(deviation, 1000, 15, "deviation %f ns", deviation);
}
