/* SPDX-License-Identifier: MIT */
#include "store/copy.h"

#include "base/bits.h"
#include "store/inside.h"
#include "store/table.h"

#include <string.h>

#define RESOLVE_AT 16u /* residents whose frames are asked for together */
#define LIST_SHARE 4u  /* a table with fewer than one entry in so many places is a list */

struct resolver {
    const struct store *store;
    uint64_t *waiting[RESOLVE_AT];
    uint32_t count;
};

/* Frame names become places on disk. Their frames are ours: they stay while we look. */
static void resolve(struct resolver *resolver) {
    for (uint32_t i = 0; i < resolver->count; i++) {
        uint64_t word = *resolver->waiting[i];
        const struct frame *frame = store_frame(resolver->store, word);
        uint64_t place = atomic_load_explicit(&frame->place, memory_order_relaxed);
        *resolver->waiting[i] = (place & (PLACE_MASK | PLACE_STATE_MASK)) | (word & PLACE_PINNED) |
                                PLACE_GHOST | (uint64_t)frame_freq(frame) << PLACE_FREQ_SHIFT;
    }
    resolver->count = 0;
}

static uint32_t copy_buckets(const struct store *store, const struct table *table, uint64_t *to) {
    struct resolver resolver = {.store = store, .count = 0};
    uint32_t entries = 0;
    for (uint32_t b = 0; b < table->buckets; b++, to += 2 * BUCKET_ENTRIES) {
        const struct bucket *bucket = table_bucket(&store->catalog, table, b);
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            /* relaxed: the owner reads its own words */
            uint64_t hash = atomic_load_explicit(&bucket->hash[i], memory_order_relaxed);
            uint64_t place = atomic_load_explicit(&bucket->place[i], memory_order_relaxed);
            to[i] = hash;
            to[BUCKET_ENTRIES + i] = hash ? place : 0;
            entries += hash != 0;
            if (hash != 0 && place_resident(place)) {
                __builtin_prefetch(&store_frame(store, place)->place);
                resolver.waiting[resolver.count++] = &to[BUCKET_ENTRIES + i];
            }
            if (resolver.count == RESOLVE_AT) {
                resolve(&resolver);
            }
        }
    }
    resolve(&resolver);
    return entries;
}

/* Entries only, one after another, where the buckets were. */
static uint32_t squeeze(uint64_t *words, uint32_t buckets) {
    struct image_entry *list = (void *)words;
    uint32_t count = 0;
    for (uint32_t b = 0; b < buckets; b++) {
        uint64_t bucket[2 * BUCKET_ENTRIES];
        memcpy(bucket, words + (size_t)b * array_count(bucket), sizeof bucket);
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            if (bucket[i] != 0) {
                list[count++] = (struct image_entry){bucket[i], bucket[BUCKET_ENTRIES + i]};
            }
        }
    }
    return count;
}

void copy_table(const struct store *store, uint64_t hash, void *to, struct image_chunk *ret_chunk) {
    const struct table *table = shard_table(&store->catalog, hash);
    *ret_chunk = (struct image_chunk){.first = hash,
                                      .buckets = table->buckets,
                                      .depth = (uint8_t)table->depth,
                                      .kind = IMAGE_RAW};
    ret_chunk->entries = copy_buckets(store, table, to);
    ret_chunk->bytes = table->buckets * (uint32_t)sizeof(struct bucket);
    if (ret_chunk->entries < table->buckets * BUCKET_ENTRIES / LIST_SHARE) {
        ret_chunk->kind = IMAGE_LIST;
        ret_chunk->bytes = squeeze(to, table->buckets) * (uint32_t)sizeof(struct image_entry);
    }
}
