/* SPDX-License-Identifier: MIT */
#pragma once

/* kit — what stress programs share: arguments, a seeded random, time, and how to fail.
 *
 * A stress program is `NAME [seed] [seconds]`; it prints one line of what it did and exits 0, or
 * says what broke, with its seed, and exits 1. */

#include "base/base.h"
#include "base/clock.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

struct stress {
    uint64_t seed;
    uint64_t ends_ns;
    const char *name;
};

static inline struct stress stress_args(int argc, char **argv) {
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 2;
    return (struct stress){
        .seed = seed, .ends_ns = clock_ns() + seconds * NS_PER_S, .name = argv[0]};
}

static inline bool stress_over(const struct stress *stress) {
    return clock_ns() >= stress->ends_ns;
}

#define stress_check(stress, cond, ...)                            \
    do {                                                           \
        if (!(cond)) {                                             \
            fprintf(stderr, "%s: seed %llu: %s: ", (stress)->name, \
                    (unsigned long long)(stress)->seed, #cond);    \
            fprintf(stderr, __VA_ARGS__);                          \
            fputc('\n', stderr);                                   \
            exit(1);                                               \
        }                                                          \
    } while (0)

/* xorshift64*: state is never zero. */
static inline uint64_t stress_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

static inline uint64_t stress_seed(uint64_t seed, uint64_t stream) {
    return (seed * UINT64_C(0x9e3779b97f4a7c15) ^ (stream + 1) * UINT64_C(0xbf58476d1ce4e5b9)) | 1;
}

static inline void *stress_memory(size_t bytes) {
    size_t rounded = (bytes + CACHE_PAIR - 1) / CACHE_PAIR * CACHE_PAIR;
    uint8_t *memory = aligned_alloc(CACHE_PAIR, rounded);
    if (!memory) {
        perror("stress: no memory");
        exit(1);
    }
    for (size_t i = 0; i < rounded; i++) {
        memory[i] = 0;
    }
    return memory;
}

static inline pthread_t stress_thread(void *(*run)(void *), void *argument) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, run, argument) != 0) {
        fputs("stress: no thread\n", stderr);
        exit(1);
    }
    return thread;
}
