/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/err.h"
#include "store/inside.h"
#include "store/scan.h"
#include "store/seal.h"

#include <errno.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state's size: it lies on the stack */
#include <xxhash.h>

/* Listing: segments by id, records by offset; a record is listed if the catalog says that its block
 * lies just there, so each block comes once. Sealed segments are listed from their footers where
 * those are sound, others by stepping from record header to record header. The cursor is segment <<
 * 32 | offset in units: it means the same before and after a segment is sealed. */

#define CURSOR_END    UINT64_MAX
#define WALK_LOOK_MAX 16384u

struct walk {
    struct store *store;
    struct segment *segment;
    uint8_t *buffer; /* WALK_BYTES */
    uint32_t reader;
    uint64_t at; /* file offset of what is in it */
    uint64_t filled;
    struct store_item *items;
    uint32_t count, max;
    uint32_t looked; /* records and entries this page looked at */
    bool stored;     /* see struct page_view */
};

/* A page is bounded by what it finds and by what it looks at, so that a store of deleted blocks
 * does not hold up whoever asks next: such a page may be empty, with a cursor that has moved. */
static bool walk_goes_on(const struct walk *walk) {
    return walk->count < walk->max && walk->looked < WALK_LOOK_MAX;
}

/* `need` bytes at an offset, from the window or by a read of `ask` bytes. NULL: not to be had. */
static const uint8_t *walk_bytes(struct walk *walk, uint64_t offset, uint64_t need, uint64_t ask) {
    const struct disk *disk = &walk->store->config.disk;
    if (offset < walk->at || offset + need > walk->at + walk->filled) {
        uint64_t from = round_down(offset, PAGE_BYTES);
        uint64_t bytes = round_up(max_u64(offset + need - from, ask), PAGE_BYTES);
        int64_t n = disk->calls->pread(disk->backend, walk->segment->fd, walk->buffer,
                                       min_u64(bytes, WALK_BYTES), from);
        uint64_t least = round_up(offset + need - from, PAGE_BYTES);
        if (n < 0 &&
            bytes > least) { /* one bad page ahead is no reason to leave out what is here */
            n = disk->calls->pread(disk->backend, walk->segment->fd, walk->buffer, least, from);
        }
        walk->at = from;
        walk->filled = n > 0 ? (uint64_t)n : 0;
    }
    return offset + need <= walk->at + walk->filled ? walk->buffer + (offset - walk->at) : NULL;
}

/* Adds the block if the catalog agrees that it lies here. */
static void walk_take(struct walk *walk, const struct store_item *item, uint32_t offset_units,
                      uint32_t span) {
    struct store *store = walk->store;
    struct spot spot = {.segment = walk->segment->id,
                        .offset_units = offset_units,
                        .length_units = span / RECORD_UNIT};
    uint64_t hash = store_hash(store, &item->key);
    uint64_t place = place_pack(&spot) | place_of_segment(store, walk->segment);
    turn_begin(&store->turns, walk->reader);
    struct entry entry = store_entry(store, hash, place);
    turn_park(&store->turns, walk->reader);
    if (entry.bucket) {
        struct store_item *to = &walk->items[walk->count++];
        *to = *item;
        to->hash = hash;
        to->place.word = place;
    }
}

static bool walk_record(struct walk *walk, uint64_t offset, uint64_t ask, uint32_t *ret_span) {
    const struct segment *segment = walk->segment;
    walk->looked++;
    uint64_t end = atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
    uint64_t here = min_u64(round_up(RECORD_HEADER_MAX, RECORD_UNIT), round_up(end - offset, 8));
    const uint8_t *bytes = walk_bytes(walk, offset, here, ask);
    if (!bytes) {
        return false;
    }
    const struct record_header *header = (const void *)bytes;
    struct record_bounds bounds = {.crc_base = segment->crc_base,
                                   .generation = segment->generation,
                                   .offset = offset,
                                   .bytes_here = here,
                                   .bytes_max = UINT32_MAX};
    if (record_check(header, &bounds) != 0) {
        return false;
    }
    *ret_span = record_span(header->header_bytes, header->stored_bytes);
    uint32_t bytes_said =
        zip_header_sound(header) ? record_block_bytes(header) : header->stored_bytes;
    struct store_item item = {
        .codec = header->codec, .bytes = bytes_said, .birth_lsn = header->birth_lsn};
    if (header->type == RECORD_BLOCK && record_key(header, &item.key) == 0) {
        walk_take(walk, &item, (uint32_t)(offset / RECORD_UNIT), *ret_span);
    }
    return true;
}

/* From header to header. Returns: the offset to go on from; at or past the end: done. */
static uint64_t walk_records(struct walk *walk, uint64_t offset) {
    uint64_t end = atomic_load_explicit(&walk->segment->data_bytes, memory_order_acquire);
    uint64_t ask = WALK_BYTES;
    offset = max_u64(offset, PAGE_BYTES);
    while (offset < end && walk_goes_on(walk)) {
        uint32_t span = 0;
        if (walk_record(walk, offset, ask, &span)) {
            offset += span;
            ask = span < WALK_BYTES / 4 ? WALK_BYTES : PAGE_BYTES;
        } else {
            offset += RECORD_UNIT; /* padding, or damage */
        }
    }
    return offset;
}

static const struct footer_entry *footer_at(struct walk *walk, uint64_t index, uint64_t ask) {
    uint64_t offset = walk->segment->footer_offset + index * sizeof(struct footer_entry);
    return (const void *)walk_bytes(walk, offset, sizeof(struct footer_entry), ask);
}

static void walk_entry(struct walk *walk, const struct footer_entry *found) {
    walk->looked++;
    struct footer_entry entry = *found; /* reading a header moves the window */
    if ((entry.type_flags & 15) != RECORD_BLOCK || entry.digest_bytes > HASH_DIGEST_MAX) {
        return;
    }
    bool zipped = (entry.type_flags >> 4 & RECORD_ZSTD) != 0;
    bool whole = entry.digest_bytes <= FOOTER_PREFIX;
    uint32_t span = 0;
    if ((!whole || (zipped && !walk->stored)) &&
        (walk_record(walk, (uint64_t)entry.offset_units * RECORD_UNIT, PAGE_BYTES, &span) ||
         !whole)) {
        return;
    }
    /* A block whose header is damaged is listed all the same, by what is stored of it. */
    struct store_item item = {
        .codec = entry.codec, .bytes = entry.stored_bytes, .birth_lsn = entry.birth_lsn};
    item.key.code = entry.hash_code;
    item.key.digest_bytes = entry.digest_bytes;
    memcpy(item.key.digest, entry.digest, entry.digest_bytes);
    uint8_t multihash[KEY_MULTIHASH_MAX];
    uint32_t header = record_header_bytes((uint32_t)key_write(&item.key, multihash));
    walk_take(walk, &item, entry.offset_units, record_span(header, entry.stored_bytes));
}

static uint64_t walk_footer(struct walk *walk, uint64_t offset) {
    uint64_t low = 0, high = walk->segment->footer_count;
    while (low < high) { /* entries stand by offset */
        uint64_t middle = (low + high) / 2;
        const struct footer_entry *entry = footer_at(walk, middle, PAGE_BYTES);
        if (entry && (uint64_t)entry->offset_units * RECORD_UNIT < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (; low < walk->segment->footer_count && walk_goes_on(walk); low++) {
        const struct footer_entry *entry = footer_at(walk, low, WALK_BYTES);
        if (!entry) { /* what it names is listed from the records themselves, from here on */
            atomic_store_explicit(&walk->segment->footer_seen, FOOTER_DAMAGED,
                                  memory_order_relaxed);
            return offset;
        }
        offset = (uint64_t)entry->offset_units * RECORD_UNIT + RECORD_UNIT;
        walk_entry(walk, entry);
    }
    return low < walk->segment->footer_count ? offset : UINT64_MAX;
}

/* Reads it once from end to end. A damaged one would leave out blocks that are there. */
static enum footer_seen footer_look(struct walk *walk) {
    const struct segment *segment = walk->segment;
    walk->filled = 0;
    if (trailer_read(&walk->store->segments, segment, walk->buffer) != 0) {
        return FOOTER_DAMAGED;
    }
    const struct segment_trailer *trailer = (const void *)walk->buffer;
    uint64_t sum = trailer->footer_xxh3;
    uint64_t left = trailer->footer_count * sizeof(struct footer_entry);
    uint64_t offset = trailer->footer_offset;
    const struct disk *disk = &walk->store->config.disk;
    XXH3_state_t state;
    (void)XXH3_64bits_reset(&state);
    while (left > 0) {
        uint64_t count = min_u64(left, WALK_BYTES);
        int64_t n = disk->calls->pread(disk->backend, segment->fd, walk->buffer,
                                       round_up(count, PAGE_BYTES), offset);
        if (n < (int64_t)count) {
            return FOOTER_DAMAGED;
        }
        (void)XXH3_64bits_update(&state, walk->buffer, count);
        left -= count;
        offset += count;
    }
    return XXH3_64bits_digest(&state) == sum ? FOOTER_SOUND : FOOTER_DAMAGED;
}

static bool footer_sound(struct walk *walk) {
    struct segment *segment = walk->segment;
    /* relaxed: a word about bytes that do not change any more */
    uint32_t seen = atomic_load_explicit(&segment->footer_seen, memory_order_relaxed);
    if (seen == FOOTER_UNSEEN) {
        seen = footer_look(walk);
        atomic_store_explicit(&segment->footer_seen, seen, memory_order_relaxed);
    }
    return seen == FOOTER_SOUND;
}

/* Of a pinned segment. Returns: the offset to go on from, UINT64_MAX: done. */
static uint64_t walk_segment(struct walk *walk, uint64_t offset) {
    struct segment *segment = walk->segment;
    if (segment_state(segment) == SEGMENT_SEALED && footer_sound(walk)) {
        offset = walk_footer(walk, offset);
    } else {
        uint64_t end = atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
        offset = walk_records(walk, offset);
        offset = offset >= end ? UINT64_MAX : offset;
    }
    segment_unpin(segment);
    return offset;
}

int page_read(struct store *store, const struct page_view *view, uint64_t *cursor,
              struct store_item items[], uint32_t max, uint32_t *ret_count) {
    struct walk walk = {.store = store,
                        .buffer = view->buffer,
                        .reader = view->reader,
                        .items = items,
                        .max = max,
                        .stored = view->stored};
    uint64_t id = *cursor == CURSOR_END ? SEGMENT_IDS : *cursor >> 32;
    uint64_t offset = (*cursor & UINT32_MAX) * RECORD_UNIT;
    while (id < store->segments.top && walk_goes_on(&walk)) {
        walk.segment = &store->segments.all[id];
        walk.filled = 0;
        offset = segment_pin(walk.segment) ? walk_segment(&walk, offset) : UINT64_MAX;
        if (offset == UINT64_MAX) {
            id++;
            offset = 0;
        }
    }
    *cursor = id < store->segments.top ? id << 32 | offset / RECORD_UNIT : CURSOR_END;
    *ret_count = walk.count;
    return 0;
}

int store_page(struct store *store, uint64_t *cursor, struct store_item items[], uint32_t max,
               uint32_t *ret_count) {
    struct page_view view = {.buffer = store->walk, .reader = store->helper};
    return page_read(store, &view, cursor, items, max, ret_count);
}
