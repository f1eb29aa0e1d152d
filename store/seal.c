/* SPDX-License-Identifier: MIT */
#include "store/seal.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/aborts.h"
#include "store/tier.h"
#include "store/vm.h"

#include <errno.h>
#include <string.h>
#define XXH_STATIC_LINKING_ONLY /* the state's size: it lies on the stack */
#include <xxhash.h>

#define SEAL_TRIES 3u
#define READ_TRIES 3u

static int write_all(const struct disk *disk, int fd, const void *from, uint64_t bytes,
                     uint64_t offset) {
    int64_t n = disk->calls->pwrite(disk->backend, fd, from, bytes, offset);
    return n == (int64_t)bytes ? 0 : n < 0 ? (int)n : err_raise(-EIO);
}

/* What the accepted records add up to. */
static struct segment_trailer trailer_of(const struct seal_order *order) {
    const struct segment *segment = order->segment;
    const struct scan *scan = order->scan;
    struct segment_trailer trailer = {
        .magic = TRAILER_MAGIC,
        .version = FORMAT_MAJOR,
        .tier = order->segments->tiers->all[segment->tier].kind,
        .flags = (uint8_t)((segment->suspect ? TRAILER_SUSPECT : 0) |
                           (segment->recovered ? TRAILER_RECOVERED : 0) |
                           (segment->unproven ? TRAILER_UNPROVEN : 0)),
        .segment_id = segment->id,
        .generation = segment->generation,
        .create_lsn = segment->create_lsn,
        .segment_bytes = order->segments->segment_bytes,
        .log = segment->log,
        .epoch = segment->epoch,
        .data_bytes = order->data_bytes,
        .footer_offset = round_up(order->data_bytes, PAGE_BYTES),
        .live_bytes = atomic_load_explicit(&segment->live_bytes, memory_order_relaxed),
        .min_birth_lsn = UINT64_MAX,
        .damaged_ranges = segment->damaged_ranges,
    };
    memcpy(trailer.uuid, order->segments->uuid, 16);
    for (uint64_t i = 0; i < scan->batch_count; i++) {
        const struct scan_batch *batch = &scan->batches[i];
        if (batch->accepted) {
            trailer.first_lsn = trailer.first_lsn ? trailer.first_lsn : batch->head.first_lsn;
            trailer.last_lsn = max_u64(trailer.last_lsn, batch->head.last_lsn);
            trailer.durable_lsn = max_u64(trailer.durable_lsn, batch->head.durable_lsn);
        }
    }
    for (uint64_t i = 0; i < scan->entry_count; i++) {
        const struct footer_entry *entry = &scan->entries[i].entry;
        if (scan->entries[i].accepted) {
            trailer.footer_count++;
            uint32_t type = entry->type_flags & 15;
            bool kills = type == RECORD_TOMBSTONE || type == RECORD_UNPIN;
            trailer.tombstones += kills;
            trailer.pins += type == RECORD_PIN;
            trailer.commits += type == RECORD_COMMIT;
            if (!kills && type != RECORD_COMMIT) { /* tombstones must not keep each other */
                trailer.min_birth_lsn = min_u64(trailer.min_birth_lsn, entry->birth_lsn);
            }
        }
    }
    return trailer;
}

static int write_footer(const struct seal_order *order, struct segment_trailer *trailer) {
    const struct scan *scan = order->scan;
    struct footer_entry *buffer = order->buffer;
    const uint32_t room = SEAL_BUFFER / sizeof *buffer;
    uint64_t at = trailer->footer_offset;
    uint32_t held = 0;
    XXH3_state_t state;
    (void)XXH3_64bits_reset(&state);
    int r = 0;
    for (uint64_t i = 0; i <= scan->entry_count && r == 0; i++) {
        if (i < scan->entry_count && scan->entries[i].accepted) {
            buffer[held++] = scan->entries[i].entry;
        }
        if (held == room || (i == scan->entry_count && held > 0)) {
            (void)XXH3_64bits_update(&state, buffer, held * sizeof *buffer);
            uint64_t bytes = round_up(held * sizeof *buffer, PAGE_BYTES);
            memset(buffer + held, 0, bytes - held * sizeof *buffer);
            r = write_all(order->segments->disk, order->segment->fd, buffer, bytes, at);
            at += bytes;
            held = 0;
        }
    }
    trailer->footer_xxh3 = XXH3_64bits_digest(&state);
    return r;
}

int seal_segment(const struct seal_order *order) {
    const struct disk *disk = order->segments->disk;
    struct segment *segment = order->segment;
    struct segment_trailer trailer = trailer_of(order);
    uint64_t footer_bytes =
        round_up((uint64_t)trailer.footer_count * sizeof(struct footer_entry), PAGE_BYTES);
    uint64_t trailer_at = trailer.footer_offset + footer_bytes;
    int r = disk->calls->truncate(disk->backend, segment->fd, trailer_at + PAGE_BYTES);
    r = r == 0 ? write_footer(order, &trailer) : r;
    if (r != 0) {
        return r;
    }
    memset(order->buffer, 0, PAGE_BYTES);
    memcpy(order->buffer, &trailer, sizeof trailer);
    page_seal(order->buffer, format_crc_at(segment->crc_base, trailer_at));
    r = write_all(disk, segment->fd, order->buffer, PAGE_BYTES, trailer_at);
    r = r == 0 ? disk->calls->sync_file(disk->backend, segment->fd) : r;
    if (r != 0) {
        return r;
    }
    segment->footer_offset = trailer.footer_offset;
    segment->footer_count = trailer.footer_count;
    segment->tombstones = trailer.tombstones;
    atomic_store_explicit(&segment->min_birth_lsn, trailer.min_birth_lsn, memory_order_relaxed);
    atomic_store_explicit(&segment->data_bytes, order->data_bytes, memory_order_relaxed);
    atomic_store_explicit(&segment->file_bytes, trailer_at + PAGE_BYTES, memory_order_relaxed);
    segment_set_state(segment, SEGMENT_SEALED);
    return 0;
}

/* Stretches that are not batches that verify. */
static uint32_t damaged_ranges(const struct scan *scan) {
    uint32_t damaged = 0;
    uint64_t at = PAGE_BYTES;
    for (uint64_t i = 0; i < scan->batch_count; i++) {
        const struct scan_batch *batch = &scan->batches[i];
        damaged += batch->offset > at;
        damaged += !batch->whole;
        at = batch->offset + batch->head.batch_bytes;
    }
    return damaged + (at < scan->end);
}

/* All of it was acknowledged, so all of it stands there: where it does not look so, the read is
 * doubted before the disk is. A footer that leaves out a record loses it at the next start. */
static int scan_closed(struct scan *scan, const struct scan_source *source, uint64_t hash_seed,
                       uint32_t *ret_damaged) {
    for (uint32_t tries = 0; tries < SEAL_TRIES; tries++) {
        int r = scan_open(scan, source);
        if (r != 0) {
            return r;
        }
        scan->hash_seed = hash_seed;
        scan_run(scan);
        *ret_damaged = damaged_ranges(scan);
        if (*ret_damaged == 0 || tries + 1 == SEAL_TRIES) {
            break;
        }
        scan_close(scan);
    }
    return 0;
}

/* All of it is accepted, but for what came to nothing. */
static int seal_scanned(struct segments *segments, struct segment *segment, struct scan *scan) {
    uint64_t end = atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
    uint32_t aborted = atomic_load_explicit(&segment->aborted, memory_order_relaxed);
    if (aborted > 0) {
        aborts_leave_out(segments->aborts, segment->id, scan);
    }
    void *buffer = vm_map(SEAL_BUFFER);
    int r = buffer ? 0 : err_raise(-ENOMEM);
    r = r == 0 ? seal_segment(&(struct seal_order){segments, segment, scan, end, buffer}) : r;
    if (r == 0 && aborted > 0) {
        aborts_forget(segments->aborts, segment->id);
        atomic_store_explicit(&segment->aborted, 0, memory_order_relaxed);
    }
    vm_unmap(buffer, SEAL_BUFFER);
    return r;
}

int seal_closed(struct segments *segments, struct segment *segment, uint64_t hash_seed) {
    struct scan scan;
    uint64_t end = atomic_load_explicit(&segment->data_bytes, memory_order_acquire);
    struct scan_window window;
    struct scan_source source = {segments->disk, segment, &window, end};
    uint32_t damaged = 0;
    int r = scan_window_open(&window);
    r = r == 0 ? scan_closed(&scan, &source, hash_seed, &damaged) : r;
    if (r != 0) {
        scan_window_close(&window);
        return r;
    }
    if (scan.unreadable > 0) { /* not damage: another time it may be had */
        scan_close(&scan);
        scan_window_close(&window);
        return err_raise(-EIO);
    }
    if (damaged > 0 && !segment->suspect) {
        scan_close(&scan);
        scan_window_close(&window);
        return SEAL_DAMAGED;
    }
    segment->damaged_ranges = damaged;
    for (uint64_t i = 0; i < scan.batch_count; i++) {
        scan.batches[i].accepted = true;
    }
    for (uint64_t i = 0; i < scan.entry_count; i++) {
        scan.entries[i].accepted = true;
    }
    r = seal_scanned(segments, segment, &scan);
    scan_close(&scan);
    scan_window_close(&window);
    return r;
}

int seal_told(struct segments *segments, struct segment *segment, const struct roll *roll) {
    struct scan scan;
    int r = roll_scan(roll, &scan);
    if (r != 0) {
        return r;
    }
    r = seal_scanned(segments, segment, &scan);
    scan_close(&scan);
    return r;
}

int trailer_read(const struct segments *segments, const struct segment *segment, void *page) {
    const struct disk *disk = segments->disk;
    uint64_t file_bytes = atomic_load_explicit(&segment->file_bytes, memory_order_relaxed);
    if (file_bytes < 2 * PAGE_BYTES || file_bytes % PAGE_BYTES != 0) {
        return FORMAT_BAD;
    }
    int64_t n =
        disk->calls->pread(disk->backend, segment->fd, page, PAGE_BYTES, file_bytes - PAGE_BYTES);
    if (n != PAGE_BYTES) {
        return n < 0 ? (int)n : FORMAT_BAD;
    }
    const struct segment_trailer *trailer = page;
    struct trailer_bounds bounds = {segments->uuid, segment->id, file_bytes};
    if (segment_trailer_check(page, &bounds) != 0 || trailer->generation != segment->generation) {
        return FORMAT_BAD;
    }
    return 0;
}

int footer_read(const struct segments *segments, const struct segment *segment,
                const struct segment_trailer *trailer, struct footer *footer) {
    const struct disk *disk = segments->disk;
    uint64_t bytes = round_up(trailer->footer_count * sizeof(struct footer_entry), PAGE_BYTES);
    if (bytes > footer->room) {
        footer_close(footer);
        footer->entries = vm_map(bytes);
        if (!footer->entries) {
            return err_raise(-ENOMEM);
        }
        footer->room = bytes;
    }
    footer->count = trailer->footer_count;
    if (bytes == 0) {
        return 0;
    }
    int64_t n = -EIO;
    for (uint32_t tries = 0; tries < READ_TRIES && n < 0; tries++) {
        n = disk->calls->pread(disk->backend, segment->fd, footer->entries, bytes,
                               trailer->footer_offset);
    }
    if (n < 0) {
        return (int)n;
    }
    uint64_t sum = XXH3_64bits(footer->entries, footer->count * sizeof(struct footer_entry));
    return n == (int64_t)bytes && sum == trailer->footer_xxh3 ? 0 : FORMAT_BAD;
}

void footer_close(struct footer *footer) {
    vm_unmap(footer->entries, footer->room);
    *footer = (struct footer){0};
}
