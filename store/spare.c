/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/err.h"
#include "store/inside.h"
#include "store/move.h"
#include "store/seal.h"

#include <errno.h>

#define SPARE_FAILURES_MAX 3u
#define SEAL_PAUSE         1000u /* rounds of housekeeping */
#define SEAL_PAUSE_DAMAGED (100 * SEAL_PAUSE)
#define READONLY_PAUSE     1000u

/* Housekeeping: segments ahead of the logs, zeroes ahead of their pens, footers behind them. One
 * thread: the helper while the store serves, the opener before and the closer after. A log takes a
 * spare by exchanging its slot with NULL, so a spare has one owner at any time. */

static uint64_t bytes_on_tier(const struct store *store, const struct tier *tier) {
    uint64_t bytes = 0;
    for (uint32_t id = 1; id < store->segments.top; id++) {
        const struct segment *segment = &store->segments.all[id];
        if (segment_state(segment) != SEGMENT_NONE && segment->tier == tier->index) {
            bytes += atomic_load_explicit(&segment->file_bytes, memory_order_relaxed);
        }
    }
    return bytes;
}

/* Asking first is cheap; a failed allocation is not. Where no size is given, one segment's worth of
 * the file system is left to others. */
bool tier_room(const struct store *store, const struct tier *tier, enum room_use use) {
    const struct disk *disk = &store->config.disk;
    uint64_t bytes = store->segments.segment_bytes;
    uint64_t needed = use == ROOM_MOVE ? bytes : 2 * bytes;
    if (tier->size_bytes != 0 && bytes_on_tier(store, tier) + needed > tier->size_bytes) {
        return false;
    }
    needed += tier->size_bytes != 0 ? 0 : bytes;
    int64_t free_bytes = disk->calls->free_bytes(disk->backend, tier->dir);
    return free_bytes < 0 || (uint64_t)free_bytes >= needed; /* unknown: the allocation will tell */
}

static bool is_full(int r) {
    return r == -ENOSPC || r == -EDQUOT;
}

void tier_made(struct tier *tier, int result) {
    uint32_t before = atomic_load_explicit(&tier->state, memory_order_relaxed);
    uint32_t after = before;
    if (result == -EROFS || result == -EACCES || result == -EPERM) {
        after = TIER_READONLY;
        tier->pause = READONLY_PAUSE;
    } else if (!tier->leaving && (result == 0 || is_full(result))) {
        after = result == 0 ? TIER_ONLINE : TIER_FULL;
    }
    if (before < TIER_LOADING) { /* beyond, and where that came in between, it is the probe's */
        (void)atomic_compare_exchange_strong_explicit(&tier->state, &before, after,
                                                      memory_order_release, memory_order_relaxed);
    }
    tier_error(tier, result);
}

void tier_freed(struct store *store, struct tier *tier) {
    if (tier_state(tier) != TIER_FULL) {
        return;
    }
    (void)pthread_mutex_lock(&store->files);
    bool less = tier->refused_at == 0 || bytes_on_tier(store, tier) < tier->refused_at;
    uint32_t full = TIER_FULL;
    if (less && tier_room(store, tier, ROOM_LOG)) {
        (void)atomic_compare_exchange_strong_explicit(&tier->state, &full, TIER_ONLINE,
                                                      memory_order_release, memory_order_relaxed);
    }
    (void)pthread_mutex_unlock(&store->files);
}

/* May a segment be asked of it? One that could not be written is tried again now and then. */
static bool takes_more(struct tier *tier) {
    enum tier_state state = tier_state(tier);
    tier->pause -= tier->pause > 0;
    return !tier->leaving && state < TIER_LOADING && (state != TIER_READONLY || tier->pause == 0);
}

static int make_on(struct store *store, struct tier *tier, struct keeper *keeper,
                   struct segment **ret_segment) {
    if (!tier_room(store, tier, ROOM_LOG)) {
        return -ENOSPC;
    }
    struct segment_order order = {.tier = tier->index,
                                  .log = keeper->index,
                                  .create_lsn = lsn_make(store->segments.epoch, 0),
                                  .page = store->page};
    int r = segment_make(&store->segments, &order, ret_segment);
    tier->refused_at = is_full(r) ? max_u64(bytes_on_tier(store, tier), 1) : 0;
    return r;
}

static bool takes_now(const struct tier *tier) {
    return !tier->leaving && tier_state(tier) < TIER_READONLY;
}

/* The fast paths in turn; where none of them takes it, the slow ones. Returns: 0; -ENOSPC: none has
 * room; what the last one said that failed otherwise. */
static int make_somewhere(struct store *store, struct keeper *keeper,
                          struct segment **ret_segment) {
    struct tiers *tiers = &store->tiers;
    int said = -ENODEV; /* all are away */
    for (uint32_t i = 0; i < 2 * tiers->count; i++) {
        struct tier *tier = &tiers->all[(tiers->turn + i) % tiers->count];
        bool slow = i >= tiers->count;
        said = said == -ENODEV && takes_now(tier) ? -ENOSPC : said;
        if ((tier->kind == TIER_HDD) != slow || !takes_more(tier)) {
            continue;
        }
        int r = make_on(store, tier, keeper, ret_segment);
        tier_made(tier, r);
        if (r == 0) {
            tiers->turn = (tier->index + 1u) % tiers->count;
            return 0;
        }
        said = is_full(r) ? said : r;
    }
    return said;
}

static int spare_make(struct store *store, struct keeper *keeper, uint32_t slot) {
    struct segment *segment = NULL;
    (void)pthread_mutex_lock(&store->files);
    int r = make_somewhere(store, keeper, &segment);
    (void)pthread_mutex_unlock(&store->files);
    if (r != 0) {
        return r;
    }
    /* release: the segment is whole before the log can take it; pairs with spare_take */
    atomic_store_explicit(&keeper->spares[slot], segment, memory_order_release);
    return 0;
}

int spare_refill(struct store *store) {
    int made = 0;
    int r = 0;
    for (uint32_t i = LOG_SPARES; i-- > 0;) { /* what is kept back for tombstones comes first */
        for (uint32_t k = 0; k < store->config.keepers && r == 0; k++) {
            struct keeper *keeper = &store->keepers[k];
            if (atomic_load_explicit(&keeper->spares[i], memory_order_relaxed) == NULL) {
                r = spare_make(store, keeper, i);
                made += r == 0;
            }
        }
    }
    bool full = is_full(r) || r == -EMFILE || r == -ENFILE || r == -ENOMEM;
    store->spare_failures = r == 0 ? 0 : store->spare_failures + 1;
    /* One failure of the disk may pass; space and descriptors are known to be gone at once. */
    int32_t trouble = full                                          ? STORE_FULL
                      : store->spare_failures >= SPARE_FAILURES_MAX ? STORE_READONLY
                                                                    : 0;
    atomic_store_explicit(&store->trouble, trouble, memory_order_relaxed); /* a hint */
    return r == 0 || full ? made : r;
}

void spare_drop_all(struct store *store) {
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        for (uint32_t i = 0; i < LOG_SPARES; i++) {
            struct segment *segment =
                atomic_exchange_explicit(&store->keepers[k].spares[i], NULL, memory_order_acq_rel);
            if (segment) {
                /* what cannot be unlinked now is found empty at the next start */
                int r = segment_drop(&store->segments, segment);
                (void)r;
            }
        }
    }
}

/* Enough that a commit finds its space ready, and no more than that, as every byte ahead is written
 * twice. What a commit saves is a change of metadata, however large it is; past some size the
 * zeroes take longer than that. */
uint64_t spare_ahead(enum segment_state state, uint32_t commit_bytes) {
    if ((state != SEGMENT_OPEN && state != SEGMENT_SPARE) || commit_bytes >= HOUSEKEEP_SMALL) {
        return 0;
    }
    return state == SEGMENT_OPEN ? HOUSEKEEP_AHEAD : HOUSEKEEP_STEP;
}

static uint32_t commit_bytes_of(const struct store *store, const struct segment *segment) {
    if (segment->log >= store->config.keepers) {
        return 0; /* of moves: all of it is theirs already */
    }
    return atomic_load_explicit(&store->keepers[segment->log].log.commit_bytes,
                                memory_order_relaxed);
}

static int prewrite(struct store *store, struct segment *segment) {
    enum segment_state state = segment_state(segment);
    uint64_t ahead = spare_ahead(state, commit_bytes_of(store, segment));
    if (ahead == 0) {
        return 0;
    }
    uint64_t pen = atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
    if (prewrite_zeroed(segment) >= pen + ahead) {
        return 0;
    }
    segment_hold(segment);
    int r = segment_prewrite(&store->segments, segment, store->zeroes, HOUSEKEEP_STEP);
    segment_unpin(segment);
    return r;
}

static struct roll *roll_of(struct store *store, const struct segment *segment) {
    struct roll *rolls = segment->log < store->config.keepers
                             ? store->keepers[segment->log].log.rolls
                             : move_rolls(store, segment->log);
    for (uint32_t i = 0; rolls && i < LOG_ROLLS; i++) {
        if (roll_is_of(&rolls[i], segment)) {
            return &rolls[i];
        }
    }
    return NULL;
}

int spare_seal(struct store *store, struct segment *segment) {
    struct roll *roll = roll_of(store, segment);
    if (!roll) {
        return seal_closed(&store->segments, segment, store->hash_seed);
    }
    int r = seal_told(&store->segments, segment, roll);
    if (r == 0) {
        roll_free(roll);
    }
    return r;
}

/* Its segment will be sealed by it. A log hands its roll over first and then sets its segment
 * CLOSED: in between it is OPEN still. */
static bool roll_waits(struct store *store, const struct roll *roll) {
    const struct segment *segment = &store->segments.all[roll->segment];
    enum segment_state state = segment_state(segment);
    return (state == SEGMENT_OPEN || state == SEGMENT_CLOSED) && roll_is_of(roll, segment) &&
           tier_state(tier_of(store, segment)) < TIER_READONLY &&
           !atomic_load_explicit(&segment->unsettled, memory_order_relaxed);
}

/* Rolls of segments that will not be sealed by them: gone, away with their tier (or not to be
 * written, for who knows how long: its log has other segments to fill), or with records that only
 * the next start can judge. */
static void rolls_sweep(struct store *store, struct roll *rolls) {
    for (uint32_t i = 0; i < LOG_ROLLS; i++) {
        if (roll_state(&rolls[i]) == ROLL_LEFT && !roll_waits(store, &rolls[i])) {
            roll_free(&rolls[i]);
        }
    }
}

/* A seal that failed may read the whole segment next time: let some rounds pass. */
static bool seal(struct store *store, struct segment *segment) {
    bool writable = tier_state(tier_of(store, segment)) < TIER_READONLY;
    if (segment_state(segment) != SEGMENT_CLOSED || segment->seal_pause > 0 || !writable) {
        segment->seal_pause -= segment->seal_pause > 0;
        return false;
    }
    if (!seal_may(segment)) {
        return false;
    }
    segment_hold(segment);
    int r = spare_seal(store, segment);
    segment_unpin(segment);
    segment->seal_pause = r == 0 ? 0 : r == SEAL_DAMAGED ? SEAL_PAUSE_DAMAGED : SEAL_PAUSE;
    return r == 0;
}

uint32_t store_housekeep(struct store *store) {
    if (store->config.read_only) {
        return 0;
    }
    int made = spare_refill(store);
    uint32_t work = feature_step(store) + (made > 0 ? (uint32_t)made : 0);
    for (uint32_t id = 1; id < store->segments.top; id++) {
        struct segment *segment = &store->segments.all[id];
        work += prewrite(store, segment) > 0;
        work += seal(store, segment);
    }
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        rolls_sweep(store, store->keepers[k].log.rolls);
    }
    for (uint32_t i = 0; i < store->tiers.count && store->porter; i++) {
        rolls_sweep(store, move_rolls(store, move_log(i)));
    }
    return work;
}
