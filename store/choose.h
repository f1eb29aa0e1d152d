/* SPDX-License-Identifier: MIT */
#pragma once

/* choose — which segment is rewritten next, and why. Pure: tables in, a choice out.
 *
 *   DEAD      nothing in it is live or needed: it goes as it is
 *   GARBAGE   so much of it is dead that rewriting the rest pays: of those the one with the best
 *             garbage x age, against what it costs to read and write what lives
 *   FORCED    its tier is nearly full: what has the most garbage, be it little
 *   DEMOTE    a fast tier is above the high water or full, and there is a slow one: the oldest goes
 *   CRUMBS    many segments that were sealed nearly empty, as each start leaves some: together
 *
 * A tier's `fill` is in thousandths. Segments that logs write or are kept ready are no part of it:
 * demoting does not make them fewer, and a small tier would be drained for them. Source: Rosenblum
 * & Ousterhout (cost-benefit cleaning). */

#include "base/base.h"

enum choose_reason {
    CHOOSE_NOTHING,
    CHOOSE_DEAD,
    CHOOSE_FORCED,
    CHOOSE_DEMOTE,
    CHOOSE_GARBAGE,
    CHOOSE_CRUMBS,
};

/* stuck_bytes where nothing lives and yet something in there must not go: less than any block. */
#define CHOOSE_STUCK_DEAD 1u

struct choose_segment {
    uint32_t id;
    uint32_t tier;
    bool slow;             /* on an HDD */
    uint64_t generation;   /* higher: younger */
    uint64_t data_bytes;   /* what it holds */
    uint64_t live_bytes;   /* what the catalog names in there */
    uint64_t needed_bytes; /* tombstones and pins that go along */
    uint64_t stuck_bytes;  /* live bytes that could not be moved: as long as nothing else lives, it
                              is let alone */
};

struct choose_tier {
    bool present; /* can be read and added to */
    bool slow;
    bool full;     /* logs find no room there now: whatever the sums say */
    uint32_t fill; /* of 1000: what is written out, of what logs and moves leave to it */
};

struct choose_rules {
    uint32_t garbage; /* of 1000: dead at least so much */
    uint32_t forced;  /* of 1000: fill from which less garbage will do */
    uint32_t least;   /* of 1000: garbage below which rewriting gains nothing, whatever the fill */
    uint32_t high;    /* of 1000: fill of the fast tiers from which segments are demoted */
    uint32_t crumbs;  /* so many are let be */
    uint64_t segment_bytes;
};
extern const struct choose_rules choose_default;

struct choice {
    enum choose_reason reason;
    uint32_t id;
};
/* `segments`: sealed ones. Age is told by the order of generations. */
struct choice choose(const struct choose_rules *rules, const struct choose_segment segments[],
                     uint32_t count, const struct choose_tier tiers[], uint32_t tier_count);

/* A word for people. */
const char *choose_word(enum choose_reason reason);

/* allowance — so many a second over time; what was not used is kept for burst_ns. */
struct allowance {
    uint64_t rate; /* a second; 0: no limit */
    uint64_t burst_ns;
    uint64_t free_ns; /* paid for up to here */
};
static inline bool allowance_open(const struct allowance *allowance, uint64_t now_ns) {
    return allowance->rate == 0 || now_ns >= allowance->free_ns;
}
void allowance_spend(struct allowance *allowance, uint64_t now_ns, uint64_t amount);
