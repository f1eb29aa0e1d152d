/* SPDX-License-Identifier: MIT */
#pragma once

/* secure — the encrypted channel of one connection: Noise XX or libp2p's TLS 1.3, behind one set of
 * verbs. Bytes in, bytes out; no socket, no clock.
 *
 *   secure_open -> secure_step ... (handshake: heavy, 0.1-0.6 ms a step) -> done
 *               -> secure_seal / secure_read (light)      -> secure_close
 *
 * A handshake's step may run on another thread than the channel's owner, as long as only one
 * thread touches the channel at a time (the hand-over is a ring). Bytes that came behind the last
 * handshake message are not consumed by it: they are secure_read's.
 *
 * Noise: Noise_XX_25519_ChaChaPoly_SHA256, empty prologue, the muxer "/yamux/1.0.0" offered early.
 * TLS: 1.3 only, both sides certified by a self-signed certificate with libp2p's extension
 * (1.3.6.1.4.1.53594.1.1), ALPN "/yamux/1.0.0" then "libp2p"; AES-GCM first.
 * Peer keys: Ed25519, RSA (2048..8192 bits), secp256k1, ECDSA P-256. Ours is Ed25519.
 *
 * Bounds: handshake messages at most SECURE_HANDSHAKE_IN_MAX; a record 65,535 bytes; memory for a
 * record that has come in part is taken as it comes (4 KiB first) and given back with the record.
 * Memory: libcrypto's allocator (hooked by the engine at boot), and secure_memory.
 * Source: libp2p specs noise/README.md, tls/tls.md, connections/inlined-muxer-negotiation.md;
 * the Noise protocol framework, revision 34; RFC 7748, 8439, 8032, 8446. */

#include "base/base.h"
#include "proto/libp2p/peer_id.h"

#define SECURE_SEED_BYTES        32u
#define SECURE_KEY_MAX           64u    /* our serialized public key */
#define SECURE_HANDSHAKE_IN_MAX  16384u /* unconsumed bytes a handshake may need to go on */
#define SECURE_HANDSHAKE_OUT_MAX 4096u  /* bytes of one step's answer */
#define SECURE_PLAIN_MAX         65519u /* plaintext of one secure_seal, of one secure_read */
#define SECURE_HEAD              96u    /* room kept before the plaintext of a record being built */
#define SECURE_TAIL              112u   /* room kept behind it */
#define SECURE_SCRATCH_BYTES     (SECURE_PLAIN_MAX + 17u)
#define SECURE_RECORD_BYTES      (SECURE_HEAD + SECURE_PLAIN_MAX + 1u + SECURE_TAIL)

enum secure_kind { SECURE_NOISE, SECURE_TLS };
extern const char *const secure_protocols[2]; /* "/noise", "/tls/1.0.0", by kind */

/* Outcomes. */
enum secure_outcome {
    SECURE_MORE = 1, /* bytes are missing (their absence is the only thing in the way) */
    SECURE_BAD,      /* the peer broke the protocol, or a check of its identity failed */
    SECURE_STRANGER, /* it proved to be another peer than the one expected */
    SECURE_MEMORY,   /* no memory for a record in parts: nothing was taken, try again later */
    SECURE_END       /* the peer said goodbye (TLS close_notify) */
};

/* ---- our identity: made once at boot, then read by any thread ---- */

struct secure_self;
/* seed: the Ed25519 private key. Makes the Noise static key and its signature, and the TLS context
 * with its certificate. Returns: 0, -ENOMEM, -EIO (libcrypto). Thread: boot. */
must_check int secure_self_open(const uint8_t seed[SECURE_SEED_BYTES],
                                struct secure_self **ret_self);
void secure_self_close(struct secure_self *self);
const struct peer_id *secure_self_id(const struct secure_self *self);
/* Our serialized PublicKey. Lives: as long as self. */
const uint8_t *secure_self_key(const struct secure_self *self, size_t *ret_bytes);
/* Fresh random seed. Returns: 0 or -errno. */
must_check int secure_seed_make(uint8_t seed[SECURE_SEED_BYTES]);

/* ---- a channel ---- */

/* Where records in parts are kept, and where whole ones are opened. One per thread. */
struct secure_memory {
    void *(*take)(void *context, size_t bytes); /* NULL: none to be had */
    void (*give)(void *context, void *memory, size_t bytes);
    void *context;
    uint8_t *scratch; /* SECURE_SCRATCH_BYTES; overwritten by the next secure_read of any
                         channel that shares it */
};

struct secure;
/* expected: whom we dial; NULL takes anybody. Returns: NULL: no memory. Thread: owner. */
must_check struct secure *secure_open(const struct secure_self *self, enum secure_kind kind,
                                      bool dialer, const struct peer_id *expected,
                                      const struct secure_memory *memory);
void secure_close(struct secure *secure); /* NULL is allowed; at any time but inside a step */

/* Would a step with these bytes do something? Noise: a whole message is there, or it is our turn to
 * speak first; TLS: any byte, or our turn. Lets the owner send only worthwhile steps elsewhere. */
bool secure_wants_step(const struct secure *secure, const uint8_t *in, size_t count);
/* One step of the handshake. Takes *ret_used bytes of `in`, leaves *ret_out bytes in `out` to be
 * sent (also when it fails: an alert). Returns: 0 when the handshake is over and both sides may
 * speak; MORE, BAD, STRANGER. Cost: X25519 and Ed25519 operations. */
must_check int secure_step(struct secure *secure, const uint8_t *in, size_t count, size_t *ret_used,
                           uint8_t out[SECURE_HANDSHAKE_OUT_MAX], size_t *ret_out);
/* Who answered in place of the one expected; NULL: that did not happen. */
const struct peer_id *secure_stranger(const struct secure *secure);
/* After the handshake. */
const struct peer_id *secure_peer(const struct secure *secure);
bool secure_muxer_agreed(const struct secure *secure); /* yamux, by Noise extension or ALPN */
enum secure_kind secure_kind_of(const struct secure *secure);

/* Seals plaintext into one record (TLS: up to four). The first `first` bytes already lie at
 * record + SECURE_HEAD; `body` follows them, from elsewhere (may be empty), and is read once. What
 * is to be sent begins at record + *ret_start. first + body_bytes: 1 .. SECURE_PLAIN_MAX; `record`
 * has SECURE_HEAD + first + body_bytes + SECURE_TAIL bytes. Returns: 0, or -EIO (libcrypto failed,
 * or the nonces are used up): the connection must end. */
must_check int secure_seal(struct secure *secure, uint8_t *record, uint32_t first,
                           const uint8_t *body, uint32_t body_bytes, uint32_t *ret_start,
                           uint32_t *ret_bytes);

/* Opens what came. Takes up to *ret_used bytes and hands out at most one piece of plaintext, which
 * lives until the next call for this channel or any that shares its scratch. Call again while bytes
 * are left or a piece came out (TLS may hold another). Returns: 0 with a piece; MORE: all bytes
 * taken and nothing whole; BAD, MEMORY (bytes counted in *ret_used are taken all the same), END. */
must_check int secure_read(struct secure *secure, const uint8_t *in, size_t count, size_t *ret_used,
                           const uint8_t **ret_plain, size_t *ret_plain_bytes);
/* A record has come in part: the peer owes its rest. */
bool secure_in_record(const struct secure *secure);
