/* SPDX-License-Identifier: MIT */
#include "engine/arena.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct arena *opened(size_t bytes) {
    struct arena *arena = NULL;
    cr_assert_eq(arena_open(bytes, &arena), 0);
    cr_assert_not_null(arena);
    return arena;
}

Test(arena, a_closed_arena_may_be_null) {
    arena_close(NULL);
}

Test(arena, memory_is_aligned_as_asked) {
    struct arena *arena = opened(64 * MiB);
    for (size_t align = 1; align <= 2 * MiB; align *= 2) {
        void *memory = arena_take(arena, 100, align);
        cr_assert_not_null(memory);
        cr_assert_eq((uintptr_t)memory % align, 0, "%zu", align);
        arena_give(arena, memory, 100);
    }
    arena_close(arena);
}

Test(arena, blocks_do_not_overlap) {
    enum { BLOCKS = 500 };
    struct arena *arena = opened(64 * MiB);
    uint8_t *blocks[BLOCKS];
    size_t bytes[BLOCKS];
    uint32_t random = 7;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        random = random * 1103515245u + 12345;
        bytes[i] = 1 + (random >> 8) % 70000;
        blocks[i] = arena_take(arena, bytes[i], bytes[i] >= 16384 ? 4096 : 16);
        cr_assert_not_null(blocks[i]);
        memset(blocks[i], (int)(i % 251), bytes[i]);
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        for (size_t at = 0; at < bytes[i]; at++) {
            cr_assert_eq(blocks[i][at], i % 251);
        }
        arena_give(arena, blocks[i], bytes[i]);
    }
    cr_assert_eq(arena_used(arena), 0);
    arena_close(arena);
}

Test(arena, used_counts_what_is_out) {
    struct arena *arena = opened(8 * MiB);
    cr_assert_eq(arena_used(arena), 0);
    void *a = arena_take(arena, 1000, 16);
    void *b = arena_take(arena, 70000, PAGE_BYTES);
    cr_assert_eq(arena_used(arena), 71000);
    arena_give(arena, a, 1000);
    cr_assert_eq(arena_used(arena), 70000);
    arena_give(arena, b, 70000);
    cr_assert_eq(arena_used(arena), 0);
    arena_close(arena);
}

/* The slice is a bound: it says no, within it, and goes on once something came back. */
Test(arena, a_full_slice_gives_null_and_reuses_what_comes_back) {
    enum { BLOCK = 256 * 1024, SLICE = 32 * 1024 * 1024 };
    struct arena *arena = opened(SLICE);
    void *blocks[SLICE / BLOCK + 1];
    uint32_t count = 0;
    while (count < array_count(blocks) &&
           (blocks[count] = arena_take(arena, BLOCK, PAGE_BYTES)) != NULL) {
        count++;
    }
    cr_assert_leq(count, SLICE / BLOCK, "more than the slice holds");
    cr_assert_geq(count, SLICE / BLOCK / 2, "%u of %u", count, SLICE / BLOCK);
    cr_assert_null(arena_take(arena, BLOCK, PAGE_BYTES));
    cr_assert_eq(arena_used(arena), (uint64_t)count * BLOCK, "a refusal counts nothing");
    for (uint32_t round = 0; round < 2000; round++) {
        uint32_t at = round * 7 % count;
        arena_give(arena, blocks[at], BLOCK);
        blocks[at] = arena_take(arena, BLOCK, PAGE_BYTES);
        cr_assert_not_null(blocks[at], "round %u", round);
    }
    for (uint32_t i = 0; i < count; i++) {
        arena_give(arena, blocks[i], BLOCK);
    }
    arena_close(arena);
}

/* Frames and bodies come in all sizes: a slice twice as large as what is used must not clog up. */
Test(arena, mixed_sizes_at_half_of_the_slice_never_fail) {
    enum { SLOTS = 1024 };
    const size_t slice = 64 * MiB;
    struct arena *arena = opened(slice);
    struct {
        void *memory;
        size_t bytes;
    } slots[SLOTS] = {0};
    uint32_t random = 11;
    for (uint32_t round = 0; round < 30000; round++) {
        random = random * 1664525u + 1013904223u;
        uint32_t at = random >> 8 & (SLOTS - 1);
        if (slots[at].memory) {
            arena_give(arena, slots[at].memory, slots[at].bytes);
            slots[at].memory = NULL;
        }
        size_t bytes = (size_t)1 << (6 + (random >> 20) % 13);
        bytes += (random >> 4) % bytes;
        if (arena_used(arena) + bytes <= slice / 2) {
            slots[at].memory = arena_take(arena, bytes, bytes >= 16 * KiB ? PAGE_BYTES : 16);
            slots[at].bytes = bytes;
            cr_assert_not_null(slots[at].memory, "round %u: %zu with %llu used", round, bytes,
                               (unsigned long long)arena_used(arena));
        }
    }
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (slots[i].memory) {
            arena_give(arena, slots[i].memory, slots[i].bytes);
        }
    }
    arena_close(arena);
}

Test(arena, arenas_of_two_cores_share_nothing) {
    struct arena *a = opened(4 * MiB), *b = opened(4 * MiB);
    void *of_a = arena_take(a, MiB, PAGE_BYTES);
    void *of_b = arena_take(b, MiB, PAGE_BYTES);
    cr_assert_not_null(of_a);
    cr_assert_not_null(of_b);
    cr_assert_eq(arena_used(a), MiB);
    arena_give(a, of_a, MiB);
    cr_assert_eq(arena_used(b), MiB);
    arena_give(b, of_b, MiB);
    arena_close(a);
    arena_close(b);
}
