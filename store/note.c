/* SPDX-License-Identifier: MIT */
#include "store/note.h"

#include "base/must.h"
#include "store/inside.h"

void note_post(struct store *store, uint32_t index, struct note *note) {
    must(index < store->config.keepers);
    struct keeper *keeper = &store->keepers[index];
    atomic_store_explicit(&note->done, false, memory_order_relaxed); /* the push below publishes */
    struct note *head = atomic_load_explicit(&keeper->notes, memory_order_relaxed);
    do {
        note->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&keeper->notes, &head, note,
                                                    memory_order_release, /* pairs with note_poll */
                                                    memory_order_relaxed));
    store->porter->rings |= UINT64_C(1) << index;
}

/* The stack has the newest first; notes are run in the order they were posted. */
static void take_all(struct keeper *keeper) {
    struct note *note = atomic_exchange_explicit(&keeper->notes, NULL, memory_order_acquire);
    struct note *taken = NULL;
    while (note) {
        struct note *next = note->next;
        note->next = taken;
        taken = note;
        note = next;
    }
    struct note **tail = &keeper->notes_taken;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = taken;
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
