/* SPDX-License-Identifier: MIT */
#include "store/vm.h"

#include "store/heap.h"
#include "tests/sim/disk.h"

#include <criterion/criterion.h>
#include <string.h>

/* store/vm.c and store/slab.c. */

static struct slab make(uint64_t pages, void **ret_base) {
    struct slab slab;
    cr_assert_eq(vm_reserve(ret_base, pages * PAGE_BYTES), 0);
    cr_assert_eq(slab_init(&slab, *ret_base, pages * PAGE_BYTES), 0);
    return slab;
}

Test(slab, gives_the_smallest_hole_that_holds_a_run) {
    void *base = NULL;
    struct slab slab = make(4096, &base);
    uint8_t *runs[6];
    const uint64_t pages[6] = {10, 1, 4, 1, 6, 1};
    for (uint32_t i = 0; i < 6; i++) {
        runs[i] = slab_take(&slab, pages[i], 1);
        cr_assert_not_null(runs[i]);
        memset(runs[i], 1, pages[i] * PAGE_BYTES);
    }
    slab_give(&slab, runs[0], 10);
    slab_give(&slab, runs[2], 4);
    slab_give(&slab, runs[4], 6);
    cr_assert_eq(slab_take(&slab, 5, 1), runs[4]);
    cr_assert_eq(slab_take(&slab, 4, 1), runs[2]);
    cr_assert_eq(slab_take(&slab, 10, 1), runs[0]);
    cr_assert_eq(slab.pages_top, 23, "nothing new was needed");
}

Test(slab, keeps_runs_apart_aligned_and_inside) {
    void *base = NULL;
    struct slab slab = make(2048, &base);
    struct {
        uint8_t *at;
        uint64_t pages;
    } held[64] = {{0}};
    uint64_t random = 3;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t n = (uint32_t)(sim_random(&random) % 64);
        if (held[n].at) {
            for (uint64_t p = 0; p < held[n].pages; p++) {
                cr_assert_eq(held[n].at[p * PAGE_BYTES], (uint8_t)n, "somebody wrote into it");
            }
            slab_give(&slab, held[n].at, held[n].pages);
            held[n].at = NULL;
            continue;
        }
        uint64_t unit = UINT64_C(1) << (sim_random(&random) % 4);
        held[n].pages = 1 + sim_random(&random) % 40;
        held[n].at = slab_take(&slab, held[n].pages, unit);
        if (held[n].at) {
            cr_assert_eq((uint64_t)(held[n].at - (uint8_t *)base) / PAGE_BYTES % unit, 0);
            cr_assert_leq(held[n].at + held[n].pages * PAGE_BYTES,
                          (uint8_t *)base + 2048 * PAGE_BYTES);
            for (uint64_t p = 0; p < held[n].pages; p++) {
                held[n].at[p * PAGE_BYTES] = (uint8_t)n;
            }
        }
    }
}

Test(slab, says_none_when_full) {
    void *base = NULL;
    struct slab slab = make(64, &base);
    cr_assert_not_null(slab_take(&slab, 60, 1));
    cr_assert_null(slab_take(&slab, 5, 1));
    cr_assert_not_null(slab_take(&slab, 4, 1));
}

Test(heap, bodies_do_not_overlap_and_large_ones_start_a_page) {
    struct heap *heap = NULL;
    struct store_memory memory;
    cr_assert_eq(heap_open(&heap, 64 * MiB, &memory), 0);
    struct {
        uint8_t *at;
        size_t bytes;
    } held[200] = {{0}};
    uint64_t random = 11;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t n = (uint32_t)(sim_random(&random) % 200);
        if (held[n].at) {
            cr_assert_eq(held[n].at[0], (uint8_t)n);
            cr_assert_eq(held[n].at[held[n].bytes - 1], (uint8_t)n);
            memory.give(memory.context, held[n].at, held[n].bytes);
            held[n].at = NULL;
            continue;
        }
        held[n].bytes = 1 + sim_random(&random) % (i % 10 == 0 ? 100000 : 3000);
        size_t align = held[n].bytes >= 16384 ? PAGE_BYTES : 16;
        held[n].at = memory.take(memory.context, held[n].bytes, align);
        cr_assert_not_null(held[n].at);
        cr_assert_eq((uintptr_t)held[n].at % align, 0);
        memset(held[n].at, (int)n, held[n].bytes);
    }
    heap_close(heap);
}
