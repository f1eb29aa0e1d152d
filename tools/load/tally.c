/* SPDX-License-Identifier: MIT */
#include "tools/load/tally.h"

/* The counts that are sums, in one place for both directions. */
#define TALLY_SUMS(X) X(requests) X(bytes) X(writes) X(errors) X(wrong) X(busy) X(not_found) X(late)

static uint64_t word(const _Atomic uint64_t *at) {
    return atomic_load_explicit(at, memory_order_relaxed); /* counts order nothing */
}

void tally_merge(struct tally *into, const struct tally *from) {
#define MERGE(name) tally_count(&into->name, word(&from->name));
    TALLY_SUMS(MERGE)
#undef MERGE
    if (word(&from->last_ns) > word(&into->last_ns)) {
        into->last_ns = word(&from->last_ns);
    }
    hist_add(&into->latency, &from->latency);
}

void tally_since(struct tally *now, const struct tally *older) {
#define SINCE(name) tally_count(&now->name, -word(&older->name));
    TALLY_SUMS(SINCE)
#undef SINCE
    hist_since(&now->latency, &older->latency);
}
