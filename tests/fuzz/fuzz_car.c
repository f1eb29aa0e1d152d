/* SPDX-License-Identifier: MIT */
/* Any input is read as an archive, whole and cut as the first byte says: the story must be the
 * same, every block must lie where the reader says, and every error must name a place inside. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/ipld/car.h"

#include <string.h>

struct story {
    uint64_t digest;
    uint32_t blocks;
};

static void mix(struct story *story, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        story->digest = (story->digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

static void tell(struct story *story, enum car_event event, struct car_step *step, size_t bytes) {
    struct cid root;
    mix(story, &event, sizeof event);
    if (event == CAR_HEADER) {
        must(step->version == 1 || step->version == 2);
        while (car_root_next(&step->roots, &root)) {
            mix(story, root.digest, root.digest_bytes);
        }
    } else if (event == CAR_BLOCK) {
        uint8_t head[CAR_SECTION_HEAD_MAX];
        size_t head_bytes = car_section_head(&step->cid, step->data_bytes, head);
        must(step->offset + head_bytes + step->data_bytes <= bytes);
        must(memcmp(head + head_bytes - step->cid_bytes_count, step->cid_bytes,
                    step->cid_bytes_count) == 0);
        mix(story, step->data, step->data_bytes);
        mix(story, &step->offset, sizeof step->offset);
        story->blocks++;
    } else if (event == CAR_BAD) {
        must(step->offset <= bytes);
        must(strlen(step->text) > 0 && strlen(step->text) < CAR_TEXT_MAX - 1);
        must(strlen(car_fault_name(step->fault)) > 0);
        mix(story, step->text, strlen(step->text));
    }
}

static struct story read_archive(const uint8_t *data, size_t bytes, size_t piece, bool zero_ends) {
    static uint8_t buffer[CAR_BUFFER_MIN];
    struct story story = {.digest = UINT64_C(0xcbf29ce484222325)};
    struct car_reader reader;
    struct car_step step;
    car_reader_init(&reader, buffer, sizeof buffer, zero_ends);
    for (size_t at = 0; at < bytes;) {
        size_t give = piece < bytes - at ? piece : bytes - at;
        enum car_event event = car_reader_step(&reader, data + at, give, &step);
        must(step.used <= give);
        at += step.used;
        if (event == CAR_MORE) {
            must(step.used == give);
            continue;
        }
        tell(&story, event, &step, bytes);
        if (event == CAR_BAD && !step.skipped) {
            return story;
        }
    }
    enum car_event event = car_reader_end(&reader, &step);
    must(event == CAR_END || event == CAR_BAD);
    tell(&story, event, &step, bytes);
    return story;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    if (bytes == 0) {
        return 0;
    }
    bool zero_ends = data[0] & 1;
    struct story whole = read_archive(data + 1, bytes - 1, bytes, zero_ends);
    struct story split = read_archive(data + 1, bytes - 1, 1 + data[0] % 61, zero_ends);
    must(whole.digest == split.digest);
    must(whole.blocks == split.blocks);
    return 0;
}
