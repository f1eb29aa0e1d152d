/* SPDX-License-Identifier: MIT */
#pragma once

/* arrival — a tier that was missing when the store was opened is taken up while it serves; and so
 * is what the start could not read of those that were there.
 *
 *   begin ─ its files are listed, the tier is LOADING: a miss is still answered with STORE_RETRY
 *     muster  its segments are found and judged, with those that the start left unsettled
 *     ask     tombstones and commits, out of the footers of all segments from before this start;
 *             deletes of this start are known: store/graves.h
 *     bury    what its own tombstones and unpins kill of what the others hold
 *     take    its blocks and pins that are not dead go into the catalog, by their owners (intake.h)
 *     settle  what was not sealed is sealed as a start would, or goes if it holds nothing
 *   end ─── its segments are SEALED, the tier is ONLINE, a miss is a miss
 *
 * While another tier is still away what only that one can tell is left open: those segments stay
 * unsettled, and are judged again with the next that comes. Where more was deleted than is
 * remembered, or a segment that is asked is damaged, the tier stays MISSING and waits for the next
 * start (tier->waits says why, in words). A crash needs nothing: what is written is what the next
 * start would write. Lost again on the way, it goes on where it was once it is back; what is in the
 * catalog by then is answered as with any tier that is lost. One tier at a time.
 *
 * What the start could not read is tried again after 1, 2, 4 ... 32 seconds, also where something
 * else stops it; then a miss is a miss again, the segment stays as it is for the next start, and
 * nothing is collected. Where more was deleted than is remembered no try would help: at once.
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
