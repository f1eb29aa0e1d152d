/* SPDX-License-Identifier: MIT */
#pragma once

/* backoff — when an address that failed may be dialled again.
 *
 * After its first failure an address rests for `first_ns`, after each further one twice as long, up
 * to `most_ns`; each rest is moved by up to a quarter either way, so that peers which failed
 * together do not come back together. A success, or twice `most_ns` without a new failure, forgets.
 *
 * At most entries_max addresses are remembered; the one that failed longest ago makes room. An
 * address is known by a salted 64-bit hash of its bytes: two that share one would share their rest.
 * Memory: the caller's, backoff_footprint() bytes aligned to CACHE_LINE. Cost: O(1). Pure. Thread:
 * owner. */

#include "base/base.h"
#include "base/pool.h"

struct backoff_config {
    uint32_t entries_max; /* 1 .. 2^24 */
    uint64_t first_ns;    /* 1 s */
    uint64_t most_ns;     /* 5 min; at least first_ns */
    uint64_t salt;        /* random */
};

struct backoff {
    struct backoff_config config;
    struct pool entries;
    uint32_t *table; /* chains by hash */
    uint32_t mask;
    uint32_t oldest, newest; /* by last failure */
    uint64_t random;
    uint64_t evicted; /* total */
};

size_t backoff_footprint(const struct backoff_config *config);
void backoff_init(struct backoff *backoff, void *memory, const struct backoff_config *config);

/* Returns: the time from which it may be dialled; 0: it is not resting. */
uint64_t backoff_until(const struct backoff *backoff, const void *address, size_t bytes,
                       uint64_t now_ns);
/* Returns: the time from which it may be dialled again. */
uint64_t backoff_failed(struct backoff *backoff, const void *address, size_t bytes,
                        uint64_t now_ns);
void backoff_succeeded(struct backoff *backoff, const void *address, size_t bytes);
