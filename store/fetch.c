/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/must.h"
#include "store/inside.h"

#include <errno.h>
#include <xxhash.h>

/* Reads from disk, through aligned buffers that were sized at open: a fetch is a buffer and what
 * the kernel holds of it. Readers of one place share one fetch. A read that fails or does not
 * verify is done once more before that is said. Where no buffer is free operations wait in line,
 * by the size class they need. A fetch pins its segment: the file stays while it reads. */

static const struct {
    uint32_t slots;
    uint32_t bytes; /* 0: the largest record there can be */
} classes[FETCH_CLASSES] = {{60, 16384}, {20, 256 * 1024 + 2 * PAGE_BYTES}, {4, 0}};

static uint32_t class_bytes(const struct store *store, uint32_t class) {
    return classes[class].bytes
               ? classes[class].bytes
               : (uint32_t)round_up(store->record_bytes_max, PAGE_BYTES) + PAGE_BYTES;
}

static uint32_t class_slots(const struct store *store, uint32_t class) {
    uint32_t asked = store->config.fetches[class];
    return asked ? min_u32(asked, classes[class].slots) : classes[class].slots;
}

size_t fetch_footprint(const struct store *store) {
    size_t bytes = 0;
    for (uint32_t class = 0; class < FETCH_CLASSES; class ++) {
        bytes += (size_t)class_slots(store, class) * class_bytes(store, class);
    }
    return bytes;
}

void fetch_open(struct keeper *keeper, uint8_t *buffers) {
    struct fetches *fetches = &keeper->fetches;
    uint32_t slot = 0;
    for (uint32_t class = 0; class < FETCH_CLASSES; class ++) {
        fetches->class_bytes[class] = class_bytes(keeper->store, class);
        for (uint32_t i = 0; i < class_slots(keeper->store, class); i++) {
            struct fetch *fetch = &fetches->slots[slot++];
            fetch->keeper = keeper;
            fetch->buffer = buffers;
            fetch->class = (uint8_t) class;
            fetch->next = fetches->free[class];
            fetches->free[class] = fetch;
            buffers += fetches->class_bytes[class];
        }
    }
    must(slot <= FETCH_SLOTS);
}

/* What is read for a record: whole units of it. */
struct extent {
    uint64_t offset;
    uint32_t bytes;
    uint32_t front; /* of the record, behind where it begins */
};
static struct extent extent_of(uint64_t place, bool header_only, uint32_t unit) {
    struct spot spot = place_spot(place);
    uint64_t start = (uint64_t)spot.offset_units * RECORD_UNIT;
    uint64_t length = (uint64_t)spot.length_units * RECORD_UNIT;
    if (header_only) {
        length = min_u64(length, round_up(RECORD_HEADER_MAX, RECORD_UNIT));
    }
    uint64_t from = round_down(start, unit);
    return (struct extent){.offset = from,
                           .bytes = (uint32_t)(round_up(start + length, unit) - from),
                           .front = (uint32_t)(start - from)};
}

static struct fetch **busy_bucket(struct fetches *fetches, uint64_t place) {
    uint64_t mixed = place * UINT64_C(0x9e3779b97f4a7c15);
    return &fetches->busy[mixed >> 58];
}

static void fetch_submit(struct fetch *fetch);

static struct segment *segment_of(const struct keeper *keeper, uint64_t place) {
    return &keeper->store->segments.all[place_spot(place).segment];
}

static struct fetch *fetch_find(struct fetches *fetches, uint64_t place, bool header_only) {
    struct fetch *at = *busy_bucket(fetches, place);
    while (at && !(at->place == place && at->header_only == header_only)) {
        at = at->next;
    }
    return at;
}

/* A footer's word for a record larger than any we would write. */
static void fetch_oversized(struct keeper *keeper, struct store_op *op) {
    if (op->kind == STORE_PUT || op->kind == STORE_DELETE) {
        order_fetched(keeper, op, NULL, STORE_CORRUPT);
        return;
    }
    counter_add(&keeper->counters.corrupt, 1);
    keeper_finish(keeper, op, STORE_CORRUPT);
}

bool fetch_begin(struct keeper *keeper, struct store_op *op, bool header_only) {
    struct fetches *fetches = &keeper->fetches;
    uint64_t place = op_state(op)->place;
    struct fetch *fetch = fetch_find(fetches, place, header_only);
    if (fetch) {
        op_list_push(&fetch->waiters, op);
        return true;
    }
    struct extent extent = extent_of(place, header_only, PAGE_BYTES); /* of the second try */
    uint32_t class = 0;
    while (class + 1 < FETCH_CLASSES && extent.bytes > fetches->class_bytes[class]) {
        class ++;
    }
    if (extent.bytes > fetches->class_bytes[class]) {
        fetch_oversized(keeper, op);
        return true;
    }
    uint32_t from = class;
    while (class < FETCH_CLASSES && !fetches->free[class]) {
        class ++; /* a larger buffer does too */
    }
    if (class == FETCH_CLASSES) {
        op_list_push(&fetches->waiting[from], op);
        return true;
    }
    if (!segment_pin(segment_of(keeper, place))) {
        return false;
    }
    fetch = fetches->free[class];
    fetches->free[class] = fetch->next;
    fetch->hash = op_state(op)->hash;
    fetch->place = place;
    fetch->header_only = header_only;
    fetch->tries = 0;
    fetch->waiters = (struct op_list){NULL, NULL};
    op_list_push(&fetch->waiters, op);
    fetch->next = *busy_bucket(fetches, place);
    *busy_bucket(fetches, place) = fetch;
    fetches->out++;
    fetch_submit(fetch);
    return true;
}

static void fetch_release(struct keeper *keeper, struct fetch *fetch) {
    struct fetches *fetches = &keeper->fetches;
    fetch->next = fetches->free[fetch->class];
    fetches->free[fetch->class] = fetch;
    fetches->out--;
    for (uint32_t class = fetch->class + 1; class -- > 0;) {
        struct store_op *op;
        /* One that joins a fetch under way takes no buffer: the next one may have it. */
        while (fetches->free[fetch->class] && (op = op_list_pop(&fetches->waiting[class]))) {
            if (fetch_begin(keeper, op, op->kind == STORE_DELETE)) {
                continue;
            }
            if (op->kind == STORE_PUT || op->kind == STORE_DELETE) {
                order_again(keeper, op);
            } else {
                read_again(keeper, op);
            }
        }
    }
}

/* Returns: the sound record in the buffer; NULL: *ret_result says why not. */
static const struct record_header *fetch_record(const struct fetch *fetch, int32_t *ret_result) {
    struct spot spot = place_spot(fetch->place);
    *ret_result = fetch->disk.result < 0 ? fetch->disk.result : STORE_CORRUPT;
    if (fetch->disk.result != (int32_t)fetch->disk.bytes) {
        return NULL;
    }
    const struct segment *segment = segment_of(fetch->keeper, fetch->place);
    const struct record_header *record = (const void *)(fetch->buffer + fetch->front);
    uint64_t length = (uint64_t)spot.length_units * RECORD_UNIT;
    struct record_bounds bounds = {.crc_base = segment->crc_base,
                                   .generation = segment->generation,
                                   .offset = (uint64_t)spot.offset_units * RECORD_UNIT,
                                   .bytes_here = fetch->disk.bytes - fetch->front,
                                   .bytes_max = length};
    if (record_check(record, &bounds) != 0 || record->type != RECORD_BLOCK ||
        !zip_header_sound(record) ||
        record_span(record->header_bytes, record->stored_bytes) != length) {
        return NULL;
    }
    const uint8_t *payload = (const uint8_t *)record + record->header_bytes;
    if (!fetch->header_only && XXH3_64bits(payload, record->stored_bytes) != record->payload_xxh3) {
        return NULL;
    }
    *ret_result = 0;
    return record;
}

static void fetch_done(struct disk_op *disk) {
    struct fetch *fetch = container_of(disk, struct fetch, disk);
    struct keeper *keeper = fetch->keeper;
    struct store_counters *counters = &keeper->counters;
    struct tier *tier = tier_of(keeper->store, segment_of(keeper, fetch->place));
    if (disk->result < 0) {
        counter_add(&counters->io_errors, 1);
        tier_error(tier, disk->result);
    } else {
        atomic_fetch_add_explicit(&tier->hits, 1, memory_order_relaxed);
        counter_add(&counters->reads, 1);
        counter_add(&counters->read_bytes, (uint64_t)disk->result);
    }
    int32_t result = 0;
    const struct record_header *record = fetch_record(fetch, &result);
    if (!record && fetch->tries++ == 0) {
        fetch_submit(fetch);
        return;
    }
    struct fetch **at = busy_bucket(&keeper->fetches, fetch->place);
    while (*at != fetch) {
        at = &(*at)->next;
    }
    *at = fetch->next;
    /* From here on new readers begin a fetch of their own. */
    read_fetched(keeper, fetch, record, result);
    segment_unpin(segment_of(keeper, fetch->place));
    fetch_release(keeper, fetch);
}

/* The second try reads whole pages: the disk under a tier may be another than was asked. */
static void fetch_submit(struct fetch *fetch) {
    struct keeper *keeper = fetch->keeper;
    const struct tier *tier = tier_of(keeper->store, segment_of(keeper, fetch->place));
    uint32_t unit = fetch->tries == 0 ? tier_read_unit(tier) : PAGE_BYTES;
    struct extent extent = extent_of(fetch->place, fetch->header_only, unit);
    fetch->front = extent.front;
    fetch->disk = (struct disk_op){.buffer = fetch->buffer,
                                   .offset = extent.offset,
                                   .bytes = extent.bytes,
                                   .fd = segment_fd(segment_of(keeper, fetch->place)),
                                   .kind = DISK_READ,
                                   .done = fetch_done};
    keeper->disk.calls->submit(keeper->disk.backend, &fetch->disk);
}
