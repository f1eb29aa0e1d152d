/* SPDX-License-Identifier: MIT */
#include "store/aborts.h"

#include "base/bits.h"
#include "store/catalog.h"
#include "store/scan.h"

#define LOOKS 64u

bool aborts_add(struct aborts *aborts, uint64_t place) {
    uint32_t at = place_spot(place).offset_units;
    for (uint32_t i = 0; i < LOOKS; i++) {
        _Atomic uint64_t *slot = &aborts->places[(at + i) % ABORTS_MAX];
        uint64_t free_one = 0;
        /* relaxed: whoever seals sees it by segment->undecided, which goes down after this */
        if (atomic_load_explicit(slot, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(slot, &free_one, place, memory_order_relaxed,
                                                    memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* The place, if it is in this segment; else 0. */
static uint64_t of_segment(const struct aborts *aborts, uint32_t slot, uint32_t segment) {
    uint64_t place = atomic_load_explicit(&aborts->places[slot], memory_order_relaxed);
    return place != 0 && place_spot(place).segment == segment ? place : 0;
}

/* Entries stand in the order of their offsets. */
static void leave_out(struct scan *scan, uint32_t offset_units) {
    uint64_t low = 0, high = scan->entry_count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        bool before = scan->entries[middle].entry.offset_units < offset_units;
        low = before ? middle + 1 : low;
        high = before ? high : middle;
    }
    if (low < scan->entry_count && scan->entries[low].entry.offset_units == offset_units) {
        scan->entries[low].accepted = false;
    }
}

void aborts_leave_out(const struct aborts *aborts, uint32_t segment, struct scan *scan) {
    for (uint32_t i = 0; i < ABORTS_MAX; i++) {
        uint64_t place = of_segment(aborts, i, segment);
        if (place != 0) {
            leave_out(scan, place_spot(place).offset_units);
        }
    }
}

void aborts_forget(struct aborts *aborts, uint32_t segment) {
    for (uint32_t i = 0; i < ABORTS_MAX; i++) {
        if (of_segment(aborts, i, segment) != 0) {
            atomic_store_explicit(&aborts->places[i], 0, memory_order_relaxed);
        }
    }
}
