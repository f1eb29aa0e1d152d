/* SPDX-License-Identifier: MIT */
#pragma once

/* roll — what a log has acknowledged in one segment, kept in memory as its footer will name it, so
 * that the segment is sealed without being read back.
 *
 *   FREE ──the log begins a segment──► FILLING ──it leaves it──► LEFT ──sealed, or never──► FREE
 *                                               ──more than fits, or doubted──────────────► FREE
 *
 * While FILLING it is the log's, while LEFT the helper's (or the closer's). It is a shorter way to
 * the same footer and no more: where there is none, or it did not hold everything, the segment is
 * read back. */

#include "store/scan.h"

enum roll_state { ROLL_FREE, ROLL_FILLING, ROLL_LEFT };

struct roll {
    _Atomic uint32_t state; /* release by whoever hands it on; an acquire pairs with it */
    uint32_t segment;
    uint64_t generation;
    struct footer_entry *entries; /* page-aligned */
    uint32_t count, max;
    bool over; /* it did not hold all */
    uint64_t first_lsn, last_lsn;
    uint64_t durable_lsn;
};

static inline enum roll_state roll_state(const struct roll *roll) {
    return (enum roll_state)atomic_load_explicit(&roll->state, memory_order_acquire);
}

/* The log's. One that is FREE begins with its segment. */
void roll_begin(struct roll *roll, const struct segment *segment);
/* A batch is acknowledged: its LSNs and the durable LSN it carries, then each of its records. */
void roll_batch(struct roll *roll, const struct batch_header *head);
void roll_record(struct roll *roll, const struct record_header *record, uint64_t offset,
                 uint64_t hash_seed);
/* The log is done with its segment, and has not set it CLOSED yet. doubted: it wants reading. */
void roll_leave(struct roll *roll, bool doubted);

/* The helper's. Is this what its log left of the segment? */
static inline bool roll_is_of(const struct roll *roll, const struct segment *segment) {
    return roll_state(roll) == ROLL_LEFT && roll->segment == segment->id &&
           roll->generation == segment->generation;
}
/* As if the segment had been scanned, and all of it accepted. scan_close after. Returns: 0 or
 * -ENOMEM. */
must_check int roll_scan(const struct roll *roll, struct scan *ret_scan);
void roll_free(struct roll *roll);
