/* SPDX-License-Identifier: MIT */
#pragma once

/* seeded — bytes that anyone can make again: xorshift64 (13, 7, 17), each state's eight bytes from
 * the lowest. Tests name what other programs made of them. */

#include "base/base.h"

static inline void seeded_fill(uint64_t seed, uint8_t *bytes, size_t count) {
    uint64_t state = seed;
    for (size_t i = 0; i < count; i++) {
        if (i % 8 == 0) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
        }
        bytes[i] = (uint8_t)(state >> (8 * (i % 8)));
    }
}
