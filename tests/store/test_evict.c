/* SPDX-License-Identifier: MIT */
#include "store/evict.h"

#include "store/heap.h"

#include <criterion/criterion.h>

#define BODY 872u /* with its header a frame weighs 1008 bytes */

static struct heap *heap;
static struct frame_home home;
static struct frame_home *homes[1] = {&home};
static struct evictor evictor;

static void open_evictor(enum store_policy policy) {
    struct store_memory memory;
    cr_assert_eq(heap_open(&heap, 64 * MiB, &memory), 0);
    cr_assert_eq(frame_home_open(&home, 0, 1 * MiB, &memory), 0);
    evictor_init(&evictor, policy, 100 * 1008, homes);
}

static struct frame *enter(bool ghost) {
    struct frame *frame = frame_take_free(&home, BODY);
    frame_fill(frame, 0, true);
    evictor.policy->enter(&evictor, frame, ghost);
    return frame;
}

static struct frame *evict(bool *ret_ghost) {
    struct frame *frame = evictor.policy->victim(&evictor, ret_ghost);
    if (frame) {
        evictor.policy->leave(&evictor, frame);
    }
    return frame;
}

Test(s3fifo, what_was_used_once_or_never_leaves_first_and_is_remembered) {
    open_evictor(STORE_POLICY_S3FIFO);
    struct frame *frames[100];
    for (uint32_t i = 0; i < 100; i++) {
        frames[i] = enter(false);
        for (uint32_t n = 0; n < (i % 2 ? 2u : 1u); n++) {
            frame_used(frames[i]);
        }
    }
    /* small may keep a tenth; until then frames used twice go to main, the others leave */
    for (uint32_t i = 0; i < 90; i += 2) {
        bool ghost = false;
        cr_assert_eq(evict(&ghost), frames[i]);
        cr_assert(ghost);
        cr_assert(i == 0 || frames[i - 1]->queue == FRAME_MAIN);
    }
}

Test(s3fifo, a_remembered_block_enters_main_and_a_scan_does_not_push_it_out) {
    open_evictor(STORE_POLICY_S3FIFO);
    struct frame *kept[50];
    for (uint32_t i = 0; i < 50; i++) {
        kept[i] = enter(true);
        frame_used(kept[i]);
    }
    for (uint32_t i = 0; i < 1000; i++) { /* blocks that are read once */
        (void)enter(false);
        while (evictor_bytes(&evictor) > evictor.budget_bytes) {
            bool ghost = false;
            cr_assert(evict(&ghost) != NULL);
        }
    }
    for (uint32_t i = 0; i < 50; i++) {
        cr_assert_eq(kept[i]->queue, FRAME_MAIN);
    }
}

Test(s3fifo, main_goes_round_as_often_as_a_frame_was_used) {
    open_evictor(STORE_POLICY_S3FIFO);
    struct frame *a = enter(true), *b = enter(true), *c = enter(true);
    frame_used(a);
    frame_used(a);
    frame_used(b);
    bool ghost = true;
    cr_assert_eq(evict(&ghost), c);
    cr_assert_not(ghost);
    cr_assert_eq(evict(&ghost), b);
    cr_assert_eq(evict(&ghost), a);
    cr_assert_null(evict(&ghost));
}

Test(lru, the_longest_unused_leaves_first) {
    open_evictor(STORE_POLICY_LRU);
    struct frame *frames[5];
    for (uint32_t i = 0; i < 5; i++) {
        frames[i] = enter(false);
    }
    frame_used(frames[0]);
    frame_used(frames[2]);
    const uint32_t order[5] = {1, 3, 4, 0, 2};
    for (uint32_t i = 0; i < 5; i++) {
        bool ghost = true;
        cr_assert_eq(evict(&ghost), frames[order[i]], "victim %u", i);
        cr_assert_not(ghost);
    }
}

Test(lrfu, uses_weigh_on_for_some_passes_and_fade) {
    open_evictor(STORE_POLICY_LRFU);
    struct frame *often = enter(false), *once = enter(false);
    for (uint32_t i = 0; i < 3; i++) {
        frame_used(often);
    }
    frame_used(once);
    /* what comes in and is never used leaves before both, pass after pass */
    uint32_t often_left = 0, once_left = 0;
    for (uint32_t pass = 1; pass <= 12 && often_left == 0; pass++) {
        struct frame *fresh = enter(false);
        for (struct frame *left = NULL; left != fresh && evictor.frames > 0;) {
            bool ghost = true;
            left = evict(&ghost);
            cr_assert_not(ghost);
            often_left = left == often ? pass : often_left;
            once_left = left == once ? pass : once_left;
        }
    }
    cr_assert_gt(once_left, 1, "one use outlasts none");
    cr_assert_gt(often_left, once_left, "three uses outlast one: %u, %u", often_left, once_left);
    cr_assert_eq(evictor.frames, 0, "in the end it fades");
}

Test(evict, bytes_are_what_is_in_and_leaving_takes_them_out) {
    open_evictor(STORE_POLICY_S3FIFO);
    struct frame *a = enter(false), *b = enter(true);
    cr_assert_eq(evictor_bytes(&evictor), 2 * 1008);
    evictor.policy->leave(&evictor, a);
    evictor.policy->leave(&evictor, b);
    cr_assert_eq(evictor_bytes(&evictor), 0);
    cr_assert_eq(evictor.frames, 0);
}
