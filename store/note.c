/* SPDX-License-Identifier: MIT */
#include "store/note.h"

#include "base/must.h"
#include "base/pile.h"
#include "store/inside.h"

void note_post(struct store *store, uint32_t index, struct note *note) {
    must(index < store->config.keepers);
    struct keeper *keeper = &store->keepers[index];
    atomic_store_explicit(&note->done, false, memory_order_relaxed); /* the push below publishes */
    pile_push(&keeper->notes, note);
    store->porter->rings |= UINT64_C(1) << index;
}

static void take_all(struct keeper *keeper) {
    struct note **tail = &keeper->notes_taken;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = pile_take(&keeper->notes);
}

uint32_t note_poll(struct keeper *keeper) {
    if (atomic_load_explicit(&keeper->notes, memory_order_relaxed)) {
        take_all(keeper);
    }
    uint32_t count = 0;
    for (; keeper->notes_taken && count < NOTE_TURN_MAX; count++) {
        struct note *note = keeper->notes_taken;
        keeper->notes_taken = note->next;
        note->run(keeper, note);
        /* release: what was done comes before; the note is the poster's again */
        atomic_store_explicit(&note->done, true, memory_order_release);
    }
    return count;
}
