/* SPDX-License-Identifier: MIT */

/* floor_wake (F10) — what it costs to wake a sleeping thread on another core and be woken back.
 *
 * Two threads, two eventfds, blocking reads: each wakes the other and sleeps. The round trip holds
 * two wakes, each an inter-processor interrupt and the way out of the idle state. No product code.
 */

#include "perf/kit.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int there, back;
static uint64_t rounds = 20000, quick, first_cpu = 0, second_cpu = 1;

static void wake(int fd) {
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) != sizeof one) {
        kit_fail("eventfd write");
    }
}
static void sleep_on(int fd) {
    uint64_t count;
    if (read(fd, &count, sizeof count) != sizeof count) {
        kit_fail("eventfd read");
    }
}

static void *answer(void *unused) {
    (void)unused;
    kit_pin((uint32_t)second_cpu);
    for (uint64_t i = 0; i < rounds; i++) {
        sleep_on(there);
        wake(back);
    }
    return NULL;
}

int main(int argc, char **argv) {
    const struct kit_option options[] = {
        {"--rounds", &rounds, "round trips"},
        {"--first", &first_cpu, "CPU"},
        {"--second", &second_cpu, "CPU"},
        {"--quick", &quick, "a tenth of it, to see that it works"},
    };
    kit_options(argc, argv, options, array_count(options));
    if (kit_cpus() < 2) {
        kit_skip("a wake between cores needs two");
    }
    rounds = quick ? rounds / 10 + 1 : rounds;
    uint64_t *samples = calloc(rounds, sizeof *samples);
    there = eventfd(0, EFD_CLOEXEC);
    back = eventfd(0, EFD_CLOEXEC);
    if (!samples || there < 0 || back < 0) {
        kit_fail("eventfd");
    }
    kit_pin((uint32_t)first_cpu);
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer, NULL) != 0) {
        kit_fail("thread");
    }
    uint64_t cpu = kit_cpu_ns();
    uint64_t start = kit_ns();
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t from = kit_ns();
        wake(there);
        sleep_on(back);
        samples[i] = kit_ns() - from;
    }
    uint64_t ns = kit_ns() - start;
    cpu = kit_cpu_ns() - cpu;
    pthread_join(thread, NULL);
    kit_begin("floor_wake");
    kit_number("rtt_us", (double)ns / (double)rounds / 1e3, "us");
    kit_number("rtt_p50_us", (double)kit_quantile(samples, rounds, 0.5) / 1e3, "us");
    kit_number("rtt_p99_us", (double)kit_quantile(samples, rounds, 0.99) / 1e3, "us");
    kit_number("cpu_us", (double)cpu / (double)rounds / 1e3, "us of CPU a round trip");
    kit_end();
    free(samples);
    return 0;
}
