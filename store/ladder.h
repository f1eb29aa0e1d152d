/* SPDX-License-Identifier: MIT */
#pragma once

/* ladder — what gives way when the memory budget is short, as a pure policy.
 *
 * Frames give way to everything else: they get what the budget leaves, and that share, against what
 * was meant for them, says how high to climb. Each rung keeps what those below it do:
 *
 *   ALL         everything fits
 *   GHOSTS      what left memory is forgotten sooner
 *   PROMOTIONS  no block is moved to a faster tier for being read
 *   FRAMES      frames over their share leave at once, not only for others
 *   COPIES      sends copy, so that no slow peer keeps frames
 *   BATCHES     group commits are small, and their memory goes back after each
 *   PUTS        puts are refused for now (BUSY); deletes are not
 *
 * Reads are on no rung: they never fail for budget. A rung is left downwards only when it is
 * clearly no longer needed, so that one at its edge does not flap. Thread: any; no state but the
 * caller's. */

#include "base/base.h"

enum ladder_rung {
    LADDER_ALL,
    LADDER_GHOSTS,
    LADDER_PROMOTIONS,
    LADDER_FRAMES,
    LADDER_COPIES,
    LADDER_BATCHES,
    LADDER_PUTS,
    LADDER_RUNGS
};

extern const char *const ladder_names[LADDER_RUNGS];
/* What each does, for people. */
extern const char *const ladder_reasons[LADDER_RUNGS];

struct ladder_view {
    uint64_t budget_bytes;   /* 0: none, everything fits */
    uint64_t resident_bytes; /* what the process holds, frames included */
    uint64_t frames_bytes;   /* of that, what frames take or keep for reuse */
    uint64_t index_bytes; /* the parts that are counted one by one: frames give way to their ... */
    uint64_t buffers_bytes; /* ... sum too, where it is not touched yet */
    uint64_t lent_bytes;    /* frames that the kernel still sends from: cannot be evicted */
    uint64_t frames_max;    /* meant for frames */
};

struct ladder_step {
    enum ladder_rung rung;
    uint64_t frames_bytes; /* what frames may take now */
};

/* before: the rung of the last step. */
struct ladder_step ladder_step(const struct ladder_view *view, enum ladder_rung before);
