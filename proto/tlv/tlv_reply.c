/* SPDX-License-Identifier: MIT */
#include "base/must.h"
#include "proto/tlv/tlv.h"

/* Replies: the server's writers and the client's reader. */

static size_t framed(uint8_t *out, enum tlv_type type, size_t payload_bytes) {
    must(payload_bytes + 2 <= TLV_REPLY_MAX);
    out[0] = (uint8_t)type;
    out[1] = (uint8_t)payload_bytes;
    return payload_bytes + 2;
}

size_t tlv_welcome(uint8_t *out, uint32_t id, uint8_t class, uint32_t features, uint32_t credits,
                   uint32_t block_max) {
    put_be32(out + 2, id);
    put_be16(out + 6, TLV_VERSION);
    out[8] = class;
    out[9] = 0;
    put_be32(out + 10, features);
    put_be32(out + 14, credits);
    put_be32(out + 18, block_max);
    return framed(out, TLV_WELCOME, 20);
}

size_t tlv_haves_head(uint8_t *out, uint32_t id, uint16_t count) {
    put_be32(out + 2, id);
    put_be16(out + 6, count);
    put_be32(out + 8, count);
    return framed(out, TLV_HAVES, 10);
}

size_t tlv_stats_head(uint8_t *out, uint32_t id, uint32_t body_bytes) {
    put_be32(out + 2, id);
    put_be32(out + 6, body_bytes);
    return framed(out, TLV_STATS, 8);
}

size_t tlv_items_head(uint8_t *out, uint32_t id, uint64_t cursor, uint16_t count,
                      uint32_t body_bytes) {
    put_be32(out + 2, id);
    put_be64(out + 6, cursor);
    put_be16(out + 14, count);
    put_be32(out + 16, body_bytes);
    return framed(out, TLV_ITEMS, 18);
}

size_t tlv_many_head(uint8_t *out, enum tlv_type type, uint32_t id, uint16_t count,
                     uint32_t body_bytes) {
    put_be32(out + 2, id);
    put_be16(out + 6, count);
    put_be32(out + 8, body_bytes);
    return framed(out, type, 10);
}

size_t tlv_busy(uint8_t *out, uint32_t id, uint32_t retry_ms, uint32_t credits) {
    put_be32(out + 2, id);
    put_be32(out + 6, retry_ms);
    put_be32(out + 10, credits);
    return framed(out, TLV_BUSY, 12);
}

size_t tlv_retry(uint8_t *out, uint32_t id, uint32_t retry_ms) {
    put_be32(out + 2, id);
    put_be32(out + 6, retry_ms);
    return framed(out, TLV_RETRY, 8);
}

size_t tlv_fault(uint8_t *out, uint32_t id, enum tlv_code code, const char *text) {
    text = text ? text : tlv_code_text(code);
    size_t text_bytes = min_u64(strlen(text), TLV_REPLY_MAX - 2 - 6);
    put_be32(out + 2, id);
    put_be16(out + 6, (uint16_t)code);
    memcpy(out + 8, text, text_bytes);
    return framed(out, TLV_FAULT, 6 + text_bytes);
}

size_t tlv_item_write(const struct tlv_item *item, uint8_t out[TLV_ITEM_MAX]) {
    put_be32(out, item->codec);
    put_be32(out + 4, item->bytes);
    return 8 + key_write(&item->key, out + 8);
}

int tlv_item_read(const uint8_t *bytes, size_t count, struct tlv_item *ret_item, size_t *ret_used) {
    struct key key;
    size_t used = 0;
    if (count < 8 || key_read(bytes + 8, count - 8, &key, &used) != 0) {
        return TLV_BAD;
    }
    *ret_item =
        (struct tlv_item){.codec = get_be32(bytes), .bytes = get_be32(bytes + 4), .key = key};
    *ret_used = 8 + used;
    return 0;
}

int tlv_put_item_read(const uint8_t *bytes, size_t count, struct tlv_put_item *ret_item,
                      size_t *ret_used) {
    struct key key = {0};
    size_t used = 0;
    int r = count < 8 ? KEY_BAD : key_read(bytes + 8, count - 8, &key, &used);
    if (r != 0 && r != KEY_UNKNOWN_HASH) {
        return TLV_BAD;
    }
    uint32_t block_bytes = get_be32(bytes + 4);
    if (block_bytes > count - 8 - used) {
        return TLV_BAD;
    }
    *ret_item = (struct tlv_put_item){.codec = get_be32(bytes),
                                      .bytes = block_bytes,
                                      .key = key,
                                      .unknown_hash = r != 0,
                                      .block = bytes + 8 + used};
    *ret_used = 8 + used + block_bytes;
    return 0;
}

size_t tlv_put_item_head(const struct tlv_put_item *item, uint8_t out[TLV_PUT_ITEM_MAX]) {
    put_be32(out, item->codec);
    put_be32(out + 4, item->bytes);
    return 8 + key_write(&item->key, out + 8);
}

int tlv_value_item_read(const uint8_t *bytes, size_t count, struct tlv_value_item *ret_item,
                        size_t *ret_used) {
    if (count < TLV_VALUE_ITEM_HEAD || get_be32(bytes + 6) > count - TLV_VALUE_ITEM_HEAD) {
        return TLV_BAD;
    }
    *ret_item = (struct tlv_value_item){.result = get_be16(bytes),
                                        .codec = get_be32(bytes + 2),
                                        .bytes = get_be32(bytes + 6),
                                        .block = bytes + TLV_VALUE_ITEM_HEAD};
    *ret_used = TLV_VALUE_ITEM_HEAD + ret_item->bytes;
    return 0;
}

void tlv_value_item_head(const struct tlv_value_item *item, uint8_t out[TLV_VALUE_ITEM_HEAD]) {
    put_be16(out, item->result);
    put_be32(out + 2, item->codec);
    put_be32(out + 6, item->bytes);
}

struct shape {
    uint8_t shortest;
    uint8_t longest;
};
static const struct shape shapes[256] = {
    [TLV_WELCOME] = {20, 20}, [TLV_PONG] = {4, 4},      [TLV_VALUE] = {20, 20},
    [TLV_DONE] = {4, 4},      [TLV_HAVES] = {10, 10},   [TLV_STATS] = {8, 8},
    [TLV_ITEMS] = {18, 18},   [TLV_NOT_FOUND] = {4, 4}, [TLV_BUSY] = {12, 12},
    [TLV_VALUES] = {10, 10},  [TLV_RESULTS] = {10, 10}, [TLV_RETRY] = {8, 8},
    [TLV_FAULT] = {6, 255},
};

/* The fields after the id; 0, or the code of what is wrong with them. */
static int fields_read(const uint8_t *p, size_t count, struct tlv_reply *reply) {
    switch (reply->type) {
    case TLV_WELCOME:
        reply->version = get_be16(p);
        reply->class = p[2];
        reply->features = get_be32(p + 4);
        reply->credits = get_be32(p + 8);
        reply->block_max = get_be32(p + 12);
        return 0;
    case TLV_VALUE:
        reply->codec = get_be32(p);
        reply->total = get_be32(p + 4);
        reply->offset = get_be32(p + 8);
        reply->body_bytes = get_be32(p + 12);
        if (reply->body_bytes > TLV_BLOCK_MAX || reply->total > TLV_BLOCK_MAX) {
            return TLV_CODE_BODY_TOO_LARGE;
        }
        return reply->offset > reply->total || reply->body_bytes > reply->total - reply->offset
                   ? TLV_CODE_BAD_FIELD
                   : 0;
    case TLV_HAVES:
        reply->count = get_be16(p);
        reply->body_bytes = get_be32(p + 2);
        return reply->body_bytes != reply->count || reply->count > TLV_HAVE_KEYS_MAX
                   ? TLV_CODE_BAD_FIELD
                   : 0;
    case TLV_STATS:
        reply->body_bytes = get_be32(p);
        return reply->body_bytes > TLV_STATS_BODY_MAX ? TLV_CODE_BODY_TOO_LARGE : 0;
    case TLV_ITEMS:
        reply->cursor = get_be64(p);
        reply->count = get_be16(p + 8);
        reply->body_bytes = get_be32(p + 10);
        return reply->count > TLV_LIST_MAX || reply->body_bytes > reply->count * TLV_ITEM_MAX
                   ? TLV_CODE_BAD_FIELD
                   : 0;
    case TLV_VALUES:
        reply->count = get_be16(p);
        reply->body_bytes = get_be32(p + 2);
        return reply->count > TLV_MANY_MAX || reply->body_bytes > TLV_VALUES_BODY_MAX ||
                       reply->body_bytes < reply->count * TLV_VALUE_ITEM_HEAD
                   ? TLV_CODE_BAD_FIELD
                   : 0;
    case TLV_RESULTS:
        reply->count = get_be16(p);
        reply->body_bytes = get_be32(p + 2);
        return reply->count > TLV_MANY_MAX || reply->body_bytes != reply->count * 2u
                   ? TLV_CODE_BAD_FIELD
                   : 0;
    case TLV_BUSY:
        reply->retry_ms = get_be32(p);
        reply->credits = get_be32(p + 4);
        return 0;
    case TLV_RETRY:
        reply->retry_ms = get_be32(p);
        return 0;
    case TLV_FAULT:
        reply->code = get_be16(p);
        memcpy(reply->text, p + 2, count - 2);
        reply->text[count - 2] = '\0';
        return 0;
    default: /* PONG, DONE, NOT_FOUND: an id and nothing else */
        return 0;
    }
}

hot_path int tlv_reply_read(const uint8_t *bytes, size_t count, struct tlv_reply *ret_reply,
                            size_t *ret_used, enum tlv_code *ret_code) {
    if (count == 0) {
        return TLV_SHORT;
    }
    struct shape shape = shapes[bytes[0]];
    if (unlikely(shape.longest == 0)) {
        *ret_code = TLV_CODE_UNKNOWN_TYPE;
        return TLV_BAD;
    }
    if (count < 2) {
        return TLV_SHORT;
    }
    size_t length = bytes[1];
    if (unlikely(length < shape.shortest || length > shape.longest)) {
        *ret_code = TLV_CODE_BAD_LENGTH;
        return TLV_BAD;
    }
    if (count < 2 + length) {
        return TLV_SHORT;
    }
    /* All but the text, which is long and only a FAULT has. */
    memset(ret_reply, 0, offsetof(struct tlv_reply, text) + 1);
    ret_reply->type = bytes[0];
    ret_reply->id = get_be32(bytes + 2);
    int code = fields_read(bytes + 6, length - 4, ret_reply);
    if (unlikely(code != 0)) {
        *ret_code = (enum tlv_code)code;
        return TLV_BAD;
    }
    *ret_used = 2 + length;
    return 0;
}
