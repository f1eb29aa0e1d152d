/* SPDX-License-Identifier: MIT */
#pragma once

/* pool — a fixed number of equal slots, handed out and taken back by one owner.
 *
 * "None left" is an answer (NULL). Every slot has a generation that grows when it is given back, so
 * a handle {index, generation} held by a late completion is found out by pool_find.
 *
 * Memory: the caller's; pool_footprint() bytes aligned to CACHE_PAIR. Slots keep their address.
 * Cost: get and put are a pop and a push on an index stack; last out is first in, hence warm. */

#include "base/base.h"

/* Generations are 24 bits wide, so that a handle fits beside an operation in 64 bits; they run from
 * 1 and wrap to 1: generation 0 names nothing. */
#define POOL_GENERATION_BITS 24

struct pool {
    uint8_t *slots;
    uint32_t *generations; /* with a mark for "out": read them with pool_generation */
    uint32_t *free_stack;
    uint32_t slot_bytes;
    uint32_t slots_max;
    uint32_t free_count;
    uint32_t low_water; /* least free_count ever seen: how close it came to empty */
};

size_t pool_footprint(uint32_t slot_bytes, uint32_t slots_max);
/* slot_bytes: a multiple of 8; slots_max: 1 .. 2^24. */
void pool_init(struct pool *pool, void *memory, uint32_t slot_bytes, uint32_t slots_max);
/* Returns: a slot with its old bytes in it, or NULL when all are out. Thread: owner. */
void *pool_get(struct pool *pool);
/* Panics on a slot that is not of this pool, or not out. Thread: owner. */
void pool_put(struct pool *pool, void *slot);

uint32_t pool_index(const struct pool *pool, const void *slot);
uint32_t pool_generation(const struct pool *pool, uint32_t index);
/* Returns: the slot if `index` is in range, out, and its generation is this one, else NULL. */
void *pool_find(const struct pool *pool, uint32_t index, uint32_t generation);

static inline uint32_t pool_used(const struct pool *pool) {
    return pool->slots_max - pool->free_count;
}
static inline void *pool_at(const struct pool *pool, uint32_t index) {
    return pool->slots + (size_t)index * pool->slot_bytes;
}
