/* SPDX-License-Identifier: MIT */
#pragma once

/* evict — which block leaves memory next: a policy over the frames of one owner.
 *
 * Readers never move anything: a hit counts in the frame's `uses` (0..3), and the owner folds it
 * when the frame comes up for eviction.
 *
 *   S3-FIFO  new frames enter `small` (10 % of the bytes); at its end those used twice go to
 *            `main`, the others leave and set the ghost bit of their entry; a block that comes back
 *            with a ghost bit enters `main`. At the end of `main` a used frame goes round again
 *            with one use less. Source: Yang et al., SOSP 2023.
 *   LRU      one list; at its end a frame used since goes to the front. Recency is known to the
 *            granularity of one pass, as hits do not touch the list.
 *   LRFU     as LRU, but a frame's uses weigh on: each pass halves the weight they left and adds
 * what came since, and a frame leaves when nothing is left. Source: Lee et al., IEEE ToC 2001.
 *
 * Everything is charged by bytes. How often each misses beside exact versions: perf/bench_policy.
 * Thread: owner. */

#include "store/frame.h"

struct evict_list {
    uint32_t head, tail; /* frame names; new ones at the head, victims at the tail */
    uint64_t bytes;
};

struct evictor;

struct evict_policy {
    const char *name;
    /* A frame was published; ghost: its entry remembers it. */
    void (*enter)(struct evictor *evictor, struct frame *frame, bool ghost);
    /* It is leaving by other means (deleted). */
    void (*leave)(struct evictor *evictor, struct frame *frame);
    /* The next to go, still in its list; NULL: none. *ret_ghost: set its entry's ghost bit. One
     * that turns out to be leased leaves and enters again as if remembered: behind the others. */
    struct frame *(*victim)(struct evictor *evictor, bool *ret_ghost);
};

struct evictor {
    const struct evict_policy *policy;
    struct frame_home *const *homes; /* by keeper: frames of all of them may be ours to evict */
    uint64_t budget_bytes;
    uint64_t frames;
    struct evict_list small, main;
};

void evictor_init(struct evictor *evictor, enum store_policy policy, uint64_t budget_bytes,
                  struct frame_home *const *homes);
static inline uint64_t evictor_bytes(const struct evictor *evictor) {
    return evictor->small.bytes + evictor->main.bytes;
}
static inline struct frame *evictor_frame(const struct evictor *evictor, uint32_t name) {
    return &evictor->homes[name >> FRAME_NUMBER_BITS]->frames[name & FRAMES_MAX];
}
