/* SPDX-License-Identifier: MIT */
#include "store/table.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <string.h>

/* A table is a run of pages: one line of head, then buckets. A directory is a run too, with the
 * same head, so that both wait in one list for readers to move on. */

#define TABLE_ENTRIES_MAX 16384u /* from here to twice this a table splits: each at its own size \
                                  */
#define DEPTH_LEAST   1u
#define DEPTH_MAX     20u
#define FULL_PERMILLE 920u

static struct catalog_arena *arena_of(const struct catalog *catalog, uint32_t shard) {
    return &catalog->arenas[shard % catalog->keepers];
}

static uint64_t pages_of(uint32_t buckets) {
    return ((uint64_t)buckets + 1) * CACHE_LINE / PAGE_BYTES;
}

/* Sizes are few: an eighth of the size apart, so that what one table leaves fits the next. */
static uint64_t quantum_of(uint64_t pages) {
    return pages < 8 ? 1 : pages < 16 ? 2 : pages < 32 ? 4 : 8;
}

/* Buckets for at least `entries` at `permille` load, such that head and buckets fill whole pages.
 */
static uint32_t buckets_for(uint64_t entries, uint32_t permille) {
    uint64_t buckets = entries * 1000 / (BUCKET_ENTRIES * permille) + 1;
    uint64_t pages = round_up(buckets + 1, PAGE_BYTES / CACHE_LINE) / (PAGE_BYTES / CACHE_LINE);
    pages = round_up(pages, quantum_of(pages));
    return (uint32_t)(pages * (PAGE_BYTES / CACHE_LINE) - 1);
}

/* What a table does not share with others of its size: where in the range it splits and grows. */
static uint64_t spread_of(uint64_t shard, uint64_t tables) {
    uint64_t x = (shard << 32 ^ tables) * UINT64_C(0x9e3779b97f4a7c15);
    return (x ^ x >> 29) * UINT64_C(0xff51afd7ed558ccd) >> 58;
}

static struct table *table_make(struct catalog_arena *arena, uint32_t buckets, uint32_t depth) {
    uint64_t pages = pages_of(buckets);
    struct table *table = slab_take(&arena->slab, pages, quantum_of(pages));
    if (!table) {
        return NULL;
    }
    memset(table, 0, pages * PAGE_BYTES);
    *table = (struct table){.pages = pages, .buckets = buckets, .depth = depth};
    table->entries_max = (uint32_t)((uint64_t)buckets * BUCKET_ENTRIES * FULL_PERMILLE / 1000);
    return table;
}

static void retire(struct catalog *catalog, struct catalog_arena *arena, struct table *table) {
    table->retire_epoch = turn_retire(catalog->turns);
    table->next_retired = NULL;
    if (arena->retired_tail) {
        arena->retired_tail->next_retired = table;
    } else {
        arena->retired_head = table;
    }
    arena->retired_tail = table;
}

/* --- the directory ---------------------------------------------------------------------------- */

static _Atomic uint64_t *shard_slots(const struct catalog *catalog, uint32_t shard,
                                     uint32_t *ret_depth) {
    uint64_t word =
        atomic_load_explicit(&catalog->shards[shard].directory, memory_order_relaxed); /* own */
    *ret_depth = (uint32_t)(word >> 56);
    return (_Atomic uint64_t *)(word & ~(UINT64_C(0xff) << 56));
}

/* The first depths lie in the shard's own line, deeper ones in a run of pages behind a head. */
static _Atomic uint64_t *slots_make(struct catalog *catalog, uint32_t shard, uint32_t depth) {
    if (depth <= 2) {
        struct catalog_shard *at = &catalog->shards[shard];
        return depth == 1 ? at->slots_2 : at->slots_4;
    }
    uint64_t bytes = CACHE_LINE + (sizeof(uint64_t) << depth);
    uint64_t pages = round_up(bytes, PAGE_BYTES) / PAGE_BYTES;
    struct table *head = slab_take(&arena_of(catalog, shard)->slab, pages, 1);
    if (!head) {
        return NULL;
    }
    *head = (struct table){.pages = pages};
    return (_Atomic uint64_t *)(void *)((uint8_t *)head + CACHE_LINE);
}

static void slots_publish(struct catalog *catalog, uint32_t shard, _Atomic uint64_t *slots,
                          uint32_t depth) {
    uint64_t word = (uint64_t)(uintptr_t)slots;
    must(word >> 56 == 0);
    atomic_store_explicit(&catalog->shards[shard].directory, word | (uint64_t)depth << 56,
                          memory_order_release); /* pairs with catalog_buckets */
}

static uint64_t slot_word(const struct catalog *catalog, struct table *table) {
    uint64_t lines = (uint64_t)((uint8_t *)table_buckets(table) - catalog->base) / CACHE_LINE;
    must(lines <= UINT32_MAX);
    return lines | (uint64_t)table->buckets << 32;
}

static struct table *slot_table(const struct catalog *catalog, uint64_t slot) {
    return (struct table *)(void *)(catalog->base + (slot & UINT32_MAX) * CACHE_LINE - CACHE_LINE);
}

/* Stores the table in every slot of the directory whose hashes are its own. */
static void table_publish(struct catalog *catalog, uint64_t hash, struct table *table) {
    uint32_t depth = 0;
    _Atomic uint64_t *slots = shard_slots(catalog, hash_shard(hash), &depth);
    uint64_t index = hash << 8 >> (64 - depth);
    uint64_t same = UINT64_C(1) << (depth - table->depth);
    uint64_t first = index & ~(same - 1);
    for (uint64_t i = first; i < first + same; i++) {
        atomic_store_explicit(&slots[i], slot_word(catalog, table),
                              memory_order_release); /* pairs with catalog_buckets */
    }
}

/* Sets a shard up with 2^depth tables of this many buckets. */
static int shard_lay_out(struct catalog *catalog, uint32_t shard, uint32_t depth,
                         uint64_t entries) {
    _Atomic uint64_t *slots = slots_make(catalog, shard, depth);
    if (!slots) {
        return err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < UINT64_C(1) << depth; i++) {
        uint64_t here = entries + entries * spread_of(shard, i) / 640;
        struct table *table =
            table_make(arena_of(catalog, shard), buckets_for(here, FULL_PERMILLE), depth);
        if (!table) {
            return err_raise(-ENOMEM);
        }
        atomic_store_explicit(&slots[i], slot_word(catalog, table), memory_order_relaxed);
    }
    slots_publish(catalog, shard, slots, depth);
    return 0;
}

int shard_open(struct catalog *catalog, uint32_t shard) {
    return shard_lay_out(catalog, shard, DEPTH_LEAST, 1);
}

struct table *shard_table(const struct catalog *catalog, uint64_t hash) {
    uint32_t depth = 0;
    _Atomic uint64_t *slots = shard_slots(catalog, hash_shard(hash), &depth);
    uint64_t slot =
        atomic_load_explicit(&slots[hash << 8 >> (64 - depth)], memory_order_relaxed); /* own */
    return slot_table(catalog, slot);
}

static int directory_double(struct catalog *catalog, uint32_t shard) {
    uint32_t depth = 0;
    _Atomic uint64_t *old = shard_slots(catalog, shard, &depth);
    _Atomic uint64_t *wide = depth < DEPTH_MAX ? slots_make(catalog, shard, depth + 1) : NULL;
    if (!wide) {
        return err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < UINT64_C(2) << depth; i++) {
        uint64_t slot = atomic_load_explicit(&old[i / 2], memory_order_relaxed);
        atomic_store_explicit(&wide[i], slot, memory_order_relaxed); /* seen by the publish */
    }
    slots_publish(catalog, shard, wide, depth + 1);
    if (depth > 2) {
        retire(catalog, arena_of(catalog, shard),
               (struct table *)(void *)((uint8_t *)old - CACHE_LINE));
    }
    return 0;
}

/* --- growing ---------------------------------------------------------------------------------- */

/* Copies those entries of `from` whose bit below its depth is `side` (2: all). */
static bool table_copy(struct table *from, struct table *to, uint32_t side) {
    const struct bucket *buckets = table_buckets(from);
    for (uint32_t b = 0; b < from->buckets; b++) {
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            uint64_t hash = atomic_load_explicit(&buckets[b].hash[i], memory_order_relaxed);
            uint64_t place = atomic_load_explicit(&buckets[b].place[i], memory_order_relaxed);
            bool mine = side == 2 || (hash << (8 + from->depth) >> 63) == side;
            if (hash != 0 && mine && !table_insert(to, NULL, hash, place)) {
                return false;
            }
        }
    }
    return true;
}

/* Where growth goes next: an eighth more, spread a little so that tables filled alike do not all
 * grow at once (and the mean load stays near its middle). */
static uint64_t growth_target(const struct table *table, uint64_t hash, uint32_t side) {
    uint64_t spread = spread_of(hash_shard(hash) << 1 | (side == 1), table->buckets);
    uint64_t entries = side == 2 ? table->entries : (uint64_t)table->entries / 2;
    return entries + entries / 16 + entries * spread / 1024;
}

static struct table *table_remake(struct catalog_arena *arena, struct table *from, uint64_t hash,
                                  uint32_t side) {
    uint64_t target = growth_target(from, hash, side);
    for (uint32_t tries = 0; tries < 8; tries++) {
        uint32_t buckets = buckets_for(target, FULL_PERMILLE);
        if (side == 2 && buckets <= from->buckets) {
            uint64_t step = quantum_of(from->pages) * (PAGE_BYTES / CACHE_LINE);
            buckets = from->buckets + (uint32_t)step;
        }
        struct table *to = table_make(arena, buckets, from->depth + (side == 2 ? 0 : 1));
        if (!to) {
            return NULL;
        }
        if (table_copy(from, to, side)) {
            return to;
        }
        slab_give(&arena->slab, to, to->pages);
        target += target / 8 + 64;
    }
    return NULL;
}

static int table_split(struct catalog *catalog, uint64_t hash, struct table *old) {
    uint32_t shard = hash_shard(hash);
    struct catalog_arena *arena = arena_of(catalog, shard);
    uint32_t depth = 0;
    (void)shard_slots(catalog, shard, &depth);
    if (depth == old->depth) {
        int r = directory_double(catalog, shard);
        if (r != 0) {
            return r;
        }
    }
    struct table *low = table_remake(arena, old, hash, 0);
    struct table *high = low ? table_remake(arena, old, ~hash, 1) : NULL;
    if (!high) {
        if (low) {
            slab_give(&arena->slab, low, low->pages);
        }
        return err_raise(-ENOMEM);
    }
    uint64_t bit = UINT64_C(1) << (55 - old->depth);
    table_publish(catalog, hash & ~bit, low);
    table_publish(catalog, hash | bit, high);
    retire(catalog, arena, old);
    return 0;
}

int shard_grow(struct catalog *catalog, uint64_t hash) {
    struct catalog_arena *arena = arena_of(catalog, hash_shard(hash));
    struct table *old = shard_table(catalog, hash);
    arena->grows++;
    uint64_t most = TABLE_ENTRIES_MAX +
                    spread_of(hash_shard(hash), hash >> (55 - old->depth)) * TABLE_ENTRIES_MAX / 64;
    if (old->entries >= most && old->depth < DEPTH_MAX) {
        return table_split(catalog, hash, old);
    }
    struct table *table = table_remake(arena, old, hash, 2);
    if (!table) {
        return err_raise(-ENOMEM);
    }
    table_publish(catalog, hash, table);
    retire(catalog, arena, old);
    return 0;
}

int catalog_reserve(struct catalog *catalog, uint64_t entries) {
    uint64_t per_shard = entries / CATALOG_SHARDS;
    uint32_t depth = DEPTH_LEAST;
    while (depth < DEPTH_MAX && per_shard >> depth > TABLE_ENTRIES_MAX) {
        depth++;
    }
    for (uint32_t shard = 0; shard < CATALOG_SHARDS; shard++) {
        struct table *first[1 << DEPTH_LEAST];
        for (uint64_t i = 0; i < array_count(first); i++) {
            first[i] = shard_table(catalog, (uint64_t)shard << 56 | i << 55);
            must(first[i]->entries == 0 && first[i]->depth == DEPTH_LEAST);
        }
        int r = shard_lay_out(catalog, shard, depth, (per_shard >> depth) + 64);
        if (r != 0) {
            return r;
        }
        for (uint64_t i = 0; i < array_count(first); i++) {
            slab_give(&arena_of(catalog, shard)->slab, first[i], first[i]->pages);
        }
    }
    return 0;
}
