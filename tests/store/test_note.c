/* SPDX-License-Identifier: MIT */
#include "store/note.h"

#include "tests/store/rig.h"

#include <criterion/criterion.h>

/* Notes run at their keeper, in the order they were posted, a bounded number a turn. */

static struct note *ran[64];
static uint32_t ran_count;

static void remember(struct keeper *keeper, struct note *note) {
    cr_assert_eq(keeper->index, 0);
    cr_assert_not(note_done(note), "not before it has run");
    ran[ran_count++] = note;
}

Test(note, they_run_in_order_and_a_turn_is_bounded) {
    struct rig rig;
    rig_start(&rig, 7);
    cr_assert_eq(rig_open(&rig), 0);
    struct keeper *keeper = store_keeper(rig.store, 0);
    struct note notes[NOTE_TURN_MAX + 4];
    (void)store_take_rings(rig.store);
    for (size_t i = 0; i < array_count(notes); i++) {
        notes[i] = (struct note){.run = remember};
        note_post(rig.store, 0, &notes[i]);
    }
    cr_assert(keeper_has_messages(keeper), "a sleeper would see them");
    cr_assert_eq(store_take_rings(rig.store), 1, "its core must be rung");
    cr_assert_eq(store_take_rings(rig.store), 0, "once");
    (void)keeper_poll(keeper, rig.now_ns);
    cr_assert_eq(ran_count, NOTE_TURN_MAX);
    cr_assert(keeper_has_messages(keeper), "the rest waits for the next turn");
    (void)keeper_poll(keeper, rig.now_ns);
    cr_assert_eq(ran_count, array_count(notes));
    cr_assert_not(keeper_has_messages(keeper));
    for (size_t i = 0; i < array_count(notes); i++) {
        cr_assert_eq(ran[i], &notes[i]);
        cr_assert(note_done(&notes[i]));
    }
    rig_end(&rig);
}
