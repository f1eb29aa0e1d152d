/* SPDX-License-Identifier: MIT */
#pragma once

/* table — the tables of one shard: made, grown, split and retired. Inside of store/catalog.c; no
 * other file includes it but tests. Thread: the shard's owner. */

#include "store/catalog.h"

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
