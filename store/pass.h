/* SPDX-License-Identifier: MIT */
#pragma once

/* pass — one walk over the sealed segments of some tiers, in order of their ids: every live block
 * is read and proven to its multihash.
 *
 *   footer ─► each live record ─► sound: counted
 *                             ─► not: given to a repair (store/repair.h), whose outcome is counted
 *                                when the scrub brings it (pass_tell)
 *
 * A pass reads in runs, as long as its allowance is open or at least `run_bytes`, so that a slow
 * one reads what it asked the disk for. Nothing of it comes to memory. Logs that are open and
 * segments not yet sealed have their turn in the next pass; so has what lies on a tier that is
 * away. A segment whose list of records cannot be read is counted. Thread: porter. */

#include "store/peek.h"
#include "store/seal.h"

struct allowance;
struct porter;
struct repair;

struct pass {
    struct porter *porter;
    uint32_t kinds;          /* 1 << enum tier_kind, of the tiers it looks at */
    struct segment *segment; /* pinned while it is read; NULL: between two */
    uint32_t id;             /* of the segment, or the last */
    uint32_t next;           /* in its footer */
    struct footer footer;
    struct peek peek;
    uint8_t *page;
    uint64_t seen, bytes;       /* blocks and their bytes, of this pass */
    uint64_t damaged, repaired; /* without another copy; written anew from one */
    uint64_t waiting;           /* have another copy, and no room to write it */
    uint64_t unlisted;          /* segments that were passed by: their lists are damaged */
    uint64_t unread;            /* the disk did not give them */
    uint64_t left_out;          /* they get one at a start, or when their tier is written again */
};

/* Returns: 0 or -ENOMEM. */
must_check int pass_open(struct pass *pass, struct porter *porter, uint32_t kinds);
void pass_close(struct pass *pass);
/* From the first segment on. */
void pass_begin(struct pass *pass);
/* Lets go of its segment; pass_step begins that one again. */
void pass_rest(struct pass *pass);

/* One run. Returns: how many records it looked at, or 1; *ret_over: there is no more. It ends early
 * where the repair has no room. */
struct pass_run {
    struct allowance *allowance;
    struct repair *repair;
    uint64_t bytes; /* at least so many, once the allowance is open */
};
uint32_t pass_step(struct pass *pass, const struct pass_run *run, bool *ret_over);
/* What it gave to the repair has its outcomes. */
void pass_tell(struct pass *pass, const struct repair *repair);
/* Live bytes in segments that it has not looked at yet. */
uint64_t pass_left(const struct pass *pass);
