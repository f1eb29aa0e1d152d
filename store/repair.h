/* SPDX-License-Identifier: MIT */
#pragma once

/* repair — other sound copies of blocks whose records are damaged: a frame in memory, or a record
 * elsewhere that no entry names (moves leave such behind until their source goes). Any record of
 * the key whose bytes hash to it will do, whatever its birth.
 *
 *   repair_add ... ─► repair_step: memory ─► the footers of all segments, one after another, once
 *     for all that were added ─► a copy goes to the mover ─► settled: does the entry still name the
 *     damaged place? ─► outcomes
 *
 * What was found is mended only when its entry has moved: a mover that finds no room drops what it
 * took, and that is no damage: the copy is there, and the next search finds it again.
 *
 * A step reads some MiB of footers at most, or looks at one copy. Thread: porter. */

#include "store/peek.h"
#include "store/seal.h"

#define REPAIR_ITEMS_MAX 64u

struct porter;

enum repair_outcome {
    REPAIR_WANTED, /* no copy so far */
    REPAIR_ADDED,  /* the mover has one */
    REPAIR_MENDED, /* it lies elsewhere, sound */
    REPAIR_GONE,   /* deleted or put anew meanwhile */
    REPAIR_NO_COPY,
    REPAIR_NO_ROOM, /* there is a copy, and no space to write it to now */
};

/* What is known of a block that is damaged at `place`, and the tier it is to go to. */
struct repair_item {
    struct key key;
    uint64_t hash;
    uint64_t birth_lsn;
    uint64_t place;
    uint32_t codec;
    uint32_t tier;
    enum repair_outcome outcome;
};

enum repair_phase { REPAIR_GATHER, REPAIR_MEMORY, REPAIR_SEGMENTS, REPAIR_SETTLE };

struct repair {
    struct porter *porter;
    struct store *store;
    enum repair_phase phase;
    struct repair_item items[REPAIR_ITEMS_MAX];
    uint32_t count;
    uint32_t wanted;   /* of them, without a copy so far */
    uint8_t some[128]; /* bit hash % 1024: an item may have this hash */
    uint32_t at;       /* MEMORY: the next item; SEGMENTS: the next entry of the footer */
    uint32_t id;       /* the segment whose footer is searched, or the last */
    bool loaded;       /* its footer */
    bool held;         /* a copy of items[holder] waits for the mover */
    uint32_t holder;
    struct peek peek;
    struct footer footer;
    uint8_t *page;
    uint8_t *body; /* a copy of what lay in memory */
    size_t body_bytes;
    union {
        struct record_header header; /* made for the copy: as move_add wants it */
        uint8_t header_bytes[RECORD_HEADER_MAX];
    };
    const uint8_t *payload;
};

must_check int repair_open(struct repair *repair, struct porter *porter);
void repair_close(struct repair *repair);

/* Takes one more; outcome is set here. Before the first step only: until repair_clear, what was
 * added stays. Returns: false: there is no room, step first. */
must_check bool repair_add(struct repair *repair, const struct repair_item *item);
/* Returns: how much it did; *ret_over: every item has its outcome, is counted, and whoever is to be
 * told of a lost block was (config.lost). */
uint32_t repair_step(struct repair *repair, bool *ret_over);
/* Forgets all items, also while they are searched for. */
void repair_clear(struct repair *repair);
/* How many came out so. */
uint32_t repair_count(const struct repair *repair, enum repair_outcome outcome);

/* A header for `bytes` of payload, with its multihash; LSN and CRC are the writer's. */
void repair_header(struct record_header *header, const struct repair_item *item, uint32_t bytes,
                   uint64_t payload_xxh3);
/* The key in a footer entry; false: it is longer than the entry holds. */
bool footer_key(const struct footer_entry *entry, struct key *ret_key);
