/* SPDX-License-Identifier: MIT */
#pragma once

/* judge — torn tail or corruption: which batches of a log count.
 *
 * Pure. In: what stands on the disk of one log (one keeper in one epoch), as ranges of LSNs: sealed
 * segments, and batches of unsealed ones. Let D be the highest durable LSN that any of them
 * carries. A range up to D was acknowledged: if no sound batch holds it, it is damage, and what
 * lies behind it still counts. Above D the first range that is missing or not sound was a write
 * under way when power went: it and everything behind it never was acknowledged, and is ignored.
 * A failed write leaves its batches twice (the rewrite has the same LSNs): the sound one counts. */

#include "base/base.h"

struct judge_item {
    uint64_t first_lsn, last_lsn;
    uint64_t durable_lsn; /* a sealed segment: its last_lsn */
    uint32_t log;
    uint32_t segment;
    uint32_t batch; /* index in its scan; UINT32_MAX: a sealed segment */
    bool sealed;
    bool sound;    /* whole, and every payload verifies */
    bool accepted; /* out */
    bool damaged;  /* out: accepted, yet not sound */
};

struct judge_gap {
    uint64_t first_lsn, last_lsn;
    uint32_t log;
    uint32_t segment; /* the one after the gap: it carries the news */
};

struct judge_verdict {
    struct judge_gap *gaps; /* acknowledged ranges that nobody holds */
    uint32_t gaps_max;
    uint32_t gap_count; /* may exceed gaps_max: the rest is counted only */
    uint64_t ignored;   /* batches */
};

/* Sorts the items (by epoch, log, LSN) and judges every log among them. */
void judge(struct judge_item items[], uint64_t count, struct judge_verdict *verdict);
