/* SPDX-License-Identifier: MIT */

/* bench_ck — a peer of ours made of one ck_ring: many writers, many readers, item by item.
 *
 * The straightforward way to use the library: every item is one compare-and-swap on a shared line,
 * and an earlier writer that lost its CPU holds up the later ones. G12 and G13 are divided by it.
 * Threads yield when the ring is full or empty, for with more threads than CPUs spinning would
 * measure the time slice. */

#include "perf/crowd.h"
#include "perf/kit.h"

#include <ck_ring.h>

#define SLOTS 4096u

static struct {
    alignas(CACHE_PAIR) ck_ring_t ring;
    alignas(CACHE_PAIR) ck_ring_buffer_t slots[SLOTS];
} shared;

static bool push(void *unused, void *item) {
    (void)unused;
    return ck_ring_enqueue_mpmc(&shared.ring, shared.slots, item);
}
static void *pop(void *unused) {
    (void)unused;
    void *item;
    return ck_ring_dequeue_mpmc(&shared.ring, shared.slots, &item) ? item : NULL;
}

int main(int argc, char **argv) {
    static uint64_t pairs = 1, millis = 500, quick;
    const struct kit_option options[] = {
        {"--pairs", &pairs, "writers, and as many readers"},
        {"--millis", &millis, "how long"},
        {"--quick", &quick, "short, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    ck_ring_init(&shared.ring, SLOTS);
    const struct crowd crowd = {.push = push,
                                .pop = pop,
                                .pairs = (uint32_t)pairs,
                                .weight = 1,
                                .millis = quick ? 50 : millis};
    struct crowd_result result;
    crowd_run(&crowd, &result);
    kit_begin("bench_ck");
    crowd_print(&crowd, &result);
    kit_end();
    return 0;
}
