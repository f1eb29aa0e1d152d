/* SPDX-License-Identifier: MIT */
#include "proto/tlv/tlv.h"

#include "tests/proto/tlv_frames.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static int read_frame(const struct frame *frame, struct tlv_request *request, struct key *key,
                      enum tlv_code *code) {
    size_t used = 0;
    return tlv_request_read(frame->bytes, frame->count, request, key, &used, code);
}

/* A GET frame whose key bytes are these. */
static struct frame get_with_key(const void *key, size_t bytes) {
    struct frame frame = {.bytes = {TLV_GET, (uint8_t)(8 + bytes), 0, 0, 0, 5, 2}, .count = 10};
    frame_body(&frame, key, bytes);
    return frame;
}

static enum tlv_code code_of(const struct frame *frame) {
    struct tlv_request request;
    struct key key;
    enum tlv_code code = 0;
    cr_assert_eq(read_frame(frame, &request, &key, &code), TLV_BAD);
    return code;
}

Test(tlv, every_request_comes_back_as_it_was_written) {
    struct frame frames[REQUEST_FRAMES];
    request_frames(frames);
    for (uint32_t i = 0; i < REQUEST_FRAMES; i++) {
        struct tlv_request request;
        struct key key = {0};
        enum tlv_code code;
        size_t used = 0;
        cr_assert_eq(
            tlv_request_read(frames[i].bytes, frames[i].count, &request, &key, &used, &code), 0);
        cr_assert_eq(used + request.body_bytes, frames[i].count);
        uint8_t again[TLV_REQUEST_MAX];
        cr_assert_eq(tlv_request_write(&request, key.digest_bytes ? &key : NULL, again), used);
        cr_assert_eq(memcmp(again, frames[i].bytes, used), 0);
        cr_assert_not(request.key_refused);
    }
}

Test(tlv, get_carries_id_class_deadline_and_key) {
    struct frame frames[REQUEST_FRAMES];
    struct tlv_request request;
    struct key key, wanted = frame_key("hello");
    enum tlv_code code;
    request_frames(frames);
    cr_assert_eq(read_frame(&frames[3], &request, &key, &code), 0);
    cr_assert_eq(request.type, TLV_GET);
    cr_assert_eq(request.id, 7);
    cr_assert_eq(request.class, 1);
    cr_assert_eq(request.deadline_ms, 50);
    cr_assert(key_equal(&key, &wanted));
}

Test(tlv, a_frame_is_short_until_its_last_byte) {
    struct frame frames[REQUEST_FRAMES];
    request_frames(frames);
    for (uint32_t i = 0; i < REQUEST_FRAMES; i++) {
        size_t head = 2 + (size_t)frames[i].bytes[1];
        for (size_t count = 0; count < head; count++) {
            struct tlv_request request;
            struct key key;
            enum tlv_code code;
            size_t used = 0;
            cr_assert_eq(tlv_request_read(frames[i].bytes, count, &request, &key, &used, &code),
                         TLV_SHORT);
        }
    }
}

Test(tlv, unknown_types_are_refused_by_their_first_byte) {
    uint32_t known = 0;
    for (uint32_t type = 0; type < 256; type++) {
        uint8_t byte = (uint8_t)type;
        struct tlv_request request;
        struct key key;
        enum tlv_code code = 0;
        size_t used;
        int r = tlv_request_read(&byte, 1, &request, &key, &used, &code);
        known += r == TLV_SHORT;
        cr_assert(r == TLV_SHORT || code == TLV_CODE_UNKNOWN_TYPE);
    }
    cr_assert_eq(known, 14, "fourteen request types; the legacy bids 1 to 3 are not among them");
}

Test(tlv, wrong_lengths_are_refused_before_the_payload) {
    static const struct {
        uint8_t type, least, most;
    } shapes[] = {{TLV_HELLO, 16, 16},      {TLV_PING, 8, 8},       {TLV_GET, 8, 126},
                  {TLV_GET_RANGE, 16, 126}, {TLV_HAVE, 14, 14},     {TLV_PUT, 16, 126},
                  {TLV_DELETE, 8, 126},     {TLV_STAT, 8, 8},       {TLV_LIST, 18, 18},
                  {TLV_VERIFY, 8, 126},     {TLV_GET_MANY, 18, 18}, {TLV_PUT_MANY, 14, 14},
                  {TLV_PIN, 13, 126},       {TLV_UNPIN, 8, 126}};
    for (size_t i = 0; i < array_count(shapes); i++) {
        for (uint32_t length = 0; length < 256; length++) {
            uint8_t bytes[2] = {shapes[i].type, (uint8_t)length};
            struct tlv_request request;
            struct key key;
            enum tlv_code code = 0;
            size_t used;
            int r = tlv_request_read(bytes, 2, &request, &key, &used, &code);
            bool good = length >= shapes[i].least && length <= shapes[i].most;
            cr_assert_eq(r, good ? TLV_SHORT : TLV_BAD);
            cr_assert(good || code == TLV_CODE_BAD_LENGTH);
        }
    }
}

Test(tlv, a_pin_is_recursive_or_direct) {
    struct key key = frame_key("hello"), out_key;
    for (uint32_t mode = 0; mode < 256; mode++) {
        struct tlv_request pin = {
            .type = TLV_PIN, .class = TLV_CLASS_DEFAULT, .codec = 0x70, .mode = (uint8_t)mode};
        struct tlv_request out;
        uint8_t bytes[TLV_REQUEST_MAX];
        enum tlv_code code = 0;
        size_t used = 0;
        size_t count = tlv_request_write(&pin, &key, bytes);
        int r = tlv_request_read(bytes, count, &out, &out_key, &used, &code);
        bool good = mode == 1 || mode == 2;
        cr_assert_eq(r, good ? 0 : TLV_BAD);
        cr_assert(good ? out.mode == mode && out.codec == 0x70 && key_equal(&key, &out_key)
                       : code == TLV_CODE_BAD_FIELD);
    }
}

Test(tlv, counts_of_zero_or_above_the_limit_are_refused) {
    struct frame frames[REQUEST_FRAMES];
    request_frames(frames);
    struct frame have = frames[5], list = frames[9];
    put_be16(have.bytes + 10, 0);
    cr_assert_eq(code_of(&have), TLV_CODE_BAD_FIELD);
    put_be16(have.bytes + 10, TLV_HAVE_KEYS_MAX + 1);
    cr_assert_eq(code_of(&have), TLV_CODE_BAD_FIELD);
    put_be16(have.bytes + 10, 40); /* 40 keys cannot fit in 68 bytes */
    cr_assert_eq(code_of(&have), TLV_CODE_BAD_FIELD);
    for (uint32_t i = 11; i < 13; i++) { /* GET_MANY, PUT_MANY */
        struct frame many = frames[i];
        put_be16(many.bytes + 10, 0);
        cr_assert_eq(code_of(&many), TLV_CODE_BAD_FIELD);
        put_be16(many.bytes + 10, TLV_MANY_MAX + 1);
        cr_assert_eq(code_of(&many), TLV_CODE_BAD_FIELD);
        put_be16(many.bytes + 10, 40); /* nor forty items in these bodies */
        cr_assert_eq(code_of(&many), TLV_CODE_BAD_FIELD);
    }
    put_be16(list.bytes + 18, 0);
    cr_assert_eq(code_of(&list), TLV_CODE_BAD_FIELD);
    put_be16(list.bytes + 18, TLV_LIST_MAX + 1);
    cr_assert_eq(code_of(&list), TLV_CODE_BAD_FIELD);
}

Test(tlv, bodies_above_the_limit_are_refused) {
    struct frame frames[REQUEST_FRAMES];
    struct tlv_request request;
    struct key key;
    enum tlv_code code;
    request_frames(frames);
    struct frame hello = frames[1], have = frames[5], put = frames[6];
    put_be32(hello.bytes + 14, TLV_HELLO_BODY_MAX + 1);
    cr_assert_eq(code_of(&hello), TLV_CODE_BODY_TOO_LARGE);
    put_be32(have.bytes + 12, TLV_HAVE_BODY_MAX + 1);
    cr_assert_eq(code_of(&have), TLV_CODE_BODY_TOO_LARGE);
    struct frame get_many = frames[11], put_many = frames[12];
    put_be32(get_many.bytes + 16, TLV_HAVE_BODY_MAX + 1);
    cr_assert_eq(code_of(&get_many), TLV_CODE_BODY_TOO_LARGE);
    put_be32(put_many.bytes + 12, TLV_PUT_MANY_BODY_MAX + 1);
    cr_assert_eq(code_of(&put_many), TLV_CODE_BODY_TOO_LARGE);
    put_be32(put.bytes + 14, TLV_BLOCK_MAX + 1);
    cr_assert_eq(code_of(&put), TLV_CODE_BODY_TOO_LARGE);
    put_be32(put.bytes + 14, TLV_BLOCK_MAX);
    cr_assert_eq(read_frame(&put, &request, &key, &code), 0);
}

Test(tlv, classes_other_than_four_and_the_default_are_refused) {
    struct frame frames[REQUEST_FRAMES];
    struct tlv_request request;
    struct key key;
    enum tlv_code code;
    request_frames(frames);
    for (uint32_t class = 0; class < 256; class ++) {
        struct frame ping = frames[2], hello = frames[0];
        bool good = class <= 3 || class == TLV_CLASS_DEFAULT;
        ping.bytes[6] = (uint8_t) class;
        hello.bytes[8] = (uint8_t) class;
        cr_assert_eq(read_frame(&ping, &request, &key, &code), good ? 0 : TLV_BAD);
        cr_assert_eq(read_frame(&hello, &request, &key, &code), good ? 0 : TLV_BAD);
    }
}

static void refused(const void *key_bytes, size_t bytes, uint16_t code, uint64_t hash) {
    struct frame frame = get_with_key(key_bytes, bytes);
    struct tlv_request request;
    struct key key;
    enum tlv_code bad;
    cr_assert_eq(read_frame(&frame, &request, &key, &bad), 0);
    cr_assert(request.key_refused);
    cr_assert_eq(request.key_code, code);
    cr_assert_eq(request.refused_hash, hash);
    cr_assert_eq(request.id, 5);
}

Test(tlv, keys_never_stored_are_refused_but_keep_the_stream) {
    uint8_t blake3[34] = {0x1e, 32}, sha2[40] = {0x12, 32}, short_sha2[12] = {0x12, 10};
    refused(blake3, 34, TLV_CODE_UNKNOWN_HASH, 0x1e);
    refused(blake3, 33, TLV_CODE_BAD_KEY, 0);
    refused(sha2, 33, TLV_CODE_BAD_KEY, 0);
    refused(sha2, 35, TLV_CODE_BAD_KEY, 0);
    refused(short_sha2, 12, TLV_CODE_BAD_KEY, 0);
    refused("", 0, TLV_CODE_BAD_KEY, 0);
    refused("\x00\x01x", 3, TLV_CODE_BAD_KEY, 0); /* identity: the block is in its name */
}

Test(tlv, keys_of_other_known_hashes_are_taken) {
    uint8_t sha512[66] = {0x13, 64};
    struct frame frame = get_with_key(sha512, sizeof sha512);
    struct tlv_request request;
    struct key key;
    enum tlv_code code;
    cr_assert_eq(read_frame(&frame, &request, &key, &code), 0);
    cr_assert_not(request.key_refused);
    cr_assert_eq(key.code, 0x13);
    cr_assert_eq(key.digest_bytes, 64);
}

/* ---- the reader ---- */

struct story {
    uint64_t digest;
    uint32_t requests;
    uint32_t bodies; /* bytes */
    bool bad;
};

static void mix(struct story *story, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        story->digest = (story->digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

/* Bodies are mixed as bytes, so that how their runs are cut makes no difference. */
static void story_step(struct story *story, struct tlv_reader *reader, const uint8_t *bytes,
                       size_t count) {
    for (size_t at = 0; at < count && !story->bad;) {
        struct tlv_step step;
        struct key key;
        memset(&key, 0, sizeof key);
        enum tlv_event event = tlv_reader_step(reader, bytes + at, count - at, &step, &key);
        cr_assert_leq(step.used, count - at);
        at += step.used;
        switch (event) {
        case TLV_EVENT_MORE:
            cr_assert_eq(at, count);
            break;
        case TLV_EVENT_REQUEST:
            story->requests++;
            mix(story, &step.request.type, 1);
            mix(story, &step.request.id, 4);
            mix(story, &step.request.body_bytes, 4);
            mix(story, &key, 4 + key.digest_bytes);
            break;
        case TLV_EVENT_BODY:
            cr_assert_eq(step.body, bytes + at - step.used);
            cr_assert_gt(step.body_bytes, 0);
            story->bodies += step.body_bytes;
            mix(story, step.body, step.body_bytes);
            break;
        case TLV_EVENT_BAD:
            story->bad = true;
            mix(story, &step.code, sizeof step.code);
            mix(story, &step.request.id, sizeof step.request.id);
            break;
        }
    }
}

static struct story story_of(const uint8_t *bytes, size_t count, const size_t cuts[],
                             size_t cuts_count) {
    struct story story = {.digest = UINT64_C(0xcbf29ce484222325)};
    struct tlv_reader reader;
    size_t at = 0;
    tlv_reader_init(&reader);
    for (size_t i = 0; i < cuts_count; i++) {
        /* A copy of exactly these bytes: reading past them is an error a sanitizer sees. */
        size_t piece = cuts[i] - at;
        uint8_t *copy = malloc(piece ? piece : 1);
        memcpy(copy, bytes + at, piece);
        story_step(&story, &reader, copy, piece);
        free(copy);
        at = cuts[i];
    }
    story_step(&story, &reader, bytes + at, count - at);
    return story;
}

static size_t stream_of_all(uint8_t *out) {
    struct frame frames[REQUEST_FRAMES];
    size_t count = 0;
    request_frames(frames);
    for (uint32_t i = 0; i < REQUEST_FRAMES; i++) {
        memcpy(out + count, frames[i].bytes, frames[i].count);
        count += frames[i].count;
    }
    return count;
}

Test(tlv, every_split_of_a_stream_of_all_types_gives_the_same_events) {
    static uint8_t bytes[REQUEST_FRAMES * FRAME_MAX];
    size_t count = stream_of_all(bytes);
    struct story whole = story_of(bytes, count, NULL, 0);
    cr_assert_eq(whole.requests, REQUEST_FRAMES);
    cr_assert_eq(whole.bodies, 11 + 68 + 5 + 68 + 94);
    for (size_t first = 0; first <= count; first++) {
        for (size_t second = first; second <= count; second++) {
            size_t cuts[] = {first, second};
            cr_assert_eq(story_of(bytes, count, cuts, 2).digest, whole.digest, "%zu %zu", first,
                         second);
        }
    }
    size_t every[sizeof bytes];
    for (size_t i = 0; i < count; i++) {
        every[i] = i;
    }
    cr_assert_eq(story_of(bytes, count, every, count).digest, whole.digest, "byte by byte");
}

Test(tlv, damaged_streams_split_anywhere_give_the_same_events) {
    static uint8_t good[REQUEST_FRAMES * FRAME_MAX], bytes[sizeof good];
    size_t count = stream_of_all(good);
    unsigned seed = 7;
    for (uint32_t round = 0; round < 2000; round++) {
        memcpy(bytes, good, count);
        bytes[(size_t)rand_r(&seed) % count] = (uint8_t)rand_r(&seed);
        size_t at = (size_t)rand_r(&seed) % count;
        size_t cuts[] = {at, at + (size_t)rand_r(&seed) % (count - at)};
        struct story whole = story_of(bytes, count, NULL, 0);
        struct story split = story_of(bytes, count, cuts, 2);
        cr_assert_eq(split.digest, whole.digest, "round %u", round);
        cr_assert_eq(split.bad, whole.bad);
    }
}

Test(tlv, a_bad_frame_keeps_its_id_where_it_has_one) {
    struct frame frames[REQUEST_FRAMES];
    struct tlv_reader reader;
    struct tlv_step step;
    struct key key;
    request_frames(frames);
    put_be16(frames[5].bytes + 10, 0);
    for (size_t first = 0; first < 16; first += 5) {
        tlv_reader_init(&reader);
        if (first > 0) {
            cr_assert_eq(tlv_reader_step(&reader, frames[5].bytes, first, &step, &key),
                         TLV_EVENT_MORE);
        }
        cr_assert_eq(tlv_reader_step(&reader, frames[5].bytes + first, 16 - first, &step, &key),
                     TLV_EVENT_BAD);
        cr_assert_eq(step.request.id, 9);
    }
    tlv_reader_init(&reader);
    cr_assert_eq(tlv_reader_step(&reader, (const uint8_t *)"\1\20", 2, &step, &key), TLV_EVENT_BAD);
    cr_assert_eq(step.request.id, 0);
}

/* ---- small parts ---- */

Test(tlv, credentials_come_back_and_damaged_ones_are_refused) {
    uint8_t body[TLV_HELLO_BODY_MAX];
    struct tlv_credentials in = {.name = (const uint8_t *)"ann",
                                 .name_bytes = 3,
                                 .token = (const uint8_t *)"secret",
                                 .token_bytes = 6};
    struct tlv_credentials out;
    size_t bytes = tlv_credentials_write(&in, body);
    cr_assert_eq(bytes, 11);
    cr_assert_eq(tlv_credentials_read(body, bytes, &out), 0);
    cr_assert_eq(memcmp(out.name, "ann", 3), 0);
    cr_assert_eq(out.token_bytes, 6);
    cr_assert_eq(memcmp(out.token, "secret", 6), 0);
    cr_assert_eq(tlv_credentials_read(body, 0, &out), 0);
    cr_assert_eq(out.name_bytes + out.token_bytes, 0);
    cr_assert_eq(tlv_credentials_read(body, 1, &out), TLV_BAD);
    cr_assert_eq(tlv_credentials_read(body, 4, &out), TLV_BAD, "the name is longer than the body");
    in.token_bytes = TLV_HELLO_BODY_MAX;
    cr_assert_eq(tlv_credentials_write(&in, body), 0);
}

Test(tlv, every_code_has_words_of_its_own) {
    for (int code = 0; code < 200; code++) {
        bool known = (code >= 1 && code <= 8) || (code >= 100 && code <= 110);
        bool words = strcmp(tlv_code_text((enum tlv_code)code), "unknown code") != 0;
        cr_assert_eq(known, words, "%d", code);
    }
}
