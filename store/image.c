/* SPDX-License-Identifier: MIT */
#include "store/image.h"

#include "base/bits.h"
#include "store/table.h"
#include "store/text.h"

#include <string.h>
#include <xxhash.h>

uint64_t image_generation(const char *name) {
    uint64_t generation = 0;
    if (strlen(name) != IMAGE_NAME_DIGITS + 5 || strcmp(name + IMAGE_NAME_DIGITS, ".snap") != 0) {
        return 0;
    }
    for (uint32_t i = 0; i < IMAGE_NAME_DIGITS; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit = strchr(digits, name[i]);
        if (!digit || *digit == 0) {
            return 0;
        }
        generation = generation << 4 | (uint64_t)(digit - digits);
    }
    return generation;
}

void image_name(uint64_t generation, char name[IMAGE_NAME_MAX]) {
    struct text text = {name, IMAGE_NAME_MAX, 0};
    text_add_hex(&text, generation, IMAGE_NAME_DIGITS);
    text_add(&text, ".snap");
}

static uint32_t tail_seed(const uint8_t uuid[16], uint64_t generation) {
    return format_crc_base(uuid, generation);
}

void image_seal(void *page) {
    const struct image_tail *tail = page;
    page_seal(page, tail_seed(tail->uuid, tail->generation));
}

int image_check(const void *page, const struct image_bounds *bounds) {
    const struct image_tail *tail = page;
    if (tail->magic != IMAGE_MAGIC || tail->version != IMAGE_VERSION ||
        tail->generation != bounds->generation || tail->hash_seed != bounds->hash_seed ||
        memcmp(tail->uuid, bounds->uuid, sizeof tail->uuid) != 0 ||
        !page_sound(page, tail_seed(tail->uuid, tail->generation))) {
        return FORMAT_BAD;
    }
    uint64_t lists =
        tail->chunks * sizeof(struct image_chunk) + tail->segments * sizeof(struct image_segment);
    bool fits =
        bounds->file_bytes % PAGE_BYTES == 0 && bounds->file_bytes >= 2 * PAGE_BYTES &&
        tail->manifest_offset % PAGE_BYTES == 0 && tail->manifest_bytes == lists &&
        lists < bounds->file_bytes && tail->manifest_offset < bounds->file_bytes &&
        tail->manifest_offset + round_up(lists, PAGE_BYTES) + PAGE_BYTES == bounds->file_bytes;
    return fits && tail->segments < SEGMENT_IDS ? 0 : FORMAT_BAD;
}

static bool chunk_fits(const struct image_chunk *chunk, uint64_t first, uint64_t offset,
                       uint64_t end) {
    if (chunk->first != first || chunk->offset != offset || chunk->depth < DEPTH_LEAST ||
        chunk->depth > DEPTH_MAX || chunk->bytes > end - offset || chunk->zero != 0) {
        return false;
    }
    uint64_t range = UINT64_C(1) << (56 - chunk->depth);
    bool whole = chunk->kind == IMAGE_RAW
                     ? chunk->bytes == chunk->buckets * sizeof(struct bucket)
                     : chunk->kind == IMAGE_LIST &&
                           chunk->bytes == chunk->entries * sizeof(struct image_entry);
    return whole && first % range == 0 && table_buckets_valid(chunk->buckets) &&
           chunk->entries <= chunk->buckets * BUCKET_ENTRIES;
}

int manifest_check(const void *manifest, const struct image_tail *tail) {
    if (XXH3_64bits(manifest, tail->manifest_bytes) != tail->manifest_xxh3) {
        return FORMAT_BAD;
    }
    const struct image_chunk *chunks = image_chunks(manifest);
    uint64_t first = 0, offset = 0, entries = 0;
    for (uint32_t i = 0; i < tail->chunks; i++) {
        if ((i > 0 && first == 0) ||
            !chunk_fits(&chunks[i], first, offset, tail->manifest_offset)) {
            return FORMAT_BAD;
        }
        first = image_next(first, chunks[i].depth);
        offset += chunks[i].bytes;
        entries += chunks[i].entries;
    }
    const struct image_segment *segments = image_segments(tail, manifest);
    uint32_t id = 0;
    for (uint32_t i = 0; i < tail->segments; i++) {
        if (segments[i].id <= id || segments[i].id >= SEGMENT_IDS ||
            segments[i].covered_bytes % PAGE_BYTES != 0) {
            return FORMAT_BAD;
        }
        id = segments[i].id;
    }
    bool whole = first == 0 && tail->chunks > 0 && entries == tail->entries;
    return whole ? 0 : FORMAT_BAD;
}

static bool entry_fits(const struct image_chunk *chunk, uint64_t hash, uint64_t place) {
    uint64_t state = place & PLACE_STATE_MASK;
    return (hash ^ chunk->first) >> (56 - chunk->depth) == 0 &&
           (state == PLACE_SSD || state == PLACE_HDD);
}

int chunk_check(const void *bytes, const struct image_chunk *chunk) {
    if (XXH3_64bits(bytes, chunk->bytes) != chunk->xxh3) {
        return FORMAT_BAD;
    }
    uint32_t entries = 0;
    if (chunk->kind == IMAGE_LIST) {
        const struct image_entry *list = bytes;
        for (uint32_t i = 0; i < chunk->entries; i++) {
            if (list[i].hash == 0 || !entry_fits(chunk, list[i].hash, list[i].place)) {
                return FORMAT_BAD;
            }
        }
        return 0;
    }
    const uint64_t *words = bytes; /* a bucket: four hashes, then four places */
    for (uint32_t b = 0; b < chunk->buckets; b++, words += 2 * BUCKET_ENTRIES) {
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            if (words[i] == 0) {
                continue;
            }
            entries++;
            if (!entry_fits(chunk, words[i], words[BUCKET_ENTRIES + i])) {
                return FORMAT_BAD;
            }
        }
    }
    return entries == chunk->entries ? 0 : FORMAT_BAD;
}
