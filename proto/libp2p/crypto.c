/* SPDX-License-Identifier: MIT */
/* As in base/hash.c: the direct SHA-2 calls need no allocation and run the same assembler. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "proto/libp2p/crypto.h"

#include "base/err.h"
#include "base/must.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#define BLOCK_BYTES 64u /* of SHA-256, for HMAC */

/* Set at boot by crypto_open and never after; lives as long as the process. */
static EVP_CIPHER *ciphers[CRYPTO_CIPHER_COUNT];
static const char *const cipher_names[CRYPTO_CIPHER_COUNT] = {
    [CRYPTO_CHACHA20_POLY1305] = "ChaCha20-Poly1305",
    [CRYPTO_AES128_GCM] = "AES-128-GCM",
};

int crypto_open(void) {
    if (ciphers[CRYPTO_CIPHER_COUNT - 1]) {
        return 0;
    }
    if (!OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL)) {
        return err_raise(-ENOMEM);
    }
    for (uint32_t i = 0; i < CRYPTO_CIPHER_COUNT; i++) {
        ciphers[i] = EVP_CIPHER_fetch(NULL, cipher_names[i], NULL);
        if (!ciphers[i]) {
            return err_raise(-ENOMEM);
        }
    }
    return 0;
}

void *crypto_take(size_t bytes) {
    return OPENSSL_zalloc(bytes);
}

void crypto_give(void *memory, size_t bytes) {
    OPENSSL_clear_free(memory, bytes);
}

void crypto_wipe(void *memory, size_t bytes) {
    OPENSSL_cleanse(memory, bytes);
}

bool crypto_random(uint8_t *out, size_t count) {
    return RAND_priv_bytes_ex(NULL, out, count, 0) == 1;
}

void crypto_forget_errors(void) {
    ERR_clear_error();
}

/* ---- SHA-256: these calls cannot fail once they are given a context ---- */

void crypto_sha256(const struct crypto_piece pieces[], uint32_t count,
                   uint8_t ret_hash[CRYPTO_HASH_BYTES]) {
    SHA256_CTX ctx;
    bool done = SHA256_Init(&ctx);
    for (uint32_t i = 0; i < count; i++) {
        done = done && SHA256_Update(&ctx, pieces[i].bytes, pieces[i].count);
    }
    done = done && SHA256_Final(ret_hash, &ctx);
    must(done);
}

void crypto_hmac(const uint8_t key[CRYPTO_HASH_BYTES], const struct crypto_piece pieces[],
                 uint32_t count, uint8_t ret_mac[CRYPTO_HASH_BYTES]) {
    uint8_t inner_pad[BLOCK_BYTES], outer_pad[BLOCK_BYTES], inner[CRYPTO_HASH_BYTES];
    memset(inner_pad, 0x36, sizeof inner_pad);
    memset(outer_pad, 0x5c, sizeof outer_pad);
    for (uint32_t i = 0; i < CRYPTO_HASH_BYTES; i++) {
        inner_pad[i] ^= key[i];
        outer_pad[i] ^= key[i];
    }
    struct crypto_piece all[4] = {{inner_pad, sizeof inner_pad}};
    must(count < array_count(all));
    for (uint32_t i = 0; i < count; i++) {
        all[1 + i] = pieces[i];
    }
    crypto_sha256(all, 1 + count, inner);
    const struct crypto_piece outer[] = {{outer_pad, sizeof outer_pad}, {inner, sizeof inner}};
    crypto_sha256(outer, 2, ret_mac);
    crypto_wipe(inner_pad, sizeof inner_pad);
    crypto_wipe(outer_pad, sizeof outer_pad);
    crypto_wipe(inner, sizeof inner);
}

void crypto_hkdf(const uint8_t chain[CRYPTO_HASH_BYTES], const uint8_t *input, size_t count,
                 uint8_t ret_first[CRYPTO_HASH_BYTES], uint8_t ret_second[CRYPTO_HASH_BYTES]) {
    static const uint8_t one = 1, two = 2;
    uint8_t secret[CRYPTO_HASH_BYTES], first[CRYPTO_HASH_BYTES];
    crypto_hmac(chain, &(struct crypto_piece){input, count}, 1, secret);
    crypto_hmac(secret, &(struct crypto_piece){&one, 1}, 1, first);
    const struct crypto_piece second[] = {{first, sizeof first}, {&two, 1}};
    crypto_hmac(secret, second, 2, ret_second);
    memcpy(ret_first, first, sizeof first);
    crypto_wipe(secret, sizeof secret);
    crypto_wipe(first, sizeof first);
}

/* ---- keys ---- */

static EVP_PKEY *key_of(const char *kind, const uint8_t *secret, uint8_t *ret_public) {
    size_t count = CRYPTO_KEY_BYTES;
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(NULL, kind, NULL, secret, count);
    if (key && !EVP_PKEY_get_raw_public_key(key, ret_public, &count)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    return key;
}

EVP_PKEY *crypto_x25519_key(const uint8_t secret[CRYPTO_KEY_BYTES],
                            uint8_t ret_public[CRYPTO_KEY_BYTES]) {
    return key_of("X25519", secret, ret_public);
}

EVP_PKEY *crypto_ed25519_key(const uint8_t secret[CRYPTO_KEY_BYTES],
                             uint8_t ret_public[CRYPTO_KEY_BYTES]) {
    return key_of("ED25519", secret, ret_public);
}

void crypto_key_close(EVP_PKEY *key) {
    EVP_PKEY_free(key);
}

bool crypto_x25519(EVP_PKEY *mine, const uint8_t theirs[CRYPTO_KEY_BYTES],
                   uint8_t ret_shared[CRYPTO_KEY_BYTES]) {
    size_t count = CRYPTO_KEY_BYTES;
    EVP_PKEY *peer = EVP_PKEY_new_raw_public_key_ex(NULL, "X25519", NULL, theirs, count);
    EVP_PKEY_CTX *ctx = peer ? EVP_PKEY_CTX_new_from_pkey(NULL, mine, NULL) : NULL;
    /* Nothing about 32 bytes can be checked before the multiplication: it refuses a zero result. */
    bool done = ctx && EVP_PKEY_derive_init(ctx) > 0 &&
                EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) > 0 &&
                EVP_PKEY_derive(ctx, ret_shared, &count) > 0 && count == CRYPTO_KEY_BYTES;
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
    return done;
}

bool crypto_sign(EVP_PKEY *key, const uint8_t *message, size_t count,
                 uint8_t ret_signature[CRYPTO_SIGNATURE_BYTES]) {
    size_t made = CRYPTO_SIGNATURE_BYTES;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx && EVP_DigestSignInit_ex(ctx, NULL, NULL, NULL, NULL, key, NULL) > 0 &&
                EVP_DigestSign(ctx, ret_signature, &made, message, count) > 0 &&
                made == CRYPTO_SIGNATURE_BYTES;
    EVP_MD_CTX_free(ctx);
    return done;
}

/* ---- AEADs ---- */

bool crypto_aead_init(struct crypto_aead *aead) {
    aead->context = EVP_CIPHER_CTX_new();
    return aead->context;
}

void crypto_aead_fini(struct crypto_aead *aead) {
    EVP_CIPHER_CTX_free(aead->context); /* wipes the key */
    *aead = (struct crypto_aead){0};
}

bool crypto_aead_key(struct crypto_aead *aead, enum crypto_cipher cipher, const uint8_t *key,
                     const uint8_t *iv, bool seals) {
    must(ciphers[cipher]);
    aead->nonce = 0;
    aead->tls = iv != NULL;
    memset(aead->iv, 0, sizeof aead->iv);
    if (iv) {
        memcpy(aead->iv, iv, sizeof aead->iv);
    }
    return EVP_CipherInit_ex2(aead->context, ciphers[cipher], key, NULL, seals, NULL) == 1;
}

bool crypto_aead_begin(struct crypto_aead *aead) {
    if (aead->nonce == UINT64_MAX) {
        return false;
    }
    uint8_t nonce[CRYPTO_IV_BYTES];
    uint64_t order = aead->tls ? htobe64(aead->nonce) : htole64(aead->nonce), tail;
    memcpy(nonce, aead->iv, sizeof nonce);
    memcpy(&tail, nonce + 4, sizeof tail);
    tail ^= order;
    memcpy(nonce + 4, &tail, sizeof tail);
    aead->nonce++;
    /* -1: the direction stays; no cipher, no key: only the nonce is new. */
    return EVP_CipherInit_ex2(aead->context, NULL, NULL, nonce, -1, NULL) == 1;
}

bool crypto_aead_associate(struct crypto_aead *aead, const uint8_t *data, size_t count) {
    must(count <= INT_MAX);
    int made = 0;
    return EVP_CipherUpdate(aead->context, NULL, &made, data, (int)count) == 1;
}

bool crypto_aead_turn(struct crypto_aead *aead, uint8_t *out, const uint8_t *in, size_t count) {
    must(count <= INT_MAX);
    int made = 0;
    return count == 0 ||
           (EVP_CipherUpdate(aead->context, out, &made, in, (int)count) == 1 && made == (int)count);
}

bool crypto_aead_seal_end(struct crypto_aead *aead, uint8_t ret_tag[CRYPTO_TAG_BYTES]) {
    int made = 0;
    return EVP_CipherFinal_ex(aead->context, ret_tag, &made) == 1 &&
           EVP_CIPHER_CTX_ctrl(aead->context, EVP_CTRL_AEAD_GET_TAG, CRYPTO_TAG_BYTES, ret_tag) ==
               1;
}

bool crypto_aead_open_end(struct crypto_aead *aead, const uint8_t tag[CRYPTO_TAG_BYTES]) {
    uint8_t copy[CRYPTO_TAG_BYTES]; /* OpenSSL's argument is not const */
    memcpy(copy, tag, sizeof copy);
    int made = 0;
    return EVP_CIPHER_CTX_ctrl(aead->context, EVP_CTRL_AEAD_SET_TAG, CRYPTO_TAG_BYTES, copy) == 1 &&
           EVP_CipherFinal_ex(aead->context, copy, &made) == 1;
}
