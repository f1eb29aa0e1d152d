/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include "base/bits.h"
#include "base/must.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Disks that fail, dawdle, hang, lie and lose what they hold, one case at a time; what comes by
 * chance and in every order is tests/sim. */

enum { BLOCKS = 20, BYTES = 9000 };

static struct rig rig;

static void start(void) {
    rig_start(&rig, 3);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
}
static void end(void) {
    rig_end(&rig);
}
TestSuite(faults, .init = start, .fini = end);

static void put_all(void) {
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_mark(&rig);
}

/* Opened anew, so that every read is of the disk. */
static void reopen(void) {
    if (rig.store) {
        rig_close(&rig);
    }
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
}

static const char *a_segment_with_data(void) {
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        const char *name = sim_disk_name(rig.sim, n);
        uint64_t size = 0;
        const uint8_t *bytes = sim_disk_bytes(rig.sim, name, &size);
        if (strstr(name, ".seg") && size > 2 * PAGE_BYTES && bytes[PAGE_BYTES] != 0) {
            return name;
        }
    }
    never("no segment holds data");
}

Test(faults, a_read_from_the_wrong_place_or_cut_short_is_never_served) {
    put_all();
    reopen();
    sim_disk_faults(rig.sim, &(struct sim_faults){.read_astray = 40000, .read_short = 20000});
    uint32_t served = 0;
    for (uint32_t round = 0; round < 5; round++) {
        for (uint32_t i = 0; i < BLOCKS; i++) {
            int32_t r = rig_get(&rig, i, BYTES); /* 0: every byte is right */
            cr_assert(r == 0 || r == STORE_CORRUPT, "%d", r);
            served += r == 0;
        }
    }
    sim_disk_faults(rig.sim, &(struct sim_faults){0});
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0, "once reads are right again, all is there");
    }
    cr_assert_gt(served, 0);
}

Test(faults, a_write_that_landed_elsewhere_costs_what_it_hit_and_nothing_false_is_served) {
    put_all();
    sim_disk_faults(rig.sim, &(struct sim_faults){.write_astray = 20000});
    for (uint32_t i = BLOCKS; i < 2 * BLOCKS; i++) {
        (void)rig_put(&rig, i, BYTES); /* the disk says that it was written */
    }
    sim_disk_faults(rig.sim, &(struct sim_faults){0});
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_gt(rig.report.corrupt_ranges, 0, "what is missing is said");
    for (uint32_t i = 0; i < 2 * BLOCKS; i++) {
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r == 0 || r == STORE_CORRUPT || r == STORE_ABSENT, "%d", r);
    }
}

Test(faults, a_bad_sector_costs_one_block_and_passing_trouble_none) {
    put_all();
    reopen();
    const char *name = a_segment_with_data();
    sim_disk_bad_page(rig.sim, name, 5 * PAGE_BYTES);
    uint32_t failed = 0;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r == 0 || r == -EIO, "%d", r);
        failed += r != 0;
    }
    cr_assert(failed >= 1 && failed <= 2, "%u blocks lie on one page", failed);
    sim_disk_heal(rig.sim);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    }
}

Test(faults, a_damaged_footer_leaves_no_block_out_of_a_list) {
    put_all();
    rig_close(&rig);
    const char *name = a_segment_with_data();
    uint64_t size = 0;
    uint8_t value = (uint8_t)(sim_disk_bytes(rig.sim, name, &size)[size - 2 * PAGE_BYTES + 20] ^ 1);
    sim_disk_spoil(rig.sim, name, size - 2 * PAGE_BYTES + 20, &value, 1);
    reopen();
    static struct store_item items[4 * BLOCKS];
    uint32_t listed = 0;
    for (uint64_t cursor = 0; cursor != UINT64_MAX;) {
        uint32_t count = 0;
        cr_assert_eq(store_page(rig.store, &cursor, items, array_count(items), &count), 0);
        listed += count;
    }
    cr_assert_eq(listed, BLOCKS);
}

Test(faults, a_footer_that_cannot_be_read_any_more_leaves_no_block_out_of_a_list) {
    put_all();
    rig_close(&rig);
    reopen();
    const char *name = a_segment_with_data();
    uint64_t size = 0, cursor = 0;
    struct store_item item;
    uint32_t count = 0;
    cr_assert_eq(store_page(rig.store, &cursor, &item, 1, &count), 0); /* it was sound when seen */
    uint32_t listed = count;
    (void)sim_disk_bytes(rig.sim, name, &size);
    sim_disk_bad_page(rig.sim, name, size - 2 * PAGE_BYTES); /* all of the footer */
    while (cursor != UINT64_MAX) {
        cr_assert_eq(store_page(rig.store, &cursor, &item, 1, &count), 0);
        listed += count;
    }
    cr_assert_geq(listed, BLOCKS, "some may come twice, none is left out: %u", listed);
}

Test(faults, a_device_that_fails_whole_is_an_error_and_comes_back_without_a_restart) {
    put_all();
    reopen();
    sim_disk_device(rig.sim, "/s/ssd", &(struct sim_device){.state = SIM_DEVICE_GONE});
    for (uint32_t i = 0; i < BLOCKS; i++) {
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r < 0 || r == STORE_RETRY, "never absent: %d", r);
    }
    sim_disk_device(rig.sim, "/s/ssd", &(struct sim_device){.state = SIM_DEVICE_FINE});
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    }
}

Test(faults, an_allocation_that_fails_in_part_gives_its_space_back) {
    put_all();
    uint64_t used_before = 0, used_after = 0, size = 0;
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        (void)sim_disk_bytes(rig.sim, sim_disk_name(rig.sim, n), &size);
        used_before++;
    }
    uint64_t calls = sim_disk_calls(rig.sim);
    sim_disk_plan(rig.sim, &(struct sim_plan){SIM_ENOSPC, calls + 1, UINT64_MAX, NULL});
    uint32_t full = 0;
    for (uint32_t i = BLOCKS; i < BLOCKS + 40; i++) {
        int32_t r = rig_put(&rig, i, 400 * 1024);
        cr_assert(r == 0 || r == STORE_FULL, "%d", r);
        full += r == STORE_FULL;
    }
    cr_assert_gt(full, 0);
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        used_after++;
    }
    cr_assert_leq(used_after, used_before, "no half-made segment is left");
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_FINE});
    for (uint32_t i = 0; i < 100; i++) {
        (void)store_housekeep(rig.store);
    }
    cr_assert_eq(rig_put(&rig, 900, BYTES), 0, "puts are taken once there is room");
}

Test(faults, a_disk_that_turns_read_only_refuses_puts_and_serves_reads) {
    put_all();
    reopen();
    sim_disk_device(rig.sim, "/s", &(struct sim_device){.read_only = true});
    int32_t r = 0;
    for (uint32_t i = 0; i < 10 && r != STORE_READONLY; i++) {
        r = rig_put(&rig, BLOCKS + i, BYTES);
        cr_assert(r == STORE_READONLY || r < 0 || r == STORE_FULL, "%d", r);
    }
    cr_assert_eq(r, STORE_READONLY);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    }
    sim_disk_device(rig.sim, "/s", &(struct sim_device){.state = SIM_DEVICE_FINE});
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    }
    cr_assert_eq(rig_put(&rig, 900, BYTES), 0);
}

/* --- tiers -------------------------------------------------------------------------------------
 */

static const struct store_tier two[] = {{"ssd", 0, TIER_SSD}, {"hdd", 0, TIER_HDD}};

/* A store of two tiers, opened again while the slow one is away. */
static void open_without_the_slow_one(void) {
    rig_close(&rig);
    rig.config.tiers = two;
    rig.config.tier_count = array_count(two);
    reopen();
    put_all();
    rig_close(&rig);
    sim_disk_device(rig.sim, "/s/hdd", &(struct sim_device){.state = SIM_DEVICE_GONE});
    reopen();
}

Test(faults, nothing_is_collected_while_a_tier_is_away_as_its_pins_are_not_known) {
    open_without_the_slow_one();
    struct store_task task = {.kind = STORE_TASK_GC, .ask.gc = {.grace_ns = 0}};
    cr_assert_eq(store_task_begin(rig.store, &task), 0);
    for (uint32_t i = 0; i < 200; i++) {
        rig_turn(&rig);
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert_eq(atomic_load(&task.state), STORE_TASK_DONE);
    cr_assert_eq(task.result, STORE_RETRY);
    cr_assert_not_null(strstr(task.why, "tier"));
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    }
}

Test(faults, a_pin_that_may_lie_on_a_tier_that_is_away_is_not_called_absent) {
    open_without_the_slow_one();
    struct store_op op = {.kind = STORE_UNPIN};
    (void)rig_block(1, BYTES, &op.key);
    cr_assert_eq(rig_do(&rig, &op), STORE_RETRY);
}

static bool log_is_on_the_slow_one(void) {
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        const char *name = sim_disk_name(rig.sim, n);
        uint64_t size = 0;
        if (sim_lies_in(name, "/s/hdd", true) && strstr(name, ".seg")) {
            const uint8_t *bytes = sim_disk_bytes(rig.sim, name, &size);
            if (size > 2 * PAGE_BYTES && bytes[PAGE_BYTES] != 0) {
                return true;
            }
        }
    }
    return false;
}

Test(faults, a_put_outlives_the_tombstone_on_a_tier_that_was_away_when_it_came) {
    static const struct store_tier small[] = {{"ssd", 20 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};
    rig_close(&rig);
    rig.config.tiers = small;
    rig.config.tier_count = array_count(small);
    reopen();
    put_all();
    for (uint32_t i = 0; !log_is_on_the_slow_one(); i++) {
        cr_assert_lt(i, 100);
        cr_assert_eq(rig_put(&rig, 1000 + i, 400 * 1024), 0);
    }
    cr_assert_eq(rig_delete(&rig, 3, BYTES), 0);
    cr_assert_eq(rig_delete(&rig, 4, BYTES), 0);
    rig_crash(&rig); /* a snapshot would know */
    sim_disk_device(rig.sim, "/s/hdd", &(struct sim_device){.state = SIM_DEVICE_GONE});
    rig.config.tiers = two; /* no bound on the fast one: it has to take all */
    reopen();
    cr_assert_eq(rig_put(&rig, 3, BYTES), 0);
    rig_crash(&rig);
    sim_disk_device(rig.sim, "/s/hdd", &(struct sim_device){.state = SIM_DEVICE_FINE});
    reopen();
    cr_assert_eq(rig_get(&rig, 3, BYTES), 0, "acknowledged, so there");
    cr_assert_eq(rig_get(&rig, 4, BYTES), STORE_ABSENT, "deleted, so absent once it is known");
}

Test(faults, what_is_under_an_unmounted_disk_gets_no_segment) {
    put_all();
    sim_disk_device(rig.sim, "/s/ssd", &(struct sim_device){.state = SIM_DEVICE_EMPTY});
    for (uint32_t i = 0; i < 30; i++) {
        int32_t r = rig_put(&rig, 100 + i, 400 * 1024);
        cr_assert_neq(r, 0, "taken by a disk that is not there");
    }
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        cr_assert_null(strstr(sim_disk_name(rig.sim, n), ".seg"), "made in an empty directory");
    }
    sim_disk_device(rig.sim, "/s/ssd", &(struct sim_device){.state = SIM_DEVICE_FINE});
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    }
}

/* --- time --------------------------------------------------------------------------------------
 */

/* `count` turns without waiting for anything. */
static void turns(uint32_t count, uint64_t step_ns) {
    for (uint32_t i = 0; i < count; i++) {
        rig.now_ns += step_ns;
        (void)keeper_poll(store_keeper(rig.store, 0), rig.now_ns);
        (void)sim_disk_step(rig.sim);
        (void)store_housekeep(rig.store);
    }
}

Test(faults, one_write_that_hangs_holds_up_writes_alone_and_is_acknowledged_when_it_ends) {
    put_all();
    reopen();
    sim_disk_stick(rig.sim, 1);
    struct keeper *keeper = store_keeper(rig.store, 0);
    struct store_op put = {.kind = STORE_PUT, .bytes = 64, .codec = 0x55};
    put.data = rig_block(1000, 64, &put.key);
    keeper_begin(keeper, &put);
    turns(3, 50 * NS_PER_US);
    struct store_op erase = {.kind = STORE_DELETE}; /* a batch of its own, behind the other */
    struct key key;
    (void)rig_block(2, BYTES, &key);
    erase.key = key;
    keeper_begin(keeper, &erase);
    turns(200, 10 * NS_PER_MS);
    cr_assert_null(keeper_done(keeper), "nothing is acknowledged past a write that is out");
    struct store_op read = {.kind = STORE_READ};
    (void)rig_block(1, BYTES, &read.key);
    keeper_begin(keeper, &read);
    turns(20, 50 * NS_PER_US);
    cr_assert_eq(keeper_done(keeper), &read, "reads go on");
    cr_assert_eq(read.result, 0);
    frame_give_back(read.frame);
    sim_disk_unstick(rig.sim);
    turns(20, 50 * NS_PER_US);
    cr_assert_eq(keeper_done(keeper), &put);
    cr_assert_eq(put.result, 0);
    cr_assert_eq(keeper_done(keeper), &erase);
    cr_assert_eq(erase.result, 0);
}

Test(faults, a_disk_that_takes_ten_seconds_is_waited_for_and_not_believed_before) {
    put_all();
    sim_disk_clock(rig.sim, &rig.now_ns);
    sim_disk_device(rig.sim, "/s/ssd", &(struct sim_device){.latency_ns = 10 * NS_PER_S});
    struct keeper *keeper = store_keeper(rig.store, 0);
    struct store_op put = {.kind = STORE_PUT, .bytes = BYTES, .codec = 0x55};
    put.data = rig_block(500, BYTES, &put.key);
    uint64_t begun_ns = rig.now_ns;
    keeper_begin(keeper, &put);
    struct store_op *done = NULL;
    while (!done) {
        rig.now_ns += 100 * NS_PER_MS;
        (void)keeper_poll(keeper, rig.now_ns);
        (void)sim_disk_step(rig.sim);
        done = keeper_done(keeper);
        cr_assert_lt(rig.now_ns, begun_ns + 60 * NS_PER_S);
    }
    cr_assert_eq(put.result, 0);
    cr_assert_geq(rig.now_ns, begun_ns + 10 * NS_PER_S);
    sim_disk_device(rig.sim, "/s/ssd", &(struct sim_device){.state = SIM_DEVICE_FINE});
    sim_disk_clock(rig.sim, NULL);
}

Test(faults, a_clock_that_stands_still_or_leaps_loses_nothing_and_orders_nothing) {
    struct keeper *keeper = store_keeper(rig.store, 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (i % 3 == 1) {
            rig.now_ns += 50 * UINT64_C(31536000) * NS_PER_S; /* half a century */
        }
        struct store_op put = {.kind = STORE_PUT, .bytes = BYTES, .codec = 0x55};
        put.data = rig_block(i, BYTES, &put.key);
        keeper_begin(keeper, &put);
        struct store_op *done = NULL;
        for (uint32_t turn = 0; turn < 50 && !done; turn++) { /* the clock stands still */
            (void)keeper_poll(keeper, rig.now_ns);
            (void)sim_disk_step(rig.sim);
            done = keeper_done(keeper);
        }
        cr_assert_eq(done, &put);
        cr_assert_eq(put.result, 0);
        if (i % 2 == 1) {
            cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
        }
    }
    rig_crash(&rig);
    rig.now_ns = NS_PER_S; /* back to the beginning of time */
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), i % 2 == 1 ? STORE_ABSENT : 0);
    }
}
