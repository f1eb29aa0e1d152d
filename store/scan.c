/* SPDX-License-Identifier: MIT */
#include "store/scan.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/vm.h"

#include <errno.h>
#include <string.h>
#include <xxhash.h>

#define WINDOW_BYTES (10 * MiB) /* holds the largest batch, and then some */
#define READ_BYTES   (2 * MiB)
#define READ_TRIES   3u

int scan_window_open(struct scan_window *window) {
    *window = (struct scan_window){.bytes = WINDOW_BYTES, .buffer = vm_map_huge(WINDOW_BYTES)};
    return window->buffer ? 0 : err_raise(-ENOMEM);
}

void scan_window_close(struct scan_window *window) {
    vm_unmap(window->buffer, WINDOW_BYTES);
    window->buffer = NULL;
}

int scan_open(struct scan *scan, const struct scan_source *source) {
    *scan = (struct scan){.disk = source->disk,
                          .segment = source->segment,
                          .window = source->window,
                          .end = source->end,
                          .at = PAGE_BYTES,
                          .payloads = true};
    scan->window->filled = 0;
    /* The least record is 128 bytes with its padding (a digest of 20 bytes makes a header of 96).
     */
    scan->entries_max = scan->end / (2 * RECORD_UNIT) + 16;
    scan->batches_max = scan->end / PAGE_BYTES + 16;
    scan->batches = vm_map(scan->batches_max * sizeof *scan->batches);
    scan->entries = vm_map(scan->entries_max * sizeof *scan->entries);
    if (!scan->batches || !scan->entries) {
        scan_close(scan);
        return err_raise(-ENOMEM);
    }
    return 0;
}

void scan_close(struct scan *scan) {
    vm_unmap(scan->batches, scan->batches_max * sizeof *scan->batches);
    vm_unmap(scan->entries, scan->entries_max * sizeof *scan->entries);
    scan->batches = NULL;
    scan->entries = NULL;
}

static bool read_page(const struct scan *scan, uint8_t *to, uint64_t offset) {
    const struct disk *disk = scan->disk;
    int64_t n = -EIO;
    for (uint32_t tries = 0; tries < READ_TRIES && n != PAGE_BYTES; tries++) {
        n = disk->calls->pread(disk->backend, scan->segment->fd, to, PAGE_BYTES, offset);
    }
    if (n >= 0) { /* cut short: there is no more */
        memset(to + n, 0, PAGE_BYTES - (uint64_t)n);
    }
    return n >= 0;
}

/* A failed read is tried again page by page; what stays unreadable is zeroes, which verify as
 * nothing. */
static uint64_t read_pages(struct scan *scan, uint8_t *to, uint64_t bytes, uint64_t offset) {
    const struct disk *disk = scan->disk;
    int64_t n = disk->calls->pread(disk->backend, scan->segment->fd, to, bytes, offset);
    if (n >= 0) {
        return round_up((uint64_t)n, PAGE_BYTES);
    }
    for (uint64_t at = 0; at < bytes; at += PAGE_BYTES) {
        if (!read_page(scan, to + at, offset + at)) {
            memset(to + at, 0, PAGE_BYTES);
            scan->unreadable++;
        }
    }
    return bytes;
}

const uint8_t *scan_bytes(struct scan *scan, uint64_t offset, uint64_t need, uint64_t *ret_here) {
    struct scan_window *window = scan->window;
    uint64_t want = min_u64(need, scan->end - offset);
    must(want + PAGE_BYTES <= window->bytes);
    if (offset < window->at || offset + want > window->at + window->filled) {
        uint64_t from = round_down(offset, PAGE_BYTES);
        uint64_t kept = 0;
        if (from >= window->at && from < window->at + window->filled) {
            kept = window->at + window->filled - from;
            memmove(window->buffer, window->buffer + (from - window->at), kept);
        }
        window->at = from;
        window->filled = kept;
        uint64_t ask = round_up(max_u64(offset + want - from - kept, READ_BYTES), PAGE_BYTES);
        ask = min_u64(ask, window->bytes - kept);
        ask = min_u64(ask, round_up(scan->end, PAGE_BYTES) - from - kept);
        window->filled += read_pages(scan, window->buffer + kept, ask, from + kept);
    }
    uint64_t end = window->at + window->filled;
    *ret_here = end > offset ? min_u64(end - offset, scan->end - offset) : 0;
    return window->buffer + (offset - window->at);
}

static struct record_bounds bounds_at(const struct scan *scan, uint64_t offset, uint64_t here,
                                      uint64_t max) {
    return (struct record_bounds){.crc_base = scan->segment->crc_base,
                                  .generation = scan->segment->generation,
                                  .offset = offset,
                                  .bytes_here = here,
                                  .bytes_max = max};
}

bool scan_name(const struct record_header *header, uint64_t offset, uint64_t hash_seed,
               struct footer_entry *ret_entry) {
    *ret_entry = (struct footer_entry){
        .birth_lsn = header->birth_lsn,
        .offset_units = (uint32_t)(offset / RECORD_UNIT),
        .stored_bytes = header->stored_bytes,
        .type_flags = (uint8_t)(header->type | header->flags << 4),
    };
    if (header->type == RECORD_COMMIT) {
        ret_entry->hash = header->txn;
        ret_entry->type_flags = RECORD_COMMIT;
        return true;
    }
    struct key key;
    bool known = header->type == RECORD_BLOCK || header->type == RECORD_TOMBSTONE ||
                 header->type == RECORD_PIN || header->type == RECORD_UNPIN;
    if (!known || record_key(header, &key) != 0) {
        return false;
    }
    ret_entry->hash = key_hash(hash_seed, &key);
    ret_entry->codec = header->codec;
    ret_entry->hash_code = key.code;
    ret_entry->digest_bytes = key.digest_bytes;
    memcpy(ret_entry->digest, key.digest, min_u32(key.digest_bytes, FOOTER_PREFIX));
    return true;
}

/* Notes a sound record header; `here` bytes of it can be seen. */
static void note_record(struct scan *scan, const struct record_header *header, uint64_t offset,
                        uint32_t batch) {
    struct footer_entry named;
    scan->records_seen++;
    if (scan->entry_count == scan->entries_max ||
        !scan_name(header, offset, scan->hash_seed, &named)) {
        return;
    }
    struct scan_entry *entry = &scan->entries[scan->entry_count++];
    *entry = (struct scan_entry){.entry = named, .lsn = header->lsn, .batch = batch};
    if (header->type == RECORD_COMMIT) {
        return;
    }
    entry->txn = header->txn;
    if (scan->payloads) {
        const uint8_t *payload = (const uint8_t *)header + header->header_bytes;
        entry->bad_payload = XXH3_64bits(payload, header->stored_bytes) != header->payload_xxh3;
    }
    if (scan->each) {
        scan->each(scan->context, header, entry);
    }
}

static void scan_batch_records(struct scan *scan, struct scan_batch *batch, const uint8_t *bytes,
                               uint64_t here) {
    uint64_t limit = min_u64(here, batch->head.batch_bytes);
    uint64_t headers_xxh3 = 0;
    uint64_t at = BATCH_RECORD;
    uint32_t found = 0;
    bool in_step = true;
    while (found < batch->head.records && at + RECORD_FIXED <= limit) {
        const struct record_header *header = (const void *)(bytes + at);
        struct record_bounds bounds = bounds_at(scan, batch->offset + at, limit - at, limit - at);
        if (record_check(header, &bounds) != 0) {
            in_step = false;
            at += RECORD_UNIT;
            continue;
        }
        in_step = in_step && header->lsn == batch->head.first_lsn + 1 + found;
        headers_xxh3 = XXH3_64bits_withSeed(header, header->header_bytes, headers_xxh3);
        note_record(scan, header, batch->offset + at, (uint32_t)scan->batch_count);
        at += record_span(header->header_bytes, header->stored_bytes);
        found++;
    }
    batch->whole = in_step && found == batch->head.records &&
                   headers_xxh3 == batch->head.headers_xxh3 && here >= batch->head.batch_bytes;
    batch->entries = (uint32_t)(scan->entry_count - batch->first_entry);
    for (uint64_t i = batch->first_entry; i < scan->entry_count; i++) {
        batch->bad_payloads += scan->entries[i].bad_payload;
    }
}

/* One page that is not the start of a batch: are there records that stand by themselves? Returns:
 * where to look next. */
static uint64_t scan_strays(struct scan *scan, uint64_t page) {
    uint64_t offset = page;
    while (offset < page + PAGE_BYTES && offset + RECORD_FIXED <= scan->end) {
        uint64_t here = 0;
        const struct record_header *header =
            (const void *)scan_bytes(scan, offset, RECORD_HEADER_MAX, &here);
        struct record_bounds bounds = bounds_at(scan, offset, here, scan->end - offset);
        if (here < RECORD_FIXED || header->magic != RECORD_MAGIC ||
            record_check(header, &bounds) != 0 || header->type == RECORD_BATCH) {
            offset += RECORD_UNIT;
            continue;
        }
        uint64_t span = record_span(header->header_bytes, header->stored_bytes);
        header = (const void *)scan_bytes(scan, offset, span, &here);
        if (here < (uint64_t)header->header_bytes + header->stored_bytes) {
            return scan->end;
        }
        note_record(scan, header, offset, SCAN_STRAY);
        offset += span;
    }
    return round_up(offset, PAGE_BYTES);
}

void scan_run(struct scan *scan) {
    bool more = scan_some(scan, UINT64_MAX);
    must(!more);
}

bool scan_some(struct scan *scan, uint64_t bytes_max) {
    uint64_t at = scan->at, from = scan->at;
    while (at + BATCH_RECORD <= scan->end && at - from < bytes_max) {
        uint64_t here = 0;
        const uint8_t *bytes = scan_bytes(scan, at, PAGE_BYTES, &here);
        struct record_bounds bounds = bounds_at(scan, at, here, scan->end - at);
        if (batch_check(bytes, &bounds) != 0 ||
            batch_of(bytes)->batch_bytes + PAGE_BYTES > scan->window->bytes) {
            bool like_batch = here >= 4 && get_le32(bytes) == RECORD_MAGIC;
            scan->torn += like_batch && !scan->before_bad;
            scan->before_bad = like_batch || scan->before_bad;
            at = scan_strays(scan, at);
            continue;
        }
        scan->before_bad = false;
        must(scan->batch_count < scan->batches_max);
        struct scan_batch *batch = &scan->batches[scan->batch_count];
        *batch = (struct scan_batch){
            .offset = at, .head = *batch_of(bytes), .first_entry = scan->entry_count};
        bytes = scan_bytes(scan, at, batch->head.batch_bytes, &here);
        scan_batch_records(scan, batch, bytes, here);
        scan->batch_count++;
        at += batch->head.batch_bytes;
    }
    scan->at = at;
    return at + BATCH_RECORD <= scan->end;
}

bool scan_whole(const struct scan *scan) {
    bool whole = scan->unreadable == 0;
    uint64_t at = PAGE_BYTES;
    for (uint64_t i = 0; i < scan->batch_count; i++) {
        const struct scan_batch *batch = &scan->batches[i];
        whole = whole && batch->whole && batch->offset == at;
        at = batch->offset + batch->head.batch_bytes;
    }
    return whole && at >= scan->end;
}

uint64_t scan_generation(struct scan *scan, const uint8_t uuid[16], struct batch_header *ret_head) {
    for (uint64_t at = PAGE_BYTES; at + BATCH_RECORD <= scan->end; at += PAGE_BYTES) {
        uint64_t here = 0;
        const uint8_t *bytes = scan_bytes(scan, at, PAGE_BYTES, &here);
        const struct record_header *header = (const void *)bytes;
        if (here < BATCH_RECORD || header->magic != RECORD_MAGIC) {
            continue;
        }
        uint64_t generation = header->generation;
        struct record_bounds bounds = {.crc_base = format_crc_base(uuid, generation),
                                       .generation = generation,
                                       .offset = at,
                                       .bytes_here = here,
                                       .bytes_max = scan->end - at};
        if (batch_check(bytes, &bounds) == 0) {
            *ret_head = *batch_of(bytes);
            return generation;
        }
    }
    return 0;
}
