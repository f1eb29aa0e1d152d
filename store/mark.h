/* SPDX-License-Identifier: MIT */
#pragma once

/* mark — a set of 64-bit keyed hashes, of bounded memory: what a walk over DAGs has reached.
 *
 * Open addressing, doubled when three quarters full, up to bytes_max. Two different blocks take
 * each other's place with a chance of n^2 / 2^65 among n; the key keeps people from arranging it.
 * Thread: owner. Cost: one cache miss. */

#include "base/base.h"

enum { MARK_SEEN = 1, MARK_FULL = 2 };

struct mark {
    uint64_t *slots; /* 0: empty */
    uint64_t room;   /* a power of two, or 0 */
    uint64_t count;
    uint64_t bytes_max;
};

void mark_init(struct mark *mark, uint64_t bytes_max);
void mark_fini(struct mark *mark);
/* Returns: 0: it is new; MARK_SEEN; MARK_FULL: more would take more than bytes_max; -ENOMEM. */
must_check int mark_add(struct mark *mark, uint64_t hash);
bool mark_has(const struct mark *mark, uint64_t hash);
static inline uint64_t mark_bytes(const struct mark *mark) {
    return mark->room * sizeof *mark->slots;
}
