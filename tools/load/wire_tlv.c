/* SPDX-License-Identifier: MIT */
#include "tools/load/wire.h"

#include "base/key.h"
#include "base/must.h"
#include "proto/tlv/tlv.h"
#include "tools/load/content.h"

#include <string.h>

/* What the echo floor is asked for is a GET like any other, so both share everything but HELLO; it
 * sends one constant reply, whose id means nothing. */

#define MULTIHASH_BYTES (2u + CONTENT_DIGEST_BYTES)

static size_t tlv_hello(uint8_t class, uint8_t *out) {
    struct tlv_request hello = {.type = TLV_HELLO, .class = class, .version = TLV_VERSION};
    return tlv_request_write(&hello, NULL, out);
}

/* A GET is the same 44 bytes each time but for the id and the digest; writing them straight costs
 * the generator a fifth of going through struct key. The unit test holds it to tlv_request_write.
 */
static size_t get_write(const struct wire_request *request, uint8_t *out) {
    static const uint8_t head[14] = {
        TLV_GET,       8 + MULTIHASH_BYTES, 0, 0, 0, 0, TLV_CLASS_DEFAULT, 0, 0, 0,
        HASH_SHA2_256, CONTENT_DIGEST_BYTES};
    memcpy(out, head, 12);
    put_be32(out + 2, request->id);
    memcpy(out + 12, request->digest, CONTENT_DIGEST_BYTES);
    return 12 + CONTENT_DIGEST_BYTES;
}

static size_t have_write(const struct wire_request *request, uint8_t *out) {
    struct tlv_request have = {
        .type = TLV_HAVE,
        .class = TLV_CLASS_DEFAULT,
        .id = request->id,
        .count = (uint16_t)request->count,
        .body_bytes = request->count * MULTIHASH_BYTES,
    };
    size_t used = tlv_request_write(&have, NULL, out);
    for (uint32_t i = 0; i < request->count; i++) {
        out[used] = HASH_SHA2_256;
        out[used + 1] = CONTENT_DIGEST_BYTES;
        memcpy(out + used + 2, request->digests[i], CONTENT_DIGEST_BYTES);
        used += MULTIHASH_BYTES;
    }
    return used;
}

static size_t tlv_write(const struct wire_request *request, uint8_t *out) {
    if (request->op == WIRE_GET) {
        return get_write(request, out);
    }
    if (request->op == WIRE_HAVE) {
        return have_write(request, out);
    }
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = CONTENT_DIGEST_BYTES};
    memcpy(key.digest, request->digest, CONTENT_DIGEST_BYTES);
    struct tlv_request frame = {
        .type = request->op == WIRE_PUT ? TLV_PUT : TLV_GET_RANGE,
        .class = TLV_CLASS_DEFAULT,
        .id = request->id,
        .codec = 0x55, /* raw */
        .offset = request->offset,
        .length = request->length,
        .body_bytes = request->body_bytes,
    };
    return tlv_request_write(&frame, &key, out);
}

static int reply_translate(const struct tlv_reply *from, struct wire_reply *to) {
    to->keyed = false;
    to->trailer_bytes = 0;
    to->id = from->id;
    to->body_bytes = 0;
    switch (from->type) {
    case TLV_DONE:
        to->answer = WIRE_DONE;
        return 0;
    case TLV_HAVES:
        to->answer = WIRE_HAVES;
        to->body_bytes = from->body_bytes;
        return 0;
    case TLV_NOT_FOUND:
        to->answer = WIRE_NOT_FOUND;
        return 0;
    case TLV_BUSY:
    case TLV_RETRY:
        to->answer = WIRE_BUSY;
        to->retry_ms = from->retry_ms;
        return 0;
    case TLV_WELCOME:
        to->answer = WIRE_WELCOME;
        to->class = from->class;
        to->credits = from->credits;
        to->block_max = from->block_max;
        return 0;
    case TLV_FAULT:
        to->answer = WIRE_FAULT;
        wire_text_keep(to, from->text, strlen(from->text));
        return 0;
    default:
        return WIRE_BAD;
    }
}

static int tlv_read(const uint8_t *bytes, size_t count, struct wire_reply *ret_reply,
                    size_t *ret_used) {
    /* The reply that nearly all of them are is read here, the others by the protocol's own. */
    if (likely(count >= TLV_VALUE_HEAD && bytes[0] == TLV_VALUE &&
               bytes[1] == TLV_VALUE_HEAD - 2)) {
        ret_reply->answer = WIRE_VALUE;
        ret_reply->keyed = false;
        ret_reply->trailer_bytes = 0;
        ret_reply->id = get_be32(bytes + 2);
        ret_reply->total = get_be32(bytes + 10);
        ret_reply->offset = get_be32(bytes + 14);
        ret_reply->body_bytes = get_be32(bytes + 18);
        *ret_used = TLV_VALUE_HEAD;
        return 0;
    }
    struct tlv_reply reply;
    enum tlv_code code;
    int r = tlv_reply_read(bytes, count, &reply, ret_used, &code);
    if (r != 0) {
        return r == TLV_SHORT ? WIRE_SHORT : WIRE_BAD;
    }
    return reply_translate(&reply, ret_reply);
}

const struct wire wire_tlv = {
    .name = "tlv",
    .about = "Millrace's binary protocol: GET, GET_RANGE, HAVE, PUT",
    .hashed = true,
    .fills = true,
    .verifies = true,
    .keeps = true,
    .head_max = TLV_REQUEST_MAX,
    .hello = tlv_hello,
    .write = tlv_write,
    .read = tlv_read,
};

const struct wire wire_echo = {
    .name = "echo",
    .about = "the echo floor: TLV GETs, replies checked by length only",
    .ordered = true,
    .head_max = TLV_REQUEST_MAX,
    .write = tlv_write,
    .read = tlv_read,
};
