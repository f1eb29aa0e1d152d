/* SPDX-License-Identifier: MIT */
#pragma once

/* tls_hand — the handshake of tls.h, by libssl: bytes in, bytes out, no socket, then the secrets of
 * the two directions.
 *
 * libssl reads from the caller's bytes and writes into the caller's buffer through a BIO of our
 * own. It reads record by record and stops behind the last handshake message, so that what follows
 * is left to tls.c. When it is done its object is freed: what it would keep per connection (10 to
 * 50 KiB) is not needed for records.
 * Thread: as secure.h. Source: RFC 8446; libp2p specs tls/tls.md. */

#include "proto/libp2p/crypto.h"
#include "proto/libp2p/secure.h"

struct evp_pkey_st;

/* What all channels of this process share: libssl's context with our certificate. */
struct tls_self;
/* As noise_self_init. Returns: 0 or -EIO. */
must_check int tls_self_open(struct evp_pkey_st *identity, const uint8_t *public_key,
                             size_t public_key_bytes, struct tls_self **ret_self);
void tls_self_close(struct tls_self *self); /* NULL is allowed */

struct tls_hand;
must_check struct tls_hand *tls_hand_open(const struct tls_self *self, bool dialer);
void tls_hand_close(struct tls_hand *hand); /* NULL is allowed */
bool tls_hand_wants_step(const struct tls_hand *hand, size_t count);
/* secure_step's outcomes. */
must_check int tls_hand_step(struct tls_hand *hand, const struct peer_id *expected,
                             const uint8_t *in, size_t count, size_t *ret_used, uint8_t *out,
                             size_t *ret_out);

struct tls_result {
    enum crypto_cipher cipher;
    bool muxer_agreed;
    struct peer_id peer;
    uint8_t dialer_secret[CRYPTO_HASH_BYTES]; /* of what the dialer sends */
    uint8_t listener_secret[CRYPTO_HASH_BYTES];
};
/* After a step that returned 0. */
void tls_hand_result(const struct tls_hand *hand, struct tls_result *ret_result);
