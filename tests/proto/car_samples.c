/* SPDX-License-Identifier: MIT */
/* Real archives, by other programs: each gives the blocks it has, however it is split, and each
 * damaged one names its place. Skipped (77) where the samples are not there. */

#include "tests/proto/car_read.h"
#include "tests/proto/samples.h"

struct sample {
    const char *name;
    uint32_t version, roots, blocks;
    enum car_event last;
    enum car_fault fault;
    uint64_t offset;
    bool zero_ends;
};

static const struct sample samples[] = {
    {"car/sample-v1.car", 1, 1, 1049, CAR_END, 0, 0, false},
    {"car/sample-v1-tailing-corrupt-section.car", 1, 1, 1048, CAR_BAD, CAR_TRUNCATED, 479518,
     false},
    {"car/sample-v1-with-zero-len-section.car", 1, 1, 1049, CAR_BAD, CAR_ZERO_LENGTH, 479907,
     false},
    {"car/sample-v1-with-zero-len-section.car", 1, 1, 1049, CAR_END, 0, 0, true},
    {"car/sample-v2-indexless.car", 2, 1, 1049, CAR_END, 0, 0, false},
    {"car/sample-wrapped-v2.car", 2, 1, 1049, CAR_END, 0, 0, false},
    {"car/sample-unixfs-v2.car", 2, 1, 3, CAR_END, 0, 0, false},
    {"car/sample-corrupt-pragma.car", 0, 0, 0, CAR_BAD, CAR_TRUNCATED, 0, false},
    {"car/badsectionlength.car", 1, 0, 0, CAR_BAD, CAR_TOO_LONG, 18, false},
    {"car/simple-unixfs-missing-blocks.car", 1, 1, 17, CAR_END, 0, 0, false},
    {"car/wikipedia-cryptographic-hash-function.car", 1, 1, 5, CAR_END, 0, 0, false},
    {"conformance/dir-with-dag-cbor-with-links.car", 1, 1, 9, CAR_END, 0, 0, false},
    {"conformance/dir-with-duplicate-files.car", 1, 1, 9, CAR_END, 0, 0, false},
    {"conformance/file-3k-and-3-blocks-missing-block.car", 1, 1, 3, CAR_END, 0, 0, false},
    {"conformance/gateway-raw-block.car", 1, 1, 3, CAR_END, 0, 0, false},
    {"conformance/single-layer-hamt-with-multi-block-files.car", 1, 1, 243, CAR_END, 0, 0, false},
    {"conformance/subdir-with-mixed-block-files.car", 1, 1, 10, CAR_END, 0, 0, false},
    {"conformance/subdir-with-two-single-block-files.car", 1, 1, 4, CAR_END, 0, 0, false},
};

static uint8_t buffer[CAR_SECTION_MAX];

static bool story_is(const struct sample *sample, const struct car_story *story) {
    bool same = story->last == sample->last && story->version == sample->version &&
                story->roots == sample->roots && story->blocks == sample->blocks &&
                story->unverified == 0 && story->skipped == 0;
    if (sample->last == CAR_BAD) {
        same = same && story->bad.fault == sample->fault && story->bad.offset == sample->offset;
    }
    if (!same) {
        printf("%s: version %u, %u roots, %u blocks, %u not true, %u skipped, last %d: %s\n",
               sample->name, story->version, story->roots, story->blocks, story->unverified,
               story->skipped, (int)story->last, story->last == CAR_BAD ? story->bad.text : "");
    }
    return same;
}

int main(int argc, char **argv) {
    const char *root = samples_root(argc, argv);
    if (samples_load(root, samples[0].name) == 0) {
        printf("no samples in %s: skipped\n", root);
        return 77;
    }
    must(hash_open() == 0);
    uint32_t wrong = 0;
    for (size_t i = 0; i < array_count(samples); i++) {
        const struct sample *sample = &samples[i];
        size_t count = samples_load(root, sample->name);
        struct car_story whole =
            car_story_read(bytes, count, 0, buffer, sizeof buffer, sample->zero_ends, true);
        bool good = count > 0 && story_is(sample, &whole);
        static const size_t pieces[] = {1, 2, 3, 1000, 4096, 65536};
        for (size_t p = 0; p < array_count(pieces); p++) {
            struct car_story story = car_story_read(bytes, count, pieces[p], buffer, sizeof buffer,
                                                    sample->zero_ends, false);
            good = good && story.digest == whole.digest;
        }
        if (whole.last == CAR_BAD) {
            printf("%s: %s\n", sample->name, whole.bad.text);
        }
        wrong += !good;
        printf("%s %s\n", good ? "ok" : "WRONG", sample->name);
    }
    return wrong == 0 ? 0 : 1;
}
