/* SPDX-License-Identifier: MIT */
#include "engine/park.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

/* It bounds spinning: zero would never spin, and milliseconds would burn a core for nothing. */
Test(park, costs_something_and_less_than_ten_milliseconds) {
    for (int i = 0; i < 5; i++) {
        uint64_t cost = park_cost_ns();
        cr_assert_gt(cost, 0);
        cr_assert_lt(cost, 10 * NS_PER_MS);
    }
}

Test(park, leaves_no_descriptor_behind) {
    int before = dup(0);
    close(before);
    for (int i = 0; i < 3; i++) {
        (void)park_cost_ns();
    }
    int after = dup(0);
    close(after);
    cr_assert_eq(before, after);
}

Test(park, has_an_answer_where_it_cannot_measure) {
    struct rlimit none = {.rlim_cur = 3, .rlim_max = 3};
    int next = dup(0);
    close(next);
    none.rlim_cur = none.rlim_max = (rlim_t)next; /* no descriptor is left */
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    uint64_t cost = park_cost_ns();
    cr_assert_gt(cost, 0);
    cr_assert_lt(cost, 10 * NS_PER_MS);
}
