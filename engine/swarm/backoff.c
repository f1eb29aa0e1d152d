/* SPDX-License-Identifier: MIT */
#include "engine/swarm/backoff.h"

#include "base/bits.h"
#include "base/must.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define NONE UINT32_MAX

struct entry {
    uint64_t hash;
    uint64_t failed_ns, until_ns;
    uint64_t rest_ns; /* before it was moved */
    uint32_t chain;
    uint32_t newer, older;
    uint32_t zero;
};

static size_t table_bytes(const struct backoff_config *config) {
    return round_up(power_of_two_above(config->entries_max) * sizeof(uint32_t), CACHE_LINE);
}

size_t backoff_footprint(const struct backoff_config *config) {
    return round_up(pool_footprint(sizeof(struct entry), config->entries_max), CACHE_LINE) +
           table_bytes(config);
}

void backoff_init(struct backoff *backoff, void *memory, const struct backoff_config *config) {
    must(config->first_ns >= 1);
    must(config->most_ns >= config->first_ns);
    must(config->most_ns <= UINT64_MAX / 8);
    size_t pool_bytes =
        round_up(pool_footprint(sizeof(struct entry), config->entries_max), CACHE_LINE);
    *backoff = (struct backoff){
        .config = *config,
        .table = (uint32_t *)(void *)((uint8_t *)memory + pool_bytes),
        .mask = (uint32_t)power_of_two_above(config->entries_max) - 1,
        .oldest = NONE,
        .newest = NONE,
        .random = config->salt,
    };
    pool_init(&backoff->entries, memory, sizeof(struct entry), config->entries_max);
    memset(backoff->table, 0xff, table_bytes(config));
}

static struct entry *entry_at(const struct backoff *backoff, uint32_t slot) {
    return pool_at(&backoff->entries, slot);
}

static uint64_t hash_of(const struct backoff *backoff, const void *address, size_t bytes) {
    return XXH3_64bits_withSeed(address, bytes, backoff->config.salt);
}

static uint32_t find(const struct backoff *backoff, uint64_t hash) {
    uint32_t slot = backoff->table[hash & backoff->mask];
    while (slot != NONE && entry_at(backoff, slot)->hash != hash) {
        slot = entry_at(backoff, slot)->chain;
    }
    return slot;
}

static void list_remove(struct backoff *backoff, const struct entry *entry) {
    *(entry->older == NONE ? &backoff->oldest : &entry_at(backoff, entry->older)->newer) =
        entry->newer;
    *(entry->newer == NONE ? &backoff->newest : &entry_at(backoff, entry->newer)->older) =
        entry->older;
}

static void list_add(struct backoff *backoff, uint32_t slot) {
    struct entry *entry = entry_at(backoff, slot);
    entry->newer = NONE;
    entry->older = backoff->newest;
    *(entry->older == NONE ? &backoff->oldest : &entry_at(backoff, entry->older)->newer) = slot;
    backoff->newest = slot;
}

static void forget(struct backoff *backoff, uint32_t slot) {
    struct entry *entry = entry_at(backoff, slot);
    uint32_t *link = &backoff->table[entry->hash & backoff->mask];
    while (*link != slot) {
        must(*link != NONE);
        link = &entry_at(backoff, *link)->chain;
    }
    *link = entry->chain;
    list_remove(backoff, entry);
    pool_put(&backoff->entries, entry);
}

static uint32_t remember(struct backoff *backoff, uint64_t hash) {
    if (backoff->entries.free_count == 0) {
        forget(backoff, backoff->oldest);
        backoff->evicted++;
    }
    struct entry *entry = pool_get(&backoff->entries);
    must(entry);
    uint32_t slot = pool_index(&backoff->entries, entry);
    uint32_t *bucket = &backoff->table[hash & backoff->mask];
    *entry = (struct entry){.hash = hash, .chain = *bucket};
    *bucket = slot;
    return slot;
}

/* The rest, moved by up to a quarter either way. */
static uint64_t jittered(struct backoff *backoff, uint64_t rest_ns) {
    backoff->random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t x = backoff->random;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return rest_ns - rest_ns / 4 + x % (rest_ns / 2 + 1);
}

uint64_t backoff_until(const struct backoff *backoff, const void *address, size_t bytes,
                       uint64_t now_ns) {
    uint32_t slot = find(backoff, hash_of(backoff, address, bytes));
    uint64_t until_ns = slot == NONE ? 0 : entry_at(backoff, slot)->until_ns;
    return until_ns > now_ns ? until_ns : 0;
}

uint64_t backoff_failed(struct backoff *backoff, const void *address, size_t bytes,
                        uint64_t now_ns) {
    uint64_t hash = hash_of(backoff, address, bytes);
    uint32_t slot = find(backoff, hash);
    if (slot == NONE) {
        slot = remember(backoff, hash);
    } else {
        list_remove(backoff, entry_at(backoff, slot));
    }
    list_add(backoff, slot);
    struct entry *entry = entry_at(backoff, slot);
    bool fresh = entry->rest_ns == 0 || now_ns - entry->failed_ns > 2 * backoff->config.most_ns;
    entry->rest_ns =
        fresh ? backoff->config.first_ns : min_u64(2 * entry->rest_ns, backoff->config.most_ns);
    entry->failed_ns = now_ns;
    entry->until_ns = now_ns + jittered(backoff, entry->rest_ns);
    return entry->until_ns;
}

void backoff_succeeded(struct backoff *backoff, const void *address, size_t bytes) {
    uint32_t slot = find(backoff, hash_of(backoff, address, bytes));
    if (slot != NONE) {
        forget(backoff, slot);
    }
}
