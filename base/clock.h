/* SPDX-License-Identifier: MIT */
#pragma once

/* clock — monotonic nanoseconds. 37 ns a call: read once a turn or a batch, never per item.
 * Tests and policies take `now_ns` as an argument and never call this. */

#include "base/base.h"

#include <time.h>

static inline uint64_t clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* clock_wall_us is wall time for people: log lines, summaries. Nothing is ordered by it. */
static inline uint64_t clock_wall_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000) + (uint64_t)now.tv_nsec / 1000u;
}
