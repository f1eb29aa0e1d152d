/* SPDX-License-Identifier: MIT */
#include "store/catalog.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <string.h>

/* The owner's side: inserting with kicks, removing, and the small things. Tables come and go in
 * table.c. */

#include "store/table.h"

#define FIND_TRIES  4096u
#define KICK_QUEUE  512u /* breadth of the search for an empty place */
#define SPACE_BYTES (64 * GiB)

int catalog_open(struct catalog *catalog, struct turns *turns, uint32_t keepers,
                 struct catalog_arena *arenas) {
    catalog->turns = turns;
    catalog->keepers = keepers;
    catalog->arenas = arenas;
    void *base = NULL;
    catalog->bytes = SPACE_BYTES;
    int r = vm_reserve(&base, catalog->bytes);
    while (r != 0 && catalog->bytes > GiB) { /* a limit on address space */
        catalog->bytes /= 2;
        r = vm_reserve(&base, catalog->bytes);
    }
    if (r != 0) {
        return r;
    }
    catalog->base = base;
    uint64_t part = round_down(catalog->bytes / keepers, 2 * MiB);
    for (uint32_t k = 0; k < keepers; k++) {
        r = slab_init(&arenas[k].slab, catalog->base + k * part, part);
        if (r != 0) {
            return r;
        }
    }
    for (uint32_t shard = 0; shard < CATALOG_SHARDS; shard++) {
        r = shard_open(catalog, shard);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

void catalog_close(struct catalog *catalog) {
    if (!catalog->base) {
        return;
    }
    for (uint32_t k = 0; k < catalog->keepers; k++) {
        slab_fini(&catalog->arenas[k].slab);
    }
    vm_unmap(catalog->base, catalog->bytes);
    catalog->base = NULL;
}

uint32_t catalog_find(const struct catalog *catalog, uint64_t hash,
                      uint64_t ret_places[CATALOG_MATCHES_MAX]) {
    for (uint32_t tries = 0; tries < FIND_TRIES; tries++) {
        uint64_t before = catalog_sequence(catalog, hash);
        struct bucket_pair pair = catalog_buckets(catalog, hash);
        uint32_t count = bucket_match(pair.first, hash, ret_places);
        if (pair.second != pair.first) {
            count += bucket_match(pair.second, hash, ret_places + count);
        }
        if (catalog_still(catalog, hash, before)) {
            return count;
        }
    }
    return UINT32_MAX;
}

/* --- moving: the shard's sequence is odd from begin to end ------------------------------------ */

static uint64_t move_begin(struct catalog_shard *shard) {
    uint64_t sequence = atomic_load_explicit(&shard->sequence, memory_order_relaxed);
    /* relaxed: each store of a move is a release and comes after it */
    atomic_store_explicit(&shard->sequence, sequence + 1, memory_order_relaxed);
    return sequence;
}

static void move_end(struct catalog_shard *shard, uint64_t sequence) {
    atomic_store_explicit(&shard->sequence, sequence + 2, memory_order_release);
}

static void slot_fill(struct bucket *bucket, uint32_t slot, uint64_t hash, uint64_t place) {
    atomic_store_explicit(&bucket->place[slot], place, memory_order_release);
    atomic_store_explicit(&bucket->hash[slot], hash, memory_order_release); /* bucket_match */
}

/* The owner's own words may be read relaxed: nobody else writes them. */
static uint64_t own(const _Atomic uint64_t *word) {
    return atomic_load_explicit(word, memory_order_relaxed);
}

static uint32_t empty_slot(const struct bucket *bucket) {
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        if (own(&bucket->hash[i]) == 0) {
            return i;
        }
    }
    return BUCKET_ENTRIES;
}

/* Breadth first from both buckets: node i's bucket holds an entry whose other bucket is a child. */
struct kick {
    uint32_t bucket;
    uint16_t parent; /* index in the queue; itself for the two roots */
    uint8_t slot;    /* of the parent's bucket, that would move here */
};

static uint32_t other_bucket(uint64_t hash, uint32_t bucket, uint32_t buckets) {
    uint32_t first = hash_first(hash, buckets);
    return first == bucket ? hash_second(hash, buckets) : first;
}

static struct bucket *target_bucket(const struct table_target *target, uint32_t bucket) {
    return table_bucket(target->catalog, target->table, bucket);
}

/* Moves entries along the path that ends in the empty `slot` of node `at`, last one first, until a
 * root's slot is empty. Returns: that slot; *ret_bucket: the root's bucket. */
static uint32_t kick_along(const struct table_target *target, const struct kick queue[],
                           uint32_t at, uint32_t slot, uint32_t *ret_bucket) {
    struct catalog_shard *shard = target->shard;
    uint64_t sequence = shard ? move_begin(shard) : 0;
    while (queue[at].parent != at) {
        uint32_t parent = queue[at].parent;
        struct bucket *from = target_bucket(target, queue[parent].bucket);
        struct bucket *to = target_bucket(target, queue[at].bucket);
        uint32_t from_slot = queue[at].slot;
        slot_fill(to, slot, own(&from->hash[from_slot]), own(&from->place[from_slot]));
        atomic_store_explicit(&from->hash[from_slot], 0, memory_order_release);
        slot = from_slot;
        at = parent;
    }
    if (shard) {
        move_end(shard, sequence);
    }
    *ret_bucket = queue[at].bucket;
    return slot;
}

bool table_insert(const struct table_target *target, uint64_t hash, uint64_t place) {
    struct table *table = target->table;
    struct kick queue[KICK_QUEUE];
    uint32_t count = 2;
    queue[0] = (struct kick){hash_first(hash, table->buckets), 0, 0};
    queue[1] = (struct kick){hash_second(hash, table->buckets), 1, 0};
    for (uint32_t at = 0; at < count; at++) {
        struct bucket *bucket = target_bucket(target, queue[at].bucket);
        uint32_t slot = empty_slot(bucket);
        if (slot < BUCKET_ENTRIES) {
            uint32_t root = queue[at].bucket;
            if (queue[at].parent != at) {
                slot = kick_along(target, queue, at, slot, &root);
            }
            slot_fill(target_bucket(target, root), slot, hash, place);
            table->entries++;
            return true;
        }
        for (uint32_t i = 0; i < BUCKET_ENTRIES && count < KICK_QUEUE; i++) {
            uint32_t child = other_bucket(own(&bucket->hash[i]), queue[at].bucket, table->buckets);
            if (child != queue[at].bucket) {
                queue[count++] = (struct kick){child, (uint16_t)at, (uint8_t)i};
            }
        }
    }
    return false;
}

int catalog_insert(struct catalog *catalog, uint64_t hash, uint64_t place) {
    must(hash != 0);
    struct catalog_shard *shard = &catalog->shards[hash_shard(hash)];
    for (uint32_t tries = 0; tries < 64; tries++) {
        struct table *table = shard_table(catalog, hash);
        bool crowded = table->entries >= table->entries_max;
        int r = crowded ? shard_grow(catalog, hash) : 0;
        if (crowded && r == 0) {
            continue;
        }
        struct table_target target = {catalog, table, shard};
        if (table_insert(&target, hash, place)) {
            catalog->entries[hash_shard(hash)]++;
            return 0;
        }
        uint64_t places[CATALOG_MATCHES_MAX];
        if (catalog_find(catalog, hash, places) == CATALOG_MATCHES_MAX) {
            return err_raise(-EOVERFLOW); /* no table, however large, has two buckets more for it */
        }
        r = crowded ? r : shard_grow(catalog, hash);
        if (r != 0) {
            return r;
        }
    }
    return err_raise(-ENOMEM);
}

static struct entry bucket_entry(const struct bucket *bucket, uint64_t hash, uint64_t place) {
    const uint64_t mask = PLACE_MASK | PLACE_STATE_MASK;
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        if (own(&bucket->hash[i]) == hash && ((own(&bucket->place[i]) ^ place) & mask) == 0) {
            return (struct entry){(struct bucket *)(uintptr_t)bucket, i};
        }
    }
    return (struct entry){NULL, 0};
}

struct entry catalog_entry(const struct catalog *catalog, uint64_t hash, uint64_t place) {
    struct bucket_pair pair = catalog_buckets(catalog, hash);
    struct entry entry = bucket_entry(pair.first, hash, place);
    return entry.bucket ? entry : bucket_entry(pair.second, hash, place);
}

uint64_t entry_place(const struct entry *entry) {
    return own(&entry->bucket->place[entry->slot]);
}

void entry_set(const struct entry *entry, uint64_t place) {
    /* release: a frame's header was written before its number is; pairs with bucket_match */
    atomic_store_explicit(&entry->bucket->place[entry->slot], place, memory_order_release);
}

void catalog_remove(struct catalog *catalog, uint64_t hash, const struct entry *entry) {
    must(own(&entry->bucket->hash[entry->slot]) == hash);
    atomic_store_explicit(&entry->bucket->hash[entry->slot], 0, memory_order_release);
    shard_table(catalog, hash)->entries--;
    catalog->entries[hash_shard(hash)]--;
}

uint32_t catalog_poll(struct catalog *catalog, uint32_t keeper) {
    struct catalog_arena *arena = &catalog->arenas[keeper];
    uint32_t freed = 0;
    while (arena->retired_head && turn_passed(catalog->turns, arena->retired_head->retire_epoch)) {
        struct table *table = arena->retired_head;
        arena->retired_head = table->next;
        table_free(catalog, arena, table);
        freed++;
    }
    if (!arena->retired_head) {
        arena->retired_tail = NULL;
    }
    return freed;
}

void catalog_sweep(struct catalog *catalog, uint32_t shard, uint64_t *cursor, uint32_t buckets) {
    /* The cursor is a hash: its directory bits name the table, its low bits the bucket. */
    uint64_t hash = (uint64_t)shard << 56 | (*cursor & ~(UINT64_C(0xff) << 56));
    struct table *table = shard_table(catalog, hash);
    uint32_t at = hash_first(hash, table->buckets);
    for (; buckets > 0 && at < table->buckets; buckets--, at++) {
        struct bucket *bucket = table_bucket(catalog, table, at);
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            uint64_t place = own(&bucket->place[i]);
            if (own(&bucket->hash[i]) != 0 && (place & PLACE_GHOST)) {
                entry_set(&(struct entry){bucket, i}, place & ~PLACE_GHOST);
            }
        }
    }
    uint64_t low = ((uint64_t)at << 32) / table->buckets + 1;
    uint64_t step = UINT64_C(1) << (56 - table->depth);
    uint64_t tables = (hash & ~(UINT64_C(0xff) << 56)) & ~(step - 1);
    *cursor = at < table->buckets ? tables | low : tables + step; /* wraps into the shard's byte */
}

uint64_t catalog_shard_buckets(const struct catalog *catalog, uint32_t shard, uint64_t cursor) {
    uint64_t hash = (uint64_t)shard << 56 | (cursor & ~(UINT64_C(0xff) << 56));
    const struct table *table = shard_table(catalog, hash);
    return (uint64_t)table->buckets << table->depth;
}

uint64_t catalog_entries(const struct catalog *catalog) {
    uint64_t entries = 0;
    for (uint32_t shard = 0; shard < CATALOG_SHARDS; shard++) {
        entries += catalog->entries[shard];
    }
    return entries;
}

uint64_t catalog_memory(const struct catalog *catalog) {
    uint64_t pages = 0;
    for (uint32_t k = 0; k < catalog->keepers; k++) {
        pages += catalog->arenas[k].slab.pages_top;
    }
    return pages * PAGE_BYTES + sizeof *catalog;
}
