/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* store/log.c: when a batch closes. */

enum { PUTS = 24, BYTES = 5000 };

struct line {
    struct rig rig;
    struct keeper *keeper;
    struct store_op ops[PUTS];
    uint32_t begun, ended;
};

static void line_start(struct line *line) {
    rig_start(&line->rig, 3);
    cr_assert_eq(rig_open(&line->rig), 0, "%s", line->rig.report.why);
    line->keeper = store_keeper(line->rig.store, 0);
}

static void line_put(struct line *line) {
    struct store_op *op = &line->ops[line->begun];
    static uint8_t bodies[PUTS][BYTES];
    *op = (struct store_op){.kind = STORE_PUT, .bytes = BYTES, .codec = 0x55};
    memcpy(bodies[line->begun], rig_block(line->begun, BYTES, &op->key), BYTES);
    op->data = bodies[line->begun++];
    keeper_begin(line->keeper, op);
}

/* So much later: what is due is begun, nothing on the disk ends. */
static void line_wait(struct line *line, uint64_t ns) {
    line->rig.now_ns += ns;
    (void)keeper_poll(line->keeper, line->rig.now_ns);
}

static uint64_t batches(const struct line *line) {
    return counter_get(&keeper_counters(line->keeper)->batches);
}

static void line_end(struct line *line) {
    for (uint32_t i = 0; i < 1000 && line->ended < line->begun; i++) {
        rig_turn(&line->rig);
        (void)store_housekeep(line->rig.store);
        for (struct store_op *op; (op = keeper_done(line->keeper)) != NULL; line->ended++) {
            cr_assert_eq(op->result, 0);
        }
    }
    cr_assert_eq(line->ended, line->begun);
    cr_assert_leq(batches(line), LOG_WRITES_MAX + 1, "the rest went together");
    rig_end(&line->rig);
}

Test(log, a_batch_goes_at_once_where_no_write_is_out_and_else_after_its_time) {
    struct line line = {0};
    line_start(&line);
    line_put(&line);
    line_wait(&line, 0);
    cr_assert_eq(batches(&line), 1);
    for (uint32_t i = 2; i <= LOG_WRITES_MAX; i++) {
        line_put(&line);
        line_wait(&line, 0);
        cr_assert_eq(batches(&line), i - 1, "it waits for company");
        cr_assert_eq(keeper_due_ns(line.keeper), line.rig.now_ns + LOG_CLOSE_NS);
        line_wait(&line, LOG_CLOSE_NS);
        cr_assert_eq(batches(&line), i);
    }
    line_end(&line);
}

Test(log, a_batch_that_cannot_be_written_yet_goes_on_filling) {
    struct line line = {0};
    line_start(&line);
    for (uint32_t i = 0; i < LOG_WRITES_MAX; i++) {
        line_put(&line);
        line_wait(&line, 2 * LOG_CLOSE_NS);
    }
    cr_assert_eq(batches(&line), LOG_WRITES_MAX);
    while (line.begun < PUTS) {
        line_put(&line);
        line_wait(&line, 2 * LOG_CLOSE_NS);
        cr_assert_eq(keeper_due_ns(line.keeper), UINT64_MAX, "nothing to do till a write is in");
    }
    cr_assert(sim_disk_step(line.rig.sim));
    line_wait(&line, 0);
    cr_assert_eq(batches(&line), LOG_WRITES_MAX + 1);
    line_end(&line);
}
