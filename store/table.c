/* SPDX-License-Identifier: MIT */
#include "store/table.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <string.h>

/* A table is a head and a list of chunks; small ones have one chunk of fewer pages. */

#define TABLE_ENTRIES_MAX                                                  \
    16384u /* from here to twice this a table splits: each at its own size \
            */
#define FULL_PERMILLE 920u

static struct catalog_arena *arena_of(const struct catalog *catalog, uint32_t shard) {
    return &catalog->arenas[shard % catalog->keepers];
}

/* Buckets for at least `entries` when full: whole pages, and past one chunk whole chunks. */
static uint32_t buckets_for(uint64_t entries) {
    uint64_t buckets = entries * 1000 / (BUCKET_ENTRIES * FULL_PERMILLE) + 1;
    uint64_t unit = buckets <= CHUNK_BUCKETS ? PAGE_BUCKETS : CHUNK_BUCKETS;
    return (uint32_t)round_up(buckets, unit);
}

/* What a table does not share with others of its size: where in the range it splits. */
static uint64_t spread_of(uint64_t shard, uint64_t tables) {
    uint64_t x = (shard << 32 ^ tables) * UINT64_C(0x9e3779b97f4a7c15);
    return (x ^ x >> 29) * UINT64_C(0xff51afd7ed558ccd) >> 58;
}

static struct table *head_take(struct catalog_arena *arena) {
    if (!arena->free_heads) {
        struct table *page = slab_take(&arena->slab, 1, 1);
        for (uint32_t i = 0; page && i < PAGE_BYTES / sizeof *page; i++) {
            page[i].next = arena->free_heads;
            arena->free_heads = &page[i];
        }
    }
    struct table *head = arena->free_heads;
    if (head) {
        arena->free_heads = head->next;
        *head = (struct table){.next = NULL};
    }
    return head;
}

static void head_give(struct catalog_arena *arena, struct table *head) {
    head->next = arena->free_heads;
    arena->free_heads = head;
}

void table_free(struct catalog *catalog, struct catalog_arena *arena, struct table *table) {
    if (table->run) {
        slab_give(&arena->slab, table->run, table->run_pages);
    }
    for (uint32_t i = 0; i < table->chunk_count; i++) {
        slab_give(&arena->slab, catalog->base + (uint64_t)table->chunks[i] * CACHE_LINE,
                  table->chunk_pages);
    }
    head_give(arena, table);
}

static struct table *table_make(struct catalog *catalog, struct catalog_arena *arena,
                                uint32_t buckets, uint32_t depth) {
    struct table *table = head_take(arena);
    if (!table) {
        return NULL;
    }
    table->buckets = buckets;
    table->depth = depth;
    table->entries_max = (uint32_t)((uint64_t)buckets * BUCKET_ENTRIES * FULL_PERMILLE / 1000);
    table->chunk_pages = buckets <= CHUNK_BUCKETS ? buckets / PAGE_BUCKETS : CHUNK_PAGES;
    uint32_t wanted = (buckets + CHUNK_BUCKETS - 1) / CHUNK_BUCKETS;
    must(wanted <= TABLE_CHUNKS);
    while (table->chunk_count < wanted) {
        uint64_t unit = table->chunk_pages == CHUNK_PAGES ? CHUNK_PAGES : 1;
        uint8_t *chunk = slab_take(&arena->slab, table->chunk_pages, unit);
        if (!chunk) {
            table_free(catalog, arena, table);
            return NULL;
        }
        memset(chunk, 0, (size_t)table->chunk_pages * PAGE_BYTES);
        uint64_t line = (uint64_t)(chunk - catalog->base) / CACHE_LINE;
        must(line <= UINT32_MAX);
        table->chunks[table->chunk_count++] = (uint32_t)line;
    }
    return table;
}

static void retire(struct catalog *catalog, struct catalog_arena *arena, struct table *table) {
    table->retire_epoch = turn_retire(catalog->turns);
    table->next = NULL;
    if (arena->retired_tail) {
        arena->retired_tail->next = table;
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

static uint64_t directory_pages(uint32_t depth) {
    return round_up(sizeof(uint64_t) << depth, PAGE_BYTES) / PAGE_BYTES;
}

/* The first depths lie in the shard's own line, deeper ones in a run of pages. */
static _Atomic uint64_t *slots_make(struct catalog *catalog, uint32_t shard, uint32_t depth) {
    if (depth <= 2) {
        struct catalog_shard *at = &catalog->shards[shard];
        return depth == 1 ? at->slots_2 : at->slots_4;
    }
    return slab_take(&arena_of(catalog, shard)->slab, directory_pages(depth), 1);
}

static void slots_publish(struct catalog *catalog, uint32_t shard, _Atomic uint64_t *slots,
                          uint32_t depth) {
    uint64_t word = (uint64_t)(uintptr_t)slots;
    must(word >> 56 == 0);
    atomic_store_explicit(&catalog->shards[shard].directory, word | (uint64_t)depth << 56,
                          memory_order_release); /* pairs with catalog_buckets */
}

static uint64_t slot_word(const struct catalog *catalog, struct table *table) {
    uint64_t line = (uint64_t)((uint8_t *)table - catalog->base) / CACHE_LINE;
    must(line <= UINT32_MAX);
    return line | (uint64_t)table->buckets << 32;
}

static struct table *slot_table(const struct catalog *catalog, uint64_t slot) {
    return (struct table *)(void *)(catalog->base + (slot & UINT32_MAX) * CACHE_LINE);
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
            table_make(catalog, arena_of(catalog, shard), buckets_for(here), depth);
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
    struct catalog_arena *arena = arena_of(catalog, shard);
    struct table *head = depth < DEPTH_MAX ? head_take(arena) : NULL; /* the old one waits on it */
    _Atomic uint64_t *wide = head ? slots_make(catalog, shard, depth + 1) : NULL;
    if (!wide) {
        if (head) {
            head_give(arena, head);
        }
        return err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < UINT64_C(2) << depth; i++) {
        uint64_t slot = atomic_load_explicit(&old[i / 2], memory_order_relaxed);
        atomic_store_explicit(&wide[i], slot, memory_order_relaxed); /* seen by the publish */
    }
    slots_publish(catalog, shard, wide, depth + 1);
    if (depth > 2) {
        head->run = (void *)old;
        head->run_pages = (uint32_t)directory_pages(depth);
        retire(catalog, arena, head);
    } else {
        head_give(arena, head);
    }
    return 0;
}

/* --- growing ---------------------------------------------------------------------------------- */

/* Copies those entries of `from` whose bit below its depth is `side` (2: all). */
static bool table_copy(const struct catalog *catalog, const struct table *from, struct table *to,
                       uint32_t side) {
    struct table_target target = {catalog, to, NULL};
    for (uint32_t b = 0; b < from->buckets; b++) {
        const struct bucket *bucket = table_bucket(catalog, from, b);
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            uint64_t hash = atomic_load_explicit(&bucket->hash[i], memory_order_relaxed);
            uint64_t place = atomic_load_explicit(&bucket->place[i], memory_order_relaxed);
            bool mine = side == 2 || (hash << (8 + from->depth) >> 63) == side;
            if (hash != 0 && mine && !table_insert(&target, hash, place)) {
                return false;
            }
        }
    }
    return true;
}

/* A tenth more, in whole pages or chunks; of a half that splits off, what it holds and a little. */
static uint32_t growth_target(const struct table *table, uint32_t side) {
    if (side != 2) {
        return buckets_for(table->entries / 2 + table->entries / 40);
    }
    uint32_t unit = table->buckets < CHUNK_BUCKETS ? PAGE_BUCKETS : CHUNK_BUCKETS;
    uint32_t more = table->buckets / (10 * unit);
    return table->buckets + (more > 0 ? more : 1) * unit;
}

static struct table *table_remake(struct catalog *catalog, struct catalog_arena *arena,
                                  struct table *from, uint32_t side) {
    uint32_t buckets = growth_target(from, side);
    for (uint32_t tries = 0; tries < 4 && buckets <= TABLE_CHUNKS * CHUNK_BUCKETS; tries++) {
        struct table *to = table_make(catalog, arena, buckets, from->depth + (side == 2 ? 0 : 1));
        if (!to) {
            return NULL;
        }
        if (table_copy(catalog, from, to, side)) {
            return to;
        }
        table_free(catalog, arena, to);
        buckets += buckets < CHUNK_BUCKETS ? PAGE_BUCKETS : CHUNK_BUCKETS;
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
    struct table *low = table_remake(catalog, arena, old, 0);
    struct table *high = low ? table_remake(catalog, arena, old, 1) : NULL;
    if (!high) {
        if (low) {
            table_free(catalog, arena, low);
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
    struct table *table = table_remake(catalog, arena, old, 2);
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
            table_free(catalog, arena_of(catalog, shard), first[i]);
        }
    }
    return 0;
}

/* --- a shard from a snapshot ------------------------------------------------------------------ */

bool table_buckets_valid(uint32_t buckets) {
    uint32_t unit = buckets <= CHUNK_BUCKETS ? PAGE_BUCKETS : CHUNK_BUCKETS;
    return buckets > 0 && buckets % unit == 0 && buckets <= TABLE_CHUNKS * CHUNK_BUCKETS;
}

/* The table's buckets, chunk by chunk; as bytes they lie anywhere. */
static uint32_t table_fill(const struct catalog *catalog, struct table *table, const void *raw) {
    uint32_t entries = 0;
    for (uint32_t at = 0; at < table->buckets; at += CHUNK_BUCKETS) {
        uint32_t count = min_u32(CHUNK_BUCKETS, table->buckets - at);
        memcpy(table_bucket(catalog, table, at),
               (const uint8_t *)raw + (size_t)at * sizeof(struct bucket),
               count * sizeof(struct bucket));
    }
    for (uint32_t at = 0; at < table->buckets; at++) {
        const struct bucket *bucket = table_bucket(catalog, table, at);
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            entries += atomic_load_explicit(&bucket->hash[i], memory_order_relaxed) != 0;
        }
    }
    return entries;
}

int shard_load_table(struct shard_load *load, const struct table_image *image) {
    struct catalog *catalog = load->catalog;
    struct catalog_arena *arena = arena_of(catalog, load->shard);
    must(hash_shard(image->first) == load->shard && image->depth <= load->depth);
    must(table_buckets_valid(image->buckets));
    struct table *table = table_make(catalog, arena, image->buckets, image->depth);
    if (!table) {
        return err_raise(-ENOMEM);
    }
    if (image->raw) {
        table->entries = table_fill(catalog, table, image->raw);
    }
    struct table_target target = {catalog, table, NULL};
    for (uint32_t i = 0; i < image->list_count; i++) {
        if (!table_insert(&target, image->list[2 * i], image->list[2 * i + 1])) {
            table_free(catalog, arena, table);
            return TABLE_UNFIT;
        }
    }
    uint64_t same = UINT64_C(1) << (load->depth - image->depth);
    uint64_t first = image->first << 8 >> (64 - load->depth);
    for (uint64_t i = first; i < first + same; i++) {
        load->slots[i] = slot_word(catalog, table);
    }
    load->entries += table->entries;
    return 0;
}

struct table *shard_load_next(const struct shard_load *load, uint64_t *slot) {
    if (*slot >> load->depth != 0 || load->slots[*slot] == 0) {
        return NULL;
    }
    struct table *table = slot_table(load->catalog, load->slots[*slot]);
    *slot += UINT64_C(1) << (load->depth - table->depth);
    return table;
}

void shard_load_undo(struct shard_load *load) {
    uint64_t slot = 0;
    struct table *table;
    while ((table = shard_load_next(load, &slot)) != NULL) {
        table_free(load->catalog, arena_of(load->catalog, load->shard), table);
    }
}

int shard_load_end(struct shard_load *load) {
    struct catalog *catalog = load->catalog;
    struct table *before[1 << DEPTH_LEAST];
    for (uint64_t i = 0; i < array_count(before); i++) {
        before[i] = shard_table(catalog, (uint64_t)load->shard << 56 | i << 55);
        must(before[i]->entries == 0 && before[i]->depth == DEPTH_LEAST);
    }
    _Atomic uint64_t *slots = slots_make(catalog, load->shard, load->depth);
    if (!slots) {
        shard_load_undo(load);
        return err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < UINT64_C(1) << load->depth; i++) {
        must(load->slots[i] != 0);
        atomic_store_explicit(&slots[i], load->slots[i], memory_order_relaxed); /* by the publish */
    }
    slots_publish(catalog, load->shard, slots, load->depth);
    catalog->entries[load->shard] = load->entries;
    for (uint64_t i = 0; i < array_count(before); i++) {
        table_free(catalog, arena_of(catalog, load->shard), before[i]);
    }
    return 0;
}
