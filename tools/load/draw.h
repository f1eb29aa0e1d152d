/* SPDX-License-Identifier: MIT */
#pragma once

/* draw — seeded random numbers: bits, keys by uniform or Zipf's law.
 *
 * Zipf's law with exponent s over ranks 0..n-1: P(rank) is proportional to 1 / (rank + 1)^s.
 * Drawn by rejection-inversion, so set-up costs nothing however many keys there are.
 * Source: Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete
 * distributions", 1996. Thread: owner. */

#include "base/base.h"

/* A bijection of 64 bits that leaves no pattern. Source: Steele, Lea, Flood, SplitMix64, 2014. */
static inline uint64_t draw_mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

/* What draw_mix was given: shifts undone by repeating them, factors by their inverses. */
static inline uint64_t draw_unmix(uint64_t y) {
    y = (y ^ (y >> 31) ^ (y >> 62)) * UINT64_C(0x319642b2d24d8ec3);
    y = (y ^ (y >> 27) ^ (y >> 54)) * UINT64_C(0x96de1b173f119089);
    y = y ^ (y >> 30) ^ (y >> 60);
    return y - UINT64_C(0x9e3779b97f4a7c15);
}

struct draw {
    uint64_t state;
};

static inline uint64_t draw_bits(struct draw *draw) {
    return draw_mix(draw->state++);
}
/* Uniform in 0..count-1. */
static inline uint64_t draw_below(struct draw *draw, uint64_t count) {
    return (uint64_t)(((unsigned __int128)draw_bits(draw) * count) >> 64);
}
/* Uniform in (0, 1]. */
static inline double draw_unit(struct draw *draw) {
    return (double)((draw_bits(draw) >> 11) + 1) * 0x1p-53;
}

struct zipf {
    uint64_t count;
    double s;
    double high, low, cut; /* the inverted integral at both ends, and where no test is needed */
};

/* s > 0; s = 0.99 is what key-value benchmarks use. */
void zipf_init(struct zipf *zipf, uint64_t count, double s);
/* Cost: about 60 ns. */
uint64_t zipf_draw(const struct zipf *zipf, struct draw *draw);
