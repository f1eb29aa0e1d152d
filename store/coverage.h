/* SPDX-License-Identifier: MIT */
#pragma once

/* coverage — up to where each segment's records are in the catalog: what a snapshot that is begun
 * now covers, and what its start need not read again.
 *
 * It is taken before any table is copied. What is covered was published by an earlier turn of the
 * thread that copies, so it is in the copy, or was deleted by a record beyond the coverage, which
 * the start reads. Also a segment that is covered up to nowhere is named: it is older than what
 * comes next.
 *
 * Thread: the porter, or whoever closes the store. Cost: a look at every segment, under
 * store->files. */

#include "store/image.h"

struct store;

struct coverage {
    struct image_segment *segments; /* [SEGMENT_IDS] */
    uint32_t count;
    uint64_t sum;
};

/* Returns: 0 or -ENOMEM; coverage_close after either. */
must_check int coverage_open(struct coverage *coverage);
void coverage_close(struct coverage *coverage);
void coverage_take(struct coverage *coverage, struct store *store);
/* Two with the same sum cover the same. */
uint64_t coverage_sum(const struct image_segment *segments, uint32_t count);
