/* SPDX-License-Identifier: MIT */
#pragma once

/* bits — rounding, powers of two, and integers in the byte orders of wire (big) and disk (little).
 */

#include "base/base.h"

#include <endian.h>
#include <string.h>

static inline uint64_t min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}
static inline uint64_t max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}
static inline uint32_t min_u32(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}
static inline uint32_t max_u32(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}
static inline bool is_power_of_two(uint64_t x) {
    return x != 0 && (x & (x - 1)) == 0;
}
/* Rounds up to a multiple of `unit`, a power of two. */
static inline uint64_t round_up(uint64_t x, uint64_t unit) {
    return (x + unit - 1) & ~(unit - 1);
}
static inline uint64_t round_down(uint64_t x, uint64_t unit) {
    return x & ~(unit - 1);
}
/* The least power of two that is >= x; x in 1..2^63. */
static inline uint64_t power_of_two_above(uint64_t x) {
    return x <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(x - 1));
}

static inline uint16_t get_be16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return be16toh(v);
}
static inline uint32_t get_be32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}
static inline uint64_t get_be64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}
static inline void put_be16(void *p, uint16_t v) {
    v = htobe16(v);
    memcpy(p, &v, sizeof v);
}
static inline void put_be32(void *p, uint32_t v) {
    v = htobe32(v);
    memcpy(p, &v, sizeof v);
}
static inline void put_be64(void *p, uint64_t v) {
    v = htobe64(v);
    memcpy(p, &v, sizeof v);
}
static inline uint16_t get_le16(const void *p) {
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return le16toh(v);
}
static inline uint32_t get_le32(const void *p) {
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return le32toh(v);
}
static inline uint64_t get_le64(const void *p) {
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}
static inline void put_le16(void *p, uint16_t v) {
    v = htole16(v);
    memcpy(p, &v, sizeof v);
}
static inline void put_le32(void *p, uint32_t v) {
    v = htole32(v);
    memcpy(p, &v, sizeof v);
}
static inline void put_le64(void *p, uint64_t v) {
    v = htole64(v);
    memcpy(p, &v, sizeof v);
}
