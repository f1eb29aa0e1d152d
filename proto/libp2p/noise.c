/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/noise.h"

#include "base/err.h"
#include "base/must.h"
#include "proto/libp2p/crypto.h"
#include "proto/libp2p/noise_hand.h"

#include <errno.h>
#include <string.h>

#define HEAD_BYTES 2u
#define PART_FIRST 4096u
#define PART_NEXT  16384u

struct noise {
    struct crypto_aead seal, open; /* keyed when the handshake is over */
    struct noise_hand *hand;       /* NULL once it is over */
    /* the record being read */
    uint32_t head_count; /* bytes of its length that came alone */
    uint8_t head[HEAD_BYTES];
    bool begun;     /* its length is known and bytes of it are missing */
    uint32_t plain; /* its plaintext; the tag follows */
    uint32_t taken; /* bytes of plaintext and tag that came */
    uint8_t *part;  /* taken memory: plaintext not proved yet, or handed out just now */
    uint32_t part_bytes;
    uint8_t tag[CRYPTO_TAG_BYTES];
};

struct noise *noise_open(const struct noise_self *self, bool dialer, const uint8_t *ephemeral) {
    struct noise *noise = crypto_take(sizeof *noise);
    if (!noise) {
        return NULL;
    }
    noise->hand = noise_hand_open(self, dialer, ephemeral);
    if (!noise->hand || !crypto_aead_init(&noise->seal) || !crypto_aead_init(&noise->open)) {
        noise_close(noise, NULL);
        return NULL;
    }
    return noise;
}

static void part_give(struct noise *noise, const struct secure_memory *memory) {
    if (noise->part) {
        memory->give(memory->context, noise->part, noise->part_bytes);
        noise->part = NULL;
        noise->part_bytes = 0;
    }
}

void noise_close(struct noise *noise, const struct secure_memory *memory) {
    if (noise) {
        part_give(noise, memory);
        noise_hand_close(noise->hand);
        crypto_aead_fini(&noise->seal);
        crypto_aead_fini(&noise->open);
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
    if (!noise_hand_split(hand, &noise->seal, &noise->open)) {
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

/* ---- reading ---- */

/* Makes room for the first `bytes` of plaintext of a record in parts, keeping what is there. */
static bool part_room(struct noise *noise, const struct secure_memory *memory, uint32_t bytes) {
    if (bytes <= noise->part_bytes) {
        return true;
    }
    uint32_t room = bytes <= PART_FIRST ? PART_FIRST : bytes <= PART_NEXT ? PART_NEXT : UINT16_MAX;
    uint8_t *part = memory->take(memory->context, room);
    if (!part) {
        return false;
    }
    if (noise->begun && noise->taken > 0) {
        memcpy(part, noise->part, noise->taken < noise->plain ? noise->taken : noise->plain);
    }
    part_give(noise, memory);
    noise->part = part;
    noise->part_bytes = room;
    return true;
}

/* A record of which every byte lies at `in`. */
static bool open_whole(struct noise *noise, const uint8_t *in, uint32_t plain, uint8_t *out) {
    return crypto_aead_begin(&noise->open) && crypto_aead_turn(&noise->open, out, in, plain) &&
           crypto_aead_open_end(&noise->open, in + plain);
}

/* The next bytes of the record in parts; there is room for their plaintext. */
static bool open_more(struct noise *noise, const uint8_t *in, uint32_t count) {
    uint32_t taken = noise->taken;
    uint32_t plain = taken < noise->plain ? noise->plain - taken : 0;
    plain = plain < count ? plain : count;
    if (!crypto_aead_turn(&noise->open, noise->part + taken, in, plain)) {
        return false;
    }
    if (count > plain) {
        memcpy(noise->tag + taken + plain - noise->plain, in + plain, count - plain);
    }
    noise->taken = taken + count;
    return true;
}

static uint32_t least(size_t a, uint32_t b) {
    return a < b ? (uint32_t)a : b;
}

/* At the length of a record. Returns: 0 when a piece came out, MORE with *at moved (the record has
 * begun, or was an empty one, or its length is not whole), BAD, MEMORY. */
static int read_head(struct noise *noise, const struct secure_memory *memory, const uint8_t *in,
                     size_t count, size_t *at, size_t *ret_plain_bytes) {
    uint32_t missing = HEAD_BYTES - noise->head_count;
    if (count - *at < missing) {
        noise->head[noise->head_count] = in[*at]; /* one byte: two would be a whole length */
        noise->head_count++;
        (*at)++;
        return SECURE_MORE;
    }
    uint8_t head[HEAD_BYTES] = {noise->head[0], in[*at + missing - 1]};
    head[0] = missing == HEAD_BYTES ? in[*at] : head[0];
    uint32_t length = (uint32_t)head[0] << 8 | head[1];
    if (length < CRYPTO_TAG_BYTES) {
        return SECURE_BAD;
    }
    uint32_t plain = length - CRYPTO_TAG_BYTES;
    const uint8_t *body = in + *at + missing;
    size_t there = count - *at - missing;
    if (there < length) {
        if (!part_room(noise, memory, least(there, plain))) {
            return SECURE_MEMORY;
        }
        if (!crypto_aead_begin(&noise->open)) {
            return SECURE_BAD;
        }
        noise->begun = true;
        noise->plain = plain;
        noise->taken = 0;
    } else {
        if (!open_whole(noise, body, plain, memory->scratch)) {
            return SECURE_BAD;
        }
        *at += length;
        *ret_plain_bytes = plain;
    }
    *at += missing;
    noise->head_count = 0;
    return there >= length && plain > 0 ? 0 : SECURE_MORE;
}

/* In a record in parts: the same outcomes. */
static int read_more(struct noise *noise, const struct secure_memory *memory, const uint8_t *in,
                     size_t count, size_t *at, size_t *ret_plain_bytes) {
    uint32_t length = noise->plain + CRYPTO_TAG_BYTES;
    uint32_t some = least(count - *at, length - noise->taken);
    if (!part_room(noise, memory, least(noise->taken + some, noise->plain))) {
        return SECURE_MEMORY;
    }
    if (!open_more(noise, in + *at, some)) {
        return SECURE_BAD;
    }
    *at += some;
    if (noise->taken < length) {
        return SECURE_MORE;
    }
    noise->begun = false;
    if (!crypto_aead_open_end(&noise->open, noise->tag)) {
        return SECURE_BAD;
    }
    *ret_plain_bytes = noise->plain;
    return noise->plain > 0 ? 0 : SECURE_MORE;
}

int noise_read(struct noise *noise, const struct secure_memory *memory, const uint8_t *in,
               size_t count, size_t *ret_used, const uint8_t **ret_plain, size_t *ret_plain_bytes) {
    size_t at = 0;
    int r = SECURE_MORE;
    bool parts = false; /* the piece is of a record in parts */
    while (r == SECURE_MORE && at < count) {
        parts = noise->begun;
        r = parts ? read_more(noise, memory, in, count, &at, ret_plain_bytes)
                  : read_head(noise, memory, in, count, &at, ret_plain_bytes);
    }
    if (r == 0) {
        *ret_plain = parts ? noise->part : memory->scratch;
    } else if (r == SECURE_BAD) {
        crypto_forget_errors();
    }
    /* What the last call handed out is read by now; what this one does must stay. */
    if (!noise->begun && !(r == 0 && parts)) {
        part_give(noise, memory);
    }
    *ret_used = at;
    return r;
}

bool noise_in_record(const struct noise *noise) {
    return noise->begun || noise->head_count > 0;
}

void noise_skip_to(struct noise *noise, uint64_t seal_nonce, uint64_t open_nonce) {
    noise->seal.nonce = seal_nonce;
    noise->open.nonce = open_nonce;
}
