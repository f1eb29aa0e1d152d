/* SPDX-License-Identifier: MIT */
#include "store/format.h"

#include "base/bits.h"
#include "store/crc32c.h"
#include "tests/sim/disk.h"

#include <criterion/criterion.h>
#include <string.h>
#include <xxhash.h>

static const uint8_t uuid[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};

Test(crc32c, gives_the_published_check_value) {
    crc32c_open();
    cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283u);
    cr_assert_eq(crc32c_table(0, "123456789", 9), 0xe3069283u);
}

Test(crc32c, instruction_and_table_agree_however_the_bytes_are_split) {
    crc32c_open();
    uint8_t bytes[300];
    uint64_t random = 7;
    for (uint32_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)sim_random(&random);
    }
    for (uint32_t from = 0; from < 17; from++) {
        for (uint32_t end = from; end <= sizeof bytes; end++) {
            uint32_t split = from + (end - from) / 3;
            uint32_t whole = crc32c_table(0, bytes + from, end - from);
            cr_assert_eq(crc32c(0, bytes + from, end - from), whole);
            cr_assert_eq(crc32c(crc32c(0, bytes + from, split - from), bytes + split, end - split),
                         whole);
        }
    }
}

static uint32_t make_record(uint8_t buffer[RECORD_HEADER_MAX], uint64_t offset) {
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = 32};
    memset(key.digest, 0xab, 32);
    memset(buffer, 0, RECORD_HEADER_MAX);
    struct record_header *header = (struct record_header *)(void *)buffer;
    size_t multihash = key_write(&key, buffer + RECORD_FIXED);
    *header =
        (struct record_header){.magic = RECORD_MAGIC,
                               .type = RECORD_BLOCK,
                               .header_bytes = (uint16_t)record_header_bytes((uint32_t)multihash),
                               .stored_bytes = 500,
                               .generation = 77,
                               .multihash_bytes = (uint16_t)multihash};
    header->crc = format_record_crc(format_crc_base(uuid, 77), offset, header);
    return header->header_bytes;
}

static struct record_bounds bounds_at(uint64_t offset) {
    return (struct record_bounds){.crc_base = format_crc_base(uuid, 77),
                                  .generation = 77,
                                  .offset = offset,
                                  .bytes_here = RECORD_HEADER_MAX,
                                  .bytes_max = 4096};
}

Test(format, a_record_is_sound_only_where_it_was_written) {
    crc32c_open();
    uint8_t buffer[RECORD_HEADER_MAX];
    make_record(buffer, 8192);
    struct record_bounds here = bounds_at(8192), elsewhere = bounds_at(8256);
    cr_assert_eq(record_check(buffer, &here), 0);
    cr_assert_eq(record_check(buffer, &elsewhere), FORMAT_BAD);
    struct record_bounds older = here;
    older.generation = 76;
    cr_assert_eq(record_check(buffer, &older), FORMAT_BAD);
    struct record_bounds short_of = here;
    short_of.bytes_max = 500;
    cr_assert_eq(record_check(buffer, &short_of), FORMAT_BAD, "it would reach past the end");
}

Test(format, any_flipped_bit_of_a_header_is_found_out) {
    crc32c_open();
    uint8_t buffer[RECORD_HEADER_MAX];
    uint32_t bytes = make_record(buffer, 4096);
    struct record_bounds bounds = bounds_at(4096);
    for (uint32_t bit = 0; bit < bytes * 8; bit++) {
        buffer[bit / 8] ^= (uint8_t)BIT(bit % 8);
        cr_assert_eq(record_check(buffer, &bounds), FORMAT_BAD, "bit %u", bit);
        buffer[bit / 8] ^= (uint8_t)BIT(bit % 8);
    }
    cr_assert_eq(record_check(buffer, &bounds), 0);
}

Test(format, a_record_gives_its_key_back) {
    crc32c_open();
    uint8_t buffer[RECORD_HEADER_MAX];
    make_record(buffer, 0);
    struct key key;
    cr_assert_eq(record_key((const void *)buffer, &key), 0);
    cr_assert_eq(key.code, HASH_SHA2_256);
    cr_assert_eq(key.digest_bytes, 32);
    cr_assert_eq(key.digest[31], 0xab);
}

Test(format, a_page_is_sound_until_a_byte_of_it_changes) {
    crc32c_open();
    uint8_t page[PAGE_BYTES];
    memset(page, 3, sizeof page);
    page_seal(page, 99);
    cr_assert(page_sound(page, 99));
    cr_assert_not(page_sound(page, 98));
    for (uint32_t at = 0; at < PAGE_BYTES; at += 61) {
        page[at] ^= 1;
        cr_assert_not(page_sound(page, 99));
        page[at] ^= 1;
    }
}

Test(format, a_batch_must_fit_and_count_its_lsns) {
    crc32c_open();
    uint8_t buffer[BATCH_RECORD] = {0};
    struct record_header *header = (struct record_header *)(void *)buffer;
    struct batch_header *batch = (struct batch_header *)(void *)(buffer + RECORD_FIXED);
    *batch = (struct batch_header){
        .first_lsn = 10, .last_lsn = 12, .durable_lsn = 9, .records = 2, .batch_bytes = 4096};
    struct record_bounds bounds = bounds_at(4096);
    bounds.bytes_here = BATCH_RECORD;
    for (uint32_t wrong = 0; wrong < 4; wrong++) {
        struct batch_header kept = *batch;
        batch->last_lsn += wrong == 1;
        batch->batch_bytes += wrong == 2 ? 8192 : 0;
        batch->durable_lsn += wrong == 3;
        *header = (struct record_header){.magic = RECORD_MAGIC,
                                         .type = RECORD_BATCH,
                                         .header_bytes = RECORD_FIXED,
                                         .stored_bytes = sizeof *batch,
                                         .lsn = 10,
                                         .generation = 77,
                                         .payload_xxh3 = XXH3_64bits(batch, sizeof *batch)};
        header->crc = format_record_crc(bounds.crc_base, 4096, header);
        cr_assert_eq(batch_check(buffer, &bounds), wrong ? FORMAT_BAD : 0, "case %u", wrong);
        *batch = kept;
    }
}
