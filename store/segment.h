/* SPDX-License-Identifier: MIT */
#pragma once

/* segment — the store's files, by id: what state each is in, and who may touch what of it.
 *
 *   NONE ──made by housekeeping──► SPARE ──taken by a log──► OPEN ──full or suspect──► CLOSED
 *    ▲                                                            ──footer written──► SEALED
 *    └──── unlinked for good ──── DYING ◄── nothing in it is live or needed: the porter ─┘
 *   NONE ──a tier is back──► LOADING ──its records are in the catalog──► CLOSED, SEALED
 *
 * Set before the state that publishes it and never changed after: tier, generation, log, epoch.
 * One writer each: data_bytes (the log while OPEN). Any keeper: live_bytes, by atomic add.
 *
 * Space ahead of the log is written with zeroes by housekeeping, so that a commit changes no
 * metadata. `prewrite` holds two page numbers, frontier << 32 | zeroed: below `zeroed` space is
 * ready; between the two the helper is at work. The helper moves the frontier from (z, z) to
 * (z + n, z), writes and syncs, then stores (z + n, z + n). A log that catches up with (z, z)
 * claims what it needs by the same compare-and-swap and writes to space that was only reserved,
 * which is as durable, if slower. So nobody ever writes zeroes over a batch. */

#include "base/base.h"
#include "store/disk.h"
#include "store/format.h"

#include <stdatomic.h>

enum segment_state {
    SEGMENT_NONE,
    SEGMENT_SPARE,
    SEGMENT_OPEN,
    SEGMENT_CLOSED,
    SEGMENT_SEALED,
    SEGMENT_LOADING,
    SEGMENT_DYING,
};

struct segment {
    alignas(CACHE_PAIR) _Atomic uint32_t state; /* release by whoever moves it on */
    _Atomic uint32_t pins;                      /* readers of its file; outlives any one use */
    _Atomic int fd; /* changes when its tier comes back: segment_fd, under a pin */
    uint32_t id;
    uint32_t tier; /* index of the path it lies on */
    uint32_t crc_base;
    uint64_t generation;
    uint64_t create_lsn;
    uint32_t log;
    uint32_t epoch;
    uint32_t damaged_ranges; /* found when it was recovered */
    bool suspect;            /* a write to it failed; set before CLOSED */
    bool recovered;
    bool unproven;         /* moves: holds copies that no word on the disk calls durable */
    bool unlinked;         /* DYING: what is left to do is to make it last */
    uint64_t stuck_bytes;  /* porter: live bytes that could not be moved; 0: none known */
    uint32_t seal_pause;   /* helper */
    uint32_t footer_count; /* set before SEALED */
    uint32_t tombstones;   /* set before SEALED */
    uint64_t footer_offset;
    _Atomic uint32_t footer_seen; /* enum footer_seen: whoever lists it first finds out */
    _Atomic uint64_t data_bytes;  /* end of the last acknowledged batch */
    _Atomic uint64_t file_bytes;
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t live_blocks;
    /* Records in data_bytes of atomic bundles whose end is open: while there are any it is not
     * sealed, and nobody may count its blocks by the catalog alone. Up before data_bytes is, down
     * after the catalog has the block. */
    _Atomic uint32_t undecided;
    /* Records of bundles that came to nothing, which its footer leaves out (store/aborts.h). */
    _Atomic uint32_t aborted;
    /* Which of its records count is not known here: it is not sealed before a start, or a tier that
     * comes back, has told. */
    _Atomic bool unsettled;
    _Atomic uint64_t prewrite;
    /* No record in it was born before this: exact once sealed, a lower bound before. */
    _Atomic uint64_t min_birth_lsn;
    /* Of a move segment: end of the last batch whose blocks the catalog knows (or will not). */
    _Atomic uint64_t published_bytes;
};

enum footer_seen { FOOTER_UNSEEN, FOOTER_SOUND, FOOTER_DAMAGED };

struct segments {
    struct segment *all; /* [SEGMENT_IDS], by id */
    const struct disk *disk;
    const char *dir; /* of the store */
    struct tiers *tiers;
    struct super *super; /* says how high ids may go */
    struct aborts *aborts;
    const uint8_t *uuid;    /* of the store */
    uint64_t segment_bytes; /* as formatted */
    uint32_t top;           /* ids below it may exist; grows at boot and by housekeeping alone */
    uint32_t last_id;       /* given out; 0: none since the start */
    uint32_t id_first;      /* none is given out below it: a tier that is away may have them */
    uint32_t epoch;
    uint64_t generation_next;
};

#define SEGMENT_PATH_MAX 768
#define SEGMENT_ROUND    8192u /* ids in a round, or four times as many as are in use */

struct aborts;
struct super;
struct tiers;

must_check int segments_open(struct segments *segments);
/* Closes every file. */
void segments_close(struct segments *segments);

static inline enum segment_state segment_state(const struct segment *segment) {
    return (enum segment_state)atomic_load_explicit(&segment->state, memory_order_acquire);
}
static inline void segment_set_state(struct segment *segment, enum segment_state state) {
    atomic_store_explicit(&segment->state, (uint32_t)state, memory_order_release);
}

struct segment_at {
    uint32_t tier, id;
};
void segment_path_at(const struct segments *segments, const struct segment_at *at,
                     char path[SEGMENT_PATH_MAX]);
/* Of one that there is. */
void segment_path(const struct segments *segments, uint32_t id, char path[SEGMENT_PATH_MAX]);
/* Clears all but the state and the pins: a reader with an old place may be trying just now. */
void segment_clear(struct segment *segment, uint32_t id);
static inline int segment_fd(const struct segment *segment) {
    /* seq_cst: who opens it anew stores the word, then looks at the pins, as in segment_free */
    return atomic_load_explicit(&segment->fd, memory_order_seq_cst);
}
/* The id in a file name IIIII.seg; 0: not one. */
uint32_t segment_id_of(const char *name);

/* segment_make creates, reserves and heads a new segment, durable with its directory entry. page:
 * PAGE_BYTES aligned scratch. Returns: 0, -ENOSPC (nothing is left behind), -errno. Thread: boot,
 * or helper and porter under store->files. */
struct segment_order {
    uint32_t tier;
    uint32_t log;
    uint64_t create_lsn;
    bool claimed; /* all of it is the maker's at once: housekeeping writes no zeroes into it */
    void *page;
};
must_check int segment_make(struct segments *segments, const struct segment_order *order,
                            struct segment **ret_segment);
/* Fills `page` with the segment's header. */
void segment_head(const struct segments *segments, const struct segment *segment, void *page);
/* Readers that are not its log hold a segment while they use its file. False: there is none any
 * more, look the block up again. Thread: any.
 *
 * Proof. Both sides are sequentially consistent: a reader adds its pin and then looks at the state,
 * segment_free sets DYING and then looks at the pins. One of the two comes first in the one order
 * of all four: so either the reader sees DYING, or the porter sees the pin. */
static inline void segment_unpin(struct segment *segment) {
    /* release: the reader is done with the file; pairs with segment_free */
    atomic_fetch_sub_explicit(&segment->pins, 1, memory_order_release);
}
static inline bool segment_pin(struct segment *segment) {
    atomic_fetch_add_explicit(&segment->pins, 1, memory_order_seq_cst);
    uint32_t state = atomic_load_explicit(&segment->state, memory_order_seq_cst);
    if (unlikely(state < SEGMENT_OPEN || state > SEGMENT_LOADING)) {
        segment_unpin(segment);
        return false;
    }
    return true;
}

/* A pin of housekeeping, which alone seals and so knows that the file stays, but not that it is not
 * opened anew meanwhile: then the old descriptor is closed, and its number soon another file's. */
static inline void segment_hold(struct segment *segment) {
    atomic_fetch_add_explicit(&segment->pins, 1, memory_order_seq_cst); /* as segment_pin */
}

/* segment_free lets go of a segment in which nothing is live: no reader gets in any more, and when
 * those within are gone its file goes, durably. Returns: 0 it is gone; SEGMENT_HELD: not yet, call
 * again; -errno: call again. Thread: porter, with the files to itself. */
enum { SEGMENT_HELD = 1 };
must_check int segment_free(struct segments *segments, struct segment *segment);

/* Unlinks one that holds nothing. */
must_check int segment_drop(struct segments *segments, struct segment *segment);
/* Writes zeroes into the next `bytes` ahead of the log. Returns: 1 did something, 0 not, -errno. */
must_check int segment_prewrite(struct segments *segments, struct segment *segment,
                                const void *zeroes, uint64_t bytes);

/* segment_claim asks for the space before `end` (a page multiple). Returns: true: write to it now;
 * false: the helper is in there, ask again. Thread: the log's. */
bool segment_claim(struct segment *segment, uint64_t end);
static inline uint64_t prewrite_zeroed(const struct segment *segment) {
    return (atomic_load_explicit(&segment->prewrite, memory_order_acquire) & UINT32_MAX) *
           PAGE_BYTES;
}
