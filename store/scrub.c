/* SPDX-License-Identifier: MIT */
#include "store/scrub.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/choose.h"
#include "store/compact.h"
#include "store/move.h"
#include "store/repair.h"
#include "store/text.h"

#include <errno.h>
#include <string.h>

#define STEP_BYTES   (2 * MiB)
#define STEP_ENTRIES 4096u
#define REST_NS      (60 * NS_PER_S) /* after a pass over an empty store */

struct scrub {
    struct porter *porter;
    struct store *store;
    struct peek peek;
    struct repair repair;
    struct footer footer;
    uint8_t *page;
    struct allowance slow; /* standing work */
    struct allowance fast; /* a task */
    uint64_t rest_ns;
    struct segment *segment;          /* pinned while it is read; NULL: between two */
    uint32_t id;                      /* of the segment, or the last */
    uint32_t next;                    /* in its footer */
    bool asked;                       /* this pass is a task's */
    struct store_task *task;          /* whose */
    uint64_t seen, damaged, repaired; /* of this pass */
    uint64_t bytes;
};

int scrub_open(struct porter *porter) {
    struct scrub *scrub = vm_map(sizeof *scrub);
    if (!scrub) {
        return err_raise(-ENOMEM);
    }
    porter->scrub = scrub;
    scrub->porter = porter;
    scrub->store = porter->store;
    scrub->page = vm_map(PAGE_BYTES);
    scrub->slow.burst_ns = 10 * NS_PER_S;
    scrub->fast =
        (struct allowance){.rate = porter->store->config.scrub_rate, .burst_ns = NS_PER_S};
    return scrub->page ? 0 : err_raise(-ENOMEM);
}

static void segment_leave(struct scrub *scrub) {
    if (scrub->segment) {
        segment_unpin(scrub->segment);
    }
    scrub->segment = NULL;
}

void scrub_close(struct porter *porter) {
    struct scrub *scrub = porter->scrub;
    if (!scrub) {
        return;
    }
    segment_leave(scrub);
    if (scrub->peek.store) {
        peek_close(&scrub->peek);
        repair_close(&scrub->repair);
    }
    footer_close(&scrub->footer);
    vm_unmap(scrub->page, PAGE_BYTES);
    vm_unmap(scrub, sizeof *scrub);
    porter->scrub = NULL;
}

static int buffers_open(struct scrub *scrub) {
    if (scrub->peek.store) {
        return 0;
    }
    int r = peek_open(&scrub->peek, scrub->store);
    scrub->peek.ahead = PEEK_AHEAD;
    return r == 0 ? repair_open(&scrub->repair, scrub->store, scrub->porter->reader) : r;
}

/* The next sealed segment whose footer can be read. Others have their turn in a later pass: a
 * damaged footer is made anew when its segment is rewritten. Returns: false: the pass is over. */
static bool segment_next(struct scrub *scrub) {
    struct store *store = scrub->store;
    struct segments *segments = &store->segments;
    for (scrub->id++; scrub->id < segments->top; scrub->id++) {
        struct segment *segment = &segments->all[scrub->id];
        if (segment_state(segment) != SEGMENT_SEALED || !segment_pin(segment)) {
            continue;
        }
        struct segment_trailer trailer;
        int r = trailer_read(segments, segment, scrub->page);
        if (r == 0) {
            memcpy(&trailer, scrub->page, sizeof trailer);
            r = footer_read(segments, segment, &trailer, &scrub->footer);
        }
        if (r == 0) {
            scrub->segment = segment;
            scrub->next = 0;
            return true;
        }
        segment_unpin(segment);
    }
    return false;
}

/* --- a record --------------------------------------------------------------------------------- */

static bool is_live(const struct scrub *scrub, uint64_t hash, uint64_t place) {
    struct store *store = scrub->store;
    turn_begin(&store->turns, scrub->porter->reader);
    bool live = store_entry(store, hash, place).bucket != NULL;
    turn_park(&store->turns, scrub->porter->reader);
    return live;
}

/* Returns: false: the mover is busy, come again. */
static bool mend(struct scrub *scrub, const struct footer_entry *entry, uint64_t place) {
    struct upkeep_counters *counters = &scrub->porter->counters;
    struct repair *repair = &scrub->repair;
    struct key key = scrub->peek.key;
    bool known = scrub->peek.rotten || footer_key(entry, &key);
    struct repair_want want = {.key = &key,
                               .hash = entry->hash,
                               .birth_lsn = entry->birth_lsn,
                               .place = place,
                               .codec = entry->codec};
    int r = known ? repair_find(repair, &want) : STORE_ABSENT;
    if (r == 0) {
        struct move_record record = {&repair->header, repair->payload, entry->hash, place};
        r = move_add(porter_mover(scrub->porter), store_tier_at(scrub->store, place), &record);
        if (r == MOVE_BUSY) {
            return false;
        }
    }
    if (r == 0) {
        move_flush(porter_mover(scrub->porter));
        scrub->repaired++;
        counter_add(&counters->repairs, 1);
    } else {
        scrub->damaged++;
        counter_add(&counters->quarantined, 1);
    }
    return true;
}

/* Returns: false: not now. */
static bool scrub_entry(struct scrub *scrub, const struct footer_entry *entry,
                        struct allowance *allowance) {
    struct upkeep_counters *counters = &scrub->porter->counters;
    if ((entry->type_flags & 15) != RECORD_BLOCK || entry->digest_bytes > HASH_DIGEST_MAX) {
        return true;
    }
    uint64_t place = footer_place(scrub->store, scrub->segment->id, entry);
    if (!is_live(scrub, entry->hash, place)) {
        return true;
    }
    uint64_t bytes = (uint64_t)place_spot(place).length_units * RECORD_UNIT;
    int r = peek_look(&scrub->peek, place, PEEK_MULTIHASH);
    if (r == 0 && scrub->peek.record->type != RECORD_BLOCK) {
        r = STORE_CORRUPT;
    }
    if (r != 0 && r != STORE_RETRY && is_live(scrub, entry->hash, place) &&
        !mend(scrub, entry, place)) {
        return false;
    }
    scrub->seen++;
    scrub->bytes += bytes;
    counter_add(&counters->scrubbed_blocks, 1);
    counter_add(&counters->scrubbed_bytes, bytes);
    allowance_spend(allowance, scrub->porter->now_ns, bytes);
    return true;
}

/* --- a pass ----------------------------------------------------------------------------------- */

static void pass_begin(struct scrub *scrub, bool asked) {
    segment_leave(scrub);
    scrub->id = scrub->next = 0;
    scrub->seen = scrub->damaged = scrub->repaired = scrub->bytes = 0;
    scrub->asked = asked;
}

/* Returns: how much it did; *ret_over: the pass is. */
static uint32_t pass_step(struct scrub *scrub, struct allowance *allowance, bool *ret_over) {
    uint64_t from = scrub->bytes;
    uint32_t looked = 0;
    *ret_over = false;
    if (buffers_open(scrub) != 0) {
        *ret_over = true;
        return 0;
    }
    if (scrub->segment && segment_state(scrub->segment) != SEGMENT_SEALED) {
        segment_leave(scrub); /* it is going: do not hold it up */
    }
    while (allowance_open(allowance, scrub->porter->now_ns) && scrub->bytes < from + STEP_BYTES &&
           looked < STEP_ENTRIES) {
        bool through = !scrub->segment || scrub->next == scrub->footer.count;
        if (through) {
            segment_leave(scrub);
            if (!segment_next(scrub)) {
                counter_add(&scrub->porter->counters.scrub_passes, 1);
                *ret_over = true;
                return looked + 1;
            }
            continue;
        }
        if (!scrub_entry(scrub, &scrub->footer.entries[scrub->next], allowance)) {
            return looked;
        }
        scrub->next++;
        looked++;
    }
    return looked;
}

static uint64_t live_bytes(const struct store *store) {
    uint64_t bytes = 0;
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        bytes += counter_get(&store->keepers[k].counters.bytes);
    }
    return bytes;
}

uint32_t scrub_step(struct porter *porter) {
    struct scrub *scrub = porter->scrub;
    uint64_t cycle = porter->store->config.scrub_cycle_ns;
    bool over = false;
    if (scrub->asked || cycle == 0 || porter->now_ns < scrub->rest_ns) {
        return 0;
    }
    if (!scrub->segment && scrub->id == 0) { /* the speed of this pass */
        scrub->slow.rate = 1 + live_bytes(porter->store) / max_u64(cycle / NS_PER_S, 1);
        scrub->slow.free_ns = max_u64(scrub->slow.free_ns, porter->now_ns);
    }
    uint32_t work = pass_step(scrub, &scrub->slow, &over);
    if (over) {
        scrub->rest_ns = porter->now_ns + REST_NS;
        pass_begin(scrub, false);
    }
    return work;
}

static void say(const struct scrub *scrub, char why[], size_t room) {
    struct text text = {why, room, 0};
    text_add_number(&text, scrub->damaged);
    text_add(&text, scrub->damaged == 1 ? " block is" : " blocks are");
    text_add(&text, " damaged and without another copy; ");
    text_add_number(&text, scrub->repaired);
    text_add(&text, " were written anew from one");
}

uint32_t scrub_task(struct porter *porter, struct store_task *task) {
    struct scrub *scrub = porter->scrub;
    bool over = false;
    if (porter_canceled(porter, task)) {
        if (scrub->asked && scrub->task == task) {
            pass_begin(scrub, false);
        }
        porter_finish(porter, task, STORE_RETRY, "canceled");
        return 1;
    }
    if (scrub->asked && scrub->task != task) {
        return 0; /* another's pass comes first */
    }
    if (!scrub->asked) {
        uint64_t total = catalog_entries(&porter->store->catalog);
        counter_set(&task->total, total);
        pass_begin(scrub, true);
        scrub->task = task;
    }
    uint32_t work = pass_step(scrub, &scrub->fast, &over);
    counter_set(&task->seen, scrub->seen);
    counter_set(&task->bytes, scrub->bytes);
    counter_set(&task->blocks, scrub->repaired);
    counter_set(&task->phase, scrub->damaged);
    if (over) {
        char why[200];
        say(scrub, why, sizeof why);
        int32_t result = scrub->damaged > 0 ? STORE_CORRUPT : 0;
        pass_begin(scrub, false);
        porter_finish(porter, task, result, result != 0 ? why : NULL);
    }
    return work;
}
