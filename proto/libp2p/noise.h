/* SPDX-License-Identifier: MIT */
#pragma once

/* noise — the Noise half of secure.h: Noise_XX_25519_ChaChaPoly_SHA256 as libp2p uses it.
 *
 *   dialer     -> e                    step 1: write            (0 bytes in)
 *              <- e, ee, s, es, proof  step 2: read, write
 *              -> s, se, proof
 *   listener                           step 1: read e, write;   step 2: read s -> done
 *
 * Every message is two bytes of length, big-endian, and a Noise message. A proof is a protobuf:
 * {1: public key, 2: its signature of the static key, 4: {2: muxer, ...}}. Ours is made once a
 * process with the static key; per handshake there are one new key, three X25519 and one
 * verification of a signature.
 *
 * A record is two bytes of length, ciphertext and tag; records without plaintext are passed over.
 * Thread: as secure.h. Source: Noise revision 34; libp2p specs noise/README.md. */

#include "proto/libp2p/secure.h"

struct evp_pkey_st;

#define NOISE_PAYLOAD_MAX 256u

/* What all channels of this process share. */
struct noise_self {
    struct evp_pkey_st *key; /* static X25519 key */
    uint8_t public[32];
    uint8_t payload[NOISE_PAYLOAD_MAX]; /* our proof */
    uint32_t payload_bytes;
};

/* identity: our Ed25519 key, `public_key` its serialized public half; secret: the static key.
 * Returns: 0 or -EIO. */
must_check int noise_self_init(struct noise_self *self, struct evp_pkey_st *identity,
                               const uint8_t *public_key, size_t public_key_bytes,
                               const uint8_t secret[32]);
void noise_self_fini(struct noise_self *self);

struct noise;
/* ephemeral: 32 bytes for the ephemeral key; NULL draws them, which is what anything but a test
 * does. Returns: NULL: no memory. */
must_check struct noise *noise_open(const struct noise_self *self, bool dialer,
                                    const uint8_t *ephemeral);
void noise_close(struct noise *noise, const struct secure_memory *memory);

/* These are secure.h's verbs. expected: count 0 is anybody. */
bool noise_wants_step(const struct noise *noise, const uint8_t *in, size_t count);
must_check int noise_step(struct noise *noise, const struct peer_id *expected, const uint8_t *in,
                          size_t count, size_t *ret_used, uint8_t *out, size_t *ret_out,
                          struct peer_id *ret_peer, bool *ret_muxer_agreed);
must_check int noise_seal(struct noise *noise, uint8_t *record, uint32_t first, const uint8_t *body,
                          uint32_t body_bytes, uint32_t *ret_start, uint32_t *ret_bytes);
must_check int noise_read(struct noise *noise, const struct secure_memory *memory,
                          const uint8_t *in, size_t count, size_t *ret_used,
                          const uint8_t **ret_plain, size_t *ret_plain_bytes);
bool noise_in_record(const struct noise *noise);

/* For tests: the next nonces. */
void noise_skip_to(struct noise *noise, uint64_t seal_nonce, uint64_t open_nonce);
