/* SPDX-License-Identifier: MIT */
/* Pins that walk and collections that mark and sweep: store/gc.c, store/pinning.c, store/dag.c,
 * store/mark.c. */
#include "store/gc.h"

#include "base/cid.h"
#include "store/ages.h"
#include "store/dag.h"
#include "store/reach.h"
#include "store/sweep.h"
#include "tests/store/garden.h"

#include <criterion/criterion.h>
#include <string.h>

static struct rig rig;

#define HOUR (3600 * NS_PER_S)

/* A tree: 6 -> {4 -> {0, 1}, 5 -> {1, 2}}; 7 -> {3}, 8 a block alone. */
static void start(uint64_t seed, uint32_t keepers) {
    rig_start(&rig, seed);
    rig.config.keepers = keepers;
    rig.config.links = garden_links;
    rig.config.gc_grace_ns = HOUR;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < 4; i++) {
        garden_plant(i, false, NULL, 0);
    }
    garden_plant(4, true, (uint32_t[]){0, 1}, 2);
    garden_plant(5, true, (uint32_t[]){1, 2}, 2);
    garden_plant(6, true, (uint32_t[]){4, 5}, 2);
    garden_plant(7, true, (uint32_t[]){3}, 1);
    garden_plant(8, true, NULL, 0);
    for (uint32_t i = 0; i < 9; i++) {
        cr_assert_eq(garden_put(&rig, i), 0);
    }
}

static void expect_left(const char *numbers) {
    for (uint32_t i = 0; i < 9; i++) {
        bool wanted = strchr(numbers, (int)('0' + i)) != NULL;
        cr_assert_eq(garden_has(&rig, i), wanted, "block %u", i);
    }
}

Test(gc, what_no_pin_reaches_goes_and_all_else_stays) {
    start(1, 2);
    struct store_task task;
    cr_assert_eq(garden_pin(&rig, 6, STORE_PIN_RECURSIVE, &task), 0);
    cr_assert_eq(task.seen, 6, "each block once");
    cr_assert_eq(garden_pin(&rig, 7, STORE_PIN_DIRECT, NULL), 0);
    cr_assert_eq(garden_gc(&rig, 0, true, &task), 0);
    cr_assert_eq(task.blocks, 2);
    uint64_t bytes = task.bytes;
    expect_left("012345678");
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0);
    cr_assert_eq(task.blocks, 2, "as the dry run said");
    cr_assert_eq(task.bytes, bytes);
    expect_left("0124567");
    cr_assert_eq(garden_unpin(&rig, 6), 0);
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0);
    expect_left("7");
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    expect_left("7");
    uint64_t live = 0;
    for (uint32_t id = 1; id < rig.store->segments.top; id++) {
        live += rig.store->segments.all[id].live_bytes;
    }
    cr_assert_eq(live, 128, "what is left, and no more");
    rig_end(&rig);
}

Test(gc, young_blocks_stay_for_the_grace) {
    start(2, 2);
    struct store_task task;
    cr_assert_eq(garden_gc(&rig, UINT64_MAX, false, &task), 0);
    cr_assert_eq(task.blocks, 0, "nothing is as old");
    uint64_t before = rig.now_ns;
    for (; rig.now_ns < before + HOUR / 2; rig.now_ns += 20 * NS_PER_S) {
        garden_step(&rig);
    }
    garden_plant(9, false, NULL, 0);
    cr_assert_eq(garden_put(&rig, 9), 0);
    cr_assert_eq(garden_gc(&rig, HOUR, false, &task), 0);
    cr_assert_eq(task.blocks, 0);
    for (; rig.now_ns < before + HOUR + 120 * NS_PER_S; rig.now_ns += 20 * NS_PER_S) {
        garden_step(&rig);
    }
    cr_assert_eq(garden_gc(&rig, UINT64_MAX, false, &task), 0);
    cr_assert_eq(task.blocks, 9);
    cr_assert(garden_has(&rig, 9), "it is half an hour old");
    rig_end(&rig);
}

Test(gc, blocks_of_an_earlier_start_are_as_old_as_this_one) {
    start(3, 1);
    struct store_task task;
    rig_close(&rig);
    rig.config.keepers = 3;
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(garden_gc(&rig, HOUR, false, &task), 0);
    cr_assert_eq(task.blocks, 0);
    rig.now_ns += HOUR + NS_PER_S;
    cr_assert_eq(garden_gc(&rig, HOUR, false, &task), 0);
    cr_assert_eq(task.blocks, 9);
    rig_end(&rig);
}

Test(gc, a_grace_of_nothing_frees_earlier_starts_at_once) {
    start(4, 1);
    struct store_task task;
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0);
    cr_assert_eq(task.blocks, 9);
    rig_end(&rig);
}

Test(gc, a_pin_of_what_is_not_all_here_names_the_block) {
    start(5, 2);
    cr_assert_eq(garden_delete(&rig, 2), 0);
    struct store_task task;
    cr_assert_eq(garden_pin(&rig, 6, STORE_PIN_RECURSIVE, &task), STORE_ABSENT);
    struct cid cid;
    char text[CID_TEXT_MAX];
    cid_of_key(&garden[2].key, CID_RAW, &cid);
    cid_format(&cid, text);
    cr_assert(strstr(task.why, text), "%s", task.why);
    cr_assert_eq(garden_unpin(&rig, 6), STORE_ABSENT, "and it is not pinned");
    cr_assert_eq(garden_pin(&rig, 6, STORE_PIN_DIRECT, NULL), 0, "alone it is here");
    cr_assert_eq(garden_delete(&rig, 8), 0);
    cr_assert_eq(garden_pin(&rig, 8, STORE_PIN_DIRECT, NULL), STORE_ABSENT);
    rig_end(&rig);
}

Test(gc, a_hole_in_a_pinned_dag_stops_a_collection) {
    start(6, 2);
    struct store_task task;
    cr_assert_eq(garden_pin(&rig, 6, STORE_PIN_RECURSIVE, NULL), 0);
    cr_assert_eq(garden_delete(&rig, 5), 0);
    cr_assert_eq(garden_gc(&rig, 0, false, &task), STORE_ABSENT);
    cr_assert(strstr(task.why, "nothing was collected"), "%s", task.why);
    expect_left("01234678");
    cr_assert_eq(garden_put(&rig, 5), 0);
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0);
    expect_left("012456");
    rig_end(&rig);
}

Test(gc, a_damaged_block_of_a_pinned_dag_stops_a_collection) {
    start(7, 1);
    struct store_task task;
    cr_assert_eq(garden_pin(&rig, 6, STORE_PIN_RECURSIVE, NULL), 0);
    rig_close(&rig);
    for (uint32_t n = 0;; n++) {
        const char *name = sim_disk_name(rig.sim, n);
        cr_assert_not_null(name);
        uint64_t bytes = 0;
        const uint8_t *platter = sim_disk_bytes(rig.sim, name, &bytes);
        const uint8_t *at =
            strstr(name, ".seg") ? memmem(platter, bytes, garden[4].bytes, garden[4].count) : NULL;
        if (at) {
            sim_disk_spoil(rig.sim, name, (uint64_t)(at - platter) + 9, "X", 1);
            break;
        }
    }
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(garden_gc(&rig, 0, false, &task), STORE_CORRUPT);
    cr_assert(strstr(task.why, "is damaged"), "%s", task.why);
    expect_left("012345678");
    rig_end(&rig);
}

Test(gc, a_block_that_was_put_again_is_spared_once) {
    start(8, 2);
    struct store_task task;
    cr_assert_eq(garden_put(&rig, 8), 0, "a duplicate");
    struct store_op read = {.kind = STORE_READ, .key = garden[3].key};
    cr_assert_eq(rig_do(&rig, &read), 0, "in memory");
    frame_give_back(read.frame);
    cr_assert_eq(garden_put(&rig, 3), 0, "a duplicate of a block in memory");
    cr_assert_eq(garden_gc(&rig, 0, true, &task), 0);
    cr_assert_eq(task.blocks, 7);
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0);
    expect_left("38");
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0);
    expect_left("");
    rig_end(&rig);
}

Test(gc, one_collection_at_a_time_and_a_cancel_ends_it) {
    start(9, 1);
    struct store_task first = {.kind = STORE_TASK_GC}, second = {.kind = STORE_TASK_GC};
    cr_assert_eq(store_task_begin(rig.store, &first), 0);
    (void)store_maintain(rig.store, rig.now_ns);
    cr_assert_eq(garden_run(&rig, &second), STORE_RETRY);
    first.cancel = true;
    for (uint32_t i = 0; first.state != STORE_TASK_DONE; i++) {
        cr_assert_lt(i, 1000);
        garden_step(&rig);
    }
    cr_assert(first.result == STORE_RETRY || first.result == 0);
    struct store_task task;
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0);
    rig_end(&rig);
}

Test(gc, more_than_the_mark_set_may_hold_is_said) {
    rig_start(&rig, 10);
    rig.config.links = garden_links;
    rig.config.gc_memory_bytes = 4096; /* no room for the first table */
    cr_assert_eq(rig_open(&rig), 0);
    garden_plant(0, false, NULL, 0);
    cr_assert_eq(garden_put(&rig, 0), 0);
    struct store_task task;
    cr_assert_eq(garden_pin(&rig, 0, STORE_PIN_RECURSIVE, &task), STORE_FULL);
    cr_assert(strstr(task.why, "memory"), "%s", task.why);
    rig_end(&rig);
}

Test(gc, what_finds_no_room_right_after_a_collection_may_try_again) {
    start(12, 1);
    rig.store->tiers.all[0].size_bytes = 24 * MiB;
    uint32_t i = 1000;
    int32_t r = 0;
    while (r == 0) {
        r = rig_put(&rig, i++, 1 * MiB);
        cr_assert_lt(i, 2000);
    }
    cr_assert_eq(r, STORE_FULL, "nothing is dead");
    cr_assert_eq(rig_put(&rig, i, 1 * MiB), STORE_FULL);
    struct store_task task;
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0, "%s", task.why);
    cr_assert_eq(rig_put(&rig, i, 1 * MiB), STORE_RETRY);
    for (uint32_t n = 0; n < 100; n++) {
        rig_maintain(&rig, 20);
        (void)store_housekeep(rig.store);
    }
    cr_assert_eq(rig_put(&rig, i, 1 * MiB), 0);
}

Test(gc, a_full_store_still_collects_and_pins) {
    start(11, 1);
    struct store_task task;
    cr_assert_eq(garden_pin(&rig, 6, STORE_PIN_RECURSIVE, NULL), 0);
    uint32_t i = 1000;
    int32_t r = 0;
    rig.store->tiers.all[0].size_bytes = 16 * MiB;
    while (r == 0) {
        r = rig_put(&rig, i++, 1 * MiB);
        cr_assert_lt(i, 2000);
    }
    cr_assert_eq(r, STORE_FULL);
    cr_assert_eq(garden_pin(&rig, 7, STORE_PIN_RECURSIVE, NULL), 0);
    for (r = 0; r == 0 && i < 9000;) { /* to the last of the room */
        r = rig_put(&rig, i++, 1000);
    }
    cr_assert_eq(r, STORE_FULL);
    cr_assert_eq(garden_unpin(&rig, 6), 0);
    for (uint32_t n = 0; n < 100; n++) { /* that opened what is kept back, and not for these */
        cr_assert_eq(rig_put(&rig, i++, 60000), STORE_FULL, "put %u", n);
    }
    cr_assert_eq(garden_gc(&rig, 0, false, &task), 0, "%s", task.why);
    expect_left("37");
    rig_end(&rig);
}

Test(gc, the_watermark_begins_one) {
    start(12, 1);
    rig.store->config.gc_watermark_percent = 1;
    rig.store->config.gc_grace_ns = 0;
    rig.store->tiers.all[0].size_bytes = 64 * MiB;
    cr_assert_eq(garden_pin(&rig, 7, STORE_PIN_RECURSIVE, NULL), 0);
    for (uint32_t i = 0; i < 200; i++) {
        rig.now_ns += NS_PER_S;
        garden_step(&rig);
    }
    expect_left("37");
    rig_end(&rig);
}

Test(gc, a_list_of_pins_comes_in_pages) {
    start(13, 3);
    for (uint32_t i = 0; i < 9; i++) {
        cr_assert_eq(garden_pin(&rig, i, STORE_PIN_DIRECT, NULL), 0);
    }
    struct store_pin pins[2];
    bool seen[9] = {false};
    struct store_task task = {.kind = STORE_TASK_PINS};
    uint32_t count = 0;
    for (uint64_t cursor = 0; cursor != UINT64_MAX;) {
        task = (struct store_task){.kind = STORE_TASK_PINS};
        task.ask.pins = (struct store_pins){.cursor = cursor, .pins = pins, .max = 2};
        cr_assert_eq(garden_run(&rig, &task), 0);
        cursor = task.ask.pins.cursor;
        for (uint32_t n = 0; n < task.ask.pins.count; n++) {
            for (uint32_t i = 0; i < 9; i++) {
                seen[i] |= key_equal(&pins[n].key, &garden[i].key);
            }
            count++;
        }
    }
    cr_assert_eq(count, 9);
    for (uint32_t i = 0; i < 9; i++) {
        cr_assert(seen[i]);
    }
    rig_end(&rig);
}

Test(gc, tasks_under_way_end_when_the_store_stops) {
    start(14, 1);
    struct store_task gc = {.kind = STORE_TASK_GC}, pin = {.kind = STORE_TASK_PIN};
    pin.ask.pin =
        (struct store_pin){.key = garden[6].key, .codec = CID_DAG_PB, .mode = STORE_PIN_RECURSIVE};
    cr_assert_eq(store_task_begin(rig.store, &gc), 0);
    cr_assert_eq(store_task_begin(rig.store, &pin), 0);
    for (uint32_t i = 0; !store_tasks_stop(rig.store); i++) {
        cr_assert_lt(i, 1000);
        garden_step(&rig);
    }
    cr_assert_eq(gc.state, STORE_TASK_DONE);
    cr_assert_eq(pin.state, STORE_TASK_DONE);
    struct store_task late = {.kind = STORE_TASK_GC};
    cr_assert_eq(store_task_begin(rig.store, &late), STORE_RETRY);
    rig_close(&rig);
    rig_end(&rig);
}

/* Begins a pin and a collection so that the one walks before the other marks. */
Test(gc, a_walk_that_began_before_the_marks_is_done_again) {
    start(15, 1);
    for (uint32_t i = 10; i < GARDEN_BLOCKS; i++) {
        garden_plant(i, true, (uint32_t[]){i - 1}, i > 10);
        cr_assert_eq(garden_put(&rig, i), 0);
    }
    struct store_task gc = {.kind = STORE_TASK_GC}, pin = {.kind = STORE_TASK_PIN};
    pin.ask.pin = (struct store_pin){
        .key = garden[GARDEN_BLOCKS - 1].key, .codec = CID_DAG_PB, .mode = STORE_PIN_RECURSIVE};
    cr_assert_eq(store_task_begin(rig.store, &pin), 0);
    for (uint32_t i = 0; i < 3; i++) {
        garden_step(&rig);
    }
    cr_assert_gt(pin.seen, 0);
    cr_assert_eq(store_task_begin(rig.store, &gc), 0);
    for (uint32_t i = 0; gc.state != STORE_TASK_DONE || pin.state != STORE_TASK_DONE; i++) {
        cr_assert_lt(i, 10000);
        garden_step(&rig);
    }
    cr_assert_eq(pin.result, 0, "%s", pin.why);
    cr_assert_eq(gc.result, 0, "%s", gc.why);
    for (uint32_t i = 10; i < GARDEN_BLOCKS; i++) {
        cr_assert(garden_has(&rig, i), "block %u", i);
    }
    rig_end(&rig);
}

Test(gc, a_collection_waits_for_pins_that_are_being_written) {
    start(16, 1);
    struct store_task gc = {.kind = STORE_TASK_GC}, pin = {.kind = STORE_TASK_PIN};
    pin.ask.pin =
        (struct store_pin){.key = garden[6].key, .codec = CID_DAG_PB, .mode = STORE_PIN_RECURSIVE};
    cr_assert_eq(store_task_begin(rig.store, &pin), 0);
    for (uint32_t i = 0; pinning_writes(rig.store->porter) == 0; i++) {
        cr_assert_lt(i, 100);
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert_eq(store_task_begin(rig.store, &gc), 0);
    for (uint32_t i = 0; i < 50; i++) { /* the disk does not answer */
        (void)keeper_poll(store_keeper(rig.store, 0), rig.now_ns);
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert(gc_waits(rig.store->porter));
    for (uint32_t i = 0; gc.state != STORE_TASK_DONE; i++) {
        cr_assert_lt(i, 10000);
        garden_step(&rig);
    }
    cr_assert_eq(gc.result, 0, "%s", gc.why);
    expect_left("012456");
    rig_end(&rig);
}

Test(gc, a_set_keeps_what_is_added_and_its_bound) {
    struct mark mark;
    uint64_t state = 1;
    mark_init(&mark, 256 * KiB);
    uint32_t count = 0;
    int r = 0;
    while ((r = mark_add(&mark, sim_random(&state))) == 0) {
        count++;
    }
    cr_assert_eq(r, MARK_FULL);
    cr_assert_eq(count, 32768 / 4 * 3);
    state = 1;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t hash = sim_random(&state);
        cr_assert(mark_has(&mark, hash));
        cr_assert_eq(mark_add(&mark, hash), MARK_SEEN);
    }
    cr_assert(!mark_has(&mark, 12345));
    mark_fini(&mark);
}

/* --- everything at once ----------------------------------------------------------------------- */

#define SOME  200u /* blocks */
#define ROOTS 20u  /* the last of them, which are pinned and unpinned */

struct model {
    uint64_t random;
    struct store_op puts[8];
    uint32_t put_block[8];
    bool putting[8];
    struct store_task pin, gc;
    bool pinning, unpinning, collecting;
    uint32_t pin_block;
    bool pinned[SOME];
    uint64_t put_ns[SOME]; /* acknowledged last, 0: never, or deleted since */
};

static uint32_t below(struct model *model, uint32_t n) {
    return (uint32_t)(sim_random(&model->random) % n);
}

static void reach(uint32_t i, bool reached[SOME]) {
    if (!reached[i]) {
        reached[i] = true;
        for (uint32_t n = 0; n < garden[i].link_count; n++) {
            reach(garden[i].links[n], reached); /* a test's own DAG: six deep */
        }
    }
}

static void reach_all(const struct model *model, bool reached[SOME]) {
    memset(reached, 0, SOME);
    for (uint32_t i = 0; i < SOME; i++) {
        if (model->pinned[i]) {
            reach(i, reached);
        }
    }
}

static void plant_some(struct model *model) {
    for (uint32_t i = 0; i < SOME; i++) {
        uint32_t links[GARDEN_LINKS];
        bool inner = i >= SOME / 2;
        uint32_t count = inner ? 1 + below(model, GARDEN_LINKS) : 0;
        for (uint32_t n = 0; n < count; n++) {
            links[n] = i >= SOME - ROOTS ? SOME / 2 + below(model, SOME / 2 - ROOTS)
                                         : below(model, SOME / 2);
        }
        garden_plant(i, inner, links, count);
    }
}

static void begin_put(struct model *model) {
    for (uint32_t n = 0; n < 8; n++) {
        if (!model->putting[n]) {
            uint32_t i = below(model, SOME);
            model->put_block[n] = i;
            model->putting[n] = true;
            model->puts[n] = (struct store_op){.kind = STORE_PUT,
                                               .user = &model->putting[n],
                                               .key = garden[i].key,
                                               .data = garden[i].bytes,
                                               .bytes = garden[i].count,
                                               .codec = garden[i].inner ? CID_DAG_PB : CID_RAW};
            keeper_begin(store_keeper(rig.store, store_keeper_of(rig.store, &garden[i].key)),
                         &model->puts[n]);
            return;
        }
    }
}

static void take_done(struct model *model) {
    for (uint32_t k = 0; k < rig.config.keepers; k++) {
        struct store_op *op;
        while ((op = keeper_done(store_keeper(rig.store, k))) != NULL) {
            uint32_t n = (uint32_t)(op - model->puts);
            cr_assert_eq(op->result, 0);
            model->putting[n] = false;
            model->put_ns[model->put_block[n]] = rig.now_ns;
        }
    }
    if ((model->pinning || model->unpinning) && model->pin.state == STORE_TASK_DONE) {
        if (model->pin.result == 0) {
            model->pinned[model->pin_block] = model->pinning;
        }
        model->pinning = model->unpinning = false;
    }
    if (model->collecting && model->gc.state == STORE_TASK_DONE) {
        cr_assert_eq(model->gc.result, 0, "%s", model->gc.why);
        model->collecting = false;
    }
}

static void begin_pin(struct model *model) {
    uint32_t i = SOME - 1 - below(model, ROOTS);
    model->pin_block = i;
    model->unpinning = model->pinned[i];
    model->pinning = !model->unpinning;
    model->pin = (struct store_task){.kind = model->pinning ? STORE_TASK_PIN : STORE_TASK_UNPIN};
    model->pin.ask.pin =
        (struct store_pin){.key = garden[i].key, .codec = CID_DAG_PB, .mode = STORE_PIN_RECURSIVE};
    cr_assert_eq(store_task_begin(rig.store, &model->pin), 0);
    /* From the asking on it may be gone: only what stays pinned throughout must stay. */
    model->pinned[i] = false;
}

static void begin_gc(struct model *model, uint64_t grace_ns) {
    model->collecting = true;
    model->gc = (struct store_task){.kind = STORE_TASK_GC};
    model->gc.ask.gc.grace_ns = grace_ns;
    cr_assert_eq(store_task_begin(rig.store, &model->gc), 0);
}

static void expect_pinned(const struct model *model, uint64_t seed) {
    bool reached[SOME];
    reach_all(model, reached);
    for (uint32_t i = 0; i < SOME; i++) {
        cr_assert(!reached[i] || garden_has(&rig, i), "seed %lu: block %u", (unsigned long)seed, i);
    }
}

static void drain(struct model *model) {
    bool busy = true;
    for (uint32_t i = 0; busy; i++) {
        cr_assert_lt(i, 100000);
        garden_step(&rig);
        take_done(model);
        busy = model->pinning || model->unpinning || model->collecting;
        for (uint32_t n = 0; n < 8; n++) {
            busy |= model->putting[n];
        }
    }
}

static void life(uint64_t seed) {
    static struct model model;
    model = (struct model){.random = seed};
    rig_start(&rig, seed);
    rig.config.keepers = 1 + (uint32_t)(seed % 3);
    rig.config.links = garden_links;
    cr_assert_eq(rig_open(&rig), 0);
    plant_some(&model);
    for (uint32_t i = 0; i < SOME; i++) {
        cr_assert_eq(garden_put(&rig, i), 0);
    }
    for (uint32_t turn = 0; turn < 3000; turn++) {
        if (below(&model, 4) == 0) {
            begin_put(&model);
        }
        if (!model.pinning && !model.unpinning && below(&model, 10) == 0) {
            begin_pin(&model);
        }
        if (!model.collecting && below(&model, 50) == 0) {
            begin_gc(&model, 0);
        }
        if (below(&model, 2) == 0) {
            rig_turn(&rig);
        }
        if (below(&model, 2) == 0) {
            (void)store_maintain(rig.store, rig.now_ns);
        }
        (void)store_housekeep(rig.store);
        take_done(&model);
        expect_pinned(&model, seed);
    }
    drain(&model);
    expect_pinned(&model, seed);
    if (seed % 2 == 0) { /* power goes while the next collects */
        begin_gc(&model, 0);
        for (uint32_t i = below(&model, 30); i > 0; i--) {
            garden_step(&rig);
        }
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0);
        model.collecting = false;
        expect_pinned(&model, seed);
    }
    struct store_task task;
    for (uint32_t run = 0; run < 2; run++) {
        cr_assert_eq(garden_gc(&rig, 0, false, &task), 0, "%s", task.why);
    }
    bool reached[SOME];
    reach_all(&model, reached);
    for (uint32_t i = 0; i < SOME; i++) {
        cr_assert_eq(garden_has(&rig, i), reached[i], "seed %lu: block %u after two runs",
                     (unsigned long)seed, i);
    }
    rig_end(&rig);
}

Test(gc, beside_puts_pins_and_unpins_nothing_pinned_is_lost_and_all_else_goes, .timeout = 240) {
    for (uint64_t seed = 1; seed <= 30; seed++) {
        life(seed);
    }
}

static void sample(struct rig *one, struct ages *ages, uint64_t at_ns) {
    struct porter *porter = one->store->porter;
    porter->now_ns = at_ns;
    ages_ask(ages, porter);
    cr_assert_not(ages_take(ages, porter), "the keeper has not answered");
    (void)keeper_poll(store_keeper(one->store, 0), one->now_ns);
    cr_assert(ages_take(ages, porter));
}

Test(gc, the_limit_is_what_was_acknowledged_a_grace_ago) {
    static struct ages ages;
    struct rig one;
    uint64_t limit[STORE_KEEPERS_MAX];
    rig_start(&one, 77);
    cr_assert_eq(rig_open(&one), 0);
    sample(&one, &ages, 1000);
    cr_assert_eq(rig_put(&one, 1, 500), 0);
    uint64_t durable = store_keeper(one.store, 0)->log.durable_lsn;
    sample(&one, &ages, 2000);
    cr_assert_gt(durable, ages.samples[0].lsn[0]);
    ages_limit(&ages, 2999, 1000, limit);
    cr_assert_eq(limit[0], ages.samples[0].lsn[0], "the second is too young by one");
    ages_limit(&ages, 3000, 1000, limit);
    cr_assert_eq(limit[0], durable);
    ages_limit(&ages, 1500, 1000, limit);
    cr_assert_eq(limit[0], 0, "nothing is known of so long ago");
    for (uint64_t i = 2; i < 3 * AGES_SAMPLES; i++) {
        sample(&one, &ages, (i + 1) * 1000);
    }
    cr_assert_leq(ages.count, AGES_SAMPLES);
    cr_assert_eq(ages.samples[0].at_ns, 1000, "the first is kept");
    for (uint32_t i = 1; i < ages.count; i++) {
        cr_assert_lt(ages.samples[i - 1].at_ns, ages.samples[i].at_ns);
    }
    cr_assert_eq(ages.sampled_ns, 3 * AGES_SAMPLES * 1000, "and so is the last");
    rig_end(&one);
}
