/* SPDX-License-Identifier: MIT */
#pragma once

/* page_file — a file of one page that is there whole or as it was before: written beside it,
 * synced, renamed, its directory synced. What the page says, and whether it is sound, is its
 * owner's matter.
 *
 * Thread: any, off the tiles. Blocks: the disk. */

#include "store/disk.h"

/* `name` begins with a slash. Returns: 0; FORMAT_BAD: shorter than a page; -errno. */
must_check int page_file_read(const struct disk *disk, const char *dir, const char *name,
                              void *ret_page);
/* The page is aligned to PAGE_BYTES. Returns: 0 or -errno; then NAME is what it was, and NAME.new
 * may be left. */
must_check int page_file_write(const struct disk *disk, const char *dir, const char *name,
                               const void *page);
