/* SPDX-License-Identifier: MIT */
#include "store/carry.h"

#include "base/bits.h"
#include "store/move.h"

/* May this other segment hold a copy that a tombstone of the source must still kill? A key belongs
 * to one keeper in one start, so another keeper's log of the same start holds none. */
static bool may_hold(const struct segment *source, const struct segment *other) {
    bool logs = source->log < MOVE_LOG_FIRST && other->log < MOVE_LOG_FIRST;
    return !(logs && source->epoch == other->epoch && source->log != other->log);
}

void carry_begin(struct carry *carry, const struct segment *source, const struct mover *mover) {
    const struct store *store = mover->store;
    carry->store = store;
    carry->source = source;
    const struct segments *segments = &store->segments;
    uint64_t floor = mover_min_birth(mover);
    if (tiers_unknown(&store->tiers)) {
        carry->floor = 0; /* a tier that is away may hold the oldest copy there is */
        return;
    }
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *other = &segments->all[id];
        enum segment_state state = segment_state(other);
        if (other != source && state != SEGMENT_NONE && state != SEGMENT_SPARE &&
            may_hold(source, other)) {
            floor =
                min_u64(floor, atomic_load_explicit(&other->min_birth_lsn, memory_order_relaxed));
        }
    }
    carry->floor = floor;
}

/* A commit is asked for only where a footer of its start is damaged and the batches are scanned. */
static bool commit_needed(const struct carry *carry, uint64_t birth_lsn) {
    if (tiers_unknown(&carry->store->tiers)) {
        return true; /* what it decides may lie on a tier that is away */
    }
    const struct segments *segments = &carry->store->segments;
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *other = &segments->all[id];
        enum segment_state state = segment_state(other);
        if (other != carry->source && state != SEGMENT_NONE && state != SEGMENT_SPARE &&
            other->log < MOVE_LOG_FIRST && other->epoch == lsn_epoch(birth_lsn)) {
            return true;
        }
    }
    return false;
}

bool carry_needed(const struct carry *carry, const struct footer_entry *entry) {
    switch (entry->type_flags & 15) {
    case RECORD_TOMBSTONE:
    case RECORD_UNPIN:
        return entry->birth_lsn >= carry->floor;
    case RECORD_PIN:
        return pins_record_live(carry->store, entry->hash, entry->birth_lsn);
    case RECORD_COMMIT:
        return commit_needed(carry, entry->birth_lsn);
    default:
        return true;
    }
}
