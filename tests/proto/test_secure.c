/* SPDX-License-Identifier: MIT */
/* Channels whole: both kinds, both ends, every split, every lie about who one is. */
#include "proto/libp2p/secure.h"

#include "proto/libp2p/crypto.h"
#include "proto/libp2p/noise.h"
#include "proto/wire.h"
#include "tests/proto/peer_keys.h"
#include "tests/proto/secure_rig.h"

#include <criterion/criterion.h>

static struct rig rig;
static uint8_t record[SECURE_RECORD_BYTES], body[SECURE_PLAIN_MAX], got[2 * SECURE_PLAIN_MAX];

static void agreed(void) {
    cr_assert_eq(rig.dialer.result, 0);
    cr_assert_eq(rig.listener.result, 0);
    cr_assert(peer_id_equal(secure_peer(rig.dialer.secure), secure_self_id(rig.listener_self)));
    cr_assert(peer_id_equal(secure_peer(rig.listener.secure), secure_self_id(rig.dialer_self)));
    cr_assert(secure_muxer_agreed(rig.dialer.secure));
    cr_assert(secure_muxer_agreed(rig.listener.secure));
}

/* One record of `first` + `rest` bytes, cut into pieces; what waits at the reader comes first. */
static void carries(struct rig_end *from, struct rig_end *to, uint32_t first, uint32_t rest,
                    size_t piece) {
    uint32_t start = 0, bytes = 0;
    memcpy(record + SECURE_HEAD, body, first);
    cr_assert_eq(secure_seal(from->secure, record, first, body + first, rest, &start, &bytes), 0);
    cr_assert_leq(start + bytes, SECURE_HEAD + first + rest + SECURE_TAIL);
    static uint8_t way[2 * sizeof record];
    memcpy(way, to->in, to->in_count);
    memcpy(way + to->in_count, record + start, bytes);
    size_t count = to->in_count + bytes, plain = 0;
    to->in_count = 0;
    for (size_t at = 0; at < count;) {
        size_t some = piece < count - at ? piece : count - at;
        for (bool again = true; again;) {
            const uint8_t *out = NULL;
            size_t used = 0, made = 0;
            int r = secure_read(to->secure, way + at, some, &used, &out, &made);
            cr_assert(r == 0 || (r == SECURE_MORE && used == some));
            at += used;
            some -= used;
            if (r == 0) {
                cr_assert_gt(made, 0);
                memcpy(got + plain, out, made);
                plain += made;
            }
            again = r == 0;
        }
    }
    cr_assert_eq(plain, first + rest);
    cr_assert_arr_eq(got, body, plain);
    cr_assert_not(secure_in_record(to->secure));
}

static void talk(void) {
    for (size_t i = 0; i < sizeof body; i++) {
        body[i] = (uint8_t)(i * 11 + i / 253);
    }
    carries(&rig.dialer, &rig.listener, 12, 0, SIZE_MAX);
    carries(&rig.listener, &rig.dialer, 0, 1, 1);
    carries(&rig.dialer, &rig.listener, 70, 5000, 1000);
    carries(&rig.listener, &rig.dialer, 64, SECURE_PLAIN_MAX - 64, 30000);
    carries(&rig.dialer, &rig.listener, SECURE_PLAIN_MAX, 0, SIZE_MAX);
    carries(&rig.listener, &rig.dialer, 16384, 16384, SIZE_MAX);
    carries(&rig.dialer, &rig.listener, 16383, 2, 16400);
}

static void splits(enum secure_kind kind) {
    for (size_t piece = 1; piece < 600; piece = piece * 5 / 4 + 1) {
        rig_open(&rig, kind, NULL, NULL);
        rig_shake(&rig, piece, NULL, NULL);
        agreed();
        talk();
        rig_close(&rig);
    }
}

Test(secure, noise_agrees_however_its_bytes_are_cut) {
    splits(SECURE_NOISE);
}

Test(secure, tls_agrees_however_its_bytes_are_cut) {
    splits(SECURE_TLS);
}

static void expecting(enum secure_kind kind) {
    struct peer_id dialer, listener;
    rig_open(&rig, kind, NULL, NULL);
    dialer = *secure_self_id(rig.dialer_self);
    listener = *secure_self_id(rig.listener_self);
    rig_close(&rig);
    rig_open(&rig, kind, &listener, &dialer);
    rig_shake(&rig, SIZE_MAX, NULL, NULL);
    agreed();
    rig_close(&rig);
    rig_open(&rig, kind, &dialer, NULL); /* itself, which is not who answers */
    rig_shake(&rig, SIZE_MAX, NULL, NULL);
    cr_assert_eq(rig.dialer.result, SECURE_STRANGER);
    cr_assert(peer_id_equal(secure_stranger(rig.dialer.secure), &listener));
    cr_assert_neq(rig.listener.result, 0);
    cr_assert_null(secure_stranger(rig.listener.secure));
    rig_close(&rig);
    rig_open(&rig, kind, NULL, &listener);
    rig_shake(&rig, SIZE_MAX, NULL, NULL);
    cr_assert_eq(rig.listener.result, SECURE_STRANGER);
    rig_close(&rig);
}

Test(secure, noise_takes_the_expected_peer_and_no_other) {
    expecting(SECURE_NOISE);
}

Test(secure, tls_takes_the_expected_peer_and_no_other) {
    expecting(SECURE_TLS);
}

struct spoil {
    bool to_listener;
    size_t at; /* of the stream in that direction */
    size_t seen;
    bool done;
};

static void spoil(void *context, bool to_listener, uint8_t *bytes, size_t count) {
    struct spoil *spoil = context;
    if (to_listener == spoil->to_listener) {
        if (spoil->at >= spoil->seen && spoil->at - spoil->seen < count) {
            bytes[spoil->at - spoil->seen] ^= 0x04;
            spoil->done = true;
        }
        spoil->seen += count;
    }
}

/* Wherever a byte changes on its way, the ends never both believe they agree, but for bytes that
 * say nothing: versions in TLS's heads, which are not part of what was said. */
static void spoiled(enum secure_kind kind, size_t stride) {
    uint32_t meaningless = 0;
    for (uint32_t way = 0; way < 2; way++) {
        for (size_t at = 0;; at += stride) {
            struct spoil change = {.to_listener = way == 0, .at = at};
            rig_open(&rig, kind, NULL, NULL);
            rig_shake(&rig, SIZE_MAX, spoil, &change);
            bool both = rig.dialer.result == 0 && rig.listener.result == 0;
            if (both && kind == SECURE_TLS) {
                meaningless += change.done;
                talk();
            }
            rig_close(&rig);
            if (!change.done) {
                cr_assert_gt(at, 32);
                break;
            }
            cr_assert(!both || kind == SECURE_TLS, "way %u byte %zu", way, at);
        }
    }
    cr_assert_lt(meaningless, 12);
}

Test(secure, tls_does_not_agree_when_a_byte_was_changed) {
    spoiled(SECURE_TLS, 5);
}

Test(secure, noise_does_not_agree_when_a_byte_was_changed) {
    spoiled(SECURE_NOISE, 1);
}

Test(secure, a_handshake_message_longer_than_any_is_refused) {
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX];
    size_t used = 0, made = 0;
    const uint8_t head[2] = {0x40, 0x00};
    rig_open(&rig, SECURE_NOISE, NULL, NULL);
    cr_assert(secure_wants_step(rig.listener.secure, head, 2));
    cr_assert_eq(secure_step(rig.listener.secure, head, 2, &used, out, &made), SECURE_BAD);
    cr_assert_eq(made, 0);
    rig_close(&rig);
}

Test(secure, a_step_without_a_message_takes_nothing) {
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX], in[33] = {0, 32};
    size_t used = 9, made = 9;
    rig_open(&rig, SECURE_NOISE, NULL, NULL);
    cr_assert_not(secure_wants_step(rig.listener.secure, in, sizeof in));
    cr_assert_eq(secure_step(rig.listener.secure, in, sizeof in, &used, out, &made), SECURE_MORE);
    cr_assert(used == 0 && made == 0);
    rig_close(&rig);
}

Test(secure, bytes_behind_the_last_message_are_left_for_reading) {
    rig_open(&rig, SECURE_NOISE, NULL, NULL);
    /* The dialer ends with its second step, whose answer and a record come to the listener at once.
     */
    rig_step(&rig.dialer, &rig.listener, SIZE_MAX, NULL, NULL, true);
    rig_step(&rig.listener, &rig.dialer, SIZE_MAX, NULL, NULL, false);
    rig_step(&rig.dialer, &rig.listener, SIZE_MAX, NULL, NULL, true);
    cr_assert_eq(rig.dialer.result, 0);
    uint32_t start = 0, bytes = 0;
    memcpy(record + SECURE_HEAD, "early", 5);
    cr_assert_eq(secure_seal(rig.dialer.secure, record, 5, body, 0, &start, &bytes), 0);
    memcpy(rig.listener.in + rig.listener.in_count, record + start, bytes);
    rig.listener.in_count += bytes;
    rig_step(&rig.listener, &rig.dialer, SIZE_MAX, NULL, NULL, false);
    cr_assert_eq(rig.listener.result, 0);
    cr_assert_eq(rig.listener.in_count, bytes);
    const uint8_t *plain = NULL;
    size_t used = 0, count = 0;
    cr_assert_eq(secure_read(rig.listener.secure, rig.listener.in, bytes, &used, &plain, &count),
                 0);
    cr_assert_eq(used, bytes);
    cr_assert_arr_eq(plain, "early", 5);
    rig_close(&rig);
}

/* A dialer whose proof is what the test says, against a listener as it is. */
static int listener_meets(const uint8_t *payload, size_t count, const struct noise_self *with,
                          struct peer_id *ret_peer, bool *ret_muxer) {
    struct noise_self self = *with;
    uint8_t a[SECURE_HANDSHAKE_OUT_MAX], b[SECURE_HANDSHAKE_OUT_MAX];
    size_t a_count = 0, b_count = 0, used = 0;
    struct peer_id peer;
    bool muxer;
    cr_assert_leq(count, sizeof self.payload);
    memcpy(self.payload, payload, count);
    self.payload_bytes = (uint32_t)count;
    rig_open(&rig, SECURE_NOISE, NULL, NULL);
    struct noise *dialer = noise_open(&self, true, NULL);
    const struct peer_id anybody = {0};
    cr_assert_eq(noise_step(dialer, &anybody, a, 0, &used, a, &a_count, &peer, &muxer),
                 SECURE_MORE);
    struct secure *listener = rig.listener.secure;
    cr_assert_eq(secure_step(listener, a, a_count, &used, b, &b_count), SECURE_MORE);
    cr_assert_eq(noise_step(dialer, &anybody, b, b_count, &used, a, &a_count, &peer, &muxer), 0);
    int r = secure_step(listener, a, a_count, &used, b, &b_count);
    if (r == 0) {
        *ret_peer = *secure_peer(listener);
        *ret_muxer = secure_muxer_agreed(listener);
    }
    noise_close(dialer, NULL);
    rig_close(&rig);
    return r;
}

static void noise_self_make(struct noise_self *self) {
    uint8_t secret[32] = {3}, public[32];
    cr_assert_eq(crypto_open(), 0);
    struct evp_pkey_st *identity = crypto_ed25519_key(secret, public);
    cr_assert_eq(noise_self_init(self, identity, public, 32, secret), 0);
    crypto_key_close(identity);
}

static size_t proof_of(const struct peer_key *key, const struct noise_self *self, const char *muxer,
                       uint8_t out[NOISE_PAYLOAD_MAX]) {
    uint8_t message[24 + 32] = "noise-libp2p-static-key:", signature[1024], list[64];
    memcpy(message + 24, self->public, 32);
    size_t count = peer_key_sign(key, message, sizeof message, signature);
    size_t at = wire_put_bytes(out, 1, key->bytes, key->count);
    at += wire_put_bytes(out + at, 2, signature, count);
    at += wire_put_bytes(out + at, 3, "unknown", 7);
    if (muxer) {
        size_t bytes = wire_put_bytes(list, 2, "/yamux/9.9.9", 12);
        bytes += wire_put_bytes(list + bytes, 2, muxer, strlen(muxer));
        at += wire_put_bytes(out + at, 4, list, bytes);
    }
    must(at <= NOISE_PAYLOAD_MAX);
    return at;
}

static void noise_meets(struct peer_key *key) {
    struct noise_self self;
    struct peer_id peer, want;
    bool muxer = false;
    uint8_t payload[NOISE_PAYLOAD_MAX];
    noise_self_make(&self);
    cr_assert_eq(peer_id_of_key(key->bytes, key->count, &want), 0);
    size_t count = proof_of(key, &self, "/yamux/1.0.0", payload);
    cr_assert_eq(listener_meets(payload, count, &self, &peer, &muxer), 0);
    cr_assert(peer_id_equal(&peer, &want));
    cr_assert(muxer);
    count = proof_of(key, &self, NULL, payload);
    cr_assert_eq(listener_meets(payload, count, &self, &peer, &muxer), 0);
    cr_assert_not(muxer, "it offered none");
    count = proof_of(key, &self, "/yamux/2.0.0", payload);
    cr_assert_eq(listener_meets(payload, count, &self, &peer, &muxer), 0);
    cr_assert_not(muxer, "it has another");
    payload[count / 2] ^= 1;
    for (size_t i = 0; i < key->count + 2; i++) { /* every byte of the key */
        count = proof_of(key, &self, NULL, payload);
        payload[i] ^= 1;
        cr_assert_eq(listener_meets(payload, count, &self, &peer, &muxer), SECURE_BAD);
    }
    noise_self_fini(&self);
    peer_key_close(key);
}

Test(secure, noise_meets_a_peer_with_an_ed25519_key) {
    struct peer_key key;
    peer_key_ed25519(&key);
    noise_meets(&key);
}
Test(secure, noise_meets_a_peer_with_a_secp256k1_key) {
    struct peer_key key;
    peer_key_secp256k1(&key);
    noise_meets(&key);
}
Test(secure, noise_meets_a_peer_with_an_ecdsa_key) {
    struct peer_key key;
    peer_key_ecdsa(&key, "P-256");
    noise_meets(&key);
}

Test(secure, a_signature_of_another_static_key_is_no_proof) {
    struct noise_self self;
    struct peer_key key;
    struct peer_id peer;
    bool muxer;
    uint8_t payload[NOISE_PAYLOAD_MAX];
    noise_self_make(&self);
    peer_key_ed25519(&key);
    struct noise_self another = self;
    another.public[5] ^= 1;
    size_t count = proof_of(&key, &another, NULL, payload);
    cr_assert_eq(listener_meets(payload, count, &self, &peer, &muxer), SECURE_BAD);
    cr_assert_eq(listener_meets(payload, 0, &self, &peer, &muxer), SECURE_BAD);
    cr_assert_eq(listener_meets(payload, key.count + 2, &self, &peer, &muxer), SECURE_BAD,
                 "no signature");
    noise_self_fini(&self);
    peer_key_close(&key);
}

Test(secure, a_seed_is_an_identity) {
    uint8_t seed[32], again[32];
    struct secure_self *a, *b;
    size_t bytes = 0;
    struct peer_id id;
    cr_assert_eq(secure_seed_make(seed), 0);
    cr_assert_eq(secure_seed_make(again), 0);
    cr_assert_neq(memcmp(seed, again, 32), 0);
    cr_assert_eq(secure_self_open(seed, &a), 0);
    cr_assert_eq(secure_self_open(seed, &b), 0);
    cr_assert(peer_id_equal(secure_self_id(a), secure_self_id(b)));
    const uint8_t *key = secure_self_key(a, &bytes);
    cr_assert_eq(bytes, 36);
    cr_assert_eq(peer_id_of_key(key, bytes, &id), 0);
    cr_assert(peer_id_equal(&id, secure_self_id(a)));
    secure_self_close(a);
    secure_self_close(b);
}
