/* SPDX-License-Identifier: MIT */
#include "store/dying.h"

#include "store/inside.h"

int dying_sentence(struct dying *dying, struct segment *segment,
                   const struct segment_trailer *trailer) {
    struct store *store = dying->store;
    struct gone_range range = {
        .first_lsn = trailer->first_lsn, .last_lsn = trailer->last_lsn, .log = segment->log};
    if (trailer->first_lsn != 0) {
        int r = gone_add(&store->gone, &range);
        r = r == 0 ? gone_write(&store->gone, &store->segments, !tiers_unknown(&store->tiers)) : r;
        if (r != 0) {
            return r;
        }
    }
    dying_drop(dying, segment);
    return 0;
}

void dying_drop(struct dying *dying, struct segment *segment) {
    segment_set_state(segment, SEGMENT_DYING);
    dying->count++;
}

void dying_reap(struct dying *dying) {
    struct segments *segments = &dying->store->segments;
    for (uint32_t id = 1; id < segments->top && dying->count > 0; id++) {
        if (segment_state(&segments->all[id]) == SEGMENT_DYING) {
            (void)pthread_mutex_lock(&dying->store->files);
            int r = segment_free(segments, &segments->all[id]);
            (void)pthread_mutex_unlock(&dying->store->files);
            dying->count -= r == 0;
        }
    }
}
