/* SPDX-License-Identifier: MIT */
#include "store/page_file.h"

#include "base/err.h"
#include "store/format.h"
#include "store/segment.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>

static void path_of(const char *dir, const char *name, const char *more,
                    char path[SEGMENT_PATH_MAX]) {
    struct text text = {path, SEGMENT_PATH_MAX, 0};
    text_add(&text, dir);
    text_add(&text, name);
    text_add(&text, more);
}

int page_file_read(const struct disk *disk, const char *dir, const char *name, void *ret_page) {
    char path[SEGMENT_PATH_MAX];
    path_of(dir, name, "", path);
    int fd = disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0);
    if (fd < 0) {
        return fd;
    }
    int64_t n = disk->calls->pread(disk->backend, fd, ret_page, PAGE_BYTES, 0);
    (void)disk->calls->close_file(disk->backend, fd);
    return n < 0 ? (int)n : n == PAGE_BYTES ? 0 : FORMAT_BAD;
}

int page_file_write(const struct disk *disk, const char *dir, const char *name, const void *page) {
    char from[SEGMENT_PATH_MAX], to[SEGMENT_PATH_MAX];
    path_of(dir, name, ".new", from);
    path_of(dir, name, "", to);
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
    return r == 0 ? disk->calls->sync_dir(disk->backend, dir) : r;
}
