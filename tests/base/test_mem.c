/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include "base/bits.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>

Test(mem, a_region_is_zeroed_and_carved_in_order_at_its_alignment) {
    struct mem_region region;
    size_t sum = mem_need(mem_need(mem_need(0, 100, 8), 64, CACHE_PAIR), 5000, PAGE_BYTES);
    cr_assert_eq(mem_open(&region, sum), 0);
    uint8_t *a = mem_carve(&region, 100, 8);
    uint8_t *b = mem_carve(&region, 64, CACHE_PAIR);
    uint8_t *c = mem_carve(&region, 5000, PAGE_BYTES);
    cr_assert_eq((uintptr_t)b % CACHE_PAIR, 0);
    cr_assert_eq((uintptr_t)c % PAGE_BYTES, 0);
    cr_assert(a + 100 <= b);
    cr_assert(b + 64 <= c);
    for (size_t i = 0; i < 5000; i++) {
        cr_assert_eq(c[i], 0);
        c[i] = 1;
    }
    mem_close(&region);
    cr_assert_null(region.base);
    mem_close(&region);
}

Test(mem, a_sum_of_needs_is_enough_in_any_order) {
    static const struct {
        size_t bytes, align;
    } parts[] = {{1, 1}, {3, 4096}, {1, 128}, {100, 64}, {7, 8}, {1, 2 * MiB}, {5, 64}};
    for (size_t first = 0; first < array_count(parts); first++) {
        size_t sum = 0;
        for (size_t i = 0; i < array_count(parts); i++) {
            sum = mem_need(sum, parts[i].bytes, parts[i].align);
        }
        struct mem_region region;
        cr_assert_eq(mem_open(&region, sum), 0);
        for (size_t i = 0; i < array_count(parts); i++) {
            size_t at = (first + i) % array_count(parts);
            uint8_t *got = mem_carve(&region, parts[at].bytes, parts[at].align);
            cr_assert_eq((uintptr_t)got % parts[at].align, 0);
        }
        mem_close(&region);
    }
}

Test(mem, a_large_region_starts_on_a_huge_page) {
    struct mem_region region;
    cr_assert_eq(mem_open(&region, 3 * MiB), 0);
    cr_assert_eq((uintptr_t)region.base % (2 * MiB), 0);
    cr_assert_eq(region.bytes, 4 * MiB);
    region.base[0] = 1;
    region.base[region.bytes - 1] = 1;
    mem_close(&region);
}

Test(mem, what_no_machine_has_is_an_answer) {
    struct mem_region region;
    size_t sum = mem_need(SIZE_MAX - 10, 100, 64);
    cr_assert_eq(sum, SIZE_MAX);
    cr_assert_eq(mem_need(sum, 1, 1), SIZE_MAX);
    cr_assert_eq(mem_open(&region, sum), -ENOMEM);
    cr_assert_eq(mem_open(&region, SIZE_MAX / 4), -ENOMEM);
}

Test(mem, carving_past_the_end_panics, .signal = SIGABRT) {
    struct mem_region region;
    cr_assert_eq(mem_open(&region, PAGE_BYTES), 0);
    mem_carve(&region, PAGE_BYTES, 1);
    mem_carve(&region, 1, 1);
}

Test(mem, an_odd_alignment_panics, .signal = SIGABRT) {
    mem_need(0, 1, 3);
}

static void *other_thread(void *ret_sealed) {
    *(bool *)ret_sealed = mem_sealed();
    return NULL;
}

Test(mem, a_seal_is_the_calling_threads_own) {
    bool other = true;
    pthread_t thread;
    cr_assert_not(mem_sealed());
    mem_seal();
    cr_assert(mem_sealed());
    cr_assert_eq(pthread_create(&thread, NULL, other_thread, &other), 0);
    pthread_join(thread, NULL);
    cr_assert_not(other);
    mem_unseal();
    cr_assert_not(mem_sealed());
}
