/* SPDX-License-Identifier: MIT */
#pragma once

/* tlv — Millrace's compact binary protocol: requests in, replies out, as bytes.
 *
 *   frame = type u8 · length u8 · payload[length] · body[n]      integers big-endian
 *
 * A frame whose type has a body says its length n (u32) in the payload; the body follows the
 * payload. Every request but HELLO begins with the same 8 bytes: id u32 · class u8 (0 critical .. 3
 * low, 255 the connection's) · flags u8 · deadline_ms u16 and every reply with the id it answers;
 * replies may come in any order.
 *
 *   request    type  after the common 8 bytes                    reply
 *   HELLO      0x10  (own layout, below)                         WELCOME
 *   PING       0x12  -                                           PONG
 *   GET        0x20  multihash                                   VALUE, NOT_FOUND
 *   GET_RANGE  0x21  offset u32, length u32 (0: to the end), mh  VALUE, NOT_FOUND
 *   HAVE       0x22  count u16, body u32 (count multihashes)     HAVES (one byte each: 1, 0, 2)
 *   PUT        0x23  codec u32, body u32, multihash              DONE
 *   DELETE     0x24  multihash                                   DONE, NOT_FOUND
 *   STAT       0x25  -                                           STATS (body: JSON)
 *   LIST       0x26  cursor u64, max u16                         ITEMS
 *   VERIFY     0x27  multihash                                   DONE, NOT_FOUND, FAULT corrupt
 *   GET_MANY   0x28  count u16, most u32, body u32               VALUES
 *                    (count multihashes; most: bytes of blocks the answer may hold, 0: 1 MiB)
 *   PUT_MANY   0x29  count u16, body u32                         RESULTS (flag 1: all or nothing)
 *                    (each item: codec u32, bytes u32, multihash, block)
 *   PIN        0x2c  codec u32, mode u8 (1 recursive, 2 direct), mh  DONE, NOT_FOUND, FAULT
 *   UNPIN      0x2d  multihash                                   DONE, NOT_FOUND
 *   any                                                          BUSY, RETRY, FAULT
 *   GET, GET_RANGE and GET_MANY have flag 2: part of a scan, what is read for it is kept by nobody
 *
 *   HELLO's payload: id u32, version u16, class u8, flags u8, features u32, body u32
 *   HELLO's body (may be empty): name length u16, name, token (the rest)
 *
 *   reply      type  payload
 *   WELCOME    0x11  id, version u16, class u8, 0 u8, features u32, credits u32, block_max u32
 *   PONG       0x13  id
 *   VALUE      0x40  id, codec u32, total u32, offset u32, body u32
 *   DONE       0x41  id
 *   HAVES      0x42  id, count u16, body u32
 *   STATS      0x43  id, body u32
 *   ITEMS      0x44  id, next cursor u64, count u16, body u32
 *                    (each item: codec u32, bytes u32, multihash)
 *   VALUES     0x45  id, count u16, body u32
 *                    (each item: result u16, codec u32, bytes u32, block)
 *   RESULTS    0x46  id, count u16, body u32 (one result u16 each)
 *   NOT_FOUND  0x4d  id
 *   BUSY       0x4e  id, retry_ms u32, credits u32
 *   RETRY      0x4f  id, retry_ms u32
 *   FAULT      0x50  id, code u16, text (the rest)               the general error
 *
 * Types 1, 2, 3 belong to the legacy bids and are unknown to this parser (docs/protocol.md).
 * This folder is pure: no I/O, no clock, no memory but what it is handed. Thread: any, each reader
 * by one. */

#include "base/base.h"
#include "base/bits.h"
#include "base/key.h"

#define TLV_VERSION        1u
#define TLV_REQUEST_MAX    128u  /* type + length + payload of any request */
#define TLV_HAVE_KEYS_MAX  1024u /* keys in one HAVE */
#define TLV_HAVE_BODY_MAX  (TLV_HAVE_KEYS_MAX * KEY_MULTIHASH_MAX)
#define TLV_HELLO_BODY_MAX 4096u
#define TLV_BLOCK_MAX      4193664u /* hard limit of a PUT's and a VALUE's body; stores set less */
#define TLV_STATS_BODY_MAX (1u << 20)
#define TLV_ITEM_MAX       (8u + KEY_MULTIHASH_MAX) /* one item of ITEMS */
#define TLV_LIST_MAX       1024u
#define TLV_CLASS_DEFAULT  255u

/* Feature bits of WELCOME. */
#define TLV_FEATURE_MANY 1u /* GET_MANY, PUT_MANY */
#define TLV_FEATURE_SCAN 2u /* TLV_FLAG_SCAN */

#define TLV_MANY_MAX          1024u      /* items of a GET_MANY or a PUT_MANY */
#define TLV_MANY_MOST         (1u << 20) /* bytes of blocks in a VALUES that asked for no bound */
#define TLV_PUT_ITEM_MAX      (8u + KEY_MULTIHASH_MAX) /* what stands before a block */
#define TLV_VALUE_ITEM_HEAD   10u
#define TLV_PUT_MANY_BODY_MAX (TLV_BLOCK_MAX + TLV_MANY_MAX * TLV_PUT_ITEM_MAX)
#define TLV_VALUES_BODY_MAX   (TLV_BLOCK_MAX + TLV_MANY_MAX * TLV_VALUE_ITEM_HEAD)
#define TLV_FLAG_ALL          1u /* PUT_MANY: all or nothing */
#define TLV_FLAG_SCAN         2u /* GET, GET_RANGE, GET_MANY: pushes nothing out of memory */

enum tlv_type {
    TLV_HELLO = 0x10,
    TLV_WELCOME = 0x11,
    TLV_PING = 0x12,
    TLV_PONG = 0x13,
    TLV_GET = 0x20,
    TLV_GET_RANGE = 0x21,
    TLV_HAVE = 0x22,
    TLV_PUT = 0x23,
    TLV_DELETE = 0x24,
    TLV_STAT = 0x25,
    TLV_LIST = 0x26,
    TLV_VERIFY = 0x27,
    TLV_PIN = 0x2c,
    TLV_UNPIN = 0x2d,
    TLV_GET_MANY = 0x28,
    TLV_PUT_MANY = 0x29,
    TLV_VALUE = 0x40,
    TLV_DONE = 0x41,
    TLV_HAVES = 0x42,
    TLV_STATS = 0x43,
    TLV_ITEMS = 0x44,
    TLV_VALUES = 0x45,
    TLV_RESULTS = 0x46,
    TLV_NOT_FOUND = 0x4d,
    TLV_BUSY = 0x4e,
    TLV_RETRY = 0x4f,
    TLV_FAULT = 0x50,
};

/* Codes of FAULT. Those below 100 end the connection: the stream cannot be trusted any more. */
enum tlv_code {
    TLV_CODE_UNKNOWN_TYPE = 1,
    TLV_CODE_BAD_LENGTH = 2,
    TLV_CODE_BAD_FIELD = 3,
    TLV_CODE_BODY_TOO_LARGE = 4,
    TLV_CODE_HELLO_LATE = 5,
    TLV_CODE_VERSION = 6,
    TLV_CODE_UNAUTHORIZED = 7,
    TLV_CODE_TOO_MANY_CONNECTIONS = 8,
    TLV_CODE_BAD_KEY = 100,
    TLV_CODE_UNKNOWN_HASH = 101,
    TLV_CODE_MISMATCH = 102,
    TLV_CODE_TOO_LARGE = 103,
    TLV_CODE_CORRUPT = 104,
    TLV_CODE_FULL = 105,
    TLV_CODE_IO = 106,
    TLV_CODE_EXPIRED = 107,
    TLV_CODE_READONLY = 108,
    TLV_CODE_RANGE = 109,
    TLV_CODE_POLICY = 110,
};
const char *tlv_code_text(enum tlv_code code);

/* What became of one item of many: one of these, or the code (100 and above) that a request of its
 * own would have got in a FAULT. */
enum tlv_result {
    TLV_RESULT_DONE = 0,
    TLV_RESULT_NOT_FOUND = 1,
    TLV_RESULT_AGAIN =
        2, /* nothing was done: it found no room in the answer, or no time; ask again */
    TLV_RESULT_ABORTED = 3, /* all or nothing: another item failed */
};

struct tlv_request {
    uint8_t type;
    uint8_t class; /* 0..3 or TLV_CLASS_DEFAULT */
    uint8_t flags;
    bool key_refused; /* well-formed frame, a key we never store: answer key_code, stay connected */
    uint16_t deadline_ms;
    uint16_t count; /* HAVE, GET_MANY, PUT_MANY: items; LIST: most items */
    uint32_t id;
    uint32_t codec;          /* PUT, PIN */
    uint32_t offset, length; /* GET_RANGE; GET_MANY: length is the most it wants */
    uint32_t body_bytes;     /* follows the payload */
    uint64_t cursor;         /* LIST */
    uint64_t refused_hash;   /* UNKNOWN_HASH: its multihash code */
    uint32_t features;       /* HELLO */
    uint16_t version;        /* HELLO */
    uint16_t key_code;       /* key_refused: TLV_CODE_UNKNOWN_HASH or TLV_CODE_BAD_KEY */
    uint8_t mode;            /* PIN: 1 recursive, 2 direct */
};

/* tlv_request_read decodes one request frame from contiguous bytes (payload only, not the body).
 * Type and length are judged as soon as they are there. PUT's body is held to TLV_BLOCK_MAX only:
 * the store's own limit is the server's to check.
 * Returns: 0 with *ret_used bytes taken and the key, where the type has one, in *ret_key;
 * TLV_SHORT: more bytes needed; TLV_BAD: *ret_code says why, the connection ends. Cost: about 10
 * ns. */
enum { TLV_SHORT = 1, TLV_BAD = 2 };
must_check int tlv_request_read(const uint8_t *bytes, size_t count, struct tlv_request *ret_request,
                                struct key *ret_key, size_t *ret_used, enum tlv_code *ret_code);
/* For clients and tests. `key` may be NULL for types without one. Returns: bytes written. */
size_t tlv_request_write(const struct tlv_request *request, const struct key *key,
                         uint8_t out[TLV_REQUEST_MAX]);

/* A HELLO's body: who asks. Pointers are into `bytes`; the name is at most TLV_NAME_MAX bytes, the
 * token is the rest. Returns: 0, or TLV_BAD for a name longer than the body or the limit. */
#define TLV_NAME_MAX 255u
struct tlv_credentials {
    const uint8_t *name;
    const uint8_t *token;
    uint32_t name_bytes;
    uint32_t token_bytes;
};
must_check int tlv_credentials_read(const uint8_t *bytes, size_t count,
                                    struct tlv_credentials *ret_credentials);
/* Returns: bytes written, 0 where they do not fit (name or whole body above its limit). */
size_t tlv_credentials_write(const struct tlv_credentials *credentials,
                             uint8_t out[TLV_HELLO_BODY_MAX]);

/* tlv_reader gives the same events however the bytes are split: it keeps a partial frame. */
enum tlv_event { TLV_EVENT_MORE, TLV_EVENT_REQUEST, TLV_EVENT_BODY, TLV_EVENT_BAD };
struct tlv_reader {
    uint32_t body_left; /* of the last request; its bytes come as BODY events */
    uint8_t stashed;
    uint8_t stash[TLV_REQUEST_MAX];
};
struct tlv_step {
    struct tlv_request request; /* REQUEST; BAD: only its id, 0 where it cannot be known */
    const uint8_t *body;        /* BODY: a run of body bytes, inside the caller's bytes */
    uint32_t body_bytes;
    enum tlv_code code; /* BAD */
    size_t used;        /* bytes taken from the caller's */
};
void tlv_reader_init(struct tlv_reader *reader);
/* MORE: all `count` bytes were taken and no event is complete. After BAD the reader is done for. */
enum tlv_event tlv_reader_step(struct tlv_reader *reader, const uint8_t *bytes, size_t count,
                               struct tlv_step *ret_step, struct key *ret_key);

/* ---- replies ------------------------------------------------------------------------------------
 */

#define TLV_VALUE_HEAD 22u
#define TLV_REPLY_MAX  257u

static inline size_t tlv_value_head(uint8_t *out, uint32_t id, uint32_t codec, uint32_t total,
                                    uint32_t offset, uint32_t body_bytes) {
    out[0] = TLV_VALUE;
    out[1] = TLV_VALUE_HEAD - 2;
    put_be32(out + 2, id);
    put_be32(out + 6, codec);
    put_be32(out + 10, total);
    put_be32(out + 14, offset);
    put_be32(out + 18, body_bytes);
    return TLV_VALUE_HEAD;
}
/* DONE, NOT_FOUND, PONG: an id and nothing else. */
static inline size_t tlv_plain(uint8_t *out, enum tlv_type type, uint32_t id) {
    out[0] = (uint8_t)type;
    out[1] = 4;
    put_be32(out + 2, id);
    return 6;
}
/* Each writes one frame's type, length and payload into out (TLV_REPLY_MAX) and returns the bytes.
 */
size_t tlv_welcome(uint8_t *out, uint32_t id, uint8_t class, uint32_t features, uint32_t credits,
                   uint32_t block_max);
size_t tlv_haves_head(uint8_t *out, uint32_t id, uint16_t count);
size_t tlv_stats_head(uint8_t *out, uint32_t id, uint32_t body_bytes);
size_t tlv_items_head(uint8_t *out, uint32_t id, uint64_t cursor, uint16_t count,
                      uint32_t body_bytes);
/* VALUES, RESULTS. */
size_t tlv_many_head(uint8_t *out, enum tlv_type type, uint32_t id, uint16_t count,
                     uint32_t body_bytes);
size_t tlv_busy(uint8_t *out, uint32_t id, uint32_t retry_ms, uint32_t credits);
size_t tlv_retry(uint8_t *out, uint32_t id, uint32_t retry_ms);
size_t tlv_fault(uint8_t *out, uint32_t id, enum tlv_code code,
                 const char *text); /* NULL: the code's */

/* A reply as a client sees it. */
struct tlv_reply {
    uint8_t type;
    uint8_t class;    /* WELCOME */
    uint16_t count;   /* HAVES, ITEMS, VALUES, RESULTS */
    uint16_t code;    /* FAULT */
    uint16_t version; /* WELCOME */
    uint32_t id;
    uint32_t codec, total, offset; /* VALUE */
    uint32_t body_bytes;
    uint32_t retry_ms, credits;   /* BUSY, RETRY, WELCOME */
    uint32_t features, block_max; /* WELCOME */
    uint64_t cursor;              /* ITEMS */
    char text[TLV_REPLY_MAX];     /* FAULT, terminated; bytes are the peer's: escape them */
};
/* Returns as tlv_request_read. */
must_check int tlv_reply_read(const uint8_t *bytes, size_t count, struct tlv_reply *ret_reply,
                              size_t *ret_used, enum tlv_code *ret_code);

/* One entry of ITEMS' body; an entry that is cut or not a storable key is TLV_BAD. */
struct tlv_item {
    uint32_t codec;
    uint32_t bytes; /* of the block */
    struct key key;
};
must_check int tlv_item_read(const uint8_t *bytes, size_t count, struct tlv_item *ret_item,
                             size_t *ret_used);
size_t tlv_item_write(const struct tlv_item *item, uint8_t out[TLV_ITEM_MAX]);

/* One item of PUT_MANY's body, or of VALUES'; its block lies behind its head, in `bytes`. */
struct tlv_put_item {
    uint32_t codec;
    uint32_t bytes; /* of the block */
    struct key key;
    bool unknown_hash; /* the key is not set: the item alone is refused */
    const uint8_t *block;
};
/* Returns: 0, or TLV_BAD for an item that is cut or whose multihash is none. */
must_check int tlv_put_item_read(const uint8_t *bytes, size_t count, struct tlv_put_item *ret_item,
                                 size_t *ret_used);
/* Writes what stands before the block. */
size_t tlv_put_item_head(const struct tlv_put_item *item, uint8_t out[TLV_PUT_ITEM_MAX]);

struct tlv_value_item {
    uint16_t result;
    uint32_t codec;
    uint32_t bytes;
    const uint8_t *block;
};
must_check int tlv_value_item_read(const uint8_t *bytes, size_t count,
                                   struct tlv_value_item *ret_item, size_t *ret_used);
void tlv_value_item_head(const struct tlv_value_item *item, uint8_t out[TLV_VALUE_ITEM_HEAD]);
