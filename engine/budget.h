/* SPDX-License-Identifier: MIT */
#pragma once

/* budget — one number for the memory of the whole daemon (memory.budget).
 *
 *   boot     budget_fit lessens every setting that sizes memory to its share, and says how large
 *            what has no setting is to be
 *   running  budget_watch looks at what is held, some times a second, lets the ladder decide, and
 *            tells the store and the net tiles
 *
 * Counted are the pages that are ours alone: anonymous ones and those of the memfd. Program and
 * libraries lie in files, and the kernel takes their pages back when it needs them.
 *
 * budget_fit is pure. Without a budget it changes nothing and the ladder stays at its foot. */

#include "base/base.h"
#include "engine/settings.h"
#include "store/ladder.h"

struct engine;

/* Output chunks and leases of one net tile; the store's buffers, per keeper. */
struct budget_sizes {
    uint32_t out_small, out_large, out_leased;
    uint32_t batches;
    uint32_t fetches[3];
};

/* Returns: the sizes that these settings mean, which may be changed (never made larger). The same
 * settings give the same again, and what it returned fits itself. */
struct budget_sizes budget_fit(struct settings *settings, uint32_t net_count, uint32_t work_count);

/* What the budget's parts hold, for the ladder and for people. */
struct budget_view {
    struct ladder_view ladder;
    uint64_t bodies_bytes; /* everything in the arenas that is no frame */
    enum ladder_rung rung;
    uint64_t frames_limit; /* what frames may take now */
};

/* Huge pages are given up where the budget is too small for their waste. Thread: boot. */
void budget_open(const struct settings *settings);
/* Looks when it is time. Thread: helper. */
void budget_watch(struct engine *engine, uint64_t now_ns);
/* Thread: any that may read /proc. */
void budget_look(const struct engine *engine, struct budget_view *ret_view);
