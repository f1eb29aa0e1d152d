/* SPDX-License-Identifier: MIT */
#include "store/table.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <string.h>

/* A table is a run of pages: one line of head, then buckets. A directory is a run too, with the
 * same head, so that both wait in one list for readers to move on. */

#define TABLE_ENTRIES_MAX 24576u /* more than this many are split in two */
#define DEPTH_MAX         20u
#define FULL_PERMILLE     920u

static struct catalog_arena *arena_of(const struct catalog *catalog, uint32_t shard) {
    return &catalog->arenas[shard % catalog->keepers];
}

static uint64_t pages_of(uint32_t buckets) {
    return ((uint64_t)buckets + 1) * CACHE_LINE / PAGE_BYTES;
}

/* Buckets for at least `entries` at `permille` load, such that head and buckets fill whole pages.
 */
static uint32_t buckets_for(uint64_t entries, uint32_t permille) {
    uint64_t buckets = entries * 1000 / (BUCKET_ENTRIES * permille) + 1;
    return (uint32_t)(round_up(buckets + 1, PAGE_BYTES / CACHE_LINE) - 1);
}

static struct table *table_make(struct catalog_arena *arena, uint32_t buckets, uint32_t depth) {
    uint64_t pages = pages_of(buckets);
    struct table *table = slab_take(&arena->slab, pages);
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

static _Atomic uint64_t *directory_slots(struct table *directory) {
    return (_Atomic uint64_t *)(void *)((uint8_t *)directory + CACHE_LINE);
}

static struct table *shard_directory(const struct catalog *catalog, uint32_t shard,
                                     uint32_t *ret_depth) {
    uint64_t word =
        atomic_load_explicit(&catalog->shards[shard].directory, memory_order_relaxed); /* own */
    *ret_depth = (uint32_t)(word >> 56);
    return (struct table *)((word & ~(UINT64_C(0xff) << 56)) - CACHE_LINE);
}

static struct table *directory_make(struct catalog_arena *arena, uint32_t depth) {
    uint64_t bytes = CACHE_LINE + (sizeof(uint64_t) << depth);
    uint64_t pages = round_up(bytes, PAGE_BYTES) / PAGE_BYTES;
    struct table *directory = slab_take(&arena->slab, pages);
    if (directory) {
        *directory = (struct table){.pages = pages, .depth = depth};
    }
    return directory;
}

static void directory_publish(struct catalog *catalog, uint32_t shard, struct table *directory) {
    uint64_t word = (uint64_t)(uintptr_t)directory_slots(directory);
    must(word >> 56 == 0);
    atomic_store_explicit(&catalog->shards[shard].directory,
                          word | (uint64_t)directory->depth << 56,
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
    struct table *directory = shard_directory(catalog, hash_shard(hash), &depth);
    uint64_t index = depth ? hash << 8 >> (64 - depth) : 0;
    uint64_t same = UINT64_C(1) << (depth - table->depth);
    uint64_t first = index & ~(same - 1);
    for (uint64_t i = first; i < first + same; i++) {
        atomic_store_explicit(&directory_slots(directory)[i], slot_word(catalog, table),
                              memory_order_release); /* pairs with catalog_buckets */
    }
}

int shard_open(struct catalog *catalog, uint32_t shard) {
    struct catalog_arena *arena = arena_of(catalog, shard);
    struct table *directory = directory_make(arena, 0);
    struct table *table = directory ? table_make(arena, buckets_for(1, 500), 0) : NULL;
    if (!table) {
        return err_raise(-ENOMEM);
    }
    atomic_init(&directory_slots(directory)[0], slot_word(catalog, table));
    directory_publish(catalog, shard, directory);
    return 0;
}

struct table *shard_table(const struct catalog *catalog, uint64_t hash) {
    uint32_t depth = 0;
    struct table *directory = shard_directory(catalog, hash_shard(hash), &depth);
    uint64_t index = depth ? hash << 8 >> (64 - depth) : 0;
    uint64_t slot =
        atomic_load_explicit(&directory_slots(directory)[index], memory_order_relaxed); /* own */
    return slot_table(catalog, slot);
}

static int directory_double(struct catalog *catalog, uint32_t shard) {
    uint32_t depth = 0;
    struct catalog_arena *arena = arena_of(catalog, shard);
    struct table *old = shard_directory(catalog, shard, &depth);
    struct table *wide = depth < DEPTH_MAX ? directory_make(arena, depth + 1) : NULL;
    if (!wide) {
        return err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < UINT64_C(2) << depth; i++) {
        uint64_t slot = atomic_load_explicit(&directory_slots(old)[i / 2], memory_order_relaxed);
        atomic_init(&directory_slots(wide)[i], slot);
    }
    directory_publish(catalog, shard, wide);
    retire(catalog, arena, old);
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

/* Where growth goes next: an eighth more, spread a little by the table's own hash so that tables
 * filled alike do not all grow at once (and the mean load stays near its middle). */
static uint64_t growth_target(const struct table *table, uint64_t hash, uint32_t side) {
    uint64_t spread = (hash >> 36 ^ table->buckets) * UINT64_C(0x9e3779b97f4a7c15) >> 58;
    uint64_t entries = side == 2 ? table->entries : (uint64_t)table->entries / 2;
    return entries + entries / 13 + entries * spread / 640;
}

static struct table *table_remake(struct catalog_arena *arena, struct table *from, uint64_t hash,
                                  uint32_t side) {
    uint64_t target = growth_target(from, hash, side);
    for (uint32_t tries = 0; tries < 8; tries++) {
        uint32_t buckets = buckets_for(target, FULL_PERMILLE);
        if (side == 2 && buckets <= from->buckets) {
            buckets = from->buckets + PAGE_BYTES / CACHE_LINE;
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
    (void)shard_directory(catalog, shard, &depth);
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
    if (old->entries >= TABLE_ENTRIES_MAX && old->depth < DEPTH_MAX) {
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
    for (uint32_t shard = 0; shard < CATALOG_SHARDS; shard++) {
        struct catalog_arena *arena = arena_of(catalog, shard);
        uint32_t depth = 0;
        while (depth < DEPTH_MAX && per_shard >> depth > TABLE_ENTRIES_MAX * 3 / 4) {
            depth++;
        }
        struct table *directory = directory_make(arena, depth);
        if (!directory) {
            return err_raise(-ENOMEM);
        }
        for (uint64_t i = 0; i < UINT64_C(1) << depth; i++) {
            uint64_t spread =
                (shard * UINT64_C(0x9e3779b97f4a7c15) + i) * UINT64_C(0xff51afd7ed558ccd) >> 58;
            uint64_t here = (per_shard >> depth) + 64;
            struct table *table =
                table_make(arena, buckets_for(here + here * spread / 640, FULL_PERMILLE), depth);
            if (!table) {
                return err_raise(-ENOMEM);
            }
            atomic_init(&directory_slots(directory)[i], slot_word(catalog, table));
        }
        uint32_t old_depth = 0;
        struct table *old = shard_directory(catalog, shard, &old_depth);
        struct table *first = slot_table(catalog, atomic_load(&directory_slots(old)[0]));
        must(old_depth == 0 && first->entries == 0);
        directory_publish(catalog, shard, directory);
        slab_give(&arena->slab, first, first->pages);
        slab_give(&arena->slab, old, old->pages);
    }
    return 0;
}
