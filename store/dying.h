/* SPDX-License-Identifier: MIT */
#pragma once

/* dying — segments whose end is decided, until their files are gone.
 *
 *   dying_sentence: GONE says which LSNs go ─► DYING ─► dying_reap: no reader holds it ─► unlinked
 *
 * GONE comes first: a start that missed these LSNs and were not told would call it damage. What
 * crashes in between leaves a file that the start reads, finds dead and compacts again.
 *
 * Thread: porter; closing too. */

#include "store/format.h"

struct segment;
struct store;

struct dying {
    struct store *store;
    uint32_t count; /* segments that are DYING; 0: dying_reap looks at none */
};

/* Returns: 0; or -errno of GONE, then the segment stays as it is for now. Blocks: a sync. */
must_check int dying_sentence(struct dying *dying, struct segment *segment,
                              const struct segment_trailer *trailer);
/* One that holds no LSN anybody could miss: it goes without a word. */
void dying_drop(struct dying *dying, struct segment *segment);
/* Frees those that no reader holds; the others, and those whose file cannot be removed now, at a
 * later call. */
void dying_reap(struct dying *dying);
