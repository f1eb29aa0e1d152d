/* SPDX-License-Identifier: MIT */
#include "store/peek.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/hash.h"
#include "store/inside.h"
#include "store/vm.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

int peek_open(struct peek *peek, struct store *store) {
    *peek = (struct peek){.store = store};
    peek->buffer_bytes = round_up(store->record_bytes_max + PEEK_AHEAD, PAGE_BYTES) + PAGE_BYTES;
    peek->buffer = vm_map(peek->buffer_bytes);
    peek->block = vm_map(STORE_BLOCK_HARD_MAX);
    int r = peek->buffer && peek->block ? 0 : err_raise(-ENOMEM);
    return r == 0 ? unzip_open(&peek->unzip) : r;
}

void peek_close(struct peek *peek) {
    unzip_close(&peek->unzip);
    vm_unmap(peek->block, STORE_BLOCK_HARD_MAX);
    vm_unmap(peek->buffer, peek->buffer_bytes);
    *peek = (struct peek){0};
}

static bool multihash_sound(const struct peek *peek) {
    uint8_t digest[HASH_DIGEST_MAX];
    const struct key *key = &peek->key;
    return hash_compute(key->code, peek->payload, peek->bytes, digest, key->digest_bytes) == 0 &&
           memcmp(digest, key->digest, key->digest_bytes) == 0;
}

static int opened(struct peek *peek, const uint8_t *stored) {
    if (!record_zipped(peek->record)) {
        return 0;
    }
    peek->payload = peek->block;
    return unzip_record(&peek->unzip, peek->record, stored, peek->block);
}

/* What was read: is it the record, and whole? */
static int prove(struct peek *peek, const struct record_bounds *bounds, enum peek_depth depth) {
    const struct record_header *record = peek->record;
    uint64_t length = bounds->bytes_max;
    bool keyless = record->type == RECORD_COMMIT;
    if (record_check(record, bounds) != 0 || (!keyless && record_key(record, &peek->key) != 0) ||
        record_span(record->header_bytes, record->stored_bytes) != length) {
        return STORE_CORRUPT;
    }
    peek->rotten = true;
    const uint8_t *stored = (const uint8_t *)record + record->header_bytes;
    peek->payload = record_zipped(record) ? NULL : stored;
    peek->bytes = record_block_bytes(record);
    if (!zip_header_sound(record) ||
        (depth >= PEEK_CHECKSUM &&
         XXH3_64bits(stored, record->stored_bytes) != record->payload_xxh3)) {
        return STORE_CORRUPT;
    }
    if (depth >= PEEK_MULTIHASH && record->type == RECORD_BLOCK &&
        (opened(peek, stored) != 0 || !multihash_sound(peek))) {
        return STORE_CORRUPT;
    }
    peek->rotten = false;
    return 0;
}

/* The bytes at `offset`, from the buffer or by a read. Returns: how many are there, from *ret_at
 * on; -errno. */
static int64_t bytes_at(struct peek *peek, const struct segment *segment, uint64_t offset,
                        uint64_t needed, const uint8_t **ret_at) {
    const struct disk *disk = &peek->store->config.disk;
    bool here = peek->generation == segment->generation && offset >= peek->at &&
                offset + needed <= peek->at + peek->filled;
    if (!here) {
        uint64_t from = round_down(offset, PAGE_BYTES);
        uint64_t end = atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
        uint64_t ahead = min_u64(peek->ahead, end > from ? end - from : 0);
        uint64_t bytes = round_up(max_u64(offset + needed - from, ahead), PAGE_BYTES);
        peek->filled = 0;
        if (bytes > peek->buffer_bytes) {
            return 0; /* a footer's word for a record larger than any */
        }
        int64_t n = disk->calls->pread(disk->backend, segment->fd, peek->buffer, bytes, from);
        if (n < 0) {
            return n;
        }
        peek->generation = segment->generation;
        peek->at = from;
        peek->filled = (uint64_t)n;
    }
    uint64_t front = offset - peek->at;
    *ret_at = peek->buffer + front;
    return peek->filled > front ? (int64_t)(peek->filled - front) : 0;
}

/* Of a pinned segment. */
static int look(struct peek *peek, uint64_t place, enum peek_depth depth) {
    struct spot spot = place_spot(place);
    const struct segment *segment = &peek->store->segments.all[spot.segment];
    uint64_t start = (uint64_t)spot.offset_units * RECORD_UNIT;
    uint64_t length = (uint64_t)spot.length_units * RECORD_UNIT;
    uint64_t needed = depth == PEEK_HEADER ? min_u64(length, RECORD_HEADER_MAX) : length;
    const uint8_t *at = NULL;
    int64_t n = bytes_at(peek, segment, start, needed, &at);
    if (n < (int64_t)needed) {
        return n < 0 ? (int)n : STORE_CORRUPT;
    }
    peek->record = (const void *)at;
    return prove(peek,
                 &(struct record_bounds){.crc_base = segment->crc_base,
                                         .generation = segment->generation,
                                         .offset = start,
                                         .bytes_here = (uint64_t)n,
                                         .bytes_max = length},
                 depth);
}

int peek_look(struct peek *peek, uint64_t place, enum peek_depth depth) {
    struct segment *segment = &peek->store->segments.all[place_spot(place).segment];
    peek->record = NULL;
    peek->rotten = false;
    if (!segment_pin(segment)) {
        return STORE_RETRY;
    }
    int r = look(peek, place, depth);
    if (r != 0) { /* once more: it may have been the way here */
        peek->rotten = false;
        peek->filled = 0;
        r = look(peek, place, depth);
    }
    segment_unpin(segment);
    return r;
}
