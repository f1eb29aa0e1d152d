/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* store/seal.c: what is written when a log has left a segment, and store/roll.c: what the log knows
 * of it. */

enum { BLOCKS = 24, BYTES = 3000 };

/* How much of a segment its log can keep in mind; less: the segment is read back. */
enum mind { MIND_ALL = 1 << 16, MIND_SOME = 7, MIND_NONE = 0 };

static void open_with(struct rig *rig, enum mind mind) {
    cr_assert_eq(rig_open(rig), 0, "%s", rig->report.why);
    for (uint32_t i = 0; i < LOG_ROLLS; i++) {
        struct roll *roll = &store_keeper(rig->store, 0)->log.rolls[i];
        roll->max = roll->max < (uint32_t)mind ? roll->max : (uint32_t)mind;
    }
}

static void fill(struct rig *rig, enum mind mind) {
    rig_start(rig, 7);
    open_with(rig, mind);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(rig, i, BYTES), 0);
    }
    for (uint32_t i = 0; i < BLOCKS; i += 5) {
        cr_assert_eq(rig_delete(rig, i, BYTES), 0);
    }
}

/* Puts, deletes some, closes with what `plan` does to calls of the disk, counted from the close.
 * Returns: how many calls closing took; opens again and looks at everything. */
static uint64_t close_and_look(const struct sim_plan *plan, enum mind mind) {
    struct rig rig;
    fill(&rig, mind);
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

static void misread_each_call(enum mind mind) {
    uint64_t calls = close_and_look(&(struct sim_plan){.error = SIM_FINE}, mind);
    cr_assert_gt(calls, 4);
    for (uint64_t i = 1; i <= calls; i++) {
        (void)close_and_look(&(struct sim_plan){SIM_MISREAD, i, i, NULL}, mind);
    }
}

Test(seal, a_read_that_goes_wrong_once_leaves_nothing_out_of_the_footer) {
    misread_each_call(MIND_NONE);
    misread_each_call(MIND_SOME);
    misread_each_call(MIND_ALL);
}

/* Of the segment that all was put into. */
static void segment_name(struct rig *rig, char path[SEGMENT_PATH_MAX]) {
    segment_path(&rig->store->segments, place_spot(rig_place(rig, 1, BYTES)).segment, path);
}

/* A store that was closed. Returns: a copy of its one segment, the caller's to free. */
static uint8_t *sealed_bytes(enum mind mind, uint64_t *ret_bytes, uint64_t *ret_calls) {
    struct rig rig;
    fill(&rig, mind);
    uint8_t payload[PIN_PAYLOAD_MAX];
    struct store_pin pin = {.mode = STORE_PIN_DIRECT, .codec = 0x55, .name = "kept"};
    struct store_op op = {.kind = STORE_PIN, .codec = 0x55, .data = payload};
    (void)rig_block(1, BYTES, &pin.key);
    op.key = pin.key;
    op.bytes = pin_write(&pin, payload);
    cr_assert_eq(rig_do(&rig, &op), 0);
    char name[SEGMENT_PATH_MAX];
    segment_name(&rig, name);
    return rig_closed_bytes(&rig, name, ret_bytes, ret_calls);
}

Test(seal, what_a_log_knows_of_its_segment_makes_the_footer_that_reading_it_would) {
    uint64_t read_bytes, told_bytes, read_calls, told_calls;
    uint8_t *read = sealed_bytes(MIND_NONE, &read_bytes, &read_calls);
    uint8_t *told = sealed_bytes(MIND_ALL, &told_bytes, &told_calls);
    cr_assert_eq(read_bytes, told_bytes);
    cr_assert_eq(memcmp(read, told, read_bytes), 0);
    cr_assert_lt(told_calls, read_calls, "it was not read");
    free(read);
    free(told);
}

/* A tombstone on the platter. Returns: where, or 0. */
static uint64_t find_tombstone(const struct rig *rig, const char *name) {
    uint64_t count = 0;
    const uint8_t *bytes = sim_disk_bytes(rig->sim, name, &count);
    for (uint64_t at = PAGE_BYTES; at + RECORD_FIXED <= count; at += RECORD_UNIT) {
        const struct record_header *record = (const void *)(bytes + at);
        if (record->magic == RECORD_MAGIC && record->type == RECORD_TOMBSTONE) {
            return at;
        }
    }
    return 0;
}

Test(seal, what_rots_before_it_is_sealed_is_named_and_so_found_damaged_and_not_absent) {
    struct rig rig;
    fill(&rig, MIND_ALL);
    rig_spoil(&rig, rig_place(&rig, 1, BYTES), 20);
    char name[SEGMENT_PATH_MAX];
    segment_name(&rig, name);
    uint64_t at = find_tombstone(&rig, name);
    cr_assert_neq(at, 0);
    sim_disk_spoil(rig.sim, name, at, "rotten", 6);
    rig_close(&rig);
    (void)rig_forget(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig_get(&rig, 1, BYTES), STORE_CORRUPT);
    for (uint32_t i = 2; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), i % 5 == 0 ? STORE_ABSENT : 0);
    }
    cr_assert_eq(rig_get(&rig, 0, BYTES), STORE_ABSENT, "its deletion holds");
    rig_end(&rig);
}

/* Rolls come back, whatever became of their segments. */
Test(seal, every_segment_of_a_log_is_sealed_by_what_it_knows) {
    struct rig rig;
    rig_start(&rig, 7);
    open_with(&rig, MIND_ALL);
    const uint32_t big = 1000000;
    for (uint32_t i = 0; i < 20; i++) { /* three fill a segment */
        cr_assert_eq(rig_put(&rig, i, big), 0);
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
        uint32_t left = 0;
        for (uint32_t n = 0; n < LOG_ROLLS; n++) {
            left += roll_state(&store_keeper(rig.store, 0)->log.rolls[n]) == ROLL_LEFT;
        }
        cr_assert_eq(left, 0);
        cr_assert_not_null(store_keeper(rig.store, 0)->log.roll);
    }
    rig_close(&rig);
    cr_assert_gt(rig_forget(&rig), 0);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t i = 0; i < 20; i++) {
        cr_assert_eq(rig_get(&rig, i, big), 0);
    }
    rig_end(&rig);
}
