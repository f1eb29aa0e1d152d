/* SPDX-License-Identifier: MIT */
#include "base/hist.h"

#include <criterion/criterion.h>

#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct hist hist, older;

Test(hist, every_edge_and_its_neighbours_fall_right) {
    for (uint32_t bucket = 0; bucket + 1 < HIST_BUCKETS; bucket++) {
        uint64_t edge_ns = hist_edge_ns(bucket);
        cr_assert_eq(hist_bucket(edge_ns - 1), bucket, "below the edge of %u", bucket);
        cr_assert_eq(hist_bucket(edge_ns), bucket + 1, "on the edge of %u", bucket);
        cr_assert_eq(hist_bucket(edge_ns + 1), bucket + 1, "above the edge of %u", bucket);
    }
    cr_assert_eq(hist_bucket(0), 0);
    cr_assert_eq(hist_edge_ns(HIST_BUCKETS - 1), (UINT64_C(1) << 26) * 1000);
}

Test(hist, octaves_begin_at_powers_of_two_of_a_microsecond) {
    for (uint32_t octave = 0; octave < HIST_OCTAVES; octave++) {
        uint64_t ns = (UINT64_C(1) << octave) * NS_PER_US;
        cr_assert_eq(hist_bucket(ns), HIST_STEPS * (octave + 1));
        cr_assert_eq(hist_bucket(ns - 1), HIST_STEPS * (octave + 1) - 1);
    }
}

Test(hist, steps_are_at_most_a_sixteenth_of_their_value) {
    for (uint32_t bucket = HIST_STEPS; bucket < HIST_BUCKETS; bucket++) {
        double low = (double)hist_edge_ns(bucket - 1), high = (double)hist_edge_ns(bucket);
        cr_assert_leq(high - low, low / 16 + 1, "bucket %u", bucket);
    }
}

Test(hist, whatever_is_longer_than_the_last_edge_falls_in_the_last_bucket) {
    cr_assert_eq(hist_bucket(hist_edge_ns(HIST_BUCKETS - 1)), HIST_BUCKETS - 1);
    cr_assert_eq(hist_bucket(UINT64_MAX), HIST_BUCKETS - 1);
    hist_record(&hist, 200 * NS_PER_S, 1);
    cr_assert_eq(hist_quantile_ns(&hist, 0.5), 200 * NS_PER_S);
}

Test(hist, an_empty_one_has_quantile_zero) {
    cr_assert_eq(hist_quantile_ns(&hist, 0.99), 0);
    cr_assert_eq(hist_total(&hist), 0);
}

Test(hist, quantiles_are_the_upper_edge_of_the_rank) {
    for (uint64_t ms = 1; ms <= 100; ms++) {
        hist_record(&hist, ms * NS_PER_MS, 1);
    }
    cr_assert_eq(hist_total(&hist), 100);
    cr_assert_eq(hist_quantile_ns(&hist, 0.0), hist_edge_ns(hist_bucket(1 * NS_PER_MS)));
    cr_assert_eq(hist_quantile_ns(&hist, 0.5), hist_edge_ns(hist_bucket(50 * NS_PER_MS)));
    cr_assert_eq(hist_quantile_ns(&hist, 0.99), hist_edge_ns(hist_bucket(99 * NS_PER_MS)));
    cr_assert_eq(hist_quantile_ns(&hist, 1.0), hist_edge_ns(hist_bucket(100 * NS_PER_MS)));
    cr_assert_eq(atomic_load(&hist.max_ns), 100 * NS_PER_MS);
    cr_assert_eq(atomic_load(&hist.sum_ns), 5050 * NS_PER_MS);
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Two uniforms make a normal; its exponential is a latency like those of a real service. */
static uint64_t lognormal_ns(unsigned short state[3]) {
    double u = erand48(state), v = erand48(state);
    double normal = sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * v);
    return (uint64_t)(exp(12.0 + 1.5 * normal));
}

Test(hist, a_million_lognormal_samples_are_over_reported_by_a_sixteenth_at_most) {
    const size_t count = 1000000;
    uint64_t *all = malloc(count * sizeof *all);
    cr_assert_not_null(all);
    unsigned short state[3] = {1, 2, 3};
    for (size_t i = 0; i < count; i++) {
        all[i] = lognormal_ns(state);
        hist_record(&hist, all[i], 1);
    }
    qsort(all, count, sizeof *all, by_value);
    static const double quantiles[] = {0.5, 0.9, 0.95, 0.99, 0.999};
    for (size_t i = 0; i < array_count(quantiles); i++) {
        double exact = (double)all[(size_t)ceil(quantiles[i] * (double)count) - 1];
        double told = (double)hist_quantile_ns(&hist, quantiles[i]);
        cr_assert_geq(told, exact);
        cr_assert_leq(told / exact - 1, 1.0 / 16, "%g", quantiles[i]);
    }
    free(all);
}

Test(hist, sums_and_differences_are_by_bucket) {
    hist_record(&hist, 5 * NS_PER_US, 3);
    memcpy(&older, &hist, sizeof older);
    hist_record(&hist, 7 * NS_PER_MS, 2);
    hist_since(&hist, &older);
    cr_assert_eq(hist_total(&hist), 2);
    cr_assert_eq(hist_quantile_ns(&hist, 0.0), hist_edge_ns(hist_bucket(7 * NS_PER_MS)));
    cr_assert_eq(atomic_load(&hist.sum_ns), 14 * NS_PER_MS);
    hist_add(&hist, &older);
    cr_assert_eq(hist_total(&hist), 5);
    cr_assert_eq(atomic_load(&hist.max_ns), 7 * NS_PER_MS);
}

Test(hist, counts_that_wrap_still_give_their_difference) {
    uint32_t bucket = hist_bucket(NS_PER_MS);
    atomic_store(&hist.counts[bucket], UINT64_MAX - 1);
    memcpy(&older, &hist, sizeof older);
    hist_record(&hist, NS_PER_MS, 5);
    hist_since(&hist, &older);
    cr_assert_eq(hist_total(&hist), 5);
}

Test(hist, a_quantile_outside_its_range_panics, .signal = SIGABRT) {
    hist_quantile_ns(&hist, 1.5);
}
