/* SPDX-License-Identifier: MIT */
#pragma once

/* arrival — a tier that was missing when the store was opened is taken up while it serves.
 *
 *   begin ─ its files are listed, the tier is LOADING: a miss is still answered with STORE_RETRY
 *     open    each segment: its header, its trailer
 *     gather  tombstones, out of the footers of all segments from before this start; those of this
 *             start are known: store/graves.h
 *     bury    what its own tombstones kill of what the others hold
 *     take    its blocks that are not dead go into the catalog, by their owners (intake.h)
 *   end ─── its segments are SEALED, the tier is ONLINE, a miss is a miss
 *
 * It takes no part in judging: where records of unsealed segments count only in the light of all,
 * where a segment is damaged, or where it holds pins, or more was deleted than is remembered, the
 * tier stays MISSING and waits for the next start (tier->waits says why, in words). A crash needs
 * nothing: no file was changed. Lost again on the way, it goes on where it was once it is back;
 * what is in the catalog by then is answered as with any tier that is lost. One tier at a time.
 *
 * Thread: the porter. */

#include "base/base.h"

struct porter;
struct store;
struct tier;

/* Remembers deletes from now on, if a tier is missing. Returns: 0 or -ENOMEM. Thread: boot. */
must_check int arrival_prepare(struct store *store);
/* Is one whose segments are not known to be taken up when it is there? */
bool arrival_may(const struct porter *porter, const struct tier *tier);
/* It is there: begins, or goes on with files opened anew. Returns: how much was done. */
uint32_t arrival_welcome(struct porter *porter, struct tier *tier);
uint32_t arrival_step(struct porter *porter);
void arrival_close(struct porter *porter);
