/* SPDX-License-Identifier: MIT */
#include "store/compact.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/choose.h"
#include "store/load.h"
#include "store/move.h"
#include "store/promote.h"
#include "store/repair.h"

#include <errno.h>
#include <string.h>

#define STEP_BYTES   (4 * MiB)
#define STEP_ENTRIES 8192u
#define ERRORS_MAX   16u /* reads that fail in one segment: the disk is ill, let it be */
#define LOOK_NS      (100 * NS_PER_MS)
#define REST_NS      (10 * NS_PER_S)

enum compact_phase { COMPACT_IDLE, COMPACT_COPY, COMPACT_REPAIR, COMPACT_SETTLE };

struct compactor {
    struct porter *porter;
    struct store *store;
    struct mover mover;
    struct peek peek;
    struct repair repair;
    struct allowance rate;
    enum compact_phase phase;
    enum choose_reason reason;
    struct segment *source;
    struct segment_trailer trailer;
    struct footer footer;
    struct scan_window window;
    struct scan scan;
    bool scanned;
    uint32_t next, count;
    uint32_t errors;
    uint32_t kept;  /* live records that could not be moved */
    uint32_t added; /* handed to the mover */
    bool failed;    /* given up for now */
    bool flushed;
    uint64_t floor; /* no other segment holds what was born before this */
    uint64_t look_ns, rest_ns;
    uint64_t tier_rest_ns[TIERS_MAX]; /* what moves off its segments found no room: till then */
    uint32_t dying;
    uint8_t *page;
    struct choose_segment *candidates; /* [SEGMENT_IDS] */
    struct choose_tier tiers[TIERS_MAX];
    uint32_t slow;      /* where a demoted source goes */
    uint64_t hot_bytes; /* of it that may stay on the fast tier */
};

int compact_open(struct porter *porter) {
    struct compactor *compactor = vm_map(sizeof *compactor);
    if (!compactor) {
        return err_raise(-ENOMEM);
    }
    porter->compactor = compactor;
    compactor->porter = porter;
    compactor->store = porter->store;
    compactor->peek.store = NULL;
    compactor->page = vm_map(PAGE_BYTES);
    compactor->candidates = vm_map(SEGMENT_IDS * sizeof *compactor->candidates);
    int r = compactor->page && compactor->candidates ? 0 : err_raise(-ENOMEM);
    compactor->rate =
        (struct allowance){.rate = porter->store->config.move_rate, .burst_ns = NS_PER_S};
    return r == 0 ? mover_open(&compactor->mover, porter) : r;
}

/* Buffers for whole records are taken when the first segment is rewritten: record_bytes_max is not
 * known when the porter is opened. */
static int buffers_open(struct compactor *compactor) {
    if (compactor->peek.store) {
        return 0;
    }
    int r = peek_open(&compactor->peek, compactor->store);
    r = r == 0 ? repair_open(&compactor->repair, compactor->porter) : r;
    r = r == 0 ? scan_window_open(&compactor->window) : r;
    compactor->peek.ahead = PEEK_AHEAD;
    return r;
}

static void source_close(struct compactor *compactor) {
    if (compactor->scanned) {
        scan_close(&compactor->scan);
    }
    compactor->scanned = false;
    compactor->source = NULL;
    compactor->phase = COMPACT_IDLE;
}

static void reap(struct compactor *compactor);

void compact_close(struct porter *porter) {
    struct compactor *compactor = porter->compactor;
    if (!compactor) {
        return;
    }
    source_close(compactor);
    reap(compactor);
    mover_close(&compactor->mover);
    if (compactor->peek.store) {
        peek_close(&compactor->peek);
        repair_close(&compactor->repair);
        scan_window_close(&compactor->window);
    }
    footer_close(&compactor->footer);
    vm_unmap(compactor->candidates, SEGMENT_IDS * sizeof *compactor->candidates);
    vm_unmap(compactor->page, PAGE_BYTES);
    vm_unmap(compactor, sizeof *compactor);
    porter->compactor = NULL;
}

struct mover *porter_mover(struct porter *porter) {
    return &porter->compactor->mover;
}

/* --- a source --------------------------------------------------------------------------------- */

/* May this other segment hold a copy that a tombstone of the source must still kill? A key belongs
 * to one keeper in one start, so another keeper's log of the same start holds none. */
static bool may_hold(const struct segment *source, const struct segment *other) {
    bool logs = source->log < MOVE_LOG_FIRST && other->log < MOVE_LOG_FIRST;
    return !(logs && source->epoch == other->epoch && source->log != other->log);
}

/* Asked once a source: what comes into being later holds births after every tombstone that is
 * sealed by now, or copies that were live after it. Copies in hand count: see mover_min_birth. */
static uint64_t birth_floor(const struct compactor *compactor) {
    const struct segments *segments = &compactor->store->segments;
    uint64_t floor = mover_min_birth(&compactor->mover);
    if (tiers_unknown(&compactor->store->tiers)) {
        return 0; /* a tier that is away may hold the oldest copy there is */
    }
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *other = &segments->all[id];
        enum segment_state state = segment_state(other);
        if (other != compactor->source && state != SEGMENT_NONE && state != SEGMENT_SPARE &&
            may_hold(compactor->source, other)) {
            floor =
                min_u64(floor, atomic_load_explicit(&other->min_birth_lsn, memory_order_relaxed));
        }
    }
    return floor;
}

/* The footer names its records; one that is damaged is made anew from its batches. */
static int records_open(struct compactor *compactor) {
    struct store *store = compactor->store;
    struct segment *source = compactor->source;
    int r = trailer_read(&store->segments, source, compactor->page);
    if (r != 0) {
        return r;
    }
    memcpy(&compactor->trailer, compactor->page, sizeof compactor->trailer);
    r = footer_read(&store->segments, source, &compactor->trailer, &compactor->footer);
    if (r == 0 || r == -ENOMEM) {
        compactor->count = compactor->footer.count;
        return r;
    }
    r = scan_open(&compactor->scan,
                  &(struct scan_source){&store->config.disk, source, &compactor->window,
                                        compactor->trailer.data_bytes});
    if (r != 0) {
        return r;
    }
    compactor->scanned = true;
    compactor->scan.hash_seed = store->hash_seed;
    scan_run(&compactor->scan);
    compactor->count = (uint32_t)compactor->scan.entry_count;
    /* What the footer named and the batches do not show just now may be a tombstone. */
    compactor->kept += compactor->count < compactor->trailer.footer_count;
    return 0;
}

static void give_up(struct compactor *compactor) {
    compactor->rest_ns = compactor->porter->now_ns + REST_NS;
    source_close(compactor);
}

static void source_begin(struct compactor *compactor, const struct choice *choice) {
    compactor->source = &compactor->store->segments.all[choice->id];
    compactor->reason = choice->reason;
    compactor->next = compactor->count = compactor->errors = compactor->kept = compactor->added = 0;
    compactor->failed = compactor->flushed = false;
    compactor->phase = COMPACT_COPY;
    compactor->hot_bytes =
        atomic_load_explicit(&compactor->source->live_bytes, memory_order_relaxed) / 2;
    compactor->floor = birth_floor(compactor);
    int r = buffers_open(compactor);
    r = r == 0 ? records_open(compactor) : r;
    if (r != 0) {
        give_up(compactor);
        return;
    }
    repair_clear(&compactor->repair);
}

/* --- records ---------------------------------------------------------------------------------- */

static const struct footer_entry *entry_at(const struct compactor *compactor, uint32_t i) {
    return compactor->scanned ? &compactor->scan.entries[i].entry : &compactor->footer.entries[i];
}

static uint64_t live_word(struct compactor *compactor, uint64_t hash, uint64_t place) {
    struct store *store = compactor->store;
    turn_begin(&store->turns, compactor->porter->reader);
    struct entry entry = store_entry(store, hash, place);
    uint64_t word = entry.bucket ? entry_place(&entry) : 0;
    turn_park(&store->turns, compactor->porter->reader);
    return word;
}

/* Where a record goes: of a demoted segment what was read more than once stays on the fast tier,
 * but no more than half of it, or a tier full of such would be rewritten without end. */
static uint32_t destination(struct compactor *compactor, uint64_t word, uint64_t bytes) {
    uint32_t here = compactor->source->tier;
    if (compactor->reason != CHOOSE_DEMOTE || word == 0) {
        return here;
    }
    bool hot = place_resident(word) || (word >> PLACE_FREQ_SHIFT & 3) >= 2;
    if (hot && bytes <= compactor->hot_bytes) {
        compactor->hot_bytes -= bytes;
        return here;
    }
    return compactor->slow;
}

/* What comes from an HDD, or may be worth less than it says, is proven to its name. */
static enum peek_depth depth_for(const struct compactor *compactor) {
    const struct tier *tiers = compactor->store->tiers.all;
    const struct segment *source = compactor->source;
    bool suspect = source->suspect || source->recovered || source->damaged_ranges > 0;
    bool slow = tiers[source->tier].kind == TIER_HDD;
    return suspect || slow ? PEEK_MULTIHASH : PEEK_CHECKSUM;
}

static int add(struct compactor *compactor, const struct move_record *record, uint32_t tier) {
    uint32_t span = record_span(record->header->header_bytes, record->header->stored_bytes);
    int r = move_add(&compactor->mover, tier, record);
    if (r == 0) {
        allowance_spend(&compactor->rate, compactor->porter->now_ns, span);
        compactor->added++;
    }
    return r;
}

/* The record is damaged: whether there is another copy is asked for all of them at the end. */
static int take_damaged(struct compactor *compactor, const struct footer_entry *entry,
                        uint64_t place, uint32_t tier) {
    if (++compactor->errors > ERRORS_MAX) {
        return MOVE_FULL;
    }
    struct repair_item item = {.key = compactor->peek.key,
                               .hash = entry->hash,
                               .birth_lsn = entry->birth_lsn,
                               .place = place,
                               .codec = entry->codec,
                               .tier = tier};
    bool known = compactor->peek.rotten || footer_key(entry, &item.key);
    if (!known || !repair_add(&compactor->repair, &item)) {
        compactor->kept++;
        porter_lost(compactor->porter, NULL, 0);
    }
    return 0;
}

static int take_block(struct compactor *compactor, const struct footer_entry *entry,
                      uint64_t *ret_bytes) {
    uint64_t place = footer_place(compactor->store, compactor->source->id, entry);
    uint64_t word = live_word(compactor, entry->hash, place);
    if (word == 0) {
        return 0;
    }
    *ret_bytes = (uint64_t)place_spot(place).length_units * RECORD_UNIT;
    uint32_t tier = destination(compactor, word, *ret_bytes);
    int r = peek_look(&compactor->peek, place, depth_for(compactor));
    if (r == 0 && compactor->peek.record->type != RECORD_BLOCK) {
        r = STORE_CORRUPT;
    }
    if (r != 0) {
        return take_damaged(compactor, entry, place, tier);
    }
    const struct record_header *header = compactor->peek.record;
    r = add(compactor,
            &(struct move_record){header, (const uint8_t *)header + header->header_bytes,
                                  entry->hash, place},
            tier);
    if (r == MOVE_ROTTEN) {
        compactor->peek.rotten = true;
        return take_damaged(compactor, entry, place, tier);
    }
    return r;
}

/* A commit is asked for only where a footer of its start is damaged and the batches are scanned. */
static bool commit_needed(const struct compactor *compactor, uint64_t birth_lsn) {
    if (tiers_unknown(&compactor->store->tiers)) {
        return true; /* what it decides may lie on a tier that is away */
    }
    const struct segments *segments = &compactor->store->segments;
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *other = &segments->all[id];
        enum segment_state state = segment_state(other);
        if (other != compactor->source && state != SEGMENT_NONE && state != SEGMENT_SPARE &&
            other->log < MOVE_LOG_FIRST && other->epoch == lsn_epoch(birth_lsn)) {
            return true;
        }
    }
    return false;
}

static bool still_needed(const struct compactor *compactor, const struct footer_entry *entry) {
    switch (entry->type_flags & 15) {
    case RECORD_TOMBSTONE:
    case RECORD_UNPIN:
        return entry->birth_lsn >= compactor->floor;
    case RECORD_PIN:
        return pins_record_live(compactor->store, entry->hash, entry->birth_lsn);
    case RECORD_COMMIT:
        return commit_needed(compactor, entry->birth_lsn);
    default:
        return true;
    }
}

/* What is no block: it goes along or not, and nothing names its place. */
static int take_other(struct compactor *compactor, const struct footer_entry *entry) {
    struct upkeep_counters *counters = &compactor->porter->counters;
    if (!still_needed(compactor, entry)) {
        counter_add(&counters->tombstones_dropped, 1);
        return 0;
    }
    uint64_t place = footer_place(compactor->store, compactor->source->id, entry);
    int r = peek_look(&compactor->peek, place, PEEK_CHECKSUM);
    if (r == 0 && compactor->scanned && compactor->peek.record->txn != 0 &&
        compactor->peek.record->type != RECORD_COMMIT) {
        r = STORE_CORRUPT; /* the footer knew whether it was committed */
    }
    if (r != 0) {
        compactor->kept++; /* what it said is not known, so it must not go */
        return ++compactor->errors > ERRORS_MAX ? MOVE_FULL : 0;
    }
    const struct record_header *header = compactor->peek.record;
    r = add(compactor,
            &(struct move_record){header, (const uint8_t *)header + header->header_bytes,
                                  entry->hash, 0},
            destination(compactor, 0, 0));
    counter_add(&counters->tombstones_carried, r == 0);
    if (compactor->porter->carried && (entry->type_flags & 15) != RECORD_PIN) {
        graves_add(compactor->porter->carried,
                   &(struct grave){entry->hash, tombstone_check(entry), entry->birth_lsn});
    }
    return r;
}

static uint32_t copy_some(struct compactor *compactor) {
    uint64_t bytes = 0;
    uint32_t looked = 0;
    while (compactor->next < compactor->count && bytes < STEP_BYTES && looked < STEP_ENTRIES) {
        const struct footer_entry *entry = entry_at(compactor, compactor->next);
        uint64_t taken = 0;
        bool block = (entry->type_flags & 15) == RECORD_BLOCK;
        if (block && entry->digest_bytes > HASH_DIGEST_MAX) {
            compactor->kept++;
            compactor->next++;
            continue;
        }
        int r = block ? take_block(compactor, entry, &taken) : take_other(compactor, entry);
        if (r == MOVE_BUSY) {
            return looked;
        }
        if (r != 0) {
            compactor->failed = true;
            compactor->next = compactor->count;
            break;
        }
        compactor->next++;
        looked++;
        bytes += taken;
    }
    if (compactor->next == compactor->count) {
        compactor->phase = compactor->repair.count > 0 ? COMPACT_REPAIR : COMPACT_SETTLE;
    }
    return looked + 1;
}

/* What was damaged: written anew where there was a copy; the others hold the segment. */
static uint32_t repair_some(struct compactor *compactor) {
    struct repair *repair = &compactor->repair;
    bool over;
    uint32_t work = repair_step(repair, &over);
    if (over) {
        compactor->kept += repair_count(repair, REPAIR_NO_COPY);
        compactor->failed = compactor->failed || repair_count(repair, REPAIR_NO_ROOM) > 0;
        compactor->phase = COMPACT_SETTLE;
    }
    return work;
}

/* --- the end of a source ---------------------------------------------------------------------- */

static void let_go(struct compactor *compactor) {
    struct store *store = compactor->store;
    struct segment *source = compactor->source;
    struct upkeep_counters *counters = &compactor->porter->counters;
    const struct segment_trailer *trailer = &compactor->trailer;
    struct gone_range range = {
        .first_lsn = trailer->first_lsn, .last_lsn = trailer->last_lsn, .log = source->log};
    if (trailer->first_lsn != 0) {
        int r = gone_add(&store->gone, &range);
        r = r == 0 ? gone_write(&store->gone, &store->segments, !tiers_unknown(&store->tiers)) : r;
        if (r != 0) { /* the next start would report damage that is none: let it stay for now */
            counter_add(&counters->move_errors, 1);
            give_up(compactor);
            return;
        }
    }
    counter_add(&counters->dropped_bytes,
                atomic_load_explicit(&source->file_bytes, memory_order_relaxed));
    counter_add(&counters->segments_freed, 1);
    counter_add(&counters->compactions, compactor->reason != CHOOSE_DEMOTE);
    counter_add(&counters->demotions, compactor->reason == CHOOSE_DEMOTE);
    segment_set_state(source, SEGMENT_DYING);
    compactor->dying++;
    source_close(compactor);
}

void compact_drop(struct porter *porter, struct segment *segment) {
    segment_set_state(segment, SEGMENT_DYING);
    porter->compactor->dying++;
}

static uint32_t settle(struct compactor *compactor) {
    if (!compactor->flushed) {
        move_flush(&compactor->mover);
        compactor->flushed = true;
        return 1;
    }
    if (!move_settled(&compactor->mover)) {
        return 0;
    }
    struct segment *source = compactor->source;
    /* acquire: with the last account of a block its entry was changed; pairs with order_account */
    uint64_t live = atomic_load_explicit(&source->live_bytes, memory_order_acquire);
    bool dropped = move_dropped(&compactor->mover);
    bool here = tier_state(tier_of(compactor->store, source)) < TIER_READONLY;
    if (compactor->errors > ERRORS_MAX && here) { /* or it would be chosen before others again */
        source->stuck_bytes = max_u64(live, CHOOSE_STUCK_DEAD);
    }
    if (dropped && (compactor->failed || compactor->added > 0)) { /* other tiers may have room */
        compactor->tier_rest_ns[source->tier] = compactor->porter->now_ns + REST_NS;
        if (live + source->tombstones == 0) { /* dead but for a pin: it is not chosen first again */
            source->stuck_bytes = CHOOSE_STUCK_DEAD;
        }
        source_close(compactor);
        return 1;
    }
    if (compactor->failed) {
        give_up(compactor);
        return 1;
    }
    if (live == 0 && compactor->kept == 0) {
        let_go(compactor);
        return 1;
    }
    source->stuck_bytes = max_u64(live, CHOOSE_STUCK_DEAD);
    source_close(compactor);
    return 1;
}

static void reap(struct compactor *compactor) {
    struct segments *segments = &compactor->store->segments;
    for (uint32_t id = 1; id < segments->top && compactor->dying > 0; id++) {
        if (segment_state(&segments->all[id]) == SEGMENT_DYING) {
            (void)pthread_mutex_lock(&compactor->store->files);
            int r = segment_free(segments, &segments->all[id]);
            (void)pthread_mutex_unlock(&compactor->store->files);
            compactor->dying -= r == 0;
        }
    }
}

/* --- the choice ------------------------------------------------------------------------------- */

/* Its moves found no room a moment ago, and something would have to move. */
static bool rests(const struct compactor *compactor, const struct segment *segment) {
    /* relaxed: where it just changed, the next look sees it */
    uint64_t live = atomic_load_explicit(&segment->live_bytes, memory_order_relaxed);
    return compactor->porter->now_ns < compactor->tier_rest_ns[segment->tier] &&
           live + segment->tombstones > 0;
}

static uint32_t candidates_list(struct compactor *compactor) {
    const struct segments *segments = &compactor->store->segments;
    uint32_t count = 0;
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *segment = &segments->all[id];
        bool writable = tier_state(tier_of(compactor->store, segment)) < TIER_READONLY;
        if (segment_state(segment) != SEGMENT_SEALED || !writable || rests(compactor, segment)) {
            continue;
        }
        compactor->candidates[count++] = (struct choose_segment){
            .id = id,
            .tier = segment->tier,
            .slow = tier_of(compactor->store, segment)->kind == TIER_HDD,
            .generation = segment->generation,
            .data_bytes =
                atomic_load_explicit(&segment->data_bytes, memory_order_relaxed) - PAGE_BYTES,
            .live_bytes = atomic_load_explicit(&segment->live_bytes, memory_order_relaxed),
            .needed_bytes = segment->tombstones * UINT64_C(2) * RECORD_UNIT,
            .stuck_bytes = segment->stuck_bytes,
        };
    }
    return count;
}

static uint64_t used_on(const struct store *store, uint32_t tier) {
    uint64_t bytes = 0;
    for (uint32_t id = 1; id < store->segments.top; id++) {
        const struct segment *segment = &store->segments.all[id];
        if (segment_state(segment) != SEGMENT_NONE && segment->tier == tier) {
            bytes += atomic_load_explicit(&segment->file_bytes, memory_order_relaxed);
        }
    }
    return bytes;
}

static void tiers_look(struct compactor *compactor) {
    const struct store *store = compactor->store;
    const struct disk *disk = &store->config.disk;
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        const struct tier *tier = &store->tiers.all[i];
        uint64_t used = used_on(store, i);
        bool present = !tier->leaving && tier_state(tier) < TIER_READONLY;
        bool full = tier_state(tier) == TIER_FULL; /* logs find no room: whatever the sums say */
        uint64_t space = tier->size_bytes;
        if (space == 0 && present) {
            int64_t free_bytes = disk->calls->free_bytes(disk->backend, tier->dir);
            space = used + (free_bytes > 0 ? (uint64_t)free_bytes : 0);
        }
        compactor->tiers[i] = (struct choose_tier){
            .present = present,
            .slow = tier->kind == TIER_HDD,
            .fill = full         ? 1000
                    : space == 0 ? 0
                                 : (uint32_t)min_u64(used * 1000 / space, 1000)};
    }
}

bool compact_idle(const struct porter *porter) {
    return porter->compactor->phase == COMPACT_IDLE;
}

struct allowance *compact_rate(struct porter *porter) {
    return &porter->compactor->rate;
}

const struct choose_tier *compact_tiers(struct porter *porter) {
    tiers_look(porter->compactor);
    return porter->compactor->tiers;
}

/* The slow tier with the most room in it. */
static uint32_t slow_tier(const struct compactor *compactor, uint32_t otherwise) {
    uint32_t best = otherwise, least = UINT32_MAX;
    for (uint32_t i = 0; i < compactor->store->tiers.count; i++) {
        const struct choose_tier *tier = &compactor->tiers[i];
        if (tier->present && tier->slow && tier->fill < least) {
            least = tier->fill;
            best = i;
        }
    }
    return best;
}

static uint32_t look_for_work(struct compactor *compactor) {
    uint64_t now_ns = compactor->porter->now_ns;
    if (now_ns < compactor->look_ns || now_ns < compactor->rest_ns ||
        promote_busy(compactor->porter)) {
        return 0;
    }
    if (compactor->store->gone.there == 0 &&
        gone_write(&compactor->store->gone, &compactor->store->segments,
                   !tiers_unknown(&compactor->store->tiers)) != 0) {
        compactor->rest_ns = now_ns + REST_NS;
        return 0;
    }
    uint32_t count = candidates_list(compactor);
    struct choose_rules rules = choose_default;
    rules.segment_bytes = compactor->store->segments.segment_bytes;
    tiers_look(compactor);
    struct choice choice = choose(&rules, compactor->candidates, count, compactor->tiers,
                                  compactor->store->tiers.count);
    if (choice.reason == CHOOSE_NOTHING) {
        compactor->look_ns = now_ns + LOOK_NS;
        return 0;
    }
    compactor->slow = slow_tier(compactor, compactor->store->segments.all[choice.id].tier);
    source_begin(compactor, &choice);
    return 1;
}

uint32_t compact_step(struct porter *porter) {
    struct compactor *compactor = porter->compactor;
    reap(compactor);
    uint32_t work = move_step(&compactor->mover);
    switch (compactor->phase) {
    case COMPACT_IDLE:
        return work + look_for_work(compactor);
    case COMPACT_COPY:
        work += allowance_open(&compactor->rate, porter->now_ns) ? copy_some(compactor) : 0;
        return work + move_step(&compactor->mover);
    case COMPACT_REPAIR:
        return work + repair_some(compactor);
    case COMPACT_SETTLE:
        return work + settle(compactor);
    }
    never("a compaction in no phase");
}
