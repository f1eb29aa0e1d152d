/* SPDX-License-Identifier: MIT */
#pragma once

/* found — the segment files that a start finds: each opened, its header read or rebuilt, its
 * trailer believed or its batches scanned, and what recover.c judges gathered.
 *
 *   found_list ─► one struct found a file ─► found_read: sealed, or scanned
 *
 * Thread: boot. */

#include "store/inside.h"
#include "store/judge.h"
#include "store/seal.h"

struct found {
    struct segment *segment;
    struct scan *scan; /* of an unsealed one, or one whose footer is damaged */
    struct segment_trailer trailer;
    uint64_t data_bytes; /* end of the last accepted batch */
    bool sealed;
    bool keep;     /* holds something */
    bool open_end; /* whether some of its records count is told by a tier that is missing */
    bool read;     /* its footer was */
};

#define FOUND_NONE UINT32_MAX /* of a judge_item: its segment went in order */

struct recovery {
    struct store *store;
    struct store_report *report;
    struct tier *tier; /* being listed */
    struct found *found;
    uint64_t count, max;
    struct judge_item *items;
    uint64_t item_count, items_max;
    struct scan *scans; /* one a found segment, by index; touched where used */
    struct scan_window window;
    struct footer footer;
    int result;
};

/* Opens every segment file of the store. Returns: 0, STORE_FORMAT (report says why), -errno. */
must_check int found_list(struct recovery *recovery);
/* Reads header and trailer, scans where there is no trailer, and adds what is to be judged. */
must_check int found_read(struct recovery *recovery, uint64_t index);
/* Adds what segments held that went in order. */
must_check int found_gone(struct recovery *recovery);
/* Scans the batches of one up to `end`. Returns: 0 or -ENOMEM. */
must_check int found_scan(struct recovery *recovery, uint64_t index, uint64_t end);
