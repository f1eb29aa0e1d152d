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
    bool unread;   /* some of it the disk did not give: not damage, but not known */
    bool late;     /* that, or its log has such a segment: judged again when all can be read */
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
    void *page;   /* PAGE_BYTES */
    bool partial; /* some of the store cannot be read: what is missing may be there */
    int result;
};

/* Opens every segment file of the store. Returns: 0, STORE_FORMAT (report says why), -errno. */
must_check int found_list(struct recovery *recovery);
/* Reads header and trailer, scans where there is no trailer, and adds what is to be judged. */
must_check int found_read(struct recovery *recovery, uint64_t index);
/* The same in parts: where found_begin opened a scan it is run before found_end. */
must_check int found_begin(struct recovery *recovery, uint64_t index);
must_check int found_end(struct recovery *recovery, uint64_t index);
must_check int item_add(struct recovery *recovery, const struct judge_item *item);
/* Adds a sealed segment of which no more than the trailer is known. */
must_check int found_sealed(struct recovery *recovery, const struct segment_trailer *trailer,
                            uint32_t index);
/* Adds what segments held that went in order (store->gone). */
must_check int found_gone(struct recovery *recovery);
/* Of an unread one, and of each that is not sealed and of the same log: nothing about them is
 * settled. Returns: there are any. */
bool found_late(struct recovery *recovery);

/* --- recover.c --- */
/* Which batches and records of `found` count. */
void recover_judge(struct recovery *recovery);
/* Takes out records of bundles without a commit; where that may be somewhere else (partial), it
 * says so in found->open_end. */
struct load;
void recover_uncommitted(const struct load *load, struct found *found, bool partial);

/* Scans the batches of one up to `end`. Returns: 0 or -ENOMEM. */
must_check int found_scan(struct recovery *recovery, uint64_t index, uint64_t end);
