/* SPDX-License-Identifier: MIT */
#pragma once

/* muster — segments found and judged while the store serves: what found.c and recover.c do at a
 * start, in steps. Those of a tier that comes back, and those that a start left unsettled, as a
 * tier was missing that may tell what counts in them, or as the disk did not give all of them.
 *
 *   files ─► read: header, trailer, or scan ─► trailers of all others ─► judge
 *
 * What belongs to logs of earlier starts is written by nobody any more, so it may be looked at for
 * as long as it takes. Nothing is written. Thread: the porter. */

#include "store/found.h"

enum muster_phase { MUSTER_FILES, MUSTER_READ, MUSTER_TRAILERS, MUSTER_JUDGE, MUSTER_DONE };

struct muster {
    struct store *store;
    struct tier *tier; /* that comes back; NULL: none */
    enum muster_phase phase;
    struct recovery recovery; /* found: the segments */
    struct store_report report;
    uint64_t arrived; /* so many of found are the tier's; the rest were here */
    uint64_t at;
    uint32_t *ids; /* [SEGMENT_IDS], of the tier's files */
    uint32_t id_count;
    uint8_t *commits; /* [SEGMENT_IDS] of those that are here: they hold commit records */
    bool begun;       /* found[at] is being scanned */
    bool scans;       /* some of found are scanned: the others' trailers and commits matter */
    uint32_t tries;   /* reads that failed while the tier was there */
    bool read_only;   /* its files cannot be written */
    const char *stop; /* why not to go on, in words */
    bool lost;        /* the tier is away again */
};

/* Returns: 0 or -errno; close it either way. */
must_check int muster_open(struct muster *muster, struct store *store, struct tier *tier);
/* Closes no files: those of a tier that was not taken up are the caller's to give back. */
void muster_close(struct muster *muster);
/* Returns: how much was done. */
uint32_t muster_step(struct muster *muster);
/* A read of it failed: the tier is away again (lost), or it is tried again, up to some times.
 * Returns: that was the last of them. */
bool muster_trouble(struct muster *muster);
/* Is it a segment that this start did not settle? */
bool muster_unsettled(const struct store *store, const struct segment *segment);
