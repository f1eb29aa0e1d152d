/* SPDX-License-Identifier: MIT */
#include "store/scrub.h"

#include "store/compact.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>

/* Rot is found without anybody reading, mended where there is a copy, and said where there is none.
 */

enum { BLOCKS = 12, BYTES = 30000 };

static void sealed(struct rig *rig, uint64_t seed) {
    rig_start(rig, seed);
    cr_assert_eq(rig_open(rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(rig, i, BYTES), 0);
    }
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 0);
}

static void run(struct rig *rig, struct store_task *task) {
    *task = (struct store_task){.kind = STORE_TASK_SCRUB};
    cr_assert_eq(store_task_begin(rig->store, task), 0);
    for (uint32_t i = 0; i < 1000 && atomic_load(&task->state) != STORE_TASK_DONE; i++) {
        rig_turn(rig);
        (void)store_maintain(rig->store, rig->now_ns);
    }
    cr_assert_eq(atomic_load(&task->state), STORE_TASK_DONE);
}

static const struct upkeep_counters *upkeep(const struct rig *rig) {
    return store_upkeep(rig->store);
}

Test(scrub, all_that_lives_is_read_and_nothing_comes_to_memory) {
    struct rig rig;
    struct store_task task;
    sealed(&rig, 31);
    run(&rig, &task);
    cr_assert_eq(task.result, 0, "%s", task.why);
    cr_assert_eq(counter_get(&task.seen), BLOCKS);
    cr_assert_eq(counter_get(&task.total), BLOCKS);
    cr_assert_geq(counter_get(&task.bytes), BLOCKS * BYTES);
    cr_assert_eq(counter_get(&upkeep(&rig)->scrub_passes), 1);
    cr_assert_eq(counter_get(&keeper_counters(store_keeper(rig.store, 0))->frames), 0);
    rig_end(&rig);
}

Test(scrub, rot_without_a_copy_is_said_and_a_put_heals_it) {
    struct rig rig;
    struct store_task task;
    sealed(&rig, 32);
    rig_spoil(&rig, rig_place(&rig, 3, BYTES), 2000); /* payload */
    rig_spoil(&rig, rig_place(&rig, 4, BYTES), 20);   /* header: known by its footer alone */
    run(&rig, &task);
    cr_assert_eq(task.result, STORE_CORRUPT);
    cr_assert_neq(task.why[0], 0);
    cr_assert_eq(counter_get(&task.phase), 2);
    cr_assert_eq(counter_get(&upkeep(&rig)->quarantined), 2);
    cr_assert_eq(rig_get(&rig, 3, BYTES), STORE_CORRUPT);
    cr_assert_eq(rig_put(&rig, 3, BYTES), 0);
    cr_assert_eq(rig_put(&rig, 4, BYTES), 0);
    cr_assert_eq(rig_get(&rig, 3, BYTES), 0);
    run(&rig, &task);
    cr_assert_eq(task.result, 0, "%s", task.why);
    rig_end(&rig);
}

Test(scrub, rot_of_a_block_in_memory_is_mended) {
    struct rig rig;
    struct store_task task;
    sealed(&rig, 33);
    cr_assert_eq(rig_get(&rig, 3, BYTES), 0);
    uint64_t before = rig_place(&rig, 3, BYTES);
    rig_spoil(&rig, before, 2000);
    run(&rig, &task);
    cr_assert_eq(task.result, 0, "%s", task.why);
    cr_assert_eq(counter_get(&upkeep(&rig)->repairs), 1);
    for (uint32_t i = 0; i < 20; i++) {
        rig_turn(&rig);
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert_neq(rig_place(&rig, 3, BYTES) & PLACE_MASK, before & PLACE_MASK,
                  "it lies elsewhere now");
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 3, BYTES), 0);
    rig_end(&rig);
}

Test(scrub, standing_work_keeps_to_its_cycle) {
    struct rig rig;
    rig_start(&rig, 34);
    rig.config.scrub_cycle_ns = 1000 * NS_PER_S;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t s = 0; s < 500; s++) {
        rig.now_ns += NS_PER_S;
        (void)store_maintain(rig.store, rig.now_ns);
    }
    uint64_t half = counter_get(&upkeep(&rig)->scrubbed_blocks);
    cr_assert(half >= BLOCKS / 3 && half <= BLOCKS * 3 / 4, "%lu after half the time", half);
    for (uint32_t s = 0; s < 600; s++) {
        rig.now_ns += NS_PER_S;
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert_geq(counter_get(&upkeep(&rig)->scrub_passes), 1);
    rig_end(&rig);
}

Test(scrub, a_pass_can_be_canceled) {
    struct rig rig;
    struct store_task task = {.kind = STORE_TASK_SCRUB};
    sealed(&rig, 35);
    cr_assert_eq(store_task_begin(rig.store, &task), 0);
    atomic_store(&task.cancel, true);
    (void)store_maintain(rig.store, rig.now_ns);
    cr_assert_eq(atomic_load(&task.state), STORE_TASK_DONE);
    cr_assert_eq(task.result, STORE_RETRY);
    run(&rig, &task);
    cr_assert_eq(task.result, 0);
    rig_end(&rig);
}
