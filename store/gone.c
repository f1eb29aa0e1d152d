/* SPDX-License-Identifier: MIT */
#include "store/gone.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/segment.h"
#include "store/text.h"
#include "store/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <xxhash.h>

#define GONE_STEP (64 * KiB)

static void path_of(const struct segments *segments, const char *name,
                    char path[SEGMENT_PATH_MAX]) {
    struct text text = {path, SEGMENT_PATH_MAX, 0};
    text_add(&text, segments->dir);
    text_add(&text, name);
}

static uint64_t file_bytes(uint32_t count) {
    return round_up(sizeof(struct gone_header) + count * sizeof(struct gone_range), GONE_STEP);
}

uint32_t gone_check(const void *file, uint64_t bytes, const uint8_t uuid[16]) {
    const struct gone_header *header = file;
    if (bytes < sizeof *header || header->magic != GONE_MAGIC || header->version != 1 ||
        memcmp(header->uuid, uuid, 16) != 0 ||
        header->count > (bytes - sizeof *header) / sizeof(struct gone_range)) {
        return UINT32_MAX;
    }
    const struct gone_range *ranges = (const void *)(header + 1);
    if (XXH3_64bits(ranges, header->count * sizeof *ranges) != header->xxh3) {
        return UINT32_MAX;
    }
    for (uint32_t i = 0; i < header->count; i++) {
        if (ranges[i].first_lsn > ranges[i].last_lsn) {
            return UINT32_MAX;
        }
    }
    return header->count;
}

static int room_for(struct gone *gone, uint32_t count) {
    uint64_t bytes = file_bytes(count);
    if (bytes <= gone->room) {
        return 0;
    }
    uint64_t room = max_u64(bytes, gone->room * 2);
    uint8_t *file = vm_map(room);
    if (!file) {
        return err_raise(-ENOMEM);
    }
    if (gone->file) {
        memcpy(file, gone->file, gone->room);
        vm_unmap(gone->file, gone->room);
    }
    gone->file = file;
    gone->room = room;
    return 0;
}

int gone_open(struct gone *gone, const struct segments *segments) {
    const struct disk *disk = segments->disk;
    char path[SEGMENT_PATH_MAX];
    path_of(segments, "/GONE", path);
    *gone = (struct gone){0};
    int fd = disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0);
    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM) {
        return fd; /* it may be there: what is written anew must not forget it */
    }
    int64_t bytes = fd < 0 ? 0 : disk->calls->file_bytes(disk->backend, fd);
    gone->there = bytes > 0 ? (uint64_t)bytes : 0;
    uint64_t count_max = bytes > 0 ? (uint64_t)bytes / sizeof(struct gone_range) : 0;
    int r = room_for(gone, (uint32_t)min_u64(count_max, SEGMENT_IDS) + 16);
    for (uint32_t tries = 0; tries < 3 && r == 0 && bytes > 0; tries++) {
        uint64_t ask = min_u64(round_up((uint64_t)bytes, PAGE_BYTES), gone->room);
        int64_t n = disk->calls->pread(disk->backend, fd, gone->file, ask, 0);
        uint32_t count =
            n == bytes ? gone_check(gone->file, (uint64_t)n, segments->uuid) : UINT32_MAX;
        if (count != UINT32_MAX) {
            gone->count = count;
            break;
        }
    }
    if (fd >= 0) {
        (void)disk->calls->close_file(disk->backend, fd);
    }
    return r;
}

void gone_close(struct gone *gone) {
    vm_unmap(gone->file, gone->room);
    *gone = (struct gone){0};
}

static void forget(struct gone *gone, uint32_t at) {
    gone_ranges(gone)[at] = gone_ranges(gone)[--gone->count];
}

int gone_add(struct gone *gone, const struct gone_range *range) {
    struct gone_range sum = *range;
    for (uint32_t i = 0; i < gone->count;) {
        const struct gone_range *at = &gone_ranges(gone)[i];
        bool touches = at->log == sum.log && lsn_epoch(at->first_lsn) == lsn_epoch(sum.first_lsn) &&
                       at->first_lsn <= sum.last_lsn + 1 && sum.first_lsn <= at->last_lsn + 1;
        if (!touches) {
            i++;
            continue;
        }
        sum.first_lsn = min_u64(sum.first_lsn, at->first_lsn);
        sum.last_lsn = max_u64(sum.last_lsn, at->last_lsn);
        forget(gone, i);
        i = 0; /* the sum may touch what was passed before */
    }
    int r = room_for(gone, gone->count + 1);
    if (r == 0) {
        gone_ranges(gone)[gone->count++] = sum;
    }
    return r;
}

static bool log_exists(const struct segments *segments, const struct gone_range *range) {
    if (lsn_epoch(range->first_lsn) == segments->epoch) {
        return true;
    }
    for (uint32_t id = 1; id < segments->top; id++) {
        const struct segment *segment = &segments->all[id];
        enum segment_state state = segment_state(segment);
        /* One that is dying may be back after a loss of power. */
        if (state != SEGMENT_NONE && segment->log == range->log &&
            segment->epoch == lsn_epoch(range->first_lsn)) {
            return true;
        }
    }
    return false;
}

static int write_file(const struct gone *gone, const struct segments *segments, const char *path,
                      int flags) {
    const struct disk *disk = segments->disk;
    uint64_t bytes = file_bytes(gone->count);
    int fd = disk->calls->open_file(disk->backend, path, O_RDWR | O_DIRECT | flags, 0640);
    if (fd < 0) {
        return fd;
    }
    int64_t n = disk->calls->pwrite(disk->backend, fd, gone->file, bytes, 0);
    int r = n == (int64_t)bytes ? 0 : n < 0 ? (int)n : err_raise(-EIO);
    r = r == 0 ? disk->calls->sync_file(disk->backend, fd) : r;
    (void)disk->calls->close_file(disk->backend, fd);
    return r;
}

/* Makes its memory the bytes of the file. */
static void seal(struct gone *gone, const struct segments *segments) {
    struct gone_header *header = (struct gone_header *)(void *)gone->file;
    uint64_t used = gone->count * sizeof(struct gone_range);
    *header = (struct gone_header){.magic = GONE_MAGIC,
                                   .version = 1,
                                   .count = gone->count,
                                   .xxh3 = XXH3_64bits(gone_ranges(gone), used)};
    memcpy(header->uuid, segments->uuid, 16);
    memset(gone->file + sizeof *header + used, 0, file_bytes(gone->count) - sizeof *header - used);
}

int gone_copy(struct gone *gone, const struct segments *segments, uint8_t **ret_file,
              uint64_t *ret_bytes) {
    *ret_file = NULL;
    *ret_bytes = 0;
    if (gone->count == 0) {
        return 0;
    }
    seal(gone, segments);
    *ret_file = vm_map(file_bytes(gone->count));
    if (!*ret_file) {
        return err_raise(-ENOMEM);
    }
    *ret_bytes = file_bytes(gone->count);
    memcpy(*ret_file, gone->file, *ret_bytes);
    return 0;
}

int gone_write(struct gone *gone, const struct segments *segments, bool all_here) {
    const struct disk *disk = segments->disk;
    for (uint32_t i = 0; i < gone->count;) {
        if (!all_here || log_exists(segments, &gone_ranges(gone)[i])) {
            i++;
        } else {
            forget(gone, i);
        }
    }
    seal(gone, segments);
    char from[SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
    path_of(segments, "/GONE.new", from);
    path_of(segments, "/GONE", to);
    uint64_t bytes = file_bytes(gone->count);
    int r = write_file(gone, segments, from, O_CREAT | O_TRUNC);
    if ((r == -ENOSPC || r == -EDQUOT) && bytes <= gone->there) {
        (void)disk->calls->unlink_file(disk->backend, from);
        return write_file(gone, segments, to, 0);
    }
    r = r == 0 ? disk->calls->rename_file(disk->backend, from, to) : r;
    r = r == 0 ? disk->calls->sync_dir(disk->backend, segments->dir) : r;
    gone->there = r == 0 ? bytes : gone->there;
    return r;
}
