/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/multistream.h"

#include "base/bits.h"
#include "base/must.h"

#include <string.h>

/* LENGTH -> [LENGTH_MORE ->] TEXT -> LENGTH ...; any of them -> ENDED, for good */
enum { STATE_LENGTH, STATE_LENGTH_MORE, STATE_TEXT, STATE_ENDED };

const char multistream_header[] = "/multistream/1.0.0";
const char multistream_na[] = "na";

#define HEADER_CHARS (sizeof multistream_header - 1)

static_assert(MULTISTREAM_TOKEN_MAX < 1u << 14, "a length has at most two bytes");
static_assert(MULTISTREAM_NAME_MAX + 1 < 1u << 7, "what we write has a length of one byte");
static_assert(HEADER_CHARS <= MULTISTREAM_NAME_MAX, "the header is compared where names are kept");

void multistream_init(struct multistream *reader) {
    *reader = (struct multistream){.state = STATE_LENGTH};
}

static enum multistream_event end_bad(struct multistream *reader) {
    reader->state = STATE_ENDED;
    return MULTISTREAM_BAD;
}

/* A length is known: is there such a token here? The first one is the header, of the header's
 * length and no other, so that a peer of another protocol is known by its first byte. */
static enum multistream_event begin_text(struct multistream *reader) {
    bool header = reader->tokens == 0;
    if (reader->length == 0 || reader->length > MULTISTREAM_TOKEN_MAX ||
        (header && reader->length != HEADER_CHARS + 1)) {
        return end_bad(reader);
    }
    reader->used = 0;
    reader->name_chars = 0;
    reader->state = STATE_TEXT;
    return MULTISTREAM_MORE;
}

static enum multistream_event take_length(struct multistream *reader, uint8_t byte) {
    if (reader->state == STATE_LENGTH) {
        if (reader->tokens == MULTISTREAM_TOKENS_MAX) {
            return end_bad(reader);
        }
        reader->length = byte & 0x7fu;
        if ((byte & 0x80u) == 0) {
            return begin_text(reader);
        }
        reader->state = STATE_LENGTH_MORE;
        return MULTISTREAM_MORE;
    }
    if (byte == 0 || (byte & 0x80u) != 0) {
        return end_bad(reader); /* a longer spelling than needed, or far beyond the limit */
    }
    reader->length = (uint16_t)(reader->length | byte << 7);
    return begin_text(reader);
}

/* The token is whole; its last byte was `last`. */
static enum multistream_event end_text(struct multistream *reader, uint8_t last) {
    size_t chars = reader->length - 1u;
    if (last != '\n') {
        return end_bad(reader);
    }
    if (chars <= MULTISTREAM_NAME_MAX) {
        reader->name_chars = (uint8_t)chars;
    }
    reader->name[reader->name_chars] = 0;
    if (reader->tokens == 0 && !multistream_is(reader, multistream_header)) {
        return end_bad(reader);
    }
    reader->state = STATE_LENGTH;
    return reader->tokens++ == 0 ? MULTISTREAM_HEADER : MULTISTREAM_TOKEN;
}

/* Returns: bytes taken, at least one. */
static size_t take_text(struct multistream *reader, const uint8_t *bytes, size_t count) {
    size_t take = min_u64(count, (size_t)(reader->length - reader->used));
    if (reader->used < MULTISTREAM_NAME_MAX) {
        size_t keep = min_u64(take, MULTISTREAM_NAME_MAX - reader->used);
        memcpy(reader->name + reader->used, bytes, keep);
    }
    reader->used = (uint16_t)(reader->used + take);
    return take;
}

enum multistream_event multistream_step(struct multistream *reader, const uint8_t *bytes,
                                        size_t count, size_t *ret_used) {
    size_t at = 0;
    enum multistream_event event =
        reader->state == STATE_ENDED ? MULTISTREAM_BAD : MULTISTREAM_MORE;
    while (event == MULTISTREAM_MORE && at < count) {
        if (reader->state != STATE_TEXT) {
            event = take_length(reader, bytes[at++]);
            continue;
        }
        at += take_text(reader, bytes + at, count - at);
        if (reader->used == reader->length) {
            event = end_text(reader, bytes[at - 1]);
        }
    }
    *ret_used = at;
    return event;
}

bool multistream_is(const struct multistream *reader, const char *name) {
    return strlen(name) == reader->name_chars &&
           memcmp(reader->name, name, reader->name_chars) == 0;
}

size_t multistream_write(const char *name, uint8_t out[MULTISTREAM_WRITE_MAX]) {
    size_t chars = strlen(name);
    must(chars >= 1);
    must(chars <= MULTISTREAM_NAME_MAX);
    out[0] = (uint8_t)(chars + 1);
    memcpy(out + 1, name, chars);
    out[1 + chars] = '\n';
    return chars + 2;
}
