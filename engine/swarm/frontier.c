/* SPDX-License-Identifier: MIT */
#include "engine/swarm/frontier.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <string.h>

#define FRONTIER_ROOM_MIN (4 * KiB)

static_assert(CID_BYTES_MAX <= UINT8_MAX, "an entry's length is one byte");

void frontier_init(struct frontier *frontier, const struct lender *lender, size_t bytes_max) {
    *frontier = (struct frontier){.lender = *lender, .bytes_max = bytes_max};
}

void frontier_fini(struct frontier *frontier) {
    if (frontier->bytes) {
        frontier->lender.give(frontier->lender.context, frontier->bytes, frontier->room);
    }
    frontier_init(frontier, &frontier->lender, frontier->bytes_max);
}

static int make_room(struct frontier *frontier, size_t more) {
    if (frontier->used + more <= frontier->room) {
        return 0;
    }
    if (frontier->used + more > frontier->bytes_max) {
        return FRONTIER_FULL;
    }
    size_t room = frontier->room ? 2 * frontier->room : FRONTIER_ROOM_MIN;
    room = min_u64(room, max_u64(frontier->bytes_max, FRONTIER_ROOM_MIN));
    uint8_t *bytes = frontier->lender.take(frontier->lender.context, room);
    if (!bytes) {
        return err_raise(-ENOMEM);
    }
    if (frontier->bytes) {
        memcpy(bytes, frontier->bytes, frontier->used);
        frontier->lender.give(frontier->lender.context, frontier->bytes, frontier->room);
    }
    frontier->bytes = bytes;
    frontier->room = room;
    return 0;
}

int frontier_push(struct frontier *frontier, const struct cid *cid) {
    int r = make_room(frontier, CID_BYTES_MAX + 2);
    if (r != 0) {
        return r;
    }
    uint8_t *entry = frontier->bytes + frontier->used;
    size_t count = cid_write(cid, entry + 1);
    entry[0] = entry[count + 1] = (uint8_t)count;
    frontier->used += count + 2;
    frontier->entries++;
    return 0;
}

static void turn(uint8_t *bytes, size_t count) {
    for (size_t i = 0, j = count; i + 1 < j; i++) {
        j--;
        uint8_t byte = bytes[i];
        bytes[i] = bytes[j];
        bytes[j] = byte;
    }
}

void frontier_turn(struct frontier *frontier, size_t mark) {
    must(mark <= frontier->used);
    if (mark == frontier->used) {
        return;
    }
    turn(frontier->bytes + mark, frontier->used - mark);
    for (size_t at = mark; at < frontier->used;) {
        size_t count = frontier->bytes[at];
        turn(frontier->bytes + at + 1, count);
        at += count + 2;
    }
}

bool frontier_pop(struct frontier *frontier, struct cid *ret_cid) {
    if (frontier->used == 0) {
        return false;
    }
    size_t count = frontier->bytes[frontier->used - 1];
    size_t used = 0;
    must(count + 2 <= frontier->used);
    int r = cid_read(frontier->bytes + frontier->used - 1 - count, count, ret_cid, &used);
    must(r == 0 && used == count); /* it was written here */
    frontier->used -= count + 2;
    frontier->entries--;
    return true;
}
