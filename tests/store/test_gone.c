/* SPDX-License-Identifier: MIT */
#include "store/gone.h"

#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* The list of ranges that went in order: joined, forgotten with their log, and only believed whole.
 */

static struct gone_range range(uint32_t epoch, uint64_t first, uint64_t last, uint32_t log) {
    return (struct gone_range){
        .first_lsn = lsn_make(epoch, first), .last_lsn = lsn_make(epoch, last), .log = log};
}

static void add(struct gone *gone, const struct gone_range *range) {
    cr_assert_eq(gone_add(gone, range), 0);
}

Test(gone, ranges_of_a_log_are_joined) {
    struct rig rig;
    rig_start(&rig, 3);
    cr_assert_eq(rig_open(&rig), 0);
    struct gone *gone = &rig.store->gone;
    struct gone_range ranges[] = {range(7, 1, 10, 0), range(7, 21, 30, 0), range(7, 11, 20, 1),
                                  range(8, 11, 20, 0)};
    for (size_t i = 0; i < array_count(ranges); i++) {
        add(gone, &ranges[i]);
    }
    cr_assert_eq(gone->count, 4);
    struct gone_range between = range(7, 11, 20, 0);
    add(gone, &between);
    cr_assert_eq(gone->count, 3, "three of one log are one");
    bool whole = false;
    for (uint32_t i = 0; i < gone->count; i++) {
        const struct gone_range *at = &gone_ranges(gone)[i];
        whole = whole || (at->log == 0 && at->first_lsn == lsn_make(7, 1) &&
                          at->last_lsn == lsn_make(7, 30));
    }
    cr_assert(whole);
    rig_end(&rig);
}

Test(gone, a_log_without_segments_is_forgotten_and_the_rest_lasts) {
    struct rig rig;
    rig_start(&rig, 4);
    cr_assert_eq(rig_open(&rig), 0);
    struct gone *gone = &rig.store->gone;
    uint32_t epoch = rig.store->segments.epoch;
    struct gone_range old = range(epoch + 5, 1, 10, 0), ours = range(epoch, 1, 10, 9);
    add(gone, &old);
    add(gone, &ours);
    cr_assert_eq(gone_write(gone, &rig.store->segments, false), 0);
    cr_assert_eq(gone->count, 2, "a tier that is away may hold segments of that log");
    cr_assert_eq(gone_write(gone, &rig.store->segments, true), 0);
    cr_assert_eq(gone->count, 1);
    struct gone again;
    cr_assert_eq(gone_open(&again, &rig.store->segments), 0);
    cr_assert_eq(again.count, 1);
    cr_assert_eq(gone_ranges(&again)[0].last_lsn, lsn_make(epoch, 10));
    gone_close(&again);
    rig_end(&rig);
}

Test(gone, damage_makes_it_an_empty_one) {
    struct rig rig;
    rig_start(&rig, 5);
    cr_assert_eq(rig_open(&rig), 0);
    struct gone_range ours = range(rig.store->segments.epoch, 1, 10, 9);
    add(&rig.store->gone, &ours);
    cr_assert_eq(gone_write(&rig.store->gone, &rig.store->segments, true), 0);
    uint64_t bytes = 0;
    for (size_t at = 0; at < sizeof(struct gone_header) + sizeof(struct gone_range); at++) {
        if (at >= offsetof(struct gone_header, zero) && at < offsetof(struct gone_header, xxh3)) {
            continue;
        }
        uint8_t byte = sim_disk_bytes(rig.sim, "/s/GONE", &bytes)[at] ^ 1, right = byte ^ 1;
        sim_disk_spoil(rig.sim, "/s/GONE", at, &byte, 1);
        struct gone again;
        cr_assert_eq(gone_open(&again, &rig.store->segments), 0);
        cr_assert_eq(again.count, 0, "byte %zu", at);
        gone_close(&again);
        sim_disk_spoil(rig.sim, "/s/GONE", at, &right, 1);
    }
    cr_assert_eq(gone_check("short", 5, rig.store->segments.uuid), UINT32_MAX);
    rig_end(&rig);
}
