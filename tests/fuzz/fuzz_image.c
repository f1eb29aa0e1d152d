/* SPDX-License-Identifier: MIT */
#include "store/image.h"

#include "base/bits.h"
#include "base/must.h"
#include "store/catalog.h"
#include "store/crc32c.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* A snapshot file of any bytes, looked at in the order a start does it.
 *
 * First byte: whether checksums are made right, so that what stands behind them is reached. What
 * must hold: nothing is read outside the file, every chunk that is accepted lies inside it, and no
 * entry that is accepted names a frame or belongs elsewhere. */

#define FILE_MAX (256u * 1024)

static const uint8_t uuid[16] = "a store of fuzz";

static bool inside(uint64_t offset, uint64_t count, uint64_t bytes) {
    return offset <= bytes && count <= bytes - offset;
}

/* The checksums, from the inside to the outside, as far as what they cover lies in the file. */
static void mend(uint8_t *file, uint64_t bytes) {
    struct image_tail *tail = (void *)(file + bytes - PAGE_BYTES);
    uint64_t at = tail->manifest_offset;
    uint64_t lists =
        tail->chunks * sizeof(struct image_chunk) + tail->segments * sizeof(struct image_segment);
    if (at % PAGE_BYTES == 0 && inside(at, lists, bytes) && lists == tail->manifest_bytes) {
        struct image_chunk *chunks = (void *)(file + at);
        for (uint32_t i = 0; i < tail->chunks; i++) {
            if (inside(chunks[i].offset, chunks[i].bytes, bytes)) {
                chunks[i].xxh3 = XXH3_64bits(file + chunks[i].offset, chunks[i].bytes);
            }
        }
        tail->manifest_xxh3 = XXH3_64bits(file + at, lists);
    }
    image_seal(tail);
}

static void look_at_chunk(const uint8_t *file, const struct image_chunk *chunk) {
    uint64_t *words = malloc(chunk->bytes ? chunk->bytes : 1); /* of just its size */
    must(words != NULL);
    memcpy(words, file + chunk->offset, chunk->bytes);
    if (chunk_check(words, chunk) == 0 && chunk->kind == IMAGE_LIST) {
        for (uint32_t i = 0; i < chunk->entries; i++) {
            must(words[2 * i] >= chunk->first && !place_resident(words[2 * i + 1]));
        }
    }
    free(words);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 + PAGE_BYTES || size > FILE_MAX || (size - 1) % PAGE_BYTES != 0) {
        return 0; /* a start looks no further either: the tail is a page */
    }
    crc32c_open();
    uint64_t bytes = size - 1;
    uint8_t *file = malloc(bytes);
    must(file != NULL);
    memcpy(file, data + 1, bytes);
    const struct image_tail *tail = (const void *)(file + bytes - PAGE_BYTES);
    if (data[0] & 1) {
        mend(file, bytes);
    }
    struct image_bounds bounds = {.uuid = uuid,
                                  .hash_seed = tail->hash_seed,
                                  .generation = tail->generation,
                                  .file_bytes = bytes};
    if (image_check(tail, &bounds) == 0) {
        must(inside(tail->manifest_offset, tail->manifest_bytes, bytes));
        const void *manifest = file + tail->manifest_offset;
        if (manifest_check(manifest, tail) == 0) {
            const struct image_chunk *chunks = image_chunks(manifest);
            for (uint32_t i = 0; i < tail->chunks; i++) {
                must(inside(chunks[i].offset, chunks[i].bytes, tail->manifest_offset));
                look_at_chunk(file, &chunks[i]);
            }
            const struct image_segment *segments = image_segments(tail, manifest);
            for (uint32_t i = 0; i < tail->segments; i++) {
                must(segments[i].id < SEGMENT_IDS);
            }
        }
    }
    free(file);
    return 0;
}
