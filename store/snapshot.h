/* SPDX-License-Identifier: MIT */
#pragma once

/* snapshot — writes the catalog to the disk (store/image.h) now and then and at a clean close, so
 * that a start reads 18 bytes a block and not a footer of 64. Nothing depends on one: a start takes
 * what it finds there for a hint (store/recall.h).
 *
 *   coverage (store/coverage.h): what each segment holds by now, all of it in the catalog
 *   ─► table after table, copied (store/copy.h) by a note at its owner
 *   ─► manifest, tail ─► sync ─► rename ─► sync the directory ─► all but the newest two go
 *
 * Thread: the porter; snapshot_last: whoever closes the store. */

#include "store/coverage.h"
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
    uint64_t hash;        /* the table that is copied holds it */
    uint64_t covered_sum; /* of the coverage of the newest one on the disk; 0: none */
    uint64_t entries;
    struct image_chunk copied;
    int fd;
    uint8_t *buffer; /* page-aligned: what is not in the file yet */
    uint64_t used, at;
    struct image_chunk *chunks;
    uint32_t chunk_count;
    struct coverage coverage; /* of the one that is written */
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
