/* SPDX-License-Identifier: MIT */
#pragma once

/* gc — collects blocks that no pin reaches, beside everything else that goes on.
 *
 *   QUIET   until no PIN record is on its way
 *   AGE     (store/ages.h) the vector M, one LSN a keeper: what was born later is not looked at
 *   MARK    (store/reach.h) list every pin, walk every recursive one, mark what it reaches
 *   SETTLE  until the walks of pins that began by now have ended
 *   SWEEP   (store/sweep.h) list every block; its keeper deletes it, by a tombstone, if it still
 * lies at that place, was born by M, is not marked, not pinned, and was not put again meanwhile
 *
 * Age: LSNs are noted with the time, a minute apart (store/ages.h); M is what was acknowledged a
 * grace ago. Nothing is known of the time before this start, so blocks of earlier starts are taken
 * for as old as this one; a clock that jumps changes nothing. A grace of 0 takes M from now.
 *
 * A duplicate put sets its entry's touched bit; the sweep finds it, clears it and leaves the block
 * to the next collection. A pin that is added meanwhile marks by its own walk (store/pinning.h).
 *
 * Nothing is deleted unless every recursive pin was walked to its end: a block that is missing,
 * damaged or cannot be read stops the collection, and the task names it. A crash in the midst
 * leaves what was not deleted yet. Space comes back with compaction.
 *
 * Bounds: one collection at a time; the mark set takes config.gc_memory_bytes, then STORE_FULL.
 * Thread: the porter's. */

#include "store/mark.h"
#include "store/porter.h"

#define GC_SAMPLE_NS  (60 * NS_PER_S)
#define GC_AGAIN_NS   (600 * NS_PER_S) /* between collections that the watermark begins */
#define GC_GRACE_NONE UINT64_MAX       /* ask: the store's own */

struct gc;

must_check int gc_open(struct porter *porter);
void gc_close(struct porter *porter);
/* Notes times, and begins a collection where the watermark says so. */
uint32_t gc_duty(struct porter *porter);
uint32_t gc_step(struct porter *porter, struct store_task *task);

/* Grows with every collection that begins or ends. */
uint64_t gc_round(const struct porter *porter);
/* The set that walks mark in; NULL: no collection is under way. */
struct mark *gc_marks(const struct porter *porter);
/* A collection waits for PIN records to be on the disk: no new one. */
bool gc_waits(const struct porter *porter);
/* It waits for walks to end before it sweeps: no new one. */
bool gc_settles(const struct porter *porter);
/* Deletes of a sweep are out: no walk. Remembers that one waits. */
bool gc_sweeps(struct porter *porter);
