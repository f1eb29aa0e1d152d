/* SPDX-License-Identifier: MIT */
/* EVP calls allocate per digest; the direct SHA-2 calls do not, and run the same
 * assembler. OpenSSL 3 calls them deprecated without a successor that takes a context on the stack,
 * hence for this file alone: */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/hash.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "base/sha256.h"

#include <blake2.h>
#include <openssl/evp.h>
#include <openssl/sha.h>

#include <errno.h>
#include <string.h>

#define HASH_TWO_MIN    1024u
#define HASH_DIGEST_MIN 20 /* shorter truncations can be forged too cheaply to be names */

struct hash_kind {
    uint64_t code;
    const char *name;
    uint32_t full_bytes;
    const char *evp_name; /* NULL: computed without EVP */
};

static const struct hash_kind hash_kinds[] = {
    {HASH_IDENTITY, "identity", 0, NULL},
    {HASH_SHA1, "sha1", 20, "SHA1"},
    {HASH_SHA2_256, "sha2-256", 32, NULL},
    {HASH_SHA2_512, "sha2-512", 64, NULL},
    {HASH_SHA3_512, "sha3-512", 64, "SHA3-512"},
    {HASH_SHA3_384, "sha3-384", 48, "SHA3-384"},
    {HASH_SHA3_256, "sha3-256", 32, "SHA3-256"},
    {HASH_SHA3_224, "sha3-224", 28, "SHA3-224"},
    {HASH_SHAKE_256, "shake-256", HASH_DIGEST_MAX, "SHAKE256"},
    {HASH_DBL_SHA2_256, "dbl-sha2-256", 32, NULL},
    {HASH_BLAKE2B_256, "blake2b-256", 32, NULL},
    {HASH_BLAKE2B_512, "blake2b-512", 64, "BLAKE2B-512"},
    {HASH_BLAKE2S_256, "blake2s-256", 32, "BLAKE2S-256"},
};

/* Set at boot by hash_open and never after, so any thread may read it; lives as long as the
 * process.
 */
static EVP_MD *hash_evp[array_count(hash_kinds)];

static const struct hash_kind *hash_find(uint64_t code) {
    for (size_t i = 0; i < array_count(hash_kinds); i++) {
        if (hash_kinds[i].code == code) {
            return &hash_kinds[i];
        }
    }
    return NULL;
}

int hash_open(void) {
    for (size_t i = 0; i < array_count(hash_kinds); i++) {
        if (hash_kinds[i].evp_name == NULL || hash_evp[i]) {
            continue;
        }
        hash_evp[i] = EVP_MD_fetch(NULL, hash_kinds[i].evp_name, NULL);
        if (hash_evp[i] == NULL) {
            return err_raise(-ENOMEM);
        }
    }
    return 0;
}

int hash_check(uint64_t code, uint32_t digest_bytes) {
    const struct hash_kind *kind = hash_find(code);
    if (kind == NULL || kind->full_bytes == 0) {
        return HASH_UNKNOWN;
    }
    if (digest_bytes < HASH_DIGEST_MIN || digest_bytes > kind->full_bytes) {
        return HASH_LENGTH;
    }
    return 0;
}

static bool hash_sha2_256(const void *data, size_t bytes, uint8_t *digest) {
    SHA256_CTX ctx;
    return SHA256_Init(&ctx) && SHA256_Update(&ctx, data, bytes) && SHA256_Final(digest, &ctx);
}

static bool hash_sha2_512(const void *data, size_t bytes, uint8_t *digest) {
    SHA512_CTX ctx;
    return SHA512_Init(&ctx) && SHA512_Update(&ctx, data, bytes) && SHA512_Final(digest, &ctx);
}

/* Everything else of libcrypto: once per digest from the heap, hence on helpers and tools. */
static bool hash_by_evp(const struct hash_kind *kind, const void *data, size_t bytes,
                        uint8_t *digest, uint32_t digest_bytes) {
    EVP_MD *fetched = hash_evp[kind - hash_kinds];
    EVP_MD *own = fetched ? NULL : EVP_MD_fetch(NULL, kind->evp_name, NULL);
    const EVP_MD *md = fetched ? fetched : own;
    EVP_MD_CTX *ctx = md ? EVP_MD_CTX_new() : NULL;
    bool done = ctx && EVP_DigestInit_ex2(ctx, md, NULL) && EVP_DigestUpdate(ctx, data, bytes);
    if (done && kind->code == HASH_SHAKE_256) {
        done = EVP_DigestFinalXOF(ctx, digest, digest_bytes);
    } else if (done) {
        done = EVP_DigestFinal_ex(ctx, digest, NULL);
    }
    EVP_MD_CTX_free(ctx);
    EVP_MD_free(own);
    return done;
}

static bool hash_whole(const struct hash_kind *kind, const void *data, size_t bytes,
                       uint8_t *digest, uint32_t digest_bytes) {
    if (kind->code == HASH_SHA2_256) {
        return hash_sha2_256(data, bytes, digest);
    }
    if (kind->code == HASH_SHA2_512) {
        return hash_sha2_512(data, bytes, digest);
    }
    if (kind->code == HASH_DBL_SHA2_256) {
        uint8_t once[32];
        return hash_sha2_256(data, bytes, once) && hash_sha2_256(once, sizeof once, digest);
    }
    if (kind->code == HASH_BLAKE2B_256) {
        return blake2b(digest, data, NULL, 32, bytes, 0) == 0;
    }
    return hash_by_evp(kind, data, bytes, digest, digest_bytes);
}

int hash_compute(uint64_t code, const void *data, size_t bytes, uint8_t *digest,
                 uint32_t digest_bytes) {
    /* What nearly every block is named by goes straight to the library. */
    if (likely(code == HASH_SHA2_256 && digest_bytes == 32)) {
        return likely(hash_sha2_256(data, bytes, digest)) ? 0 : err_raise(-EIO);
    }
    int r = hash_check(code, digest_bytes);
    if (r != 0) {
        return r;
    }
    uint8_t whole[HASH_DIGEST_MAX];
    if (!hash_whole(hash_find(code), data, bytes, whole, digest_bytes)) {
        return err_raise(-EIO);
    }
    memcpy(digest, whole, digest_bytes);
    return 0;
}

/* Short ones gain less than they cost to bring together, and the rest of a longer one is hashed at
 * the speed of one. */
static bool suit_each_other(const struct hash_claim *a, const struct hash_claim *b) {
    size_t less = a->bytes < b->bytes ? a->bytes : b->bytes;
    size_t more = a->bytes < b->bytes ? b->bytes : a->bytes;
    return a->code == HASH_SHA2_256 && b->code == HASH_SHA2_256 && a->digest_bytes == 32 &&
           b->digest_bytes == 32 && less >= HASH_TWO_MIN && more - less <= less;
}

uint32_t hash_prove_two(const struct hash_claim *a, const struct hash_claim *b) {
    if (!suit_each_other(a, b) || !sha256_two_here()) {
        return 0;
    }
    const struct sha256_piece pieces[2] = {{a->data, a->bytes}, {b->data, b->bytes}};
    uint8_t digests[2][SHA256_BYTES];
    sha256_two(pieces, digests);
    return (memcmp(digests[0], a->digest, SHA256_BYTES) == 0 ? 1u : 0u) |
           (memcmp(digests[1], b->digest, SHA256_BYTES) == 0 ? 2u : 0u);
}

const char *hash_name(uint64_t code) {
    const struct hash_kind *kind = hash_find(code);
    return kind ? kind->name : NULL;
}

int hash_code_of(const char *name, uint64_t *ret_code) {
    for (size_t i = 0; i < array_count(hash_kinds); i++) {
        if (strcmp(hash_kinds[i].name, name) == 0) {
            *ret_code = hash_kinds[i].code;
            return 0;
        }
    }
    return HASH_UNKNOWN;
}

uint32_t hash_full_bytes(uint64_t code) {
    const struct hash_kind *kind = hash_find(code);
    return kind ? kind->full_bytes : 0;
}
