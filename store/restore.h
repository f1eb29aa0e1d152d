/* SPDX-License-Identifier: MIT */
#pragma once

/* restore — makes a store of a backup (store/archive.h): every file is held against the manifest's
 * hash while it is copied, and SUPER comes last, so what was cut off is no store.
 *
 * All segments go to DIR/ssd, whatever paths they lay on. The epoch jumps ahead, so that the store
 * that was backed up and this one, should both live on, number nothing alike for a long time.
 * Thread: tools. Blocks: yes. */

#include "base/base.h"
#include "store/disk.h"

#define RESTORE_EPOCHS 4096u

struct restore {
    const struct disk *disk;
    const char *from, *to;
    void (*progress)(void *context, const struct restore *restore); /* may be NULL */
    void *context;
    /* what there is, and what was done of it */
    uint64_t number, created_us;
    uint64_t segments, segments_all, files, bytes, bytes_all;
    char config[768]; /* where the configuration file lies now; "": there was none */
    char why[512];    /* a sentence where the result is not 0 */
};

/* Returns: 0; STORE_FORMAT: no backup, or a target that is not empty; STORE_CORRUPT: a file is
 * missing or not what the manifest says; -errno. */
must_check int store_restore(struct restore *restore);
