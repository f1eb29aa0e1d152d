/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include <criterion/criterion.h>

/* store/seal.c: what is written when a log has left a segment. */

enum { BLOCKS = 24, BYTES = 3000 };

/* Puts, deletes some, closes with what `plan` does to calls of the disk, counted from the close.
 * Returns: how many calls closing took; opens again and looks at everything. */
static uint64_t close_and_look(const struct sim_plan *plan) {
    struct rig rig;
    rig_start(&rig, 7);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    for (uint32_t i = 0; i < BLOCKS; i += 5) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    uint64_t before = sim_disk_calls(rig.sim);
    sim_disk_plan(rig.sim,
                  &(struct sim_plan){plan->error, before + plan->from, before + plan->to, NULL});
    rig_close(&rig);
    uint64_t calls = sim_disk_calls(rig.sim) - before;
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_FINE});
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert(rig.report.clean);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), i % 5 == 0 ? STORE_ABSENT : 0,
                     "block %u after call %llu", i, (unsigned long long)plan->from);
    }
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    rig_end(&rig);
    return calls;
}

Test(seal, a_read_that_goes_wrong_once_leaves_nothing_out_of_the_footer) {
    uint64_t calls = close_and_look(&(struct sim_plan){.error = SIM_FINE});
    cr_assert_gt(calls, 4);
    for (uint64_t i = 1; i <= calls; i++) {
        (void)close_and_look(&(struct sim_plan){SIM_MISREAD, i, i, NULL});
    }
}
