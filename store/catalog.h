/* SPDX-License-Identifier: MIT */
#pragma once

/* catalog — every stored block in 16 bytes, in memory: keyed hash of the key -> where it is.
 *
 *   hash: | shard 8 bits | directory bits | ...            low 32 bits: first bucket |
 *   shard -> directory of 2^depth slots -> table: list of chunks of 256 buckets -> bucket of 4
 *
 * A bucket is one cache line; an entry lies in one of its two buckets (cuckoo). Tables hold some
 * 16 to 32 K entries and grow alone by about a tenth when 0.92 full; past that they split in two by
 * the next hash bit. Full hashes are stored, so neither needs the disk. Chunks are all alike, so
 * what one table leaves another takes, and memory does not crumble.
 *
 * An entry's place word, 64 bits:
 *
 *   on disk:   offset 22 (units of 64 B) | segment 20 | length 16 (units of 64 B)
 *   resident:  frame 32 | zero 26: keeper of the frame 6 | its index 26
 *   then       freq 2 | state 2 | pinned 1 | ghost 1
 *
 * Where a block is resident the word names its frame, and the frame's header keeps the disk place;
 * evicting puts that back. So a memory hit is bucket -> frame header -> body, with no second map.
 *
 * Concurrency. One writer a shard (its keeper), readers anywhere. Every word is atomic. An insert
 * stores the place before the hash, a reader loads hash, place, hash. Moving an entry makes the
 * shard's sequence odd, copies, clears, and makes it even: a miss counts only if the sequence is
 * even and the same before and after both buckets. All stores are releases and all bucket loads
 * acquires: a reader that sees a cleared place has synchronised with the clear, hence sees the odd
 * or a later sequence. Growing builds the new table aside and publishes it by one word; the old one
 * stays readable until every reader has begun a new turn (store/turn.h).
 *
 * Source: Pagh & Rodler (cuckoo hashing); Fagin et al. (extendible hashing). */

#include "base/base.h"
#include "store/turn.h"
#include "store/vm.h"

#include <stdatomic.h>

#define CATALOG_SHARDS 256u

#define PLACE_BITS       58u
#define PLACE_MASK       ((UINT64_C(1) << PLACE_BITS) - 1)
#define PLACE_FREQ_SHIFT 58u
#define PLACE_STATE_MASK (UINT64_C(3) << 60)
#define PLACE_SSD        (UINT64_C(0) << 60)
#define PLACE_HDD        (UINT64_C(1) << 60)
#define PLACE_RESIDENT   (UINT64_C(2) << 60)
#define PLACE_PINNED     (UINT64_C(1) << 62)
#define PLACE_GHOST      (UINT64_C(1) << 63)

struct spot { /* a place on disk, taken apart */
    uint32_t segment;
    uint32_t offset_units;
    uint32_t length_units;
};
static inline uint64_t place_pack(const struct spot *spot) {
    return spot->offset_units | (uint64_t)spot->segment << 22 | (uint64_t)spot->length_units << 42;
}
static inline struct spot place_spot(uint64_t place) {
    return (struct spot){.segment = (uint32_t)(place >> 22) & 0xfffffu,
                         .offset_units = (uint32_t)place & 0x3fffffu,
                         .length_units = (uint32_t)(place >> 42) & 0xffffu};
}
static inline bool place_resident(uint64_t place) {
    return (place & PLACE_STATE_MASK) == PLACE_RESIDENT;
}

#define BUCKET_ENTRIES 4u

struct bucket {
    alignas(CACHE_LINE) _Atomic uint64_t hash[BUCKET_ENTRIES]; /* 0 = empty */
    _Atomic uint64_t place[BUCKET_ENTRIES];
};
static_assert(sizeof(struct bucket) == CACHE_LINE, "one bucket, one line");

/* One entry, as the owner found it: valid until its next insert. */
struct entry {
    struct bucket *bucket; /* NULL: none */
    uint32_t slot;
};

/* One line, and all that finding a bucket needs while a shard has up to four tables: the directory
 * then lies in here, each depth in its own place, so that a reader of the one never sees the other.
 */
struct catalog_shard {
    alignas(CACHE_LINE) _Atomic uint64_t sequence; /* written by the owner, read by readers */
    _Atomic uint64_t directory;                    /* address of the slots | depth << 56 */
    _Atomic uint64_t slots_2[2];
    _Atomic uint64_t slots_4[4];
};
static_assert(sizeof(struct catalog_shard) == CACHE_LINE, "one line a shard");

/* One keeper's part: the memory of the tables of its shards. */
struct catalog_arena {
    struct slab slab;
    struct table *retired_head, *retired_tail; /* oldest first, waiting for readers */
    struct table *free_heads;
    uint64_t grows;
};

struct catalog {
    struct catalog_shard shards[CATALOG_SHARDS];
    uint64_t entries[CATALOG_SHARDS]; /* owners only */
    struct turns *turns;
    uint8_t *base; /* of the address space of all slabs */
    uint64_t bytes;
    uint32_t keepers;
    struct catalog_arena *arenas; /* [keepers] */
};

#define CHUNK_BUCKETS 256u
#define CHUNK_PAGES   (CHUNK_BUCKETS * CACHE_LINE / PAGE_BYTES)
#define TABLE_CHUNKS  48u

/* A table's head. Its slot in the directory says where it lies and how many buckets there are;
 * readers look at `chunks` alone. A wide directory uses a head too, to wait for its readers. */
struct table {
    alignas(CACHE_LINE) uint32_t chunks[TABLE_CHUNKS]; /* in lines from the catalog's base */
    /* owner only */
    struct table *next; /* retired, or free */
    uint64_t retire_epoch;
    void *run; /* a directory's pages */
    uint32_t run_pages;
    uint32_t chunk_count;
    uint32_t chunk_pages; /* CHUNK_PAGES, or fewer where there is one chunk */
    uint32_t buckets;
    uint32_t entries;
    uint32_t entries_max; /* grow when reached */
    uint32_t depth;       /* hash bits that all its entries share, below the shard's */
};
static_assert(sizeof(struct table) == 256, "sixteen heads a page");

/* Returns: 0 or -ENOMEM. Thread: boot. */
must_check int catalog_open(struct catalog *catalog, struct turns *turns, uint32_t keepers,
                            struct catalog_arena *arenas);
void catalog_close(struct catalog *catalog);

static inline uint32_t hash_shard(uint64_t hash) {
    return (uint32_t)(hash >> 56);
}
static inline uint32_t hash_first(uint64_t hash, uint32_t buckets) {
    return (uint32_t)((hash & UINT32_MAX) * buckets >> 32);
}
static inline uint32_t hash_second(uint64_t hash, uint32_t buckets) {
    uint64_t mixed = (hash ^ hash >> 29) * UINT64_C(0x9e3779b97f4a7c15);
    return (uint32_t)((mixed >> 32) * buckets >> 32);
}

static inline struct bucket *table_bucket(const struct catalog *catalog, const struct table *table,
                                          uint32_t bucket) {
    uint64_t line = table->chunks[bucket / CHUNK_BUCKETS] + (uint64_t)(bucket % CHUNK_BUCKETS);
    return (struct bucket *)(void *)(catalog->base + line * CACHE_LINE);
}

/* Both buckets of a hash, through the directory as it is now. Thread: any, within its turn. */
struct bucket_pair {
    const struct bucket *first, *second;
};
static inline struct bucket_pair catalog_buckets(const struct catalog *catalog, uint64_t hash) {
    uint64_t word = atomic_load_explicit(&catalog->shards[hash_shard(hash)].directory,
                                         memory_order_acquire); /* pairs with publish */
    uint32_t depth = (uint32_t)(word >> 56);
    const _Atomic uint64_t *slots = (const _Atomic uint64_t *)(word & ~(UINT64_C(0xff) << 56));
    uint64_t index = hash << 8 >> (64 - depth); /* depth is never 0 */
    uint64_t slot = atomic_load_explicit(&slots[index], memory_order_acquire); /* publish */
    const struct table *table =
        (const struct table *)(const void *)(catalog->base + (slot & UINT32_MAX) * CACHE_LINE);
    uint32_t count = (uint32_t)(slot >> 32);
    return (struct bucket_pair){table_bucket(catalog, table, hash_first(hash, count)),
                                table_bucket(catalog, table, hash_second(hash, count))};
}

static inline uint64_t catalog_sequence(const struct catalog *catalog, uint64_t hash) {
    return atomic_load_explicit(&catalog->shards[hash_shard(hash)].sequence, memory_order_acquire);
}
/* True if a miss seen since `before` counts. */
static inline bool catalog_still(const struct catalog *catalog, uint64_t hash, uint64_t before) {
    /* relaxed: the acquire loads of the buckets keep this one behind them */
    return (before & 1) == 0 && atomic_load_explicit(&catalog->shards[hash_shard(hash)].sequence,
                                                     memory_order_relaxed) == before;
}

/* The places in one bucket that carry this hash. Returns: how many. */
static inline uint32_t bucket_match(const struct bucket *bucket, uint64_t hash,
                                    uint64_t ret_places[BUCKET_ENTRIES]) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
        if (atomic_load_explicit(&bucket->hash[i], memory_order_acquire) != hash) {
            continue;
        }
        uint64_t place = atomic_load_explicit(&bucket->place[i], memory_order_acquire);
        /* the slot may have been given to another meanwhile */
        if (likely(atomic_load_explicit(&bucket->hash[i], memory_order_acquire) == hash)) {
            ret_places[count++] = place;
        }
    }
    return count;
}

#define CATALOG_MATCHES_MAX (2 * BUCKET_ENTRIES)

/* catalog_find gathers every place under this hash (more than one only where two keys collide in 64
 * bits). Returns: how many; UINT32_MAX: cannot tell, an entry was on the move through many tries.
 * Thread: any, within its turn. */
uint32_t catalog_find(const struct catalog *catalog, uint64_t hash,
                      uint64_t ret_places[CATALOG_MATCHES_MAX]);

/* --- the owner of the shard ------------------------------------------------------------------- */

/* Adds an entry, also beside others of the same hash. Returns: 0; -ENOMEM; -EOVERFLOW: there are
 * CATALOG_MATCHES_MAX of this hash already, which only a forged list of records brings about.
 * Cost: about 120 ns. */
must_check int catalog_insert(struct catalog *catalog, uint64_t hash, uint64_t place);
/* The entry of this hash whose place word equals `place` in its low PLACE_BITS and state. */
struct entry catalog_entry(const struct catalog *catalog, uint64_t hash, uint64_t place);
uint64_t entry_place(const struct entry *entry);
void entry_set(const struct entry *entry, uint64_t place);
void catalog_remove(struct catalog *catalog, uint64_t hash, const struct entry *entry);
/* Frees retired tables that no reader can see any more. Returns: how many. */
uint32_t catalog_poll(struct catalog *catalog, uint32_t keeper);
/* Makes room for about this many entries in all shards at once, before a long load. The
 * catalog is empty and has no readers yet. Thread: boot. */
must_check int catalog_reserve(struct catalog *catalog, uint64_t entries);
/* Clears ghost bits of the next buckets after *cursor of one shard; a slow hand that goes round. */
void catalog_sweep(struct catalog *catalog, uint32_t shard, uint64_t *cursor, uint32_t buckets);
/* About how many buckets the shard has, told from the table at the cursor. Cost: one look-up. */
uint64_t catalog_shard_buckets(const struct catalog *catalog, uint32_t shard, uint64_t cursor);

uint64_t catalog_entries(const struct catalog *catalog);
uint64_t catalog_memory(const struct catalog *catalog);
