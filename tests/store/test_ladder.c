/* SPDX-License-Identifier: MIT */
#include "store/ladder.h"

#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>

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

/* Less and less is left, then more and more: every rung is reached, and every rung is left. */
Test(ladder, every_rung_is_reached_and_left_again) {
    enum ladder_rung rung = LADDER_ALL;
    uint32_t up = 0, down = 0;
    for (double parts = 33; parts >= 0; parts -= 0.5) {
        enum ladder_rung next = left_parts(parts, rung).rung;
        cr_assert(next == rung || next == rung + 1, "%s to %s", ladder_names[rung],
                  ladder_names[next]);
        up += next != rung;
        rung = next;
    }
    cr_assert_eq(rung, LADDER_PUTS);
    for (double parts = 0; parts <= 33; parts += 0.5) {
        enum ladder_rung next = left_parts(parts, rung).rung;
        cr_assert(next == rung || next + 1 == rung, "%s to %s", ladder_names[rung],
                  ladder_names[next]);
        down += next != rung;
        rung = next;
    }
    cr_assert_eq(rung, LADDER_ALL);
    cr_assert(up == LADDER_RUNGS - 1 && down == up);
}

/* ---- what the rungs of the store do: reached, and left again. Promotions have theirs in
 * test_promote, copies in tests/engine/test_net_send, puts in tests/engine/test_budget. ---- */

static struct rig rig;

static void start(void) {
    rig_start(&rig, 1);
    cr_assert_eq(rig_open(&rig), 0);
}
static void finish(void) {
    rig_close(&rig);
    rig_end(&rig);
}
TestSuite(rungs, .init = start, .fini = finish);

static void press(enum ladder_rung rung, uint64_t frames_bytes) {
    store_press(rig.store, &(struct ladder_step){rung, frames_bytes});
    rig_turn(&rig);
}

enum { BYTES = 2000, BLOCKS = 3000 }; /* memory holds some 480 of them */

static void read_all(void) {
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    }
}

static uint32_t ghosts(void) {
    uint32_t sum = 0;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        uint64_t places[CATALOG_MATCHES_MAX];
        struct key key;
        (void)rig_block(i, BYTES, &key);
        uint32_t count = catalog_find(&rig.store->catalog, store_hash(rig.store, &key), places);
        cr_assert_eq(count, 1);
        sum += !place_resident(places[0]) && (places[0] & PLACE_GHOST) != 0;
    }
    return sum;
}

Test(rungs, ghosts_are_forgotten_sooner) {
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    read_all();
    uint32_t before = ghosts();
    press(LADDER_GHOSTS, rig.config.memory_bytes);
    read_all();
    uint32_t pressed = ghosts();
    press(LADDER_ALL, rig.config.memory_bytes);
    read_all();
    uint32_t after = ghosts();
    cr_assert_gt(before, 200);
    cr_assert_lt(pressed, before * 7 / 10, "%u before, %u pressed", before, pressed);
    cr_assert_gt(after, before * 8 / 10, "%u before, %u after", before, after);
}

Test(rungs, frames_over_their_share_leave_at_once) {
    const struct evictor *evictor = &rig.store->keepers[0].evictor;
    for (uint32_t i = 0; i < 60; i++) {
        cr_assert_eq(rig_put(&rig, i, 10000), 0);
        cr_assert_eq(rig_get(&rig, i, 10000), 0);
    }
    uint64_t full = evictor_bytes(evictor);
    cr_assert_gt(full, 500000);
    press(LADDER_PROMOTIONS, 200000);
    cr_assert_eq(evictor_bytes(evictor), full, "below that rung they leave for others only");
    press(LADDER_FRAMES, 200000);
    cr_assert_leq(evictor_bytes(evictor), 200000);
    cr_assert_gt(evictor->frames, 0);
    press(LADDER_ALL, rig.config.memory_bytes);
    for (uint32_t i = 0; i < 60; i++) {
        cr_assert_eq(rig_get(&rig, i, 10000), 0);
    }
    cr_assert_eq(evictor_bytes(evictor), full);
}

/* Puts that come together. Returns: in how many group commits they went. */
static uint64_t put_together(uint32_t from) {
    enum { COUNT = 40, SIZE = 20000 };
    static struct store_op ops[COUNT];
    static uint8_t bodies[COUNT][SIZE];
    struct keeper *keeper = store_keeper(rig.store, 0);
    uint64_t before = counter_get(&keeper_counters(keeper)->batches);
    for (uint32_t i = 0; i < COUNT; i++) {
        ops[i] =
            (struct store_op){.kind = STORE_PUT, .bytes = SIZE, .codec = 0x55, .data = bodies[i]};
        memcpy(bodies[i], rig_block(from + i, SIZE, &ops[i].key), SIZE);
        keeper_begin(keeper, &ops[i]);
    }
    for (uint32_t done = 0, turns = 0; done < COUNT; turns++) {
        cr_assert_lt(turns, 10000);
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
        for (struct store_op *op; (op = keeper_done(keeper)) != NULL; done++) {
            cr_assert_eq(op->result, 0);
        }
    }
    return counter_get(&keeper_counters(keeper)->batches) - before;
}

Test(rungs, group_commits_are_small) {
    cr_assert_eq(rig_put(&rig, 9999, 100), 0); /* a segment is open */
    uint64_t before = put_together(0);
    press(LADDER_COPIES, rig.config.memory_bytes);
    uint64_t below = put_together(100);
    press(LADDER_BATCHES, rig.config.memory_bytes);
    uint64_t pressed = put_together(200);
    press(LADDER_ALL, rig.config.memory_bytes);
    uint64_t after = put_together(300);
    cr_assert_leq(before, 3);
    cr_assert_leq(below, 3);
    cr_assert_geq(pressed, 6, "800 KB in parts of 128 KiB: %llu", (unsigned long long)pressed);
    cr_assert_leq(after, 3);
}
