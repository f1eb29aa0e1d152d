/* SPDX-License-Identifier: MIT */
#include "store/porter.h"

#include "tests/store/rig.h"

#include <criterion/criterion.h>

/* The queue of long requests; what each kind of task does is its own file's test. */

Test(porter, a_task_of_no_kind_is_refused) {
    struct rig rig;
    rig_start(&rig, 8);
    cr_assert_eq(rig_open(&rig), 0);
    struct store_task task = {.kind = STORE_TASK_NONE};
    cr_assert_eq(store_task_begin(rig.store, &task), STORE_READONLY);
    cr_assert_eq(store_maintain(rig.store, rig.now_ns), 0, "nothing to do");
    rig_end(&rig);
}

static uint32_t finished;
static void count_finished(struct store_op *op) {
    cr_assert_eq(op->result, 0);
    finished++;
}

Test(porter, an_operation_of_the_stores_own_ends_at_its_maker) {
    struct rig rig;
    rig_start(&rig, 9);
    cr_assert_eq(rig_open(&rig), 0);
    struct keeper *keeper = store_keeper(rig.store, 0);
    struct store_op op = {.kind = STORE_PUT, .bytes = 100, .codec = 0x55, .done = count_finished};
    op.data = rig_block(1, 100, &op.key);
    keeper_begin(keeper, &op);
    for (uint32_t i = 0; i < 100 && finished == 0; i++) {
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
        cr_assert_null(keeper_done(keeper), "it never comes out of the door");
    }
    cr_assert_eq(finished, 1);
    cr_assert(keeper_idle(keeper));
    cr_assert_eq(rig_get(&rig, 1, 100), 0);
    rig_end(&rig);
}
