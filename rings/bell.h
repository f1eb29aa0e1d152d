/* SPDX-License-Identifier: MIT */
#pragma once

/* bell — how a tile that has work for another core finds out whether that core sleeps.
 *
 *   sleeper:  bell_arm();  look once more at EVERY input;  nothing -> wait in the kernel (a
 *             standing tick of 100 ms ends any wait), something -> go on;  either way bell_disarm()
 *   waker:    publish;  once per burst: if (bell_must_ring(bell)) ring it in the kernel (MSG_RING)
 *
 * Proof: arm is a store and a seq_cst fence before the last look; must_ring is a seq_cst fence
 * after the publish and before the load. Of the two fences one is first. If the sleeper's, the
 * waker sees the armed word and rings; if the waker's, the sleeper's last look sees what was
 * published. ck's own fences do not order that store before that load, so these two are needed. An
 * exchange makes sure that of many wakers one rings. A spurious ring is harmless and counted. */

#include "base/base.h"

#include <stdatomic.h>

struct bell {
    alignas(CACHE_PAIR) _Atomic uint32_t asleep; /* written by the sleeper (1) and one waker (0) */
    int ring_fd;                                 /* set at boot: the target core's io_uring */
};

/* gcc warns that ThreadSanitizer does not model fences. Nothing here rests on its modelling them:
 * what is published goes through a ring, and the bell only decides whether to wake. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"
#endif

/* For a waker that asks before it rings whether anybody is interested: publish, wake_fence, read
 * the sleeper's word. */
static inline void wake_fence(void) {
    atomic_thread_fence(memory_order_seq_cst); /* pairs with bell_arm */
}
static inline void bell_arm(struct bell *bell) {
    atomic_store_explicit(&bell->asleep, 1, memory_order_relaxed); /* ordered by the fence below */
    atomic_thread_fence(memory_order_seq_cst);                     /* pairs with bell_must_ring */
}
static inline void bell_disarm(struct bell *bell) {
    atomic_store_explicit(&bell->asleep, 0, memory_order_relaxed); /* only this core acts on it */
}
static inline bool bell_must_ring(struct bell *bell) {
    atomic_thread_fence(memory_order_seq_cst); /* pairs with bell_arm */
    return atomic_load_explicit(&bell->asleep, memory_order_relaxed) != 0 &&
           atomic_exchange_explicit(&bell->asleep, 0, memory_order_relaxed) != 0;
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif
