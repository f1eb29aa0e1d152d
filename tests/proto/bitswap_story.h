/* SPDX-License-Identifier: MIT */
#pragma once

/* bitswap_story — what a reader tells of some bytes, as text that tests can compare.
 *
 * A line an event; pieces of one block are one line, since their number depends on how the bytes
 * were cut. */

#include "base/must.h"
#include "proto/bitswap/bitswap.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct bitswap_story {
    char text[1 << 16];
    size_t used;
    uint32_t skipped;
    bool idle;    /* at the end, the stream might have ended */
    bool in_data; /* the last line is one of data */
};

static inline void bitswap_say(struct bitswap_story *story, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline void bitswap_say(struct bitswap_story *story, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    int chars =
        vsnprintf(story->text + story->used, sizeof story->text - story->used, format, arguments);
    va_end(arguments);
    must(chars >= 0);
    must((size_t)chars < sizeof story->text - story->used);
    story->used += (size_t)chars;
}

static inline void bitswap_say_hex(struct bitswap_story *story, const uint8_t *bytes,
                                   size_t count) {
    for (size_t i = 0; i < count; i++) {
        bitswap_say(story, "%02x", bytes[i]);
    }
}

static inline void bitswap_say_name(struct bitswap_story *story, const struct key *key,
                                    const struct bitswap_form *form) {
    bitswap_say(story, "v%u %x %x-", form->version, form->codec, key->code);
    bitswap_say_hex(story, key->digest, key->digest_bytes < 4 ? key->digest_bytes : 4);
    bitswap_say(story, "/%u", key->digest_bytes);
}

static inline void bitswap_say_event(struct bitswap_story *story, enum bitswap_event event,
                                     const struct bitswap_step *step) {
    if (event == BITSWAP_MORE) {
        return;
    }
    if (story->in_data && event != BITSWAP_DATA) {
        bitswap_say(story, "\n");
        story->in_data = false;
    }
    switch (event) {
    case BITSWAP_MORE:
        return;
    case BITSWAP_BEGIN:
        bitswap_say(story, "begin %u\n", step->message_bytes);
        return;
    case BITSWAP_WANT:
        bitswap_say(story, "want ");
        bitswap_say_name(story, &step->want.key, &step->want.form);
        bitswap_say(story, " %d%s%s%s\n", step->want.priority, step->want.cancel ? " cancel" : "",
                    step->want.have ? " have" : "", step->want.send_dont_have ? " dont" : "");
        return;
    case BITSWAP_FULL:
        bitswap_say(story, "full\n");
        return;
    case BITSWAP_BLOCK:
        bitswap_say(story, "block %u\n", step->block_bytes);
        return;
    case BITSWAP_DATA:
        must(step->count > 0);
        bitswap_say_hex(story, step->bytes, step->count);
        story->in_data = true;
        return;
    case BITSWAP_BLOCK_END:
        if (step->prefix.known) {
            bitswap_say(story, "is v%u %x %x/%d\n", step->prefix.form.version,
                        step->prefix.form.codec, (unsigned)step->prefix.hash,
                        (int)step->prefix.digest_bytes);
        } else {
            bitswap_say(story, "is unknown\n");
        }
        return;
    case BITSWAP_PRESENCE:
        bitswap_say(story, step->presence.have ? "have " : "dont have ");
        bitswap_say_name(story, &step->presence.key, &step->presence.form);
        bitswap_say(story, "\n");
        return;
    case BITSWAP_PENDING:
        bitswap_say(story, "pending %d\n", step->pending_bytes);
        return;
    case BITSWAP_END:
        bitswap_say(story, "end\n");
        return;
    case BITSWAP_BAD:
        bitswap_say(story, "bad\n");
        return;
    }
}

/* Reads `bytes` in pieces of `piece` bytes, the first of them `first` long. */
static inline void bitswap_story_read(struct bitswap_story *story, const uint8_t *bytes,
                                      size_t count, size_t first, size_t piece) {
    struct bitswap_reader reader;
    memset(&reader, 0xa5, sizeof reader);
    bitswap_reader_init(&reader);
    *story = (struct bitswap_story){.used = 0};
    size_t at = 0, end = 0, wide = first;
    enum bitswap_event event = BITSWAP_MORE;
    do {
        end = count - end < wide ? count : end + wide;
        wide = piece;
        do {
            struct bitswap_step step;
            event = bitswap_step(&reader, bytes + at, end - at, &step);
            must(step.used <= end - at);
            at += step.used;
            bitswap_say_event(story, event, &step);
        } while (event != BITSWAP_MORE && event != BITSWAP_BAD);
        must(event == BITSWAP_BAD || at == end);
    } while (at < count && event != BITSWAP_BAD);
    story->skipped = reader.skipped;
    story->idle = event != BITSWAP_BAD && bitswap_reader_idle(&reader);
}
