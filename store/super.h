/* SPDX-License-Identifier: MIT */
#pragma once

/* super — DIR/SUPER: what the store is, and whether it was closed in order.
 *
 * Two slots, written in turn, each with a sequence and a CRC: a torn write leaves the other. The
 * file is made under another name and renamed, so a half-made store is never taken for one. Thread:
 * boot; super_allow_ids: whoever makes segments (under store->files). */

#include "store/disk.h"
#include "store/format.h"
#include "store/store.h"

#define SUPER_PATH_MAX 768

struct super {
    struct super_slot slot; /* the newest */
    struct super_tiers tiers;
    struct super_end end;  /* of the last run, if slot.clean */
    bool tiers_listed;     /* false: written by a version that knew DIR/ssd alone */
    uint16_t minor_before; /* as it was found */
    int fd;
    uint32_t next; /* slot to write */
};

/* super_read opens and reads it. Returns: 0; STORE_FORMAT with words in `why` (absent:
 * *ret_absent); -errno. page: PAGE_BYTES of aligned scratch. */
struct super_scratch {
    void *page;
    char *why;
    size_t why_bytes;
};
must_check int super_read(struct super *super, const struct store_config *config,
                          const struct super_scratch *scratch, bool *ret_absent);
/* super_format makes a new store's SUPER; its tiers are made by tiers_open. Returns: 0 or -errno.
 */
must_check int super_format(const struct store_config *config, uint64_t segment_bytes, void *page);
/* super_write makes super->slot, super->tiers and super->end durable in the older slot, with the
 * next sequence.
 */
must_check int super_write(struct super *super, const struct disk *disk, void *page);
/* super_allow_ids says that segments may have ids below `top`, with some to spare: a store that is
 * opened while a tier is away gives out none that may be on it. */
must_check int super_allow_ids(struct super *super, const struct disk *disk, void *page,
                               uint32_t top);
/* Random bytes for names. */
must_check int super_entropy(const struct disk *disk, void *bytes, size_t count);
