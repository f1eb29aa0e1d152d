/* SPDX-License-Identifier: MIT */
#pragma once

/* frontier — the links of a DAG still to be followed, depth first: a stack of binary CIDs.
 *
 * A block's links are pushed in the order they stand and then turned, so that the first comes out
 * first and a file is fetched from its beginning. Depth first keeps the stack at (depth x links of
 * a node), whatever the size of the DAG. An entry is its CID between two length bytes, which is
 * what lets a run of entries be turned in place.
 *
 * Bounds: bytes_max, then FRONTIER_FULL. Thread: owner. Memory: the lender's, doubling. */

#include "base/base.h"
#include "base/cid.h"
#include "engine/swarm/lender.h"

enum { FRONTIER_FULL = 1 };

struct frontier {
    struct lender lender;
    uint8_t *bytes;
    size_t used, room, bytes_max;
    uint64_t entries;
};

void frontier_init(struct frontier *frontier, const struct lender *lender, size_t bytes_max);
void frontier_fini(struct frontier *frontier);
/* Returns: 0, FRONTIER_FULL, -ENOMEM. */
must_check int frontier_push(struct frontier *frontier, const struct cid *cid);
/* Turns the entries pushed since `used` was `mark`. */
void frontier_turn(struct frontier *frontier, size_t mark);
/* Returns: false: nothing is left. */
must_check bool frontier_pop(struct frontier *frontier, struct cid *ret_cid);
