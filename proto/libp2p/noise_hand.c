/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/noise_hand.h"

#include "base/err.h"
#include "base/must.h"
#include "proto/libp2p/keys.h"
#include "proto/wire.h"

#include <errno.h>
#include <string.h>

#define KEY         CRYPTO_KEY_BYTES
#define HASH        CRYPTO_HASH_BYTES
#define TAG         CRYPTO_TAG_BYTES
#define SIGNS       "noise-libp2p-static-key:"
#define SIGNS_BYTES (sizeof SIGNS - 1)
#define MUXER       "/yamux/1.0.0"
#define MUXER_BYTES (sizeof MUXER - 1)
#define MUXERS_MAX  100u /* a longer list is taken for none, as go-libp2p does */
#define MESSAGES    3u

/* The name is exactly as long as a hash, so it is the first hash. */
static const char name[] = "Noise_XX_25519_ChaChaPoly_SHA256";
static_assert(sizeof name - 1 == CRYPTO_HASH_BYTES, "else it would be hashed");

struct noise_hand {
    const struct noise_self *self;
    bool dialer;
    uint8_t turn; /* messages read and written */
    bool keyed;
    bool muxer_agreed;
    struct peer_id peer;
    uint8_t hash[HASH];
    uint8_t chain[HASH];
    uint64_t nonce;
    struct crypto_aead aead;
    struct evp_pkey_st *ephemeral;
    uint8_t ephemeral_public[KEY];
    uint8_t their_ephemeral[KEY];
    uint8_t their_static[KEY];
    uint8_t key[KEY];
};

/* ---- our proof ---- */

int noise_self_init(struct noise_self *self, struct evp_pkey_st *identity,
                    const uint8_t *public_key, size_t public_key_bytes, const uint8_t secret[32]) {
    uint8_t message[SIGNS_BYTES + KEY], signature[CRYPTO_SIGNATURE_BYTES];
    uint8_t muxers[2 + MUXER_BYTES];
    must(public_key_bytes <= SECURE_KEY_MAX);
    self->key = crypto_x25519_key(secret, self->public);
    if (!self->key) {
        return err_raise(-EIO);
    }
    memcpy(message, SIGNS, SIGNS_BYTES);
    memcpy(message + SIGNS_BYTES, self->public, KEY);
    if (!crypto_sign(identity, message, sizeof message, signature)) {
        noise_self_fini(self);
        return err_raise(-EIO);
    }
    size_t muxers_bytes = wire_put_bytes(muxers, 2, MUXER, MUXER_BYTES);
    size_t at = wire_put_bytes(self->payload, 1, public_key, public_key_bytes);
    at += wire_put_bytes(self->payload + at, 2, signature, sizeof signature);
    at += wire_put_bytes(self->payload + at, 4, muxers, muxers_bytes);
    must(at <= sizeof self->payload);
    self->payload_bytes = (uint32_t)at;
    return 0;
}

void noise_self_fini(struct noise_self *self) {
    crypto_key_close(self->key);
    self->key = NULL;
}

/* ---- theirs ---- */

struct proof {
    const uint8_t *key, *signature;
    size_t key_bytes, signature_bytes;
    uint32_t muxers;
    bool yamux;
};

static bool read_muxers(const uint8_t *at, const uint8_t *end, struct proof *proof) {
    struct wire_field field;
    int r;
    while ((r = wire_next(&at, end, &field)) == 0) {
        if (field.number == 2 && field.type == WIRE_BYTES) {
            proof->muxers++;
            proof->yamux |=
                field.count == MUXER_BYTES && memcmp(field.bytes, MUXER, MUXER_BYTES) == 0;
        }
    }
    return r == WIRE_END;
}

static bool read_proof(const uint8_t *at, size_t count, struct proof *proof) {
    const uint8_t *end = at + count;
    struct wire_field field;
    int r;
    while ((r = wire_next(&at, end, &field)) == 0) {
        if (field.type != WIRE_BYTES) {
            continue;
        }
        if (field.number == 1) {
            proof->key = field.bytes;
            proof->key_bytes = field.count;
        } else if (field.number == 2) {
            proof->signature = field.bytes;
            proof->signature_bytes = field.count;
        } else if (field.number == 4 &&
                   !read_muxers(field.bytes, field.bytes + field.count, proof)) {
            return false;
        }
    }
    return r == WIRE_END && proof->key && proof->signature;
}

/* The peer is who its signature of the static key says, and nobody else will do. */
static int check_proof(struct noise_hand *hand, const uint8_t *payload, size_t count,
                       const struct peer_id *expected) {
    struct proof proof = {0};
    struct keys_key key;
    uint8_t message[SIGNS_BYTES + KEY];
    memcpy(message, SIGNS, SIGNS_BYTES);
    memcpy(message + SIGNS_BYTES, hand->their_static, KEY);
    if (!read_proof(payload, count, &proof) || keys_read(proof.key, proof.key_bytes, &key) != 0 ||
        keys_verify(&key, message, sizeof message, proof.signature, proof.signature_bytes) != 0 ||
        peer_id_of_key(proof.key, proof.key_bytes, &hand->peer) != 0) {
        return SECURE_BAD;
    }
    hand->muxer_agreed = proof.yamux && proof.muxers <= MUXERS_MAX;
    return expected->count == 0 || peer_id_equal(expected, &hand->peer) ? 0 : SECURE_STRANGER;
}

/* ---- the symmetric state ---- */

static void mix_hash(struct noise_hand *hand, const uint8_t *data, size_t count) {
    const struct crypto_piece pieces[] = {{hand->hash, HASH}, {data, count}};
    crypto_sha256(pieces, 2, hand->hash);
}

static bool mix_key(struct noise_hand *hand, struct evp_pkey_st *mine, const uint8_t theirs[KEY]) {
    uint8_t shared[KEY];
    if (!crypto_x25519(mine, theirs, shared)) {
        return false;
    }
    crypto_hkdf(hand->chain, shared, sizeof shared, hand->chain, hand->key);
    crypto_wipe(shared, sizeof shared);
    hand->nonce = 0;
    hand->keyed = true;
    return true;
}

/* out has TAG more bytes than `count`, once there is a key. */
static bool seal_and_hash(struct noise_hand *hand, const uint8_t *plain, size_t count,
                          uint8_t *out) {
    struct crypto_aead *aead = &hand->aead;
    if (!crypto_aead_key(aead, CRYPTO_CHACHA20_POLY1305, hand->key, NULL, true)) {
        return false;
    }
    aead->nonce = hand->nonce++;
    if (!crypto_aead_begin(aead) || !crypto_aead_associate(aead, hand->hash, HASH) ||
        !crypto_aead_turn(aead, out, plain, count) || !crypto_aead_seal_end(aead, out + count)) {
        return false;
    }
    mix_hash(hand, out, count + TAG);
    return true;
}

/* count: with the tag. */
static bool open_and_hash(struct noise_hand *hand, const uint8_t *in, size_t count, uint8_t *out) {
    struct crypto_aead *aead = &hand->aead;
    if (count < TAG || !crypto_aead_key(aead, CRYPTO_CHACHA20_POLY1305, hand->key, NULL, false)) {
        return false;
    }
    aead->nonce = hand->nonce++;
    if (!crypto_aead_begin(aead) || !crypto_aead_associate(aead, hand->hash, HASH) ||
        !crypto_aead_turn(aead, out, in, count - TAG) ||
        !crypto_aead_open_end(aead, in + count - TAG)) {
        return false;
    }
    mix_hash(hand, in, count);
    return true;
}

struct noise_hand *noise_hand_open(const struct noise_self *self, bool dialer,
                                   const uint8_t *ephemeral) {
    struct noise_hand *hand = crypto_take(sizeof *hand);
    if (!hand) {
        return NULL;
    }
    *hand = (struct noise_hand){.self = self, .dialer = dialer};
    memcpy(hand->hash, name, HASH);
    memcpy(hand->chain, name, HASH);
    mix_hash(hand, (const uint8_t *)"", 0); /* the prologue is empty */
    /* The ephemeral key is made by the first step, not by the thread that opens the channel; until
     * then its secret is kept where the message key will be. */
    if (!crypto_aead_init(&hand->aead) ||
        (ephemeral == NULL && !crypto_random(hand->key, sizeof hand->key))) {
        noise_hand_close(hand);
        return NULL;
    }
    if (ephemeral) {
        memcpy(hand->key, ephemeral, sizeof hand->key);
    }
    return hand;
}

void noise_hand_close(struct noise_hand *hand) {
    if (hand) {
        crypto_key_close(hand->ephemeral);
        crypto_aead_fini(&hand->aead);
        crypto_give(hand, sizeof *hand);
    }
}

/* ---- messages ---- */

bool noise_hand_speaks_first(const struct noise_hand *hand) {
    return hand->dialer && hand->turn == 0;
}

bool noise_hand_done(const struct noise_hand *hand) {
    return hand->turn == MESSAGES;
}

static bool make_ephemeral(struct noise_hand *hand) {
    hand->ephemeral = crypto_x25519_key(hand->key, hand->ephemeral_public);
    crypto_wipe(hand->key, sizeof hand->key);
    return hand->ephemeral;
}

static bool write_static_and_proof(struct noise_hand *hand, uint8_t *out, size_t *at) {
    const struct noise_self *self = hand->self;
    if (!seal_and_hash(hand, self->public, KEY, out + *at)) {
        return false;
    }
    *at += KEY + TAG;
    /* es by the listener, se by the dialer: either way our static key with their ephemeral one. */
    if (!mix_key(hand, self->key, hand->their_ephemeral) ||
        !seal_and_hash(hand, self->payload, self->payload_bytes, out + *at)) {
        return false;
    }
    *at += self->payload_bytes + TAG;
    return true;
}

static_assert(2 + KEY + KEY + TAG + NOISE_PAYLOAD_MAX + TAG <= SECURE_HANDSHAKE_OUT_MAX,
              "the longest message fits");

bool noise_hand_write(struct noise_hand *hand, uint8_t *out, size_t *ret_count) {
    size_t at = 0;
    bool done = true;
    must(!noise_hand_done(hand) && hand->dialer == (hand->turn % 2 == 0));
    if (hand->turn < 2) { /* e; the second message goes on with ee */
        if (!make_ephemeral(hand)) {
            return false;
        }
        memcpy(out, hand->ephemeral_public, KEY);
        at = KEY;
        mix_hash(hand, out, KEY);
    }
    if (hand->turn == 0) {
        mix_hash(hand, (const uint8_t *)"", 0); /* payload, empty and in the clear */
    } else {
        done = (hand->turn == 2 || mix_key(hand, hand->ephemeral, hand->their_ephemeral)) &&
               write_static_and_proof(hand, out, &at);
    }
    hand->turn++;
    *ret_count = at;
    return done;
}

static int read_static_and_proof(struct noise_hand *hand, const uint8_t *in, size_t count,
                                 const struct peer_id *expected) {
    if (count < KEY + TAG + TAG || !open_and_hash(hand, in, KEY + TAG, hand->their_static) ||
        !mix_key(hand, hand->ephemeral, hand->their_static)) {
        return SECURE_BAD;
    }
    in += KEY + TAG;
    count -= KEY + TAG;
    uint8_t *payload = crypto_take(count);
    int r = SECURE_BAD;
    if (payload && open_and_hash(hand, in, count, payload)) {
        r = check_proof(hand, payload, count - TAG, expected);
    }
    crypto_give(payload, count);
    return r;
}

int noise_hand_read(struct noise_hand *hand, const uint8_t *in, size_t count,
                    const struct peer_id *expected) {
    int r = 0;
    must(!noise_hand_done(hand) && hand->dialer == (hand->turn % 2 == 1));
    if (hand->turn < 2) {
        if (count < KEY) {
            return SECURE_BAD;
        }
        memcpy(hand->their_ephemeral, in, KEY);
        mix_hash(hand, in, KEY);
        in += KEY;
        count -= KEY;
    }
    if (hand->turn == 0) {
        mix_hash(hand, in, count); /* a payload in the clear says nothing to us */
    } else if (hand->turn == 1 && !mix_key(hand, hand->ephemeral, hand->their_ephemeral)) {
        r = SECURE_BAD;
    } else {
        r = read_static_and_proof(hand, in, count, expected);
    }
    if (r == SECURE_BAD) {
        crypto_forget_errors();
    }
    hand->turn++;
    return r;
}

bool noise_hand_split(struct noise_hand *hand, struct crypto_aead *seal, struct crypto_aead *open) {
    uint8_t first[KEY], second[KEY];
    must(noise_hand_done(hand));
    crypto_hkdf(hand->chain, (const uint8_t *)"", 0, first, second);
    const enum crypto_cipher cipher = CRYPTO_CHACHA20_POLY1305;
    bool done = crypto_aead_key(seal, cipher, hand->dialer ? first : second, NULL, true) &&
                crypto_aead_key(open, cipher, hand->dialer ? second : first, NULL, false);
    crypto_wipe(first, sizeof first);
    crypto_wipe(second, sizeof second);
    return done;
}

void noise_hand_peer(const struct noise_hand *hand, struct peer_id *ret_peer,
                     bool *ret_muxer_agreed) {
    *ret_peer = hand->peer;
    *ret_muxer_agreed = hand->muxer_agreed;
}
