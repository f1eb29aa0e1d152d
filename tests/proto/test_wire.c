/* SPDX-License-Identifier: MIT */
#include "proto/wire.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static int next(const uint8_t *bytes, size_t count, struct wire_field *field, size_t *used) {
    const uint8_t *at = bytes;
    int r = wire_next(&at, bytes + count, field);
    *used = (size_t)(at - bytes);
    return r;
}

Test(wire, each_type_is_read_in_place) {
    static const uint8_t message[] = {
        0x08, 0x96, 0x01,                           /* 1: varint 150 */
        0x11, 1,    2,    3,    4,    5, 6,   7, 8, /* 2: fixed64 */
        0x1a, 3,    'a',  'b',  'c',                /* 3: bytes */
        0x25, 0x78, 0x56, 0x34, 0x12,               /* 4: fixed32 */
        0x2a, 0,                                    /* 5: no bytes */
        0xfa, 0xff, 0xff, 0xff, 0x0f, 1, 'z',       /* the largest number: bytes */
    };
    const uint8_t *at = message, *end = message + sizeof message;
    struct wire_field field;
    cr_assert_eq(wire_next(&at, end, &field), 0);
    cr_assert(field.number == 1 && field.type == WIRE_VARINT && field.value == 150);
    cr_assert_eq(wire_next(&at, end, &field), 0);
    cr_assert(field.number == 2 && field.type == WIRE_FIXED64);
    cr_assert_eq(field.value, UINT64_C(0x0807060504030201));
    cr_assert_eq(wire_next(&at, end, &field), 0);
    cr_assert(field.number == 3 && field.type == WIRE_BYTES && field.count == 3);
    cr_assert_eq(field.bytes, message + 14);
    cr_assert_eq(wire_next(&at, end, &field), 0);
    cr_assert(field.number == 4 && field.type == WIRE_FIXED32 && field.value == 0x12345678);
    cr_assert_eq(wire_next(&at, end, &field), 0);
    cr_assert(field.number == 5 && field.count == 0);
    cr_assert_eq(wire_next(&at, end, &field), 0);
    cr_assert(field.number == (1u << 29) - 1 && field.count == 1 && field.bytes[0] == 'z');
    cr_assert_eq(wire_next(&at, end, &field), WIRE_END);
    cr_assert_eq(at, end);
}

Test(wire, a_field_that_is_cut_off_is_bad_and_nothing_moves) {
    static const uint8_t fields[][9] = {
        {0x08, 0x80, 0x01},
        {0x11, 1, 2, 3, 4, 5, 6, 7, 8},
        {0x1a, 2, 'a', 'b'},
        {0x25, 1, 2, 3, 4},
    };
    static const size_t counts[] = {3, 9, 4, 5};
    for (size_t i = 0; i < array_count(fields); i++) {
        for (size_t count = 1; count <= counts[i]; count++) {
            struct wire_field field = {.number = 77};
            size_t used;
            int r = next(fields[i], count, &field, &used);
            cr_assert_eq(r, count == counts[i] ? 0 : WIRE_BAD, "%zu cut to %zu", i, count);
            cr_assert_eq(used, r == 0 ? count : 0);
            cr_assert(r == 0 || field.number == 77);
        }
    }
}

static int read_all(const uint8_t *bytes, size_t count) {
    struct wire_field field;
    size_t used;
    return next(bytes, count, &field, &used);
}

#define READ(...) read_all((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

Test(wire, groups_number_zero_and_unknown_types_are_refused) {
    cr_assert_eq(READ(0x0b, 0x0c), WIRE_BAD); /* a group's start */
    cr_assert_eq(READ(0x0c), WIRE_BAD);       /* its end */
    cr_assert_eq(READ(0x0e, 0), WIRE_BAD);
    cr_assert_eq(READ(0x0f, 0), WIRE_BAD);
    cr_assert_eq(READ(0x00, 0), WIRE_BAD);
}

Test(wire, varints_have_64_bits_and_keys_and_lengths_32) {
    struct wire_field field;
    size_t used;
    static const uint8_t minus_one[] = {0x08, 0xff, 0xff, 0xff, 0xff, 0xff,
                                        0xff, 0xff, 0xff, 0xff, 0x01};
    cr_assert_eq(next(minus_one, sizeof minus_one, &field, &used), 0);
    cr_assert_eq(field.value, UINT64_MAX);
    cr_assert_eq(READ(0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02), WIRE_BAD);
    cr_assert_eq(READ(0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0),
                 WIRE_BAD);
    cr_assert_eq(READ(0x08, 0x80, 0x00), 0, "protobuf allows a longer spelling");
    cr_assert_eq(READ(0xff, 0xff, 0xff, 0xff, 0x1f, 0), WIRE_BAD, "a key of 33 bits");
    cr_assert_eq(READ(0x0a, 0x80, 0x80, 0x80, 0x80, 0x10), WIRE_BAD, "a length of 33 bits");
    cr_assert_eq(READ(0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f), WIRE_BAD, "4 GiB that are not there");
    cr_assert_eq(read_all(minus_one, 0), WIRE_END);
}

Test(wire, what_is_written_has_the_size_that_was_said_and_comes_back) {
    static const uint64_t values[] = {
        0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_C(1) << 62, 1u << 28, UINT64_MAX};
    for (size_t i = 0; i < array_count(values); i++) {
        uint8_t out[16];
        struct wire_field field;
        size_t used, count = wire_put_varint(out, 15, values[i]);
        cr_assert_eq(count, wire_varint_size(values[i]));
        cr_assert_eq(next(out, count, &field, &used), 0);
        cr_assert(used == count && field.number == 15 && field.value == values[i]);
    }
    static const size_t counts[] = {0, 1, 127, 128, 16383, 16384, 70000};
    for (size_t i = 0; i < array_count(counts); i++) {
        static uint8_t body[70000], out[70010];
        struct wire_field field;
        memset(body, (int)i + 1, sizeof body);
        size_t used, count = wire_put_bytes(out, 1, body, counts[i]);
        cr_assert_eq(count, wire_bytes_size(counts[i]));
        cr_assert_eq(wire_put_head(out, 1, counts[i]), count - counts[i]);
        cr_assert_eq(next(out, count, &field, &used), 0);
        cr_assert(used == count && field.count == counts[i]);
        cr_assert_eq(memcmp(field.bytes, body, counts[i]), 0);
    }
}

Test(wire, a_number_with_a_longer_key_panics, .signal = SIGABRT) {
    uint8_t out[16];
    wire_put_varint(out, 16, 1);
}

Test(wire, random_bytes_never_lead_outside) {
    srand(3);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[40];
        size_t count = (size_t)rand() % (sizeof bytes + 1);
        for (size_t i = 0; i < count; i++) {
            bytes[i] = (uint8_t)(rand() % 3 ? rand() % 32 : rand());
        }
        const uint8_t *at = bytes;
        struct wire_field field;
        while (wire_next(&at, bytes + count, &field) == 0) {
            cr_assert(at <= bytes + count);
            cr_assert(field.type != WIRE_BYTES || field.bytes + field.count == at);
        }
    }
}
