/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include <criterion/criterion.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Digests of "hello world", computed by an independent implementation (Python's hashlib). */
static const struct {
    uint64_t code;
    const char *name, *digest;
} vectors[] = {
    {HASH_SHA1, "sha1", "2aae6c35c94fcfb415dbe95f408b9ce91ee846ed"},
    {HASH_SHA2_256, "sha2-256", "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9"},
    {HASH_SHA2_512, "sha2-512",
     "309ecc489c12d6eb4cc40f50c902f2b4d0ed77ee511a7c7a9bcd3ca86d4cd86f989dd35bc5ff499670da34255b45"
     "b0cfd830e81f605dcf7dc5542e93ae9cd76f"},
    {HASH_SHA3_512, "sha3-512",
     "840006653e9ac9e95117a15c915caab81662918e925de9e004f774ff82d7079a40d4d27b1b372657c61d46d47030"
     "4c88c788b3a4527ad074d1dccbee5dbaa99a"},
    {HASH_SHA3_384, "sha3-384",
     "83bff28dde1b1bf5810071c6643c08e5b05bdb836effd70b403ea8ea0a634dc4997eb1053aa3593f590f9c63630d"
     "d90b"},
    {HASH_SHA3_256, "sha3-256", "644bcc7e564373040999aac89e7622f3ca71fba1d972fd94a31c3bfbf24e3938"},
    {HASH_SHA3_224, "sha3-224", "dfb7f18c77e928bb56faeb2da27291bd790bc1045cde45f3210bb6c5"},
    {HASH_SHAKE_256, "shake-256",
     "369771bb2cb9d2b04c1d54cca487e372d9f187f73f7ba3f65b95c8ee7798c527f4f3c2d55c2d46a29f2e945d469c"
     "3df27853a8735271f5cc2d9e889544357116"},
    {HASH_DBL_SHA2_256, "dbl-sha2-256",
     "bc62d4b80d9e36da29c16c5d4d9f11731f36052c72401a76c23c0fb5a9b74423"},
    {HASH_BLAKE2B_256, "blake2b-256",
     "256c83b297114d201b30179f3f0ef0cace9783622da5974326b436178aeef610"},
    {HASH_BLAKE2B_512, "blake2b-512",
     "021ced8799296ceca557832ab941a50b4a11f83478cf141f51f933f653ab9fbcc05a037cddbed06e309bf334942c"
     "4e58cdf1a46e237911ccd7fcf9787cbc7fd0"},
    {HASH_BLAKE2S_256, "blake2s-256",
     "9aec6806794561107e594b1f6a8a6b0c92a0cba9acf5e5e93cca06f781813b0b"},
};

static const char *hex(const uint8_t *bytes, size_t count) {
    static char text[2 * HASH_DIGEST_MAX + 1];
    for (size_t i = 0; i < count; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    return text;
}

static void check_vectors(void) {
    for (size_t i = 0; i < array_count(vectors); i++) {
        uint8_t digest[HASH_DIGEST_MAX];
        uint32_t full = hash_full_bytes(vectors[i].code);
        cr_assert_eq(full * 2, strlen(vectors[i].digest));
        cr_assert_eq(hash_compute(vectors[i].code, "hello world", 11, digest, full), 0);
        cr_assert_str_eq(hex(digest, full), vectors[i].digest, "%s", vectors[i].name);
    }
}

Test(hash, known_digests_come_out) {
    cr_assert_eq(hash_open(), 0);
    cr_assert_eq(hash_open(), 0);
    check_vectors();
}

Test(hash, a_program_that_forgot_to_open_gets_the_same) {
    check_vectors();
}

Test(hash, truncated_digests_are_prefixes_from_20_bytes_on) {
    for (size_t i = 0; i < array_count(vectors); i++) {
        uint32_t full = hash_full_bytes(vectors[i].code);
        for (uint32_t bytes = 0; bytes <= full + 1; bytes++) {
            int wanted = bytes >= 20 && bytes <= full ? 0 : HASH_LENGTH;
            cr_assert_eq(hash_check(vectors[i].code, bytes), wanted);
            uint8_t digest[HASH_DIGEST_MAX + 1];
            memset(digest, 0xa5, sizeof digest);
            cr_assert_eq(hash_compute(vectors[i].code, "hello world", 11, digest, bytes), wanted);
            cr_assert_eq(digest[wanted ? 0 : bytes], 0xa5);
            if (wanted == 0) {
                cr_assert_eq(strncmp(hex(digest, bytes), vectors[i].digest, (size_t)2 * bytes), 0);
            }
        }
    }
}

Test(hash, no_bytes_hash_as_well) {
    uint8_t digest[32];
    cr_assert_eq(hash_compute(HASH_SHA2_256, NULL, 0, digest, 32), 0);
    cr_assert_str_eq(hex(digest, 32),
                     "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

Test(hash, what_we_do_not_have_is_unknown) {
    static const uint64_t foreign[] = {HASH_IDENTITY, 0x1b,   0x1d,  0x1e,
                                       0x18,          0xb221, 70000, UINT64_MAX >> 1};
    uint8_t digest[HASH_DIGEST_MAX];
    for (size_t i = 0; i < array_count(foreign); i++) {
        cr_assert_eq(hash_check(foreign[i], 32), HASH_UNKNOWN);
        cr_assert_eq(hash_compute(foreign[i], "a", 1, digest, 32), HASH_UNKNOWN);
        cr_assert_eq(hash_full_bytes(foreign[i]), 0);
    }
}

Test(hash, names_and_codes_match) {
    for (size_t i = 0; i < array_count(vectors); i++) {
        uint64_t code;
        cr_assert_str_eq(hash_name(vectors[i].code), vectors[i].name);
        cr_assert_eq(hash_code_of(vectors[i].name, &code), 0);
        cr_assert_eq(code, vectors[i].code);
    }
    uint64_t code = 5;
    cr_assert_str_eq(hash_name(HASH_IDENTITY), "identity");
    cr_assert_null(hash_name(0x1e));
    cr_assert_eq(hash_code_of("blake3", &code), HASH_UNKNOWN);
    cr_assert_eq(hash_code_of("", &code), HASH_UNKNOWN);
    cr_assert_eq(code, 5);
}

Test(hash, sha2_takes_nothing_from_the_heap) {
    uint8_t digest[HASH_DIGEST_MAX], data[1000] = {0};
    cr_assert_eq(hash_open(), 0);
    cr_assert_eq(hash_compute(HASH_SHA2_256, data, sizeof data, digest, 32), 0);
    size_t before = mallinfo2().uordblks;
    int failed = 0; /* asserting takes from the heap as well, so only after the loop */
    for (int i = 0; i < 100; i++) {
        failed |= hash_compute(HASH_SHA2_256, data, sizeof data, digest, 32);
        failed |= hash_compute(HASH_SHA2_512, data, sizeof data, digest, 64);
    }
    size_t after = mallinfo2().uordblks;
    cr_assert_eq(failed, 0);
    cr_assert_eq(after, before);
}
