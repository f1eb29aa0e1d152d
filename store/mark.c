/* SPDX-License-Identifier: MIT */
#include "store/mark.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/vm.h"

#include <errno.h>

#define ROOM_FIRST 4096u

void mark_init(struct mark *mark, uint64_t bytes_max) {
    *mark = (struct mark){.bytes_max = bytes_max};
}

void mark_fini(struct mark *mark) {
    vm_unmap(mark->slots, mark_bytes(mark));
    *mark = (struct mark){.bytes_max = mark->bytes_max};
}

static uint64_t *slot_of(const struct mark *mark, uint64_t hash) {
    uint64_t at = (hash >> 8) & (mark->room - 1); /* the low byte is the shard's, in part */
    while (mark->slots[at] != 0 && mark->slots[at] != hash) {
        at = (at + 1) & (mark->room - 1);
    }
    return &mark->slots[at];
}

static int grow(struct mark *mark) {
    struct mark wider = {.room = mark->room ? mark->room * 2 : ROOM_FIRST,
                         .count = mark->count,
                         .bytes_max = mark->bytes_max};
    if (mark_bytes(&wider) > mark->bytes_max) {
        return MARK_FULL;
    }
    wider.slots = vm_map_huge(mark_bytes(&wider));
    if (!wider.slots) {
        return err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < mark->room; i++) {
        if (mark->slots[i] != 0) {
            *slot_of(&wider, mark->slots[i]) = mark->slots[i];
        }
    }
    vm_unmap(mark->slots, mark_bytes(mark));
    *mark = wider;
    return 0;
}

int mark_add(struct mark *mark, uint64_t hash) {
    hash = hash ? hash : 1;
    if (mark->room > 0) {
        uint64_t *slot = slot_of(mark, hash);
        if (*slot == hash) {
            return MARK_SEEN;
        }
        if (mark->count + 1 <= mark->room / 4 * 3) {
            *slot = hash;
            mark->count++;
            return 0;
        }
    }
    int r = grow(mark);
    if (r == 0) {
        *slot_of(mark, hash) = hash;
        mark->count++;
    }
    return r;
}

bool mark_has(const struct mark *mark, uint64_t hash) {
    hash = hash ? hash : 1;
    return mark->room > 0 && *slot_of(mark, hash) == hash;
}
