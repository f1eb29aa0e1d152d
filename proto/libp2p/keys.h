/* SPDX-License-Identifier: MIT */
#pragma once

/* keys — public keys of peers as libp2p writes them, and signatures made with them.
 *
 * PublicKey{1: type, 2: data} in protobuf, in this order, minimally encoded and nothing else. Data
 * by type: RSA a SubjectPublicKeyInfo, Ed25519 32 bytes, secp256k1 a compressed point of 33, ECDSA
 * a SubjectPublicKeyInfo of a point on P-256 written plain. RSA: PKCS#1 v1.5 with SHA-256, 2048 to
 * 8192 bits, exponent below 2^31; sizes are checked before any arithmetic, so a peer cannot buy
 * time with a giant key. secp256k1 and ECDSA: SHA-256, signatures in DER.
 * Thread: any. Cost: Ed25519 0.14 ms, others 0.05-0.5 ms. Source: libp2p specs, peer-ids. */

#include "base/base.h"

#define KEYS_ED25519_BYTES 36u   /* a serialized Ed25519 key */
#define KEYS_MAX           2048u /* longest serialized key that is looked at */

enum keys_kind { KEYS_RSA = 0, KEYS_ED25519 = 1, KEYS_SECP256K1 = 2, KEYS_ECDSA = 3 };
enum { KEYS_BAD = 1 };

struct keys_key {
    enum keys_kind kind;
    const uint8_t *data; /* in place */
    size_t data_bytes;
};

/* Takes a serialized key apart and checks its form and sizes. Returns: 0 or KEYS_BAD. */
must_check int keys_read(const uint8_t *bytes, size_t count, struct keys_key *ret_key);
/* Is this the key's signature of the message? Returns: 0, or KEYS_BAD (also for a point that is not
 * on its curve, and for no memory: whoever cannot be proved is nobody). */
must_check int keys_verify(const struct keys_key *key, const uint8_t *message, size_t message_bytes,
                           const uint8_t *signature, size_t signature_bytes);
void keys_write_ed25519(const uint8_t key[32], uint8_t out[KEYS_ED25519_BYTES]);
