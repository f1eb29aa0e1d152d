/* SPDX-License-Identifier: MIT */
#pragma once

/* aborts — records of all-or-nothing bundles that came to nothing after they were written, until
 * the segments they lie in are sealed without them.
 *
 * That nobody wrote, or will write, their commit record is all there is to know: a start that finds
 * the segment unsealed leaves them out for want of it, so this is memory, and no crash loses it.
 * Bounded: past ABORTS_MAX at a time the segment waits for the next start (segment->unsettled).
 *
 * Thread: aborts_add: any keeper's; the rest: whoever seals. */

#include "base/base.h"

#include <stdatomic.h>

#define ABORTS_MAX 4096u

struct aborts {
    _Atomic uint64_t places[ABORTS_MAX]; /* as the catalog packs them; 0: free */
};
struct scan;

/* Returns: false: no room. Cost: up to 64 words looked at. */
must_check bool aborts_add(struct aborts *aborts, uint64_t place);
/* Takes those of the segment out of what its footer will name. */
void aborts_leave_out(const struct aborts *aborts, uint32_t segment, struct scan *scan);
/* The segment is sealed. */
void aborts_forget(struct aborts *aborts, uint32_t segment);
