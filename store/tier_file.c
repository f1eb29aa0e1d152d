/* SPDX-License-Identifier: MIT */
#include "store/tier_file.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/format.h"
#include "store/page_file.h"
#include "store/text.h"
#include "store/tier.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void file_path(const char *dir, const char *name, char path[TIER_FILE_PATH]) {
    struct text text = {path, TIER_FILE_PATH, 0};
    text_add(&text, dir);
    text_add(&text, name);
}

int tier_page_check(const void *page) {
    const struct tier_page *tier = page;
    return tier->magic == TIER_FILE_MAGIC && tier->version == FORMAT_MAJOR &&
                   tier->kind <= TIER_HDD && page_sound(page, 0)
               ? 0
               : FORMAT_BAD;
}

int tier_read(const struct disk *disk, const char *dir, void *page) {
    int r = page_file_read(disk, dir, "/TIER", page);
    return r == 0 ? tier_page_check(page) : r;
}

void tier_measure(const struct disk *disk, struct tier *tier) {
    char path[TIER_FILE_PATH];
    file_path(tier->dir, "/TIER", path);
    uint32_t unit = 0;
    int fd = disk->calls->read_unit
                 ? disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0)
                 : -ENOSYS;
    if (fd >= 0) {
        unit = disk->calls->read_unit(disk->backend, fd);
        (void)disk->calls->close_file(disk->backend, fd);
    }
    unit = max_u32(unit, unit > 0 ? TIER_UNIT_MIN : PAGE_BYTES);
    unit = is_power_of_two(unit) && unit <= PAGE_BYTES ? unit : PAGE_BYTES;
    atomic_store_explicit(&tier->unit, unit, memory_order_relaxed); /* tier_read_unit says why */
}

int tier_present(const struct disk *disk, const struct tier *tier, void *page) {
    int r = tier_read(disk, tier->dir, page);
    if (r == FORMAT_BAD) {
        return 0; /* its file is damaged, not gone: the next start makes it anew */
    }
    bool other = r == 0 && memcmp(((const struct tier_page *)page)->uuid, tier->uuid, 16) != 0;
    return r == -ENOENT || other ? err_raise(-ENODEV) : r;
}

int tier_write(const struct disk *disk, const char *dir, const struct tier_page *tier, void *page) {
    memset(page, 0, PAGE_BYTES);
    memcpy(page, tier, sizeof *tier);
    page_seal(page, 0);
    return page_file_write(disk, dir, "/TIER", page);
}

void tier_unlock(const struct disk *disk, struct tier *tier) {
    if (tier->lock_fd >= 0) {
        (void)disk->calls->close_file(disk->backend, tier->lock_fd);
    }
    tier->lock_fd = -1;
}

int tier_lock(const struct disk *disk, struct tier *tier, bool shared, uint32_t *ret_pid) {
    char path[TIER_FILE_PATH];
    file_path(tier->dir, "/LOCK", path);
    int (*lock_file)(void *, const char *, bool, uint32_t *) =
        disk->calls->lock_file ? disk->calls->lock_file : disk_sync_calls.lock_file;
    /* The lock may lie on a file that is no longer the one under this name. */
    tier_unlock(disk, tier);
    *ret_pid = 0;
    int fd = lock_file(disk->backend, path, shared, ret_pid);
    bool readable = fd == -EROFS || fd == -EACCES;
    if (readable && !shared) {
        fd = lock_file(disk->backend, path, true, ret_pid);
    }
    if (fd == -ENOENT && (shared || readable)) {
        return 0;
    }
    if (fd < 0) {
        return fd;
    }
    tier->lock_fd = fd;
    return 0;
}
