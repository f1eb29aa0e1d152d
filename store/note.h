/* SPDX-License-Identifier: MIT */
#pragma once

/* note — what the porter asks of a keeper: a piece of work that only the owner of a shard may do.
 *
 *   porter: note_post ──► keeper's pile ──► keeper_poll runs it in its turn ──► done
 *
 * The note is its poster's memory until note_done says so; the poster never waits in place, it
 * looks again in a later step. A note does a bounded piece of work (some 100 us at most) and may
 * begin operations of its own with keeper_begin (store_op.done tells their end).
 *
 * Thread: note_post, note_done: the porter; run: the keeper's tile. Cost: one compare-and-swap to
 * post, one exchange a turn that finds notes. */

#include "base/base.h"

#include <stdatomic.h>

struct keeper;
struct store;

struct note {
    struct note *next; /* the queue's */
    void (*run)(struct keeper *keeper, struct note *note);
    _Atomic bool done; /* release by the keeper, acquire by the poster */
};

#define NOTE_TURN_MAX 16u /* notes that a keeper runs in one turn */

void note_post(struct store *store, uint32_t keeper, struct note *note);
static inline bool note_done(const struct note *note) {
    return atomic_load_explicit(&note->done, memory_order_acquire); /* pairs with note_poll */
}

/* Runs what waits, oldest first. Returns: how many. Thread: the keeper's. */
uint32_t note_poll(struct keeper *keeper);
