/* SPDX-License-Identifier: MIT */
#pragma once

/* carry — which records that are no block go along when their segment is rewritten.
 *
 *   tombstone, UNPIN   while some other segment may hold something born before it
 *   PIN                while it counts
 *   COMMIT             while another segment of its start's logs is there, whose footer may be
 *                      damaged: then its batches are scanned, and it decides what in them counts
 *   anything else      always
 *
 * A tier that is away may hold the oldest copy there is: until it is known, all of these go along.
 * What is let fall here is gone with the segment, so every doubt says yes.
 *
 * Thread: porter. Cost: carry_begin looks at every segment; a COMMIT does too. */

#include "store/format.h"

struct mover;
struct segment;
struct store;

struct carry {
    const struct store *store;
    const struct segment *source;
    uint64_t floor; /* no other segment holds what was born before this */
};

/* Asked once a source: what comes into being later holds births after every tombstone that is
 * sealed by now, or copies that were live after it. Copies that the mover has in hand count. */
void carry_begin(struct carry *carry, const struct segment *source, const struct mover *mover);
bool carry_needed(const struct carry *carry, const struct footer_entry *entry);
