/* SPDX-License-Identifier: MIT */
#pragma once

/* crypto — the primitives the encrypted channel is made of, and the only way to OpenSSL's for it:
 * X25519, Ed25519, two AEADs, SHA-256 with HMAC and HKDF, random bytes, secret memory.
 *
 * Algorithms are fetched once (crypto_open) and kept for the life of the process, so that a record
 * costs no look-up, no lock and no allocation: only its nonce is set. Keys and contexts come from
 * libcrypto's allocator, which the engine hooks at boot. libcrypto reads no configuration file and
 * leaves nothing to be done at exit.
 *
 * Every bool is "it worked": false is a broken libcrypto or no memory, unless said otherwise.
 * Thread: any, one at a time per object. Source: RFC 7748, 8032, 8439, 6234, 2104, 5869;
 * RFC 8446, 5.3 and 7.1; the Noise protocol framework, revision 34, 4.3 (HKDF), 5.1 and 12.3. */

#include "base/base.h"

#define CRYPTO_KEY_BYTES       32u /* X25519 and Ed25519 keys, ChaCha20 keys */
#define CRYPTO_HASH_BYTES      32u
#define CRYPTO_TAG_BYTES       16u
#define CRYPTO_SIGNATURE_BYTES 64u /* Ed25519 */

/* OpenSSL's own objects, without its headers. */
struct evp_pkey_st;
struct evp_cipher_ctx_st;

/* Returns: 0 or -ENOMEM. Thread: boot; further calls do nothing. */
must_check int crypto_open(void);

/* Zeroed on taking, wiped on giving back. NULL: no memory; crypto_give takes NULL. */
void *crypto_take(size_t bytes);
void crypto_give(void *memory, size_t bytes);
void crypto_wipe(void *memory, size_t bytes);
must_check bool crypto_random(uint8_t *out, size_t count);
/* Whatever libcrypto noted about a failure is forgotten: a later SSL call must not find it. */
void crypto_forget_errors(void);

/* ---- SHA-256 ---- */

struct crypto_piece {
    const void *bytes;
    size_t count;
};
/* Of the pieces one after another. */
void crypto_sha256(const struct crypto_piece pieces[], uint32_t count,
                   uint8_t ret_hash[CRYPTO_HASH_BYTES]);
void crypto_hmac(const uint8_t key[CRYPTO_HASH_BYTES], const struct crypto_piece pieces[],
                 uint32_t count, uint8_t ret_mac[CRYPTO_HASH_BYTES]);
/* Two outputs of Noise's HKDF, from a chaining key and input. They may lie over `chain`. */
void crypto_hkdf(const uint8_t chain[CRYPTO_HASH_BYTES], const uint8_t *input, size_t count,
                 uint8_t ret_first[CRYPTO_HASH_BYTES], uint8_t ret_second[CRYPTO_HASH_BYTES]);

/* ---- keys ---- */

/* From 32 private bytes, with the public half. NULL: no memory. */
must_check struct evp_pkey_st *crypto_x25519_key(const uint8_t secret[CRYPTO_KEY_BYTES],
                                                 uint8_t ret_public[CRYPTO_KEY_BYTES]);
must_check struct evp_pkey_st *crypto_ed25519_key(const uint8_t secret[CRYPTO_KEY_BYTES],
                                                  uint8_t ret_public[CRYPTO_KEY_BYTES]);
void crypto_key_close(struct evp_pkey_st *key); /* NULL is allowed */
/* false also when the other's point is of low order: the secret would be no secret. */
must_check bool crypto_x25519(struct evp_pkey_st *mine, const uint8_t theirs[CRYPTO_KEY_BYTES],
                              uint8_t ret_shared[CRYPTO_KEY_BYTES]);
must_check bool crypto_sign(struct evp_pkey_st *key, const uint8_t *message, size_t count,
                            uint8_t ret_signature[CRYPTO_SIGNATURE_BYTES]);

/* ---- AEADs with a counting nonce ---- */

enum crypto_cipher { CRYPTO_CHACHA20_POLY1305, CRYPTO_AES128_GCM, CRYPTO_CIPHER_COUNT };
#define CRYPTO_IV_BYTES 12u

struct crypto_aead {
    struct evp_cipher_ctx_st *context;
    uint64_t nonce; /* of the next message; the last value is never used */
    bool tls;       /* the nonce is TLS's: the counter in network order, over an IV */
    uint8_t iv[CRYPTO_IV_BYTES];
};

must_check bool crypto_aead_init(struct crypto_aead *aead); /* zeroed before; takes the context */
void crypto_aead_fini(struct crypto_aead *aead);            /* also of a zeroed one */
/* A new key (16 bytes for AES), for one direction; the nonce starts at 0. iv: TLS's, NULL: Noise's
 * nonces. An object stays with its first cipher. */
must_check bool crypto_aead_key(struct crypto_aead *aead, enum crypto_cipher cipher,
                                const uint8_t *key, const uint8_t *iv, bool seals);
/* A message: begin, associated data if any, turns, end. A turn seals or opens `count` bytes, in
 * place or from elsewhere; opened bytes must not be used before crypto_aead_open_end says true.
 * begin: false also when the nonces are used up. open_end: false also for a wrong tag. */
must_check bool crypto_aead_begin(struct crypto_aead *aead);
must_check bool crypto_aead_associate(struct crypto_aead *aead, const uint8_t *data, size_t count);
must_check bool crypto_aead_turn(struct crypto_aead *aead, uint8_t *out, const uint8_t *in,
                                 size_t count);
must_check bool crypto_aead_seal_end(struct crypto_aead *aead, uint8_t ret_tag[CRYPTO_TAG_BYTES]);
must_check bool crypto_aead_open_end(struct crypto_aead *aead, const uint8_t tag[CRYPTO_TAG_BYTES]);
