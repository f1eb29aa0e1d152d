/* SPDX-License-Identifier: MIT */
#pragma once

/* table — the tables of one shard: made, grown, split, retired, and loaded from a snapshot. Inside
 * of store/catalog.c; no other file includes it but those of the snapshot and tests. Thread: the
 * shard's owner. */

#include "store/catalog.h"

#define DEPTH_LEAST  1u
#define DEPTH_MAX    20u
#define PAGE_BUCKETS (PAGE_BYTES / CACHE_LINE)

/* The first, smallest table of a shard. Returns: 0 or -ENOMEM. */
must_check int shard_open(struct catalog *catalog, uint32_t shard);
/* The table a hash belongs to now. */
struct table *shard_table(const struct catalog *catalog, uint64_t hash);
/* Makes room where this hash belongs: a larger table, or two. Returns: 0 or -ENOMEM. */
must_check int shard_grow(struct catalog *catalog, uint64_t hash);

/* Returns: false when no path to an empty place was found. shard: NULL for a table nobody sees. */
struct table_target {
    const struct catalog *catalog;
    struct table *table;
    struct catalog_shard *shard;
};
bool table_insert(const struct table_target *target, uint64_t hash, uint64_t place);
/* Gives a retired table's chunks, or a directory's pages, back. */
void table_free(struct catalog *catalog, struct catalog_arena *arena, struct table *table);

/* A table may have this many buckets. */
bool table_buckets_valid(uint32_t buckets);

/* A shard's tables as a snapshot holds them, put aside until all are there. Nobody reads the
 * catalog yet and the shard is empty. Thread: boot.
 *
 *   shard_load_table, for each of its tables ─► shard_load_end, or shard_load_undo */
struct shard_load {
    struct catalog *catalog;
    uint32_t shard;
    uint32_t depth;  /* of its deepest table */
    uint64_t *slots; /* the caller's: 2^depth zeroes */
    uint64_t entries;
};
struct table_image {
    uint64_t first; /* the least hash of its range */
    uint32_t depth, buckets;
    const void *raw;      /* its buckets, as bytes; or NULL */
    const uint64_t *list; /* hash and place, by turns */
    uint32_t list_count;
};
enum { TABLE_UNFIT = 1 }; /* its list does not go into so many buckets */

/* Returns: 0, TABLE_UNFIT, -ENOMEM. */
must_check int shard_load_table(struct shard_load *load, const struct table_image *image);
/* The tables put aside so far, each once, in order: *slot begins with 0. NULL: no more. */
struct table *shard_load_next(const struct shard_load *load, uint64_t *slot);
/* All of it counts from here. Returns: 0, or -ENOMEM, undone. */
must_check int shard_load_end(struct shard_load *load);
void shard_load_undo(struct shard_load *load);
