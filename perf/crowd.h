/* SPDX-License-Identifier: MIT */
#pragma once

/* crowd — threads that hand items through some queue, and what it cost them.
 *
 * Writers push numbered items, readers pop them and add the numbers up: the sums must agree, or the
 * program ends. Thread i runs on CPU i mod 2, so one pair has a CPU each and four pairs share two.
 * The wait of a push is from the first refusal until it went in; the longest one is kept, and one
 * push in 64 is timed whole. Used by bench_ring and its peers (bench_ck, bench_boost, in C++). */

#ifdef __cplusplus
#include <cstdint>
extern "C" {
#else
#include "base/base.h"
#endif

#define CROWD_PAIRS_MAX 8

struct crowd {
    bool (*push)(void *queue, void *item);
    void *(*pop)(void *queue);
    void *queue;
    uint32_t pairs;
    uint32_t weight; /* items that one push moves: a container of 64 counts 64 */
    uint64_t millis;
};
struct crowd_result {
    double ns_per_item;
    double rate;
    double worst_push_us;
    uint64_t items;
};

/* Blocks: for crowd->millis. Thread: main. */
void crowd_run(const struct crowd *crowd, struct crowd_result *ret_result);
/* The round trip of one item through two queues with equal push and pop. Returns: ns. */
double crowd_rtt_ns(const struct crowd *there, const struct crowd *back, uint64_t rounds);
void crowd_print(const struct crowd *crowd, const struct crowd_result *result);

#ifdef __cplusplus
}
#endif
