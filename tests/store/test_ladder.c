/* SPDX-License-Identifier: MIT */
#include "store/ladder.h"

#include <criterion/criterion.h>

#define BUDGET (64 * MiB)
#define MEANT  (32 * MiB)

/* What is left for frames, in thirty-seconds of what was meant for them, beside the margin. */
static struct ladder_step left_parts(double parts, enum ladder_rung before) {
    uint64_t left = (uint64_t)(parts * (double)(MEANT / 32));
    return ladder_step(&(struct ladder_view){.budget_bytes = BUDGET,
                                             .resident_bytes = BUDGET - BUDGET / 32 - left,
                                             .frames_max = MEANT},
                       before);
}

Test(ladder, without_a_budget_everything_fits) {
    struct ladder_view view = {.resident_bytes = 1 << 30, .frames_max = MEANT};
    struct ladder_step step = ladder_step(&view, LADDER_PUTS);
    cr_assert_eq(step.rung, LADDER_ALL);
    cr_assert_eq(step.frames_bytes, MEANT);
}

Test(ladder, every_rung_has_its_threshold_and_order) {
    static const double parts[LADDER_RUNGS] = {32.5, 31.5, 23.5, 15.5, 7.5, 3.5, 0.5};
    for (uint32_t rung = 0; rung < LADDER_RUNGS; rung++) {
        cr_assert_eq(left_parts(parts[rung], LADDER_ALL).rung, rung, "%s", ladder_names[rung]);
        cr_assert_not_null(ladder_reasons[rung]);
    }
    cr_assert_eq(left_parts(0, LADDER_ALL).rung, LADDER_PUTS);
    cr_assert_eq(left_parts(0, LADDER_ALL).frames_bytes, 0);
}

Test(ladder, less_left_never_means_a_lower_rung_nor_more_for_frames) {
    for (uint32_t before = 0; before < LADDER_RUNGS; before++) {
        struct ladder_step last = left_parts(40, (enum ladder_rung)before);
        for (double parts = 40; parts >= 0; parts -= 0.25) {
            struct ladder_step step = left_parts(parts, (enum ladder_rung)before);
            cr_assert_geq(step.rung, last.rung);
            cr_assert_leq(step.frames_bytes, last.frames_bytes);
            last = step;
        }
    }
}

Test(ladder, a_rung_is_left_only_when_clearly_more_is_left) {
    cr_assert_eq(left_parts(4.5, LADDER_BATCHES).rung, LADDER_BATCHES);
    cr_assert_eq(left_parts(4.5, LADDER_COPIES).rung, LADDER_COPIES);
    cr_assert_eq(left_parts(5.5, LADDER_BATCHES).rung, LADDER_COPIES);
    cr_assert_eq(left_parts(1.5, LADDER_PUTS).rung, LADDER_PUTS);
    cr_assert_eq(left_parts(2.5, LADDER_PUTS).rung, LADDER_BATCHES);
    cr_assert_eq(left_parts(32, LADDER_GHOSTS).rung, LADDER_ALL, "all of it is all of it");
}

/* Frames do not climb the ladder by their own weight, and buffers count before they are touched. */
Test(ladder, frames_give_way_to_what_is_counted_and_to_what_is_there) {
    struct ladder_view view = {.budget_bytes = BUDGET,
                               .resident_bytes = 40 * MiB,
                               .frames_bytes = 30 * MiB,
                               .frames_max = MEANT};
    cr_assert_eq(ladder_step(&view, LADDER_ALL).rung, LADDER_ALL);
    view.index_bytes = 20 * MiB;
    view.buffers_bytes = 26 * MiB;
    struct ladder_step step = ladder_step(&view, LADDER_ALL);
    cr_assert_eq(step.frames_bytes, 16 * MiB);
    cr_assert_eq(step.rung, LADDER_PROMOTIONS);
    view.lent_bytes = 8 * MiB;
    step = ladder_step(&view, LADDER_ALL);
    cr_assert_eq(step.frames_bytes, 8 * MiB);
    cr_assert_eq(step.rung, LADDER_FRAMES);
    view.resident_bytes = 100 * MiB; /* more than we know of */
    cr_assert_eq(ladder_step(&view, LADDER_ALL).rung, LADDER_PUTS);
}
