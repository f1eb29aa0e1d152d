/* SPDX-License-Identifier: MIT */
#pragma once

/* cache — the store's memory tier alone: real look-ups, catalog, frames, admission, eviction and
 * ghosts, over blocks that lie nowhere. A miss admits made-up bytes, as a read from the disk would.
 *
 * And beside it what it is judged by: the same policies done exactly, each a page of plain code.
 * Thread: main. */

#include "perf/demand.h"
#include "store/disk.h"
#include "store/store.h"

struct cache;

struct cache_config {
    const char *dir;
    struct disk disk;
    enum store_policy policy;
    uint32_t objects; /* all there are: each has its entry in the catalog */
    uint32_t frames;  /* that memory holds */
};

/* Ends the program in words when it cannot. */
struct cache *cache_open(const struct cache_config *config);
/* Asks for it. Returns: whether it was in memory; from here on it is, if the policy likes. */
bool cache_ask(struct cache *cache, uint32_t object);
/* As a scan asks, which must not push others out. */
bool cache_scan(struct cache *cache, uint32_t object);
void cache_close(struct cache *cache);

/* Misses among the load's requests. */
uint32_t cache_misses(struct cache *cache, struct demand *demand, uint64_t seed);

enum exact_policy { EXACT_LRU, EXACT_S3FIFO, EXACT_LFU, EXACT_LRFU, EXACT_POLICIES };
extern const char *const exact_names[EXACT_POLICIES];
/* The same of an exact policy with room for `frames`. */
uint32_t exact_misses(enum exact_policy policy, uint32_t frames, struct demand *demand,
                      uint64_t seed);
