/* SPDX-License-Identifier: MIT */
#pragma once

/* image — what a snapshot of the catalog looks like on the disk: a hint, never the only copy.
 *
 *   DIR/index/GGGGGGGGGGGGGGGG.snap   G = its generation in hex: boot epoch 24 bits | count 40 bits
 *
 *   | chunk | chunk | ... | manifest, at a page | tail, the last page |
 *   chunk:    one table of the catalog: its buckets as they lie in memory (RAW), or, where it is
 *             nearly empty, its entries one after another (LIST)
 *   manifest: what each chunk is, with its XXH3; then the coverage: which segments, of which
 *             generation, up to which byte, are in the chunks
 *   tail:     whose snapshot this is and where the manifest lies; ends in a CRC32C that is seeded
 *             with the store's UUID and the snapshot's generation
 *
 * Chunks stand in the order of the hashes they hold and cover all of them. A place in a chunk is on
 * the disk: what was resident has been given its place there.
 *
 * An entry says something only of a segment that is still there, of that generation, below the
 * covered byte. What lies beyond is read from the segment. */

#include "store/format.h"

#define IMAGE_MAGIC       0x504e534du /* "MSNP" */
#define IMAGE_VERSION     1u
#define IMAGE_NAME_DIGITS 16u
#define IMAGE_NAME_MAX    24u

enum image_kind { IMAGE_RAW = 1, IMAGE_LIST };

struct image_chunk {
    uint64_t offset; /* in the file */
    uint64_t xxh3;
    uint64_t first; /* the least hash that can stand in it */
    uint32_t bytes;
    uint32_t entries;
    uint32_t buckets; /* of the table */
    uint8_t depth;    /* hash bits below the shard's that all its entries share */
    uint8_t kind;     /* enum image_kind */
    uint16_t zero;
};
static_assert(sizeof(struct image_chunk) == 40, "format");
static_assert(offsetof(struct image_chunk, first) == 16, "format");
static_assert(offsetof(struct image_chunk, bytes) == 24, "format");
static_assert(offsetof(struct image_chunk, buckets) == 32, "format");
static_assert(offsetof(struct image_chunk, depth) == 36, "format");
static_assert(offsetof(struct image_chunk, kind) == 37, "format");

/* One entry of a LIST. */
struct image_entry {
    uint64_t hash;
    uint64_t place;
};
static_assert(sizeof(struct image_entry) == 16, "format");

enum image_segment_flags { IMAGE_CLOSED = 1 }; /* no more was to come into it */

struct image_segment {
    uint64_t generation;
    uint64_t covered_bytes; /* from the start of the file */
    uint32_t id;
    uint32_t flags;
};
static_assert(sizeof(struct image_segment) == 24, "format");

struct image_tail {
    uint32_t magic;
    uint16_t version;
    uint16_t zero;
    uint8_t uuid[16];
    uint64_t generation;
    uint64_t hash_seed;
    uint64_t created_us; /* wall clock, for people */
    uint64_t manifest_offset;
    uint64_t manifest_bytes; /* without its padding */
    uint64_t manifest_xxh3;
    uint64_t entries;
    uint32_t chunks;
    uint32_t segments;
};
static_assert(sizeof(struct image_tail) == 88, "format");
static_assert(offsetof(struct image_tail, uuid) == 8, "format");
static_assert(offsetof(struct image_tail, generation) == 24, "format");
static_assert(offsetof(struct image_tail, manifest_offset) == 48, "format");
static_assert(offsetof(struct image_tail, chunks) == 80, "format");

/* The first hash behind a table's; 0: there is none. */
static inline uint64_t image_next(uint64_t first, uint32_t depth) {
    return first + (UINT64_C(1) << (56 - depth));
}

/* The generation in a file name; 0: it is not a snapshot's. */
uint64_t image_generation(const char *name);
void image_name(uint64_t generation, char name[IMAGE_NAME_MAX]);

void image_seal(void *page);

/* image_check says whether the last page of a file is the tail of the snapshot it should be. The
 * page's bytes are no more than a claim before. Returns: 0 or FORMAT_BAD. */
struct image_bounds {
    const uint8_t *uuid;
    uint64_t hash_seed;
    uint64_t generation; /* from the file's name */
    uint64_t file_bytes;
};
must_check int image_check(const void *page, const struct image_bounds *bounds);

/* Where the two lists lie in the manifest. */
static inline const struct image_chunk *image_chunks(const void *manifest) {
    return manifest;
}
static inline const struct image_segment *image_segments(const struct image_tail *tail,
                                                         const void *manifest) {
    return (const void *)((const struct image_chunk *)manifest + tail->chunks);
}

/* manifest_check says whether this manifest belongs to a tail that image_check accepted, and
 * whether its chunks and segments can be. Returns: 0 or FORMAT_BAD. */
must_check int manifest_check(const void *manifest, const struct image_tail *tail);

/* chunk_check says whether these bytes are the chunk's, and whether each entry may stand in it.
 * Returns: 0 or FORMAT_BAD. */
must_check int chunk_check(const void *bytes, const struct image_chunk *chunk);
