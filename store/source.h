/* SPDX-License-Identifier: MIT */
#pragma once

/* source — the list of records of a sealed segment that is rewritten: its footer, or, where that is
 * damaged, one made anew from its batches.
 *
 * One source is reused for one segment after another. Thread: porter. Cost: the footer is read
 * whole; a scan reads the whole segment. */

#include "store/scan.h"
#include "store/seal.h"

struct store;

struct source {
    struct store *store;
    struct segment *segment; /* NULL: none is open */
    struct segment_trailer trailer;
    uint32_t count; /* records */
    bool scanned;   /* the list was made from the batches */
    bool short_of;  /* the footer named more than the batches show just now: maybe a tombstone */
    struct footer footer;
    struct scan_window window; /* opened with the first segment */
    struct scan scan;
    uint8_t *page;
};

/* Returns: 0 or -ENOMEM; source_fini after either, or where it is all zero. */
must_check int source_init(struct source *source, struct store *store);
void source_fini(struct source *source);

/* Returns: 0 or -errno; source_close after either. */
must_check int source_open(struct source *source, struct segment *segment);
/* Keeps the buffers. */
void source_close(struct source *source);
/* Valid until source_close. */
static inline const struct footer_entry *source_entry(const struct source *source, uint32_t i) {
    return source->scanned ? &source->scan.entries[i].entry : &source->footer.entries[i];
}
