/* SPDX-License-Identifier: MIT */
#pragma once

/* segment — the store's files, by id: what state each is in, and who may touch what of it.
 *
 *   NONE ──made by housekeeping──► SPARE ──taken by a log──► OPEN ──full or suspect──► CLOSED
 *                                                                 ──footer written──► SEALED
 *
 * Set before the state that publishes it and never changed after: fd, generation, log, epoch.
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

enum segment_state { SEGMENT_NONE, SEGMENT_SPARE, SEGMENT_OPEN, SEGMENT_CLOSED, SEGMENT_SEALED };

struct segment {
    alignas(CACHE_PAIR) _Atomic uint32_t state; /* release by whoever moves it on */
    int fd;
    uint32_t id;
    uint32_t crc_base;
    uint64_t generation;
    uint64_t create_lsn;
    uint32_t log;
    uint32_t epoch;
    uint32_t damaged_ranges; /* found when it was recovered */
    bool suspect;            /* a write to it failed; set before CLOSED */
    bool recovered;
    uint32_t seal_pause;   /* helper */
    uint32_t footer_count; /* set before SEALED */
    uint64_t footer_offset;
    _Atomic uint64_t data_bytes; /* end of the last acknowledged batch */
    _Atomic uint64_t file_bytes;
    _Atomic uint64_t live_bytes;
    _Atomic uint64_t prewrite;
};

struct segments {
    struct segment *all; /* [SEGMENT_IDS], by id */
    const struct disk *disk;
    const char *dir;        /* of the store */
    const uint8_t *uuid;    /* of the store */
    uint64_t segment_bytes; /* as formatted */
    uint32_t top;           /* ids below it may exist; grows at boot and by housekeeping alone */
    uint32_t epoch;
    uint64_t generation_next;
};

#define SEGMENT_PATH_MAX 768

must_check int segments_open(struct segments *segments);
/* Closes every file. */
void segments_close(struct segments *segments);

static inline enum segment_state segment_state(const struct segment *segment) {
    return (enum segment_state)atomic_load_explicit(&segment->state, memory_order_acquire);
}
static inline void segment_set_state(struct segment *segment, enum segment_state state) {
    atomic_store_explicit(&segment->state, (uint32_t)state, memory_order_release);
}

void segment_path(const struct segments *segments, uint32_t id, char path[SEGMENT_PATH_MAX]);
/* The id in a file name IIIII.seg; 0: not one. */
uint32_t segment_id_of(const char *name);

/* segment_make creates, reserves and heads a new segment, durable with its directory entry. page:
 * PAGE_BYTES aligned scratch. Returns: 0, -ENOSPC (nothing is left behind), -errno. Thread: boot or
 * helper. */
struct segment_order {
    uint32_t log;
    uint64_t create_lsn;
    void *page;
};
must_check int segment_make(struct segments *segments, const struct segment_order *order,
                            struct segment **ret_segment);
/* Fills `page` with the segment's header. */
void segment_head(const struct segments *segments, const struct segment *segment, void *page);
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
