/* SPDX-License-Identifier: MIT */
#pragma once

/* tally — what one class of one thread has seen; the reader adds them up.
 *
 * One writer (its worker); any thread reads meanwhile and may see counts a little old. */

#include "base/hist.h"

#include <stdatomic.h>

#define TALLY_CLASSES 4u

struct tally {
    _Atomic uint64_t requests; /* answered with what was asked for */
    _Atomic uint64_t bytes;    /* of the bodies of those */
    _Atomic uint64_t writes;   /* of requests, those that put */
    _Atomic uint64_t errors;   /* refused, broken or never answered */
    _Atomic uint64_t wrong;    /* answered with other bytes than the content's, or content gone */
    _Atomic uint64_t busy;     /* asked to come back */
    _Atomic uint64_t not_found;
    _Atomic uint64_t late;    /* open loop: due, but never sent: the backlog was full */
    _Atomic uint64_t last_ns; /* when the last request counted was answered */
    struct hist latency;
};

static inline void tally_count(_Atomic uint64_t *word, uint64_t count) {
    /* One writer: nothing is ordered by it, so load and store need be no one step. */
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    atomic_store_explicit(word, old + count, memory_order_relaxed);
}

/* tally_merge adds `from` to `into`; tally_since takes an older copy away again. `into` and `now`
 * are not shared. */
void tally_merge(struct tally *into, const struct tally *from);
void tally_since(struct tally *now, const struct tally *older);
