/* SPDX-License-Identifier: MIT */
#pragma once

/* tier — the directories that segments lie in: up to TIERS_MAX paths, fast ones (SSD) and slow ones
 * (HDD), each with a size it may take.
 *
 *   DIR/TIER   says whose it is (store/tier_file.h). SUPER lists the tiers it knows by their names
 *              in there, so that a missing, an empty or a foreign directory is noticed
 *
 * A tier is known while its segments are in the catalog. One that was away when the store was
 * opened is not: until it is taken up (store/arrival.h) a miss means nothing, and is answered with
 * STORE_RETRY. One that goes away later stays known: only reads of what lies on it are answered so.
 *
 *   ONLINE ◄──► FULL       no room for another segment: spare.c says so and takes it back, with
 *                          the next spare made there or when the porter finds that there is room
 *   ONLINE ──► READONLY    it cannot be written, or is no longer configured: read, never added to
 *     any  ◄──► MISSING     its TIER file cannot be read: the porter's probe (store/rejoin.c)
 *   MISSING ◄──► LOADING ──► ONLINE, READONLY   missing at the start: its records are taken in
 *
 * Set at boot and never changed after: dir, kind, size, leaving, uuid. The rest is atomic. */

#include "base/base.h"
#include "store/disk.h"
#include "store/store.h"
#include "store/tier_file.h"

#include <stdatomic.h>

#define TIER_UNIT_MIN 512u /* no disk has smaller sectors */

struct tier {
    alignas(CACHE_PAIR) _Atomic uint32_t state; /* enum tier_state */
    _Atomic uint32_t errors; /* operations that failed as those of a lost disk do */
    _Atomic bool known;      /* its segments are in the catalog */
    _Atomic uint32_t unit;   /* of reads: tier_read_unit */
    uint8_t kind;            /* enum tier_kind */
    bool leaving; /* SUPER knows it, the configuration does not: nothing new goes there */
    uint8_t index;
    uint8_t uuid[16];
    uint32_t epoch;            /* its file's, or what SUPER remembers of it. Thread: boot */
    int lock_fd;               /* of DIR/LOCK; -1: none. Thread: boot, then the porter */
    uint64_t size_bytes;       /* 0: the file system's free space less a reserve */
    char dir[TIER_PATH_MAX];   /* as opened */
    char given[TIER_PATH_MAX]; /* as configured: what SUPER and people are told */
    uint64_t refused_at;  /* store->files: it held so much when a segment found no room that the
                             sums said was there; 0: none did */
    uint32_t pause;       /* housekeeping: rounds before READONLY is tried again */
    uint32_t errors_seen; /* the probe's */
    _Atomic(const char *) waits; /* it was missing at the start, is back, and waits for the next */
    alignas(CACHE_PAIR) _Atomic uint64_t hits; /* reads served from here */
    _Atomic uint64_t moved_in, moved_out;      /* blocks */
};

struct tiers {
    struct tier all[TIERS_MAX];
    uint32_t count;
    uint32_t turn;            /* housekeeping: which SSD is next */
    _Atomic uint32_t unknown; /* tiers whose segments are not in the catalog */
    /* The porter's: the start could not read all there is of those that are here (one of
     * `unknown`), or that was given up. */
    bool unread, given_up;
};

static inline enum tier_state tier_state(const struct tier *tier) {
    /* acquire: who sees it online again sees the files it was opened with */
    return (enum tier_state)atomic_load_explicit(&tier->state, memory_order_acquire);
}
static inline void tier_set_state(struct tier *tier, enum tier_state state) {
    atomic_store_explicit(&tier->state, (uint32_t)state, memory_order_release);
}
/* Can what lies there be read now? */
static inline bool tier_here(const struct tier *tier) {
    return tier_state(tier) < TIER_LOADING;
}
/* May a miss be because of a tier whose segments are not known? Ask before looking up: a tier's
 * entries are all in before it counts as known. */
static inline bool tiers_unknown(const struct tiers *tiers) {
    /* acquire pairs with rejoin.c: who reads 0 finds what that tier holds */
    return atomic_load_explicit(&tiers->unknown, memory_order_acquire) != 0;
}
/* Free on the file systems under them. Blocks: statvfs. */
uint64_t tiers_free_bytes(const struct store *store);
/* What all tiers together may take; 0: one of them has no limit. */
uint64_t tiers_limit(const struct tiers *tiers);
/* Does an operation that failed so say that the disk under it is gone? */
bool tier_lost(int32_t error);
/* An operation on it failed: says so to the probe. Thread: any. */
void tier_error(struct tier *tier, int32_t error);

/* What reads of its files are rounded to: TIER_UNIT_MIN .. PAGE_BYTES. Thread: any. */
static inline uint32_t tier_read_unit(const struct tier *tier) {
    /* relaxed: one that is out of date costs a second read (store/fetch.c) */
    return atomic_load_explicit(&tier->unit, memory_order_relaxed);
}
/* Asks its file system. Where nobody knows, it is PAGE_BYTES. Blocks. Thread: boot, or the porter.
 */
void tier_measure(const struct disk *disk, struct tier *tier);

/* tiers_open finds out what the configured paths hold, makes what is new, and takes up what SUPER
 * knows beside them. Sets every tier's state: ONLINE, READONLY or MISSING. Returns: 0; STORE_FORMAT
 * with words in report->why (a path belongs to another store, ...); -errno. Thread: boot. */
must_check int tiers_open(struct store *store, struct store_report *report);
/* Is one of the configured tiers that the store does not know so small that no segment would ever
 * be made there? Then report->why names it and the least that would do. One it knows may be given
 * less than it holds: it takes no more. Thread: boot. */
bool tiers_too_small(const struct store *store, uint64_t segment_bytes,
                     struct store_report *report);
/* Every tier that can be written says durably in its file which start uses it, before SUPER
 * remembers it: an older copy that is put back is told by that. One that cannot be written keeps
 * what it had. Thread: boot. */
void tiers_mark(struct store *store);
/* Is there what looks like a store's on a configured path? Then nothing is formatted over it. */
bool tiers_used(const struct store *store, struct store_report *report);
/* The configured paths, before anything is read. Returns: 0, -EINVAL, -ENAMETOOLONG with words. */
must_check int tiers_take(struct store *store, struct store_report *report);
