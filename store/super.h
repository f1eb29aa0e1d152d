/* SPDX-License-Identifier: MIT */
#pragma once

/* super — DIR/SUPER: what the store is, and whether it was closed in order.
 *
 * Two slots, written in turn, each with a sequence and a CRC: a torn write leaves the other. The
 * file is made under another name and renamed, so a half-made store is never taken for one. Thread:
 * boot. */

#include "store/disk.h"
#include "store/format.h"
#include "store/store.h"

#define SUPER_PATH_MAX 768

struct super {
    struct super_slot slot; /* the newest */
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
/* super_format makes a new store: directories, SUPER. Returns: 0 or -errno. */
must_check int super_format(const struct store_config *config, uint64_t segment_bytes, void *page);
/* super_write makes super->slot durable in the older slot, with the next sequence. */
must_check int super_write(struct super *super, const struct disk *disk, void *page);
