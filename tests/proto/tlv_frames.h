/* SPDX-License-Identifier: MIT */
#pragma once

/* tlv_frames — one sound frame of every type, for tests and for the examples of the protocol's
 * page. */

#include "base/hash.h"
#include "base/must.h"
#include "proto/tlv/tlv.h"

#include <string.h>

#define FRAME_MAX 512u

struct frame {
    uint8_t bytes[FRAME_MAX];
    size_t count;
};

static inline struct key frame_key(const char *block) {
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = 32};
    must(hash_compute(HASH_SHA2_256, block, strlen(block), key.digest, 32) == 0);
    return key;
}

static inline void frame_body(struct frame *frame, const void *body, size_t bytes) {
    must(frame->count + bytes <= FRAME_MAX);
    memcpy(frame->bytes + frame->count, body, bytes);
    frame->count += bytes;
}

static inline struct frame request_frame(struct tlv_request request, const struct key *key,
                                         const void *body) {
    struct frame frame;
    frame.count = tlv_request_write(&request, key, frame.bytes);
    if (body) {
        frame_body(&frame, body, request.body_bytes);
    }
    return frame;
}

static inline uint32_t frame_put_item(uint8_t *out, const char *block) {
    struct tlv_put_item item = {
        .codec = 0x55, .bytes = (uint32_t)strlen(block), .key = frame_key(block)};
    size_t head = tlv_put_item_head(&item, out);
    memcpy(out + head, block, item.bytes);
    return (uint32_t)head + item.bytes;
}

#define REQUEST_FRAMES 15u
static inline void request_frames(struct frame frames[REQUEST_FRAMES]) {
    struct key key = frame_key("hello"), other = frame_key("world");
    uint8_t keys[2 * KEY_MULTIHASH_MAX], hello[TLV_HELLO_BODY_MAX];
    uint32_t keys_bytes = (uint32_t)key_write(&key, keys);
    keys_bytes += (uint32_t)key_write(&other, keys + keys_bytes);
    struct tlv_credentials credentials = {.name = (const uint8_t *)"ann",
                                          .name_bytes = 3,
                                          .token = (const uint8_t *)"secret",
                                          .token_bytes = 6};
    uint32_t hello_bytes = (uint32_t)tlv_credentials_write(&credentials, hello);
    uint32_t i = 0;
    struct tlv_request r = {
        .type = TLV_HELLO, .id = 1, .version = TLV_VERSION, .class = 2, .body_bytes = 0};
    frames[i++] = request_frame(r, NULL, NULL);
    r.body_bytes = hello_bytes;
    frames[i++] = request_frame(r, NULL, hello);
    r = (struct tlv_request){.type = TLV_PING, .id = 2, .class = TLV_CLASS_DEFAULT};
    frames[i++] = request_frame(r, NULL, NULL);
    r = (struct tlv_request){.type = TLV_GET, .id = 7, .class = 1, .deadline_ms = 50};
    frames[i++] = request_frame(r, &key, NULL);
    r = (struct tlv_request){
        .type = TLV_GET_RANGE, .id = 8, .class = TLV_CLASS_DEFAULT, .offset = 1, .length = 3};
    frames[i++] = request_frame(r, &key, NULL);
    r = (struct tlv_request){.type = TLV_HAVE,
                             .id = 9,
                             .class = TLV_CLASS_DEFAULT,
                             .count = 2,
                             .body_bytes = keys_bytes};
    frames[i++] = request_frame(r, NULL, keys);
    r = (struct tlv_request){
        .type = TLV_PUT, .id = 10, .class = TLV_CLASS_DEFAULT, .codec = 0x55, .body_bytes = 5};
    frames[i++] = request_frame(r, &key, "hello");
    r = (struct tlv_request){.type = TLV_DELETE, .id = 11, .class = TLV_CLASS_DEFAULT};
    frames[i++] = request_frame(r, &key, NULL);
    r = (struct tlv_request){.type = TLV_STAT, .id = 12, .class = 3};
    frames[i++] = request_frame(r, NULL, NULL);
    r = (struct tlv_request){.type = TLV_LIST, .id = 13, .class = 3, .count = 100};
    frames[i++] = request_frame(r, NULL, NULL);
    r = (struct tlv_request){.type = TLV_VERIFY, .id = 14, .class = 3};
    frames[i++] = request_frame(r, &key, NULL);
    r = (struct tlv_request){.type = TLV_GET_MANY,
                             .id = 15,
                             .class = TLV_CLASS_DEFAULT,
                             .count = 2,
                             .length = 65536,
                             .body_bytes = keys_bytes};
    frames[i++] = request_frame(r, NULL, keys);
    uint8_t puts[2 * (TLV_PUT_ITEM_MAX + 5)];
    uint32_t puts_bytes = frame_put_item(puts, "hello");
    puts_bytes += frame_put_item(puts + puts_bytes, "world");
    r = (struct tlv_request){.type = TLV_PUT_MANY,
                             .id = 16,
                             .class = TLV_CLASS_DEFAULT,
                             .flags = TLV_FLAG_ALL,
                             .count = 2,
                             .body_bytes = puts_bytes};
    frames[i++] = request_frame(r, NULL, puts);
    r = (struct tlv_request){
        .type = TLV_PIN, .id = 17, .class = TLV_CLASS_DEFAULT, .codec = 0x70, .mode = 1};
    frames[i++] = request_frame(r, &key, NULL);
    r = (struct tlv_request){.type = TLV_UNPIN, .id = 18, .class = TLV_CLASS_DEFAULT};
    frames[i++] = request_frame(r, &key, NULL);
    must(i == REQUEST_FRAMES);
}

#define REPLY_FRAMES 13u
static inline void reply_frames(struct frame frames[REPLY_FRAMES]) {
    struct tlv_item item = {.codec = 0x55, .bytes = 5, .key = frame_key("hello")};
    uint8_t items[TLV_ITEM_MAX];
    uint32_t items_bytes = (uint32_t)tlv_item_write(&item, items);
    uint32_t i = 0;
    frames[i].count = tlv_welcome(frames[i].bytes, 1, 2, 0, 1024, 2u << 20);
    i++;
    frames[i].count = tlv_plain(frames[i].bytes, TLV_PONG, 2);
    i++;
    frames[i].count = tlv_value_head(frames[i].bytes, 7, 0x55, 5, 0, 5);
    frame_body(&frames[i++], "hello", 5);
    frames[i].count = tlv_plain(frames[i].bytes, TLV_DONE, 10);
    i++;
    frames[i].count = tlv_haves_head(frames[i].bytes, 9, 2);
    frame_body(&frames[i++], "\1\0", 2);
    frames[i].count = tlv_stats_head(frames[i].bytes, 12, 12);
    frame_body(&frames[i++], "{\"blocks\":1}", 12);
    frames[i].count = tlv_items_head(frames[i].bytes, 13, 0, 1, items_bytes);
    frame_body(&frames[i++], items, items_bytes);
    frames[i].count = tlv_plain(frames[i].bytes, TLV_NOT_FOUND, 8);
    i++;
    frames[i].count = tlv_busy(frames[i].bytes, 7, 20, 512);
    i++;
    frames[i].count = tlv_retry(frames[i].bytes, 7, 250);
    i++;
    frames[i].count = tlv_fault(frames[i].bytes, 10, TLV_CODE_MISMATCH, NULL);
    i++;
    struct tlv_value_item value = {.codec = 0x55, .bytes = 5};
    uint8_t values[2 * TLV_VALUE_ITEM_HEAD + 5];
    tlv_value_item_head(&value, values);
    memcpy(values + TLV_VALUE_ITEM_HEAD, "hello", 5);
    value = (struct tlv_value_item){.result = TLV_RESULT_NOT_FOUND};
    tlv_value_item_head(&value, values + TLV_VALUE_ITEM_HEAD + 5);
    frames[i].count = tlv_many_head(frames[i].bytes, TLV_VALUES, 15, 2, sizeof values);
    frame_body(&frames[i++], values, sizeof values);
    frames[i].count = tlv_many_head(frames[i].bytes, TLV_RESULTS, 16, 2, 4);
    frame_body(&frames[i++], "\0\0\0\146", 4);
    must(i == REPLY_FRAMES);
}
