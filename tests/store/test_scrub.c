/* SPDX-License-Identifier: MIT */
#include "store/scrub.h"

#include "base/bits.h"
#include "store/compact.h"
#include "store/crc32c.h"
#include "store/standing.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>
#include <xxhash.h>

/* Rot is found without anybody reading, mended where there is a copy, and said where there is none
 * (store/scrub.c, its passes in store/pass.c, the search for copies in store/repair.c, where it
 * stands in store/standing.c). */

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
    rig.config.scrub_cycle_ns[TIER_SSD] = 1000 * NS_PER_S;
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

/* The file of the segment that a block lies in. */
static uint64_t file_of(struct rig *rig, uint32_t i, char path[SEGMENT_PATH_MAX]) {
    uint64_t bytes = 0;
    segment_path(&rig->store->segments, place_spot(rig_place(rig, i, BYTES)).segment, path);
    (void)sim_disk_bytes(rig->sim, path, &bytes);
    return bytes;
}

/* A list that does not verify is damage; one that the disk does not give may be sound. */
Test(scrub, a_list_that_is_damaged_and_one_that_cannot_be_read_are_told_apart) {
    struct rig rig;
    struct store_task task;
    char path[SEGMENT_PATH_MAX];
    sealed(&rig, 37);
    uint64_t list = file_of(&rig, 0, path) - 2 * PAGE_BYTES;
    sim_disk_bad_page(rig.sim, path, list);
    run(&rig, &task);
    cr_assert_eq(task.result, STORE_RETRY, "%d %s", task.result, task.why);
    cr_assert_not_null(strstr(task.why, "cannot be read"), "%s", task.why);
    sim_disk_heal(rig.sim);
    run(&rig, &task);
    cr_assert_eq(task.result, 0, "%s", task.why);
    sim_disk_spoil(rig.sim, path, list, "rotten", 6);
    run(&rig, &task);
    cr_assert_eq(task.result, STORE_CORRUPT);
    cr_assert_not_null(strstr(task.why, "damaged list"), "%s", task.why);
    rig_end(&rig);
}

/* Killed, and then its tier can only be read: nothing is sealed, and so nothing is looked at. */
Test(scrub, what_has_no_list_on_a_tier_that_cannot_be_written_is_said_to_be_left_out) {
    struct rig rig;
    struct store_task task;
    static const struct store_tier pair[] = {{"a", 0, TIER_SSD}, {"b", 0, TIER_SSD}};
    rig_start(&rig, 38);
    rig.config.tiers = pair;
    rig.config.tier_count = 1;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_mark(&rig);
    run(&rig, &task);
    cr_assert_eq(task.result, 0, "a log that is written has no list yet: %s", task.why);
    rig_crash(&rig);
    sim_disk_device(rig.sim, "/s/a", &(struct sim_device){.read_only = true});
    rig.config.tier_count = 2;
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    run(&rig, &task);
    cr_assert_eq(task.result, STORE_RETRY);
    cr_assert_eq(counter_get(&task.seen), 0);
    cr_assert_not_null(strstr(task.why, "1 segment was left out"), "%s", task.why);
    sim_disk_device(rig.sim, "/s/a", &(struct sim_device){.state = SIM_DEVICE_FINE});
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    run(&rig, &task);
    cr_assert_eq(task.result, 0, "%s", task.why);
    cr_assert_eq(counter_get(&task.seen), BLOCKS);
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

static uint64_t used(const struct rig *rig) {
    uint64_t sum = 0;
    const char *name;
    for (uint32_t i = 0; (name = sim_disk_name(rig->sim, i)) != NULL; i++) {
        uint64_t bytes = 0;
        (void)sim_disk_bytes(rig->sim, name, &bytes);
        sum += bytes;
    }
    return sum;
}

Test(scrub, a_copy_that_finds_no_room_is_no_damage) {
    struct rig rig;
    struct store_task task;
    sealed(&rig, 36);
    cr_assert_eq(rig_get(&rig, 3, BYTES), 0);
    rig_spoil(&rig, rig_place(&rig, 3, BYTES), 2000);
    sim_disk_faults(rig.sim, &(struct sim_faults){.space = used(&rig)});
    run(&rig, &task);
    cr_assert_eq(task.result, STORE_FULL, "%d: %s", task.result, task.why);
    cr_assert_neq(strstr(task.why, "no room"), NULL, "%s", task.why);
    cr_assert_eq(counter_get(&task.phase), 0, "nothing is damaged for good");
    cr_assert_eq(counter_get(&upkeep(&rig)->quarantined), 0);
    cr_assert_eq(counter_get(&upkeep(&rig)->repairs), 0);
    cr_assert_eq(counter_get(&upkeep(&rig)->repairs_no_room), 1);
    sim_disk_faults(rig.sim, &(struct sim_faults){.space = 0});
    run(&rig, &task);
    cr_assert_eq(task.result, 0, "%s", task.why);
    cr_assert_eq(counter_get(&upkeep(&rig)->repairs), 1);
    rig_end(&rig);
}

struct told {
    struct key keys[4];
    uint32_t count, unknown;
};

static void tell(void *context, const struct key *key, uint32_t codec) {
    struct told *told = context;
    (void)codec;
    if (key && told->count < 4) {
        told->keys[told->count++] = *key;
    }
    told->unknown += key == NULL;
}

Test(scrub, whoever_may_know_a_copy_elsewhere_is_told) {
    struct rig rig;
    struct store_task task;
    struct told told = {.count = 0};
    rig_start(&rig, 37);
    rig.config.lost = tell;
    rig.config.lost_context = &told;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 5, BYTES), 0);
    rig_spoil(&rig, rig_place(&rig, 3, BYTES), 2000);
    rig_spoil(&rig, rig_place(&rig, 5, BYTES), 2000); /* in memory: not lost */
    run(&rig, &task);
    struct key key;
    (void)rig_block(3, BYTES, &key);
    cr_assert_eq(told.count, 1);
    cr_assert_eq(told.unknown, 0);
    cr_assert(key_equal(&told.keys[0], &key));
    rig_end(&rig);
}

/* More segments than one, so that a search for a copy has footers to read. */
enum { MANY = 600, MANY_BYTES = 60000 };

static void many(struct rig *rig, uint64_t seed) {
    rig_start(rig, seed);
    cr_assert_eq(rig_open(rig), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_eq(rig_put(rig, i, MANY_BYTES), 0);
        (void)store_housekeep(rig->store);
    }
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 0);
}

Test(scrub, a_search_for_copies_is_done_in_steps_and_once_for_many) {
    struct rig rig;
    struct store_task task = {.kind = STORE_TASK_SCRUB};
    many(&rig, 38);
    for (uint32_t i = 0; i < 20; i++) {
        rig_spoil(&rig, rig_place(&rig, i, MANY_BYTES), 2000);
    }
    uint64_t from = sim_disk_calls(rig.sim);
    cr_assert_eq(store_task_begin(rig.store, &task), 0);
    for (uint32_t i = 0; atomic_load(&task.state) != STORE_TASK_DONE; i++) {
        cr_assert_lt(i, 10000);
        (void)store_maintain(rig.store, rig.now_ns);
        rig_turn(&rig);
    }
    cr_assert_eq(counter_get(&task.phase), 20);
    uint64_t segments = rig.store->segments.top;
    cr_assert_geq(segments, 9);
    /* all blocks in runs of a MiB, and the footers once a run that found something: not 20 times */
    uint64_t calls = sim_disk_calls(rig.sim) - from;
    cr_assert_lt(calls, 20 * 3 * segments, "%lu calls for %lu segments", calls, segments);
    rig_end(&rig);
}

/* The fast tier is small while blocks come, so that some lie on the slow one, and large later, so
 * that none move. */
static const struct store_tier small[] = {{"ssd", 24 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};
static const struct store_tier large[] = {{"ssd", GiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};

static void turn(struct rig *rig) {
    (void)store_housekeep(rig->store);
    (void)store_maintain(rig->store, rig->now_ns);
    rig_turn(rig);
}

static void seconds(struct rig *rig, uint32_t count) {
    for (uint32_t s = 0; s < count; s++) {
        rig->now_ns += NS_PER_S;
        turn(rig);
    }
}

static uint64_t parts(const struct rig *rig, enum tier_kind kind) {
    const struct store_scrub *scrub = store_scrub(rig->store, kind);
    return counter_get(&scrub->bytes) * 100 / max_u64(counter_get(&scrub->total_bytes), 1);
}

static void two_tiers(struct rig *rig, uint64_t seed) {
    rig_start(rig, seed);
    rig->config.tiers = small;
    rig->config.tier_count = 2;
    rig->config.scrub_cycle_ns[TIER_SSD] = 1000 * NS_PER_S;
    rig->config.scrub_cycle_ns[TIER_HDD] = 3000 * NS_PER_S;
    cr_assert_eq(rig_open(rig), 0);
    for (uint32_t i = 0; i < 600; i++) {
        cr_assert_eq(rig_put(rig, i, MANY_BYTES), 0, "put %u", i);
        (void)store_housekeep(rig->store);
    }
    rig_close(rig);
    rig->config.tiers = large;
    cr_assert_eq(rig_open(rig), 0);
}

Test(scrub, each_kind_of_tier_has_its_own_cycle) {
    struct rig rig;
    two_tiers(&rig, 39);
    seconds(&rig, 500);
    uint64_t fast = parts(&rig, TIER_SSD), slow = parts(&rig, TIER_HDD);
    cr_assert(fast >= 35 && fast <= 65, "%lu %% after half a cycle", fast);
    cr_assert(slow >= 10 && slow <= 25, "%lu %% after a sixth of one", slow);
    cr_assert_eq(counter_get(&store_scrub(rig.store, TIER_SSD)->ended_us), 0);
    seconds(&rig, 600);
    cr_assert_gt(counter_get(&store_scrub(rig.store, TIER_SSD)->ended_us), 0);
    cr_assert_eq(counter_get(&store_scrub(rig.store, TIER_HDD)->ended_us), 0);
    seconds(&rig, 2000);
    cr_assert_gt(counter_get(&store_scrub(rig.store, TIER_HDD)->ended_us), 0, "%lu %%",
                 parts(&rig, TIER_HDD));
    rig_end(&rig);
}

Test(scrub, a_start_goes_on_with_the_cycles) {
    struct rig rig;
    two_tiers(&rig, 40);
    seconds(&rig, 500);
    uint64_t slow = parts(&rig, TIER_HDD);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    seconds(&rig, 600);
    cr_assert_gt(counter_get(&store_scrub(rig.store, TIER_SSD)->ended_us), 0,
                 "half of it was done");
    cr_assert_gt(parts(&rig, TIER_HDD), slow);
    seconds(&rig, 100); /* says where it stands, then the power goes */
    uint64_t ended = counter_get(&store_scrub(rig.store, TIER_SSD)->ended_us);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    seconds(&rig, 1);
    cr_assert_eq(counter_get(&store_scrub(rig.store, TIER_SSD)->ended_us), ended);
    cr_assert_gt(parts(&rig, TIER_HDD), 5);
    rig_end(&rig);
}

Test(scrub, a_machine_that_was_busy_catches_up_and_never_rushes) {
    struct rig rig;
    two_tiers(&rig, 41);
    seconds(&rig, 10);
    rig.now_ns += 700 * NS_PER_S; /* nobody had time for it */
    seconds(&rig, 20);
    uint64_t late = parts(&rig, TIER_SSD);
    cr_assert_leq(late, 30, "%lu %% in a moment", late);
    seconds(&rig, 330);
    cr_assert(counter_get(&store_scrub(rig.store, TIER_SSD)->ended_us) > 0 ||
                  parts(&rig, TIER_SSD) >= 80,
              "%lu %% at the end of the cycle", parts(&rig, TIER_SSD));
    rig_end(&rig);
}

/* Other bytes under checksums that are right: only the name tells. */
static void forge(struct rig *rig, uint64_t place) {
    static uint64_t record[MANY_BYTES / 8 + 64];
    struct spot spot = place_spot(place);
    const struct segment *segment = &rig->store->segments.all[spot.segment];
    uint64_t offset = (uint64_t)spot.offset_units * RECORD_UNIT, bytes = 0;
    uint64_t length = (uint64_t)spot.length_units * RECORD_UNIT;
    char path[SEGMENT_PATH_MAX];
    segment_path(&rig->store->segments, spot.segment, path);
    cr_assert_leq(length, sizeof record);
    memcpy(record, sim_disk_bytes(rig->sim, path, &bytes) + offset, length);
    struct record_header *header = (void *)record;
    uint8_t *payload = (uint8_t *)record + header->header_bytes;
    payload[100] ^= 1;
    header->payload_xxh3 = XXH3_64bits(payload, header->stored_bytes);
    header->crc = format_record_crc(segment->crc_base, offset, header);
    sim_disk_spoil(rig->sim, path, offset, record, length);
}

Test(scrub, what_comes_from_an_hdd_is_proven_to_its_name) {
    struct rig rig;
    two_tiers(&rig, 42);
    uint32_t slow = 0;
    while ((rig_place(&rig, slow, MANY_BYTES) & PLACE_STATE_MASK) != PLACE_HDD) {
        slow++;
    }
    uint64_t place = rig_place(&rig, slow, MANY_BYTES);
    forge(&rig, place);
    cr_assert_eq(rig_get(&rig, slow, MANY_BYTES), STORE_CORRUPT);
    /* and no move takes it along */
    uint32_t id = place_spot(place).segment;
    for (uint32_t i = 0; i < 600; i++) {
        uint64_t at = rig_place(&rig, i, MANY_BYTES);
        if (i != slow && place_spot(at).segment == id && i % 4 != 0) {
            cr_assert_eq(rig_delete(&rig, i, MANY_BYTES), 0);
        }
    }
    seconds(&rig, 60);
    cr_assert_gt(counter_get(&upkeep(&rig)->moves), 0);
    cr_assert_geq(counter_get(&upkeep(&rig)->quarantined), 1);
    cr_assert_eq(rig_place(&rig, slow, MANY_BYTES) & PLACE_MASK, place & PLACE_MASK);
    cr_assert_eq(rig_get(&rig, slow, MANY_BYTES), STORE_CORRUPT);
    rig_end(&rig);
}

Test(scrub, every_bit_of_where_it_stands_is_covered) {
    alignas(PAGE_BYTES) static uint8_t page[PAGE_BYTES];
    static const uint8_t uuid[16] = "a store of tests", other[16] = "another one";
    crc32c_open();
    struct standing *standing = (void *)page;
    *standing = (struct standing){.magic = STANDING_MAGIC, .version = FORMAT_MAJOR};
    memcpy(standing->store_uuid, uuid, sizeof uuid);
    standing->lanes[TIER_HDD].id = 7;
    page_seal(page, 0);
    cr_assert_eq(standing_check(page, uuid), 0);
    cr_assert_eq(standing_check(page, other), FORMAT_BAD);
    standing->lanes[TIER_SSD].id = SEGMENT_IDS + 1;
    page_seal(page, 0);
    cr_assert_eq(standing_check(page, uuid), FORMAT_BAD, "no store has a segment of that number");
    standing->lanes[TIER_SSD].id = SEGMENT_IDS;
    page_seal(page, 0);
    cr_assert_eq(standing_check(page, uuid), 0);
    for (uint32_t bit = 0; bit < 8 * PAGE_BYTES; bit++) {
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(standing_check(page, uuid), FORMAT_BAD, "bit %u", bit);
        page[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
