/* SPDX-License-Identifier: MIT */
#include "store/move.h"

#include "base/must.h"
#include "store/compact.h"
#include "store/repair.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Moves and compactions, step by step and with power going at every one of them. */

enum { BLOCKS = 40, BYTES = 60000 };

/* Blocks 0 .. BLOCKS-1 in sealed segments, every one but each fifth deleted. */
static void half_dead(struct rig *rig, uint64_t seed) {
    rig_start(rig, seed);
    cr_assert_eq(rig_open(rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(rig, i, BYTES), 0);
    }
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (i % 5 != 0) {
            cr_assert_eq(rig_delete(rig, i, BYTES), 0);
        }
    }
    rig_mark(rig);
}

static void turn(struct rig *rig) {
    rig_turn(rig);
    rig->now_ns += NS_PER_S;
    (void)store_housekeep(rig->store);
    (void)store_maintain(rig->store, rig->now_ns);
}

static uint64_t freed(const struct rig *rig) {
    return counter_get(&store_upkeep(rig->store)->segments_freed);
}

static void turns(struct rig *rig, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        turn(rig);
    }
}

static void check_all(struct rig *rig) {
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(rig, i, BYTES), i % 5 == 0 ? 0 : STORE_ABSENT, "block %u", i);
    }
}

static uint64_t used(const struct rig *rig) {
    struct store_usage usage;
    store_usage(rig->store, &usage);
    return usage.bytes_on_disk;
}

Test(move, what_lives_moves_and_the_dead_segment_goes) {
    struct rig rig;
    half_dead(&rig, 11);
    uint32_t source = place_spot(rig_place(&rig, 5, BYTES)).segment;
    turns(&rig, 60);
    cr_assert_geq(freed(&rig), 1);
    cr_assert_eq(counter_get(&store_upkeep(rig.store)->moves), BLOCKS / 5);
    check_all(&rig);
    cr_assert_eq(segment_state(&rig.store->segments.all[source]), SEGMENT_NONE);
    cr_assert_gt(counter_get(&store_upkeep(rig.store)->dropped_bytes), 2 * MiB);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0, "what went in order is no damage");
    cr_assert_eq(rig.report.blocks, BLOCKS / 5);
    check_all(&rig);
    rig_end(&rig);
}

Test(move, births_are_kept_so_a_tombstone_still_kills) {
    struct rig rig;
    half_dead(&rig, 12);
    turns(&rig, 60);
    cr_assert_geq(freed(&rig), 1);
    cr_assert_eq(rig_delete(&rig, 0, BYTES), 0);
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 0, BYTES), STORE_ABSENT);
    cr_assert_eq(rig_get(&rig, 5, BYTES), 0);
    turns(&rig, 100);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 0, BYTES), STORE_ABSENT, "also when its tombstone was moved");
    rig_end(&rig);
}

Test(move, power_goes_at_every_call_of_a_compaction) {
    struct rig rig;
    uint64_t calls = 0;
    for (uint64_t at = 1; calls == 0 || at <= calls; at++) {
        half_dead(&rig, 100 + at % 7);
        uint64_t from = sim_disk_calls(rig.sim);
        sim_disk_crash_after(rig.sim, at);
        for (uint32_t i = 0; i < 80 && !sim_disk_dead(rig.sim); i++) {
            turn(&rig);
        }
        bool through = !sim_disk_dead(rig.sim);
        if (through) {
            cr_assert_geq(freed(&rig), 1);
            calls = sim_disk_calls(rig.sim) - from;
        }
        sim_disk_crash_after(rig.sim, 0);
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0, "call %lu: %s", at, rig.report.why);
        cr_assert_eq(rig.report.corrupt_ranges, 0, "call %lu", at);
        check_all(&rig);
        turns(&rig, 80);
        check_all(&rig);
        rig_end(&rig);
        if (through) {
            break;
        }
    }
    cr_assert_gt(calls, 12);
}

Test(move, a_delete_that_comes_between_wins) {
    struct rig rig;
    half_dead(&rig, 13);
    struct mover *mover = vm_map(sizeof *mover);
    struct peek peek;
    cr_assert_eq(mover_open(mover, rig.store->porter), 0);
    cr_assert_eq(peek_open(&peek, rig.store), 0);
    uint64_t from = rig_place(&rig, 5, BYTES);
    struct key key;
    (void)rig_block(5, BYTES, &key);
    cr_assert_eq(peek_look(&peek, from, PEEK_MULTIHASH), 0);
    struct move_record record = {peek.record, peek.payload, store_hash(rig.store, &key), from};
    cr_assert_eq(move_add(mover, 0, &record), 0);
    move_flush(mover);
    cr_assert_gt(move_step(mover), 0, "written; the owner has not been told");
    struct store_op op = {.kind = STORE_DELETE, .key = key};
    keeper_begin(store_keeper(rig.store, 0), &op);
    for (uint32_t i = 0; i < 20; i++) {
        rig_turn(&rig);
        (void)move_step(mover);
    }
    cr_assert_eq(keeper_done(store_keeper(rig.store, 0)), &op);
    cr_assert_eq(op.result, 0);
    cr_assert(move_settled(mover));
    cr_assert_eq(rig_get(&rig, 5, BYTES), STORE_ABSENT);
    mover_close(mover);
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 5, BYTES), STORE_ABSENT, "the copy was born before it was deleted");
    cr_assert_eq(rig_get(&rig, 10, BYTES), 0);
    peek_close(&peek);
    vm_unmap(mover, sizeof *mover);
    rig_end(&rig);
}

Test(move, a_delete_that_looked_before_the_move_finds_the_block_after_it) {
    struct rig rig;
    half_dead(&rig, 14);
    struct store_op op = {.kind = STORE_DELETE};
    (void)rig_block(5, BYTES, &op.key);
    struct keeper *keeper = store_keeper(rig.store, 0);
    uint64_t from = rig_place(&rig, 5, BYTES), to = from + 64;
    keeper_begin(keeper, &op); /* it has its place and waits for the disk */
    cr_assert(order_relocate(keeper, store_hash(rig.store, &op.key), from, to));
    cr_assert_not(order_relocate(keeper, store_hash(rig.store, &op.key), from, to), "once");
    for (uint32_t i = 0; i < 50; i++) {
        rig_turn(&rig);
    }
    cr_assert_eq(keeper_done(keeper), &op);
    cr_assert_eq(op.result, 0);
    cr_assert_eq(rig_get(&rig, 5, BYTES), STORE_ABSENT);
    rig_end(&rig);
}

Test(move, a_read_under_way_holds_the_segment_until_it_is_done) {
    struct rig rig;
    half_dead(&rig, 15);
    struct store_op op = {.kind = STORE_READ, .no_admit = true};
    const uint8_t *expected = rig_block(5, BYTES, &op.key);
    struct segment *source =
        &rig.store->segments.all[place_spot(rig_place(&rig, 5, BYTES)).segment];
    struct keeper *keeper = store_keeper(rig.store, 0);
    keeper_begin(keeper, &op);
    for (uint32_t i = 0; i < 60; i++) { /* the disk does not answer the tile meanwhile */
        rig.now_ns += NS_PER_S;
        (void)keeper_poll(keeper, rig.now_ns);
        (void)store_housekeep(rig.store);
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert_eq(segment_state(source), SEGMENT_DYING, "all has moved");
    rig_turn(&rig);
    cr_assert_eq(keeper_done(keeper), &op);
    cr_assert_eq(op.result, 0);
    cr_assert_eq(memcmp(frame_body(op.frame), expected, BYTES), 0);
    frame_give_back(op.frame);
    turn(&rig);
    cr_assert_eq(segment_state(source), SEGMENT_NONE);
    cr_assert_eq(rig_get(&rig, 5, BYTES), 0, "from where it lies now");
    rig_end(&rig);
}

Test(move, a_failed_write_goes_to_another_segment) {
    struct rig rig;
    half_dead(&rig, 16);
    sim_disk_faults(rig.sim, &(struct sim_faults){.sync_eio = 30000});
    turns(&rig, 40);
    sim_disk_faults(rig.sim, &(struct sim_faults){.sync_eio = 0});
    turns(&rig, 80);
    cr_assert_geq(freed(&rig), 1);
    check_all(&rig);
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    check_all(&rig);
    rig_end(&rig);
}

Test(move, without_space_it_waits_and_loses_nothing) {
    struct rig rig;
    half_dead(&rig, 17);
    (void)rig_get(&rig, 0, BYTES);
    sim_disk_faults(rig.sim, &(struct sim_faults){.space = used(&rig) + 100 * 1024});
    turns(&rig, 60);
    cr_assert_eq(freed(&rig), 0);
    check_all(&rig);
    sim_disk_faults(rig.sim, &(struct sim_faults){.space = 0});
    turns(&rig, 60);
    cr_assert_geq(freed(&rig), 1);
    check_all(&rig);
    rig_end(&rig);
}

/* All is copied, published and durable, but for the word that says so. */
static bool wants_marker(const struct move_stream *stream) {
    return stream->opened && stream->phase == MOVE_FILLING && stream->batch.records == 0 &&
           stream->data_lsn > stream->marked_lsn;
}

Test(move, a_full_tier_does_not_keep_what_was_moved_off_it) {
    struct rig rig;
    half_dead(&rig, 21);
    const struct move_stream *stream = &porter_mover(rig.store->porter)->streams[0];
    for (uint32_t i = 0; !wants_marker(stream); i++) {
        cr_assert_lt(i, 100);
        turn(&rig);
    }
    cr_assert_eq(freed(&rig), 0);
    uint64_t next_lsn = stream->next_lsn;
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_EIO, .to = UINT64_MAX});
    for (uint32_t i = 0; i < 4 && stream->open; i++) { /* the batch that says it fails */
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert_null(stream->open);
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_ENOSPC, .to = UINT64_MAX});
    turns(&rig, 60);
    cr_assert_geq(freed(&rig), 1);
    cr_assert_eq(stream->next_lsn, next_lsn, "the log of moves has no hole");
    check_all(&rig);
    rig_crash(&rig);
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_FINE});
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    check_all(&rig);
    rig_end(&rig);
}

Test(move, housekeeping_writes_no_zeroes_into_a_segment_of_moves) {
    struct rig rig;
    rig_start(&rig, 22);
    cr_assert_eq(rig_open(&rig), 0);
    struct segments *segments = &rig.store->segments;
    struct segment_order order = {
        .log = move_log(0), .create_lsn = 1, .claimed = true, .page = rig.store->page};
    struct segment *segment = NULL;
    cr_assert_eq(segment_make(segments, &order, &segment), 0);
    cr_assert_eq(segment_prewrite(segments, segment, rig.store->zeroes, MiB), 0,
                 "however early the helper looks");
    cr_assert(segment_claim(segment, segments->segment_bytes));
    rig_end(&rig);
}

/* What lives was moved, and is in a segment of moves that is open yet. mindful: its stream keeps in
 * mind what it wrote there. Returns: that segment. */
static const struct segment *moved(struct rig *rig, bool mindful) {
    half_dead(rig, 31);
    if (!mindful) {
        store_press(rig->store, &(struct ladder_step){LADDER_BATCHES, rig->config.memory_bytes});
    }
    turns(rig, 60);
    const struct segment *segment =
        &rig->store->segments.all[place_spot(rig_place(rig, 5, BYTES)).segment];
    cr_assert_eq(segment->log, move_log(0));
    cr_assert_eq(segment_state(segment), SEGMENT_OPEN);
    return segment;
}

/* A copy of the segment of moves, sealed; the caller's to free. */
static uint8_t *sealed_bytes(bool mindful, uint64_t *ret_bytes, uint64_t *ret_calls) {
    struct rig rig;
    const struct segment *segment = moved(&rig, mindful);
    char path[SEGMENT_PATH_MAX];
    segment_path(&rig.store->segments, segment->id, path);
    return rig_closed_bytes(&rig, path, ret_bytes, ret_calls);
}

Test(move, what_a_stream_keeps_in_mind_makes_the_footer_that_reading_it_would) {
    uint64_t read_bytes, told_bytes, read_calls, told_calls;
    uint8_t *read = sealed_bytes(false, &read_bytes, &read_calls);
    uint8_t *told = sealed_bytes(true, &told_bytes, &told_calls);
    cr_assert_eq(read_bytes, told_bytes);
    cr_assert_eq(memcmp(read, told, read_bytes), 0);
    cr_assert_lt(told_calls, read_calls, "it was not read");
    free(read);
    free(told);
}

/* The block's old place is gone: its copy is the only one there is. */
Test(move, a_copy_that_rots_before_it_is_sealed_is_damaged_and_not_absent) {
    struct rig rig;
    (void)moved(&rig, true);
    rig_spoil(&rig, rig_place(&rig, 5, BYTES), 20);
    rig_close(&rig);
    (void)rig_forget(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), i == 5       ? STORE_CORRUPT
                                              : i % 5 == 0 ? 0
                                                           : STORE_ABSENT);
    }
    rig_end(&rig);
}

/* Nobody kept in mind what is in it: no footer is written that would leave the block out. */
Test(move, what_rots_where_only_reading_tells_stays_unsealed_and_is_said) {
    struct rig rig;
    const struct segment *segment = moved(&rig, false);
    rig_spoil(&rig, rig_place(&rig, 5, BYTES), 20);
    uint32_t id = segment->id;
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_gt(rig.report.corrupt_ranges, 0);
    cr_assert_eq(rig.report.segments_scanned, 1);
    cr_assert_gt(rig.store->segments.all[id].damaged_ranges, 0);
    cr_assert_eq(rig_get(&rig, 5, BYTES), STORE_CORRUPT, "the snapshot knows it");
    cr_assert_eq(rig_get(&rig, 10, BYTES), 0);
    rig_end(&rig);
}

/* The path of the sealed segment that has nothing but tombstones. */
static struct segment *tombstones_of(struct rig *rig, char path[SEGMENT_PATH_MAX]) {
    struct segments *segments = &rig->store->segments;
    for (uint32_t id = 1; id < segments->top; id++) {
        struct segment *segment = &segments->all[id];
        if (segment_state(segment) == SEGMENT_SEALED && segment->tombstones > 0) {
            segment_path(segments, id, path);
            return segment;
        }
    }
    never("no segment has tombstones");
}

Test(move, tombstones_that_cannot_be_read_just_now_hold_their_segment) {
    struct rig rig;
    half_dead(&rig, 23);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    char path[SEGMENT_PATH_MAX];
    const struct segment *segment = tombstones_of(&rig, path);
    uint64_t bytes = 0;
    uint8_t byte = sim_disk_bytes(rig.sim, path, &bytes)[segment->footer_offset] ^ 1;
    sim_disk_spoil(rig.sim, path, segment->footer_offset, &byte, 1);
    sim_disk_bad_page(rig.sim, path, PAGE_BYTES);
    for (uint32_t i = 0; i < 100; i++) { /* moves alone: nobody reads, nobody seals */
        rig_turn(&rig);
        rig.now_ns += NS_PER_S;
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert_eq(segment_state(segment), SEGMENT_SEALED);
    sim_disk_heal(rig.sim);
    rig_crash(&rig);
    (void)rig_forget(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    check_all(&rig);
    rig_end(&rig);
}

/* As many records as the footer named, or more, are no proof: some came to nothing, others are not
 * to be seen. */
Test(move, tombstones_that_are_missed_hold_their_segment_whatever_the_count) {
    struct rig rig;
    half_dead(&rig, 24);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    char path[SEGMENT_PATH_MAX];
    const struct segment *segment = tombstones_of(&rig, path);
    uint64_t bytes = 0;
    alignas(8) uint8_t page[PAGE_BYTES];
    memcpy(page, sim_disk_bytes(rig.sim, path, &bytes) + bytes - PAGE_BYTES, PAGE_BYTES);
    struct segment_trailer *trailer = (struct segment_trailer *)(void *)page;
    trailer->footer_count = 1; /* the others came to nothing */
    page_seal(page, format_crc_at(segment->crc_base, bytes - PAGE_BYTES));
    sim_disk_spoil(rig.sim, path, bytes - PAGE_BYTES, page, PAGE_BYTES);
    sim_disk_bad_page(rig.sim, path, PAGE_BYTES);
    for (uint32_t i = 0; i < 100; i++) {
        rig_turn(&rig);
        rig.now_ns += NS_PER_S;
        (void)store_maintain(rig.store, rig.now_ns);
    }
    cr_assert_eq(segment_state(segment), SEGMENT_SEALED);
    rig_end(&rig);
}

Test(move, a_record_that_cannot_be_read_holds_its_segment_and_no_other) {
    struct rig rig;
    half_dead(&rig, 24);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    uint8_t payload[PIN_PAYLOAD_MAX];
    struct store_pin pin = {.codec = 0x55, .mode = STORE_PIN_DIRECT};
    (void)rig_block(5, BYTES, &pin.key);
    struct store_op op = {.kind = STORE_PIN, .key = pin.key, .codec = 0x55, .data = payload};
    op.bytes = pin_write(&pin, payload);
    cr_assert_eq(rig_do(&rig, &op), 0);
    const struct segment *segment = rig.store->keepers[0].log.open;
    uint32_t id = segment->id;
    char path[SEGMENT_PATH_MAX];
    segment_path(&rig.store->segments, id, path);
    rig_close(&rig);
    sim_disk_spoil(rig.sim, path, PAGE_BYTES + BATCH_RECORD + record_header_bytes(34), "X", 1);
    cr_assert_eq(rig_open(&rig), 0);
    turns(&rig, 60);
    cr_assert_eq(segment_state(&rig.store->segments.all[id]), SEGMENT_SEALED);
    cr_assert_geq(freed(&rig), 1);
    check_all(&rig);
    rig_end(&rig);
}

Test(move, a_segment_with_much_damage_keeps_no_other_from_its_turn) {
    struct rig rig;
    rig_start(&rig, 25);
    for (uint32_t session = 0; session < 2; session++) {
        cr_assert_eq(rig_open(&rig), 0);
        for (uint32_t i = 0; i < BLOCKS; i++) {
            cr_assert_eq(rig_put(&rig, 100 * session + i, BYTES), 0);
        }
        rig_close(&rig);
    }
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        if (i % 2 == 0) {
            rig_spoil(&rig, rig_place(&rig, i, BYTES),
                      1000); /* of the older segment, which comes first */
        } else {
            cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
            cr_assert_eq(rig_delete(&rig, 100 + i, BYTES), 0);
        }
    }
    turns(&rig, 100);
    cr_assert_geq(freed(&rig), 1);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), i % 2 == 0 ? STORE_CORRUPT : STORE_ABSENT);
        cr_assert_eq(rig_get(&rig, 100 + i, BYTES), i % 2 == 0 ? 0 : STORE_ABSENT);
    }
    rig_end(&rig);
}

Test(move, a_full_tier_keeps_no_other_from_its_turn) {
    static const struct store_tier pair[] = {{"a", 0, TIER_SSD}, {"b", 0, TIER_SSD}};
    enum { MANY = 150 }; /* more than two segments: some lie on each */
    struct rig rig;
    rig_start(&rig, 26);
    rig.config.tiers = pair;
    rig.config.tier_count = 2;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 1; i < MANY; i += 2) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    const struct segment *oldest =
        &rig.store->segments.all[place_spot(rig_place(&rig, 0, BYTES)).segment];
    sim_disk_device(rig.sim, oldest->tier == 0 ? "/s/a" : "/s/b", &(struct sim_device){.space = 1});
    turns(&rig, 100);
    cr_assert_geq(freed(&rig), 1);
    cr_assert_eq(segment_state(oldest), SEGMENT_SEALED, "it waits for room");
    sim_disk_device(rig.sim, oldest->tier == 0 ? "/s/a" : "/s/b", &(struct sim_device){.space = 0});
    turns(&rig, 100);
    cr_assert_eq(segment_state(oldest), SEGMENT_NONE);
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), i % 2 == 0 ? 0 : STORE_ABSENT);
    }
    rig_end(&rig);
}

Test(move, a_damaged_block_stays_damaged_and_holds_its_segment) {
    struct rig rig;
    half_dead(&rig, 18);
    rig_spoil(&rig, rig_place(&rig, 5, BYTES), 1000);
    turns(&rig, 60);
    cr_assert_eq(counter_get(&store_upkeep(rig.store)->quarantined), 1);
    cr_assert_eq(rig_get(&rig, 5, BYTES), STORE_CORRUPT);
    cr_assert_eq(rig_get(&rig, 10, BYTES), 0);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 5, BYTES), STORE_CORRUPT, "never absent");
    turns(&rig, 60);
    cr_assert_eq(rig_put(&rig, 5, BYTES), 0);
    cr_assert_eq(rig_get(&rig, 5, BYTES), 0, "put anew, it is whole again");
    turns(&rig, 60);
    cr_assert_geq(freed(&rig), 1, "and nothing holds the segment any more");
    check_all(&rig);
    rig_end(&rig);
}

Test(move, a_damaged_block_that_is_in_memory_is_written_anew) {
    struct rig rig;
    half_dead(&rig, 19);
    cr_assert_eq(rig_get(&rig, 5, BYTES), 0);
    rig_spoil(&rig, rig_place(&rig, 5, BYTES), 1000);
    turns(&rig, 60);
    cr_assert_eq(counter_get(&store_upkeep(rig.store)->repairs), 1);
    cr_assert_geq(freed(&rig), 1);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    check_all(&rig);
    rig_end(&rig);
}

Test(move, tombstones_go_once_nothing_older_is_left) {
    struct rig rig;
    half_dead(&rig, 20);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    turns(&rig, 200);
    check_all(&rig);
    for (uint32_t round = 0; round < 4; round++) { /* tombstones alone are worth a rewrite */
        rig_close(&rig);
        cr_assert_eq(rig_open(&rig), 0);
        turns(&rig, 100);
    }
    for (uint32_t i = 0; i < BLOCKS; i += 5) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    for (uint32_t round = 0; round < 4; round++) {
        rig_close(&rig);
        cr_assert_eq(rig_open(&rig), 0);
        turns(&rig, 100);
    }
    cr_assert_eq(rig.report.blocks, 0);
    cr_assert_eq(rig.report.tombstones, 0, "%lu are left", rig.report.tombstones);
    rig_end(&rig);
}

static const struct store_tier small_fast[] = {{"ssd", 24 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};

Test(move, the_oldest_of_a_full_fast_tier_goes_to_the_slow_one) {
    struct rig rig;
    rig_start(&rig, 21);
    rig.config.tiers = small_fast;
    rig.config.tier_count = 2;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < 300; i++) { /* 18 MB: more than the fast tier takes */
        cr_assert_eq(rig_put(&rig, i, BYTES), 0, "put %u", i);
        turn(&rig);
    }
    turns(&rig, 300);
    struct store_tier_usage usages[2];
    cr_assert_eq(store_tiers(rig.store, usages, 2), 2);
    cr_assert_gt(usages[1].moved_in, 60);
    cr_assert_eq(usages[0].moved_out, usages[1].moved_in);
    cr_assert_geq(counter_get(&store_upkeep(rig.store)->demotions), 1);
    for (uint32_t i = 0; i < 300; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0, "block %u", i);
    }
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    cr_assert_eq(rig.report.blocks, 300);
    for (uint32_t i = 0; i < 300; i += 7) {
        cr_assert_eq(rig_get(&rig, i, BYTES), 0, "block %u", i);
    }
    rig_end(&rig);
}
