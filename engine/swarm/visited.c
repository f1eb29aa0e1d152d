/* SPDX-License-Identifier: MIT */
#include "engine/swarm/visited.h"

#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <string.h>

#define PART_ROOM_MIN 16u

void visited_init(struct visited *visited, const struct lender *lender, uint64_t entries_max) {
    *visited = (struct visited){.lender = *lender, .entries_max = entries_max};
}

void visited_fini(struct visited *visited) {
    for (uint32_t i = 0; i < VISITED_PARTS; i++) {
        if (visited->parts[i].slots) {
            visited->lender.give(visited->lender.context, visited->parts[i].slots,
                                 visited->parts[i].room * sizeof(uint64_t));
        }
    }
    visited_init(visited, &visited->lender, visited->entries_max);
}

/* The slot that holds `hash`, or the empty one where it belongs. */
static uint64_t *find_slot(uint64_t *slots, uint32_t room, uint64_t hash) {
    uint32_t at = (uint32_t)hash & (room - 1);
    while (slots[at] != 0 && slots[at] != hash) {
        at = (at + 1) & (room - 1);
    }
    return &slots[at];
}

static uint64_t never_zero(uint64_t hash) {
    return hash ? hash : 1;
}

/* Doubles one part once it is three quarters full. */
static int make_room(struct visited *visited, uint32_t part) {
    uint32_t room = visited->parts[part].room;
    uint64_t *old = visited->parts[part].slots;
    if (visited->parts[part].used < room / 4 * 3) {
        return 0;
    }
    uint32_t wanted = room ? 2 * room : PART_ROOM_MIN;
    size_t bytes = wanted * sizeof(uint64_t);
    uint64_t *slots = visited->lender.take(visited->lender.context, bytes);
    if (!slots) {
        return err_raise(-ENOMEM);
    }
    memset(slots, 0, bytes);
    for (uint32_t i = 0; i < room; i++) {
        if (old[i] != 0) {
            *find_slot(slots, wanted, old[i]) = old[i];
        }
    }
    if (old) {
        visited->lender.give(visited->lender.context, old, room * sizeof(uint64_t));
    }
    visited->bytes += bytes - room * sizeof(uint64_t);
    visited->parts[part].slots = slots;
    visited->parts[part].room = wanted;
    return 0;
}

int visited_add(struct visited *visited, uint64_t hash) {
    hash = never_zero(hash);
    uint32_t part = (uint32_t)(hash >> 56);
    if (visited_has(visited, hash)) {
        return VISITED_SEEN;
    }
    if (visited->entries == visited->entries_max) {
        return VISITED_FULL;
    }
    int r = make_room(visited, part);
    if (r < 0) {
        return r;
    }
    *find_slot(visited->parts[part].slots, visited->parts[part].room, hash) = hash;
    visited->parts[part].used++;
    visited->entries++;
    return 0;
}

bool visited_has(const struct visited *visited, uint64_t hash) {
    hash = never_zero(hash);
    uint32_t part = (uint32_t)(hash >> 56);
    return visited->parts[part].room &&
           *find_slot(visited->parts[part].slots, visited->parts[part].room, hash) == hash;
}
