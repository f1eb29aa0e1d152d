/* SPDX-License-Identifier: MIT */
#include "base/varint.h"

#include <criterion/criterion.h>

#include <signal.h>

static const struct {
    uint64_t value;
    size_t count;
    uint8_t bytes[VARINT_BYTES_MAX];
} vectors[] = {
    {0, 1, {0}},
    {1, 1, {1}},
    {127, 1, {0x7f}},
    {128, 2, {0x80, 1}},
    {255, 2, {0xff, 1}},
    {300, 2, {0xac, 2}},
    {16384, 3, {0x80, 0x80, 1}},
    {0xb220, 3, {0xa0, 0xe4, 2}},
    {INT64_MAX, 9, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
};

Test(varint, writes_and_reads_known_bytes) {
    for (size_t i = 0; i < array_count(vectors); i++) {
        uint8_t out[VARINT_BYTES_MAX];
        cr_assert_eq(varint_write(vectors[i].value, out), vectors[i].count);
        cr_assert_eq(varint_bytes(vectors[i].value), vectors[i].count);
        cr_assert_arr_eq(out, vectors[i].bytes, vectors[i].count);
        uint64_t value;
        size_t used;
        cr_assert_eq(varint_read(out, sizeof out, &value, &used), 0);
        cr_assert_eq(value, vectors[i].value);
        cr_assert_eq(used, vectors[i].count);
    }
}

Test(varint, every_power_of_two_and_its_neighbours_come_back) {
    for (uint32_t bit = 0; bit < 63; bit++) {
        for (uint64_t d = 0; d < 3; d++) {
            uint64_t wanted = (UINT64_C(1) << bit) + d - 1, value;
            uint8_t out[VARINT_BYTES_MAX];
            size_t used, count = varint_write(wanted, out);
            cr_assert_eq(varint_bytes(wanted), count);
            cr_assert_eq(varint_read(out, count, &value, &used), 0);
            cr_assert_eq(value, wanted);
        }
    }
}

Test(varint, a_cut_one_asks_for_more) {
    for (size_t i = 0; i < array_count(vectors); i++) {
        for (size_t count = 0; count < vectors[i].count; count++) {
            uint64_t value;
            size_t used;
            cr_assert_eq(varint_read(vectors[i].bytes, count, &value, &used), VARINT_SHORT);
        }
    }
}

Test(varint, longer_spellings_and_ten_bytes_are_refused) {
    uint64_t value = 7;
    size_t used = 7;
    cr_assert_eq(varint_read((const uint8_t[]){0x80, 0}, 2, &value, &used), VARINT_BAD);
    cr_assert_eq(varint_read((const uint8_t[]){0x81, 0x80, 0}, 3, &value, &used), VARINT_BAD);
    uint8_t ten[10] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    cr_assert_eq(varint_read(ten, 10, &value, &used), VARINT_BAD);
    cr_assert_eq(varint_read(ten, 9, &value, &used), VARINT_BAD);
    cr_assert_eq(value, 7);
    cr_assert_eq(used, 7);
}

Test(varint, writing_64_bits_panics, .signal = SIGABRT) {
    uint8_t out[VARINT_BYTES_MAX];
    varint_write(UINT64_C(1) << 63, out);
}
