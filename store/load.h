/* SPDX-License-Identifier: MIT */
#pragma once

/* load — fills the catalog from records, in any order.
 *
 * A block is live iff the birth LSN of its put is above every tombstone LSN of its key. So all
 * tombstones are gathered first, then puts are held against them; where two puts of one key are
 * live the later birth counts. UNPIN stands to PIN as a tombstone to a block, apart from them. No
 * order of segments or records matters, and doing it twice changes nothing.
 *
 * Where all tombstones would take more memory than they may, the hashes are split in parts of about
 * one size, and one part after the other is gathered and held against: each costs another look at
 * the footers. load_part says which it is; records of the others are passed over.
 *
 * Thread: boot; of a tier that comes back (store/arrival.h) tombstones alone: the porter.
 */

#include "store/inside.h"
#include "store/recall.h"

struct tombstone {
    uint64_t hash;  /* 0 = empty */
    uint64_t check; /* of the digest's prefix and of what it kills: a second 64 bits */
    uint64_t lsn;
    bool fresh; /* no snapshot knows of it: it may kill what came from one */
    bool moved; /* all of those were moved: they may be older than what came from one */
};

struct load {
    struct store *store;
    const struct recall *recall; /* NULL: no snapshot */
    uint64_t *commits;           /* txn ids that count: open addressing, 0 = empty */
    uint64_t commit_slots;
    uint64_t commit_count;
    struct tombstone *tombstones; /* open addressing */
    uint64_t slots;               /* a power of two, or 0 */
    uint64_t tombstone_count;     /* of this part */
    uint32_t parts, part;
    int result; /* first failure */
};

/* About how many tombstones and commits will be added, as trailers say; more make it grow. */
struct load_room {
    uint64_t tombstones, commits;
    uint64_t bytes_max; /* that tombstones may take at a time; 0: as many as there are */
};
must_check int load_open(struct load *load, struct store *store, const struct load_room *room);
void load_close(struct load *load);
/* Begins with one of load->parts: no tombstone is known. */
void load_part(struct load *load, uint32_t part);
static inline bool load_is_ours(const struct load *load, uint64_t hash) {
    return load->parts == 1 || (hash >> 32) * load->parts >> 32 == load->part;
}
void load_commit(struct load *load, uint64_t txn);
bool load_committed(const struct load *load, uint64_t txn);
/* The second 64 bits that tell keys of one hash apart; of what kills and of what is killed. */
uint64_t tombstone_check(const struct footer_entry *entry);
void load_tombstone(struct load *load, uint32_t segment, const struct footer_entry *entry);
/* Is there a tombstone for it? */
bool load_dead(const struct load *load, const struct footer_entry *entry);
/* Takes out of the catalog what came from a snapshot and was deleted after it: call once all
 * tombstones are in. Returns: how many. */
uint64_t load_bury(struct load *load);
void load_block(struct load *load, uint32_t segment, const struct footer_entry *entry);
/* The PIN record as it lies there. Returns: 0; FORMAT_BAD: it is damaged; -errno. */
must_check int load_pin_read(const struct load *load, uint32_t segment,
                             const struct footer_entry *entry, struct store_pin *ret_pin);
/* Of one that is damaged: what the footer says, and the more careful of the modes. Returns: false:
 * its key is lost too, and nothing may be collected. */
must_check bool load_pin_guess(const struct footer_entry *entry, struct store_pin *ret_pin);
/* Reads the record for its mode, its name and, where the footer has only a part of it, its key. */
void load_pin(struct load *load, uint32_t segment, const struct footer_entry *entry);
/* Brings the bucket a later load_block will look at. */
void load_prefetch(const struct load *load, const struct footer_entry *entry);
