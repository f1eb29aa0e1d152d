/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/secure.h"

#include "base/err.h"
#include "base/must.h"
#include "proto/libp2p/crypto.h"
#include "proto/libp2p/keys.h"
#include "proto/libp2p/noise.h"
#include "proto/libp2p/tls.h"

#include <errno.h>
#include <string.h>

const char *const secure_protocols[2] = {"/noise", "/tls/1.0.0"};

struct secure_self {
    struct peer_id id;
    uint8_t key[KEYS_ED25519_BYTES];
    struct noise_self noise;
    struct tls_self *tls;
};

struct secure {
    enum secure_kind kind;
    bool done;     /* the handshake is over */
    bool stranger; /* it is, because of whom we found */
    bool muxer_agreed;
    struct peer_id peer; /* whom we expect, then whom we found */
    const struct secure_memory *memory;
    struct noise *noise; /* one of the two, by kind */
    struct tls *tls;
};

int secure_seed_make(uint8_t seed[SECURE_SEED_BYTES]) {
    int r = crypto_open();
    if (r < 0) {
        return err_pass(r);
    }
    return crypto_random(seed, SECURE_SEED_BYTES) ? 0 : err_raise(-EIO);
}

int secure_self_open(const uint8_t seed[SECURE_SEED_BYTES], struct secure_self **ret_self) {
    uint8_t public[CRYPTO_KEY_BYTES], secret[CRYPTO_KEY_BYTES];
    int r = crypto_open();
    if (r < 0) {
        return err_pass(r);
    }
    struct secure_self *self = crypto_take(sizeof *self);
    if (!self) {
        return err_raise(-ENOMEM);
    }
    r = -EIO;
    struct evp_pkey_st *identity = crypto_ed25519_key(seed, public);
    if (!identity || !crypto_random(secret, sizeof secret)) {
        goto undo_identity;
    }
    keys_write_ed25519(public, self->key);
    if (peer_id_of_key(self->key, sizeof self->key, &self->id) != 0) {
        goto undo_identity;
    }
    r = noise_self_init(&self->noise, identity, self->key, sizeof self->key, secret);
    crypto_wipe(secret, sizeof secret);
    if (r == 0) {
        r = tls_self_open(identity, self->key, sizeof self->key, &self->tls);
    }
undo_identity:
    crypto_key_close(identity);
    if (r < 0) {
        crypto_forget_errors();
        secure_self_close(self);
        return err_raise(r);
    }
    *ret_self = self;
    return 0;
}

void secure_self_close(struct secure_self *self) {
    if (self) {
        noise_self_fini(&self->noise);
        tls_self_close(self->tls);
        crypto_give(self, sizeof *self);
    }
}

const struct peer_id *secure_self_id(const struct secure_self *self) {
    return &self->id;
}

const uint8_t *secure_self_key(const struct secure_self *self, size_t *ret_bytes) {
    *ret_bytes = sizeof self->key;
    return self->key;
}

struct secure *secure_open(const struct secure_self *self, enum secure_kind kind, bool dialer,
                           const struct peer_id *expected, const struct secure_memory *memory) {
    struct secure *secure = crypto_take(sizeof *secure);
    if (!secure) {
        return NULL;
    }
    *secure = (struct secure){.kind = kind, .memory = memory};
    if (expected) {
        secure->peer = *expected;
    }
    if (kind == SECURE_NOISE) {
        secure->noise = noise_open(&self->noise, dialer, NULL);
    } else {
        secure->tls = tls_open(self->tls, dialer);
    }
    if (!secure->noise && !secure->tls) {
        secure_close(secure);
        return NULL;
    }
    return secure;
}

void secure_close(struct secure *secure) {
    if (secure) {
        noise_close(secure->noise, secure->memory);
        tls_close(secure->tls, secure->memory);
        crypto_give(secure, sizeof *secure);
    }
}

bool secure_wants_step(const struct secure *secure, const uint8_t *in, size_t count) {
    must(!secure->done);
    return secure->noise ? noise_wants_step(secure->noise, in, count)
                         : tls_wants_step(secure->tls, count);
}

int secure_step(struct secure *secure, const uint8_t *in, size_t count, size_t *ret_used,
                uint8_t out[SECURE_HANDSHAKE_OUT_MAX], size_t *ret_out) {
    must(!secure->done);
    struct peer_id found;
    int r = secure->noise ? noise_step(secure->noise, &secure->peer, in, count, ret_used, out,
                                       ret_out, &found, &secure->muxer_agreed)
                          : tls_step(secure->tls, &secure->peer, in, count, ret_used, out, ret_out,
                                     &found, &secure->muxer_agreed);
    if (r == 0 || r == SECURE_STRANGER) {
        secure->peer = found;
        secure->done = r == 0;
        secure->stranger = r != 0;
    }
    return r;
}

const struct peer_id *secure_stranger(const struct secure *secure) {
    return secure->stranger ? &secure->peer : NULL;
}

const struct peer_id *secure_peer(const struct secure *secure) {
    must(secure->done);
    return &secure->peer;
}

bool secure_muxer_agreed(const struct secure *secure) {
    must(secure->done);
    return secure->muxer_agreed;
}

enum secure_kind secure_kind_of(const struct secure *secure) {
    return secure->kind;
}

int secure_seal(struct secure *secure, uint8_t *record, uint32_t first, const uint8_t *body,
                uint32_t body_bytes, uint32_t *ret_start, uint32_t *ret_bytes) {
    must(secure->done);
    must(first <= SECURE_PLAIN_MAX && body_bytes <= SECURE_PLAIN_MAX - first);
    must(first + body_bytes > 0);
    return secure->noise
               ? noise_seal(secure->noise, record, first, body, body_bytes, ret_start, ret_bytes)
               : tls_seal(secure->tls, record, first, body, body_bytes, ret_start, ret_bytes);
}

int secure_read(struct secure *secure, const uint8_t *in, size_t count, size_t *ret_used,
                const uint8_t **ret_plain, size_t *ret_plain_bytes) {
    must(secure->done);
    return secure->noise ? noise_read(secure->noise, secure->memory, in, count, ret_used, ret_plain,
                                      ret_plain_bytes)
                         : tls_read(secure->tls, secure->memory, in, count, ret_used, ret_plain,
                                    ret_plain_bytes);
}

bool secure_in_record(const struct secure *secure) {
    return secure->noise ? noise_in_record(secure->noise) : tls_in_record(secure->tls);
}
