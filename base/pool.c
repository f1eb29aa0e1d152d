/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include "base/bits.h"
#include "base/must.h"

/* A generation word: the low bits count, the top bit says that the slot is out. One load and one
 * compare at each put find a slot given back twice. */
#define POOL_OUT             (UINT32_C(1) << 31)
#define POOL_GENERATION_MASK ((UINT32_C(1) << POOL_GENERATION_BITS) - 1)

static size_t pool_slots_bytes(uint32_t slot_bytes, uint32_t slots_max) {
    return round_up((size_t)slot_bytes * slots_max, CACHE_LINE);
}

static size_t pool_words_bytes(uint32_t slots_max) {
    return round_up((size_t)slots_max * sizeof(uint32_t), CACHE_LINE);
}

static void pool_check_shape(uint32_t slot_bytes, uint32_t slots_max) {
    must(slot_bytes > 0);
    must(slot_bytes % 8 == 0);
    must(slots_max >= 1);
    must(slots_max <= UINT32_C(1) << 24);
}

size_t pool_footprint(uint32_t slot_bytes, uint32_t slots_max) {
    pool_check_shape(slot_bytes, slots_max);
    return pool_slots_bytes(slot_bytes, slots_max) + 2 * pool_words_bytes(slots_max);
}

void pool_init(struct pool *pool, void *memory, uint32_t slot_bytes, uint32_t slots_max) {
    pool_check_shape(slot_bytes, slots_max);
    must((uintptr_t)memory % CACHE_LINE == 0);
    uint8_t *at = memory;
    uint8_t *words = at + pool_slots_bytes(slot_bytes, slots_max);
    *pool = (struct pool){
        .slots = at,
        .generations = (uint32_t *)(void *)words,
        .free_stack = (uint32_t *)(void *)(words + pool_words_bytes(slots_max)),
        .slot_bytes = slot_bytes,
        .slots_max = slots_max,
        .free_count = slots_max,
        .low_water = slots_max,
    };
    for (uint32_t i = 0; i < slots_max; i++) {
        pool->generations[i] = 1; /* so that an all-zero handle names nothing */
        pool->free_stack[i] = slots_max - 1 - i;
    }
}

void *pool_get(struct pool *pool) {
    if (unlikely(pool->free_count == 0)) {
        pool->low_water = 0;
        return NULL;
    }
    uint32_t index = pool->free_stack[--pool->free_count];
    must(index < pool->slots_max);
    pool->generations[index] |= POOL_OUT;
    if (pool->free_count < pool->low_water) {
        pool->low_water = pool->free_count;
    }
    return pool_at(pool, index);
}

void pool_put(struct pool *pool, void *slot) {
    uint32_t index = pool_index(pool, slot);
    uint32_t word = pool->generations[index];
    must(word & POOL_OUT); /* else it was given back before */
    uint32_t next = (word + 1) & POOL_GENERATION_MASK;
    pool->generations[index] = next ? next : 1;
    pool->free_stack[pool->free_count++] = index;
}

uint32_t pool_index(const struct pool *pool, const void *slot) {
    uintptr_t start = (uintptr_t)pool->slots;
    must((uintptr_t)slot >= start);
    uint64_t offset = (uintptr_t)slot - start;
    /* Dividing 32 bits is several times cheaper than dividing 64 on older machines. */
    uint64_t index = likely(offset <= UINT32_MAX) ? (uint32_t)offset / pool->slot_bytes
                                                  : offset / pool->slot_bytes;
    must(index < pool->slots_max);
    must(index * pool->slot_bytes == offset);
    return (uint32_t)index;
}

uint32_t pool_generation(const struct pool *pool, uint32_t index) {
    must(index < pool->slots_max);
    return pool->generations[index] & POOL_GENERATION_MASK;
}

void *pool_find(const struct pool *pool, uint32_t index, uint32_t generation) {
    if (index >= pool->slots_max || pool->generations[index] != (generation | POOL_OUT)) {
        return NULL;
    }
    return pool_at(pool, index);
}
