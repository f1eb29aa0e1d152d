/* SPDX-License-Identifier: MIT */

/* floor_handoff (F9) — the least that moving a pointer from one core to another can cost.
 *
 *   producer, CPU 0: fills a burst in a local array, copies it, one release store of `tail`
 *   consumer, CPU 1: copies what is there, one release store of `head`
 *
 * Each side keeps a cached copy of the other's index and looks again only when it seems full or
 * empty (the trick of rigtorp's SPSCQueue), so a burst moves two index lines and its slots. The
 * round trip is one line that both cores write in turn. No product code. */

#include "perf/kit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SLOTS     4096u
#define BURST_MAX 256u

static struct {
    alignas(CACHE_PAIR) _Atomic uint64_t tail; /* written by the producer, read by the consumer */
    alignas(CACHE_PAIR) _Atomic uint64_t head; /* written by the consumer, read by the producer */
    alignas(CACHE_PAIR) void *slots[SLOTS];
} ring;

static struct {
    alignas(CACHE_PAIR) _Atomic uint64_t turn; /* both write, in turn */
    alignas(CACHE_PAIR) uint64_t sum;          /* consumer only */
    uint64_t stop_ns, received, bad;
    alignas(CACHE_PAIR) _Atomic uint32_t done; /* producer says that no more comes */
} shared;

static uint64_t burst = 32, millis = 500, quick, consumer_cpu = 1, producer_cpu = 0;

static void *consume(void *unused) {
    (void)unused;
    kit_pin((uint32_t)consumer_cpu);
    uint64_t head = 0, tail = 0, received = 0, bad = 0;
    void *got[BURST_MAX];
    for (;;) {
        if (tail == head) {
            bool done = atomic_load_explicit(&shared.done, memory_order_acquire) != 0;
            tail = atomic_load_explicit(&ring.tail, memory_order_acquire); /* pairs: produce */
            if (tail == head) {
                if (done) {
                    break;
                }
                kit_relax();
                continue;
            }
        }
        uint64_t count = tail - head < burst ? tail - head : burst;
        for (uint64_t i = 0; i < count; i++) {
            got[i] = ring.slots[(head + i) & (SLOTS - 1)];
        }
        head += count;
        atomic_store_explicit(&ring.head, head, memory_order_release); /* pairs: produce */
        for (uint64_t i = 0; i < count; i++) {
            bad += (uintptr_t)got[i] != received + i + 1;
        }
        received += count;
    }
    shared.received = received;
    shared.bad = bad;
    shared.stop_ns = kit_ns();
    return NULL;
}

static uint64_t produce(uint64_t until_ns) {
    uint64_t head = 0, tail = 0;
    void *items[BURST_MAX];
    while (kit_ns() < until_ns) {
        for (uint32_t round = 0; round < 256; round++) {
            for (uint64_t i = 0; i < burst; i++) {
                items[i] = (void *)(uintptr_t)(tail + i + 1);
            }
            while (tail + burst - head > SLOTS) {
                head = atomic_load_explicit(&ring.head, memory_order_acquire); /* pairs: consume */
                kit_relax();
            }
            for (uint64_t i = 0; i < burst; i++) {
                ring.slots[(tail + i) & (SLOTS - 1)] = items[i];
            }
            tail += burst;
            atomic_store_explicit(&ring.tail, tail, memory_order_release); /* pairs: consume */
        }
    }
    atomic_store_explicit(&shared.done, 1, memory_order_release);
    return tail;
}

static void *answer(void *rounds) {
    kit_pin((uint32_t)consumer_cpu);
    for (uint64_t i = 0; i < *(const uint64_t *)rounds; i++) {
        while (atomic_load_explicit(&shared.turn, memory_order_acquire) != 2 * i + 1) {
            kit_relax();
        }
        atomic_store_explicit(&shared.turn, 2 * i + 2, memory_order_release);
    }
    return NULL;
}

static double ping_pong(uint64_t rounds) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer, &rounds) != 0) {
        kit_fail("thread");
    }
    uint64_t start = kit_ns();
    for (uint64_t i = 0; i < rounds; i++) {
        atomic_store_explicit(&shared.turn, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&shared.turn, memory_order_acquire) != 2 * i + 2) {
            kit_relax();
        }
    }
    uint64_t ns = kit_ns() - start;
    pthread_join(thread, NULL);
    return (double)ns / (double)rounds;
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--burst", &burst, "items published at once, 1..256"},
        {"--millis", &millis, "how long to hand off"},
        {"--producer", &producer_cpu, "CPU"},
        {"--consumer", &consumer_cpu, "CPU"},
        {"--quick", &quick, "a tenth of it, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    if (burst < 1 || burst > BURST_MAX) {
        kit_skip("--burst must be 1..256");
    }
    if (kit_cpus() < 2) {
        kit_skip("a hand-off between cores needs two");
    }
    kit_pin((uint32_t)producer_cpu);
    double rtt_ns = ping_pong(quick ? 20000 : 500000);

    pthread_t thread;
    if (pthread_create(&thread, NULL, consume, NULL) != 0) {
        kit_fail("thread");
    }
    uint64_t start = kit_ns();
    uint64_t sent = produce(start + (quick ? millis / 10 : millis) * NS_PER_MS);
    pthread_join(thread, NULL);
    if (shared.received != sent || shared.bad != 0) {
        kit_fail("items were lost or out of order");
    }
    double ns = (double)(shared.stop_ns - start);
    kit_begin("floor_handoff");
    kit_number("burst", (double)burst, "items");
    kit_number("ns_per_item", ns / (double)sent, "ns");
    kit_number("rate", (double)sent / ns * 1e9, "items/s");
    kit_number("rtt_ns", rtt_ns, "ns (one line, there and back)");
    kit_end();
    return 0;
}
