/* SPDX-License-Identifier: MIT */
#pragma once

/* promote — blocks that are read from a slow tier again and again get a place on a fast one.
 *
 *   keeper: read from an HDD, and its entry remembers an earlier use ─► wish (bounded, lossy ring)
 *   porter: wish ─► still there, sound to the multihash ─► move_add to an SSD ─► published
 *
 * An entry remembers that its block left memory (the ghost bit), or that it was used more than once
 * while it was there: what a scan reads once is never wished for, and reads that admit nothing to
 * memory count for nothing. So many bytes a day may be written this way; what was not used is kept
 * for a day. The source's bytes are dead afterwards and go with a compaction.
 *
 * A wish is a hint: one too many costs a look-up, one too few a later promotion. Nothing of it
 * outlives a start; neither does what was spent of the day. */

#include "base/base.h"

#include <stdatomic.h>

#define WISHES_MAX 256u /* of a keeper; what comes when it is full is dropped, and counted */

struct keeper;
struct porter;

struct wish {
    uint64_t hash;  /* keyed */
    uint64_t place; /* as the catalog names it, on an HDD */
};

/* One keeper pushes, the porter takes. */
struct wishes {
    alignas(CACHE_PAIR) _Atomic uint32_t tail; /* the keeper's */
    alignas(CACHE_PAIR) _Atomic uint32_t head; /* the porter's */
    struct wish all[WISHES_MAX];
};
/* Returns: false: it is full. Thread: the keeper's. */
must_check bool wish_push(struct wishes *wishes, const struct wish *wish);
/* Returns: false: it is empty. Thread: porter. */
must_check bool wish_take(struct wishes *wishes, struct wish *ret_wish);

/* A block was read from this place, to be kept in memory: wishes for a better one if its entry says
 * that it is worth it. Call it before the read changes the entry. Thread: the keeper's. */
void promote_read(struct keeper *keeper, uint64_t hash, uint64_t place);

/* What may be written in a day, as a bucket that fills with time. */
struct day_budget {
    uint64_t day_bytes;
    uint64_t left;
    uint64_t at_ns; /* filled up to here */
};
/* What is in it now. */
uint64_t day_budget_left(struct day_budget *budget, uint64_t now_ns);

/* --- the porter's duty --- */
must_check int promote_open(struct porter *porter);
uint32_t promote_step(struct porter *porter);
void promote_close(struct porter *porter);
/* It has blocks under way. While that is so no compaction begins: both want to know whether what
 * they gave the mover has arrived. */
bool promote_busy(const struct porter *porter);
