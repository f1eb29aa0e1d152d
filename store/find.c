/* SPDX-License-Identifier: MIT */
#include "base/must.h"
#include "store/inside.h"
#include "store/scan.h"

#define XXH_INLINE_ALL /* a call through the library costs as much as the hash */
#include <xxhash.h>

/* Looking up many keys at once, from any tile. The group goes through in stages, so that the cache
 * misses of its keys overlap: hash and bucket, frame header, body. A hit in memory is proven by the
 * whole key under a lease. */

#define GROUP 16u
#define PREFETCH_BYTES \
    512u /* measured: 256 and 1,024 gain less at 1 KiB bodies, none costs at 64 B */
#define TRIES_MAX 4096u

uint64_t key_hash(uint64_t seed, const struct key *key) {
    uint64_t code = (uint64_t)key->code << 8 | key->digest_bytes;
    uint64_t hash = XXH3_64bits_withSeed(key->digest, key->digest_bytes,
                                         seed ^ code * UINT64_C(0x9e3779b97f4a7c15));
    return hash ? hash : 1; /* 0 is the catalog's empty place */
}

/* Nearly every key is a digest of 32 bytes: compared at one known length that is a few loads. */
static inline bool same_key(const struct key *a, const struct key *b) {
    if (likely(a->digest_bytes == 32)) {
        return a->code == b->code && b->digest_bytes == 32 && memcmp(a->digest, b->digest, 32) == 0;
    }
    return key_equal(a, b);
}

uint64_t store_hash(const struct store *store, const struct key *key) {
    return key_hash(store->hash_seed, key);
}

struct entry store_entry(const struct store *store, uint64_t hash, uint64_t place) {
    const struct catalog *catalog = &store->catalog;
    struct entry entry = catalog_entry(catalog, hash, place);
    if (entry.bucket) {
        return entry;
    }
    uint64_t places[CATALOG_MATCHES_MAX];
    uint32_t count = catalog_find(catalog, hash, places);
    for (uint32_t i = 0; i < count && count != UINT32_MAX; i++) {
        if (place_resident(places[i])) {
            const struct frame *frame = store_frame(store, places[i]);
            uint64_t at = atomic_load_explicit(&frame->place, memory_order_relaxed);
            if (((at ^ place) & (PLACE_MASK | PLACE_STATE_MASK)) == 0) {
                return catalog_entry(catalog, hash, places[i]);
            }
        }
    }
    return (struct entry){NULL, 0};
}

uint32_t store_keeper_of(const struct store *store, const struct key *key) {
    return hash_keeper(store, store_hash(store, key));
}

void store_turn(struct store *store, uint32_t reader) {
    turn_begin(&store->turns, reader);
}

void store_park(struct store *store, uint32_t reader) {
    turn_park(&store->turns, reader);
}

struct looking {
    struct bucket_pair pair;
    uint64_t sequence;
    uint64_t place; /* the first match, to bring its frame */
    bool hit;
};

/* Takes what one pass over the matches gives. Returns: false: look again. */
static bool settle(struct store *store, struct find *find, const uint64_t places[],
                   uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t place = places[i];
        if (!place_resident(place)) {
            find->place.word = place & (PLACE_MASK | PLACE_STATE_MASK);
            find->state = FIND_DISK;
            return true;
        }
        struct frame *frame = store_frame(store, place);
        if (unlikely(!frame_lease(frame))) {
            return false; /* evicted under our eyes */
        }
        if (likely(same_key(&frame->key, find->key))) {
            frame_used(frame);
            find->frame = frame;
            find->state = FIND_FRAME;
            return true;
        }
        frame_give_back(frame);
        struct entry entry = catalog_entry(&store->catalog, find->hash, place);
        if (!entry.bucket) {
            return false; /* the frame is another block's by now */
        }
    }
    find->state = FIND_ABSENT;
    return true;
}

/* One key, again and again until it settles. */
static void find_slowly(struct store *store, struct find *find) {
    uint64_t places[CATALOG_MATCHES_MAX];
    for (uint32_t tries = 0; tries < TRIES_MAX; tries++) {
        uint32_t count = catalog_find(&store->catalog, find->hash, places);
        if (count != UINT32_MAX && settle(store, find, places, count)) {
            return;
        }
    }
    find->state = FIND_RETRY;
}

/* The first lines of a body; what lies behind them the processor fetches ahead by itself. */
static inline void prefetch_body(const struct frame *frame) {
    uint32_t bytes = frame->bytes < PREFETCH_BYTES ? frame->bytes : PREFETCH_BYTES;
    for (uint32_t at = 0; at < bytes; at += CACHE_LINE) {
        __builtin_prefetch(frame->body + at);
    }
}

static void find_group(struct store *store, struct find finds[], uint32_t count) {
    struct looking looking[GROUP];
    for (uint32_t i = 0; i < count; i++) {
        struct find *find = &finds[i];
        find->hash = store_hash(store, find->key);
        find->frame = NULL;
        looking[i].sequence = catalog_sequence(&store->catalog, find->hash);
        looking[i].pair = catalog_buckets(&store->catalog, find->hash);
        __builtin_prefetch(looking[i].pair.first);
        __builtin_prefetch(looking[i].pair.second);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t places[BUCKET_ENTRIES];
        looking[i].hit = bucket_match(looking[i].pair.first, finds[i].hash, places) == 1 ||
                         bucket_match(looking[i].pair.second, finds[i].hash, places) == 1;
        looking[i].place = looking[i].hit ? places[0] : 0;
        if (looking[i].hit && place_resident(places[0])) {
            __builtin_prefetch(store_frame(store, places[0]), 1);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct find *find = &finds[i];
        bool miss_counts =
            !looking[i].hit && catalog_still(&store->catalog, find->hash, looking[i].sequence);
        if (miss_counts) {
            find->state = FIND_ABSENT;
        } else if (!looking[i].hit || !settle(store, find, &looking[i].place, 1) ||
                   find->state == FIND_ABSENT) {
            find_slowly(store, find);
        }
        if (find->state == FIND_FRAME) {
            prefetch_body(find->frame);
        }
    }
}

void store_find(struct store *store, uint32_t reader, struct find finds[], uint32_t count) {
    must(reader < store->turns.readers_max);
    bool unknown = tiers_unknown(&store->tiers); /* before the look-ups */
    for (uint32_t at = 0; at < count; at += GROUP) {
        find_group(store, finds + at, count - at < GROUP ? count - at : GROUP);
    }
    uint32_t hits = 0;
    for (uint32_t i = 0; i < count; i++) {
        hits += finds[i].state == FIND_FRAME;
    }
    counter_add(&store->turns.readers[reader].frame_hits, hits);
    for (uint32_t i = 0; unlikely(unknown) && i < count; i++) {
        finds[i].state = finds[i].state == FIND_ABSENT ? FIND_RETRY : finds[i].state;
    }
}

static uint8_t have_slowly(const struct store *store, uint64_t hash, bool unknown) {
    uint64_t places[CATALOG_MATCHES_MAX];
    uint32_t count = catalog_find(&store->catalog, hash, places);
    return count == UINT32_MAX || (count == 0 && unknown) ? 2 : count > 0;
}

void store_have(struct store *store, uint32_t reader, const struct key keys[], uint8_t present[],
                uint32_t count) {
    must(reader < store->turns.readers_max);
    bool unknown = tiers_unknown(&store->tiers); /* before the look-ups */
    for (uint32_t at = 0; at < count; at += GROUP) {
        uint32_t group = count - at < GROUP ? count - at : GROUP;
        uint64_t hashes[GROUP];
        for (uint32_t i = 0; i < group; i++) {
            hashes[i] = store_hash(store, &keys[at + i]);
            struct bucket_pair pair = catalog_buckets(&store->catalog, hashes[i]);
            __builtin_prefetch(pair.first);
            __builtin_prefetch(pair.second);
        }
        for (uint32_t i = 0; i < group; i++) {
            present[at + i] = have_slowly(store, hashes[i], unknown);
        }
    }
}

uint32_t find_record_bytes(const struct find *find) {
    return place_spot(find->place.word).length_units * RECORD_UNIT;
}
