/* SPDX-License-Identifier: MIT */
#include "store/restore.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/archive.h"
#include "store/crc32c.h"
#include "store/store.h"
#include "store/text.h"
#include "store/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state's size: it lies on the stack */
#include <xxhash.h>

#define COPY_BYTES (2 * MiB)

struct restoring {
    struct restore *restore;
    struct archive archive;
    uint8_t *buffer; /* COPY_BYTES, page-aligned */
};

static int say(struct restore *restore, int r, const char *words, const char *more) {
    struct text text = {restore->why, sizeof restore->why, 0};
    text_add(&text, words);
    text_add(&text, more);
    if (r < 0) {
        text_add(&text, ": ");
        text_add(&text, err_text(r));
    }
    return r;
}

/* Where the file goes. */
static void target_of(const struct restore *restore, const struct archive_entry *entry,
                      char path[ARCHIVE_PATH_MAX]) {
    if (entry->generation == 0) {
        archive_join(restore->to, entry->name, "", path);
        return;
    }
    struct text text = {path, ARCHIVE_PATH_MAX, 0};
    text_add(&text, restore->to);
    text_add(&text, "/ssd/");
    text_add_hex(&text, entry->id, 5);
    text_add(&text, ".seg");
}

/* Bytes from one open file to another. Returns: 0; STORE_CORRUPT; -errno. */
static int copy_bytes(struct restoring *restoring, const struct archive_entry *entry, int from,
                      int to) {
    struct restore *restore = restoring->restore;
    const struct disk *disk = restore->disk;
    XXH3_state_t state;
    (void)XXH3_64bits_reset(&state);
    for (uint64_t at = 0; at < entry->bytes;) {
        uint64_t bytes = min_u64(COPY_BYTES, entry->bytes - at);
        uint64_t padded = round_up(bytes, PAGE_BYTES);
        memset(restoring->buffer, 0, padded);
        int64_t n = disk->calls->pread(disk->backend, from, restoring->buffer, padded, at);
        if (n < (int64_t)bytes) {
            return n < 0 ? (int)n : STORE_CORRUPT;
        }
        (void)XXH3_64bits_update(&state, restoring->buffer, bytes);
        n = disk->calls->pwrite(disk->backend, to, restoring->buffer, padded, at);
        if (n != (int64_t)padded) {
            return n < 0 ? (int)n : err_raise(-ENOSPC); /* the rest found no room */
        }
        at += bytes;
        restore->bytes += bytes;
        if (restore->progress) {
            restore->progress(restore->context, restore);
        }
    }
    return XXH3_64bits_digest(&state) == entry->xxh3 ? 0 : STORE_CORRUPT;
}

static int copy_entry(struct restoring *restoring, const struct archive_entry *entry) {
    struct restore *restore = restoring->restore;
    const struct disk *disk = restore->disk;
    char from_path[ARCHIVE_PATH_MAX], to_path[ARCHIVE_PATH_MAX];
    archive_path(restore->from, entry, from_path);
    target_of(restore, entry, to_path);
    int from = disk->calls->open_file(disk->backend, from_path, O_RDONLY, 0);
    if (from < 0) {
        return say(restore, from == -ENOENT ? STORE_CORRUPT : from,
                   "missing in the backup: ", from_path);
    }
    int mode = entry->generation != 0 ? 0640 : 0600;
    int to = disk->calls->open_file(disk->backend, to_path, O_RDWR | O_CREAT | O_EXCL, mode);
    if (to < 0) {
        (void)disk->calls->close_file(disk->backend, from);
        return say(restore, to, "cannot make ", to_path);
    }
    int r = copy_bytes(restoring, entry, from, to);
    r = r == 0 ? disk->calls->truncate(disk->backend, to, entry->bytes) : r;
    r = r == 0 ? disk->calls->sync_file(disk->backend, to) : r;
    (void)disk->calls->close_file(disk->backend, from);
    (void)disk->calls->close_file(disk->backend, to);
    if (r != 0) {
        return r == STORE_CORRUPT ? say(restore, r, "damaged in the backup: ", from_path)
                                  : say(restore, r, "cannot write ", to_path);
    }
    restore->segments += entry->generation != 0;
    restore->files += entry->generation == 0;
    if (entry->generation == 0 && (entry->mode & ARCHIVE_CONFIG)) {
        static_assert(sizeof restore->config == ARCHIVE_PATH_MAX, "one holds the other");
        memcpy(restore->config, to_path, sizeof to_path);
    }
    return 0;
}

/* Not closed in order: the first start looks at all there is, and seals what was open. */
static int write_super(struct restoring *restoring) {
    struct restore *restore = restoring->restore;
    const struct disk *disk = restore->disk;
    char from[ARCHIVE_PATH_MAX], to[ARCHIVE_PATH_MAX];
    archive_join(restore->to, "SUPER.new", "", from);
    archive_join(restore->to, "SUPER", "", to);
    struct super_slot slot = *archive_super(&restoring->archive);
    slot.epoch = (uint32_t)min_u64((uint64_t)slot.epoch + RESTORE_EPOCHS, EPOCH_MAX - 1);
    slot.clean = 0;
    slot.incompat &= ~SUPER_INCOMPAT_TIERS; /* there is one now */
    int fd = disk->calls->open_file(disk->backend, from, O_RDWR | O_CREAT | O_TRUNC, 0640);
    if (fd < 0) {
        return say(restore, fd, "cannot make ", from);
    }
    int r = 0;
    for (uint32_t i = 0; i < 2 && r == 0; i++) {
        slot.sequence++;
        memset(restoring->buffer, 0, PAGE_BYTES);
        memcpy(restoring->buffer, &slot, sizeof slot);
        page_seal(restoring->buffer, 0);
        int64_t n = disk->calls->pwrite(disk->backend, fd, restoring->buffer, PAGE_BYTES,
                                        (uint64_t)i * PAGE_BYTES);
        r = n == PAGE_BYTES ? 0 : n < 0 ? (int)n : err_raise(-ENOSPC);
    }
    r = r == 0 ? disk->calls->sync_file(disk->backend, fd) : r;
    (void)disk->calls->close_file(disk->backend, fd);
    r = r == 0 ? disk->calls->sync_dir(disk->backend, restore->to) : r;
    r = r == 0 ? disk->calls->rename_file(disk->backend, from, to) : r;
    r = r == 0 ? disk->calls->sync_dir(disk->backend, restore->to) : r;
    return r == 0 ? 0 : say(restore, r, "cannot write ", to);
}

static int any_name(void *context, const char *name) {
    bool *any = context;
    *any = *any || strcmp(name, "lost+found") != 0;
    return 0;
}

static int make_target(struct restore *restore) {
    const struct disk *disk = restore->disk;
    char ssd[ARCHIVE_PATH_MAX];
    bool any = false;
    int r = disk->calls->list_dir(disk->backend, restore->to, any_name, &any);
    if (r == 0 && any) {
        return say(restore, STORE_FORMAT,
                   "the target is not empty (what a restore that broke off has left is no store: "
                   "remove it "
                   "first): ",
                   restore->to);
    }
    if (r != 0 && r != -ENOENT) {
        return say(restore, r, "cannot look into ", restore->to);
    }
    r = archive_make_dir(disk, restore->to, 0700);
    archive_join(restore->to, "ssd", "", ssd);
    r = r == 0 ? archive_make_dir(disk, ssd, 0750) : r;
    return r == 0 ? 0 : say(restore, r, "cannot make ", restore->to);
}

static int read_manifest(struct restoring *restoring) {
    struct restore *restore = restoring->restore;
    int r = archive_read(&restoring->archive, restore->disk, restore->from);
    if (r == -ENOENT || r == -ENOTDIR) {
        return say(restore, STORE_FORMAT, "there is no backup in ", restore->from);
    }
    if (r == FORMAT_BAD) {
        return say(restore, STORE_CORRUPT,
                   "the manifest of the backup is damaged: ", restore->from);
    }
    if (r != 0) {
        return say(restore, r, "cannot read the backup in ", restore->from);
    }
    const struct archive_head *head = archive_head(&restoring->archive);
    restore->number = head->number;
    restore->created_us = head->created_us;
    for (uint32_t i = 0; i < head->count; i++) {
        const struct archive_entry *entry = &archive_entries(&restoring->archive)[i];
        restore->segments_all += entry->generation != 0;
        restore->bytes_all += entry->bytes;
    }
    return 0;
}

int store_restore(struct restore *restore) {
    struct restoring restoring = {.restore = restore, .buffer = vm_map(COPY_BYTES)};
    const struct disk *disk = restore->disk;
    crc32c_open();
    if (!restoring.buffer) {
        return say(restore, -ENOMEM, "no memory", "");
    }
    int r = read_manifest(&restoring);
    r = r == 0 ? make_target(restore) : r;
    for (uint32_t i = 0; r == 0 && i < archive_head(&restoring.archive)->count; i++) {
        r = copy_entry(&restoring, &archive_entries(&restoring.archive)[i]);
    }
    if (r == 0) {
        char ssd[ARCHIVE_PATH_MAX];
        archive_join(restore->to, "ssd", "", ssd);
        r = disk->calls->sync_dir(disk->backend, ssd);
        r = r == 0 ? write_super(&restoring) : say(restore, r, "cannot sync ", ssd);
    }
    archive_free(&restoring.archive);
    vm_unmap(restoring.buffer, COPY_BYTES);
    return r;
}
