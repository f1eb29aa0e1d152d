/* SPDX-License-Identifier: MIT */
#include "store/muster.h"

#include "base/bits.h"
#include "base/must.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What a start could not read, or not settle, is looked at again while the store serves
 * (store/muster.c, store/arrival.c, and what store/recover.c leaves to them). */

enum { COUNT = 10, BYTES = 700, LARGE = 60000 };

static struct rig rig;

static void start(void) {
    rig_start(&rig, 5);
}
static void end(void) {
    rig_end(&rig);
}
TestSuite(muster, .init = start, .fini = end, .timeout = 120);

static const char *data_file(struct rig *from) {
    uint64_t size = 0;
    for (uint32_t n = 0;; n++) {
        const char *name = sim_disk_name(from->sim, n);
        must(name != NULL);
        const uint8_t *bytes = sim_disk_bytes(from->sim, name, &size);
        if (strstr(name, ".seg") && size > PAGE_BYTES + 4 &&
            get_le32(bytes + PAGE_BYTES) == RECORD_MAGIC) {
            return name;
        }
    }
}

static void step(uint32_t times) {
    for (uint32_t i = 0; i < times; i++) {
        rig.now_ns += NS_PER_S / 4;
        (void)store_maintain(rig.store, rig.now_ns);
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
    }
}

static void wait_till_known(void) {
    for (uint32_t i = 0; tiers_unknown(&rig.store->tiers); i++) {
        cr_assert_lt(i, 2000, "it is not taken up");
        step(1);
    }
    step(4);
}

static void expect_all(uint32_t count, uint32_t bytes, const char *when) {
    for (uint32_t i = 0; i < count; i++) {
        int32_t r = rig_get(&rig, i, bytes);
        cr_assert_eq(r, 0, "block %u %s: %d", i, when, r);
    }
    cr_assert_eq(rig_get(&rig, 99999, bytes), STORE_ABSENT, "%s", when);
}

/* No segment of an earlier start is left open or says that it is damaged. */
static void expect_no_trace(void) {
    for (uint32_t id = 1; id < rig.store->segments.top; id++) {
        const struct segment *segment = &rig.store->segments.all[id];
        enum segment_state state = segment_state(segment);
        bool before = state != SEGMENT_NONE && segment->epoch < rig.store->segments.epoch;
        cr_assert(!before || state == SEGMENT_SEALED, "segment %u is in state %d", id, state);
        cr_assert(!before || segment->damaged_ranges == 0);
    }
    cr_assert_null(rig.store->keepers[0].graves);
    struct store_tier_usage usages[TIERS_MAX];
    (void)store_tiers(rig.store, usages, TIERS_MAX);
    cr_assert_null(usages[0].waits);
}

/* Opened while `page` of the file cannot be read; then it can. */
static void passing_trouble(const char *name, uint64_t page) {
    sim_disk_bad_page(rig.sim, name, page * PAGE_BYTES);
    cr_assert_eq(rig_open(&rig), 0, "page %lu: %s", page, rig.report.why);
    cr_assert_eq(rig.report.corrupt_ranges, 0, "page %lu", page);
    for (uint32_t i = 0; i < COUNT; i++) {
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r == 0 || r == STORE_RETRY || r == -EIO, "page %lu block %u: %d", page, i, r);
    }
    bool unread = tiers_unknown(&rig.store->tiers);
    if (unread) {
        cr_assert_gt(rig.report.segments_unread, 0);
        cr_assert_eq(rig_get(&rig, 99999, BYTES), STORE_RETRY);
        cr_assert_eq(rig_delete(&rig, 99999, BYTES), STORE_RETRY);
    }
    cr_assert_eq(rig_put(&rig, COUNT + 5, BYTES), 0, "all else goes on");
    sim_disk_heal(rig.sim);
    wait_till_known();
    expect_all(COUNT, BYTES, "in the same run");
    expect_no_trace();
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges + rig.report.segments_unread, 0);
    expect_all(COUNT, BYTES, "after the next start");
}

Test(muster, case_8_what_a_start_could_not_read_leaves_no_trace_when_it_can_be_read) {
    struct rig base;
    for (uint32_t clean = 0; clean < 2; clean++) {
        rig_start(&base, 5);
        cr_assert_eq(rig_open(&base), 0);
        for (uint32_t i = 0; i < COUNT; i++) {
            cr_assert_eq(rig_put(&base, i, BYTES), 0);
        }
        rig_mark(&base);
        if (clean) {
            rig_close(&base);
            (void)rig_forget(&base);
        } else {
            rig_crash(&base);
        }
        char name[64];
        snprintf(name, sizeof name, "%s", data_file(&base));
        uint64_t size = 0;
        (void)sim_disk_bytes(base.sim, name, &size);
        for (uint64_t page = 0; page < min_u64(size / PAGE_BYTES, COUNT + 4); page++) {
            rig_end(&rig);
            rig_start(&rig, page);
            sim_disk_copy(rig.sim, base.sim);
            passing_trouble(name, page);
        }
        rig_end(&base);
    }
}

/* The end of one segment of a log is unreadable, and the log goes on in the next: what lies there
 * is not taken for a torn tail's rest. */
Test(muster, a_log_is_not_cut_off_where_it_could_not_be_read) {
    for (uint32_t page = 900; page < 1020; page += 24) {
        rig_end(&rig);
        rig_start(&rig, page);
        cr_assert_eq(rig_open(&rig), 0);
        uint32_t count = 0;
        while (count < 80) { /* the second segment is begun, none is sealed */
            struct store_op op = {.kind = STORE_PUT, .bytes = LARGE, .codec = 0x55};
            op.data = rig_block(count, LARGE, &op.key);
            keeper_begin(store_keeper(rig.store, 0), &op);
            while (!keeper_done(store_keeper(rig.store, 0))) {
                rig_turn(&rig);
                cr_assert_geq(spare_refill(rig.store), 0); /* and no housekeeping else */
            }
            count++;
        }
        char name[64];
        snprintf(name, sizeof name, "%s", data_file(&rig));
        rig_crash(&rig);
        for (uint32_t i = 0; i < 60; i++) {
            sim_disk_bad_page(rig.sim, name, (uint64_t)(page + i) * PAGE_BYTES);
        }
        cr_assert_eq(rig_open(&rig), 0);
        for (uint32_t i = 0; i < count; i++) {
            int32_t r = rig_get(&rig, i, LARGE);
            cr_assert(r == 0 || r == STORE_RETRY || r == -EIO, "block %u: %d", i, r);
        }
        sim_disk_heal(rig.sim);
        if (page % 48 == 36) { /* the next start finds all of it too */
            rig_close(&rig);
            cr_assert_eq(rig_open(&rig), 0);
            cr_assert_eq(rig.report.corrupt_ranges, 0);
        } else {
            wait_till_known();
            expect_no_trace();
        }
        expect_all(count, LARGE, "once it can be read");
    }
}

/* Nothing of a segment can be read: it does not go for want of content. */
Test(muster, a_segment_of_which_nothing_can_be_read_stays) {
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_mark(&rig);
    rig_crash(&rig);
    char name[64];
    uint64_t size = 0;
    snprintf(name, sizeof name, "%s", data_file(&rig));
    (void)sim_disk_bytes(rig.sim, name, &size);
    for (uint64_t at = 0; at < size; at += PAGE_BYTES) {
        sim_disk_bad_page(rig.sim, name, at);
    }
    for (uint32_t round = 0; round < 2; round++) {
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(rig_get(&rig, 0, BYTES), STORE_RETRY);
        step(2);
        rig_close(&rig);
    }
    cr_assert_eq(rig_open(&rig), 0);
    sim_disk_heal(rig.sim);
    wait_till_known();
    expect_all(COUNT, BYTES, "once it can be read");
    expect_no_trace();
}

/* It stays unreadable: not for ever is everything else "cannot tell". */
Test(muster, what_stays_unreadable_is_said_and_left_for_the_next_start) {
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_mark(&rig);
    rig_crash(&rig);
    sim_disk_bad_page(rig.sim, data_file(&rig), 4 * PAGE_BYTES);
    cr_assert_eq(rig_open(&rig), 0);
    struct store_tier_usage usages[TIERS_MAX];
    (void)store_tiers(rig.store, usages, TIERS_MAX);
    cr_assert_not_null(strstr(usages[0].waits, "tried again"));
    step(4 * 100);
    cr_assert_not(tiers_unknown(&rig.store->tiers));
    (void)store_tiers(rig.store, usages, TIERS_MAX);
    cr_assert_not_null(strstr(usages[0].waits, "cannot be read"));
    cr_assert_eq(rig_get(&rig, 99999, BYTES), STORE_ABSENT);
    uint32_t here = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        here += rig_get(&rig, i, BYTES) == 0;
    }
    cr_assert_eq(here, COUNT - 1);
    struct store_task gc = {.kind = STORE_TASK_GC};
    cr_assert_eq(store_task_begin(rig.store, &gc), 0);
    step(4);
    cr_assert_eq(gc.result, STORE_RETRY);
    cr_assert_not_null(strstr(gc.why, "cannot be read"));
    struct store_task backup = {.kind = STORE_TASK_BACKUP, .ask.backup.path = "/srv/b"};
    cr_assert_eq(store_task_begin(rig.store, &backup), 0);
    step(100);
    cr_assert_eq(backup.result, STORE_RETRY, "it would lack them, and call itself whole");
    cr_assert_not_null(strstr(backup.why, "cannot be read"));
    rig_close(&rig);
    sim_disk_heal(rig.sim);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    expect_all(COUNT, BYTES, "at the next start");
    expect_no_trace();
}

/* A sealed segment with a tombstone, and one that is not sealed and cannot all be read. */
static void open_unread(char sealed[64]) {
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, LARGE), 0);
    }
    cr_assert_eq(rig_delete(&rig, 0, LARGE), 0);
    rig_close(&rig);
    (void)rig_forget(&rig);
    snprintf(sealed, 64, "%s", data_file(&rig));
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = COUNT; i < 2 * COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, LARGE), 0);
    }
    rig_mark(&rig);
    uint64_t place = rig_place(&rig, COUNT + 4, LARGE);
    char open[SEGMENT_PATH_MAX];
    segment_path(&rig.store->segments, place_spot(place).segment, open);
    rig_crash(&rig);
    sim_disk_bad_page(
        rig.sim, open,
        round_down((uint64_t)place_spot(place).offset_units * RECORD_UNIT, PAGE_BYTES) +
            2 * PAGE_BYTES);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 99999, LARGE), STORE_RETRY);
}

/* Given up for this start, not for ever, and said; the next start finds all of it. */
static void expect_given_up(uint32_t steps, const char *words) {
    struct store_tier_usage usages[TIERS_MAX];
    step(steps);
    cr_assert_not(tiers_unknown(&rig.store->tiers));
    (void)store_tiers(rig.store, usages, TIERS_MAX);
    cr_assert_not_null(usages[0].waits);
    cr_assert_not_null(strstr(usages[0].waits, words), "%s", usages[0].waits);
    cr_assert_eq(rig_get(&rig, 99999, LARGE), STORE_ABSENT);
    cr_assert_null(rig.store->keepers[0].graves, "no longer remembered");
    struct store_task gc = {.kind = STORE_TASK_GC};
    cr_assert_eq(store_task_begin(rig.store, &gc), 0);
    step(4);
    cr_assert_eq(gc.result, STORE_RETRY);
    step(4 * 100);
    rig_close(&rig);
    sim_disk_heal(rig.sim);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 0, LARGE), STORE_ABSENT);
    for (uint32_t i = 1; i < 2 * COUNT; i++) {
        cr_assert_eq(rig_get(&rig, i, LARGE), 0, "block %u at the next start", i);
    }
}

Test(muster, a_rotten_list_that_is_asked_does_not_make_every_miss_unknown_for_ever) {
    char sealed[64];
    open_unread(sealed);
    uint64_t size = 0;
    const uint8_t *bytes = sim_disk_bytes(rig.sim, sealed, &size);
    uint8_t value = (uint8_t)(bytes[size - 2 * PAGE_BYTES + 20] ^ 1);
    sim_disk_spoil(rig.sim, sealed, size - 2 * PAGE_BYTES + 20, &value, 1);
    step(4 * 20);
    cr_assert(tiers_unknown(&rig.store->tiers), "it is tried again first");
    expect_given_up(4 * 100, "is asked what was deleted");
}

Test(muster, more_deletes_than_are_remembered_do_not_either) {
    char sealed[64];
    open_unread(sealed);
    for (uint64_t i = 1; i <= GRAVES_MAX + 1; i++) {
        graves_add(rig.store->keepers[0].graves, &(struct grave){i, i, 1});
    }
    expect_given_up(4 * 20, "than is remembered");
}

Test(muster, nor_does_a_block_that_may_be_deleted_and_cannot_be_read) {
    char sealed[64];
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, LARGE), 0);
    }
    rig_close(&rig);
    (void)rig_forget(&rig);
    snprintf(sealed, sizeof sealed, "%s", data_file(&rig));
    cr_assert_eq(rig_open(&rig), 0);
    uint64_t offset = (uint64_t)place_spot(rig_place(&rig, 4, LARGE)).offset_units * RECORD_UNIT;
    cr_assert_eq(rig_put(&rig, COUNT, LARGE), 0);
    cr_assert_eq(rig_delete(&rig, 4, LARGE), 0);
    rig_mark(&rig);
    char open[SEGMENT_PATH_MAX];
    uint64_t place = rig_place(&rig, COUNT, LARGE);
    segment_path(&rig.store->segments, place_spot(place).segment, open);
    rig_crash(&rig);
    uint64_t size = 0;
    (void)sim_disk_bytes(rig.sim, open, &size);
    for (uint64_t at = 0; at < size; at += PAGE_BYTES) { /* with what says that it is deleted */
        sim_disk_bad_page(rig.sim, open, at);
    }
    cr_assert_eq(rig_open(&rig), 0);
    sim_disk_heal(rig.sim);
    sim_disk_bad_page(rig.sim, sealed, round_down(offset, PAGE_BYTES));
    step(4 * 20);
    cr_assert(tiers_unknown(&rig.store->tiers), "it is tried again first");
    step(4 * 100);
    cr_assert_not(tiers_unknown(&rig.store->tiers));
    cr_assert_eq(rig_get(&rig, 99999, LARGE), STORE_ABSENT);
    rig_close(&rig);
    sim_disk_heal(rig.sim);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 4, LARGE), STORE_ABSENT);
    cr_assert_eq(rig_get(&rig, COUNT, LARGE), 0);
}

/* The helper that seals a segment cannot read it for a moment. */
Test(muster, a_segment_that_cannot_be_read_is_not_sealed_meanwhile) {
    cr_assert_eq(rig_open(&rig), 0);
    const char *name = NULL;
    for (uint32_t i = 0; i < 66; i++) {
        cr_assert_eq(rig_put(&rig, i, LARGE), 0);
    }
    name = data_file(&rig);
    sim_disk_bad_page(rig.sim, name, 40 * PAGE_BYTES);
    for (uint32_t i = 66; i < 140; i++) {
        cr_assert_eq(rig_put(&rig, i, LARGE), 0);
    }
    sim_disk_heal(rig.sim);
    for (uint32_t i = 0; i < 2100; i++) {
        (void)store_housekeep(rig.store);
    }
    rig_crash(&rig);
    (void)rig_forget(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    expect_all(140, LARGE, "");
    expect_no_trace();
}

/* A bundle's commit lies on a tier that is away, its records on one that is here; and the reverse.
 */
Test(muster, a_tier_that_comes_back_tells_which_bundles_count) {
    enum { MANY = 12 };
    static const struct store_tier pair[] = {{"a", 0, TIER_SSD}, {"b", 0, TIER_SSD}};
    static struct store_op ops[MANY];
    static uint8_t bodies[MANY][BYTES];
    uint32_t waited = 0;
    for (uint32_t round = 0; round < 12; round++) {
        const char *missing = round % 2 ? "/s/a" : "/s/b";
        rig_end(&rig);
        rig_start(&rig, round);
        rig.config.keepers = 3;
        rig.config.tiers = pair;
        rig.config.tier_count = 2;
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        struct store_bundle bundle = {.ops = ops, .count = MANY, .atomic = true};
        for (uint32_t i = 0; i < MANY; i++) {
            ops[i] = (struct store_op){.kind = STORE_PUT, .bytes = BYTES, .codec = 0x55};
            memcpy(bodies[i], rig_block(i, BYTES, &ops[i].key), BYTES);
            ops[i].data = bodies[i];
        }
        uint32_t home = round / 2 % 3;
        keeper_bundle(store_keeper(rig.store, home), &bundle);
        while (!keeper_bundle_done(store_keeper(rig.store, home))) {
            rig_turn(&rig);
            (void)store_housekeep(rig.store);
        }
        cr_assert(bundle.committed);
        if (round % 4 < 2) {
            rig_crash(&rig);
        } else {
            rig_close(&rig);
            (void)rig_forget(&rig);
        }
        sim_disk_device(rig.sim, missing, &(struct sim_device){.state = SIM_DEVICE_GONE});
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        for (uint32_t i = 0; i < MANY; i++) {
            int32_t r = rig_get(&rig, i, BYTES);
            cr_assert(r == 0 || r == STORE_RETRY, "block %u: %d", i, r);
            waited += r != 0;
        }
        sim_disk_device(rig.sim, missing, &(struct sim_device){.state = SIM_DEVICE_FINE});
        wait_till_known();
        expect_all(MANY, BYTES, "in the same run");
        expect_no_trace();
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0);
        expect_all(MANY, BYTES, "after the next start");
    }
    cr_assert_gt(waited, 12);
}
