/* SPDX-License-Identifier: MIT */
#pragma once

/* recall — fills the catalog from snapshots at a start, as far as they can be trusted.
 *
 *   list ─► newest two whose tail and manifest verify
 *   shard by shard: every chunk of it from the newest, or every one from the older, or none
 *
 * An entry is taken if the segment it names is there, of the generation that the coverage says,
 * and the entry lies below what is covered and what the start has accepted of the segment. What
 * lies beyond that the start reads from the segment, which is why it asks here for each record
 * whether it is known already. What only a snapshot says counts for nothing.
 *
 * A snapshot that is not this store's, or damaged, is removed: the next one takes its place.
 * Thread: boot. */

#include "store/image.h"
#include "store/store.h"

#define RECALL_IMAGES 2u

struct recovery;
struct tombstone;

struct recall_image {
    int fd;
    struct image_tail tail;
    void *manifest;
    uint64_t *covered; /* [SEGMENT_IDS]: bytes of the segment with that id, as it is now */
    bool loose;        /* a segment that was closed has more: what a failed write left behind */
};

struct recall {
    struct recovery *recovery;
    struct recall_image images[RECALL_IMAGES]; /* newest first */
    uint32_t count;
    uint8_t source[STORE_SHARDS]; /* which image; RECALL_IMAGES: none */
    uint8_t *staging;             /* a stretch of one image's file */
    const struct recall_image *staged;
    uint64_t staged_from, staged_bytes;
    uint64_t *slots; /* of one shard's directory */
};

/* Looks at what there is. Nothing to be had is no failure. Returns: 0 or -ENOMEM. */
must_check int recall_open(struct recall *recall, struct recovery *recovery);
/* Fills the shards. Returns: 0 or -ENOMEM. */
must_check int recall_load(struct recall *recall);
/* Tells the writer of snapshots what the newest covers, where all of it was good. */
/* Names in the report what the newest snapshot knew and no file is there of. */
void recall_name_gone(const struct recall *recall);
void recall_settle(const struct recall *recall);
void recall_close(struct recall *recall);

/* Is what this record says in the catalog already? */
bool recall_knows(const struct recall *recall, uint32_t segment, uint64_t hash, uint64_t offset);
/* Up to here every shard knows all records of the segment; 0: not at all. */
uint64_t recall_known_bytes(const struct recall *recall, uint32_t segment);
/* All shards came from the newest snapshot. */
bool recall_whole(const struct recall *recall);
