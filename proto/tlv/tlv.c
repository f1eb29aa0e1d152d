/* SPDX-License-Identifier: MIT */
#include "proto/tlv/tlv.h"

#include "base/must.h"
#include "base/varint.h"

/* Requests: the hot half. A frame is judged by one table look-up (type and length), then its few
 * fields are read in place; a sha2-256 key, which nearly all are, is copied without a call. */

enum { COMMON = 8, PAYLOAD_MAX = TLV_REQUEST_MAX - 2 };

/* Payload bytes each request type may have; longest 0: no such request. Keyed types allow more than
 * the longest key we store, so that a hash we do not have is refused by name. */
struct shape {
    uint8_t shortest;
    uint8_t longest;
};
static const struct shape shapes[256] = {
    [TLV_HELLO] = {16, 16},
    [TLV_PING] = {COMMON, COMMON},
    [TLV_GET] = {COMMON, PAYLOAD_MAX},
    [TLV_GET_RANGE] = {COMMON + 8, PAYLOAD_MAX},
    [TLV_HAVE] = {COMMON + 6, COMMON + 6},
    [TLV_PUT] = {COMMON + 8, PAYLOAD_MAX},
    [TLV_DELETE] = {COMMON, PAYLOAD_MAX},
    [TLV_STAT] = {COMMON, COMMON},
    [TLV_LIST] = {COMMON + 10, COMMON + 10},
    [TLV_VERIFY] = {COMMON, PAYLOAD_MAX},
    [TLV_PIN] = {COMMON + 5, PAYLOAD_MAX},
    [TLV_UNPIN] = {COMMON, PAYLOAD_MAX},
    [TLV_GET_MANY] = {COMMON + 10, COMMON + 10},
    [TLV_PUT_MANY] = {COMMON + 6, COMMON + 6},
};

const char *tlv_code_text(enum tlv_code code) {
    switch (code) {
    case TLV_CODE_UNKNOWN_TYPE:
        return "unknown frame type";
    case TLV_CODE_BAD_LENGTH:
        return "wrong frame length";
    case TLV_CODE_BAD_FIELD:
        return "field out of range";
    case TLV_CODE_BODY_TOO_LARGE:
        return "body too large";
    case TLV_CODE_HELLO_LATE:
        return "HELLO after the first frame";
    case TLV_CODE_VERSION:
        return "protocol version not spoken here";
    case TLV_CODE_UNAUTHORIZED:
        return "credentials missing or refused";
    case TLV_CODE_TOO_MANY_CONNECTIONS:
        return "too many connections";
    case TLV_CODE_BAD_KEY:
        return "not a multihash that can be stored";
    case TLV_CODE_UNKNOWN_HASH:
        return "hash function not available";
    case TLV_CODE_MISMATCH:
        return "the bytes do not match their hash";
    case TLV_CODE_TOO_LARGE:
        return "block larger than this store takes";
    case TLV_CODE_CORRUPT:
        return "the stored block is damaged";
    case TLV_CODE_FULL:
        return "no space left";
    case TLV_CODE_IO:
        return "input/output error";
    case TLV_CODE_EXPIRED:
        return "deadline passed before work began";
    case TLV_CODE_READONLY:
        return "the store is read-only";
    case TLV_CODE_RANGE:
        return "range outside the block";
    case TLV_CODE_POLICY:
        return "refused by policy";
    }
    return "unknown code";
}

/* The rare key: another hash than sha2-256, or none of ours. The frame is sound in either case. */
static cold_path void key_of_other(const uint8_t *bytes, size_t count, struct tlv_request *request,
                                   struct key *ret_key) {
    uint64_t code = 0, digest_bytes = 0;
    size_t code_used = 0, length_used = 0, used = 0;
    struct key key;
    int r = key_read(bytes, count, &key, &used);
    if (r == 0 && used == count) {
        *ret_key = key;
        return;
    }
    request->key_refused = true;
    request->key_code = TLV_CODE_BAD_KEY;
    if (r != KEY_UNKNOWN_HASH || varint_read(bytes, count, &code, &code_used) != 0 ||
        varint_read(bytes + code_used, count - code_used, &digest_bytes, &length_used) != 0) {
        return;
    }
    if (digest_bytes == count - code_used - length_used) {
        request->key_code = TLV_CODE_UNKNOWN_HASH;
        request->refused_hash = code;
    }
}

static inline void key_of(const uint8_t *bytes, size_t count, struct tlv_request *request,
                          struct key *ret_key) {
    if (likely(count == 34 && bytes[0] == HASH_SHA2_256 && bytes[1] == 32)) {
        ret_key->code = HASH_SHA2_256;
        ret_key->digest_bytes = 32;
        ret_key->zero = 0;
        memcpy(ret_key->digest, bytes + 2, 32);
        return;
    }
    key_of_other(bytes, count, request, ret_key);
}

static inline bool class_good(uint8_t class) {
    return class <= 3 || class == TLV_CLASS_DEFAULT;
}

static inline int bad(enum tlv_code code, enum tlv_code *ret_code) {
    *ret_code = code;
    return TLV_BAD;
}

/* Layout of its own: a HELLO has a version where the others have their class. */
static cold_path int hello_read(const uint8_t *payload, struct tlv_request *ret_request,
                                size_t *ret_used, enum tlv_code *ret_code) {
    uint32_t body_bytes = get_be32(payload + 12);
    if (!class_good(payload[6])) {
        return bad(TLV_CODE_BAD_FIELD, ret_code);
    }
    if (body_bytes > TLV_HELLO_BODY_MAX) {
        return bad(TLV_CODE_BODY_TOO_LARGE, ret_code);
    }
    *ret_request = (struct tlv_request){
        .type = TLV_HELLO,
        .class = payload[6],
        .flags = payload[7],
        .id = get_be32(payload),
        .version = get_be16(payload + 4),
        .features = get_be32(payload + 8),
        .body_bytes = body_bytes,
    };
    *ret_used = 2 + 16;
    return 0;
}

/* Items in a body: how many, and how few and many bytes they can have. */
static int many_check(uint32_t count, uint32_t body_bytes, uint32_t least, uint32_t most) {
    if (count == 0 || count > TLV_MANY_MAX) {
        return TLV_CODE_BAD_FIELD;
    }
    if (body_bytes > most) {
        return TLV_CODE_BODY_TOO_LARGE;
    }
    return body_bytes < least * count ? TLV_CODE_BAD_FIELD : 0;
}

/* Limits of what is counted, judged before anything is written. Returns: 0 or the code. */
static inline int limits_check(uint8_t type, const uint8_t *fields) {
    if (type == TLV_PUT) {
        return get_be32(fields + 4) > TLV_BLOCK_MAX ? TLV_CODE_BODY_TOO_LARGE : 0;
    }
    if (type == TLV_LIST) {
        uint32_t count = get_be16(fields + 8);
        return count == 0 || count > TLV_LIST_MAX ? TLV_CODE_BAD_FIELD : 0;
    }
    if (type == TLV_PIN) {
        return fields[4] != 1 && fields[4] != 2 ? TLV_CODE_BAD_FIELD : 0;
    }
    static_assert(TLV_HAVE_KEYS_MAX == TLV_MANY_MAX, "one check for both");
    /* The shortest multihash has two bytes: fewer cannot be so many keys. */
    switch (type) {
    case TLV_HAVE:
        return many_check(get_be16(fields), get_be32(fields + 2), 2, TLV_HAVE_BODY_MAX);
    case TLV_GET_MANY:
        return many_check(get_be16(fields), get_be32(fields + 6), 2, TLV_HAVE_BODY_MAX);
    case TLV_PUT_MANY:
        return many_check(get_be16(fields), get_be32(fields + 2), 10, TLV_PUT_MANY_BODY_MAX);
    default:
        return 0;
    }
}

/* Written in place: a copy of a struct just written in parts would wait for its own stores. */
static inline void fields_read(const uint8_t *payload, size_t length, uint8_t type,
                               struct tlv_request *request, struct key *ret_key) {
    uint32_t id = get_be32(payload);
    uint8_t class = payload[4], flags = payload[5];
    uint16_t deadline_ms = get_be16(payload + 6);
    memset(request, 0, sizeof *request);
    request->type = type;
    request->class = class;
    request->flags = flags;
    request->deadline_ms = deadline_ms;
    request->id = id;
    const uint8_t *fields = payload + COMMON;
    size_t bytes = length - COMMON;
    switch (type) {
    case TLV_GET:
    case TLV_DELETE:
    case TLV_VERIFY:
    case TLV_UNPIN:
        key_of(fields, bytes, request, ret_key);
        break;
    case TLV_PIN:
        request->codec = get_be32(fields);
        request->mode = fields[4];
        key_of(fields + 5, bytes - 5, request, ret_key);
        break;
    case TLV_GET_RANGE:
        request->offset = get_be32(fields);
        request->length = get_be32(fields + 4);
        key_of(fields + 8, bytes - 8, request, ret_key);
        break;
    case TLV_PUT:
        request->codec = get_be32(fields);
        request->body_bytes = get_be32(fields + 4);
        key_of(fields + 8, bytes - 8, request, ret_key);
        break;
    case TLV_HAVE:
    case TLV_PUT_MANY:
        request->count = get_be16(fields);
        request->body_bytes = get_be32(fields + 2);
        break;
    case TLV_GET_MANY:
        request->count = get_be16(fields);
        request->length = get_be32(fields + 2);
        request->body_bytes = get_be32(fields + 6);
        break;
    case TLV_LIST:
        request->cursor = get_be64(fields);
        request->count = get_be16(fields + 8);
        break;
    default: /* PING, STAT: nothing follows */
        break;
    }
}

/* Inlined into its two callers: one frame of a stream costs one call. */
static inline __attribute__((always_inline)) int request_read(const uint8_t *bytes, size_t count,
                                                              struct tlv_request *ret_request,
                                                              struct key *ret_key, size_t *ret_used,
                                                              enum tlv_code *ret_code) {
    if (unlikely(count == 0)) {
        return TLV_SHORT;
    }
    uint8_t type = bytes[0];
    struct shape shape = shapes[type];
    if (unlikely(shape.longest == 0)) {
        return bad(TLV_CODE_UNKNOWN_TYPE, ret_code);
    }
    if (unlikely(count < 2)) {
        return TLV_SHORT;
    }
    size_t length = bytes[1];
    if (unlikely(length < shape.shortest || length > shape.longest)) {
        return bad(TLV_CODE_BAD_LENGTH, ret_code);
    }
    if (unlikely(count < 2 + length)) {
        return TLV_SHORT;
    }
    const uint8_t *payload = bytes + 2;
    if (unlikely(type == TLV_HELLO)) {
        return hello_read(payload, ret_request, ret_used, ret_code);
    }
    if (unlikely(!class_good(payload[4]))) {
        return bad(TLV_CODE_BAD_FIELD, ret_code);
    }
    int code = limits_check(type, payload + COMMON);
    if (unlikely(code != 0)) {
        return bad((enum tlv_code)code, ret_code);
    }
    fields_read(payload, length, type, ret_request, ret_key);
    *ret_used = 2 + length;
    return 0;
}

hot_path int tlv_request_read(const uint8_t *bytes, size_t count, struct tlv_request *ret_request,
                              struct key *ret_key, size_t *ret_used, enum tlv_code *ret_code) {
    return request_read(bytes, count, ret_request, ret_key, ret_used, ret_code);
}

size_t tlv_request_write(const struct tlv_request *request, const struct key *key,
                         uint8_t out[TLV_REQUEST_MAX]) {
    uint8_t *p = out + 2;
    put_be32(p, request->id);
    if (request->type == TLV_HELLO) {
        put_be16(p + 4, request->version);
        p[6] = request->class;
        p[7] = request->flags;
        put_be32(p + 8, request->features);
        put_be32(p + 12, request->body_bytes);
        p += 16;
    } else {
        p[4] = request->class;
        p[5] = request->flags;
        put_be16(p + 6, request->deadline_ms);
        p += COMMON;
    }
    if (request->type == TLV_GET_RANGE) {
        put_be32(p, request->offset);
        put_be32(p + 4, request->length);
        p += 8;
    } else if (request->type == TLV_PUT) {
        put_be32(p, request->codec);
        put_be32(p + 4, request->body_bytes);
        p += 8;
    } else if (request->type == TLV_HAVE || request->type == TLV_PUT_MANY) {
        put_be16(p, request->count);
        put_be32(p + 2, request->body_bytes);
        p += 6;
    } else if (request->type == TLV_GET_MANY) {
        put_be16(p, request->count);
        put_be32(p + 2, request->length);
        put_be32(p + 6, request->body_bytes);
        p += 10;
    } else if (request->type == TLV_PIN) {
        put_be32(p, request->codec);
        p[4] = request->mode;
        p += 5;
    } else if (request->type == TLV_LIST) {
        put_be64(p, request->cursor);
        put_be16(p + 8, request->count);
        p += 10;
    }
    if (key) {
        p += key_write(key, p);
    }
    size_t length = (size_t)(p - out) - 2;
    struct shape shape = shapes[request->type];
    must(length >= shape.shortest && length <= shape.longest);
    out[0] = request->type;
    out[1] = (uint8_t)length;
    return length + 2;
}

int tlv_credentials_read(const uint8_t *bytes, size_t count,
                         struct tlv_credentials *ret_credentials) {
    if (count == 0) {
        *ret_credentials = (struct tlv_credentials){.name = bytes, .token = bytes};
        return 0;
    }
    if (count < 2 || count > TLV_HELLO_BODY_MAX) {
        return TLV_BAD;
    }
    uint32_t name_bytes = get_be16(bytes);
    if (name_bytes > TLV_NAME_MAX || name_bytes > count - 2) {
        return TLV_BAD;
    }
    *ret_credentials = (struct tlv_credentials){
        .name = bytes + 2,
        .token = bytes + 2 + name_bytes,
        .name_bytes = name_bytes,
        .token_bytes = (uint32_t)count - 2 - name_bytes,
    };
    return 0;
}

size_t tlv_credentials_write(const struct tlv_credentials *credentials,
                             uint8_t out[TLV_HELLO_BODY_MAX]) {
    if (credentials->name_bytes > TLV_NAME_MAX ||
        credentials->token_bytes > TLV_HELLO_BODY_MAX - 2 - credentials->name_bytes) {
        return 0;
    }
    put_be16(out, (uint16_t)credentials->name_bytes);
    uint8_t *p = out + 2;
    if (credentials->name_bytes > 0) {
        memcpy(p, credentials->name, credentials->name_bytes);
        p += credentials->name_bytes;
    }
    if (credentials->token_bytes > 0) {
        memcpy(p, credentials->token, credentials->token_bytes);
        p += credentials->token_bytes;
    }
    return (size_t)(p - out);
}

void tlv_reader_init(struct tlv_reader *reader) {
    reader->body_left = 0;
    reader->stashed = 0;
}

/* The id that a refusal should carry: what was wrong in a whole frame is wrong about its request.
 */
static cold_path enum tlv_event bad_step(struct tlv_step *ret_step, const uint8_t *frame,
                                         size_t used) {
    bool whole = ret_step->code == TLV_CODE_BAD_FIELD || ret_step->code == TLV_CODE_BODY_TOO_LARGE;
    ret_step->request.id = whole ? get_be32(frame + 2) : 0;
    ret_step->used = used;
    return TLV_EVENT_BAD;
}

/* The frame that began in earlier bytes: filled up by what it needs next (its length byte, then its
 * payload), never by more, so that what follows it stays with the caller. */
static enum tlv_event stash_step(struct tlv_reader *reader, const uint8_t *bytes, size_t count,
                                 struct tlv_step *ret_step, struct key *ret_key) {
    size_t taken = 0, used = 0;
    for (;;) {
        int r = tlv_request_read(reader->stash, reader->stashed, &ret_step->request, ret_key, &used,
                                 &ret_step->code);
        if (r == TLV_BAD) {
            return bad_step(ret_step, reader->stash, taken);
        }
        if (r == 0) {
            must(used == reader->stashed);
            reader->stashed = 0;
            reader->body_left = ret_step->request.body_bytes;
            ret_step->used = taken;
            return TLV_EVENT_REQUEST;
        }
        if (taken == count) {
            ret_step->used = taken;
            return TLV_EVENT_MORE;
        }
        size_t whole = reader->stashed < 2 ? 2 : 2 + (size_t)reader->stash[1];
        must(whole <= sizeof reader->stash && whole > reader->stashed);
        size_t take = min_u64(whole - reader->stashed, count - taken);
        memcpy(reader->stash + reader->stashed, bytes + taken, take);
        reader->stashed = (uint8_t)(reader->stashed + take);
        taken += take;
    }
}

hot_path enum tlv_event tlv_reader_step(struct tlv_reader *reader, const uint8_t *bytes,
                                        size_t count, struct tlv_step *ret_step,
                                        struct key *ret_key) {
    if (reader->body_left > 0 && count > 0) {
        uint32_t run = (uint32_t)min_u64(reader->body_left, count);
        ret_step->body = bytes;
        ret_step->body_bytes = run;
        ret_step->used = run;
        reader->body_left -= run;
        return TLV_EVENT_BODY;
    }
    if (unlikely(reader->stashed > 0)) {
        return stash_step(reader, bytes, count, ret_step, ret_key);
    }
    int r =
        request_read(bytes, count, &ret_step->request, ret_key, &ret_step->used, &ret_step->code);
    if (likely(r == 0)) {
        reader->body_left = ret_step->request.body_bytes;
        return TLV_EVENT_REQUEST;
    }
    if (r == TLV_BAD) {
        return bad_step(ret_step, bytes, 0);
    }
    /* SHORT means less than one frame: it fits. */
    must(count < sizeof reader->stash);
    memcpy(reader->stash, bytes, count);
    reader->stashed = (uint8_t)count;
    ret_step->used = count;
    return TLV_EVENT_MORE;
}
