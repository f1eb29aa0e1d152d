/* SPDX-License-Identifier: MIT */
#pragma once

/* table — the tables of one shard: made, grown, split and retired. Inside of store/catalog.c; no
 * other file includes it but tests. Thread: the shard's owner. */

#include "store/catalog.h"

static inline struct bucket *table_buckets(struct table *table) {
    return (struct bucket *)(void *)((uint8_t *)table + CACHE_LINE);
}

/* The first, smallest table of a shard. Returns: 0 or -ENOMEM. */
must_check int shard_open(struct catalog *catalog, uint32_t shard);
/* The table a hash belongs to now. */
struct table *shard_table(const struct catalog *catalog, uint64_t hash);
/* Makes room where this hash belongs: a larger table, or two. Returns: 0 or -ENOMEM. */
must_check int shard_grow(struct catalog *catalog, uint64_t hash);

/* Returns: false when no path to an empty place was found. shard: NULL for a table nobody sees. */
bool table_insert(struct table *table, struct catalog_shard *shard, uint64_t hash, uint64_t place);
