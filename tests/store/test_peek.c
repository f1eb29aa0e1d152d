/* SPDX-License-Identifier: MIT */
#include "store/peek.h"

#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* One record at a place, as deep as asked; and how a segment goes while others read it. */

static uint64_t place_of(struct rig *rig, uint32_t i, uint32_t bytes) {
    struct key key;
    (void)rig_block(i, bytes, &key);
    struct find find = {.key = &key};
    store_turn(rig->store, 0);
    store_find(rig->store, 0, &find, 1);
    store_park(rig->store, 0);
    cr_assert_eq(find.state, FIND_DISK);
    return find.place.word;
}

static const char *file_of(const struct rig *rig, uint64_t place) {
    static char path[SEGMENT_PATH_MAX];
    segment_path(&rig->store->segments, place_spot(place).segment, path);
    return path;
}

static void spoil(struct rig *rig, uint64_t place, uint64_t at) {
    struct spot spot = place_spot(place);
    uint64_t bytes = 0;
    uint64_t offset = (uint64_t)spot.offset_units * RECORD_UNIT + at;
    uint8_t byte = sim_disk_bytes(rig->sim, file_of(rig, place), &bytes)[offset] ^ 0x10;
    sim_disk_spoil(rig->sim, file_of(rig, place), offset, &byte, 1);
}

Test(peek, a_record_is_read_and_proven) {
    struct rig rig;
    struct peek peek;
    rig_start(&rig, 3);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    cr_assert_eq(rig_put(&rig, 2, 0), 0);
    cr_assert_eq(peek_open(&peek, rig.store), 0);
    struct key key;
    uint64_t place = place_of(&rig, 1, 5000);
    const uint8_t *expected = rig_block(1, 5000, &key);
    cr_assert_eq(peek_look(&peek, place, PEEK_HEADER), 0);
    cr_assert(key_equal(&peek.key, &key));
    cr_assert_eq(peek_look(&peek, place, PEEK_MULTIHASH), 0);
    cr_assert_eq(peek.bytes, 5000);
    cr_assert_eq(memcmp(peek.payload, expected, 5000), 0);
    cr_assert_eq(peek.record->type, RECORD_BLOCK);
    cr_assert_eq(peek_look(&peek, place_of(&rig, 2, 0), PEEK_MULTIHASH), 0);
    cr_assert_eq(peek.bytes, 0);
    peek_close(&peek);
    rig_end(&rig);
}

Test(peek, damage_is_told_by_its_depth) {
    struct rig rig;
    struct peek peek;
    rig_start(&rig, 4);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    cr_assert_eq(rig_put(&rig, 2, 5000), 0);
    cr_assert_eq(peek_open(&peek, rig.store), 0);
    uint64_t one = place_of(&rig, 1, 5000), two = place_of(&rig, 2, 5000);
    spoil(&rig, one, 3000);
    cr_assert_eq(peek_look(&peek, one, PEEK_HEADER), 0, "the header is sound");
    cr_assert_eq(peek_look(&peek, one, PEEK_CHECKSUM), STORE_CORRUPT);
    cr_assert(peek.rotten, "whose block it was is known");
    spoil(&rig, two, 9);
    cr_assert_eq(peek_look(&peek, two, PEEK_HEADER), STORE_CORRUPT);
    cr_assert_not(peek.rotten);
    uint64_t beyond = place_pack(&(struct spot){
        .segment = place_spot(one).segment, .offset_units = 64, .length_units = 0xffff});
    cr_assert_eq(peek_look(&peek, beyond, PEEK_CHECKSUM), STORE_CORRUPT, "too large to be one");
    uint64_t nowhere = place_pack(&(struct spot){.segment = 77, .length_units = 2});
    cr_assert_eq(peek_look(&peek, nowhere, PEEK_HEADER), STORE_RETRY, "no such segment");
    peek_close(&peek);
    rig_end(&rig);
}

static uint32_t first_sealed(const struct segments *segments) {
    uint32_t id = 1;
    while (segment_state(&segments->all[id]) != SEGMENT_SEALED) {
        id++;
    }
    return id;
}

Test(peek, a_segment_stays_while_it_is_pinned) {
    struct rig rig;
    rig_start(&rig, 5);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    cr_assert_eq(rig_delete(&rig, 1, 5000), 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    struct segments *segments = &rig.store->segments;
    uint32_t id = first_sealed(segments);
    struct segment *segment = &segments->all[id];
    uint64_t bytes = 0;
    char path[SEGMENT_PATH_MAX];
    segment_path(segments, id, path);
    cr_assert(segment_pin(segment));
    cr_assert_eq(segment_free(segments, segment), SEGMENT_HELD);
    cr_assert_not(segment_pin(segment), "nobody gets in any more");
    cr_assert_not_null(sim_disk_bytes(rig.sim, path, &bytes), "but the file is there");
    segment_unpin(segment);
    cr_assert_eq(segment_free(segments, segment), 0);
    cr_assert_null(sim_disk_bytes(rig.sim, path, &bytes));
    cr_assert_eq(segment_state(segment), SEGMENT_NONE);
    cr_assert_not(segment_pin(segment));
    cr_assert_eq(atomic_load(&segment->pins), 0);
    rig_end(&rig);
}

Test(peek, a_segment_whose_end_is_not_durable_is_tried_again) {
    struct rig rig;
    rig_start(&rig, 6);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 1, 5000), 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    struct segments *segments = &rig.store->segments;
    uint32_t id = first_sealed(segments);
    sim_disk_faults(rig.sim, &(struct sim_faults){.sync_eio = 65536});
    cr_assert_lt(segment_free(segments, &segments->all[id]), 0);
    cr_assert_eq(segment_state(&segments->all[id]), SEGMENT_DYING, "its name may come back");
    sim_disk_faults(rig.sim, &(struct sim_faults){.sync_eio = 0});
    cr_assert_eq(segment_free(segments, &segments->all[id]), 0);
    rig_end(&rig);
}
