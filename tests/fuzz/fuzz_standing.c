/* SPDX-License-Identifier: MIT */
#include "store/standing.h"

#include "base/bits.h"
#include "base/must.h"
#include "store/crc32c.h"
#include "store/inside.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Where the scrub stands: a file SCRUB of any bytes, read as a start reads it, on a disk that holds
 * just that file.
 *
 * First byte: whether magic, store and checksum are made right, so that what stands behind them is
 * reached. What must hold: a file that is short or does not verify is a beginning, and nothing of
 * it is taken; a lane that is taken names a segment that can be; and what is taken comes back the
 * same when it is written and read again. */

#define FILE_MAX (4 * PAGE_BYTES)

struct one_file {
    uint8_t bytes[FILE_MAX];
    uint64_t size;
    bool renamed;
};

static int file_open(void *backend, const char *path, int flags, int mode) {
    (void)backend, (void)path, (void)flags, (void)mode;
    return 3;
}

static int file_close(void *backend, int fd) {
    (void)backend, (void)fd;
    return 0;
}

static int64_t file_read(void *backend, int fd, void *buffer, size_t bytes, uint64_t offset) {
    const struct one_file *file = backend;
    (void)fd;
    uint64_t n = offset < file->size ? min_u64(bytes, file->size - offset) : 0;
    memcpy(buffer, file->bytes + offset, n);
    return (int64_t)n;
}

static int64_t file_write(void *backend, int fd, const void *buffer, size_t bytes,
                          uint64_t offset) {
    struct one_file *file = backend;
    (void)fd;
    must(offset == 0 && bytes == PAGE_BYTES);
    memcpy(file->bytes, buffer, bytes);
    file->size = bytes;
    return (int64_t)bytes;
}

static int file_sync(void *backend, int fd) {
    (void)backend, (void)fd;
    return 0;
}

static int file_rename(void *backend, const char *from, const char *to) {
    (void)from, (void)to;
    ((struct one_file *)backend)->renamed = true;
    return 0;
}

static int dir_sync(void *backend, const char *path) {
    (void)path;
    must(((struct one_file *)backend)->renamed);
    return 0;
}

static const struct disk_calls calls = {.open_file = file_open,
                                        .close_file = file_close,
                                        .pread = file_read,
                                        .pwrite = file_write,
                                        .sync_file = file_sync,
                                        .sync_dir = dir_sync,
                                        .rename_file = file_rename};

static void mend(struct one_file *file, const uint8_t uuid[16]) {
    struct standing *standing = (void *)file->bytes;
    standing->magic = STANDING_MAGIC;
    standing->version = FORMAT_MAJOR;
    memcpy(standing->store_uuid, uuid, sizeof standing->store_uuid);
    page_seal(file->bytes, 0);
}

static void look(struct one_file *file, const struct store *store) {
    static alignas(PAGE_BYTES) uint8_t page[PAGE_BYTES];
    static const struct standing_lane beginning[STANDING_KINDS];
    struct standing_lane lanes[STANDING_KINDS], again[STANDING_KINDS];
    memset(lanes, 0xa5, sizeof lanes);
    standing_read(store, page, lanes);
    bool taken =
        file->size >= PAGE_BYTES && standing_check(file->bytes, store->super.slot.uuid) == 0;
    const struct standing *standing = (const void *)file->bytes;
    must(memcmp(lanes, taken ? standing->lanes : beginning, sizeof lanes) == 0);
    for (uint32_t kind = 0; kind < STANDING_KINDS; kind++) {
        must(lanes[kind].id <= SEGMENT_IDS);
    }
    must(standing_write(store, page, lanes) == 0);
    standing_read(store, page, again);
    must(memcmp(lanes, again, sizeof lanes) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct store store = {.dir = "/s", .super.slot.uuid = "a store of fuzz"};
    static struct one_file file;
    if (size < 1 || size - 1 > FILE_MAX) {
        return 0;
    }
    crc32c_open();
    memset(&file, 0, sizeof file);
    file.size = size - 1;
    memcpy(file.bytes, data + 1, file.size);
    store.config.disk = (struct disk){&calls, &file};
    if ((data[0] & 1) && file.size >= PAGE_BYTES) {
        mend(&file, store.super.slot.uuid);
    }
    look(&file, &store);
    return 0;
}
