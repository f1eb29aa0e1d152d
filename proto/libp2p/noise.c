/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/noise.h"

#include "base/err.h"
#include "base/must.h"
#include "proto/libp2p/noise_hand.h"
#include "proto/libp2p/records.h"

#include <errno.h>
#include <string.h>

#define HEAD_BYTES 2u

struct noise {
    struct crypto_aead seal;
    struct records records;
    struct noise_hand *hand; /* NULL once both are keyed */
};

struct noise *noise_open(const struct noise_self *self, bool dialer, const uint8_t *ephemeral) {
    struct noise *noise = crypto_take(sizeof *noise);
    if (!noise) {
        return NULL;
    }
    noise->hand = noise_hand_open(self, dialer, ephemeral);
    if (!noise->hand || !crypto_aead_init(&noise->seal) || !records_init(&noise->records, false)) {
        noise_close(noise, NULL);
        return NULL;
    }
    return noise;
}

void noise_close(struct noise *noise, const struct secure_memory *memory) {
    if (noise) {
        records_fini(&noise->records, memory);
        noise_hand_close(noise->hand);
        crypto_aead_fini(&noise->seal);
        crypto_give(noise, sizeof *noise);
    }
}

bool noise_wants_step(const struct noise *noise, const uint8_t *in, size_t count) {
    if (noise_hand_speaks_first(noise->hand)) {
        return true;
    }
    /* A length no handshake has is worth a step too: the one that refuses it. */
    size_t length = count >= HEAD_BYTES ? (size_t)(in[0] << 8 | in[1]) : 0;
    return count >= HEAD_BYTES &&
           (count - HEAD_BYTES >= length || length > SECURE_HANDSHAKE_IN_MAX - HEAD_BYTES);
}

int noise_step(struct noise *noise, const struct peer_id *expected, const uint8_t *in, size_t count,
               size_t *ret_used, uint8_t *out, size_t *ret_out, struct peer_id *ret_peer,
               bool *ret_muxer_agreed) {
    struct noise_hand *hand = noise->hand;
    must(hand);
    *ret_used = *ret_out = 0;
    if (!noise_wants_step(noise, in, count)) {
        return SECURE_MORE;
    }
    if (!noise_hand_speaks_first(hand)) {
        size_t length = (size_t)(in[0] << 8 | in[1]);
        if (length > SECURE_HANDSHAKE_IN_MAX - HEAD_BYTES) {
            return SECURE_BAD;
        }
        int r = noise_hand_read(hand, in + HEAD_BYTES, length, expected);
        if (r == SECURE_STRANGER) {
            noise_hand_peer(hand, ret_peer, ret_muxer_agreed);
        }
        if (r != 0) {
            return r;
        }
        *ret_used = HEAD_BYTES + length;
    }
    if (!noise_hand_done(hand)) {
        size_t made = 0;
        if (!noise_hand_write(hand, out + HEAD_BYTES, &made)) {
            return SECURE_BAD;
        }
        out[0] = (uint8_t)(made >> 8);
        out[1] = (uint8_t)made;
        *ret_out = HEAD_BYTES + made;
    }
    if (!noise_hand_done(hand)) {
        return SECURE_MORE;
    }
    if (!noise_hand_split(hand, &noise->seal, &noise->records.open)) {
        return SECURE_BAD;
    }
    noise_hand_peer(hand, ret_peer, ret_muxer_agreed);
    noise_hand_close(hand);
    noise->hand = NULL;
    return 0;
}

int noise_seal(struct noise *noise, uint8_t *record, uint32_t first, const uint8_t *body,
               uint32_t body_bytes, uint32_t *ret_start, uint32_t *ret_bytes) {
    uint8_t *plain = record + SECURE_HEAD;
    uint32_t count = first + body_bytes;
    if (!crypto_aead_begin(&noise->seal) || !crypto_aead_turn(&noise->seal, plain, plain, first) ||
        !crypto_aead_turn(&noise->seal, plain + first, body, body_bytes) ||
        !crypto_aead_seal_end(&noise->seal, plain + count)) {
        crypto_forget_errors();
        return err_raise(-EIO);
    }
    plain[-2] = (uint8_t)((count + CRYPTO_TAG_BYTES) >> 8);
    plain[-1] = (uint8_t)(count + CRYPTO_TAG_BYTES);
    *ret_start = SECURE_HEAD - HEAD_BYTES;
    *ret_bytes = HEAD_BYTES + count + CRYPTO_TAG_BYTES;
    return 0;
}

int noise_read(struct noise *noise, const struct secure_memory *memory, const uint8_t *in,
               size_t count, size_t *ret_used, const uint8_t **ret_plain, size_t *ret_plain_bytes) {
    size_t at = 0, used = 0, plain_bytes = 0;
    const uint8_t *plain = NULL;
    int r;
    do { /* records without plaintext are nothing to anybody */
        r = records_read(&noise->records, memory, in + at, count - at, &used, &plain, &plain_bytes);
        at += used;
    } while (r == 0 && plain_bytes == 0 && at < count);
    *ret_used = at;
    if (r == 0 && plain_bytes == 0) {
        return SECURE_MORE;
    }
    if (r == 0) {
        *ret_plain = plain;
        *ret_plain_bytes = plain_bytes;
    }
    return r;
}

bool noise_in_record(const struct noise *noise) {
    return records_in_record(&noise->records);
}

void noise_skip_to(struct noise *noise, uint64_t seal_nonce, uint64_t open_nonce) {
    noise->seal.nonce = seal_nonce;
    noise->records.open.nonce = open_nonce;
}
