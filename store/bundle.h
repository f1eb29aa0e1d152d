/* SPDX-License-Identifier: MIT */
#pragma once

/* bundle — many operations as one: handed to the keepers that own their keys, collected again, and
 * where it is asked for all or nothing.
 *
 *   home                         the keepers of the keys
 *   BEGIN ────────────────────►  the operation, as if it stood alone ──► OVER
 *
 * Atomic (puts only), with a phase for each arrow back and forth:
 *
 *   BEGIN ────────────────────►  hash, look up, hold the key          ──► READY, or OVER: failed
 *   all ready: APPEND ────────►  record with the bundle's txn id      ──► DURABLE, or OVER: failed
 *   all durable: a commit record in the home's log; when that is durable the bundle counts
 *   END (committed or not) ───►  publish, let go of the key           ──► OVER
 *
 * Before APPEND nothing is written, so what is wrong with the blocks themselves leaves no trace. A
 * record with a txn id whose commit record is missing does not count at the next start (recover.c).
 * Publishing is each keeper's own: readers may see one block of the bundle before another, but none
 * before the commit is durable.
 *
 * Who holds a key may be waited for by atomic bundles that are older (less txn id) than every
 * atomic one before them on that key; a younger one gives up with STORE_RETRY. So waiting never
 * goes in a circle. A key that comes twice in one bundle is held once.
 *
 * An operation travels by op->next: through a stack that any keeper pushes to and its owner takes
 * whole. Whoever has it is the only one that touches it, but for op->scratch of a held one, which
 * stays its owner's. Thread: each keeper's own. */

#include "store/inside.h"

static inline bool bundle_atomic(const struct store_op *op) {
    return op->bundle != NULL && op->bundle->atomic;
}

/* Does the errands that came, for about BUNDLE_TURN_NS. Returns: how many. */
#define BUNDLE_TURN_NS (200 * NS_PER_US)
uint32_t bundle_poll(struct keeper *keeper);

/* Its records may be written by now, or never (feature.h). */
void bundle_granted(struct store_bundle *bundle, bool granted);
/* An operation of a bundle has its result. */
void bundle_finished(struct keeper *keeper, struct store_op *op);
/* Its key is held, and what it needs is known. */
void bundle_hold(struct keeper *keeper, struct store_op *op);
/* An atomic one finds others on its key. Returns: true: it was seen to; false: it may wait. */
must_check bool bundle_meets(struct keeper *keeper, struct store_op *op, struct store_op *first);
/* Its record, or the bundle's commit record, is durable. */
void bundle_durable(struct keeper *keeper, struct store_op *op, uint64_t place);
/* The commit record did not come to be, or (result other than STORE_FULL) nobody knows. */
void bundle_uncommitted(struct keeper *keeper, struct store_op *op, int32_t result);
