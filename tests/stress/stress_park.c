/* SPDX-License-Identifier: MIT */
#include "engine/io.h"
#include "engine/park.h"
#include "rings/bell.h"
#include "rings/ring.h"
#include "tests/stress/kit.h"

#include <errno.h>
#include <stdatomic.h>

/* The hunt for a lost wake, with the kernel in it: a sleeper parks in its ring's wait as a core
 * does, and wakers ring it with MSG_RING from rings of their own. The real core has a 1 s backstop
 * that would hide a lost wake; this one counts any wait that reached its backstop as a failure. */

enum { WAKERS_MAX = 3, RING_SIZE = 4, EXIT_SKIPPED = 77 };
#define BACKSTOP_NS (20 * NS_PER_S) /* no machine delays a waker for so long */

struct waker {
    struct ring *input;
    alignas(CACHE_PAIR) _Atomic uint64_t taken; /* by the sleeper */
    uint64_t random;
    uint64_t sent;
    uint64_t rings;
    pthread_t thread;
};

static struct stress stress;
static struct bell bell;
static struct io sleeper_io;
static struct waker wakers[WAKERS_MAX];
static uint32_t wakers_count;
static _Atomic bool ended;
static uint64_t parks, spurious;

/* So that over many rounds every instant of one side meets every instant of the other: mostly a
 * moment, at times long enough for the sleeper to be deep in the kernel. */
static void linger(uint64_t *random) {
    uint64_t pause = stress_random(random);
    pause = pause % 16 == 0 ? pause >> 8 & 0x7fff : pause >> 8 & 0xff;
    for (; pause > 0; pause--) {
        atomic_signal_fence(memory_order_seq_cst); /* or the loop would be optimised away */
    }
}

static void enter(struct io *io) {
    struct io_event events[16];
    int r = io_enter(io, false, 0);
    stress_check(&stress, r == 0, "enter: %d", r);
    (void)io_reap(io, events, 16);
}

static void *waker_run(void *argument) {
    struct waker *waker = argument;
    static _Thread_local struct io io;
    int r = io_open(&io, 16);
    stress_check(&stress, r == 0 && io_start(&io) == 0, "a ring for a waker: %d", r);
    while (!atomic_load_explicit(&ended, memory_order_relaxed)) {
        linger(&waker->random);
        while (!ring_push_spsc(waker->input, waker)) {
            sched_yield();
        }
        waker->sent++;
        if (bell_must_ring(&bell)) {
            waker->rings++;
            io_bell(&io, bell.ring_fd);
            enter(&io);
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
    io_close(&io);
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

/* As core_enter: armed, one more look at everything, then the kernel. */
static uint32_t park(void) {
    struct io_event events[16];
    bell_arm(&bell);
    uint32_t found = look();
    if (found == 0 && !io_pending(&sleeper_io)) {
        uint64_t before = clock_ns();
        int r = io_enter(&sleeper_io, true, BACKSTOP_NS);
        stress_check(&stress, r == 0, "wait: %d", r);
        stress_check(&stress, clock_ns() - before < BACKSTOP_NS, "a wake was lost (%llu parks)",
                     (unsigned long long)parks);
        parks++;
        bell_disarm(&bell);
        found = look();
        spurious += found == 0;
    }
    bell_disarm(&bell);
    uint32_t count = io_reap(&sleeper_io, events, 16);
    for (uint32_t i = 0; i < count; i++) {
        stress_check(&stress, events[i].op == IO_BELL, "event %u", events[i].op);
    }
    return found;
}

static uint64_t hunt(uint32_t with_wakers, uint64_t until_ns) {
    uint64_t total = 0;
    uint64_t random = stress_seed(stress.seed, 100 + with_wakers);
    wakers_count = with_wakers;
    atomic_store(&ended, false);
    for (uint32_t i = 0; i < wakers_count; i++) {
        struct waker *waker = &wakers[i];
        waker->input = ring_init_spsc(stress_memory(ring_footprint(RING_SIZE)), RING_SIZE);
        waker->random = stress_seed(stress.seed, i);
        waker->sent = 0;
        atomic_store(&waker->taken, 0);
        waker->thread = stress_thread(waker_run, waker);
    }
    while (clock_ns() < until_ns) {
        uint32_t found = look();
        if (found == 0) {
            linger(&random);
            found = park();
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
    return total;
}

int main(int argc, char **argv) {
    stress = stress_args(argc, argv);
    int r = io_open(&sleeper_io, 16);
    if (r == -ENOSYS || r == -EPERM || r == -EACCES) {
        puts("skipped: io_uring is not to be had here");
        return EXIT_SKIPPED;
    }
    stress_check(&stress, r == 0 && io_start(&sleeper_io) == 0, "a ring: %d", r);
    bell.ring_fd = io_fd(&sleeper_io);
    uint64_t cost_ns = park_cost_ns();
    stress_check(&stress, cost_ns > 0 && cost_ns < 10 * NS_PER_MS, "a park costs %llu ns",
                 (unsigned long long)cost_ns);
    uint64_t rounds = 0;
    uint64_t part_ns = (stress.ends_ns - clock_ns()) / WAKERS_MAX;
    for (uint32_t with = 1; with <= WAKERS_MAX; with++) {
        rounds += hunt(with, clock_ns() + part_ns);
    }
    uint64_t rings = 0;
    for (uint32_t i = 0; i < WAKERS_MAX; i++) {
        rings += wakers[i].rings;
    }
    io_close(&sleeper_io);
    printf("%llu rounds, %llu parks, %llu rings, %llu spurious; a park costs %llu ns\n",
           (unsigned long long)rounds, (unsigned long long)parks, (unsigned long long)rings,
           (unsigned long long)spurious, (unsigned long long)cost_ns);
    return 0;
}
