/* SPDX-License-Identifier: MIT */
#pragma once

/* snapshot — writes the catalog to the disk (store/image.h) now and then and at a clean close, so
 * that a start reads 18 bytes a block and not a footer of 64. Nothing depends on one: a start takes
 * what it finds there for a hint (store/recall.h).
 *
 *   coverage: what each segment holds by now, all of it in the catalog
 *   ─► table after table, copied by a note at its owner, resident blocks by their place on disk
 *   ─► manifest, tail ─► sync ─► rename ─► sync the directory ─► all but the newest two go
 *
 * The coverage is taken first and every table is copied later by the thread that writes it: what is
 * covered was published by an earlier turn of that thread, so it is in the copy, or was deleted by
 * a record beyond the coverage, which the start reads. What came after the coverage may be in the
 * copy or not; the start reads it again.
 *
 * Of an entry's small bits the use count, the touched bit and the ghost bit are kept; a resident
 * block gets the ghost bit, as it would by being evicted: when it is read again it is known to be
 * wanted.
 *
 * A copy is one table, at most 768 KiB and mostly some 400, in one turn of its keeper: an insert
 * may carry any entry of a table to its other bucket, so half a table is none.
 *
 * Thread: the porter; snapshot_last: whoever closes the store. */

#include "store/image.h"
#include "store/note.h"

struct porter;
struct store;

#define SNAPSHOT_INTERVAL_NS (600 * NS_PER_S)
#define SNAPSHOTS_KEPT       2u

struct snapshot {
    struct note note; /* copies one table into the buffer */
    struct store *store;
    bool writing;
    uint64_t due_ns; /* 0: not set yet */
    uint64_t count;  /* generations begun since the start */
    uint64_t generation;
    uint64_t hash;         /* the table that is copied holds it */
    uint64_t covered_sum;  /* over the coverage of the newest one on the disk; 0: none */
    uint64_t covering_sum; /* of the one that is written */
    uint64_t entries;
    struct image_chunk copied;
    int fd;
    uint8_t *buffer; /* page-aligned: what is not in the file yet */
    uint64_t used, at;
    struct image_chunk *chunks;
    uint32_t chunk_count;
    struct image_segment *segments;
    uint32_t segment_count;
};

/* Memory for it. Returns: 0 or -ENOMEM. Thread: boot. */
must_check int snapshot_open(struct store *store);
void snapshot_close(struct store *store);
/* The porter's duty, and how it is broken off. */
uint32_t snapshot_step(struct porter *porter);
void snapshot_abandon(struct porter *porter);
/* Writes one now, if there is news. The keepers' threads are gone. Returns: 0 or -errno. */
must_check int snapshot_last(struct store *store);

/* DIR/index, or a file in it where `generation` is not 0. */
#define SNAPSHOT_PATH_MAX 768
void snapshot_path(const struct store *store, uint64_t generation, char path[SNAPSHOT_PATH_MAX]);
/* The one that is being written. */
void snapshot_path_new(const struct store *store, char path[SNAPSHOT_PATH_MAX]);
/* Calls each for every snapshot there is, in no order. Returns: 0 or -errno. */
must_check int snapshot_list(const struct store *store,
                             void (*each)(void *context, uint64_t generation), void *context);
/* Over what a snapshot covers: two with the same sum hold the same. */
uint64_t snapshot_sum(const struct image_segment *segments, uint32_t count);
