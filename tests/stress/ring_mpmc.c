/* SPDX-License-Identifier: MIT */
#include "rings/ring.h"
#include "tests/stress/kit.h"

#include <stdatomic.h>

/* Several writers, several readers, one small ring, in rounds. Every item must come out once; the
 * items of one writer reach any one reader in their order; and what the writer stored in an item
 * before the push, plainly, is what the reader finds (ThreadSanitizer watches that too).
 *
 * Rounds are short because more writers than processors can fall into step: each then spins out its
 * slice waiting for one that is not running (ring.h, Progress), and a push takes milliseconds. */

enum { WRITERS = 3, READERS = 3, ITEMS = 500, RING_SIZE = 64 };

struct item {
    uint64_t stamp; /* plain, written before the push */
    uint32_t writer;
    uint32_t serial;
    uint32_t taken; /* plain, written after the pop: two takers would race */
};

static struct item items[WRITERS][ITEMS];
static struct ring *ring;
static _Atomic uint32_t taken_count;
static struct stress stress;
static uint64_t round_number;

static void *writer_run(void *argument) {
    uint32_t me = (uint32_t)(uintptr_t)argument;
    uint64_t random = stress_seed(stress.seed + round_number, me);
    for (uint32_t i = 0; i < ITEMS; i++) {
        struct item *item = &items[me][i];
        *item = (struct item){.stamp = round_number * ITEMS + i, .writer = me, .serial = i};
        while (!ring_push_mpmc(ring, item)) {
            sched_yield();
        }
        if (stress_random(&random) % 8 == 0) {
            sched_yield();
        }
    }
    return NULL;
}

static void *reader_run(void *argument) {
    uint64_t random = stress_seed(stress.seed + round_number, 100 + (uintptr_t)argument);
    int64_t last[WRITERS] = {-1, -1, -1};
    while (atomic_load(&taken_count) < WRITERS * ITEMS) {
        struct item *item = ring_pop_mpmc(ring);
        if (!item) {
            sched_yield();
            continue;
        }
        stress_check(&stress, item->taken++ == 0, "item %u of %u", item->serial, item->writer);
        stress_check(&stress, item->stamp == round_number * ITEMS + item->serial, "stale item");
        stress_check(&stress, (int64_t)item->serial > last[item->writer], "%u after %lld",
                     item->serial, (long long)last[item->writer]);
        last[item->writer] = item->serial;
        atomic_fetch_add(&taken_count, 1);
        if (stress_random(&random) % 8 == 0) {
            sched_yield();
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    stress = stress_args(argc, argv);
    ring = ring_init_mpmc(stress_memory(ring_footprint(RING_SIZE)), RING_SIZE);
    while (!stress_over(&stress)) {
        pthread_t threads[WRITERS + READERS];
        round_number++;
        atomic_store(&taken_count, 0);
        for (uintptr_t i = 0; i < WRITERS + READERS; i++) {
            threads[i] = i < WRITERS ? stress_thread(writer_run, (void *)i)
                                     : stress_thread(reader_run, (void *)(i - WRITERS));
        }
        for (int i = 0; i < WRITERS + READERS; i++) {
            pthread_join(threads[i], NULL);
        }
        for (int w = 0; w < WRITERS; w++) {
            for (int i = 0; i < ITEMS; i++) {
                stress_check(&stress, items[w][i].taken == 1, "item %d of %d", i, w);
            }
        }
        stress_check(&stress, ring_count(ring) == 0, "left over");
    }
    printf("%llu items through %d writers and %d readers\n",
           (unsigned long long)round_number * WRITERS * ITEMS, WRITERS, READERS);
    free(ring);
    return 0;
}
