/* SPDX-License-Identifier: MIT */
#include "tools/load/content.h"

#include "base/err.h"
#include "base/hash.h"
#include "base/must.h"
#include "tools/load/draw.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SLICE_STEP  64u
#define SLICE_COUNT 1024u /* 64 KiB of places where a slice may begin: stays in the cache */

int content_open(struct content *content, uint64_t keys, uint32_t bytes, uint64_t seed,
                 bool hashed) {
    must(bytes >= CONTENT_BYTES_MIN);
    *content = (struct content){.seed = draw_mix(seed), .keys = keys, .bytes = bytes};
    size_t noise_bytes = (size_t)SLICE_STEP * SLICE_COUNT + ((bytes + 7u) & ~7u);
    content->noise = malloc(noise_bytes);
    content->scratch = malloc(bytes);
    if (content->noise == NULL || content->scratch == NULL) {
        goto undo;
    }
    for (size_t at = 0; at < noise_bytes; at += 8) {
        uint64_t word = draw_mix(content->seed + at);
        memcpy(content->noise + at, &word, sizeof word);
    }
    if (!hashed) {
        return 0;
    }
    content->digests = malloc(keys * CONTENT_DIGEST_BYTES);
    if (content->digests == NULL) {
        goto undo;
    }
    for (uint64_t i = 0; i < keys; i++) {
        int r =
            content_hash(content, i, content->scratch, content->digests + i * CONTENT_DIGEST_BYTES);
        if (r != 0) {
            content_close(content);
            return err_pass(r);
        }
    }
    return 0;
undo:
    content_close(content);
    return err_raise(-ENOMEM);
}

void content_close(struct content *content) {
    free(content->noise);
    free(content->scratch);
    free(content->digests);
    *content = (struct content){0};
}

int content_hash(const struct content *content, uint64_t index, uint8_t *scratch,
                 uint8_t digest[CONTENT_DIGEST_BYTES]) {
    content_copy(content, index, scratch);
    int r = hash_compute(HASH_SHA2_256, scratch, content->bytes, digest, CONTENT_DIGEST_BYTES);
    return r == 0 ? 0 : err_raise(-EIO);
}

/* draw_mix is a bijection, so stamps cut to 8 bytes still differ for every index. */
static void stamp_write(const struct content *content, uint64_t index,
                        uint8_t stamp[CONTENT_STAMP_BYTES]) {
    uint64_t words[2] = {draw_mix(index ^ content->seed), draw_mix(index + ~content->seed)};
    memcpy(stamp, words, sizeof words);
}

uint32_t content_stamp(const struct content *content, uint64_t index, uint8_t *out) {
    uint8_t stamp[CONTENT_STAMP_BYTES];
    stamp_write(content, index, stamp);
    uint32_t bytes = content->bytes < CONTENT_STAMP_BYTES ? content->bytes : CONTENT_STAMP_BYTES;
    memcpy(out, stamp, bytes);
    return bytes;
}

static const uint8_t *slice_of(const struct content *content, uint64_t index) {
    return content->noise + (index * UINT64_C(0x9e3779b97f4a7c15) >> 54) * SLICE_STEP;
}

const uint8_t *content_tail(const struct content *content, uint64_t index) {
    return slice_of(content, index) + CONTENT_STAMP_BYTES;
}

void content_copy(const struct content *content, uint64_t index, uint8_t *out) {
    uint32_t head = content_stamp(content, index, out);
    if (content->bytes > head) {
        memcpy(out + head, content_tail(content, index), content->bytes - head);
    }
}

uint64_t content_find(const struct content *content, const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return draw_unmix(word) ^ content->seed;
}

bool content_equal(const struct content *content, uint64_t index, uint32_t offset,
                   const uint8_t *bytes, size_t count) {
    if (offset > content->bytes || count > content->bytes - offset) {
        return false;
    }
    if (offset < CONTENT_STAMP_BYTES && count > 0) {
        uint8_t stamp[CONTENT_STAMP_BYTES];
        stamp_write(content, index, stamp);
        size_t head = CONTENT_STAMP_BYTES - offset < count ? CONTENT_STAMP_BYTES - offset : count;
        if (memcmp(bytes, stamp + offset, head) != 0) {
            return false;
        }
        bytes += head;
        count -= head;
        offset += (uint32_t)head;
    }
    return count == 0 || memcmp(bytes, slice_of(content, index) + offset, count) == 0;
}
