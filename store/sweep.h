/* SPDX-License-Identifier: MIT */
#pragma once

/* sweep — the deleting half of a collection: lists every block and has its keeper delete those that
 * nothing holds.
 *
 *   porter: a page of blocks ─► born by the limit? not marked? ─► a lot of deletes for each keeper
 *   keeper: still at that place? not put again? not pinned? ─► tombstone ─► the result, counted
 *
 * A duplicate put sets its entry's touched bit: the sweep finds it, clears it, and leaves the block
 * to the next collection.
 *
 * Bounds: GC_BATCH deletes are under way at most, until all have come back; a pin's walk has the
 * round after. Thread: the porter's; at the end: the keeper's. */

#include "store/note.h"
#include "store/store.h"

#define GC_BATCH 256u /* deletes a keeper has under way for a sweep */

struct keeper;
struct mark;
struct porter;

/* STORE_SWEEP: a delete that only a block without friends suffers. */
struct sweep_item {
    struct store_op op;
    uint64_t place;
};

/* Deletes under way at one keeper. */
struct sweep_lot {
    struct note note;
    uint32_t count;
    _Atomic uint32_t left; /* release by the keeper, acquire by the porter */
    struct sweep_item items[GC_BATCH];
};

struct sweep {
    struct porter *porter;
    struct store_task *task;
    const struct mark *marks;
    const uint64_t *limit; /* [keepers]: what was born later stays */
    uint64_t cursor;
    struct store_item items[GC_BATCH];
    void *window;           /* WALK_BYTES */
    struct sweep_lot *lots; /* [keepers] */
    bool out;               /* deletes are under way */
    bool walk_waits;        /* and a pin's walk waits for them */
    int32_t failed;         /* first of the results that was none of the expected */
    int32_t result;         /* once it is over: 0, or why it stopped */
    const char *why;        /* a sentence where that is not 0 */
};

/* Returns: 0 or -ENOMEM; sweep_close after either. */
must_check int sweep_open(struct sweep *sweep, struct porter *porter);
void sweep_close(struct sweep *sweep);

/* What a sweep goes by; all of it stays as it is till the end. */
struct sweep_order {
    struct store_task *task;
    const struct mark *marks;
    const uint64_t *limit; /* [keepers] */
};
void sweep_begin(struct sweep *sweep, const struct sweep_order *order);
/* Returns: how much it did. *ret_over: sweep->result says how it ended, and none is out. */
uint32_t sweep_step(struct sweep *sweep, bool *ret_over);
/* Deletes are out: no walk. Remembers that one waits. */
bool sweep_busy(struct sweep *sweep);

/* Looks again, at the keeper; appends the tombstone, or ends the operation: STORE_RETRY: it was
 * put again; STORE_PINNED; STORE_ABSENT: it is not there any more. */
void sweep_resolve(struct keeper *keeper, struct store_op *op);
/* Sets or clears the touched bit of the entry whose block lies there. Returns: it was set. */
bool sweep_touch(struct keeper *keeper, uint64_t hash, uint64_t place, bool touched);
