/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include <criterion/criterion.h>

/* store/spare.c: how far ahead of a log space is written with zeroes. */

Test(spare, zeroes_go_ahead_of_logs_with_small_commits_alone) {
    static const struct {
        enum segment_state state;
        uint32_t commit_bytes;
        uint64_t ahead;
    } cases[] = {
        {SEGMENT_OPEN, 0, HOUSEKEEP_AHEAD}, /* not known: it may be the first */
        {SEGMENT_OPEN, 8 * KiB, HOUSEKEEP_AHEAD},
        {SEGMENT_OPEN, HOUSEKEEP_SMALL - 1, HOUSEKEEP_AHEAD},
        {SEGMENT_OPEN, HOUSEKEEP_SMALL, 0},
        {SEGMENT_OPEN, UINT32_MAX, 0},
        {SEGMENT_SPARE, 0, HOUSEKEEP_STEP},
        {SEGMENT_SPARE, 8 * KiB, HOUSEKEEP_STEP},
        {SEGMENT_SPARE, MiB, 0},
        {SEGMENT_NONE, 0, 0},
        {SEGMENT_CLOSED, 0, 0},
        {SEGMENT_SEALED, 8 * KiB, 0},
        {SEGMENT_DYING, 8 * KiB, 0},
    };
    for (uint32_t i = 0; i < array_count(cases); i++) {
        cr_assert_eq(spare_ahead(cases[i].state, cases[i].commit_bytes), cases[i].ahead, "%u", i);
    }
}

/* Puts one after the other, and lets housekeeping do what it wants. Returns: bytes that are ready
 * behind the last of them. */
static uint64_t ready_after(uint32_t bytes, uint32_t puts) {
    struct rig rig;
    rig_start(&rig, 11);
    rig.config.segment_bytes = 64 * MiB;
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t i = 0; i < puts; i++) {
        cr_assert_eq(rig_put(&rig, i, bytes), 0);
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
    }
    const struct segment *open = store_keeper(rig.store, 0)->log.open;
    uint64_t ready = prewrite_zeroed(open) - atomic_load(&open->data_bytes);
    rig_end(&rig);
    return ready;
}

Test(spare, a_log_of_small_commits_finds_its_space_written) {
    cr_assert_gt(ready_after(4 * KiB, 40), 4 * MiB);
}

Test(spare, a_log_of_large_commits_writes_every_byte_once) {
    cr_assert_eq(ready_after(MiB, 20), 0);
}
