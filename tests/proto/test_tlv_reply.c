/* SPDX-License-Identifier: MIT */
/* proto/tlv/tlv_reply.c: what servers write and clients read. */

#include "proto/tlv/tlv.h"

#include "tests/proto/tlv_frames.h"

#include <criterion/criterion.h>

static struct tlv_reply read_reply(const struct frame *frame) {
    struct tlv_reply reply;
    size_t used = 0;
    enum tlv_code code = 0;
    cr_assert_eq(tlv_reply_read(frame->bytes, frame->count, &reply, &used, &code), 0, "code %d",
                 (int)code);
    cr_assert_eq(used + reply.body_bytes, frame->count);
    return reply;
}

static enum tlv_code code_of(const struct frame *frame) {
    struct tlv_reply reply;
    size_t used = 0;
    enum tlv_code code = 0;
    cr_assert_eq(tlv_reply_read(frame->bytes, frame->count, &reply, &used, &code), TLV_BAD);
    return code;
}

Test(tlv_reply, every_reply_is_read_with_its_fields) {
    struct frame frames[REPLY_FRAMES];
    reply_frames(frames);
    struct tlv_reply reply = read_reply(&frames[0]);
    cr_assert_eq(reply.version, TLV_VERSION);
    cr_assert_eq(reply.class, 2);
    cr_assert_eq(reply.credits, 1024);
    cr_assert_eq(reply.block_max, 2u << 20);
    cr_assert_eq(read_reply(&frames[1]).type, TLV_PONG);
    reply = read_reply(&frames[2]);
    cr_assert_eq(reply.codec, 0x55);
    cr_assert_eq(reply.total, 5);
    cr_assert_eq(read_reply(&frames[3]).id, 10);
    cr_assert_eq(read_reply(&frames[4]).count, 2);
    cr_assert_eq(read_reply(&frames[5]).body_bytes, 12);
    cr_assert_eq(read_reply(&frames[6]).count, 1);
    cr_assert_eq(read_reply(&frames[7]).type, TLV_NOT_FOUND);
    reply = read_reply(&frames[8]);
    cr_assert_eq(reply.retry_ms, 20);
    cr_assert_eq(reply.credits, 512);
    cr_assert_eq(read_reply(&frames[9]).retry_ms, 250);
    reply = read_reply(&frames[10]);
    cr_assert_eq(reply.code, TLV_CODE_MISMATCH);
    cr_assert_str_eq(reply.text, "the bytes do not match their hash");
    cr_assert_eq(read_reply(&frames[11]).count, 2);
    cr_assert_eq(read_reply(&frames[12]).body_bytes, 4);
}

Test(tlv_reply, the_items_of_values_are_read_one_by_one_and_no_cut_one_is_taken) {
    struct frame frames[REPLY_FRAMES];
    reply_frames(frames);
    const uint8_t *body = frames[11].bytes + 12;
    size_t bytes = frames[11].count - 12, used = 0;
    struct tlv_value_item item;
    cr_assert_eq(tlv_value_item_read(body, bytes, &item, &used), 0);
    cr_assert_eq(item.result, TLV_RESULT_DONE);
    cr_assert_eq(item.bytes, 5);
    cr_assert_eq(memcmp(item.block, "hello", 5), 0);
    for (size_t cut = 0; cut < used; cut++) {
        size_t taken = 0;
        cr_assert_eq(tlv_value_item_read(body, cut, &item, &taken), TLV_BAD);
    }
    cr_assert_eq(tlv_value_item_read(body + used, bytes - used, &item, &used), 0);
    cr_assert_eq(item.result, TLV_RESULT_NOT_FOUND);
}

Test(tlv_reply, the_items_of_put_many_are_read_one_by_one_and_no_cut_one_is_taken) {
    uint8_t body[TLV_PUT_ITEM_MAX + 5];
    struct tlv_put_item item;
    size_t bytes = frame_put_item(body, "hello"), used = 0;
    struct key key = frame_key("hello");
    cr_assert_eq(tlv_put_item_read(body, bytes, &item, &used), 0);
    cr_assert_eq(used, bytes);
    cr_assert_eq(item.codec, 0x55);
    cr_assert(key_equal(&item.key, &key) && !item.unknown_hash);
    cr_assert_eq(memcmp(item.block, "hello", 5), 0);
    for (size_t cut = 0; cut < bytes; cut++) {
        cr_assert_eq(tlv_put_item_read(body, cut, &item, &used), TLV_BAD);
    }
    body[8] = 0x1e; /* blake3: the item is sound, its hash not known */
    cr_assert_eq(tlv_put_item_read(body, bytes, &item, &used), 0);
    cr_assert(item.unknown_hash);
    cr_assert_eq(used, bytes);
}

Test(tlv_reply, answers_to_many_whose_body_cannot_be_are_refused) {
    struct frame frame;
    frame.count = tlv_many_head(frame.bytes, TLV_RESULTS, 1, 2, 5);
    cr_assert_eq(code_of(&frame), TLV_CODE_BAD_FIELD);
    frame.count = tlv_many_head(frame.bytes, TLV_VALUES, 1, 2, 2 * TLV_VALUE_ITEM_HEAD - 1);
    cr_assert_eq(code_of(&frame), TLV_CODE_BAD_FIELD);
    frame.count = tlv_many_head(frame.bytes, TLV_VALUES, 1, 1, TLV_VALUES_BODY_MAX + 1);
    cr_assert_eq(code_of(&frame), TLV_CODE_BAD_FIELD);
}

Test(tlv_reply, a_reply_is_short_until_its_last_byte) {
    struct frame frames[REPLY_FRAMES];
    reply_frames(frames);
    for (uint32_t i = 0; i < REPLY_FRAMES; i++) {
        for (size_t count = 0; count < 2 + (size_t)frames[i].bytes[1]; count++) {
            struct tlv_reply reply;
            enum tlv_code code;
            size_t used;
            cr_assert_eq(tlv_reply_read(frames[i].bytes, count, &reply, &used, &code), TLV_SHORT);
        }
    }
}

Test(tlv_reply, requests_are_not_replies) {
    struct frame frames[REQUEST_FRAMES];
    request_frames(frames);
    for (uint32_t i = 0; i < REQUEST_FRAMES; i++) {
        cr_assert_eq(code_of(&frames[i]), TLV_CODE_UNKNOWN_TYPE);
    }
}

Test(tlv_reply, fields_that_contradict_each_other_are_refused) {
    struct frame frames[REPLY_FRAMES];
    reply_frames(frames);
    struct frame value = frames[2], haves = frames[4], stats = frames[5], items = frames[6];
    put_be32(value.bytes + 18, 6); /* more body than the block has */
    cr_assert_eq(code_of(&value), TLV_CODE_BAD_FIELD);
    put_be32(value.bytes + 14, 6); /* begins behind the block */
    put_be32(value.bytes + 18, 0);
    cr_assert_eq(code_of(&value), TLV_CODE_BAD_FIELD);
    put_be32(value.bytes + 10, TLV_BLOCK_MAX + 1);
    cr_assert_eq(code_of(&value), TLV_CODE_BODY_TOO_LARGE);
    put_be32(haves.bytes + 8, 3);
    cr_assert_eq(code_of(&haves), TLV_CODE_BAD_FIELD);
    put_be32(stats.bytes + 6, TLV_STATS_BODY_MAX + 1);
    cr_assert_eq(code_of(&stats), TLV_CODE_BODY_TOO_LARGE);
    put_be32(items.bytes + 16, TLV_ITEM_MAX + 1);
    cr_assert_eq(code_of(&items), TLV_CODE_BAD_FIELD);
    frames[1].bytes[1] = 5;
    cr_assert_eq(code_of(&frames[1]), TLV_CODE_BAD_LENGTH);
}

Test(tlv_reply, a_fault_cuts_long_text_to_the_frame) {
    char text[400];
    struct frame frame;
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    frame.count = tlv_fault(frame.bytes, 1, TLV_CODE_IO, text);
    cr_assert_eq(frame.count, TLV_REPLY_MAX);
    cr_assert_eq(strlen(read_reply(&frame).text), TLV_REPLY_MAX - 8);
    frame.count = tlv_fault(frame.bytes, 1, TLV_CODE_IO, "");
    cr_assert_str_eq(read_reply(&frame).text, "");
}

Test(tlv_reply, items_come_back_and_cut_ones_are_refused) {
    struct tlv_item in = {.codec = 0x70, .bytes = 9, .key = frame_key("hello")}, out;
    uint8_t bytes[TLV_ITEM_MAX];
    size_t count = tlv_item_write(&in, bytes), used = 0;
    cr_assert_eq(tlv_item_read(bytes, count, &out, &used), 0);
    cr_assert_eq(used, count);
    cr_assert_eq(out.codec, 0x70);
    cr_assert_eq(out.bytes, 9);
    cr_assert(key_equal(&in.key, &out.key));
    for (size_t cut = 0; cut < count; cut++) {
        cr_assert_eq(tlv_item_read(bytes, cut, &out, &used), TLV_BAD);
    }
}
