/* SPDX-License-Identifier: MIT */
#include "store/format.h"

#include "base/bits.h"
#include "store/crc32c.h"

#include <string.h>
#include <xxhash.h>

uint32_t format_crc_base(const uint8_t uuid[16], uint64_t generation) {
    uint8_t seed[24];
    memcpy(seed, uuid, 16);
    put_le64(seed + 16, generation);
    return crc32c(0, seed, sizeof seed);
}

uint32_t format_crc_at(uint32_t crc_base, uint64_t offset) {
    uint8_t bytes[8];
    put_le64(bytes, offset);
    return crc32c(crc_base, bytes, sizeof bytes);
}

uint32_t format_record_crc(uint32_t crc_base, uint64_t offset, const struct record_header *header) {
    const uint8_t *at = (const uint8_t *)header;
    uint32_t crc = crc32c(format_crc_at(crc_base, offset), at, offsetof(struct record_header, crc));
    return crc32c(crc, at + 64, (size_t)header->header_bytes - 64);
}

int record_check(const void *at, const struct record_bounds *bounds) {
    const struct record_header *header = at;
    if (bounds->bytes_here < RECORD_FIXED || header->magic != RECORD_MAGIC) {
        return FORMAT_BAD;
    }
    uint32_t header_bytes = header->header_bytes;
    if (header_bytes != record_header_bytes(header->multihash_bytes) ||
        header_bytes > RECORD_HEADER_MAX || header_bytes > bounds->bytes_here) {
        return FORMAT_BAD;
    }
    if (header->generation != bounds->generation ||
        (uint64_t)header_bytes + header->stored_bytes > bounds->bytes_max) {
        return FORMAT_BAD;
    }
    return format_record_crc(bounds->crc_base, bounds->offset, header) == header->crc ? 0
                                                                                      : FORMAT_BAD;
}

int record_key(const struct record_header *header, struct key *ret_key) {
    size_t used = 0;
    struct key key = {0};
    const uint8_t *multihash = (const uint8_t *)header + RECORD_FIXED;
    int r = key_read(multihash, header->multihash_bytes, &key, &used);
    if (r != 0 || used != header->multihash_bytes) {
        return FORMAT_BAD;
    }
    *ret_key = key;
    return 0;
}

int batch_check(const void *at, const struct record_bounds *bounds) {
    const struct record_header *header = at;
    const struct batch_header *batch = batch_of(at);
    if (bounds->bytes_here < BATCH_RECORD || record_check(at, bounds) != 0 ||
        header->type != RECORD_BATCH || header->header_bytes != RECORD_FIXED ||
        header->stored_bytes != sizeof *batch) {
        return FORMAT_BAD;
    }
    if (XXH3_64bits(batch, sizeof *batch) != header->payload_xxh3) {
        return FORMAT_BAD;
    }
    bool sound = batch->batch_bytes >= PAGE_BYTES && batch->batch_bytes % PAGE_BYTES == 0 &&
                 batch->batch_bytes <= bounds->bytes_max && batch->first_lsn == header->lsn &&
                 batch->last_lsn == batch->first_lsn + batch->records &&
                 batch->durable_lsn < batch->first_lsn;
    return sound ? 0 : FORMAT_BAD;
}

void page_seal(void *page, uint32_t crc_seed) {
    put_le32((uint8_t *)page + PAGE_CRC_OFFSET, crc32c(crc_seed, page, PAGE_CRC_OFFSET));
}

bool page_sound(const void *page, uint32_t crc_seed) {
    return get_le32((const uint8_t *)page + PAGE_CRC_OFFSET) ==
           crc32c(crc_seed, page, PAGE_CRC_OFFSET);
}

int segment_header_check(const void *page, const uint8_t uuid[16], uint32_t id) {
    const struct segment_header *header = page;
    if (header->magic != SEGMENT_MAGIC || header->version != FORMAT_MAJOR ||
        memcmp(header->uuid, uuid, 16) != 0 || header->segment_id != id) {
        return FORMAT_BAD;
    }
    return page_sound(page, format_crc_at(format_crc_base(uuid, header->generation), 0))
               ? 0
               : FORMAT_BAD;
}

int segment_trailer_check(const void *page, const struct trailer_bounds *bounds) {
    const struct segment_trailer *trailer = page;
    if (trailer->magic != TRAILER_MAGIC || trailer->version != FORMAT_MAJOR ||
        memcmp(trailer->uuid, bounds->uuid, 16) != 0 || trailer->segment_id != bounds->id) {
        return FORMAT_BAD;
    }
    uint64_t footer_bytes =
        round_up((uint64_t)trailer->footer_count * sizeof(struct footer_entry), PAGE_BYTES);
    if (trailer->data_bytes < PAGE_BYTES || trailer->footer_offset < trailer->data_bytes ||
        trailer->footer_offset % PAGE_BYTES != 0 ||
        trailer->footer_offset + footer_bytes + PAGE_BYTES != bounds->file_bytes) {
        return FORMAT_BAD;
    }
    uint32_t base = format_crc_base(bounds->uuid, trailer->generation);
    return page_sound(page, format_crc_at(base, bounds->file_bytes - PAGE_BYTES)) ? 0 : FORMAT_BAD;
}
