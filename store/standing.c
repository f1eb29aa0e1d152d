/* SPDX-License-Identifier: MIT */
#include "store/standing.h"

#include "base/err.h"
#include "store/inside.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static void path_of(const struct store *store, const char *name, char path[SEGMENT_PATH_MAX]) {
    struct text text = {path, SEGMENT_PATH_MAX, 0};
    text_add(&text, store->dir);
    text_add(&text, name);
}

/* A lane that has just come to its end stands behind the last segment there can be. */
static bool lanes_possible(const struct standing *standing) {
    bool possible = true;
    for (uint32_t kind = 0; kind < STANDING_KINDS; kind++) {
        possible = possible && standing->lanes[kind].id <= SEGMENT_IDS;
    }
    return possible;
}

int standing_check(const void *page, const uint8_t store_uuid[16]) {
    const struct standing *standing = page;
    return standing->magic == STANDING_MAGIC && standing->version == FORMAT_MAJOR &&
                   memcmp(standing->store_uuid, store_uuid, 16) == 0 && page_sound(page, 0) &&
                   lanes_possible(standing)
               ? 0
               : FORMAT_BAD;
}

void standing_read(const struct store *store, void *page,
                   struct standing_lane lanes[STANDING_KINDS]) {
    const struct disk *disk = &store->config.disk;
    char path[SEGMENT_PATH_MAX];
    path_of(store, "/SCRUB", path);
    memset(lanes, 0, STANDING_KINDS * sizeof *lanes);
    int fd = disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0);
    if (fd < 0) {
        return;
    }
    int64_t n = disk->calls->pread(disk->backend, fd, page, PAGE_BYTES, 0);
    (void)disk->calls->close_file(disk->backend, fd);
    if (n == PAGE_BYTES && standing_check(page, store->super.slot.uuid) == 0) {
        memcpy(lanes, ((const struct standing *)page)->lanes, STANDING_KINDS * sizeof *lanes);
    }
}

int standing_write(const struct store *store, void *page,
                   const struct standing_lane lanes[STANDING_KINDS]) {
    const struct disk *disk = &store->config.disk;
    char from[SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
    path_of(store, "/SCRUB.new", from);
    path_of(store, "/SCRUB", to);
    memset(page, 0, PAGE_BYTES);
    struct standing *standing = page;
    *standing = (struct standing){.magic = STANDING_MAGIC, .version = FORMAT_MAJOR};
    memcpy(standing->store_uuid, store->super.slot.uuid, 16);
    memcpy(standing->lanes, lanes, STANDING_KINDS * sizeof *lanes);
    page_seal(page, 0);
    int fd =
        disk->calls->open_file(disk->backend, from, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0640);
    if (fd < 0) {
        return fd;
    }
    int64_t n = disk->calls->pwrite(disk->backend, fd, page, PAGE_BYTES, 0);
    int r = n == PAGE_BYTES ? 0 : n < 0 ? (int)n : err_raise(-EIO);
    r = r == 0 ? disk->calls->sync_file(disk->backend, fd) : r;
    (void)disk->calls->close_file(disk->backend, fd);
    r = r == 0 ? disk->calls->rename_file(disk->backend, from, to) : r;
    return r == 0 ? disk->calls->sync_dir(disk->backend, store->dir) : r;
}
