/* SPDX-License-Identifier: MIT */
#include "proto/tlv/tlv_decode.h"

#include "tests/proto/tlv_frames.h"

#include <criterion/criterion.h>

static char text[TLV_DECODE_TEXT_MAX];

static void shows(const struct frame *frame, const char *line) {
    size_t used = 0;
    cr_assert_eq(tlv_decode(frame->bytes, frame->count, text, &used), 0);
    cr_assert_eq(used, frame->count);
    cr_assert_str_eq(text, line);
}

#define HELLO_KEY "key=bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"

Test(tlv_decode, requests_are_readable) {
    struct frame frames[REQUEST_FRAMES];
    request_frames(frames);
    shows(&frames[0], "> HELLO id=1 class=normal version=1 features=0x0");
    shows(&frames[1], "> HELLO id=1 class=normal version=1 features=0x0 body=11 name=\"ann\" "
                      "token=6 bytes");
    shows(&frames[2], "> PING id=2");
    shows(&frames[3], "> GET id=7 class=high deadline=50ms " HELLO_KEY);
    shows(&frames[4], "> GET_RANGE id=8 offset=1 length=3 " HELLO_KEY);
    shows(&frames[5], "> HAVE id=9 count=2 body=68 " HELLO_KEY
                      " key=bafkreicin2sgejgrxnh3nahtj56jvwlkr4sozcf6opvi4wtmmuta5hfyu4");
    shows(&frames[6], "> PUT id=10 codec=raw " HELLO_KEY " body=5");
    shows(&frames[9], "> LIST id=13 class=low cursor=0 max=100");
    shows(&frames[11], "> GET_MANY id=15 count=2 most=65536 body=68 " HELLO_KEY
                       " key=bafkreicin2sgejgrxnh3nahtj56jvwlkr4sozcf6opvi4wtmmuta5hfyu4");
    shows(&frames[12], "> PUT_MANY id=16 flags=0x01 count=2 body=94 codec=raw bytes=5 " HELLO_KEY
                       " codec=raw bytes=5 "
                       "key=bafkreicin2sgejgrxnh3nahtj56jvwlkr4sozcf6opvi4wtmmuta5hfyu4");
}

Test(tlv_decode, replies_are_readable) {
    struct frame frames[REPLY_FRAMES];
    reply_frames(frames);
    shows(&frames[0],
          "< WELCOME id=1 version=1 class=normal features=0x0 credits=1024 block_max=2097152");
    shows(&frames[2], "< VALUE id=7 codec=raw total=5 offset=0 body=5");
    shows(&frames[4], "< HAVES id=9 count=2 body=2 have=10");
    shows(&frames[5], "< STATS id=12 body=12 json=\"{\"blocks\":1}\"");
    shows(&frames[6], "< ITEMS id=13 cursor=0 count=1 body=42 codec=raw bytes=5 " HELLO_KEY);
    shows(&frames[8], "< BUSY id=7 retry=20ms credits=512");
    shows(&frames[11], "< VALUES id=15 count=2 body=25 result=0 codec=raw bytes=5 result=1");
    shows(&frames[12], "< RESULTS id=16 count=2 body=4 result=0 result=102");
    shows(&frames[10], "< FAULT id=10 code=102 text=\"the bytes do not match their hash\"");
}

Test(tlv_decode, every_cut_frame_says_where_it_was_cut) {
    struct frame frames[REPLY_FRAMES];
    reply_frames(frames);
    for (uint32_t i = 0; i < REPLY_FRAMES; i++) {
        for (size_t count = 1; count < frames[i].count; count++) {
            size_t used = 0;
            cr_assert_eq(tlv_decode(frames[i].bytes, count, text, &used), TLV_SHORT);
            cr_assert_eq(used, count);
            cr_assert(strstr(text, "cut off after"), "%s", text);
        }
    }
}

Test(tlv_decode, what_is_no_frame_says_why) {
    size_t used = 1;
    cr_assert_eq(tlv_decode((const uint8_t *)"\x01\x10", 2, text, &used), TLV_BAD);
    cr_assert_eq(used, 0);
    cr_assert_str_eq(text, "? type 0x01: unknown frame type");
    cr_assert_eq(tlv_decode((const uint8_t *)"\x12\x09", 2, text, &used), TLV_BAD);
    cr_assert_str_eq(text, "? type 0x12: wrong frame length");
}

Test(tlv_decode, bytes_of_peers_are_escaped) {
    struct frame frame;
    frame.count = tlv_fault(frame.bytes, 3, TLV_CODE_IO, "\x1b[31mred\n");
    size_t used = 0;
    cr_assert_eq(tlv_decode(frame.bytes, frame.count, text, &used), 0);
    cr_assert_null(strchr(text, '\x1b'));
    cr_assert_null(strchr(text, '\n'));
}
