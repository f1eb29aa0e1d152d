/* SPDX-License-Identifier: MIT */
#include "store/inside.h"

/* What tiers take and serve, in numbers and words: for people and for policies (store/tier.h,
 * store/store.h). */

const char *tier_state_name(enum tier_state state) {
    static const char *const names[] = {"online", "full", "readonly", "loading", "missing"};
    return names[state];
}

const char *tier_kind_name(enum tier_kind kind) {
    return kind == TIER_HDD ? "hdd" : "ssd";
}

uint64_t tiers_limit(const struct tiers *tiers) {
    uint64_t limit = 0;
    for (uint32_t i = 0; i < tiers->count; i++) {
        const struct tier *tier = &tiers->all[i];
        if (tier->size_bytes == 0 && !tier->leaving) {
            return 0;
        }
        limit += tier->leaving ? 0 : tier->size_bytes;
    }
    return limit;
}

/* Paths on one file system say the same: they count once. */
uint64_t tiers_free_bytes(const struct store *store) {
    const struct disk *disk = &store->config.disk;
    int64_t said[TIERS_MAX];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        const struct tier *tier = &store->tiers.all[i];
        said[i] = tier_here(tier) ? disk->calls->free_bytes(disk->backend, tier->dir) : 0;
        bool twice = false;
        for (uint32_t k = 0; k < i; k++) {
            twice = twice || said[k] == said[i];
        }
        sum += said[i] > 0 && !twice ? (uint64_t)said[i] : 0;
    }
    return sum;
}

uint64_t store_frame_hits(const struct store *store) {
    uint64_t hits = 0;
    for (uint32_t i = 0; i < store->turns.readers_max; i++) {
        hits += counter_get(&store->turns.readers[i].frame_hits);
    }
    return hits;
}

uint32_t store_keepers(const struct store *store) {
    return store->config.keepers;
}

bool store_tier_word(const struct store *store, uint32_t tier, struct store_tier_word *ret_word) {
    if (tier >= store->tiers.count) {
        return false;
    }
    const struct tier *at = &store->tiers.all[tier];
    *ret_word = (struct store_tier_word){
        .dir = at->given,
        .waits = atomic_load_explicit(&at->waits, memory_order_relaxed), /* a literal */
        .state = tier_state(at)};
    return true;
}

uint32_t store_tiers(const struct store *store, struct store_tier_usage usages[], uint32_t max) {
    const struct tiers *tiers = &store->tiers;
    uint64_t slow_hits = 0;
    for (uint32_t i = 0; i < tiers->count && i < max; i++) {
        const struct tier *tier = &tiers->all[i];
        usages[i] = (struct store_tier_usage){
            .dir = tier->given,
            .kind = (enum tier_kind)tier->kind,
            .state = tier_state(tier),
            .waits = atomic_load_explicit(&tier->waits, memory_order_relaxed), /* a literal */
            .size_bytes = tier->size_bytes,
            .hits = atomic_load_explicit(&tier->hits, memory_order_relaxed),
            .moved_in = atomic_load_explicit(&tier->moved_in, memory_order_relaxed),
            .moved_out = atomic_load_explicit(&tier->moved_out, memory_order_relaxed)};
        slow_hits += tier->kind == TIER_HDD ? usages[i].hits : 0;
    }
    for (uint32_t id = 1; id < store->segments.top; id++) {
        const struct segment *segment = &store->segments.all[id];
        if (segment_state(segment) != SEGMENT_NONE && segment->tier < max) {
            struct store_tier_usage *usage = &usages[segment->tier];
            usage->bytes_on_disk +=
                atomic_load_explicit(&segment->file_bytes, memory_order_relaxed);
            usage->live_bytes += atomic_load_explicit(&segment->live_bytes, memory_order_relaxed);
            usage->blocks += atomic_load_explicit(&segment->live_blocks, memory_order_relaxed);
        }
    }
    for (uint32_t i = 0; i < tiers->count && i < max; i++) {
        usages[i].misses = usages[i].kind == TIER_SSD ? slow_hits : 0;
    }
    return tiers->count;
}
