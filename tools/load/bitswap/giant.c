/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/giant.h"

#include "base/bits.h"
#include "base/must.h"
#include "base/varint.h"
#include "proto/libp2p/crypto.h"

#include <stdlib.h>
#include <string.h>

#define MODULUS_BYTES 4096u
#define PROOF_MAX     (2 * MODULUS_BYTES + 256)
#define HEARD_MAX     4096u
#define KEY           CRYPTO_KEY_BYTES
#define TAG           CRYPTO_TAG_BYTES
/* Both tokens of the server: the header and the echo of "/noise". */
#define TOKENS_BYTES 28u

static const char noise_name[] = "Noise_XX_25519_ChaChaPoly_SHA256"; /* 32 bytes: the first hash */

struct giant {
    uint8_t hash[KEY], chain[KEY], cipher[KEY];
    struct evp_pkey_st *ephemeral;
    struct crypto_aead aead;
    uint8_t heard[HEARD_MAX];
    uint32_t heard_bytes;
    bool done;
};

static void mix_hash(struct giant *giant, const void *bytes, size_t count) {
    struct crypto_piece pieces[] = {{giant->hash, KEY}, {bytes, count}};
    crypto_sha256(pieces, 2, giant->hash);
}

static bool mix_key(struct giant *giant, struct evp_pkey_st *mine, const uint8_t theirs[KEY]) {
    uint8_t shared[KEY];
    if (!crypto_x25519(mine, theirs, shared)) {
        return false;
    }
    crypto_hkdf(giant->chain, shared, sizeof shared, giant->chain, giant->cipher);
    return true;
}

static bool open_part(struct giant *giant, const uint8_t *in, uint32_t count, uint8_t *out) {
    bool good =
        crypto_aead_key(&giant->aead, CRYPTO_CHACHA20_POLY1305, giant->cipher, NULL, false) &&
        crypto_aead_begin(&giant->aead) && crypto_aead_associate(&giant->aead, giant->hash, KEY) &&
        crypto_aead_turn(&giant->aead, out, in, count) &&
        crypto_aead_open_end(&giant->aead, in + count);
    mix_hash(giant, in, count + TAG);
    return good;
}

static bool seal_part(struct giant *giant, uint64_t nonce, const uint8_t *in, uint32_t count,
                      uint8_t *out) {
    bool good = crypto_aead_key(&giant->aead, CRYPTO_CHACHA20_POLY1305, giant->cipher, NULL, true);
    giant->aead.nonce = nonce;
    good = good && crypto_aead_begin(&giant->aead) &&
           crypto_aead_associate(&giant->aead, giant->hash, KEY) &&
           crypto_aead_turn(&giant->aead, out, in, count) &&
           crypto_aead_seal_end(&giant->aead, out + count);
    mix_hash(giant, out, count + TAG);
    return good;
}

/* DER: a tag and a length of two bytes. */
static size_t der_head(uint8_t *out, uint8_t tag, size_t length) {
    out[0] = tag;
    out[1] = 0x82;
    put_be16(out + 2, (uint16_t)length);
    return 4;
}

/* A field of bytes, its number below 16. */
static size_t field(uint8_t *out, uint8_t number, const uint8_t *bytes, size_t count) {
    out[0] = (uint8_t)(number << 3 | 2);
    size_t used = 1 + varint_write(count, out + 1);
    memcpy(out + used, bytes, count);
    return used + count;
}

/* {1: {1: RSA, 2: PKIX of the key}, 2: a signature of its size}. */
static size_t proof_make(uint8_t *out) {
    static const uint8_t algorithm[] = {0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                        0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};
    static const uint8_t exponent[] = {0x02, 0x03, 0x01, 0x00, 0x01};
    static uint8_t modulus[MODULUS_BYTES + 1];
    uint8_t der[MODULUS_BYTES + 128], key[sizeof der + 16];
    size_t pair = 4 + sizeof modulus + sizeof exponent;
    memset(modulus + 1, 0xb5, MODULUS_BYTES);
    size_t used = der_head(der, 0x30, sizeof algorithm + 4 + 1 + 4 + pair);
    memcpy(der + used, algorithm, sizeof algorithm);
    used += sizeof algorithm;
    used += der_head(der + used, 0x03, 1 + 4 + pair);
    der[used++] = 0;
    used += der_head(der + used, 0x30, pair);
    used += der_head(der + used, 0x02, sizeof modulus);
    memcpy(der + used, modulus, sizeof modulus);
    used += sizeof modulus;
    memcpy(der + used, exponent, sizeof exponent);
    used += sizeof exponent;
    key[0] = 0x08; /* 1: RSA, which is 0 */
    key[1] = 0;
    size_t key_bytes = 2 + field(key + 2, 2, der, used);
    size_t proof = field(out, 1, key, key_bytes);
    return proof + field(out + proof, 2, modulus + 1, MODULUS_BYTES);
}

static void giant_close(void *of) {
    struct giant *giant = of;
    crypto_key_close(giant->ephemeral);
    giant->ephemeral = NULL;
    crypto_aead_fini(&giant->aead);
}

void giant_begin(struct swarm *swarm, struct node *node) {
    uint8_t secret[KEY], message[2 + KEY] = {0, KEY};
    struct giant *giant = node->extra;
    if (giant == NULL) {
        node->extra = giant = calloc(1, sizeof *giant);
        must(giant != NULL);
        node->extra_end = giant_close;
    } else {
        giant_close(giant);
    }
    *giant = (struct giant){0};
    for (uint32_t i = 0; i < KEY; i += 8) {
        put_le64(secret + i, draw_bits(&swarm->draw));
    }
    giant->ephemeral = crypto_x25519_key(secret, message + 2);
    must(giant->ephemeral != NULL && crypto_aead_init(&giant->aead));
    memcpy(giant->hash, noise_name, KEY);
    memcpy(giant->chain, noise_name, KEY);
    mix_hash(giant, "", 0);
    mix_hash(giant, message + 2, KEY);
    mix_hash(giant, "", 0);
    node->peer.raw = true;
    bytes_add(&node->peer.early, message, sizeof message); /* behind header and proposal */
}

/* The server's message is whole: ours follows it. Returns: it could be read. */
static bool answer(struct giant *giant, const uint8_t *message, uint32_t count, struct peer *peer) {
    uint8_t theirs[KEY], static_key[KEY], secret[KEY] = {5}, proof[PROOF_MAX];
    if (count < KEY + KEY + TAG + TAG) {
        return false;
    }
    mix_hash(giant, message, KEY);
    if (!mix_key(giant, giant->ephemeral, message) ||
        !open_part(giant, message + KEY, KEY, theirs) ||
        !mix_key(giant, giant->ephemeral, theirs)) {
        return false;
    }
    mix_hash(giant, message + KEY + KEY + TAG, count - KEY - KEY - TAG); /* its proof, unread */
    struct evp_pkey_st *mine = crypto_x25519_key(secret, static_key);
    uint32_t proof_bytes = (uint32_t)proof_make(proof), bytes = KEY + TAG + proof_bytes + TAG;
    uint8_t *out = bytes_room(&peer->early, 2 + bytes);
    put_be16(out, (uint16_t)bytes);
    bool good = mine != NULL && seal_part(giant, 1, static_key, KEY, out + 2) &&
                mix_key(giant, mine, message) &&
                seal_part(giant, 0, proof, proof_bytes, out + 2 + KEY + TAG);
    crypto_key_close(mine);
    peer->early.used += good ? 2 + bytes : 0;
    return good;
}

void giant_hears(struct peer *peer, const uint8_t *bytes, size_t count) {
    struct node *node = container_of(peer, struct node, peer);
    struct giant *giant = node->extra;
    if (giant == NULL || giant->done) {
        return; /* another attack's node */
    }
    uint32_t take = (uint32_t)min_u64(count, HEARD_MAX - giant->heard_bytes);
    memcpy(giant->heard + giant->heard_bytes, bytes, take);
    giant->heard_bytes += take;
    if (giant->heard_bytes < TOKENS_BYTES + 2) {
        return;
    }
    uint32_t message = get_be16(giant->heard + TOKENS_BYTES);
    if (giant->heard_bytes >= TOKENS_BYTES + 2 + message) {
        giant->done = true;
        if (!answer(giant, giant->heard + TOKENS_BYTES + 2, message, peer)) {
            peer_fail(peer, "its handshake cannot be read");
        }
        giant_close(giant);
    }
}
