/* SPDX-License-Identifier: MIT */
#include "engine/arena.h"

#include "build_info.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* ---- over a memfd */

static struct arena *opened_file(size_t bytes) {
    struct arena *arena = NULL;
    cr_assert_eq(arena_open_file(bytes, &arena), 0);
    return arena;
}

Test(arena, of_a_file_has_its_bodies_at_their_offsets) {
    struct arena *arena = opened_file(32 * MiB);
    const uint8_t *base = NULL;
    uint64_t bytes = 0;
    int file = arena_file(arena, &base, &bytes);
    if (file < 0) {
        arena_close(arena);
        cr_skip_test("built without jemalloc: no file");
    }
    cr_assert_eq(bytes, 32 * MiB);
    for (uint32_t i = 0; i < 40; i++) {
        uint8_t *body = arena_take(arena, 100000 + i, PAGE_BYTES);
        cr_assert_not_null(body);
        memset(body, (int)i + 1, 100000 + i);
        uint8_t there[2] = {0};
        cr_assert_eq(pread(file, &there[0], 1, body - base), 1);
        cr_assert_eq(pread(file, &there[1], 1, body - base + 99999), 1);
        cr_assert_eq(there[0], i + 1);
        cr_assert_eq(there[1], i + 1);
    }
    arena_close(arena);
}

/* Bodies beside the punched one keep every byte, and its own are gone. */
Test(arena, a_punch_drops_one_body_and_touches_no_other) {
    enum { BODIES = 3, BYTES = 5 * 4096 + 17 };
    struct arena *arena = opened_file(32 * MiB);
    const uint8_t *base = NULL;
    uint64_t bytes = 0;
    if (arena_file(arena, &base, &bytes) < 0) {
        arena_close(arena);
        cr_skip_test("built without jemalloc: no file");
    }
    uint8_t *bodies[BODIES];
    for (uint32_t i = 0; i < BODIES; i++) {
        bodies[i] = arena_take(arena, BYTES, PAGE_BYTES);
        cr_assert_not_null(bodies[i]);
        memset(bodies[i], 7, BYTES);
    }
    cr_assert_eq(arena_punch(arena, bodies[1], BYTES), 0);
    for (uint32_t at = 0; at < BYTES; at++) {
        cr_assert_eq(bodies[0][at], 7);
        cr_assert_eq(bodies[1][at], 0);
        cr_assert_eq(bodies[2][at], 7);
    }
    memset(bodies[1], 9, BYTES); /* and it is memory as before */
    cr_assert_eq(bodies[1][BYTES - 1], 9);
    arena_close(arena);
}

/* What may have pages is at least what is out, and a trim leaves little else. */
static void is_trimmed(struct arena *arena) {
    enum { SLOTS = 256 };
    void *memory[SLOTS] = {0};
    size_t bytes[SLOTS] = {0};
    uint32_t random = 5;
    for (uint32_t round = 0; round < 5000; round++) {
        random = random * 1664525u + 1013904223u;
        uint32_t at = random >> 8 & (SLOTS - 1);
        if (memory[at]) {
            arena_give(arena, memory[at], bytes[at]);
        }
        bytes[at] = 16384 + (random >> 4) % (round < 2500 ? 50000 : 150000);
        memory[at] = arena_take(arena, bytes[at], PAGE_BYTES);
        cr_assert_not_null(memory[at]);
        cr_assert_geq(arena_committed(arena), arena_used(arena));
    }
    arena_trim(arena);
    uint64_t rounding = SLOTS * 150000 / 4 + 4 * MiB; /* size classes, and jemalloc's own */
    cr_assert_leq(arena_committed(arena), arena_used(arena) + rounding);
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (memory[i]) {
            arena_give(arena, memory[i], bytes[i]);
        }
    }
    uint64_t before = arena_committed(arena);
    arena_trim(arena);
    cr_assert_lt(arena_committed(arena), before / 2);
    arena_close(arena);
}

Test(arena, what_is_free_goes_back_to_the_kernel_by_a_trim) {
    if (!HAVE_JEMALLOC) {
        cr_skip_test("built without jemalloc");
    }
    is_trimmed(opened(256 * MiB));
    is_trimmed(opened_file(256 * MiB));
}
