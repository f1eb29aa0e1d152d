/* SPDX-License-Identifier: MIT */
/* Real blocks, by other programs: every block of each archive walks to its end, and every block but
 * the root is linked from one before or behind it. Skipped (77) where the samples are not there. */

#include "base/must.h"
#include "proto/ipld/car.h"
#include "proto/ipld/links.h"
#include "tests/proto/samples.h"

#include <stdio.h>
#include <string.h>

struct sample {
    const char *name;
    uint32_t blocks, links, distinct; /* links in all, and how many different CIDs they name */
    uint32_t root_links;
    uint32_t unlinked; /* blocks nobody links to: the root alone, or what the archive is made of */
};

static const struct sample samples[] = {
    {"car/sample-unixfs-v2.car", 3, 2, 2, 1, 1},
    {"car/sample-v1-tailing-corrupt-section.car", 1048, 6742, 1048, 4, 1},
    {"car/sample-v1-with-zero-len-section.car", 1049, 6750, 1048, 4, 1},
    {"car/sample-v1.car", 1049, 6750, 1048, 4, 1},
    {"car/sample-v2-indexless.car", 1049, 6750, 1048, 4, 1},
    {"car/sample-wrapped-v2.car", 1049, 6750, 1048, 4, 1},
    {"car/simple-unixfs-missing-blocks.car", 17, 19, 19, 3, 1},
    {"car/wikipedia-cryptographic-hash-function.car", 5, 684, 684, 11, 1},
    {"conformance/dir-with-dag-cbor-with-links.car", 9, 8, 8, 1, 1},
    {"conformance/dir-with-duplicate-files.car", 9, 9, 8, 4, 1},
    {"conformance/file-3k-and-3-blocks-missing-block.car", 3, 3, 3, 3, 1},
    {"conformance/gateway-raw-block.car", 3, 2, 2, 1, 1},
    {"conformance/single-layer-hamt-with-multi-block-files.car", 243, 1241, 242, 252, 1},
    {"conformance/subdir-with-mixed-block-files.car", 10, 9, 9, 1, 1},
    {"conformance/subdir-with-two-single-block-files.car", 4, 3, 3, 1, 1},
};

#define CIDS_MAX 4096

struct names {
    struct cid cids[CIDS_MAX];
    uint32_t count;
};

static uint8_t buffer[1 << 20];
static struct names blocks, targets;

static bool names_hold(const struct names *names, const struct cid *cid) {
    for (uint32_t i = 0; i < names->count; i++) {
        const struct cid *other = &names->cids[i];
        if (other->version == cid->version && other->codec == cid->codec &&
            other->hash == cid->hash && other->digest_bytes == cid->digest_bytes &&
            memcmp(other->digest, cid->digest, cid->digest_bytes) == 0) {
            return true;
        }
    }
    return false;
}

static void names_add(struct names *names, const struct cid *cid) {
    if (!names_hold(names, cid)) {
        must(names->count < CIDS_MAX);
        names->cids[names->count++] = *cid;
    }
}

/* Returns: links of the block; UINT32_MAX where it is not what its codec says. */
static uint32_t walk(const struct car_step *step) {
    struct links links;
    struct cid cid;
    uint32_t count = 0;
    int r;
    links_init(&links, step->cid.codec, step->data, step->data_bytes);
    while ((r = links_next(&links, &cid)) == 0) {
        names_add(&targets, &cid);
        count++;
    }
    return r == LINKS_END ? count : UINT32_MAX;
}

static bool sample_is(const struct sample *sample, size_t count) {
    struct car_reader reader;
    struct car_step step;
    struct sample found = {.name = sample->name};
    uint32_t bad = 0;
    struct cid root = {.version = 0};
    blocks.count = targets.count = 0;
    car_reader_init(&reader, buffer, sizeof buffer, true);
    for (size_t at = 0; at < count; at += step.used) {
        enum car_event event = car_reader_step(&reader, bytes + at, count - at, &step);
        if (event == CAR_HEADER && !car_root_next(&step.roots, &root)) {
            return false;
        }
        if (event != CAR_BLOCK) {
            continue;
        }
        uint32_t links = walk(&step);
        bad += links == UINT32_MAX;
        found.links += links == UINT32_MAX ? 0 : links;
        found.blocks++;
        if (step.cid.version == root.version && step.cid.codec == root.codec &&
            memcmp(step.cid.digest, root.digest, root.digest_bytes) == 0) {
            found.root_links = links;
        }
        names_add(&blocks, &step.cid);
    }
    for (uint32_t i = 0; i < blocks.count; i++) {
        found.unlinked += !names_hold(&targets, &blocks.cids[i]);
    }
    found.distinct = targets.count;
    bool same = found.blocks == sample->blocks && found.links == sample->links &&
                found.distinct == sample->distinct && found.root_links == sample->root_links &&
                found.unlinked == sample->unlinked && bad == 0;
    printf("%s {\"%s\", %u, %u, %u, %u, %u}, %u bad\n", same ? "ok" : "WRONG", sample->name,
           found.blocks, found.links, found.distinct, found.root_links, found.unlinked, bad);
    return same;
}

int main(int argc, char **argv) {
    const char *root = samples_root(argc, argv);
    if (samples_load(root, samples[0].name) == 0) {
        printf("no samples in %s: skipped\n", root);
        return 77;
    }
    uint32_t wrong = 0;
    for (size_t i = 0; i < array_count(samples); i++) {
        wrong += !sample_is(&samples[i], samples_load(root, samples[i].name));
    }
    return wrong == 0 ? 0 : 1;
}
