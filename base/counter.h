/* SPDX-License-Identifier: MIT */
#pragma once

/* counter — words a tile adds to and anyone may read.
 *
 * A module lists its counters once, in its header, as an X table: X(name, "unit", "what it
 * counts"). COUNTER_STRUCT(noun, TABLE) makes `struct noun_counters { counter_t name; ... }`, and
 * COUNTER_NAMES(noun, TABLE) (in the .c) makes `const struct counter_info noun_counter_info[]` with
 * the same order, so the admin socket and the docs are made from the same table.
 *
 * Thread: one writer adds (plain load, add, store: no locked instruction), any thread reads. */

#include "base/base.h"

#include <stdatomic.h>

typedef _Atomic uint64_t counter_t;

struct counter_info {
    const char *name;
    const char *unit;
    const char *help;
};

/* Relaxed: a counter orders nothing; its reader wants a number, not a happens-before. */
static inline void counter_add(counter_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline void counter_set(counter_t *counter, uint64_t n) {
    atomic_store_explicit(counter, n, memory_order_relaxed);
}
static inline uint64_t counter_get(const counter_t *counter) {
    return atomic_load_explicit(counter, memory_order_relaxed);
}

#define COUNTER_FIELD_(name, unit, help) counter_t name;
#define COUNTER_INFO_(name, unit, help)  {#name, unit, help},
#define COUNTER_STRUCT(noun, TABLE)                                                     \
    struct noun##_counters {                                                            \
        TABLE(COUNTER_FIELD_)                                                           \
    };                                                                                  \
    enum { noun##_counter_count = sizeof(struct noun##_counters) / sizeof(counter_t) }; \
    extern const struct counter_info noun##_counter_info[noun##_counter_count]
#define COUNTER_NAMES(noun, TABLE) \
    const struct counter_info noun##_counter_info[noun##_counter_count] = {TABLE(COUNTER_INFO_)}
