/* SPDX-License-Identifier: MIT */
#include "base/pool.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 37

static alignas(CACHE_PAIR) uint8_t memory[16384];

static struct pool make(uint32_t slot_bytes, uint32_t slots_max) {
    struct pool pool;
    cr_assert_leq(pool_footprint(slot_bytes, slots_max), sizeof memory);
    pool_init(&pool, memory, slot_bytes, slots_max);
    return pool;
}

Test(pool, hands_out_every_slot_once_and_then_none) {
    struct pool pool = make(24, SLOTS);
    bool seen[SLOTS] = {false};
    for (uint32_t i = 0; i < SLOTS; i++) {
        void *slot = pool_get(&pool);
        cr_assert_not_null(slot);
        uint32_t index = pool_index(&pool, slot);
        cr_assert_not(seen[index]);
        seen[index] = true;
        memset(slot, 0xff, 24); /* must touch neither the neighbours nor the pool's own words */
    }
    cr_assert_null(pool_get(&pool));
    cr_assert_eq(pool_used(&pool), SLOTS);
    cr_assert_eq(pool.low_water, 0);
    for (uint32_t i = 0; i < SLOTS; i++) {
        cr_assert_eq(pool_generation(&pool, i), 1);
    }
}

Test(pool, last_out_is_first_in) {
    struct pool pool = make(8, SLOTS);
    void *a = pool_get(&pool), *b = pool_get(&pool);
    cr_assert_eq(pool_index(&pool, a), 0);
    pool_put(&pool, a);
    cr_assert_eq(pool_get(&pool), a);
    pool_put(&pool, b);
    pool_put(&pool, a);
    cr_assert_eq(pool_get(&pool), a);
    cr_assert_eq(pool_get(&pool), b);
    cr_assert_eq(pool.low_water, SLOTS - 2);
}

Test(pool, a_stale_handle_is_found_out) {
    struct pool pool = make(8, SLOTS);
    void *slot = pool_get(&pool);
    uint32_t index = pool_index(&pool, slot);
    uint32_t generation = pool_generation(&pool, index);
    cr_assert_eq(pool_find(&pool, index, generation), slot);
    pool_put(&pool, slot);
    cr_assert_null(pool_find(&pool, index, generation));
    cr_assert_null(pool_find(&pool, index, pool_generation(&pool, index)));
    cr_assert_eq(pool_get(&pool), slot);
    cr_assert_null(pool_find(&pool, index, generation));
    cr_assert_eq(pool_find(&pool, index, generation + 1), slot);
    cr_assert_null(pool_find(&pool, SLOTS, 1));
    cr_assert_null(pool_find(&pool, UINT32_MAX, 1));
}

Test(pool, generations_wrap_past_zero) {
    struct pool pool = make(8, 1);
    const uint32_t last = (UINT32_C(1) << POOL_GENERATION_BITS) - 1;
    for (uint32_t i = 1; i < last; i++) {
        pool_put(&pool, pool_get(&pool));
    }
    void *slot = pool_get(&pool);
    cr_assert_eq(pool_generation(&pool, 0), last);
    cr_assert_eq(pool_find(&pool, 0, last), slot);
    cr_assert_null(pool_find(&pool, 0, 0));
    pool_put(&pool, slot);
    cr_assert_eq(pool_generation(&pool, 0), 1);
}

Test(pool, a_random_life_never_hands_out_a_slot_twice) {
    struct pool pool = make(16, SLOTS);
    void *held[SLOTS];
    uint32_t count = 0;
    bool out[SLOTS] = {false};
    srand(20240607);
    for (int step = 0; step < 100000; step++) {
        if (rand() % 2) {
            void *slot = pool_get(&pool);
            cr_assert_eq(slot == NULL, count == SLOTS);
            if (slot) {
                cr_assert_not(out[pool_index(&pool, slot)]);
                out[pool_index(&pool, slot)] = true;
                held[count++] = slot;
            }
        } else if (count > 0) {
            uint32_t at = (uint32_t)rand() % count;
            out[pool_index(&pool, held[at])] = false;
            pool_put(&pool, held[at]);
            held[at] = held[--count];
        }
        cr_assert_eq(pool_used(&pool), count);
    }
}

Test(pool, giving_back_twice_panics, .signal = SIGABRT) {
    struct pool pool = make(8, SLOTS);
    void *slot = pool_get(&pool);
    pool_put(&pool, slot);
    pool_put(&pool, slot);
}

Test(pool, giving_back_what_was_never_out_panics, .signal = SIGABRT) {
    struct pool pool = make(8, SLOTS);
    pool_put(&pool, pool_at(&pool, 3));
}

Test(pool, a_pointer_into_a_slot_panics, .signal = SIGABRT) {
    struct pool pool = make(16, SLOTS);
    pool_put(&pool, (uint8_t *)pool_get(&pool) + 8);
}

Test(pool, a_slot_past_the_end_panics, .signal = SIGABRT) {
    struct pool pool = make(16, SLOTS);
    pool_put(&pool, pool.slots + (size_t)16 * SLOTS);
}

Test(pool, a_slot_before_the_start_panics, .signal = SIGABRT) {
    struct pool pool = make(16, SLOTS);
    pool_index(&pool, pool.slots - 16);
}

Test(pool, an_odd_slot_size_panics, .signal = SIGABRT) {
    pool_footprint(12, SLOTS);
}
