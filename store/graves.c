/* SPDX-License-Identifier: MIT */
#include "store/graves.h"

#include "base/bits.h"
#include "store/vm.h"

struct graves *graves_open(void) {
    return vm_map(sizeof(struct graves));
}

void graves_close(struct graves *graves) {
    vm_unmap(graves, sizeof *graves);
}

/* Its slot, or the free one where it would stand: half of them are. */
static uint32_t slot_of(const struct graves *graves, const struct grave *grave) {
    uint32_t at = (uint32_t)grave->hash & (GRAVES_SLOTS - 1);
    while (graves->slots[at].hash != 0 &&
           !(graves->slots[at].hash == grave->hash && graves->slots[at].check == grave->check)) {
        at = (at + 1) & (GRAVES_SLOTS - 1);
    }
    return at;
}

void graves_add(struct graves *graves, const struct grave *grave) {
    struct grave *slot = &graves->slots[slot_of(graves, grave)];
    if (slot->hash == 0 && graves->count == GRAVES_MAX) {
        graves->full = true;
        return;
    }
    graves->count += slot->hash == 0;
    uint64_t lsn = max_u64(slot->lsn, grave->lsn);
    *slot = (struct grave){grave->hash, grave->check, lsn};
}

bool graves_dead(const struct graves *graves, const struct grave *born) {
    const struct grave *slot = &graves->slots[slot_of(graves, born)];
    return slot->hash != 0 && slot->lsn >= born->lsn;
}
