/* SPDX-License-Identifier: MIT */
#include "store/ladder.h"

#include "base/bits.h"

#define PARTS 32u /* thresholds are in thirty-seconds of what was meant for frames */

const char *const ladder_names[LADDER_RUNGS] = {
    [LADDER_ALL] = "all",       [LADDER_GHOSTS] = "ghosts", [LADDER_PROMOTIONS] = "promotions",
    [LADDER_FRAMES] = "frames", [LADDER_COPIES] = "copies", [LADDER_BATCHES] = "batches",
    [LADDER_PUTS] = "puts",
};

const char *const ladder_reasons[LADDER_RUNGS] = {
    [LADDER_ALL] = "everything fits the budget",
    [LADDER_GHOSTS] = "blocks that left memory are forgotten sooner",
    [LADDER_PROMOTIONS] = "no block is moved to a faster tier for being read",
    [LADDER_FRAMES] = "blocks in memory are evicted at once",
    [LADDER_COPIES] = "sends copy, so that slow peers keep no blocks in memory",
    [LADDER_BATCHES] = "group commits are small",
    [LADDER_PUTS] = "puts are refused for now; reads and deletes go on",
};

/* A rung is climbed to when less than so many parts are left. */
static const uint32_t parts_left[LADDER_RUNGS] = {
    [LADDER_GHOSTS] = 32, [LADDER_PROMOTIONS] = 24, [LADDER_FRAMES] = 16,
    [LADDER_COPIES] = 8,  [LADDER_BATCHES] = 4,     [LADDER_PUTS] = 1,
};

struct ladder_step ladder_step(const struct ladder_view *view, enum ladder_rung before) {
    if (view->budget_bytes == 0) {
        return (struct ladder_step){LADDER_ALL, view->frames_max};
    }
    uint64_t others = view->resident_bytes - min_u64(view->resident_bytes, view->frames_bytes);
    uint64_t counted = view->index_bytes + view->buffers_bytes;
    uint64_t held = max_u64(others, counted) + view->lent_bytes;
    uint64_t margin = view->budget_bytes / PARTS;
    uint64_t left = view->budget_bytes - min_u64(view->budget_bytes, held + margin);
    struct ladder_step step = {LADDER_ALL, min_u64(left, view->frames_max)};
    for (uint32_t rung = LADDER_PUTS; rung > LADDER_ALL; rung--) {
        /* On the way down a part more has to be left. */
        uint64_t parts = parts_left[rung] + (rung <= before && rung != LADDER_GHOSTS ? 1 : 0);
        if (left < view->frames_max / PARTS * parts) {
            step.rung = (enum ladder_rung)rung;
            break;
        }
    }
    return step;
}
