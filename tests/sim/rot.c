/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/must.h"
#include "store/inside.h"
#include "tests/sim/life.h"

#include <stdio.h>

/* Single bits that flip under a store in use, and the scrub that looks for them. A block that was
 * hit is right, repaired or damaged from then on, never absent and never wrong; all others are as
 * if nothing had happened. Only records of sealed segments are hit: of what a log has not yet said
 * to be durable, a wrong bit looks like a torn tail. */

/* Where the block lies on disk; 0: it is not there, or its segment may yet be scanned. */
static uint64_t sealed_place(struct life *life, uint32_t key) {
    struct store *store = life->store;
    struct find find = {.key = life_key(key)};
    store_turn(store, 0);
    store_find(store, 0, &find, 1);
    store_park(store, 0);
    uint64_t place = find.state == FIND_DISK ? find.place.word : 0;
    if (find.state == FIND_FRAME) {
        place = atomic_load(&find.frame->place);
        frame_give_back(find.frame);
    }
    place &= PLACE_MASK;
    bool sealed = place != 0 &&
                  segment_state(&store->segments.all[place_spot(place).segment]) == SEGMENT_SEALED;
    return sealed ? place : 0;
}

void life_rot(struct life *life) {
    uint32_t key = life_canonical(life_pick(life, KEYS));
    uint64_t place = life->away || sim_disk_dead(life->sim) ? 0 : sealed_place(life, key);
    if (place == 0) {
        return;
    }
    char path[SEGMENT_PATH_MAX];
    uint64_t bytes = 0, offset = (uint64_t)place_spot(place).offset_units * RECORD_UNIT;
    segment_path(&life->store->segments, place_spot(place).segment, path);
    const uint8_t *platter = sim_disk_bytes(life->sim, path, &bytes);
    if (!platter || offset + RECORD_FIXED > bytes) {
        return;
    }
    const struct record_header *header = (const void *)(platter + offset);
    uint64_t size = (uint64_t)header->header_bytes + header->stored_bytes;
    if (header->magic != RECORD_MAGIC || offset + size > bytes) {
        return; /* it was hit there before */
    }
    /* Every other one in the header. */
    uint32_t at = life_pick(life, life_pick(life, 2) ? header->header_bytes : (uint32_t)size);
    uint8_t value = (uint8_t)(platter[offset + at] ^ BIT(life_pick(life, 8)));
    sim_disk_spoil(life->sim, path, offset + at, &value, 1);
    life->hurt[key] = true;
    if (life->verbose) {
        fprintf(stderr, "  a bit of key %u flips, byte %u of its record in %s\n", key, at, path);
    }
    life->rots++;
}

void life_scrub(struct life *life) {
    if (life->scrubbing) {
        return;
    }
    life->scrub = (struct store_task){.kind = STORE_TASK_SCRUB};
    life->scrubbing = store_task_begin(life->store, &life->scrub) == 0;
}

void life_learn_scrub(struct life *life) {
    if (!life->scrubbing || atomic_load(&life->scrub.state) != STORE_TASK_DONE) {
        return;
    }
    life->scrubbing = false;
    life->scrubs++;
    const struct sim_faults *faults = &life->faults;
    bool excused = life_misread(life) || life->rotting || faults->read_eio != 0 ||
                   life->trouble != SIM_DEVICE_FINE || life->scripted || sim_disk_dead(life->sim);
    if (life->scrub.result == STORE_CORRUPT && !excused) {
        life_fail(life, 0, "a scrub found damage where there is none");
    }
}
