/* SPDX-License-Identifier: MIT */
#pragma once

/* turn — when memory that readers may be looking at can be used again.
 *
 *   writer: unpublish, then turn_retire() names the epoch; free once turn_passed(epoch)
 *   reader: turn_begin() says "nothing I hold is older than now"; turn_park() "I hold nothing"
 *
 * Proof. A reader that has said e loaded the epoch word with acquire and saw e, which the writer
 * stored with release after unpublishing: every later load of that reader sees the new pointer; and
 * its earlier loads came before its release store of e. A parked reader that wakes stores its epoch
 * and fences before it loads any pointer, and the writer fences in turn_retire, between
 * unpublishing and looking at the readers' words (an exchange and an add, however strong, order
 * only themselves: the load behind may pass their store on some processors): one of the fences is
 * first; if the reader's, the writer sees it awake and waits, if the writer's, the reader sees the
 * new pointer. */

#include "base/base.h"
#include "base/counter.h"

#include <stdatomic.h>

#define TURN_PARKED UINT64_MAX

struct turn_reader {
    alignas(CACHE_PAIR) _Atomic uint64_t seen; /* written by one reader, read by writers */
    alignas(CACHE_LINE) counter_t frame_hits;  /* its own: lookups that memory answered */
};

struct turns {
    alignas(CACHE_PAIR) _Atomic uint64_t epoch; /* added to by writers, read by readers */
    alignas(CACHE_PAIR) uint32_t readers_max;   /* set at boot */
    struct turn_reader *readers;
};

/* gcc warns that ThreadSanitizer does not model fences. It need not: they only decide who waits. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif

static inline void turn_begin(struct turns *turns, uint32_t reader) {
    _Atomic uint64_t *seen = &turns->readers[reader].seen;
    uint64_t before = atomic_load_explicit(seen, memory_order_relaxed); /* our own word */
    uint64_t now = atomic_load_explicit(&turns->epoch, memory_order_acquire);
    if (before == now) {
        return;
    }
    if (before == TURN_PARKED) {
        atomic_store_explicit(seen, now, memory_order_release); /* pairs with turn_passed */
        atomic_thread_fence(memory_order_seq_cst);              /* pairs with turn_retire */
        return;
    }
    atomic_store_explicit(seen, now, memory_order_release); /* pairs with turn_passed */
}

static inline void turn_park(struct turns *turns, uint32_t reader) {
    atomic_store_explicit(&turns->readers[reader].seen, TURN_PARKED, memory_order_release);
}

/* What was unpublished before this call may be freed once turn_passed says so of the result. */
static inline uint64_t turn_retire(struct turns *turns) {
    atomic_thread_fence(memory_order_seq_cst); /* pairs with a reader that wakes in turn_begin */
    return atomic_fetch_add_explicit(&turns->epoch, 1, memory_order_release) + 1;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

static inline bool turn_passed(const struct turns *turns, uint64_t epoch) {
    for (uint32_t i = 0; i < turns->readers_max; i++) {
        /* acquire: what the reader did before it said so came before */
        if (atomic_load_explicit(&turns->readers[i].seen, memory_order_acquire) < epoch) {
            return false;
        }
    }
    return true;
}
