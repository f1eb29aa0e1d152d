/* SPDX-License-Identifier: MIT */
#include "store/compact.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/candidates.h"
#include "store/carry.h"
#include "store/dying.h"
#include "store/load.h"
#include "store/move.h"
#include "store/promote.h"
#include "store/repair.h"
#include "store/source.h"

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
    struct candidates candidates;
    struct source source;
    struct carry carry; /* of the source */
    struct dying dying;
    uint32_t next; /* of the source's records */
    uint32_t errors;
    uint32_t kept;  /* live records that could not be moved */
    uint32_t added; /* handed to the mover */
    bool failed;    /* given up for now */
    bool flushed;
    uint64_t look_ns, rest_ns;
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
    compactor->dying.store = porter->store;
    compactor->rate =
        (struct allowance){.rate = porter->store->config.move_rate, .burst_ns = NS_PER_S};
    int r = candidates_open(&compactor->candidates, porter->store);
    r = r == 0 ? source_init(&compactor->source, porter->store) : r;
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
    compactor->peek.ahead = PEEK_AHEAD;
    return r;
}

static void leave(struct compactor *compactor) {
    source_close(&compactor->source);
    compactor->phase = COMPACT_IDLE;
}

void compact_close(struct porter *porter) {
    struct compactor *compactor = porter->compactor;
    if (!compactor) {
        return;
    }
    leave(compactor);
    dying_reap(&compactor->dying);
    mover_close(&compactor->mover);
    if (compactor->peek.store) {
        peek_close(&compactor->peek);
        repair_close(&compactor->repair);
    }
    source_fini(&compactor->source);
    candidates_close(&compactor->candidates);
    vm_unmap(compactor, sizeof *compactor);
    porter->compactor = NULL;
}

struct mover *porter_mover(struct porter *porter) {
    return &porter->compactor->mover;
}

/* --- a source --------------------------------------------------------------------------------- */

/* Whether puts that find no room should try again. */
static void tell(const struct compactor *compactor, bool freeing) {
    atomic_store_explicit(&compactor->store->freeing, freeing, memory_order_relaxed); /* a hint */
}

static void give_up(struct compactor *compactor) {
    tell(compactor, false);
    compactor->rest_ns = compactor->porter->now_ns + REST_NS;
    leave(compactor);
}

static void begin(struct compactor *compactor, const struct choice *choice) {
    struct segment *segment = &compactor->store->segments.all[choice->id];
    compactor->reason = choice->reason;
    compactor->next = compactor->errors = compactor->kept = compactor->added = 0;
    compactor->failed = compactor->flushed = false;
    compactor->phase = COMPACT_COPY;
    compactor->hot_bytes = atomic_load_explicit(&segment->live_bytes, memory_order_relaxed) / 2;
    carry_begin(&compactor->carry, segment, &compactor->mover);
    int r = buffers_open(compactor);
    r = r == 0 ? source_open(&compactor->source, segment) : r;
    if (r != 0) {
        give_up(compactor);
        return;
    }
    compactor->kept += compactor->source.short_of;
    repair_clear(&compactor->repair);
}

/* --- records ---------------------------------------------------------------------------------- */

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
    uint32_t here = compactor->source.segment->tier;
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
    const struct segment *source = compactor->source.segment;
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
    uint64_t place = footer_place(compactor->store, compactor->source.segment->id, entry);
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

/* What is no block: it goes along or not, and nothing names its place. */
static int take_other(struct compactor *compactor, const struct footer_entry *entry) {
    struct upkeep_counters *counters = &compactor->porter->counters;
    if (!carry_needed(&compactor->carry, entry)) {
        counter_add(&counters->tombstones_dropped, 1);
        return 0;
    }
    uint64_t place = footer_place(compactor->store, compactor->source.segment->id, entry);
    int r = peek_look(&compactor->peek, place, PEEK_CHECKSUM);
    if (r == 0 && compactor->source.scanned && compactor->peek.record->txn != 0 &&
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
    while (compactor->next < compactor->source.count && bytes < STEP_BYTES &&
           looked < STEP_ENTRIES) {
        const struct footer_entry *entry = source_entry(&compactor->source, compactor->next);
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
            compactor->next = compactor->source.count;
            break;
        }
        compactor->next++;
        looked++;
        bytes += taken;
    }
    if (compactor->next == compactor->source.count) {
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
    struct segment *source = compactor->source.segment;
    struct upkeep_counters *counters = &compactor->porter->counters;
    if (dying_sentence(&compactor->dying, source, &compactor->source.trailer) != 0) {
        counter_add(&counters->move_errors, 1); /* let it stay for now */
        give_up(compactor);
        return;
    }
    counter_add(&counters->dropped_bytes,
                atomic_load_explicit(&source->file_bytes, memory_order_relaxed));
    counter_add(&counters->segments_freed, 1);
    counter_add(&counters->compactions, compactor->reason != CHOOSE_DEMOTE);
    counter_add(&counters->demotions, compactor->reason == CHOOSE_DEMOTE);
    leave(compactor);
}

void compact_drop(struct porter *porter, struct segment *segment) {
    dying_drop(&porter->compactor->dying, segment);
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
    struct segment *source = compactor->source.segment;
    /* acquire: with the last account of a block its entry was changed; pairs with order_account */
    uint64_t live = atomic_load_explicit(&source->live_bytes, memory_order_acquire);
    bool dropped = move_dropped(&compactor->mover);
    bool here = tier_state(tier_of(compactor->store, source)) < TIER_READONLY;
    if (compactor->errors > ERRORS_MAX && here) { /* or it would be chosen before others again */
        source->stuck_bytes = max_u64(live, CHOOSE_STUCK_DEAD);
    }
    if (dropped && (compactor->failed || compactor->added > 0)) { /* other tiers may have room */
        compactor->candidates.rest_ns[source->tier] = compactor->porter->now_ns + REST_NS;
        if (live + source->tombstones == 0) { /* dead but for a pin: it is not chosen first again */
            source->stuck_bytes = CHOOSE_STUCK_DEAD;
        }
        leave(compactor);
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
    leave(compactor);
    return 1;
}

/* --- the choice ------------------------------------------------------------------------------- */

bool compact_idle(const struct porter *porter) {
    return porter->compactor->phase == COMPACT_IDLE;
}

void compact_soon(struct porter *porter) {
    struct compactor *compactor = porter->compactor;
    compactor->look_ns = 0;
    if (porter->now_ns >= compactor->rest_ns) {
        tell(compactor, true); /* until it has looked */
    }
}

struct allowance *compact_rate(struct porter *porter) {
    return &porter->compactor->rate;
}

const struct choose_tier *compact_tiers(struct porter *porter) {
    return candidates_tiers(&porter->compactor->candidates);
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
    struct choice choice = candidates_choose(&compactor->candidates, now_ns, &compactor->slow);
    tell(compactor, choice.reason != CHOOSE_NOTHING);
    if (choice.reason == CHOOSE_NOTHING) {
        compactor->look_ns = now_ns + LOOK_NS;
        return 0;
    }
    begin(compactor, &choice);
    return 1;
}

uint32_t compact_step(struct porter *porter) {
    struct compactor *compactor = porter->compactor;
    dying_reap(&compactor->dying);
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
