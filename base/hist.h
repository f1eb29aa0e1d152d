/* SPDX-License-Identifier: MIT */
#pragma once

/* hist — log-linear counts of durations: 26 octaves (1 us .. 67 s) of 16 equal steps each.
 *
 * One writer records with a relaxed load, add and store; any thread may read a copy meanwhile and
 * see counts that are at most a few records old. A quantile is the upper edge of its step, so it
 * never under-reports; it over-reports by at most 1/16. Below 1 us the steps are 1/16 us.
 * Source: the shape of HdrHistogram (Tene), sized for latencies. */

#include "base/base.h"

#include <stdatomic.h>

#define HIST_OCTAVES 26
#define HIST_STEPS   16
#define HIST_BUCKETS (HIST_OCTAVES * HIST_STEPS + HIST_STEPS)

struct hist {
    _Atomic uint64_t counts[HIST_BUCKETS];
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t max_ns;
};

/* hist_bucket gives the bucket of a duration; hist_edge_ns the exclusive upper edge of a bucket. */
uint32_t hist_bucket(uint64_t ns);
uint64_t hist_edge_ns(uint32_t bucket);

/* Thread: one writer. Cost: about 3 ns. */
void hist_record(struct hist *hist, uint64_t ns, uint64_t count);
/* Adds `from` to `into` (into is not shared). Thread: any. */
void hist_add(struct hist *into, const struct hist *from);
/* Subtracts an older copy of the same histogram: what happened since. */
void hist_since(struct hist *now, const struct hist *older);
uint64_t hist_total(const struct hist *hist);
/* q in 0..1. Returns: ns, 0 for an empty histogram. */
uint64_t hist_quantile_ns(const struct hist *hist, double q);
