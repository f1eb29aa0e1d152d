/* SPDX-License-Identifier: MIT */
#pragma once

/* compact — a segment is read, what lives in it moves, what is still needed goes along, and then it
 * goes: the porter's standing work.
 *
 *   which one: store/candidates.h ─► its records: store/source.h ─► each: live? sound? then
 *   move_add; no block: store/carry.h ─► all published and durable ─► nothing live is left:
 *   store/dying.h
 *
 * A damaged record of a live block is written anew from another copy; where there is none it stays
 * where it is, its entry answers STORE_CORRUPT, and the segment stays with it.
 *
 * Liveness in a sealed segment only ends, never begins: its blocks were published before it was
 * sealed, and repairs are copies. So once nothing lives in it, nothing will.
 *
 * Thread: porter. */

#include "store/choose.h"
#include "store/porter.h"
#include "store/segment.h"

must_check int compact_open(struct porter *porter);
uint32_t compact_step(struct porter *porter);
void compact_close(struct porter *porter);
/* An empty one goes as those do that were rewritten: when no reader holds it. */
void compact_drop(struct porter *porter, struct segment *segment);
/* What others of the porter move with. */
struct mover *porter_mover(struct porter *porter);

/* No segment is being rewritten: what the mover has in hand, and what it drops, is another's. */
bool compact_idle(const struct porter *porter);
/* What all moves together may write. */
struct allowance *compact_rate(struct porter *porter);
/* The tiers as they are now, [tiers.count]; valid until the next call. */
const struct choose_tier *compact_tiers(struct porter *porter);
/* Something was freed: it looks at the next step, and till then puts are told that they may try
 * again. */
void compact_soon(struct porter *porter);
