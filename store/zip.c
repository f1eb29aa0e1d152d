/* SPDX-License-Identifier: MIT */
#include "store/zip.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/vm.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 3

int unzip_open(struct unzip *unzip) {
    unzip->context = ZSTD_createDCtx();
    return unzip->context ? 0 : err_raise(-ENOMEM);
}

void unzip_close(struct unzip *unzip) {
    (void)ZSTD_freeDCtx(unzip->context);
    unzip->context = NULL;
}

size_t unzip_footprint(const struct unzip *unzip) {
    return ZSTD_sizeof_DCtx(unzip->context);
}

bool zip_header_sound(const struct record_header *header) {
    return !record_zipped(header) || (header->type == RECORD_BLOCK && header->dict == 0 &&
                                      header->stored_bytes < header->logical_bytes &&
                                      header->logical_bytes <= STORE_BLOCK_HARD_MAX);
}

/* The library would take several frames, frames to be skipped and those of its early versions, for
 * which it asks the heap. */
static bool one_frame(const struct record_header *header, const uint8_t *stored) {
    uint32_t bytes = header->stored_bytes;
    uint32_t magic = 0;
    if (bytes < sizeof magic) {
        return false;
    }
    memcpy(&magic, stored, sizeof magic);
    return magic == ZSTD_MAGICNUMBER &&
           ZSTD_getFrameContentSize(stored, bytes) == header->logical_bytes &&
           ZSTD_getDictID_fromFrame(stored, bytes) == 0 &&
           ZSTD_findFrameCompressedSize(stored, bytes) == bytes;
}

int unzip_record(struct unzip *unzip, const struct record_header *header, const uint8_t *stored,
                 uint8_t *to) {
    if (!one_frame(header, stored)) {
        return STORE_CORRUPT;
    }
    size_t bytes = ZSTD_decompressDCtx(unzip->context, to, header->logical_bytes, stored,
                                       header->stored_bytes);
    return bytes == header->logical_bytes ? 0 : STORE_CORRUPT;
}

int zip_open(struct zip *zip) {
    *zip = (struct zip){.context = ZSTD_createCCtx()};
    zip->proof = vm_map(STORE_BLOCK_HARD_MAX);
    int r = zip->context && zip->proof ? 0 : err_raise(-ENOMEM);
    return r == 0 ? unzip_open(&zip->unzip) : r;
}

void zip_close(struct zip *zip) {
    unzip_close(&zip->unzip);
    (void)ZSTD_freeCCtx(zip->context);
    vm_unmap(zip->proof, STORE_BLOCK_HARD_MAX);
    *zip = (struct zip){.context = NULL};
}

uint32_t zip_block(struct zip *zip, const uint8_t *block, uint32_t bytes, uint8_t *to) {
    if (bytes < ZIP_BYTES_MIN || bytes > STORE_BLOCK_HARD_MAX) {
        return 0;
    }
    /* What would not fit into seven eighths fails, early. */
    size_t room = bytes - bytes / 8;
    size_t count = ZSTD_compressCCtx(zip->context, to, room, block, bytes, LEVEL);
    if (ZSTD_isError(count)) {
        return 0;
    }
    /* The source goes once this is durable: better too careful here. */
    struct record_header header = {.flags = RECORD_ZSTD,
                                   .type = RECORD_BLOCK,
                                   .stored_bytes = (uint32_t)count,
                                   .logical_bytes = bytes};
    bool same = unzip_record(&zip->unzip, &header, to, zip->proof) == 0 &&
                memcmp(zip->proof, block, bytes) == 0;
    return same ? (uint32_t)count : 0;
}
