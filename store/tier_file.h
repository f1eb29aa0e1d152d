/* SPDX-License-Identifier: MIT */
#pragma once

/* tier_file — DIR/TIER, one page: whose store, which tier, what kind. It tells a tier's directory
 * from the empty one that is left where its disk was unmounted, and from another's. It is replaced
 * whole.
 *
 * DIR/LOCK is held for as long as the tier is used: a store and its copy have a lock each, and may
 * name the same tier. Thread: boot, helper, porter. Blocks: on the disk. */

#include "base/base.h"
#include "store/disk.h"

#define TIER_FILE_MAGIC 0x52495443u /* "CTIR" */
#define TIER_PATH_MAX   512u
#define TIER_FILE_PATH  (TIER_PATH_MAX + 16)

struct tier;

/* The page in DIR/TIER; its CRC is its last word. */
struct tier_page {
    uint32_t magic;
    uint16_t version;
    uint8_t kind; /* enum tier_kind, when it was written */
    uint8_t zero;
    uint8_t store_uuid[16];
    uint8_t uuid[16];
    uint64_t created_us; /* wall clock, for people */
    uint32_t epoch;      /* of the last start that wrote here; 0: by a version that did not say */
    uint32_t zero2;
};
static_assert(sizeof(struct tier_page) == 56, "format");
static_assert(offsetof(struct tier_page, epoch) == 48, "format");
static_assert(offsetof(struct tier_page, kind) == 6, "format");
static_assert(offsetof(struct tier_page, store_uuid) == 8, "format");
static_assert(offsetof(struct tier_page, uuid) == 24, "format");
static_assert(offsetof(struct tier_page, created_us) == 40, "format");

/* DIR/TIER. tier_page_check: returns 0 or FORMAT_BAD. */
must_check int tier_page_check(const void *page);
/* tier_read: 0, -ENOENT, FORMAT_BAD (damaged), -errno. page: PAGE_BYTES, aligned; it lies there. */
must_check int tier_read(const struct disk *disk, const char *dir, void *page);
/* Is the directory still that tier's? Asked before a segment is made in it: where a disk was
 * unmounted, the directory under it is there and empty. Returns: 0, -ENODEV, -errno. */
must_check int tier_present(const struct disk *disk, const struct tier *tier, void *page);
/* Takes the tier's lock anew, shared where it is only read; what was held is let go first. Returns:
 * 0; -EAGAIN: another process has it, *ret_pid says which (0: unknown); -errno: it has no lock, as
 * where locks are not to be had. A tier that nobody can write needs none. */
must_check int tier_lock(const struct disk *disk, struct tier *tier, bool shared,
                         uint32_t *ret_pid);
void tier_unlock(const struct disk *disk, struct tier *tier);
must_check int tier_write(const struct disk *disk, const char *dir, const struct tier_page *tier,
                          void *page);
