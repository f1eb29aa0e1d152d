/* SPDX-License-Identifier: MIT */
#include "store/coverage.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/inside.h"

#include <errno.h>
#include <xxhash.h>

int coverage_open(struct coverage *coverage) {
    coverage->segments = vm_map(SEGMENT_IDS * sizeof *coverage->segments);
    return coverage->segments ? 0 : err_raise(-ENOMEM);
}

void coverage_close(struct coverage *coverage) {
    vm_unmap(coverage->segments, SEGMENT_IDS * sizeof *coverage->segments);
}

uint64_t coverage_sum(const struct image_segment *segments, uint32_t count) {
    return XXH3_64bits(segments, count * sizeof *segments);
}

/* Records below this are in the catalog, or were deleted from it. */
static uint64_t covered_bytes(const struct segments *segments, const struct segment *segment) {
    bool moves = segment->log >= STORE_KEEPERS_MAX && segment->epoch == segments->epoch;
    if (moves) { /* what was moved since the start is in the catalog once its notes have run */
        return atomic_load_explicit(&segment->published_bytes, memory_order_acquire);
    }
    uint64_t data = atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
    /* acquire: after data_bytes, which comes after what is undecided in it */
    bool open_ends = atomic_load_explicit(&segment->undecided, memory_order_acquire) > 0 ||
                     atomic_load_explicit(&segment->aborted, memory_order_relaxed) > 0 ||
                     atomic_load_explicit(&segment->unsettled, memory_order_relaxed);
    return open_ends ? PAGE_BYTES : data;
}

void coverage_take(struct coverage *coverage, struct store *store) {
    coverage->count = 0;
    (void)pthread_mutex_lock(&store->files);
    for (uint32_t id = 1; id < store->segments.top; id++) {
        const struct segment *segment = &store->segments.all[id];
        enum segment_state state = segment_state(segment); /* first: after CLOSED comes nothing */
        bool of_a_log = segment->generation != 0;          /* else its header could not be read */
        if ((state != SEGMENT_OPEN && state != SEGMENT_CLOSED && state != SEGMENT_SEALED) ||
            !of_a_log) {
            continue;
        }
        coverage->segments[coverage->count++] = (struct image_segment){
            .generation = segment->generation,
            .covered_bytes = max_u64(covered_bytes(&store->segments, segment), PAGE_BYTES),
            .id = id,
            .flags = state == SEGMENT_OPEN ? 0 : IMAGE_CLOSED};
    }
    (void)pthread_mutex_unlock(&store->files);
    coverage->sum = coverage_sum(coverage->segments, coverage->count);
}
