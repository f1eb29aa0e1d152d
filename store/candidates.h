/* SPDX-License-Identifier: MIT */
#pragma once

/* candidates — what compaction chooses from: every sealed segment and every tier, as they are now,
 * put before the rules of store/choose.h.
 *
 * No candidate is a segment on a tier that takes no writes, nor one whose records would have to
 * move while its tier rests: moves off it found no room a moment ago.
 *
 * Thread: porter. Cost: a look at every segment, so compaction asks ten times a second at most. */

#include "store/choose.h"
#include "store/tier.h"

struct store;

struct candidates {
    struct store *store;
    struct choose_segment *segments; /* [SEGMENT_IDS] */
    struct choose_tier tiers[TIERS_MAX];
    uint64_t rest_ns[TIERS_MAX]; /* what would move off its segments is not looked at till then */
};

/* Returns: 0 or -ENOMEM; candidates_close after either. */
must_check int candidates_open(struct candidates *candidates, struct store *store);
void candidates_close(struct candidates *candidates);

/* The one to rewrite next, or CHOOSE_NOTHING. *ret_slow: the tier that its records go to where they
 * are demoted: the slow one with the most room, or its own where there is none. */
struct choice candidates_choose(struct candidates *candidates, uint64_t now_ns, uint32_t *ret_slow);
/* The tiers as they are now, [tiers.count]; valid until the next call of either. */
const struct choose_tier *candidates_tiers(struct candidates *candidates);
