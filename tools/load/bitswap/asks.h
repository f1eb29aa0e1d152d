/* SPDX-License-Identifier: MIT */
#pragma once

/* asks — what one peer has asked for and was not answered yet: by block, with its intended time.
 *
 * Open addressing with linear probing; an entry that goes closes the gap it leaves, so that a table
 * never fills with remains. Thread: owner. */

#include "base/base.h"

#define ASKS_NONE UINT32_MAX /* no block has this number */

struct ask {
    uint64_t intended_ns;
    uint32_t index; /* of the block; ASKS_NONE: free */
    int32_t priority;
    bool have;
};

struct asks {
    struct ask *table;
    uint32_t mask, count;
};

/* Room for `most` at once. Returns: 0 or -ENOMEM. */
must_check int asks_open(struct asks *asks, uint32_t most);
void asks_close(struct asks *asks);
/* Returns: the entry or NULL. Lives: until the next add or remove. */
struct ask *asks_find(const struct asks *asks, uint32_t index);
/* The block must not be in it, and there must be room. */
void asks_add(struct asks *asks, const struct ask *ask);
void asks_remove(struct asks *asks, struct ask *ask);
