/* SPDX-License-Identifier: MIT */
#pragma once

/* hash — the hash functions content is named by, by multihash code.
 *
 * SHA-256 goes through SHA256_Init/Update/Final (EVP allocates once per digest), two at once
 * through base/sha256.h; libcrypto gives the SHA-1, SHA-2, SHA-3, SHAKE-256 and BLAKE2 families,
 * libb2 blake2b-256. What no kept library has (keccak, blake3) is HASH_UNKNOWN and refused by code.
 * Source: multiformats/multicodec table.csv. Thread: any; hash_open once at boot takes what EVP
 * needs, so that hashing on a tile takes nothing from the heap for sha2-256 and sha2-512. */

#include "base/base.h"

enum hash_code {
    HASH_IDENTITY = 0x00,
    HASH_SHA1 = 0x11,
    HASH_SHA2_256 = 0x12,
    HASH_SHA2_512 = 0x13,
    HASH_SHA3_512 = 0x14,
    HASH_SHA3_384 = 0x15,
    HASH_SHA3_256 = 0x16,
    HASH_SHA3_224 = 0x17,
    HASH_SHAKE_256 = 0x19,
    HASH_DBL_SHA2_256 = 0x56,
    HASH_BLAKE2B_256 = 0xb220,
    HASH_BLAKE2B_512 = 0xb240,
    HASH_BLAKE2S_256 = 0xb260,
};

#define HASH_DIGEST_MAX 64 /* longest digest we compute or store */

enum { HASH_UNKNOWN = 1, HASH_LENGTH = 2 };

/* hash_open fetches the algorithms. Returns: 0 or -ENOMEM. Thread: boot. */
must_check int hash_open(void);

/* hash_check says whether we can compute this code to this many digest bytes (truncation to >= 20
 * bytes is legal). Returns: 0, HASH_UNKNOWN (no such function here), HASH_LENGTH. */
must_check int hash_check(uint64_t code, uint32_t digest_bytes);

/* hash_compute writes digest_bytes of the hash of `data`. Same results as hash_check; -EIO if the
 * library fails. Cost: SHA-256 0.7 ns a byte with SHA-NI. */
must_check int hash_compute(uint64_t code, const void *data, size_t bytes, uint8_t *digest,
                            uint32_t digest_bytes);

/* hash_prove_two looks whether two blocks hash to what is claimed of them, side by side for the
 * time of one, where processor, function and sizes allow. Returns: bit 0: the first does, bit 1:
 * the second does; a bit that is not set says nothing: hash_compute tells. */
struct hash_claim {
    const void *data;
    size_t bytes;
    uint64_t code;
    const uint8_t *digest;
    uint32_t digest_bytes;
};
must_check uint32_t hash_prove_two(const struct hash_claim *a, const struct hash_claim *b);

/* "sha2-256" and so on; NULL for a code without a name. hash_code_of: HASH_UNKNOWN if no such name.
 */
const char *hash_name(uint64_t code);
must_check int hash_code_of(const char *name, uint64_t *ret_code);
uint32_t hash_full_bytes(uint64_t code); /* 0 for unknown */
