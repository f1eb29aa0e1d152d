/* SPDX-License-Identifier: MIT */
/* Any input is read as tokens, whole and cut as the first byte says: the story must be the same, no
 * reader takes a byte behind what it yields, and every name that is kept writes as it was read. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/libp2p/multistream.h"

#include <string.h>

struct story {
    uint64_t digest;
    size_t used;
    uint32_t tokens;
};

static void mix(struct story *story, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        story->digest = (story->digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

static void check_token(const struct multistream *reader, const uint8_t *data, size_t end) {
    uint8_t out[MULTISTREAM_WRITE_MAX];
    if (reader->name_chars == 0 || strlen(reader->name) != reader->name_chars) {
        return; /* too long, empty, or with a NUL in it: nothing that we would write */
    }
    must(multistream_is(reader, reader->name));
    size_t bytes = multistream_write(reader->name, out);
    must(bytes <= end);
    must(memcmp(out, data + end - bytes, bytes) == 0);
}

static struct story read_tokens(const uint8_t *data, size_t bytes, size_t piece) {
    struct story story = {.digest = UINT64_C(0xcbf29ce484222325)};
    struct multistream reader;
    multistream_init(&reader);
    while (story.used < bytes) {
        size_t give = piece < bytes - story.used ? piece : bytes - story.used, used;
        enum multistream_event event = multistream_step(&reader, data + story.used, give, &used);
        must(used <= give);
        story.used += used;
        if (event == MULTISTREAM_MORE) {
            must(used == give);
            continue;
        }
        mix(&story, &event, sizeof event);
        if (event == MULTISTREAM_BAD) {
            return story;
        }
        must((event == MULTISTREAM_HEADER) == (story.tokens == 0));
        must(++story.tokens <= MULTISTREAM_TOKENS_MAX);
        mix(&story, reader.name, reader.name_chars);
        check_token(&reader, data, story.used);
    }
    return story;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0) {
        return 0;
    }
    struct story whole = read_tokens(data + 1, bytes - 1, bytes);
    struct story split = read_tokens(data + 1, bytes - 1, 1 + data[0] % 61);
    must(whole.digest == split.digest);
    must(whole.used == split.used);
    return 0;
}
