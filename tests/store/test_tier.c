/* SPDX-License-Identifier: MIT */
#include "store/tier.h"

#include "store/crc32c.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tiers (store/tier.c, its files in store/tier_file.c and store/page_file.c, its numbers in
 * store/tier_usage.c, store/rejoin.c): what paths hold, what is missing, what comes back. */

enum { BYTES = 60000, SEGMENT_BLOCKS = 68 };

static struct rig rig;

static const struct store_tier two[] = {{"ssd", 0, TIER_SSD}, {"hdd", 0, TIER_HDD}};
static const struct store_tier fast_pair[] = {{"a", 0, TIER_SSD}, {"b", 0, TIER_SSD}};
/* The fast one takes three segments: two spares and one more are kept free. */
static const struct store_tier small_fast[] = {{"ssd", 20 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};

static void start(void) {
    rig_start(&rig, 17);
}
static void end(void) {
    rig_end(&rig);
}
TestSuite(tier, .init = start, .fini = end);

static void use(const struct store_tier *tiers, uint32_t count) {
    rig.config.tiers = tiers;
    rig.config.tier_count = count;
}

static void device(const char *dir, enum sim_device_state state) {
    sim_disk_device(rig.sim, dir, &(struct sim_device){.state = state});
}

static uint32_t segments_in(const char *dir) {
    uint32_t count = 0;
    size_t length = strlen(dir);
    const char *name;
    for (uint32_t i = 0; (name = sim_disk_name(rig.sim, i)) != NULL; i++) {
        count += strncmp(name, dir, length) == 0 && name[length] == '/' &&
                 segment_id_of(name + length + 1) != 0;
    }
    return count;
}

static enum tier_state state_of(uint32_t tier) {
    struct store_tier_usage usages[TIERS_MAX];
    cr_assert_lt(tier, store_tiers(rig.store, usages, TIERS_MAX));
    return usages[tier].state;
}

static enum find_state find_it(uint32_t i) {
    struct key key;
    (void)rig_block(i, BYTES, &key);
    struct find find = {.key = &key};
    store_turn(rig.store, 0);
    store_find(rig.store, 0, &find, 1);
    if (find.state == FIND_FRAME) {
        frame_give_back(find.frame);
    }
    return find.state;
}

static uint8_t have_it(uint32_t i) {
    struct key key;
    uint8_t present = 9;
    (void)rig_block(i, BYTES, &key);
    store_turn(rig.store, 0);
    store_have(rig.store, 0, &key, &present, 1);
    return present;
}

static void put_many(uint32_t from, uint32_t to) {
    for (uint32_t i = from; i < to; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0, "block %u", i);
    }
}
static void get_many(uint32_t from, uint32_t to, int32_t result) {
    for (uint32_t i = from; i < to; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), result, "block %u", i);
    }
}

Test(tier, a_store_without_tiers_named_has_one_in_its_directory) {
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    struct store_tier_usage usage;
    cr_assert_eq(store_tiers(rig.store, &usage, 1), 1);
    cr_assert_str_eq(usage.dir, "ssd");
    cr_assert_eq(usage.kind, TIER_SSD);
    cr_assert_eq(usage.state, TIER_ONLINE);
    uint64_t bytes;
    cr_assert_not_null(sim_disk_bytes(rig.sim, "/s/ssd/TIER", &bytes));
    cr_assert_eq(bytes, PAGE_BYTES);
    put_many(0, 3);
    cr_assert_eq(store_tiers(rig.store, &usage, 1), 1);
    cr_assert_eq(usage.blocks, 3);
    cr_assert_eq(rig.store->super.slot.incompat, 0, "an older version may open it");
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    get_many(0, 3, 0);
}

Test(tier, fast_paths_are_taken_in_turn_and_slow_ones_when_they_are_full) {
    use(fast_pair, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    put_many(0, 4 * SEGMENT_BLOCKS);
    cr_assert_gt(segments_in("/s/a"), 1);
    cr_assert_gt(segments_in("/s/b"), 1);
    cr_assert_eq(segments_in("/s/ssd"), 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    get_many(0, 4 * SEGMENT_BLOCKS, 0);
}

Test(tier, one_that_could_never_hold_a_segment_is_refused_by_name) {
    static const struct store_tier tiny[] = {{"a", KiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};
    static const struct store_tier least[] = {{"a", 8 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};
    use(tiny, 2);
    cr_assert_eq(rig_open(&rig), -EINVAL);
    cr_assert(rig.report.misconfigured);
    cr_assert_str_eq(rig.report.why, "the tier at /s/a may take 1024 bytes and would never hold a "
                                     "block: with segments of 4 MiB it needs 8 MiB, and is of use "
                                     "from 24 MiB on with 1 work core");
    use(least, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s: nothing was made before", rig.report.why);
    cr_assert(rig.report.formatted);
    put_many(0, 1);
    cr_assert_eq(segments_in("/s/a"), 1);
    rig_close(&rig);
    static const struct store_tier more[] = {
        {"a", 8 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}, {"b", 7 * MiB, TIER_SSD}};
    use(more, 3);
    cr_assert_eq(rig_open(&rig), -EINVAL);
    cr_assert(rig.report.misconfigured);
    use(tiny, 2);
    cr_assert_eq(rig_open(&rig), 0, "what is there may be made to take no more");
}

/* What a new store with two keepers and an SSD of this size takes for its segments. */
static uint64_t chosen(uint64_t ssd_bytes, uint32_t block_bytes_max) {
    const struct store_tier tiers[] = {{"a", ssd_bytes, TIER_SSD}, {"hdd", 0, TIER_HDD}};
    struct rig other;
    rig_start(&other, 77);
    other.config.tiers = tiers;
    other.config.tier_count = 2;
    other.config.keepers = 2;
    other.config.segment_bytes = 0;
    other.config.block_bytes_max = block_bytes_max;
    cr_assert_eq(rig_open(&other), 0, "%s", other.report.why);
    uint64_t bytes = other.store->segments.segment_bytes;
    rig_end(&other);
    return bytes;
}

Test(tier, segments_of_a_new_store_follow_the_smallest_tier) {
    uint64_t large = chosen(0, 0);
    cr_assert_geq(large, 16 * MiB);
    cr_assert_eq(chosen(512 * MiB, 0), 16 * MiB);
    cr_assert_eq(chosen(160 * MiB, 0), 4 * MiB);
    cr_assert_eq(chosen(30 * MiB, 0), 4 * MiB);
    cr_assert_eq(chosen(160 * MiB, STORE_BLOCK_HARD_MAX), 8 * MiB, "or no such block would fit");
    cr_assert_eq(chosen(64 * GiB, 0), large);
}

Test(tier, a_full_fast_tier_spills_to_the_slow_one) {
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    put_many(0, 8 * SEGMENT_BLOCKS);
    cr_assert_gt(segments_in("/s/hdd"), 2);
    cr_assert_eq(state_of(0), TIER_FULL);
    cr_assert_eq(state_of(1), TIER_ONLINE);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    get_many(0, 8 * SEGMENT_BLOCKS, 0);
    struct store_tier_usage usages[2];
    cr_assert_eq(store_tiers(rig.store, usages, 2), 2);
    cr_assert_eq(usages[0].blocks + usages[1].blocks, 8 * SEGMENT_BLOCKS);
    cr_assert_gt(usages[1].hits, 0);
    cr_assert_eq(usages[0].misses, usages[1].hits);
    cr_assert_leq(usages[0].bytes_on_disk, usages[0].size_bytes);
}

Test(tier, who_names_none_gets_those_of_last_time) {
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0);
    put_many(0, 8 * SEGMENT_BLOCKS);
    rig_close(&rig);
    use(NULL, 0);
    rig.config.read_only = true; /* as verify, ls and export open it */
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    struct store_tier_usage usages[2];
    cr_assert_eq(store_tiers(rig.store, usages, 2), 2);
    cr_assert_str_eq(usages[1].dir, "hdd");
    cr_assert_eq(usages[1].kind, TIER_HDD);
    cr_assert_eq(usages[0].size_bytes, 0, "the quota of DIR/ssd is the configuration's");
    get_many(0, 8 * SEGMENT_BLOCKS, 0);
}

Test(tier, an_older_version_refuses_a_store_with_more_than_one) {
    use(two, 2);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_neq(rig.store->super.slot.incompat & SUPER_INCOMPAT_TIERS, 0);
}

Test(tier, case_14_missing_at_start_serves_the_rest_and_calls_nothing_absent) {
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0);
    put_many(0, 8 * SEGMENT_BLOCKS);
    rig_close(&rig);
    device("/s/hdd", SIM_DEVICE_GONE);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_not_null(strstr(rig.report.tiers, "/s/hdd is missing"), "%s", rig.report.tiers);
    cr_assert_eq(rig.report.corrupt_ranges, 0, "what is away is not lost");
    cr_assert_eq(state_of(1), TIER_MISSING);
    uint32_t here = 0;
    for (uint32_t i = 0; i < 8 * SEGMENT_BLOCKS; i++) {
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r == 0 || r == STORE_RETRY, "block %u: %d", i, r);
        here += r == 0;
    }
    cr_assert_gt(here, SEGMENT_BLOCKS);
    cr_assert_lt(here, 4 * SEGMENT_BLOCKS);
    cr_assert_eq(find_it(7 * SEGMENT_BLOCKS), FIND_RETRY);
    cr_assert_eq(have_it(7 * SEGMENT_BLOCKS), 2);
    cr_assert_eq(rig_get(&rig, 99999, BYTES), STORE_RETRY);
    cr_assert_eq(rig_delete(&rig, 99999, BYTES), STORE_RETRY);
    cr_assert_eq(have_it(0), 1);
    cr_assert_eq(rig_delete(&rig, 0, BYTES), 0, "what is here is deleted as ever");
}

Test(tier, case_14_an_empty_mount_point_is_neither_used_nor_set_up_anew) {
    use(two, 2);
    cr_assert_eq(rig_open(&rig), 0);
    rig_close(&rig);
    device("/s/hdd", SIM_DEVICE_EMPTY);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(state_of(1), TIER_MISSING);
    cr_assert_not_null(strstr(rig.report.tiers, "mount point"), "%s", rig.report.tiers);
    cr_assert_eq(segments_in("/s/hdd"), 0);
    uint64_t bytes;
    cr_assert_null(sim_disk_bytes(rig.sim, "/s/hdd/TIER", &bytes));
}

Test(tier, with_none_left_the_store_is_refused_in_words) {
    cr_assert_eq(rig_open(&rig), 0);
    rig_close(&rig);
    device("/s/ssd", SIM_DEVICE_EMPTY);
    cr_assert_eq(rig_open(&rig), STORE_FORMAT);
    cr_assert_not_null(strstr(rig.report.why, "/s/ssd is missing"), "%s", rig.report.why);
    device("/s/ssd", SIM_DEVICE_FINE);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
}

Test(tier, case_14_a_tier_of_another_store_is_refused) {
    use(two, 2);
    cr_assert_eq(rig_open(&rig), 0);
    rig_close(&rig);
    rig.config.dir = "/s/n";
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    rig_close(&rig);
    sim_disk_swap(rig.sim, "/s/hdd", "/s/n/hdd");
    cr_assert_eq(rig_open(&rig), STORE_FORMAT);
    cr_assert_not_null(strstr(rig.report.why, "belongs to another store"), "%s", rig.report.why);
    sim_disk_swap(rig.sim, "/s/hdd", "/s/n/hdd");
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
}

Test(tier, case_14_swapped_tiers_are_known_by_their_names) {
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0);
    put_many(0, 8 * SEGMENT_BLOCKS);
    rig_close(&rig);
    sim_disk_swap(rig.sim, "/s/ssd", "/s/hdd");
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_not_null(strstr(rig.report.tiers, "holds the tier that was at"), "%s",
                       rig.report.tiers);
    get_many(0, 8 * SEGMENT_BLOCKS, 0);
    rig_close(&rig);
    sim_disk_swap(rig.sim, "/s/ssd", "/s/hdd");
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    get_many(0, 8 * SEGMENT_BLOCKS, 0);
}

Test(tier, one_no_longer_configured_is_read_and_gets_nothing_new) {
    use(fast_pair, 2);
    cr_assert_eq(rig_open(&rig), 0);
    put_many(0, 4 * SEGMENT_BLOCKS);
    rig_close(&rig);
    use(fast_pair, 1);
    uint32_t before = segments_in("/s/b");
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(state_of(1), TIER_READONLY);
    put_many(4 * SEGMENT_BLOCKS, 8 * SEGMENT_BLOCKS);
    cr_assert_eq(segments_in("/s/b"), before);
    get_many(0, 8 * SEGMENT_BLOCKS, 0);
}

Test(tier, a_foreign_directory_is_not_made_a_tier) {
    use(two, 2);
    cr_assert_eq(rig_open(&rig), 0);
    rig_close(&rig);
    static const struct store_tier more[] = {{"ssd", 0, TIER_SSD}, {"home", 0, TIER_HDD}};
    const struct disk_calls *calls = rig.disk.calls;
    cr_assert_eq(calls->make_dir(rig.disk.backend, "/s/home", 0750), 0);
    int fd = calls->open_file(rig.disk.backend, "/s/home/letters", O_RDWR | O_CREAT, 0640);
    cr_assert_geq(fd, 0);
    cr_assert_eq(calls->close_file(rig.disk.backend, fd), 0);
    use(more, 2);
    cr_assert_eq(rig_open(&rig), STORE_FORMAT);
    cr_assert_not_null(strstr(rig.report.why, "is not empty"), "%s", rig.report.why);
    static const struct store_tier twice[] = {{"ssd", 0, TIER_SSD}, {"ssd/", 0, TIER_HDD}};
    use(twice, 2);
    cr_assert_eq(rig_open(&rig), -EINVAL);
    cr_assert_not_null(strstr(rig.report.why, "named twice"), "%s", rig.report.why);
}

Test(tier, case_7_a_segment_under_an_id_that_two_tiers_have_loses_nothing) {
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0);
    put_many(0, 8 * SEGMENT_BLOCKS);
    rig_close(&rig);
    const char *name = NULL;
    for (uint32_t i = 0; (name = sim_disk_name(rig.sim, i)) != NULL; i++) {
        if (strncmp(name, "/s/ssd/0", 8) == 0) {
            break;
        }
    }
    cr_assert_not_null(name);
    char from[64], as[64];
    snprintf(from, sizeof from, "%s", name);
    snprintf(as, sizeof as, "/s/hdd/%s", name + strlen("/s/ssd/"));
    sim_disk_duplicate(rig.sim, from, as);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig.report.segments_twice, 1);
    cr_assert_eq(rig.report.blocks, 8 * SEGMENT_BLOCKS);
    get_many(0, 8 * SEGMENT_BLOCKS, 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.segments_twice, 0, "the copy is gone");
    get_many(0, 8 * SEGMENT_BLOCKS, 0);
}

Test(tier, ids_of_a_tier_that_is_away_are_not_given_out) {
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0);
    put_many(0, 8 * SEGMENT_BLOCKS);
    uint32_t top = rig.store->segments.top;
    rig_close(&rig);
    device("/s/hdd", SIM_DEVICE_GONE);
    static const struct store_tier large[] = {{"ssd", 0, TIER_SSD}, {"hdd", 0, TIER_HDD}};
    use(large, 2);
    cr_assert_eq(rig_open(&rig), 0);
    put_many(1000, 1000 + 3 * SEGMENT_BLOCKS);
    for (uint32_t id = 1; id < rig.store->segments.top; id++) {
        const struct segment *segment = &rig.store->segments.all[id];
        bool made_now =
            segment_state(segment) != SEGMENT_NONE && segment->epoch == rig.store->segments.epoch;
        cr_assert(!made_now || id >= top, "id %u", id);
    }
}

Test(tier, the_file_of_a_tier_with_any_bit_wrong_is_not_believed) {
    uint8_t *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    struct disk disk = rig.disk;
    crc32c_open();
    struct tier_page tier = {.magic = TIER_FILE_MAGIC, .version = FORMAT_MAJOR, .kind = TIER_HDD};
    memset(tier.uuid, 7, sizeof tier.uuid);
    (void)disk.calls->make_dir(disk.backend, "/x", 0750);
    cr_assert_eq(tier_write(&disk, "/x", &tier, page), 0);
    for (uint32_t bit = 0; bit < PAGE_BYTES * 8; bit++) {
        cr_assert_eq(tier_read(&disk, "/x", page), 0);
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_neq(tier_page_check(page), 0, "bit %u", bit);
    }
    free(page);
}

Test(tier, a_damaged_tier_file_is_made_anew_under_the_name_the_store_knows) {
    use(two, 2);
    cr_assert_eq(rig_open(&rig), 0);
    uint8_t uuid[16];
    memcpy(uuid, rig.store->tiers.all[1].uuid, 16);
    rig_close(&rig);
    sim_disk_spoil(rig.sim, "/s/hdd/TIER", 30, "spoilt", 6);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(state_of(1), TIER_ONLINE);
    cr_assert_arr_eq(rig.store->tiers.all[1].uuid, uuid, 16);
}

Test(tier, case_16_a_tier_that_cannot_be_written_is_read) {
    use(fast_pair, 2);
    cr_assert_eq(rig_open(&rig), 0);
    put_many(0, 4 * SEGMENT_BLOCKS);
    rig_crash(&rig); /* with an unsealed segment on each, maybe */
    sim_disk_device(rig.sim, "/s/b", &(struct sim_device){.read_only = true});
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    get_many(0, 4 * SEGMENT_BLOCKS, 0);
    put_many(4 * SEGMENT_BLOCKS, 6 * SEGMENT_BLOCKS);
    cr_assert_eq(state_of(1), TIER_READONLY);
    rig_close(&rig);
    sim_disk_device(rig.sim, "/s/b", &(struct sim_device){.read_only = false});
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    get_many(0, 6 * SEGMENT_BLOCKS, 0);
}

/* Power goes at every call of setting two tiers up and adding a third. */
Test(tier, setting_tiers_up_can_be_cut_off_anywhere) {
    static const struct store_tier three[] = {
        {"ssd", 0, TIER_SSD}, {"hdd", 0, TIER_HDD}, {"more", 0, TIER_HDD}};
    rig_end(&rig);
    for (uint32_t calls = 1; calls < 120; calls++) {
        rig_start(&rig, calls);
        use(two, 2);
        sim_disk_crash_after(rig.sim, calls);
        if (rig_open(&rig) == 0) {
            rig_crash(&rig);
        } else {
            sim_disk_restart(rig.sim);
        }
        cr_assert_eq(rig_open(&rig), 0, "after %u calls: %s", calls, rig.report.why);
        put_many(0, 2);
        rig_close(&rig);
        use(three, 3);
        sim_disk_crash_after(rig.sim, calls);
        if (rig_open(&rig) == 0) {
            rig_crash(&rig);
        } else {
            sim_disk_restart(rig.sim);
        }
        cr_assert_eq(rig_open(&rig), 0, "after %u calls: %s", calls, rig.report.why);
        get_many(0, 2, 0);
        for (uint32_t i = 0; i < 3; i++) {
            cr_assert_eq(state_of(i), TIER_ONLINE, "tier %u after %u calls", i, calls);
        }
        rig_end(&rig);
    }
    rig_start(&rig, 1);
}

/* Turns until the porter's probe says so. */
static void wait_for(uint32_t tier, enum tier_state state) {
    for (uint32_t i = 0; state_of(tier) != state; i++) {
        cr_assert_lt(i, 100, "tier %u is %s", tier, tier_state_name(state_of(tier)));
        rig.now_ns += NS_PER_S / 4;
        rig_turn(&rig);
        (void)store_maintain(rig.store, rig.now_ns);
        (void)store_housekeep(rig.store);
    }
}

static uint32_t count_here(uint32_t count) {
    uint32_t here = 0;
    for (uint32_t i = 0; i < count; i++) {
        int32_t r = rig_get(&rig, i, BYTES);
        cr_assert(r == 0 || r == STORE_RETRY, "block %u: %d", i, r);
        here += r == 0;
    }
    return here;
}

/* A slow tier that goes while the store serves, and comes back: values without a restart. */
static void goes_and_comes(enum sim_device_state how) {
    enum { COUNT = 8 * SEGMENT_BLOCKS };
    use(small_fast, 2);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    put_many(0, COUNT);
    device("/s/hdd", how);
    (void)rig_get(&rig, COUNT - 1, BYTES);
    wait_for(1, TIER_MISSING);
    uint32_t here = count_here(COUNT);
    cr_assert_gt(here, SEGMENT_BLOCKS);
    cr_assert_lt(here, COUNT / 2);
    cr_assert_eq(rig_get(&rig, 99999, BYTES), STORE_ABSENT, "the catalog knows all there is");
    cr_assert_eq(rig_delete(&rig, 99999, BYTES), STORE_ABSENT);
    /* case 12: the block is away, its tombstone takes the segment that was kept back for it */
    cr_assert_eq(rig_delete(&rig, COUNT - 2, BYTES), 0);
    device("/s/hdd", SIM_DEVICE_FINE);
    wait_for(1, TIER_ONLINE);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), i == COUNT - 2 ? STORE_ABSENT : 0, "block %u", i);
    }
    put_many(COUNT, COUNT + SEGMENT_BLOCKS);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    get_many(0, COUNT - 2, 0);
    cr_assert_eq(rig_get(&rig, COUNT - 2, BYTES), STORE_ABSENT, "it does not come back");
}

Test(tier, case_14_a_tier_that_fails_while_serving_comes_back_without_a_restart) {
    goes_and_comes(SIM_DEVICE_FAILING);
}
Test(tier, case_14_a_tier_that_goes_while_serving_comes_back_without_a_restart) {
    goes_and_comes(SIM_DEVICE_GONE);
}
Test(tier, case_14_a_tier_unmounted_while_serving_comes_back_without_a_restart) {
    goes_and_comes(SIM_DEVICE_EMPTY);
}

/* A block of a tier is deleted; its tombstone, on another, is compacted while the first is away,
 * and nothing else that is there is older. */
/* Writes to a file of the store that nobody holds: its descriptor may be closed under them. */
static const struct disk_calls *plain_calls;
static uint32_t held_writes, loose_writes;

static int64_t watched_pwrite(void *backend, int fd, const void *buffer, size_t bytes,
                              uint64_t offset) {
    for (uint32_t id = 1; rig.store && id < rig.store->segments.top; id++) {
        const struct segment *segment = &rig.store->segments.all[id];
        if (segment_state(segment) != SEGMENT_NONE && segment_fd(segment) == fd) {
            uint32_t pins = atomic_load_explicit(&segment->pins, memory_order_relaxed);
            held_writes += pins > 0;
            loose_writes += pins == 0;
        }
    }
    return plain_calls->pwrite(backend, fd, buffer, bytes, offset);
}

Test(tier, housekeeping_holds_the_files_it_writes_to) {
    plain_calls = rig.disk.calls;
    struct disk_calls calls = *plain_calls;
    calls.pwrite = watched_pwrite;
    rig.config.disk.calls = &calls;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < 2 * SEGMENT_BLOCKS; i++) { /* zeroes ahead, footers behind */
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
        (void)store_housekeep(rig.store);
    }
    cr_assert_gt(held_writes, 2);
    cr_assert_eq(loose_writes, 0);
    rig_close(&rig);
    rig.config.disk.calls = plain_calls;
}

Test(tier, case_12_a_tombstone_outlives_compaction_while_the_older_copy_is_away) {
    enum { COUNT = 2 * SEGMENT_BLOCKS, VICTIM = 7 };
    rig_bury_elsewhere(&rig, COUNT, VICTIM, BYTES);
    cr_assert_gt(counter_get(&store_upkeep(rig.store)->tombstones_carried), RIG_BURIED);
    rig_close(&rig);
    device("/s/a", SIM_DEVICE_FINE);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig_get(&rig, VICTIM, BYTES), STORE_ABSENT);
    get_many(VICTIM + 1, COUNT, 0);
}

static void copy_tier(const char *from, const char *to) {
    static uint8_t bytes[5 * MiB];
    const struct disk_calls *calls = rig.disk.calls;
    void *backend = rig.disk.backend;
    const char *names[256];
    uint32_t count = 0;
    for (uint32_t i = 0; (names[count] = sim_disk_name(rig.sim, i)) != NULL && count < 255; i++) {
        size_t length = strlen(from);
        count += strncmp(names[count], from, length) == 0 && names[count][length] == '/';
    }
    for (uint32_t i = 0; i < count; i++) {
        char path[128], source[128];
        snprintf(source, sizeof source, "%s", names[i]);
        snprintf(path, sizeof path, "%s%s", to, source + strlen(from));
        int in = calls->open_file(backend, source, O_RDWR, 0);
        int out = calls->open_file(backend, path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        cr_assert(in >= 0 && out >= 0);
        uint64_t size = (uint64_t)calls->file_bytes(backend, in);
        cr_assert_leq(size, sizeof bytes);
        cr_assert_eq(calls->pread(backend, in, bytes, size, 0), (int64_t)size);
        cr_assert_eq(calls->pwrite(backend, out, bytes, size, 0), (int64_t)size);
        (void)calls->close_file(backend, in);
        (void)calls->close_file(backend, out);
    }
}

static int remove_in_a(void *context, const char *name) {
    (void)context;
    char path[128];
    snprintf(path, sizeof path, "/s/a/%s", name);
    return rig.disk.calls->unlink_file(rig.disk.backend, path);
}

Test(tier, an_older_copy_of_a_tier_is_left_aside_and_said) {
    use(fast_pair, 2);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < 2 * SEGMENT_BLOCKS; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    cr_assert_eq(rig.disk.calls->make_dir(rig.disk.backend, "/s/old", 0700), 0);
    copy_tier("/s/a", "/s/old");
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.tiers[0], 0, "%s", rig.report.tiers);
    for (uint32_t i = 0; i < SEGMENT_BLOCKS; i++) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    while (segments_in("/s/a") > 0) {
        (void)rig.disk.calls->list_dir(rig.disk.backend, "/s/a", remove_in_a, NULL);
    }
    copy_tier("/s/old", "/s/a");
    for (uint32_t way = 0; way < 3; way++) { /* named; as it was known; no longer named */
        rig.config.tier_count = way == 1 ? 0 : way == 2 ? 1 : 2;
        rig.config.tiers = way == 2 ? &fast_pair[1] : fast_pair;
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        cr_assert_not_null(strstr(rig.report.tiers, "older copy"), "%s", rig.report.tiers);
        for (uint32_t turn = 0; turn < 4; turn++) { /* and it is not taken up while serving */
            rig.now_ns += 2 * NS_PER_S;
            rig_maintain(&rig, 50);
        }
        uint32_t away = 0;
        for (uint32_t i = 0; i < 2 * SEGMENT_BLOCKS; i++) {
            enum find_state found = find_it(i);
            cr_assert_neq(found, FIND_ABSENT, "nothing is called absent");
            away += found == FIND_RETRY;
        }
        cr_assert_gt(away, 0);
        rig_close(&rig);
    }
}
