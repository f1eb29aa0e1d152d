/* SPDX-License-Identifier: MIT */
#pragma once

/* load — fills the catalog from records, in any order.
 *
 * A block is live iff the birth LSN of its put is above every tombstone LSN of its key. So all
 * tombstones are gathered first, then puts are held against them; where two puts of one key are
 * live the later birth counts. UNPIN stands to PIN as a tombstone to a block, apart from them. No
 * order of segments or records matters, and doing it twice changes
 * nothing. Thread: boot. */

#include "store/inside.h"

struct tombstone {
    uint64_t hash;  /* 0 = empty */
    uint64_t check; /* of the digest's prefix and of what it kills: a second 64 bits */
    uint64_t lsn;
};

struct load {
    struct store *store;
    struct tombstone *tombstones; /* open addressing */
    uint64_t slots;               /* a power of two, or 0 */
    uint64_t tombstone_count;
    int result; /* first failure */
};

/* tombstones: at most that many will be added. */
must_check int load_open(struct load *load, struct store *store, uint64_t tombstones);
void load_close(struct load *load);
void load_tombstone(struct load *load, const struct footer_entry *entry);
void load_block(struct load *load, uint32_t segment, const struct footer_entry *entry);
/* Reads the record for its mode, its name and, where the footer has only a part of it, its key. */
void load_pin(struct load *load, uint32_t segment, const struct footer_entry *entry);
/* Brings the bucket a later load_block will look at. */
void load_prefetch(const struct load *load, const struct footer_entry *entry);
