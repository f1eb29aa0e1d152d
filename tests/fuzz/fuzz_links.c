/* SPDX-License-Identifier: MIT */
/* Any input is read as a block of the codec that its first byte chooses. It must end; every link
 * must be written as it was read; and a block cut short must not have links the whole one has not.
 */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/ipld/links.h"

#include <string.h>

struct story {
    uint64_t digests[4]; /* over the first 1, 2, 3 links, and all of them */
    uint32_t count;
    int last;
};

static void mix(uint64_t *digest, const void *data, size_t bytes) {
    const uint8_t *p = data;
    for (size_t i = 0; i < bytes; i++) {
        *digest = (*digest ^ p[i]) * UINT64_C(0x100000001b3);
    }
}

static void check_link(const struct cid *cid) {
    uint8_t out[CID_BYTES_MAX];
    struct cid again;
    size_t used;
    size_t count = cid_write(cid, out);
    must(cid_read(out, count, &again, &used) == 0);
    must(used == count);
    must(again.codec == cid->codec);
    must(memcmp(again.digest, cid->digest, cid->digest_bytes) == 0);
}

static struct story read_block(uint64_t codec, const uint8_t *block, size_t bytes) {
    struct story story = {.count = 0};
    struct links links;
    struct cid cid;
    links_init(&links, codec, block, bytes);
    while ((story.last = links_next(&links, &cid)) == 0) {
        check_link(&cid);
        for (uint32_t i = 0; i < array_count(story.digests); i++) {
            if (story.count <= i || i == array_count(story.digests) - 1) {
                mix(&story.digests[i], cid.digest, cid.digest_bytes);
            }
        }
        story.count++;
        must(story.count <= bytes);
    }
    must(story.last == LINKS_END || story.last == LINKS_BAD);
    must(links_next(&links, &cid) == story.last);
    return story;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    static const uint64_t codecs[] = {CID_DAG_PB, CID_DAG_CBOR, CID_DAG_JSON};
    if (bytes == 0) {
        return 0;
    }
    uint64_t codec = codecs[data[0] % 3];
    struct story whole = read_block(codec, data + 1, bytes - 1);
    struct story cut = read_block(codec, data + 1, (bytes - 1) * (data[0] / 3u) / 86u);
    must(cut.count <= whole.count);
    for (uint32_t i = 0; i < array_count(cut.digests) - 1; i++) {
        must(cut.count <= i || cut.digests[i] == whole.digests[i]);
    }
    return 0;
}
