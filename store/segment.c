/* SPDX-License-Identifier: MIT */
#include "store/segment.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/aborts.h"
#include "store/super.h"
#include "store/text.h"
#include "store/tier.h"
#include "store/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

int segments_open(struct segments *segments) {
    segments->all = vm_map(SEGMENT_IDS * sizeof *segments->all);
    segments->aborts = vm_map(sizeof *segments->aborts);
    return segments->all && segments->aborts ? 0 : err_raise(-ENOMEM);
}

void segments_close(struct segments *segments) {
    const struct disk *disk = segments->disk;
    for (uint32_t id = 0; segments->all && id < segments->top; id++) {
        struct segment *segment = &segments->all[id];
        if (segment_state(segment) != SEGMENT_NONE) {
            (void)disk->calls->close_file(disk->backend, segment_fd(segment));
        }
    }
    vm_unmap(segments->all, SEGMENT_IDS * sizeof *segments->all);
    vm_unmap(segments->aborts, sizeof *segments->aborts);
    segments->all = NULL;
    segments->aborts = NULL;
}

void segment_path_at(const struct segments *segments, const struct segment_at *at,
                     char path[SEGMENT_PATH_MAX]) {
    struct text text = {path, SEGMENT_PATH_MAX, 0};
    text_add(&text, segments->tiers->all[at->tier].dir);
    text_add(&text, "/");
    text_add_hex(&text, at->id, 5);
    text_add(&text, ".seg");
}

void segment_path(const struct segments *segments, uint32_t id, char path[SEGMENT_PATH_MAX]) {
    segment_path_at(segments, &(struct segment_at){segments->all[id].tier, id}, path);
}

uint32_t segment_id_of(const char *name) {
    uint32_t id = 0;
    if (strlen(name) != 9 || strcmp(name + 5, ".seg") != 0) {
        return 0;
    }
    for (uint32_t i = 0; i < 5; i++) {
        char c = name[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                                                : 16;
        if (digit == 16) {
            return 0;
        }
        id = id << 4 | digit;
    }
    return id;
}

static uint32_t used_ids(const struct segments *segments) {
    uint32_t used = 0;
    for (uint32_t id = 1; id < segments->top; id++) {
        used += segment_state(&segments->all[id]) != SEGMENT_NONE;
    }
    return used;
}

/* Ids go up for a long while before they begin again: whoever lists by id meets a block that moves
 * while he lists, if twice. Returns: 0: there is none. */
static uint32_t unused_id(struct segments *segments) {
    uint32_t first = max_u32(segments->id_first, 1);
    uint32_t id = max_u32(segments->last_id + 1, segments->last_id == 0 ? segments->top : 1);
    id = max_u32(id, first);
    for (uint32_t rounds = 0; rounds < 2; id = first, rounds++) {
        uint64_t end = first + max_u64(SEGMENT_ROUND, 4 * (uint64_t)used_ids(segments));
        for (; id < min_u64(end, SEGMENT_IDS); id++) {
            if (segment_state(&segments->all[id]) == SEGMENT_NONE) {
                return id;
            }
        }
    }
    return 0;
}

void segment_clear(struct segment *segment, uint32_t id) {
    size_t from = offsetof(struct segment, fd);
    memset((uint8_t *)segment + from, 0, sizeof *segment - from);
    segment->id = id;
}

void segment_head(const struct segments *segments, const struct segment *segment, void *page) {
    memset(page, 0, PAGE_BYTES);
    struct segment_header *header = page;
    *header = (struct segment_header){.magic = SEGMENT_MAGIC,
                                      .version = FORMAT_MAJOR,
                                      .tier = segments->tiers->all[segment->tier].kind,
                                      .segment_id = segment->id,
                                      .generation = segment->generation,
                                      .create_lsn = segment->create_lsn,
                                      .segment_bytes = segments->segment_bytes,
                                      .log = segment->log,
                                      .epoch = segment->epoch};
    memcpy(header->uuid, segments->uuid, 16);
    page_seal(page, format_crc_at(segment->crc_base, 0));
}

static int sync_dir(const struct segments *segments, uint32_t tier) {
    return segments->disk->calls->sync_dir(segments->disk->backend, segments->tiers->all[tier].dir);
}

static int make_file(const struct segments *segments, const struct segment *segment, void *page,
                     int *ret_fd) {
    char path[SEGMENT_PATH_MAX];
    segment_path(segments, segment->id, path);
    const struct disk *disk = segments->disk;
    int fd =
        disk->calls->open_file(disk->backend, path, O_RDWR | O_CREAT | O_EXCL | O_DIRECT, 0640);
    if (fd < 0) {
        return fd;
    }
    int r = disk->calls->allocate(disk->backend, fd, segments->segment_bytes);
    if (r == 0) {
        int64_t n = disk->calls->pwrite(disk->backend, fd, page, PAGE_BYTES, 0);
        r = n == PAGE_BYTES ? 0 : n < 0 ? (int)n : err_raise(-EIO);
    }
    r = r == 0 ? disk->calls->sync_file(disk->backend, fd) : r;
    r = r == 0 ? sync_dir(segments, segment->tier) : r;
    if (r != 0) { /* a failed allocation holds all the space there was: give it back at once */
        (void)disk->calls->close_file(disk->backend, fd);
        (void)disk->calls->unlink_file(disk->backend, path);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int segment_make(struct segments *segments, const struct segment_order *order,
                 struct segment **ret_segment) {
    uint32_t id = unused_id(segments);
    if (id == 0) {
        return err_raise(-ENOSPC);
    }
    int r = tier_present(segments->disk, &segments->tiers->all[order->tier], order->page);
    r = r == 0 ? super_allow_ids(segments->super, segments->disk, order->page, id + 1) : r;
    if (r != 0) {
        return r;
    }
    segments->last_id = id;
    struct segment *segment = &segments->all[id];
    segment_clear(segment, id);
    segment->tier = order->tier;
    segment->log = order->log;
    segment->epoch = segments->epoch;
    segment->create_lsn = order->create_lsn;
    segment->generation = lsn_make(segments->epoch, segments->generation_next);
    segments->generation_next++;
    atomic_store_explicit(&segment->min_birth_lsn, order->create_lsn, memory_order_relaxed);
    segment->crc_base = format_crc_base(segments->uuid, segment->generation);
    segment_head(segments, segment, order->page);
    int fd = -1;
    r = make_file(segments, segment, order->page, &fd);
    if (r != 0) {
        return r;
    }
    atomic_store_explicit(&segment->fd, fd, memory_order_relaxed);
    atomic_store_explicit(&segment->undecided, 0, memory_order_relaxed);
    atomic_store_explicit(&segment->aborted, 0, memory_order_relaxed);
    atomic_store_explicit(&segment->unsettled, false, memory_order_relaxed);
    atomic_store_explicit(&segment->data_bytes, PAGE_BYTES, memory_order_relaxed);
    atomic_store_explicit(&segment->file_bytes, segments->segment_bytes, memory_order_relaxed);
    uint64_t pages = order->claimed ? segments->segment_bytes / PAGE_BYTES : 1;
    atomic_store_explicit(&segment->prewrite, pages << 32 | pages, memory_order_relaxed);
    segments->top = max_u32(segments->top, id + 1);
    segment_set_state(segment, SEGMENT_SPARE);
    *ret_segment = segment;
    return 0;
}

int segment_drop(struct segments *segments, struct segment *segment) {
    const struct disk *disk = segments->disk;
    char path[SEGMENT_PATH_MAX];
    segment_path(segments, segment->id, path);
    int fd = segment_fd(segment);
    segment_set_state(segment, SEGMENT_NONE);
    (void)disk->calls->close_file(disk->backend, fd);
    return disk->calls->unlink_file(disk->backend, path);
}

int segment_free(struct segments *segments, struct segment *segment) {
    const struct disk *disk = segments->disk;
    if (tier_state(&segments->tiers->all[segment->tier]) >= TIER_READONLY) {
        return SEGMENT_HELD; /* what is away would come back with its tier */
    }
    /* sequentially consistent: segment.h says why; an acquire of the pins pairs with the unpin */
    atomic_store_explicit(&segment->state, SEGMENT_DYING, memory_order_seq_cst);
    if (atomic_load_explicit(&segment->pins, memory_order_seq_cst) != 0) {
        return SEGMENT_HELD;
    }
    char path[SEGMENT_PATH_MAX];
    segment_path(segments, segment->id, path);
    /* Not found, and never unlinked: the whole tier is away, with the file on it. */
    int r = segment->unlinked ? 0 : disk->calls->unlink_file(disk->backend, path);
    segment->unlinked = r == 0;
    r = r == 0 ? sync_dir(segments, segment->tier) : r;
    if (r != 0) {
        return r;
    }
    (void)disk->calls->close_file(disk->backend, segment->fd);
    atomic_store_explicit(&segment->live_bytes, 0, memory_order_relaxed);
    segment_set_state(segment, SEGMENT_NONE);
    return 0;
}

int segment_prewrite(struct segments *segments, struct segment *segment, const void *zeroes,
                     uint64_t bytes) {
    const struct disk *disk = segments->disk;
    uint64_t word = atomic_load_explicit(&segment->prewrite, memory_order_acquire);
    uint64_t from = word & UINT32_MAX;
    uint64_t end = min_u64(from + bytes / PAGE_BYTES, segments->segment_bytes / PAGE_BYTES);
    if (word >> 32 != from || end <= from) {
        return 0;
    }
    /* acq_rel pairs with segment_claim: whoever moves the frontier owns what it passed */
    if (!atomic_compare_exchange_strong_explicit(&segment->prewrite, &word, end << 32 | from,
                                                 memory_order_acq_rel, memory_order_relaxed)) {
        return 0;
    }
    size_t count = (size_t)(end - from) * PAGE_BYTES;
    int64_t n = disk->calls->pwrite(disk->backend, segment->fd, zeroes, count, from * PAGE_BYTES);
    int r = n == (int64_t)count ? 0 : n < 0 ? (int)n : err_raise(-EIO);
    r = r == 0 ? disk->calls->sync_file(disk->backend, segment->fd) : r;
    /* Also after a failure: the space is reserved, and the log's own write will tell. */
    atomic_store_explicit(&segment->prewrite, end << 32 | end, memory_order_release);
    return r == 0 ? 1 : r;
}

bool segment_claim(struct segment *segment, uint64_t end) {
    uint64_t pages = end / PAGE_BYTES;
    uint64_t word = atomic_load_explicit(&segment->prewrite, memory_order_acquire);
    for (;;) {
        uint64_t zeroed = word & UINT32_MAX;
        if (pages <= zeroed) {
            return true;
        }
        if (word >> 32 != zeroed) {
            return false;
        }
        if (atomic_compare_exchange_weak_explicit(&segment->prewrite, &word, pages << 32 | pages,
                                                  memory_order_acq_rel, memory_order_acquire)) {
            return true;
        }
    }
}
