/* SPDX-License-Identifier: MIT */
#pragma once

/* seal — gives a segment that will not be written again its footer and trailer, and cuts it to
 * size.
 *
 *   what its log left of it (a roll) ────────┐
 *                                            ├─► footer behind the last accepted batch
 *   no roll: scan ─► accepted entries ───────┘     ─► trailer ─► sync
 *
 * The file is cut first: a trailer counts only as the last page. A crash in between leaves an
 * unsealed segment whose batches are scanned again; what stands behind them is no batch. */

#include "store/roll.h"

struct seal_order {
    struct segments *segments;
    struct segment *segment;
    const struct scan *scan; /* with accepted batches and entries marked */
    uint64_t data_bytes;     /* end of the last accepted batch */
    void *buffer;            /* SEAL_BUFFER, page-aligned */
};
#define SEAL_BUFFER (256u * 1024)

must_check int seal_segment(const struct seal_order *order);

/* Every record in it counts or never will, and which is known without asking. */
static inline bool seal_may(const struct segment *segment) {
    /* acquire: pairs with order_decide */
    return atomic_load_explicit(&segment->undecided, memory_order_acquire) == 0 &&
           !atomic_load_explicit(&segment->unsettled, memory_order_relaxed);
}
/* seal_closed scans and seals a segment that its log has left, where seal_may. Returns: 0;
 * SEAL_DAMAGED: something in it does not verify though no write of it failed, and a footer would
 * leave that out for good: as long as it is not sealed it may be read another time, and the next
 * start says what is missing; -errno. Thread: helper, boot. */
enum { SEAL_DAMAGED = 1 };
must_check int seal_closed(struct segments *segments, struct segment *segment, uint64_t hash_seed);

/* The same by what its log left of it, reading nothing: what was acknowledged is named, whether it
 * can be read is for reads and scrub to find out. */
must_check int seal_told(struct segments *segments, struct segment *segment,
                         const struct roll *roll);

/* Reads a sealed segment's footer into *footer, whose memory is used again or made larger; begin
 * with zeroes. Returns: 0, FORMAT_BAD, -errno. */
struct footer {
    struct footer_entry *entries;
    uint64_t room; /* bytes */
    uint32_t count;
};
must_check int footer_read(const struct segments *segments, const struct segment *segment,
                           const struct segment_trailer *trailer, struct footer *footer);
void footer_close(struct footer *footer);
/* Returns: 0, FORMAT_BAD, -errno. page: scratch; the trailer lies in it after. */
must_check int trailer_read(const struct segments *segments, const struct segment *segment,
                            void *page);
