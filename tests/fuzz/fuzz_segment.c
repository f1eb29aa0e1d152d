/* SPDX-License-Identifier: MIT */
#include "store/format.h"
#include "store/scan.h"
#include "store/seal.h"

#include "base/bits.h"
#include "base/must.h"
#include "store/crc32c.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* A segment file of any bytes: header, batches, records, trailer, footer.
 *
 * First byte: whether checksums are made right, so that what stands behind them is reached. The
 * rest is the file, from its header page on. What must hold: nothing is read outside the file (it
 * lies in a block of its size), and whatever the scan notes lies inside it. */

#define FILE_MAX (256u * 1024)

static uint8_t *file;
static uint64_t file_bytes;
static const uint8_t uuid[16] = "a store of fuzz";

static int64_t fuzz_pread(void *backend, int fd, void *buffer, size_t bytes, uint64_t offset) {
    (void)backend;
    (void)fd;
    must((uintptr_t)buffer % PAGE_BYTES == 0 && bytes % PAGE_BYTES == 0);
    if (offset >= file_bytes) {
        return 0;
    }
    size_t n = (size_t)min_u64(bytes, file_bytes - offset);
    memcpy(buffer, file + offset, n);
    return (int64_t)n;
}

static const struct disk_calls fuzz_calls = {.pread = fuzz_pread};

/* Makes the checksums of one record right, as far as it lies in the file. */
static void mend_record(uint64_t offset, uint32_t crc_base) {
    struct record_header *header = (struct record_header *)(void *)(file + offset);
    uint64_t room = file_bytes - offset;
    if (header->magic != RECORD_MAGIC || header->header_bytes < RECORD_FIXED ||
        header->header_bytes > room) {
        return;
    }
    if ((uint64_t)header->header_bytes + header->stored_bytes <= room) {
        header->payload_xxh3 =
            XXH3_64bits(file + offset + header->header_bytes, header->stored_bytes);
    }
    header->crc = format_record_crc(crc_base, offset, header);
}

static void mend(uint64_t generation) {
    uint32_t crc_base = format_crc_base(uuid, generation);
    for (uint64_t at = PAGE_BYTES; at + RECORD_FIXED <= file_bytes; at += RECORD_UNIT) {
        mend_record(at, crc_base);
    }
    if (file_bytes >= PAGE_BYTES) {
        page_seal(file, format_crc_at(crc_base, 0));
        page_seal(file + file_bytes - PAGE_BYTES, format_crc_at(crc_base, file_bytes - PAGE_BYTES));
    }
}

static void each_record(void *context, const struct record_header *record,
                        const struct scan_entry *entry) {
    (void)context;
    uint64_t offset = (uint64_t)entry->entry.offset_units * RECORD_UNIT;
    must(offset >= PAGE_BYTES && offset + record->header_bytes <= file_bytes);
    must(entry->entry.digest_bytes <= HASH_DIGEST_MAX);
    struct key key;
    must(record_key(record, &key) == 0);
}

static void read_trailer(struct segments *segments, const struct segment *segment) {
    void *page = aligned_alloc(PAGE_BYTES, PAGE_BYTES);
    must(page != NULL);
    if (trailer_read(segments, segment, page) == 0) {
        struct segment_trailer trailer;
        struct footer footer = {0};
        memcpy(&trailer, page, sizeof trailer);
        int r = footer_read(segments, segment, &trailer, &footer);
        (void)r; /* any answer will do */
        footer_close(&footer);
    }
    free(page);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes < 1 || bytes > FILE_MAX) {
        return 0;
    }
    crc32c_open();
    file_bytes = bytes - 1;
    file = malloc(file_bytes ? file_bytes : 1);
    must(file != NULL);
    memcpy(file, data + 1, file_bytes);
    struct disk disk = {&fuzz_calls, NULL};
    struct segment segment = {.id = 2};
    if (file_bytes >= sizeof(struct segment_header)) {
        segment.generation = get_le64(file + offsetof(struct segment_header, generation));
    }
    segment.crc_base = format_crc_base(uuid, segment.generation);
    atomic_store(&segment.file_bytes, file_bytes);
    if (data[0] & 1) {
        mend(segment.generation);
    }
    if (file_bytes >= PAGE_BYTES) {
        int r = segment_header_check(file, uuid, segment.id);
        (void)r; /* any answer will do */
    }
    struct segments segments = {.disk = &disk, .uuid = uuid};
    read_trailer(&segments, &segment);
    struct scan scan;
    struct scan_window window;
    struct scan_source source = {&disk, &segment, &window, file_bytes};
    must(scan_window_open(&window) == 0);
    must(scan_open(&scan, &source) == 0);
    scan.each = each_record;
    scan_run(&scan);
    for (uint64_t i = 0; i < scan.batch_count; i++) {
        must(scan.batches[i].offset + scan.batches[i].head.batch_bytes <= file_bytes);
    }
    scan_close(&scan);
    must(scan_open(&scan, &source) == 0);
    struct batch_header head;
    (void)scan_generation(&scan, uuid, &head);
    scan_close(&scan);
    scan_window_close(&window);
    free(file);
    return 0;
}
