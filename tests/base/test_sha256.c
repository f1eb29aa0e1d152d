/* SPDX-License-Identifier: MIT */
#include "base/sha256.h"

#include "base/bits.h"
#include "base/hash.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* Every digest against libcrypto's. */

enum { ROOM = 300000 };

static uint8_t *noise(void) {
    uint8_t *bytes = malloc(ROOM);
    uint64_t state = 88172645463325252u;
    for (uint32_t i = 0; i < ROOM; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes[i] = (uint8_t)state;
    }
    return bytes;
}

static void expect(const uint8_t *bytes, size_t a, size_t b) {
    /* from odd addresses, and not the same bytes */
    const struct sha256_piece pieces[2] = {{bytes + 1, a}, {bytes + 3, b}};
    uint8_t ours[2][SHA256_BYTES], theirs[SHA256_BYTES];
    sha256_two(pieces, ours);
    for (uint32_t i = 0; i < 2; i++) {
        cr_assert_eq(hash_compute(HASH_SHA2_256, pieces[i].data, pieces[i].bytes, theirs, 32), 0);
        cr_assert_eq(memcmp(ours[i], theirs, 32), 0, "%zu beside %zu: lane %u", a, b, i);
    }
}

Test(sha256, two_messages_of_any_length_hash_as_each_alone) {
    cr_assert_eq(hash_open(), 0);
    if (!sha256_two_here()) {
        cr_skip_test("no such instructions here");
    }
    uint8_t *bytes = noise();
    for (size_t a = 0; a <= 200; a++) {
        for (size_t b = 0; b <= 200; b++) {
            expect(bytes, a, b);
        }
    }
    for (size_t a = 1000; a < ROOM - 200; a = a * 5 / 3 + 7) {
        expect(bytes, a, a);
        expect(bytes, a, a + 63);
        expect(bytes, 70, a);
        expect(bytes, a, 0);
    }
    free(bytes);
}

/* Of a NULL pointer and no bytes too: what an empty block is. */
Test(sha256, the_empty_message_and_abc_are_as_published) {
    static const uint8_t empty[4] = {0xe3, 0xb0, 0xc4, 0x42}, abc[4] = {0xba, 0x78, 0x16, 0xbf};
    if (!sha256_two_here()) {
        cr_skip_test("no such instructions here");
    }
    const struct sha256_piece pieces[2] = {{NULL, 0}, {"abc", 3}};
    uint8_t digests[2][SHA256_BYTES];
    sha256_two(pieces, digests);
    cr_assert_eq(memcmp(digests[0], empty, 4), 0);
    cr_assert_eq(memcmp(digests[1], abc, 4), 0);
}

static struct hash_claim claim(const uint8_t *bytes, size_t count, uint8_t digest[32]) {
    cr_assert_eq(hash_compute(HASH_SHA2_256, bytes, count, digest, 32), 0);
    return (struct hash_claim){bytes, count, HASH_SHA2_256, digest, 32};
}

Test(sha256, a_claim_is_proven_or_left_to_be_looked_at_alone) {
    cr_assert_eq(hash_open(), 0);
    uint8_t *bytes = noise(), digests[2][32];
    const uint32_t both = sha256_two_here() ? 3 : 0;
    struct hash_claim a = claim(bytes, 4096, digests[0]);
    struct hash_claim b = claim(bytes + 100, 5000, digests[1]);
    cr_assert_eq(hash_prove_two(&a, &b), both);
    digests[1][31] ^= 1;
    cr_assert_eq(hash_prove_two(&a, &b), both & 1);
    cr_assert_eq(hash_prove_two(&b, &a), both & 2);
    digests[0][0] ^= 1;
    cr_assert_eq(hash_prove_two(&a, &b), 0);
    a = claim(bytes, 4096, digests[0]);
    b = claim(bytes, 4096, digests[1]);
    b.code = HASH_SHA2_512;
    cr_assert_eq(hash_prove_two(&a, &b), 0, "another function");
    b.code = HASH_SHA2_256;
    b.digest_bytes = 20;
    cr_assert_eq(hash_prove_two(&a, &b), 0, "a shortened digest");
    b = claim(bytes, 64, digests[1]);
    cr_assert_eq(hash_prove_two(&a, &b), 0, "nothing to gain");
    free(bytes);
}
