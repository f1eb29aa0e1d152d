/* SPDX-License-Identifier: MIT */
#include "rings/ring.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct ring *make(bool many, uint32_t size) {
    void *memory = aligned_alloc(CACHE_PAIR, ring_footprint(size));
    return many ? ring_init_mpmc(memory, size) : ring_init_spsc(memory, size);
}

static bool push(bool many, struct ring *ring, void *item) {
    return many ? ring_push_mpmc(ring, item) : ring_push_spsc(ring, item);
}

static void *pop(bool many, struct ring *ring) {
    return many ? ring_pop_mpmc(ring) : ring_pop_spsc(ring);
}

static int things[4096];

Test(ring, holds_size_less_one_then_is_full) {
    for (int many = 0; many < 2; many++) {
        for (uint32_t size = 2; size <= 64; size *= 2) {
            struct ring *ring = make(many, size);
            cr_assert_eq(ring_capacity(ring), size - 1);
            cr_assert_null(pop(many, ring));
            for (uint32_t i = 0; i < size - 1; i++) {
                cr_assert(push(many, ring, &things[i]));
                cr_assert_eq(ring_count(ring), i + 1);
            }
            cr_assert_not(push(many, ring, &things[size]));
            cr_assert_eq(pop(many, ring), &things[0]);
            cr_assert(push(many, ring, &things[size - 1]));
            for (uint32_t i = 1; i < size; i++) {
                cr_assert_eq(pop(many, ring), &things[i]);
            }
            cr_assert_null(pop(many, ring));
            cr_assert_eq(ring_count(ring), 0);
            free(ring);
        }
    }
}

Test(ring, order_is_kept_over_many_laps) {
    for (int many = 0; many < 2; many++) {
        struct ring *ring = make(many, 8);
        uint32_t in = 0, out = 0;
        srand(5);
        for (int step = 0; step < 100000; step++) {
            if (rand() % 2) {
                in += push(many, ring, &things[in % 4096]);
            } else {
                void *item = pop(many, ring);
                cr_assert_eq(item != NULL, out != in);
                if (item) {
                    cr_assert_eq(item, &things[out++ % 4096]);
                }
            }
            cr_assert_eq(ring_count(ring), in - out);
        }
        free(ring);
    }
}

Test(ring, push_many_on_nearly_full_returns_a_short_count) {
    struct ring *ring = make(false, 16);
    void *items[40], *got[40];
    for (int i = 0; i < 40; i++) {
        items[i] = &things[i];
    }
    cr_assert_eq(ring_push_many_spsc(ring, items, 10), 10);
    cr_assert_eq(ring_push_many_spsc(ring, items + 10, 30), 5);
    cr_assert_eq(ring_push_many_spsc(ring, items + 15, 1), 0);
    cr_assert_eq(ring_push_many_spsc(ring, items, 0), 0);
    cr_assert_eq(ring_pop_many_spsc(ring, got, 4), 4);
    cr_assert_eq(ring_push_many_spsc(ring, items + 15, 25), 4);
    cr_assert_eq(ring_pop_many_spsc(ring, got + 4, 36), 15);
    for (int i = 0; i < 19; i++) {
        cr_assert_eq(got[i], &things[i]);
    }
    cr_assert_eq(ring_pop_many_spsc(ring, got, 36), 0);
    cr_assert_eq(ring_pop_many_spsc(ring, got, 0), 0);
    free(ring);
}

Test(ring, a_short_pop_means_empty) {
    struct ring *ring = make(false, 64);
    void *got[64];
    uint32_t in = 0, out = 0;
    srand(6);
    for (int step = 0; step < 20000; step++) {
        for (int n = rand() % 20; n > 0; n--) {
            in += ring_push_spsc(ring, &things[in % 4096]);
        }
        uint32_t max = (uint32_t)rand() % 30;
        uint32_t n = ring_pop_many_spsc(ring, got, max);
        for (uint32_t i = 0; i < n; i++) {
            cr_assert_eq(got[i], &things[out++ % 4096]);
        }
        cr_assert(n == max || in == out);
    }
    free(ring);
}
