/* SPDX-License-Identifier: MIT */
#include "base/hist.h"

#include "base/must.h"

/* Durations are counted in sixteenths of a microsecond: u = floor(ns * 2 / 125), exact in integers.
 * Then the bucket is u itself below 16, and above it the octave and the next four bits of u. */
#define HIST_OCTAVE_BITS 4
#define HIST_LIMIT_NS    ((UINT64_C(1) << HIST_OCTAVES) * NS_PER_US)

static_assert(HIST_STEPS == 1 << HIST_OCTAVE_BITS, "the steps are the bits below the leading one");

uint32_t hist_bucket(uint64_t ns) {
    if (unlikely(ns >= HIST_LIMIT_NS)) {
        return HIST_BUCKETS - 1;
    }
    uint64_t u = ns * 2 / 125;
    if (u < HIST_STEPS) {
        return (uint32_t)u;
    }
    uint32_t shift = 63 - HIST_OCTAVE_BITS - (uint32_t)__builtin_clzll(u);
    return shift * HIST_STEPS + (uint32_t)(u >> shift);
}

uint64_t hist_edge_ns(uint32_t bucket) {
    must(bucket < HIST_BUCKETS);
    uint32_t next = bucket + 1;
    uint64_t u = next;
    if (next >= HIST_STEPS) {
        uint32_t octave = next / HIST_STEPS - 1;
        u = (uint64_t)(HIST_STEPS + next % HIST_STEPS) << octave;
    }
    return (u * 125 + 1) / 2;
}

/* Relaxed throughout: each word is a number by itself, and the reader is promised no more than
 * counts a few records old. */
static uint64_t hist_load(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}

static void hist_store(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed);
}

void hist_record(struct hist *hist, uint64_t ns, uint64_t count) {
    _Atomic uint64_t *word = &hist->counts[hist_bucket(ns)];
    hist_store(word, hist_load(word) + count);
    hist_store(&hist->sum_ns, hist_load(&hist->sum_ns) + ns * count);
    if (ns > hist_load(&hist->max_ns)) {
        hist_store(&hist->max_ns, ns);
    }
}

void hist_add(struct hist *into, const struct hist *from) {
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        hist_store(&into->counts[i], hist_load(&into->counts[i]) + hist_load(&from->counts[i]));
    }
    hist_store(&into->sum_ns, hist_load(&into->sum_ns) + hist_load(&from->sum_ns));
    uint64_t max_ns = hist_load(&from->max_ns);
    if (max_ns > hist_load(&into->max_ns)) {
        hist_store(&into->max_ns, max_ns);
    }
}

void hist_since(struct hist *now, const struct hist *older) {
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        hist_store(&now->counts[i], hist_load(&now->counts[i]) - hist_load(&older->counts[i]));
    }
    hist_store(&now->sum_ns, hist_load(&now->sum_ns) - hist_load(&older->sum_ns));
    /* max_ns stays: the largest ever is the only bound known for the largest since. */
}

uint64_t hist_total(const struct hist *hist) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        total += hist_load(&hist->counts[i]);
    }
    return total;
}

uint64_t hist_quantile_ns(const struct hist *hist, double q) {
    must(q >= 0.0 && q <= 1.0);
    uint64_t total = hist_total(hist);
    if (total == 0) {
        return 0;
    }
    /* The rank-th smallest, counted from one: the least that has q of all at or below it. */
    double exact = q * (double)total;
    uint64_t rank = (uint64_t)exact;
    rank += (double)rank < exact;
    rank = rank < 1 ? 1 : rank > total ? total : rank;
    uint32_t last_used = 0;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        uint64_t here = hist_load(&hist->counts[i]);
        last_used = here > 0 ? i : last_used;
        seen += here;
        if (seen >= rank) {
            break;
        }
    }
    uint64_t edge_ns = hist_edge_ns(last_used);
    uint64_t max_ns = hist_load(&hist->max_ns);
    /* The last bucket has no upper edge of its own: it also holds all that is longer. */
    return last_used == HIST_BUCKETS - 1 && max_ns > edge_ns ? max_ns : edge_ns;
}
