/* SPDX-License-Identifier: MIT */
#pragma once

/* content — the blocks the generator asks for: any byte of any block, without keeping the blocks.
 *
 *   block i = stamp(seed, i) in its first 16 bytes, then a slice of one noise table
 *
 * The slice begins at a place that depends on i. So every block differs, none compresses, and a
 * reply is checked by comparing it with memory that stays in the cache, however many keys there
 * are. What is kept per key is its sha2-256 digest, and that only where the protocol names content
 * by hash. Blocks of one seed and size are the same in every run. */

#include "base/base.h"

#define CONTENT_STAMP_BYTES  16u
#define CONTENT_DIGEST_BYTES 32u
#define CONTENT_BYTES_MIN    8u /* shorter blocks could not all differ */

struct content {
    uint64_t seed;
    uint64_t keys;
    uint32_t bytes; /* of each block */
    uint8_t *noise;
    uint8_t *digests; /* keys * CONTENT_DIGEST_BYTES, NULL without hashes */
    uint8_t *scratch; /* one block, for hashing at boot */
};

/* content_open makes the noise and, where `hashed`, the digests of all keys.
 * Returns: 0, -ENOMEM, -EIO. Thread: boot. Cost: hashed: 0.8 ns a byte of keys * bytes. */
must_check int content_open(struct content *content, uint64_t keys, uint32_t bytes, uint64_t seed,
                            bool hashed);
void content_close(struct content *content);

/* The digest of a key below `keys`. Lives: with the content. */
static inline const uint8_t *content_digest(const struct content *content, uint64_t index) {
    return content->digests + index * CONTENT_DIGEST_BYTES;
}
/* Digest of any index; `scratch` holds one block. Returns: 0 or -EIO. Thread: any tile. */
must_check int content_hash(const struct content *content, uint64_t index, uint8_t *scratch,
                            uint8_t digest[CONTENT_DIGEST_BYTES]);

/* content_stamp writes the head of a block and returns its bytes (the block may be shorter than a
 * stamp); content_tail is the rest: bytes - stamp of them. Lives: with the content. */
uint32_t content_stamp(const struct content *content, uint64_t index, uint8_t *out);
const uint8_t *content_tail(const struct content *content, uint64_t index);
void content_copy(const struct content *content, uint64_t index, uint8_t *out);

/* content_find reads from the first CONTENT_BYTES_MIN bytes of a block which one it is; the answer
 * is below `keys` only for blocks of the content, and then only its own bytes lead there. */
uint64_t content_find(const struct content *content, const uint8_t *bytes);

/* content_equal says whether these are the bytes of the block from `offset` on. */
bool content_equal(const struct content *content, uint64_t index, uint32_t offset,
                   const uint8_t *bytes, size_t count);
