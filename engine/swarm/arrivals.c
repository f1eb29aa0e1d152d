/* SPDX-License-Identifier: MIT */
#include "engine/swarm/arrivals.h"

#include <string.h>

static_assert(sizeof(struct key) <= ARRIVALS_WORDS * sizeof(uint64_t), "a slot holds a key");

/* gcc warns that ThreadSanitizer does not model fences; every word here is an atomic all the same.
 */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wtsan"
#endif

void arrivals_init(struct arrivals *arrivals) {
    memset(arrivals, 0, sizeof *arrivals);
}

void arrivals_push(struct arrivals *arrivals, const struct key *key) {
    uint64_t words[ARRIVALS_WORDS] = {0};
    memcpy(words, key, sizeof *key);
    uint64_t head = atomic_load_explicit(&arrivals->head, memory_order_relaxed); /* ours */
    atomic_store_explicit(&arrivals->next, head + 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release); /* who sees a word sees `next`: pairs with pop */
    _Atomic uint64_t *slot = arrivals->words[head % ARRIVALS_SLOTS];
    for (uint32_t i = 0; i < ARRIVALS_WORDS; i++) {
        atomic_store_explicit(&slot[i], words[i], memory_order_relaxed);
    }
    atomic_store_explicit(&arrivals->head, head + 1, memory_order_release); /* pairs with pop */
}

int arrivals_pop(const struct arrivals *arrivals, uint64_t *cursor, struct key *ret_key) {
    uint64_t head = atomic_load_explicit(&arrivals->head, memory_order_acquire);
    if (head == *cursor) {
        return ARRIVALS_NONE;
    }
    uint64_t words[ARRIVALS_WORDS];
    const _Atomic uint64_t *slot = arrivals->words[*cursor % ARRIVALS_SLOTS];
    for (uint32_t i = 0; i < ARRIVALS_WORDS; i++) {
        words[i] = atomic_load_explicit(&slot[i], memory_order_relaxed);
    }
    atomic_thread_fence(memory_order_acquire); /* pairs with push's fence */
    uint64_t next = atomic_load_explicit(&arrivals->next, memory_order_relaxed);
    if (next - *cursor > ARRIVALS_SLOTS) { /* the slot was, or is being, written again */
        *cursor = head;
        return ARRIVALS_LOST;
    }
    memcpy(ret_key, words, sizeof *ret_key);
    (*cursor)++;
    return 0;
}
