/* SPDX-License-Identifier: MIT */
#pragma once

/* arrivals — which blocks came: one work tile says it, every net tile may hear it.
 *
 * A ring of keys that is written over: the writer never waits, and a reader that was too slow finds
 * out (ARRIVALS_LOST) and looks everything up again. Peers' wants for blocks we lacked hang on it.
 *
 *   writer   slot words (relaxed), then head + 1 (release)
 *   reader   head (acquire); slot words (relaxed); fence (acquire); next: if it has come to a
 *            ring's length past the slot, the words may be another key's: lost
 *
 * The words of a slot are atomics, so a torn read is a wrong key and no data race, and the second
 * look at `next` throws it away: the writer announces in `next` (release fence before its words)
 * which slot it is about to write.
 *
 * Wakes: the writer fences (seq_cst) after its burst and reads each tile's `waiting` word; the tile
 * stores that word before its bell is armed, whose fence stands before its last look at `head`.
 *
 * Thread: one writer; any number of readers, each with a cursor of its own. */

#include "base/base.h"
#include "base/key.h"

#include <stdatomic.h>

#define ARRIVALS_SLOTS 1024u
#define ARRIVALS_WORDS 9u /* 72 bytes: a key of 68 */

struct arrivals {
    alignas(CACHE_PAIR) _Atomic uint64_t next; /* the slot being written; writer only */
    _Atomic uint64_t head;                     /* slots written; writer only */
    alignas(CACHE_PAIR) _Atomic uint64_t words[ARRIVALS_SLOTS][ARRIVALS_WORDS];
};

void arrivals_init(struct arrivals *arrivals);
void arrivals_push(struct arrivals *arrivals, const struct key *key);
static inline uint64_t arrivals_head(const struct arrivals *arrivals) {
    return atomic_load_explicit(&arrivals->head, memory_order_acquire); /* pairs with push */
}
enum { ARRIVALS_NONE = 1, ARRIVALS_LOST = 2 };
/* Takes the next key behind *cursor. Returns: 0; NONE; LOST: *cursor is moved to now. */
must_check int arrivals_pop(const struct arrivals *arrivals, uint64_t *cursor, struct key *ret_key);
