/* SPDX-License-Identifier: MIT */
#pragma once

/* Keys of every kind a peer may have, made by OpenSSL's high-level calls and written down by them:
 * none of proto/libp2p/keys.c is used here. */

#include "base/must.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

struct peer_key {
    EVP_PKEY *pkey;
    bool hashes;         /* signatures are of a SHA-256 */
    uint8_t bytes[4096]; /* serialized PublicKey */
    size_t count;
};

static inline void peer_key_write(struct peer_key *key, uint8_t kind, const uint8_t *data,
                                  size_t count) {
    size_t at = 0;
    key->bytes[at++] = 0x08;
    key->bytes[at++] = kind;
    key->bytes[at++] = 0x12;
    if (count >= 0x80) {
        key->bytes[at++] = (uint8_t)(count | 0x80);
        key->bytes[at++] = (uint8_t)(count >> 7);
    } else {
        key->bytes[at++] = (uint8_t)count;
    }
    must(at + count <= sizeof key->bytes);
    memcpy(key->bytes + at, data, count);
    key->count = at + count;
    key->hashes = kind != 1;
}

static inline void peer_key_pkix(struct peer_key *key, uint8_t kind) {
    uint8_t *der = NULL;
    int count = i2d_PUBKEY(key->pkey, &der);
    must(count > 0);
    peer_key_write(key, kind, der, (size_t)count);
    OPENSSL_free(der);
}

static inline void peer_key_rsa(struct peer_key *key, uint32_t bits) {
    key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)bits);
    must(key->pkey);
    peer_key_pkix(key, 0);
}

static inline void peer_key_ed25519(struct peer_key *key) {
    uint8_t data[32];
    size_t count = sizeof data;
    key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    must(key->pkey && EVP_PKEY_get_raw_public_key(key->pkey, data, &count));
    peer_key_write(key, 1, data, count);
}

static inline void peer_key_secp256k1(struct peer_key *key) {
    uint8_t data[65];
    size_t count = 0;
    key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1");
    must(key->pkey && EVP_PKEY_get_octet_string_param(key->pkey, "pub", data, sizeof data, &count));
    must(count == 65);
    data[0] = 2 + (data[64] & 1); /* compressed */
    peer_key_write(key, 2, data, 33);
}

static inline void peer_key_ecdsa(struct peer_key *key, const char *curve) {
    key->pkey = EVP_PKEY_Q_keygen(NULL, NULL, "EC", curve);
    must(key->pkey);
    peer_key_pkix(key, 3);
}

static inline size_t peer_key_sign(const struct peer_key *key, const uint8_t *message, size_t count,
                                   uint8_t signature[1024]) {
    size_t made = 1024;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    must(EVP_DigestSignInit(ctx, NULL, key->hashes ? EVP_sha256() : NULL, NULL, key->pkey) > 0);
    must(EVP_DigestSign(ctx, signature, &made, message, count) > 0);
    EVP_MD_CTX_free(ctx);
    return made;
}

static inline void peer_key_close(struct peer_key *key) {
    EVP_PKEY_free(key->pkey);
}
