/* SPDX-License-Identifier: MIT */
#include "store/pass.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/choose.h"
#include "store/inside.h"
#include "store/repair.h"

#include <errno.h>
#include <string.h>

#define STEP_BYTES   (2 * MiB)
#define STEP_ENTRIES 4096u

int pass_open(struct pass *pass, struct porter *porter, uint32_t kinds) {
    *pass = (struct pass){.porter = porter, .kinds = kinds};
    pass->page = vm_map(PAGE_BYTES);
    int r = pass->page ? peek_open(&pass->peek, porter->store) : err_raise(-ENOMEM);
    pass->peek.ahead = PEEK_AHEAD;
    return r;
}

static void segment_leave(struct pass *pass) {
    if (pass->segment) {
        segment_unpin(pass->segment);
    }
    pass->segment = NULL;
}

void pass_close(struct pass *pass) {
    segment_leave(pass);
    if (pass->peek.store) {
        peek_close(&pass->peek);
    }
    footer_close(&pass->footer);
    vm_unmap(pass->page, PAGE_BYTES);
    *pass = (struct pass){.porter = NULL};
}

void pass_begin(struct pass *pass) {
    segment_leave(pass);
    pass->id = pass->next = 0;
    pass->seen = pass->bytes = 0;
    pass->damaged = pass->repaired = pass->waiting = pass->unlisted = 0;
    pass->unread = pass->left_out = 0;
}

void pass_rest(struct pass *pass) {
    pass->id -= pass->segment ? 1 : 0;
    segment_leave(pass);
    footer_close(&pass->footer);
    pass->footer = (struct footer){.entries = NULL};
}

static bool is_mine(const struct pass *pass, const struct segment *segment) {
    const struct tier *tier = &pass->porter->store->tiers.all[segment->tier];
    return segment_state(segment) == SEGMENT_SEALED && (pass->kinds >> tier->kind & 1) != 0;
}

/* Holds it blocks, and no list of them before a start or its tier has made it one? What a log has
 * just left is none of that. */
static bool is_left_out(const struct pass *pass, const struct segment *segment) {
    const struct tier *tier = &pass->porter->store->tiers.all[segment->tier];
    bool waits = atomic_load_explicit(&segment->unsettled, memory_order_relaxed) ||
                 tier_state(tier) == TIER_READONLY;
    return segment_state(segment) == SEGMENT_CLOSED && waits &&
           (pass->kinds >> tier->kind & 1) != 0 &&
           atomic_load_explicit(&segment->live_blocks, memory_order_relaxed) > 0;
}

/* Returns: 0, FORMAT_BAD, -errno. */
static int list_records(struct pass *pass, const struct segment *segment) {
    const struct segments *segments = &pass->porter->store->segments;
    struct segment_trailer trailer;
    int r = trailer_read(segments, segment, pass->page);
    if (r != 0) {
        return r;
    }
    memcpy(&trailer, pass->page, sizeof trailer);
    return footer_read(segments, segment, &trailer, &pass->footer);
}

/* Returns: false: there is none after the last. */
static bool segment_next(struct pass *pass) {
    struct store *store = pass->porter->store;
    struct segments *segments = &store->segments;
    for (pass->id++; pass->id < segments->top; pass->id++) {
        struct segment *segment = &segments->all[pass->id];
        pass->left_out += is_left_out(pass, segment);
        if (!is_mine(pass, segment) || !segment_pin(segment)) {
            continue;
        }
        int r = list_records(pass, segment);
        r = r != 0 ? list_records(pass, segment) : 0; /* it may have been the way here */
        if (r == 0) {
            pass->segment = segment;
            pass->next = 0;
            return true;
        }
        bool here = tier_here(tier_of(store, segment));
        pass->unlisted += here && r > 0;
        pass->unread += here && r < 0;
        segment_unpin(segment);
    }
    return false;
}

uint64_t pass_left(const struct pass *pass) {
    const struct segments *segments = &pass->porter->store->segments;
    uint64_t bytes = 0;
    if (pass->segment && pass->footer.count > 0) { /* live records lie evenly in it, about */
        uint64_t live = atomic_load_explicit(&pass->segment->live_bytes, memory_order_relaxed);
        bytes = live * (pass->footer.count - pass->next) / pass->footer.count;
    }
    for (uint32_t id = pass->id + 1; id < segments->top; id++) {
        const struct segment *segment = &segments->all[id];
        if (is_mine(pass, segment)) {
            bytes += atomic_load_explicit(&segment->live_bytes, memory_order_relaxed);
        }
    }
    return bytes;
}

/* --- a record --------------------------------------------------------------------------------- */

static bool is_live(const struct pass *pass, uint64_t hash, uint64_t place) {
    struct store *store = pass->porter->store;
    turn_begin(&store->turns, pass->porter->reader);
    bool live = store_entry(store, hash, place).bucket != NULL;
    turn_park(&store->turns, pass->porter->reader);
    return live;
}

/* Returns: false: the repair has no room. */
static bool give_damaged(struct pass *pass, const struct footer_entry *entry, uint64_t place,
                         struct repair *repair) {
    struct repair_item item = {.key = pass->peek.key,
                               .hash = entry->hash,
                               .birth_lsn = entry->birth_lsn,
                               .place = place,
                               .codec = entry->codec,
                               .tier = pass->segment->tier};
    if (pass->peek.rotten || footer_key(entry, &item.key)) {
        return repair_add(repair, &item);
    }
    pass->damaged++;
    porter_lost(pass->porter, NULL, 0); /* nobody can say which block it is */
    return true;
}

/* Returns: false: not now. */
static bool look_at(struct pass *pass, const struct footer_entry *entry,
                    const struct pass_run *run) {
    struct store *store = pass->porter->store;
    struct upkeep_counters *counters = &pass->porter->counters;
    if ((entry->type_flags & 15) != RECORD_BLOCK || entry->digest_bytes > HASH_DIGEST_MAX) {
        return true;
    }
    uint64_t place = footer_place(store, pass->segment->id, entry);
    if (!is_live(pass, entry->hash, place)) {
        return true;
    }
    int r = peek_look(&pass->peek, place, PEEK_MULTIHASH);
    if (r == 0 && pass->peek.record->type != RECORD_BLOCK) {
        r = STORE_CORRUPT;
    }
    /* what lies on a tier that went away meanwhile is not damaged, nor what is no longer there */
    bool damaged =
        r != 0 && r != STORE_RETRY && place_here(store, place) && is_live(pass, entry->hash, place);
    if (damaged && !give_damaged(pass, entry, place, run->repair)) {
        return false;
    }
    uint64_t bytes = (uint64_t)place_spot(place).length_units * RECORD_UNIT;
    pass->seen++;
    pass->bytes += bytes;
    counter_add(&counters->scrubbed_blocks, 1);
    counter_add(&counters->scrubbed_bytes, bytes);
    allowance_spend(run->allowance, pass->porter->now_ns, bytes);
    return true;
}

/* --- a run ------------------------------------------------------------------------------------ */

uint32_t pass_step(struct pass *pass, const struct pass_run *run, bool *ret_over) {
    uint64_t now_ns = pass->porter->now_ns;
    uint64_t from = pass->bytes;
    uint32_t looked = 0;
    *ret_over = false;
    if (!allowance_open(run->allowance, now_ns)) {
        return 0;
    }
    if (pass->segment && segment_state(pass->segment) != SEGMENT_SEALED) {
        segment_leave(pass); /* it is going: do not hold it up */
    }
    while (looked < STEP_ENTRIES && pass->bytes < from + STEP_BYTES &&
           (pass->bytes < from + run->bytes || allowance_open(run->allowance, now_ns))) {
        if (!pass->segment || pass->next == pass->footer.count) {
            segment_leave(pass);
            if (!segment_next(pass)) {
                *ret_over = true;
                return looked + 1;
            }
        } else if (look_at(pass, &pass->footer.entries[pass->next], run)) {
            pass->next++;
            looked++;
        } else {
            break;
        }
    }
    return looked + 1;
}

void pass_tell(struct pass *pass, const struct repair *repair) {
    pass->damaged += repair_count(repair, REPAIR_NO_COPY);
    pass->repaired += repair_count(repair, REPAIR_MENDED);
    pass->waiting += repair_count(repair, REPAIR_NO_ROOM);
}
