/* SPDX-License-Identifier: MIT */
#include "store/compact.h"

#include "store/candidates.h"
#include "store/carry.h"
#include "store/dying.h"
#include "store/move.h"
#include "store/source.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* The parts of a compaction, each alone: what it chooses from, the list of what is in there, what
 * goes along, how it goes. All of it together is in test_move.c. */

enum { BLOCKS = 20, BYTES = 50000 };

/* Blocks 0 .. BLOCKS-1 and the tombstones of the first two, sealed. Returns: the segment of the
 * last block. */
static struct segment *sealed(struct rig *rig, uint64_t seed) {
    rig_start(rig, seed);
    cr_assert_eq(rig_open(rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(rig, i, BYTES), 0);
    }
    cr_assert_eq(rig_delete(rig, 0, BYTES), 0);
    cr_assert_eq(rig_delete(rig, 1, BYTES), 0);
    rig_close(rig);
    cr_assert_eq(rig_open(rig), 0);
    uint64_t place = rig_place(rig, BLOCKS - 1, BYTES);
    struct segment *segment = &rig->store->segments.all[place_spot(place).segment];
    cr_assert_eq(segment_state(segment), SEGMENT_SEALED);
    return segment;
}

static uint32_t count_of(const struct source *source, uint32_t type) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < source->count; i++) {
        count += (source_entry(source, i)->type_flags & 15u) == type;
    }
    return count;
}

Test(compact, a_damaged_footer_is_made_anew_from_the_batches) {
    struct rig rig;
    struct segment *segment = sealed(&rig, 3);
    struct source source = {.segment = NULL};
    cr_assert_eq(source_init(&source, rig.store), 0);
    cr_assert_eq(source_open(&source, segment), 0);
    cr_assert_not(source.scanned);
    uint32_t count = source.count;
    cr_assert_eq(count_of(&source, RECORD_BLOCK), BLOCKS);
    cr_assert_eq(count_of(&source, RECORD_TOMBSTONE), 2);
    source_close(&source);

    char path[SEGMENT_PATH_MAX];
    uint64_t bytes = 0;
    segment_path(&rig.store->segments, (uint32_t)(segment - rig.store->segments.all), path);
    uint8_t byte = sim_disk_bytes(rig.sim, path, &bytes)[segment->footer_offset] ^ 1;
    sim_disk_spoil(rig.sim, path, segment->footer_offset, &byte, 1);
    cr_assert_eq(source_open(&source, segment), 0);
    cr_assert(source.scanned);
    cr_assert_not(source.short_of);
    cr_assert_eq(source.count, count);
    cr_assert_eq(count_of(&source, RECORD_BLOCK), BLOCKS);
    cr_assert_eq(count_of(&source, RECORD_TOMBSTONE), 2);
    source_close(&source);

    sim_disk_bad_page(rig.sim, path, PAGE_BYTES);
    cr_assert_eq(source_open(&source, segment), 0);
    cr_assert(source.short_of, "what it does not show may be a tombstone");
    source_close(&source);
    source_fini(&source);
    rig_end(&rig);
}

Test(compact, a_tombstone_goes_along_while_something_older_may_be_elsewhere) {
    struct rig rig;
    struct segment *source = sealed(&rig, 4);
    struct segment *other = &rig.store->segments.all[SEGMENT_IDS - 1];
    const struct mover *mover = porter_mover(rig.store->porter);
    uint32_t top = rig.store->segments.top;
    uint64_t birth = atomic_load(&source->min_birth_lsn) + 1;
    struct footer_entry tombstone = {.type_flags = RECORD_TOMBSTONE, .birth_lsn = birth};
    struct carry carry;
    carry_begin(&carry, source, mover);
    cr_assert_not(carry_needed(&carry, &tombstone), "all else is younger");

    *other = *source; /* a segment of another kind of log, and of the same start */
    other->log = move_log(0);
    rig.store->segments.top = SEGMENT_IDS;
    carry_begin(&carry, source, mover);
    cr_assert(carry_needed(&carry, &tombstone), "moves bring along what is old");
    tombstone.birth_lsn = birth - 2;
    cr_assert_not(carry_needed(&carry, &tombstone), "older than all that is there");
    tombstone.birth_lsn = birth;
    other->log = source->log + 1;
    carry_begin(&carry, source, mover);
    cr_assert_not(carry_needed(&carry, &tombstone), "another keeper has other keys in this start");
    other->epoch++;
    carry_begin(&carry, source, mover);
    cr_assert(carry_needed(&carry, &tombstone), "in another start it may have had this one");

    memset(other, 0, sizeof *other);
    rig.store->segments.top = top;
    rig_end(&rig);
}

Test(compact, only_what_is_sealed_and_need_not_rest_is_a_candidate) {
    struct rig rig;
    struct segment *segment = sealed(&rig, 5);
    struct candidates candidates = {.segments = NULL};
    uint32_t slow = UINT32_MAX;
    cr_assert_eq(candidates_open(&candidates, rig.store), 0);
    cr_assert_eq(candidates_choose(&candidates, 1, &slow).reason, CHOOSE_NOTHING, "it is all live");
    for (uint32_t i = 2; i < BLOCKS - 1; i++) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    struct choice choice = candidates_choose(&candidates, 1, &slow);
    cr_assert_eq(choice.reason, CHOOSE_GARBAGE);
    cr_assert_eq(&rig.store->segments.all[choice.id], segment);
    cr_assert_eq(slow, segment->tier, "there is no slow one");
    candidates.rest_ns[segment->tier] = 10;
    cr_assert_eq(candidates_choose(&candidates, 9, &slow).reason, CHOOSE_NOTHING);
    cr_assert_eq(candidates_choose(&candidates, 10, &slow).reason, CHOOSE_GARBAGE);
    cr_assert(candidates_tiers(&candidates)[segment->tier].present);
    candidates_close(&candidates);
    rig_end(&rig);
}

Test(compact, nothing_goes_before_it_is_written_that_it_goes) {
    struct rig rig;
    struct segment *segment = sealed(&rig, 6);
    struct source source = {.segment = NULL};
    struct dying dying = {.store = rig.store};
    cr_assert_eq(source_init(&source, rig.store), 0);
    cr_assert_eq(source_open(&source, segment), 0);
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_EIO, .to = UINT64_MAX});
    cr_assert_lt(dying_sentence(&dying, segment, &source.trailer), 0);
    cr_assert_eq(segment_state(segment), SEGMENT_SEALED);
    cr_assert_eq(dying.count, 0);
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_FINE});

    cr_assert(segment_pin(segment), "somebody reads it");
    cr_assert_eq(dying_sentence(&dying, segment, &source.trailer), 0);
    dying_reap(&dying);
    cr_assert_eq(segment_state(segment), SEGMENT_DYING, "as long as it is read");
    segment_unpin(segment);
    dying_reap(&dying);
    cr_assert_eq(segment_state(segment), SEGMENT_NONE);
    cr_assert_eq(dying.count, 0);
    source_close(&source);
    source_fini(&source);
    rig_end(&rig);
}
