/* SPDX-License-Identifier: MIT */
#pragma once

/* pace — the times at which an open loop intends its requests, whatever the server does.
 *
 * Latency counts from these times, so a stall of the server delays no later stamp (what wrk2's
 * README calls coordinated omission). Fixed: exactly evenly spaced, no drift. Poisson: gaps drawn
 * from the exponential law, as independent users make them. Thread: owner. */

#include "tools/load/draw.h"

struct pace {
    struct draw draw;
    double gap_ns;
    double at_ns; /* of the next one, since start_ns */
    uint64_t start_ns;
    uint64_t count; /* handed out so far */
    bool poisson;
};

/* rate: requests a second, above 0. phase in 0..1 shifts a fixed pace by that part of a gap, so
 * that several threads interleave. */
void pace_init(struct pace *pace, uint64_t start_ns, double rate, double phase, bool poisson,
               uint64_t seed);
/* When the next request is intended; pace_take moves on to the one after. */
static inline uint64_t pace_peek(const struct pace *pace) {
    return pace->start_ns + (uint64_t)pace->at_ns;
}
uint64_t pace_take(struct pace *pace);
