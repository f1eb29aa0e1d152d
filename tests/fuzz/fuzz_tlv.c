/* SPDX-License-Identifier: MIT */
/* Any input is read as a stream of requests, of replies, and as a capture. The first byte chooses
 * how the stream is cut: the events must not depend on it. What is accepted must come back the same
 * when it is written again. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/tlv/tlv.h"
#include "proto/tlv/tlv_decode.h"

#include <string.h>

struct story {
    uint64_t digest;
    bool bad;
};

static void mix(struct story *story, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        story->digest = (story->digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

/* In two runs: between them there may be padding. */
static void mix_request(struct story *story, const struct tlv_request *request) {
    mix(story, request, offsetof(struct tlv_request, body_bytes) + 4);
    mix(story, &request->cursor, sizeof *request - offsetof(struct tlv_request, cursor));
}

static void check_request(const struct tlv_request *request, const struct key *key) {
    uint8_t out[TLV_REQUEST_MAX];
    struct tlv_request again;
    struct key key_again;
    enum tlv_code code;
    size_t used = 0;
    must(request->body_bytes <=
         (request->type == TLV_PUT_MANY ? TLV_PUT_MANY_BODY_MAX : TLV_BLOCK_MAX));
    if (request->key_refused) {
        must(request->key_code == TLV_CODE_BAD_KEY || request->key_code == TLV_CODE_UNKNOWN_HASH);
        return;
    }
    size_t count = tlv_request_write(request, key->digest_bytes ? key : NULL, out);
    must(tlv_request_read(out, count, &again, &key_again, &used, &code) == 0);
    must(used == count);
    struct story first = {.digest = 1}, second = {.digest = 1};
    mix_request(&first, request);
    mix_request(&second, &again);
    must(first.digest == second.digest);
}

static struct story read_requests(const uint8_t *data, size_t bytes, size_t piece) {
    struct story story = {.digest = UINT64_C(0xcbf29ce484222325)};
    struct tlv_reader reader;
    tlv_reader_init(&reader);
    for (size_t at = 0; at < bytes && !story.bad;) {
        size_t give = piece < bytes - at ? piece : bytes - at;
        struct tlv_step step;
        struct key key;
        memset(&key, 0, sizeof key);
        enum tlv_event event = tlv_reader_step(&reader, data + at, give, &step, &key);
        must(step.used <= give);
        at += step.used;
        if (event == TLV_EVENT_REQUEST) {
            check_request(&step.request, &key);
            mix_request(&story, &step.request);
            mix(&story, &key, 4 + key.digest_bytes);
        } else if (event == TLV_EVENT_BODY) {
            must(step.body_bytes > 0);
            mix(&story, step.body, step.body_bytes);
        } else if (event == TLV_EVENT_BAD) {
            story.bad = true;
            mix(&story, &step.code, sizeof step.code);
        } else {
            must(step.used == give);
        }
    }
    return story;
}

static void read_replies(const uint8_t *data, size_t bytes) {
    for (size_t at = 0; at < bytes;) {
        struct tlv_reply reply;
        enum tlv_code code = 0;
        size_t used = 0;
        if (tlv_reply_read(data + at, bytes - at, &reply, &used, &code) != 0) {
            return;
        }
        must(used >= 6 && used <= bytes - at);
        must(strnlen(reply.text, sizeof reply.text) < sizeof reply.text);
        at += used + (reply.body_bytes < bytes - at - used ? reply.body_bytes : bytes - at - used);
    }
}

static void decode(const uint8_t *data, size_t bytes) {
    char text[TLV_DECODE_TEXT_MAX];
    for (size_t at = 0; at < bytes;) {
        size_t used = 0;
        int r = tlv_decode(data + at, bytes - at, text, &used);
        must(strnlen(text, sizeof text) < sizeof text);
        must(used <= bytes - at);
        if (r != 0) {
            return;
        }
        must(used > 0);
        at += used;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0) {
        return 0;
    }
    size_t piece = 1 + data[0] % 97;
    struct story whole = read_requests(data + 1, bytes - 1, bytes);
    struct story split = read_requests(data + 1, bytes - 1, piece);
    must(whole.digest == split.digest);
    must(whole.bad == split.bad);
    read_replies(data + 1, bytes - 1);
    decode(data + 1, bytes - 1);
    return 0;
}
