/* SPDX-License-Identifier: MIT */
#pragma once

/* car_read — reads a whole archive in pieces of a chosen size and keeps what it said. */

#include "base/cid.h"
#include "base/hash.h"
#include "base/must.h"
#include "proto/ipld/car.h"

#include <stdio.h>
#include <string.h>

struct car_story {
    enum car_event last; /* END or BAD */
    struct car_step bad; /* of the last BAD */
    uint32_t version;
    uint32_t roots;
    uint32_t blocks;
    uint32_t skipped;
    uint32_t unverified; /* blocks that do not match their CID */
    uint64_t digest;     /* over all events, for comparing splits */
};

static inline void story_mix(struct car_story *story, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        story->digest = (story->digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

static inline bool block_true(const struct car_step *step) {
    uint8_t digest[CID_DIGEST_MAX];
    const struct cid *cid = &step->cid;
    if (cid->hash == HASH_IDENTITY) {
        return cid->digest_bytes == step->data_bytes &&
               memcmp(cid->digest, step->data, step->data_bytes) == 0;
    }
    return hash_compute(cid->hash, step->data, step->data_bytes, digest, cid->digest_bytes) == 0 &&
           memcmp(digest, cid->digest, cid->digest_bytes) == 0;
}

static inline void story_event(struct car_story *story, enum car_event event, struct car_step *step,
                               bool verify) {
    struct cid root;
    story_mix(story, &event, sizeof event);
    if (event == CAR_HEADER) {
        story->version = step->version;
        while (car_root_next(&step->roots, &root)) {
            story_mix(story, root.digest, root.digest_bytes);
            story->roots++;
        }
    } else if (event == CAR_BLOCK) {
        story->blocks++;
        story_mix(story, &step->offset, sizeof step->offset);
        story_mix(story, step->cid_bytes, step->cid_bytes_count + step->data_bytes);
        story->unverified += verify && !block_true(step);
    } else if (event == CAR_BAD) {
        story_mix(story, &step->offset, sizeof step->offset);
        story_mix(story, step->text, strlen(step->text));
        story->skipped += step->skipped;
        story->bad = *step;
    }
}

/* `piece` 0: all at once. */
static inline struct car_story car_story_read(const uint8_t *bytes, size_t count, size_t piece,
                                              void *buffer, size_t buffer_bytes, bool zero_ends,
                                              bool verify) {
    struct car_story story = {.digest = UINT64_C(0xcbf29ce484222325)};
    struct car_reader reader;
    struct car_step step;
    car_reader_init(&reader, buffer, buffer_bytes, zero_ends);
    for (size_t at = 0; at < count;) {
        size_t give = piece == 0 || piece > count - at ? count - at : piece;
        enum car_event event = car_reader_step(&reader, bytes + at, give, &step);
        must(step.used <= give);
        must(event != CAR_MORE || step.used == give);
        at += step.used;
        if (event == CAR_MORE) {
            continue;
        }
        story_event(&story, event, &step, verify);
        if (event == CAR_BAD && !step.skipped) {
            story.last = CAR_BAD;
            return story;
        }
    }
    story.last = car_reader_end(&reader, &step);
    story_event(&story, story.last, &step, verify);
    return story;
}
