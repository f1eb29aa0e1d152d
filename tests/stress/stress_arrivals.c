/* SPDX-License-Identifier: MIT */
#include "engine/swarm/arrivals.h"
#include "tests/stress/kit.h"

#include <stdatomic.h>

/* One writer that never waits against readers of every pace. Each key says its own number, in every
 * word: so a key that is two keys is seen at once, and so is one that is not the next. A reader may
 * lose, but only when it is told so, and then hears of all that is pushed from there on. */

enum { READERS = 3 };

struct reader {
    uint64_t random;
    uint64_t read, lost;
    uint32_t pace; /* most turns of nothing between two pops */
    pthread_t thread;
};

static struct stress stress;
static struct arrivals arrivals;
static struct reader readers[READERS];
static _Atomic bool ended;

static struct key key_of(uint64_t number) {
    struct key key = {.code = (uint16_t)number, .digest_bytes = HASH_DIGEST_MAX};
    for (size_t at = 0; at + sizeof number <= sizeof key.digest; at += sizeof number) {
        memcpy(key.digest + at, &number, sizeof number);
    }
    return key;
}

static void linger(uint64_t *random, uint32_t most) {
    for (uint64_t pause = most ? stress_random(random) % most : 0; pause > 0; pause--) {
        atomic_signal_fence(memory_order_seq_cst); /* or the loop would be optimised away */
    }
}

static void take(struct reader *reader, uint64_t *cursor) {
    struct key key;
    uint64_t before = *cursor;
    int r = arrivals_pop(&arrivals, cursor, &key);
    if (r == ARRIVALS_NONE) {
        sched_yield();
        return;
    }
    if (r == ARRIVALS_LOST) {
        stress_check(&stress, *cursor > before, "lost at %llu and not moved on",
                     (unsigned long long)before);
        reader->lost++;
        return;
    }
    struct key wanted = key_of(before);
    stress_check(&stress, *cursor == before + 1, "the cursor went from %llu to %llu",
                 (unsigned long long)before, (unsigned long long)*cursor);
    stress_check(&stress, key.code == wanted.code && key_equal(&key, &wanted),
                 "key %llu is another, or torn", (unsigned long long)before);
    reader->read++;
}

static void *reader_run(void *argument) {
    struct reader *reader = argument;
    uint64_t cursor = 0;
    while (!atomic_load_explicit(&ended, memory_order_acquire)) {
        take(reader, &cursor);
        linger(&reader->random, reader->pace);
    }
    while (cursor != arrivals_head(&arrivals)) { /* the writer has ended: nothing more is lost */
        take(reader, &cursor);
    }
    return NULL;
}

int main(int argc, char **argv) {
    static const uint32_t paces[READERS] = {0, 200, 20000};
    stress = stress_args(argc, argv);
    arrivals_init(&arrivals);
    for (uint32_t i = 0; i < READERS; i++) {
        readers[i].random = stress_seed(stress.seed, i);
        readers[i].pace = paces[i];
        readers[i].thread = stress_thread(reader_run, &readers[i]);
    }
    uint64_t random = stress_seed(stress.seed, READERS);
    uint64_t pushed = 0;
    while (!stress_over(&stress)) {
        uint64_t burst = stress_random(&random) % (2 * ARRIVALS_SLOTS);
        for (uint64_t i = 0; i < burst; i++) {
            struct key key = key_of(pushed++);
            arrivals_push(&arrivals, &key);
            linger(&random, 50);
        }
        linger(&random, 100000);
    }
    atomic_store_explicit(&ended, true, memory_order_release);
    uint64_t read = 0, lost = 0;
    for (uint32_t i = 0; i < READERS; i++) {
        pthread_join(readers[i].thread, NULL);
        read += readers[i].read;
        lost += readers[i].lost;
    }
    stress_check(&stress, read > 0 && pushed > 0, "nothing was read");
    printf("%llu pushed, %llu read, %llu times lost\n", (unsigned long long)pushed,
           (unsigned long long)read, (unsigned long long)lost);
    return 0;
}
