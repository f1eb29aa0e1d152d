/* SPDX-License-Identifier: MIT */
#include "base/key.h"

#include "base/cid.h"

#include <criterion/criterion.h>

#include <stdlib.h>

static struct key random_key(uint64_t code, uint32_t digest_bytes) {
    struct key key = {.code = (uint16_t)code, .digest_bytes = (uint8_t)digest_bytes};
    for (uint32_t i = 0; i < digest_bytes; i++) {
        key.digest[i] = (uint8_t)rand();
    }
    return key;
}

Test(key, keys_come_back_from_their_multihash_and_cut_ones_ask_for_more) {
    static const uint64_t codes[] = {HASH_SHA1, HASH_SHA2_256, HASH_SHA2_512, HASH_BLAKE2B_256};
    srand(7);
    for (size_t i = 0; i < array_count(codes); i++) {
        for (uint32_t bytes = 20; bytes <= hash_full_bytes(codes[i]); bytes++) {
            struct key key = random_key(codes[i], bytes), again;
            uint8_t out[KEY_MULTIHASH_MAX + 1] = {0};
            size_t count = key_write(&key, out), used;
            cr_assert_leq(count, KEY_MULTIHASH_MAX);
            cr_assert_eq(key_read(out, count + 1, &again, &used), 0);
            cr_assert_eq(used, count);
            cr_assert(key_equal(&key, &again));
            for (size_t cut = 0; cut < count; cut++) {
                cr_assert_eq(key_read(out, cut, &again, &used), KEY_SHORT);
            }
        }
    }
}

Test(key, keys_differ_by_code_length_and_digest) {
    struct key a = random_key(HASH_SHA2_256, 32), b = a;
    b.digest[32] = (uint8_t)(a.digest[32] + 1); /* past the digest: not part of the key */
    cr_assert(key_equal(&a, &b));
    b.digest[31] ^= 1;
    cr_assert_not(key_equal(&a, &b));
    b = a;
    b.code = HASH_SHA3_256;
    cr_assert_not(key_equal(&a, &b));
    b = a;
    b.digest_bytes = 31;
    cr_assert_not(key_equal(&a, &b));
}

static int read_of(const uint8_t *head, size_t head_bytes) {
    uint8_t bytes[256] = {0};
    struct key key = {.code = 9};
    size_t used = 9;
    memcpy(bytes, head, head_bytes);
    int r = key_read(bytes, sizeof bytes, &key, &used);
    cr_assert(r == 0 || key.code == 9);
    bool stepped_over = r == 0 || r == KEY_UNKNOWN_HASH;
    cr_assert(stepped_over || used == 9); /* untouched unless the multihash was whole */
    return r;
}
#define READ(...) read_of((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

Test(key, what_could_never_be_stored_is_refused_by_its_reason) {
    cr_assert_eq(READ(0x12, 0x20), 0);
    cr_assert_eq(READ(0x00, 0x05), KEY_BAD);                 /* identity */
    cr_assert_eq(READ(0x12, 0x13), KEY_BAD);                 /* 19 bytes */
    cr_assert_eq(READ(0x12, 0x21), KEY_BAD);                 /* longer than the hash */
    cr_assert_eq(READ(0x12, 0x81, 0x01), KEY_BAD);           /* 129 bytes */
    cr_assert_eq(READ(0x92, 0x00, 0x20), KEY_BAD);           /* not minimal */
    cr_assert_eq(READ(0x1e, 0x20), KEY_UNKNOWN_HASH);        /* blake3 */
    cr_assert_eq(READ(0x1b, 0x20), KEY_UNKNOWN_HASH);        /* keccak-256 */
    cr_assert_eq(READ(0x80, 0x80, 4, 32), KEY_UNKNOWN_HASH); /* 0x10000 */
}

Test(key, a_foreign_hash_is_said_to_be_so_only_when_it_is_whole) {
    uint8_t bytes[34] = {0x1e, 0x20};
    struct key key;
    size_t used;
    cr_assert_eq(key_read(bytes, 33, &key, &used), KEY_SHORT);
    cr_assert_eq(key_read(bytes, 34, &key, &used), KEY_UNKNOWN_HASH);
}
