/* SPDX-License-Identifier: MIT */
#include "store/candidates.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/inside.h"

#include <errno.h>

int candidates_open(struct candidates *candidates, struct store *store) {
    candidates->store = store;
    candidates->segments = vm_map(SEGMENT_IDS * sizeof *candidates->segments);
    return candidates->segments ? 0 : err_raise(-ENOMEM);
}

void candidates_close(struct candidates *candidates) {
    vm_unmap(candidates->segments, SEGMENT_IDS * sizeof *candidates->segments);
    candidates->segments = NULL;
}

/* Its moves found no room a moment ago, and something would have to move. */
static bool rests(const struct candidates *candidates, const struct segment *segment,
                  uint64_t now_ns) {
    /* relaxed: where it just changed, the next look sees it */
    uint64_t live = atomic_load_explicit(&segment->live_bytes, memory_order_relaxed);
    return now_ns < candidates->rest_ns[segment->tier] && live + segment->tombstones > 0;
}

static uint32_t segments_look(struct candidates *candidates, uint64_t now_ns) {
    const struct segments *segments = &candidates->store->segments;
    uint32_t count = 0;
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *segment = &segments->all[id];
        bool writable = tier_state(tier_of(candidates->store, segment)) < TIER_READONLY;
        if (segment_state(segment) != SEGMENT_SEALED || !writable ||
            rests(candidates, segment, now_ns)) {
            continue;
        }
        candidates->segments[count++] = (struct choose_segment){
            .id = id,
            .tier = segment->tier,
            .slow = tier_of(candidates->store, segment)->kind == TIER_HDD,
            .generation = segment->generation,
            .data_bytes =
                atomic_load_explicit(&segment->data_bytes, memory_order_relaxed) - PAGE_BYTES,
            .live_bytes = atomic_load_explicit(&segment->live_bytes, memory_order_relaxed),
            .needed_bytes = segment->tombstones * UINT64_C(2) * RECORD_UNIT,
            .stuck_bytes = segment->stuck_bytes,
        };
    }
    return count;
}

/* What files on a tier take. */
struct use {
    uint64_t bytes;
    uint64_t working; /* of them those that are written or kept ready: nothing in there can move */
};

static struct use used_on(const struct store *store, uint32_t tier) {
    struct use use = {0, 0};
    for (uint32_t id = 1; id < store->segments.top; id++) {
        const struct segment *segment = &store->segments.all[id];
        enum segment_state state = segment_state(segment);
        if (state != SEGMENT_NONE && segment->tier == tier) {
            uint64_t bytes = atomic_load_explicit(&segment->file_bytes, memory_order_relaxed);
            use.bytes += bytes;
            use.working += state == SEGMENT_SPARE || state == SEGMENT_OPEN ? bytes : 0;
        }
    }
    return use;
}

static uint32_t fill_of(const struct use *use, uint64_t space) {
    uint64_t data = use->bytes - use->working;
    uint64_t room = space > use->working ? space - use->working : 0;
    return data < room ? (uint32_t)(data * 1000 / room) : data > 0 ? 1000 : 0;
}

static void tiers_look(struct candidates *candidates) {
    struct store *store = candidates->store;
    const struct disk *disk = &store->config.disk;
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        struct tier *tier = &store->tiers.all[i];
        tier_freed(store, tier); /* or more would leave it than has to */
        struct use use = used_on(store, i);
        bool present = !tier->leaving && tier_state(tier) < TIER_READONLY;
        uint64_t space = tier->size_bytes;
        if (space == 0 && present) {
            int64_t free_bytes = disk->calls->free_bytes(disk->backend, tier->dir);
            space = use.bytes + (free_bytes > 0 ? (uint64_t)free_bytes : 0);
        }
        candidates->tiers[i] = (struct choose_tier){.present = present,
                                                    .slow = tier->kind == TIER_HDD,
                                                    .full = tier_state(tier) == TIER_FULL,
                                                    .fill = fill_of(&use, space)};
    }
}

/* The slow tier with the most room in it. */
static uint32_t slow_tier(const struct candidates *candidates, uint32_t otherwise) {
    uint32_t best = otherwise, least = UINT32_MAX;
    for (uint32_t i = 0; i < candidates->store->tiers.count; i++) {
        const struct choose_tier *tier = &candidates->tiers[i];
        if (tier->present && tier->slow && !tier->full && tier->fill < least) {
            least = tier->fill;
            best = i;
        }
    }
    return best;
}

const struct choose_tier *candidates_tiers(struct candidates *candidates) {
    tiers_look(candidates);
    return candidates->tiers;
}

struct choice candidates_choose(struct candidates *candidates, uint64_t now_ns,
                                uint32_t *ret_slow) {
    const struct segments *segments = &candidates->store->segments;
    uint32_t count = segments_look(candidates, now_ns);
    struct choose_rules rules = choose_default;
    rules.segment_bytes = segments->segment_bytes;
    tiers_look(candidates);
    struct choice choice = choose(&rules, candidates->segments, count, candidates->tiers,
                                  candidates->store->tiers.count);
    if (choice.reason != CHOOSE_NOTHING) {
        *ret_slow = slow_tier(candidates, segments->all[choice.id].tier);
    }
    return choice;
}
