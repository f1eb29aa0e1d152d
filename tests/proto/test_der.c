/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/der.h"

#include "tests/proto/hex.h"

#include <criterion/criterion.h>

static uint8_t bytes[70000];

static struct der run_of(const char *text) {
    return (struct der){bytes, bytes + hex_read(text, bytes)};
}

static bool takes(const char *text, enum der_tag tag, size_t count) {
    struct der run = run_of(text), content;
    return der_take(&run, tag, &content) && der_count(&content) == count;
}

Test(der, an_element_is_its_content_and_the_run_goes_on_behind_it) {
    struct der run = run_of("0402aabb0500"), content;
    cr_assert(der_take(&run, DER_OCTETS, &content));
    cr_assert_eq(der_count(&content), 2);
    cr_assert_eq(content.at[1], 0xbb);
    cr_assert(der_take(&run, DER_NULL, &content));
    cr_assert_eq(der_count(&run), 0);
    cr_assert_not(der_take(&run, DER_NULL, &content));
}

Test(der, lengths_are_definite_minimal_and_within_the_run) {
    cr_assert(takes("0400", DER_OCTETS, 0));
    cr_assert_not(takes("04", DER_OCTETS, 0));
    cr_assert_not(takes("0401", DER_OCTETS, 1), "content is missing");
    cr_assert_not(takes("0500", DER_OCTETS, 0), "another tag");
    cr_assert_not(takes("0480", DER_OCTETS, 0), "indefinite");
    cr_assert_not(takes("048101aa", DER_OCTETS, 1), "not minimal");
    cr_assert_not(takes("04820001aa", DER_OCTETS, 1), "not minimal");
    cr_assert_not(takes("0481", DER_OCTETS, 1), "the length is missing");
    cr_assert_not(takes("0483000001aa", DER_OCTETS, 1), "too long a length");
    cr_assert_not(takes("0484ffffffff", DER_OCTETS, 1));
}

Test(der, lengths_of_one_and_two_bytes) {
    struct der run = {bytes, bytes + 3 + 200}, content;
    memcpy(bytes, "\x04\x81\xc8", 3);
    cr_assert(der_take(&run, DER_OCTETS, &content));
    cr_assert_eq(der_count(&content), 200);
    run = (struct der){bytes, bytes + 4 + 0xffff};
    memcpy(bytes, "\x04\x82\xff\xff", 4);
    cr_assert(der_take(&run, DER_OCTETS, &content));
    cr_assert_eq(der_count(&content), 0xffff);
    run = (struct der){bytes, bytes + 4 + 0xfffe};
    cr_assert_not(der_take(&run, DER_OCTETS, &content));
}

static size_t positive(const char *text) {
    struct der run = run_of(text), digits;
    return der_take_positive(&run, &digits) ? der_count(&digits) : 0;
}

Test(der, a_positive_integer_loses_its_sign_byte_only) {
    cr_assert_eq(positive("020103"), 1);
    cr_assert_eq(positive("02020080"), 1);
    cr_assert_eq(positive("0203010001"), 3);
    cr_assert_eq(positive("02020001"), 0, "not minimal");
    cr_assert_eq(positive("020180"), 0, "negative");
    cr_assert_eq(positive("020100"), 0, "zero");
    cr_assert_eq(positive("0200"), 0, "no digits");
}

Test(der, an_exact_element_matches_byte_for_byte) {
    struct der run = run_of("05000500");
    cr_assert(der_take_exact(&run, (const uint8_t *)"\x05\x00", 2));
    cr_assert_not(der_take_exact(&run, (const uint8_t *)"\x05\x01", 2));
    cr_assert_not(der_take_exact(&run, (const uint8_t *)"\x05\x00\x05", 3));
    cr_assert_eq(der_count(&run), 2);
}
