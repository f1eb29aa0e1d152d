/* SPDX-License-Identifier: MIT */
#include "store/frame.h"

#include "store/heap.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- bodies in a file */

#define FILE_BYTES (4 * MiB)

/* One body at a time, always the same memory: the worst that reuse can be. */
static struct {
    uint8_t *base;
    int file;
    uint32_t given, punched;
    int punch_result;
} one;

static void *one_take(void *context, size_t bytes, size_t align) {
    (void)context, (void)bytes, (void)align;
    return one.base;
}
static void one_give(void *context, void *body, size_t bytes) {
    (void)context, (void)body, (void)bytes;
    one.given++;
}
static int one_punch(void *context, void *body, size_t bytes) {
    (void)context, (void)bytes;
    cr_assert_eq(body, one.base);
    cr_assert_eq(one.given, 0, "punched before it may be used again");
    one.punched++;
    return one.punch_result;
}

static struct frame *filed_frame(struct frame_home *filed) {
    struct store_memory memory = {
        .take = one_take, .give = one_give, .punch = one_punch, .file_bytes = FILE_BYTES};
    memset(&one, 0, sizeof one);
    one.base = malloc(FILE_BYTES);
    memory.file_base = one.base;
    memory.file = 77;
    cr_assert_eq(frame_home_open(filed, 0, MiB, &memory), 0);
    struct frame *frame = frame_take_free(filed, 100000);
    cr_assert_not_null(frame);
    frame_fill(frame, 1, true);
    return frame;
}

static void end_filed(struct frame_home *filed, struct frame *frame) {
    frame_give_back(frame);
    cr_assert(frame_evict(frame));
    cr_assert_eq(frame_home_poll(filed), 1);
}

Test(frame, sent_from_its_file_is_punched_before_reuse) {
    struct frame_home filed;
    struct frame *frame = filed_frame(&filed);
    int file = -1;
    uint64_t offset = 0;
    cr_assert(frame_expose(frame, frame_body(frame) + 50, &file, &offset));
    cr_assert_eq(file, 77);
    cr_assert_eq(offset, 50);
    end_filed(&filed, frame);
    cr_assert_eq(one.punched, 1);
    cr_assert_eq(one.given, 1);
    cr_assert_eq(filed.punches, 1);
    /* the next block in the same header has been sent to nobody */
    frame = frame_take_free(&filed, 100000);
    frame_fill(frame, 1, true);
    end_filed(&filed, frame);
    cr_assert_eq(one.punched, 1);
    frame_home_close(&filed);
    free(one.base);
}

Test(frame, never_sent_from_its_file_is_never_punched) {
    struct frame_home filed;
    end_filed(&filed, filed_frame(&filed));
    cr_assert_eq(one.punched, 0);
    cr_assert_eq(one.given, 1);
    frame_home_close(&filed);
    free(one.base);
}

Test(frame, whose_pages_do_not_go_is_given_up) {
    struct frame_home filed;
    struct frame *frame = filed_frame(&filed);
    int file;
    uint64_t offset;
    one.punch_result = -5;
    cr_assert(frame_expose(frame, frame_body(frame), &file, &offset));
    end_filed(&filed, frame);
    cr_assert_eq(one.given, 0);
    cr_assert_eq(filed.punch_failures, 1);
    frame_home_close(&filed);
    free(one.base);
}

Test(frame, outside_of_any_file_is_not_exposed) {
    struct frame *frame = live_frame(100000, 1);
    int file;
    uint64_t offset;
    cr_assert_not(frame_expose(frame, frame_body(frame), &file, &offset));
    frame_give_back(frame);
}

Test(frame, counts_its_sends_up_to_a_bound) {
    struct frame *frame = live_frame(100000, 1);
    for (uint32_t i = 0; i < 300; i++) {
        cr_assert_eq(frame_count_send(frame), i < UINT8_MAX ? i : UINT8_MAX);
    }
    frame_give_back(frame);
}
