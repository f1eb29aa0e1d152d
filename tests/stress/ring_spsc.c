/* SPDX-License-Identifier: MIT */
#include "rings/ring.h"
#include "tests/stress/kit.h"

#include <stdatomic.h>

/* Items go to the other thread on one ring and come home on another, in random bursts, until time
 * is up: as containers do. Both directions keep order; each side finds what the other stored. */

enum { ITEMS = 500, RING_SIZE = 256, BURST = 48 };

struct item {
    uint64_t there; /* plain words, written by one side, read by the other */
    uint64_t back;
};

static struct ring *out;
static struct ring *home;
static struct stress stress;
static _Atomic bool ended;

static uint32_t burst(uint64_t *random) {
    return 1 + (uint32_t)(stress_random(random) % BURST);
}

static void *far_run(void *argument) {
    (void)argument;
    uint64_t random = stress_seed(stress.seed, 2);
    uint64_t seen = 0;
    void *items[BURST];
    for (;;) {
        bool last = atomic_load(&ended); /* before the pop: nothing comes after it */
        uint32_t n = stress_random(&random) % 4 ? ring_pop_many_spsc(out, items, burst(&random))
                                                : (items[0] = ring_pop_spsc(out)) != NULL;
        for (uint32_t i = 0; i < n; i++) {
            struct item *item = items[i];
            stress_check(&stress, item->there == seen, "%llu, not %llu",
                         (unsigned long long)item->there, (unsigned long long)seen);
            item->back = ~seen++;
        }
        for (uint32_t sent = 0; sent < n;) {
            uint32_t went = ring_push_many_spsc(home, items + sent, n - sent);
            sent += went;
            if (went == 0) {
                sched_yield();
            }
        }
        if (n == 0) {
            if (last) {
                return NULL;
            }
            sched_yield();
        }
    }
}

static uint64_t welcome(uint64_t returned, void **unused, uint32_t *unused_count,
                        uint64_t *random) {
    void *items[BURST];
    uint32_t n = ring_pop_many_spsc(home, items, burst(random));
    for (uint32_t i = 0; i < n; i++) {
        struct item *item = items[i];
        stress_check(&stress, item->there == returned, "out of order on the way home");
        stress_check(&stress, item->back == ~returned, "the far side's word is not seen");
        unused[(*unused_count)++] = item;
        returned++;
    }
    return returned;
}

int main(int argc, char **argv) {
    stress = stress_args(argc, argv);
    static struct item items[ITEMS];
    static void *unused[ITEMS];
    uint32_t unused_count = 0;
    uint64_t random = stress_seed(stress.seed, 1);
    uint64_t sent = 0, returned = 0;
    out = ring_init_spsc(stress_memory(ring_footprint(RING_SIZE)), RING_SIZE);
    home = ring_init_spsc(stress_memory(ring_footprint(RING_SIZE)), RING_SIZE);
    for (int i = 0; i < ITEMS; i++) {
        unused[unused_count++] = &items[i];
    }
    pthread_t far = stress_thread(far_run, NULL);
    for (uint64_t turn = 0; turn % 256 != 0 || !stress_over(&stress); turn++) {
        void *batch[BURST];
        uint32_t want = burst(&random);
        want = want < unused_count ? want : unused_count;
        for (uint32_t i = 0; i < want; i++) {
            struct item *item = batch[i] = unused[unused_count - 1 - i];
            item->there = sent + i;
        }
        uint32_t went = ring_push_many_spsc(out, batch, want);
        unused_count -= want;
        for (uint32_t i = want; i > went; i--) { /* full: these stay here */
            unused[unused_count++] = batch[i - 1];
        }
        sent += went;
        uint64_t before = returned;
        returned = welcome(returned, unused, &unused_count, &random);
        if (went == 0 && returned == before) {
            sched_yield();
        }
    }
    uint64_t limit_ns = clock_ns() + 20 * NS_PER_S;
    while (returned != sent) { /* before the far side ends: its way home may be full */
        uint64_t before = returned;
        returned = welcome(returned, unused, &unused_count, &random);
        if (returned == before) {
            stress_check(&stress, clock_ns() < limit_ns, "%llu lost",
                         (unsigned long long)(sent - returned));
            sched_yield();
        }
    }
    atomic_store(&ended, true);
    pthread_join(far, NULL);
    stress_check(&stress, unused_count == ITEMS, "%u home", unused_count);
    printf("%llu items there and back\n", (unsigned long long)sent);
    free(out);
    free(home);
    return 0;
}
