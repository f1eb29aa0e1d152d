/* SPDX-License-Identifier: MIT */
#include "rings/bell.h"

#include "rings/ring.h"
#include "tests/stress/kit.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The hunt for a lost wake. Wakers push one item each and wait for it to be taken, so that the
 * sleeper is for ever on its way to sleep. It has no backstop here: a wake that is lost leaves both
 * sides waiting, and the watch in the sleeper says so.
 *
 * Two stand-ins for the kernel's wait: a word that the waker sets (millions of rounds, and the
 * narrow window is hit often), and an eventfd (real parking). */

enum { WAKERS_MAX = 3, RING_SIZE = 4 };
#define LOST_NS (20 * NS_PER_S) /* no machine delays a waker for so long */

struct waker {
    struct ring *input;
    alignas(CACHE_PAIR) _Atomic uint64_t taken; /* by the sleeper */
    uint64_t random;
    uint64_t sent;
    uint64_t rings;
    pthread_t thread;
};

static struct bell bell;
static alignas(CACHE_PAIR) _Atomic uint32_t rung; /* the stand-in: set by a waker */
static struct waker wakers[WAKERS_MAX];
static uint32_t wakers_count;
static int event; /* -1: the word stands in */
static _Atomic bool ended;
static struct stress stress;
static uint64_t sleeps, spurious;

/* So that over many rounds every instant of one side meets every instant of the other. */
static void linger(uint64_t *random) {
    for (uint64_t pause = stress_random(random) % 256; pause > 0; pause--) {
        atomic_signal_fence(memory_order_seq_cst); /* or the loop would be optimised away */
    }
}

static void ring_it(void) {
    if (event < 0) {
        atomic_store_explicit(&rung, 1, memory_order_release);
    } else {
        uint64_t one = 1;
        stress_check(&stress, write(event, &one, sizeof one) == sizeof one, "eventfd");
    }
}

static void *waker_run(void *argument) {
    struct waker *waker = argument;
    while (!atomic_load_explicit(&ended, memory_order_relaxed)) {
        linger(&waker->random);
        while (!ring_push_spsc(waker->input, waker)) {
            sched_yield();
        }
        waker->sent++;
        if (bell_must_ring(&bell)) {
            waker->rings++;
            ring_it();
        }
        for (uint32_t spins = 0;
             atomic_load_explicit(&waker->taken, memory_order_acquire) < waker->sent &&
             !atomic_load_explicit(&ended, memory_order_relaxed);
             spins++) {
            if (spins % 1024 == 1023) {
                sched_yield();
            }
        }
    }
    return NULL;
}

static uint32_t look(void) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < wakers_count; i++) {
        while (ring_pop_spsc(wakers[i].input)) {
            atomic_fetch_add_explicit(&wakers[i].taken, 1, memory_order_release);
            found++;
        }
    }
    return found;
}

static void wait_for_ring(void) {
    uint64_t began = 0;
    for (uint32_t spins = 1; event < 0; spins++) {
        if (atomic_exchange_explicit(&rung, 0, memory_order_acquire)) {
            return;
        }
        if (spins % 1024 == 0) {
            sched_yield();
        }
        if (spins % 65536 == 0) {
            began = began ? began : clock_ns();
            stress_check(&stress, clock_ns() - began < LOST_NS, "a wake was lost (%llu sleeps)",
                         (unsigned long long)sleeps);
        }
    }
    struct pollfd waiting = {.fd = event, .events = POLLIN};
    stress_check(&stress, poll(&waiting, 1, (int)(LOST_NS / NS_PER_MS)) == 1,
                 "a wake was lost (%llu sleeps)", (unsigned long long)sleeps);
    uint64_t count;
    stress_check(&stress, read(event, &count, sizeof count) == sizeof count, "eventfd");
}

static uint64_t hunt(uint32_t with_wakers, bool parking, uint64_t until_ns) {
    uint64_t total = 0;
    uint64_t random = stress_seed(stress.seed, 100 + with_wakers);
    wakers_count = with_wakers;
    event = parking ? eventfd(0, EFD_CLOEXEC) : -1;
    atomic_store(&ended, false);
    for (uint32_t i = 0; i < wakers_count; i++) {
        struct waker *waker = &wakers[i];
        waker->input = ring_init_spsc(stress_memory(ring_footprint(RING_SIZE)), RING_SIZE);
        waker->random = stress_seed(stress.seed, total + i);
        waker->sent = 0;
        atomic_store(&waker->taken, 0);
        waker->thread = stress_thread(waker_run, waker);
    }
    for (uint32_t turn = 1; turn % 256 != 0 || clock_ns() < until_ns; turn++) {
        uint32_t found = look();
        if (found == 0) {
            linger(&random);
            bell_arm(&bell);
            found = look();
            if (found == 0) {
                sleeps++;
                wait_for_ring();
                found = look();
                spurious += found == 0;
            }
            bell_disarm(&bell);
        }
        total += found;
    }
    atomic_store(&ended, true);
    for (uint32_t i = 0; i < wakers_count; i++) {
        pthread_join(wakers[i].thread, NULL);
        total += look();
    }
    for (uint32_t i = 0; i < wakers_count; i++) {
        stress_check(&stress, atomic_load(&wakers[i].taken) == wakers[i].sent, "waker %u", i);
        free(wakers[i].input);
    }
    atomic_store(&rung, 0);
    if (parking) {
        close(event);
    }
    return total;
}

int main(int argc, char **argv) {
    stress = stress_args(argc, argv);
    uint64_t part_ns = (stress.ends_ns - clock_ns()) / 4;
    uint64_t words = 0, parked = 0;
    for (uint32_t part = 0; part < 4; part++) {
        uint64_t until_ns = clock_ns() + part_ns;
        if (part % 2 == 0) {
            words += hunt(part == 0 ? 1 : WAKERS_MAX, false, until_ns);
        } else {
            parked += hunt(part == 1 ? 1 : WAKERS_MAX, true, until_ns);
        }
    }
    uint64_t rings = 0;
    for (uint32_t i = 0; i < WAKERS_MAX; i++) {
        rings += wakers[i].rings;
    }
    stress_check(&stress, rings >= sleeps, "slept %llu, rung %llu", (unsigned long long)sleeps,
                 (unsigned long long)rings);
    printf("%llu rounds by word, %llu by eventfd: %llu sleeps, %llu rings, %llu spurious\n",
           (unsigned long long)words, (unsigned long long)parked, (unsigned long long)sleeps,
           (unsigned long long)rings, (unsigned long long)spurious);
    return 0;
}
