/* SPDX-License-Identifier: MIT */
#include "store/frame.h"

#include "store/heap.h"

#include <criterion/criterion.h>

static struct heap *heap;
static struct frame_home home;

static void open_home(void) {
    struct store_memory memory;
    cr_assert_eq(heap_open(&heap, 64 * MiB, &memory), 0);
    cr_assert_eq(frame_home_open(&home, 3, 1 * MiB, &memory), 0);
}
static void close_home(void) {
    frame_home_close(&home);
    heap_close(heap);
}

static struct frame *live_frame(uint32_t bytes, uint32_t leases) {
    struct frame *frame = frame_take_free(&home, bytes);
    cr_assert_not_null(frame);
    frame->codec = 5;
    frame_fill(frame, leases, true);
    return frame;
}

TestSuite(frame, .init = open_home, .fini = close_home);

Test(frame, is_evicted_only_when_nobody_leases_it) {
    struct frame *frame = live_frame(100, 1);
    cr_assert_not(frame_evict(frame));
    frame_lease_again(frame);
    frame_give_back(frame);
    cr_assert_not(frame_evict(frame));
    frame_give_back(frame);
    cr_assert(frame_evict(frame));
    cr_assert_eq(frame_home_poll(&home), 1);
    cr_assert_eq(home.bytes, 0);
    cr_assert_eq(home.frames_out, 0);
}

Test(frame, killed_under_a_lease_lives_until_it_is_given_back) {
    struct frame *frame = live_frame(20000, 2);
    cr_assert_eq((uintptr_t)frame_body(frame) % PAGE_BYTES, 0);
    frame_kill(frame);
    cr_assert_not(frame_lease(frame), "nobody new gets it");
    cr_assert_eq(frame_home_poll(&home), 0);
    frame_give_back(frame);
    cr_assert_eq(frame_home_poll(&home), 0);
    frame_give_back(frame);
    cr_assert_eq(frame_home_poll(&home), 1);
}

Test(frame, not_admitted_goes_with_its_last_lease) {
    struct frame *frame = frame_take_free(&home, 10);
    frame_fill(frame, 2, false);
    cr_assert_not(frame_lease(frame));
    frame_lease_again(frame);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(frame_home_poll(&home), 0);
        frame_give_back(frame);
    }
    cr_assert_eq(frame_home_poll(&home), 1);
}

Test(frame, is_used_again_under_a_new_generation) {
    struct frame *frame = live_frame(100, 1);
    uint64_t generation = atomic_load(&frame->word) >> 32;
    frame_give_back(frame);
    cr_assert(frame_evict(frame));
    cr_assert_not(frame_lease(frame), "free frames refuse, and survive being asked");
    (void)frame_home_poll(&home);
    cr_assert_eq(live_frame(50, 1), frame);
    cr_assert_eq(atomic_load(&frame->word) >> 32, generation + 1);
    cr_assert_eq(atomic_load(&frame->word) & FRAME_LEASES, 1);
}

Test(frame, counts_uses_up_to_three) {
    struct frame *frame = live_frame(1, 1);
    for (uint32_t i = 0; i < 10; i++) {
        frame_used(frame);
    }
    cr_assert_eq(atomic_load(&frame->uses), FRAME_USES_MAX);
}

Test(frame, empty_blocks_take_no_memory) {
    struct frame *frame = live_frame(0, 1);
    cr_assert_not_null(frame_body(frame));
    cr_assert_eq(frame_bytes(frame), 0);
    cr_assert_eq(frame_codec(frame), 5);
    cr_assert_eq(home.bytes, sizeof(struct frame));
}

Test(frame, has_a_name_that_says_home_and_number) {
    (void)live_frame(1, 1);
    struct frame *second = live_frame(1, 1);
    cr_assert_eq(frame_name(second), 3u << FRAME_NUMBER_BITS | 1u);
}
