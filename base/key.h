/* SPDX-License-Identifier: MIT */
#pragma once

/* key — what a block is stored under: its multihash, in a fixed 68 bytes.
 *
 * CIDv0, CIDv1 raw and CIDv1 dag-pb of one hash name one block, hence the multihash is the key.
 * Codes above 0xffff and digests above 64 bytes never become keys: no such hash is stored (identity
 * CIDs carry their block in themselves). */

#include "base/base.h"
#include "base/hash.h"

#include <string.h>

struct key {
    uint16_t code; /* enum hash_code */
    uint8_t digest_bytes;
    uint8_t zero;
    uint8_t digest[HASH_DIGEST_MAX]; /* bytes past digest_bytes are undefined */
};
static_assert(sizeof(struct key) == 68, "struct job counts on it");

static inline bool key_equal(const struct key *a, const struct key *b) {
    return a->code == b->code && a->digest_bytes == b->digest_bytes &&
           memcmp(a->digest, b->digest, a->digest_bytes) == 0;
}

/* A key as multihash bytes (varint code, varint length, digest) and back. */
#define KEY_MULTIHASH_MAX (3 + 1 + HASH_DIGEST_MAX)
size_t key_write(const struct key *key, uint8_t out[KEY_MULTIHASH_MAX]);
enum { KEY_BAD = 1, KEY_SHORT = 2, KEY_UNKNOWN_HASH = 3 };
/* Returns: 0 with *ret_used bytes taken; KEY_SHORT: more bytes needed; KEY_BAD: not a multihash we
 * could ever store; KEY_UNKNOWN_HASH: well formed, but a hash function we do not have
 * (*ret_used is set, so that a list can be read past it). */
must_check int key_read(const uint8_t *bytes, size_t count, struct key *ret_key, size_t *ret_used);
