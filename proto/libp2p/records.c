/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/records.h"

#include <string.h>

#define PART_FIRST    4096u
#define PART_NEXT     16384u
#define PART_TLS      16640u /* plaintext, its type, padding: all a record of TLS may hold */
#define TLS_BYTES_MAX (16384u + 256u)

bool records_init(struct records *records, bool tls) {
    records->tls = tls;
    return crypto_aead_init(&records->open);
}

static void part_give(struct records *records, const struct secure_memory *memory) {
    if (records->part) {
        memory->give(memory->context, records->part, records->part_bytes);
        records->part = NULL;
        records->part_bytes = 0;
    }
}

void records_fini(struct records *records, const struct secure_memory *memory) {
    part_give(records, memory);
    crypto_aead_fini(&records->open);
}

/* Makes room for the first `bytes` of plaintext of a record in parts, keeping what is there. */
static bool part_room(struct records *records, const struct secure_memory *memory, uint32_t bytes) {
    if (bytes <= records->part_bytes) {
        return true;
    }
    uint32_t all = records->tls ? PART_TLS : UINT16_MAX;
    uint32_t next = records->tls ? PART_TLS : PART_NEXT;
    uint32_t room = bytes <= PART_FIRST ? PART_FIRST : bytes <= next ? next : all;
    uint8_t *part = memory->take(memory->context, room);
    if (!part) {
        return false;
    }
    if (records->begun && records->taken > 0) {
        uint32_t kept = records->taken < records->plain ? records->taken : records->plain;
        memcpy(part, records->part, kept);
    }
    part_give(records, memory);
    records->part = part;
    records->part_bytes = room;
    return true;
}

/* Bytes behind the head; 0: no head there is. */
static uint32_t length_of(const struct records *records, const uint8_t *head) {
    uint32_t length = 0;
    if (!records->tls) {
        length = (uint32_t)head[0] << 8 | head[1];
    } else if (head[0] == 23 && head[1] == 3 && head[2] == 3) {
        length = (uint32_t)head[3] << 8 | head[4];
        length = length <= TLS_BYTES_MAX ? length : 0;
    }
    return length >= CRYPTO_TAG_BYTES ? length : 0;
}

static bool open_begin(struct records *records, const uint8_t *head) {
    return crypto_aead_begin(&records->open) &&
           (!records->tls || crypto_aead_associate(&records->open, head, RECORDS_HEAD_MAX));
}

/* The next bytes of the record in parts; there is room for their plaintext. */
static bool open_more(struct records *records, const uint8_t *in, uint32_t count) {
    uint32_t taken = records->taken;
    uint32_t plain = taken < records->plain ? records->plain - taken : 0;
    plain = plain < count ? plain : count;
    if (!crypto_aead_turn(&records->open, records->part + taken, in, plain)) {
        return false;
    }
    if (count > plain) {
        memcpy(records->tag + taken + plain - records->plain, in + plain, count - plain);
    }
    records->taken = taken + count;
    return true;
}

static uint32_t least(size_t a, uint32_t b) {
    return a < b ? (uint32_t)a : b;
}

/* At a head. Returns: 0 when the record was whole and is opened in the scratch; MORE with *at moved
 * (it has begun, or its head is not whole); BAD; MEMORY. */
static int read_head(struct records *records, const struct secure_memory *memory, const uint8_t *in,
                     size_t count, size_t *at, size_t *ret_plain_bytes) {
    uint32_t head_bytes = records->tls ? 5 : 2;
    uint32_t missing = head_bytes - records->head_count;
    uint32_t some = least(count - *at, missing);
    memcpy(records->head + records->head_count, in + *at, some);
    if (some < missing) {
        records->head_count = (uint8_t)(records->head_count + some);
        *at += some;
        return SECURE_MORE;
    }
    uint32_t length = length_of(records, records->head);
    if (length == 0) {
        return SECURE_BAD;
    }
    uint32_t plain = length - CRYPTO_TAG_BYTES;
    const uint8_t *body = in + *at + missing;
    size_t there = count - *at - missing;
    bool whole = there >= length;
    if (!whole && !part_room(records, memory, least(there, plain))) {
        return SECURE_MEMORY;
    }
    if (!open_begin(records, records->head)) {
        return SECURE_BAD;
    }
    records->head_count = 0;
    *at += missing;
    if (!whole) {
        records->begun = true;
        records->plain = plain;
        records->taken = 0;
        return SECURE_MORE;
    }
    *at += length;
    *ret_plain_bytes = plain;
    return crypto_aead_turn(&records->open, memory->scratch, body, plain) &&
                   crypto_aead_open_end(&records->open, body + plain)
               ? 0
               : SECURE_BAD;
}

/* In a record in parts: the same outcomes. */
static int read_more(struct records *records, const struct secure_memory *memory, const uint8_t *in,
                     size_t count, size_t *at, size_t *ret_plain_bytes) {
    uint32_t length = records->plain + CRYPTO_TAG_BYTES;
    uint32_t some = least(count - *at, length - records->taken);
    if (!part_room(records, memory, least(records->taken + some, records->plain))) {
        return SECURE_MEMORY;
    }
    if (!open_more(records, in + *at, some)) {
        return SECURE_BAD;
    }
    *at += some;
    if (records->taken < length) {
        return SECURE_MORE;
    }
    records->begun = false;
    *ret_plain_bytes = records->plain;
    return crypto_aead_open_end(&records->open, records->tag) ? 0 : SECURE_BAD;
}

int records_read(struct records *records, const struct secure_memory *memory, const uint8_t *in,
                 size_t count, size_t *ret_used, const uint8_t **ret_plain,
                 size_t *ret_plain_bytes) {
    size_t at = 0, plain_bytes = 0;
    int r = SECURE_MORE;
    bool parts = false;
    while (r == SECURE_MORE && at < count) {
        parts = records->begun;
        r = parts ? read_more(records, memory, in, count, &at, &plain_bytes)
                  : read_head(records, memory, in, count, &at, &plain_bytes);
    }
    if (r == 0) {
        *ret_plain = parts ? records->part : memory->scratch;
        *ret_plain_bytes = plain_bytes;
    } else if (r == SECURE_BAD) {
        crypto_forget_errors();
    }
    /* What the last call handed out was read by now; what this one does must stay. */
    if (!records->begun && !(r == 0 && parts)) {
        part_give(records, memory);
    }
    *ret_used = at;
    return r;
}
