/* SPDX-License-Identifier: MIT */
#pragma once

/* kit — what floors and benches share: options, pinning, memory, random numbers, results.
 *
 * No product code stands behind it, so that a floor may use it. Everything here may take memory,
 * block and end the program: it runs before and after what is measured, never within it (but
 * kit_random and kit_ns, which are a few instructions). Results leave as readable lines, or with
 * --json as one JSON object on one line, which perf/compare reads. Thread: any, unless said. */

#include "base/base.h"

#include <time.h>

/* One numeric option, `--name VALUE`, or a flag when its value is left out at the end or before
 * another option (it becomes 1). */
struct kit_option {
    const char *name;
    uint64_t *value;
    const char *help;
};
/* kit_options reads the command line; --json and --help are its own. An unknown option or a bad
 * number ends the program with status 2. */
void kit_options(int argc, char **argv, const struct kit_option options[], uint32_t count);

/* Ends the program with status 1, or 77 ("skipped") for what this machine cannot do. */
_Noreturn void kit_fail(const char *what);
_Noreturn void kit_skip(const char *why);

/* Pins the calling thread to one CPU. Returns: false where that CPU is not ours to use; the caller
 * goes on unpinned and the result says so. */
bool kit_pin(uint32_t cpu);
/* CPUs this process may use, as the first call found them: main calls it before it pins. */
uint32_t kit_cpus(void);

/* Zeroed memory, touched, on huge pages where the kernel gives them. Lives: to the end. */
void *kit_map(size_t bytes);

/* Monotonic ns; CPU ns of the whole process. */
static inline uint64_t kit_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}
uint64_t kit_cpu_ns(void);

/* A pause of the spinning core that costs its sibling nothing. */
static inline void kit_relax(void) {
    __builtin_ia32_pause();
}
/* The compiler must take `p`'s memory as read and written here. */
static inline void kit_keep(const void *p) {
    __asm__("" : : "r"(p) : "memory");
}

/* splitmix64: seeded, the same everywhere. Source: Steele, Lea, Flood 2014. */
struct kit_random {
    uint64_t state;
};
static inline uint64_t kit_random(struct kit_random *random) {
    uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}
/* 0 .. below-1, near enough uniform for picking keys. */
static inline uint64_t kit_below(struct kit_random *random, uint64_t below) {
    return (uint64_t)(((unsigned __int128)kit_random(random) * below) >> 64);
}

/* Sorts the samples. Returns: the q-quantile (0..1), 0 for none. */
uint64_t kit_quantile(uint64_t samples[], size_t count, double q);

/* Results: begin, any number of values, end. Thread: main. */
void kit_begin(const char *program);
void kit_number(const char *name, double value, const char *unit);
void kit_text(const char *name, const char *value);
void kit_end(void);
