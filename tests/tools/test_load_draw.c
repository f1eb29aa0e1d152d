/* SPDX-License-Identifier: MIT */
#include "tools/load/draw.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

Test(load_draw, uniform_draws_stay_below_and_fill_every_place_alike) {
    struct draw draw = {.state = 3};
    uint32_t counts[100] = {0};
    for (int i = 0; i < 1000000; i++) {
        uint64_t place = draw_below(&draw, 100);
        cr_assert(place < 100);
        counts[place]++;
    }
    for (int i = 0; i < 100; i++) {
        cr_assert(counts[i] > 9500 && counts[i] < 10500, "place %d came %u times", i, counts[i]);
    }
}

/* Chi-squared of the draws against the law, over the first ranks and the rest in one. */
static void zipf_expect(uint64_t count, double s) {
    enum { DRAWS = 1000000, RANKS = 50 };
    struct draw draw = {.state = 11};
    struct zipf zipf;
    zipf_init(&zipf, count, s);
    uint32_t counts[RANKS + 1] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint64_t rank = zipf_draw(&zipf, &draw);
        cr_assert(rank < count);
        counts[rank < RANKS ? rank : RANKS]++;
    }
    double sum = 0, chi = 0, head = 0;
    for (uint64_t i = 0; i < count; i++) {
        sum += pow((double)i + 1, -s);
    }
    for (int i = 0; i <= RANKS; i++) {
        double part = i < RANKS ? pow(i + 1.0, -s) / sum : 1 - head;
        head += part;
        double expected = part * DRAWS;
        chi += expected > 1 ? (counts[i] - expected) * (counts[i] - expected) / expected : 0;
    }
    /* 50 degrees of freedom: 86.7 is passed by chance once in a thousand; the seed is fixed. */
    cr_assert(chi < 86.7, "chi squared %.1f for s %.2f over %lu", chi, s, (unsigned long)count);
}

Test(load_draw, zipf_draws_follow_the_law) {
    zipf_expect(100000, 0.99);
}
Test(load_draw, zipf_draws_follow_the_law_where_the_exponent_is_one) {
    zipf_expect(1000, 1.0);
}
Test(load_draw, zipf_draws_follow_the_law_where_it_is_steep) {
    zipf_expect(1000, 2.5);
}
Test(load_draw, zipf_draws_follow_the_law_where_it_is_flat) {
    zipf_expect(60, 0.2);
}
Test(load_draw, zipf_over_one_key_draws_that_key) {
    struct draw draw = {.state = 1};
    struct zipf zipf;
    zipf_init(&zipf, 1, 0.99);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(zipf_draw(&zipf, &draw), 0);
    }
}
