/* SPDX-License-Identifier: MIT */
/* proto/ipld/car.c and proto/ipld/car_header.c: archives made here, damaged here, cut everywhere.
 */

#include "proto/ipld/car.h"

#include "base/bits.h"
#include "base/varint.h"
#include "tests/proto/car_read.h"

#include <criterion/criterion.h>

static uint8_t buffer[1 << 16];

struct archive {
    uint8_t bytes[1 << 15];
    size_t count;
};

static struct cid cid_of(const void *data, size_t bytes, uint32_t version) {
    struct cid cid = {.version = version,
                      .codec = version == 0 ? CID_DAG_PB : CID_RAW,
                      .hash = HASH_SHA2_256,
                      .digest_bytes = 32};
    cr_assert_eq(hash_compute(HASH_SHA2_256, data, bytes, cid.digest, 32), 0);
    return cid;
}

static void add(struct archive *archive, const void *data, size_t bytes) {
    cr_assert_leq(archive->count + bytes, sizeof archive->bytes);
    memmove(archive->bytes + archive->count, data, bytes); /* it may be the archive's own */
    archive->count += bytes;
}

static void add_block(struct archive *archive, const char *text) {
    uint8_t head[CAR_SECTION_HEAD_MAX];
    struct cid cid = cid_of(text, strlen(text), 1);
    size_t bytes = car_section_head(&cid, (uint32_t)strlen(text), head);
    add(archive, head, bytes);
    add(archive, text, strlen(text));
}

static void add_header(struct archive *archive) {
    struct cid root = cid_of("root", 4, 1);
    uint8_t out[128];
    add(archive, out, car_header_write(&root, 1, out, sizeof out));
}

static struct archive archive_of_three(void) {
    struct archive archive = {0};
    add_header(&archive);
    add_block(&archive, "first");
    add_block(&archive, "");
    add_block(&archive, "third, and a little longer");
    return archive;
}

/* The same archive inside a CARv2, with padding before it and an index behind it. */
static struct archive wrapped(const struct archive *inner) {
    struct archive archive = {0};
    static const uint8_t pragma[] = {0x0a, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 2};
    uint8_t preface[40] = {0};
    put_le64(preface + 16, 60);
    put_le64(preface + 24, inner->count);
    put_le64(preface + 32, 60 + inner->count);
    add(&archive, pragma, sizeof pragma);
    add(&archive, preface, sizeof preface);
    add(&archive, "padding!!", 9);
    add(&archive, inner->bytes, inner->count);
    add(&archive, "\x81\x08index", 7);
    return archive;
}

static struct car_story read_all(const struct archive *archive) {
    return car_story_read(archive->bytes, archive->count, 0, buffer, sizeof buffer, false, true);
}

/* Every piece size up to a few lines, and some that straddle everything. */
static void same_for_every_split(const struct archive *archive) {
    struct car_story whole = read_all(archive);
    for (size_t piece = 1; piece < 140; piece++) {
        struct car_story story = car_story_read(archive->bytes, archive->count, piece, buffer,
                                                sizeof buffer, false, true);
        cr_assert_eq(story.digest, whole.digest, "piece %zu", piece);
        cr_assert_eq(story.last, whole.last);
    }
}

static void bad_at(const struct archive *archive, enum car_fault fault, uint64_t offset,
                   uint32_t blocks) {
    struct car_story story = read_all(archive);
    cr_assert_eq(story.last, CAR_BAD);
    cr_assert_eq(story.bad.fault, fault, "%s", story.bad.text);
    cr_assert_eq(story.bad.offset, offset, "%s", story.bad.text);
    cr_assert_eq(story.blocks, blocks);
    char place[32];
    snprintf(place, sizeof place, "offset %llu", (unsigned long long)offset);
    cr_assert(strstr(story.bad.text, place), "%s", story.bad.text);
    same_for_every_split(archive);
}

Test(car, header_of_one_root_has_58_bytes_for_v1_and_56_for_v0) {
    uint8_t out[128];
    struct cid root = cid_of("x", 1, 1);
    cr_assert_eq(car_header_write(&root, 1, out, sizeof out), 59);
    cr_assert_eq(out[0], 0x3a);
    cr_assert_eq(memcmp(out + 1, "\xa2\x65roots\x81\xd8\x2a\x58\x25\0\x01\x55\x12\x20", 17), 0);
    cr_assert_eq(memcmp(out + 50, "gversion\x01", 9), 0);
    root = cid_of("x", 1, 0);
    cr_assert_eq(car_header_write(&root, 1, out, sizeof out), 57);
    cr_assert_eq(out[0], 0x38);
}

/* Sections are peeked at and passed over where they begin, and read where that cannot be. */
Test(car, a_section_can_be_seen_by_its_head_and_passed_over) {
    struct archive plain = archive_of_three();
    struct archive archives[] = {plain, wrapped(&plain)};
    for (size_t i = 0; i < array_count(archives); i++) {
        const struct archive *archive = &archives[i];
        struct car_reader reader;
        struct car_step seen, step;
        size_t at = 0;
        car_reader_init(&reader, buffer, sizeof buffer, false);
        cr_assert_not(car_reader_peek(&reader, archive->bytes, archive->count, &seen), "a header");
        cr_assert_eq(car_reader_step(&reader, archive->bytes, archive->count, &step), CAR_HEADER);
        at = step.used;
        for (uint32_t head = 1; head < 37; head++) {
            cr_assert_not(car_reader_peek(&reader, archive->bytes + at, head, &seen));
        }
        cr_assert(car_reader_peek(&reader, archive->bytes + at, 37, &seen));
        cr_assert_eq(seen.data_bytes, 5);
        cr_assert_eq(seen.offset, at);
        cr_assert_null(seen.data);
        car_reader_pass(&reader, &seen);
        at += seen.used + seen.data_bytes;
        cr_assert_eq(car_reader_step(&reader, archive->bytes + at, archive->count - at, &step),
                     CAR_BLOCK);
        cr_assert_eq(step.offset, at);
        at += step.used;
        cr_assert(car_reader_peek(&reader, archive->bytes + at, archive->count - at, &seen));
        cr_assert_eq(memcmp(archive->bytes + at + seen.used, "third, and", 10), 0);
        car_reader_pass(&reader, &seen);
        at += seen.used + seen.data_bytes;
        cr_assert_not(car_reader_peek(&reader, archive->bytes + at, archive->count - at, &seen));
        if (at < archive->count) {
            cr_assert_eq(car_reader_step(&reader, archive->bytes + at, archive->count - at, &step),
                         CAR_MORE, "an index");
        }
        cr_assert_eq(car_reader_end(&reader, &step), CAR_END);
    }
}

Test(car, a_section_that_step_would_refuse_is_not_seen) {
    static const uint8_t sections[][4] = {
        {0}, {0x80, 0x00}, {0x04, 0x01, 0x55, 0xff}, {0xff, 0xff, 0xff, 0x7f}};
    struct archive archive = {0};
    struct car_reader reader;
    struct car_step step;
    add_header(&archive);
    car_reader_init(&reader, buffer, sizeof buffer, false);
    cr_assert_eq(car_reader_step(&reader, archive.bytes, archive.count, &step), CAR_HEADER);
    for (size_t i = 0; i < array_count(sections); i++) {
        cr_assert_not(car_reader_peek(&reader, sections[i], sizeof sections[i], &step), "%zu", i);
    }
}

Test(car, header_without_room_is_not_written) {
    uint8_t out[58];
    struct cid root = cid_of("x", 1, 1);
    cr_assert_eq(car_header_write(&root, 1, out, sizeof out), 0);
    cr_assert_eq(car_header_write(NULL, 0, out, sizeof out), 18);
}

Test(car, header_with_many_roots_is_read_back) {
    struct cid roots[300], root;
    static uint8_t out[16384];
    for (uint32_t i = 0; i < 300; i++) {
        roots[i] = cid_of(&i, sizeof i, i % 2);
    }
    size_t bytes = car_header_write(roots, 300, out, sizeof out);
    struct car_reader reader;
    struct car_step step;
    car_reader_init(&reader, buffer, sizeof buffer, false);
    cr_assert_eq(car_reader_step(&reader, out, bytes, &step), CAR_HEADER);
    cr_assert_eq(step.roots.count, 300);
    for (uint32_t i = 0; car_root_next(&step.roots, &root); i++) {
        cr_assert_eq(root.version, roots[i].version);
        cr_assert_eq(memcmp(root.digest, roots[i].digest, 32), 0);
    }
    cr_assert_eq(car_reader_end(&reader, &step), CAR_END);
}

Test(car, blocks_come_in_order_with_their_offsets) {
    struct archive archive = archive_of_three();
    struct car_reader reader;
    struct car_step step;
    car_reader_init(&reader, buffer, sizeof buffer, false);
    size_t at = 0;
    cr_assert_eq(car_reader_step(&reader, archive.bytes, archive.count, &step), CAR_HEADER);
    cr_assert_eq(step.version, 1);
    at += step.used;
    cr_assert_eq(at, 59);
    cr_assert_eq(car_reader_step(&reader, archive.bytes + at, archive.count - at, &step),
                 CAR_BLOCK);
    cr_assert_eq(step.offset, 59);
    cr_assert_eq(step.data_bytes, 5);
    cr_assert_eq(memcmp(step.data, "first", 5), 0);
    cr_assert_eq(step.data, archive.bytes + 59 + 1 + 36, "a whole block is not copied");
    at += step.used;
    cr_assert_eq(car_reader_step(&reader, archive.bytes + at, archive.count - at, &step),
                 CAR_BLOCK);
    cr_assert_eq(step.offset, at);
    cr_assert_eq(step.data_bytes, 0);
}

Test(car, events_are_the_same_however_bytes_are_split) {
    struct archive archive = archive_of_three();
    struct car_story story = read_all(&archive);
    cr_assert_eq(story.last, CAR_END);
    cr_assert_eq(story.blocks, 3);
    cr_assert_eq(story.roots, 1);
    cr_assert_eq(story.unverified, 0);
    same_for_every_split(&archive);
}

Test(car, v2_reads_its_window_and_ignores_padding_and_index) {
    struct archive inner = archive_of_three(), archive = wrapped(&inner);
    struct car_story story = read_all(&archive);
    cr_assert_eq(story.last, CAR_END, "%s", story.bad.text);
    cr_assert_eq(story.version, 2);
    cr_assert_eq(story.blocks, 3);
    same_for_every_split(&archive);
}

Test(car, v2_may_end_inside_its_index_but_not_inside_its_data) {
    struct archive inner = archive_of_three(), archive = wrapped(&inner);
    archive.count -= 3;
    cr_assert_eq(read_all(&archive).last, CAR_END);
    archive.count = 60 + 59; /* between two sections, with the window still open */
    bad_at(&archive, CAR_TRUNCATED, 60 + 59, 0);
}

Test(car, v2_section_beyond_the_window_is_named) {
    struct archive inner = archive_of_three(), archive = wrapped(&inner);
    put_le64(archive.bytes + 11 + 24, inner.count - 1);
    struct car_story story = read_all(&archive);
    bad_at(&archive, CAR_PAST_END, 60 + inner.count - 26 - 36 - 1, 2);
    cr_assert(story.bad.cid_known);
}

Test(car, v2_window_of_every_length_ends_well_or_names_its_place) {
    struct archive inner = archive_of_three(), archive = wrapped(&inner);
    for (uint64_t bytes = 0; bytes <= inner.count; bytes++) {
        put_le64(archive.bytes + 11 + 24, bytes);
        struct car_story story = read_all(&archive);
        cr_assert(story.last == CAR_END || strstr(story.bad.text, "offset"), "%zu", (size_t)bytes);
        struct car_story bytewise =
            car_story_read(archive.bytes, archive.count, 1, buffer, sizeof buffer, false, true);
        cr_assert_eq(story.digest, bytewise.digest, "%zu", (size_t)bytes);
    }
}

Test(car, cut_anywhere_is_truncated_or_ends_between_sections) {
    struct archive archive = archive_of_three();
    uint32_t ends = 0;
    for (size_t count = 0; count <= archive.count; count++) {
        struct car_story story =
            car_story_read(archive.bytes, count, 0, buffer, sizeof buffer, false, true);
        ends += story.last == CAR_END;
        cr_assert(story.last == CAR_END || story.bad.fault == CAR_TRUNCATED);
    }
    cr_assert_eq(ends, 4, "after the header and after each block");
}

Test(car, cut_section_is_named_with_its_cid) {
    struct archive archive = archive_of_three();
    archive.count -= 3;
    struct car_story story = read_all(&archive);
    cr_assert(story.bad.cid_known);
    cr_assert(strstr(story.bad.text, "CID bafkrei"), "%s", story.bad.text);
    bad_at(&archive, CAR_TRUNCATED, archive.count + 3 - 26 - 36 - 1, 2);
}

Test(car, zero_length_section_is_an_error_or_the_end_as_asked) {
    struct archive archive = archive_of_three();
    size_t at = archive.count;
    add(&archive, "\0\0\0\0", 4);
    bad_at(&archive, CAR_ZERO_LENGTH, at, 3);
    struct car_story story =
        car_story_read(archive.bytes, archive.count, 1, buffer, sizeof buffer, true, true);
    cr_assert_eq(story.last, CAR_END);
    cr_assert_eq(story.blocks, 3);
}

Test(car, section_above_the_limit_is_named_with_its_cid) {
    struct archive archive = archive_of_three();
    size_t at = archive.count;
    uint8_t head[CAR_SECTION_HEAD_MAX];
    struct cid cid = cid_of("big", 3, 1);
    add(&archive, head, car_section_head(&cid, sizeof buffer, head));
    add(&archive, archive.bytes, 2000);
    bad_at(&archive, CAR_TOO_LONG, at, 3);
    cr_assert(read_all(&archive).bad.cid_known);
}

Test(car, section_length_that_is_no_varint_is_named) {
    struct archive archive = archive_of_three();
    size_t at = archive.count;
    add(&archive, "\x81\x00", 2); /* not the shortest form */
    bad_at(&archive, CAR_BAD_VARINT, at, 3);
    archive.count = at;
    add(&archive, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10);
    bad_at(&archive, CAR_BAD_VARINT, at, 3);
}

Test(car, section_without_a_cid_is_skipped) {
    struct archive archive = {0};
    add_header(&archive);
    add_block(&archive, "before");
    size_t at = archive.count;
    add(&archive, "\x04\x07\x07\x07\x07", 5);
    add_block(&archive, "behind");
    struct car_story story = read_all(&archive);
    cr_assert_eq(story.last, CAR_END);
    cr_assert_eq(story.blocks, 2);
    cr_assert_eq(story.skipped, 1);
    cr_assert_eq(story.bad.fault, CAR_BAD_CID);
    cr_assert_eq(story.bad.offset, at);
    same_for_every_split(&archive);
}

Test(car, damaged_headers_are_refused_at_offset_0) {
    static const char *const headers[] = {
        "\x01\xa0",                                 /* no version */
        "\x0a\xa1\x67version\x01",                  /* no roots */
        "\x0a\xa1\x67version\x18",                  /* number cut off */
        "\x11\xa2\x65roots\xf6\x67version\x01",     /* roots are null */
        "\x12\xa2\x65roots\x81\x00\x67version\x01", /* a root that is no CID */
        "\x11\xa2\x65roots\x80\x67versioN\x01",     /* unknown key */
        "\x13\xa2\x67version\x01\x67version\x01",   /* a key twice */
        "\x12\xa2\x65roots\x98\x00\x67version\x01", /* not the shortest length */
        "\x12\xa2\x65roots\x80\x67version\x01\x00", /* bytes behind the map */
        "\x12\xa2\x65roots\x9f\xff\x67version\x01", /* indefinite length */
    };
    for (size_t i = 0; i < array_count(headers); i++) {
        struct archive archive = {0};
        add(&archive, headers[i], 1 + (size_t)headers[i][0]);
        bad_at(&archive, CAR_BAD_HEADER, 0, 0);
    }
}

Test(car, versions_other_than_1_and_2_are_refused) {
    struct archive archive = {0};
    add(&archive, "\x0a\xa1\x67version\x03", 11);
    bad_at(&archive, CAR_BAD_VERSION, 0, 0);
    archive.count = 0;
    add(&archive, "\x11\xa2\x65roots\x80\x67version\x02", 18);
    bad_at(&archive, CAR_BAD_VERSION, 0, 0);
}

Test(car, header_above_the_limit_is_refused) {
    struct archive archive = {0};
    uint8_t length[VARINT_BYTES_MAX];
    add(&archive, length, varint_write(sizeof buffer + 1, length));
    add(&archive, "\xa2\x65roots", 7);
    bad_at(&archive, CAR_TOO_LONG, 0, 0);
}

Test(car, empty_file_is_not_a_car) {
    struct archive archive = {0};
    struct car_story story = read_all(&archive);
    cr_assert_eq(story.last, CAR_BAD);
    cr_assert_eq(story.bad.fault, CAR_TRUNCATED);
}
