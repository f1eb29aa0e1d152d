/* SPDX-License-Identifier: MIT */
#include "store/found.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/seal.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* --- list ------------------------------------------------------------------------------------- */

static int say(struct store_report *report, const char *words, const char *name) {
    struct text text = {report->why, sizeof report->why, 0};
    text_add(&text, words);
    text_add(&text, name);
    return STORE_FORMAT;
}

#define READ_TRIES 3u

/* The header page is damaged, or (unread) not to be had: the first sound batch tells which segment
 * this was. */
static bool header_rebuild(struct recovery *recovery, struct found *found, bool unread) {
    struct segment *segment = found->segment;
    struct segments *segments = &recovery->store->segments;
    found->unread = unread;
    struct scan scan;
    struct batch_header head;
    uint64_t file_bytes = atomic_load_explicit(&segment->file_bytes, memory_order_relaxed);
    struct scan_source source = {segments->disk, segment, &recovery->window, file_bytes};
    if (scan_open(&scan, &source) != 0) {
        return false;
    }
    uint64_t generation = scan_generation(&scan, segments->uuid, &head);
    scan_close(&scan);
    if (generation == 0) {
        found->unread = unread || scan.unreadable > 0;
        return false;
    }
    segment->generation = generation;
    segment->log = head.log;
    segment->epoch = lsn_epoch(head.first_lsn);
    segment->create_lsn = head.first_lsn;
    segment->crc_base = format_crc_base(segments->uuid, generation);
    recovery->report->corrupt_ranges += !unread;
    if (!unread && !recovery->store->config.read_only) {
        void *page = recovery->page;
        segment_head(segments, segment, page);
        const struct disk *disk = segments->disk;
        (void)disk->calls->pwrite(disk->backend, segment->fd, page, PAGE_BYTES, 0);
    }
    return true;
}

static bool header_read(struct recovery *recovery, struct found *found) {
    struct segment *segment = found->segment;
    struct segments *segments = &recovery->store->segments;
    const struct disk *disk = segments->disk;
    void *page = recovery->page;
    int64_t n = -EIO;
    for (uint32_t tries = 0; tries < READ_TRIES && n < 0; tries++) {
        n = disk->calls->pread(disk->backend, segment->fd, page, PAGE_BYTES, 0);
    }
    if (n != PAGE_BYTES || segment_header_check(page, segments->uuid, segment->id) != 0) {
        return header_rebuild(recovery, found, n < 0);
    }
    const struct segment_header *header = page;
    segment->generation = header->generation;
    segment->create_lsn = header->create_lsn;
    segment->log = header->log;
    segment->epoch = header->epoch;
    segment->crc_base = format_crc_base(segments->uuid, header->generation);
    return true;
}

/* Opens a file for writing, or, on a tier that cannot be written, for reading. */
static int open_segment(struct recovery *recovery, const char *path) {
    struct store *store = recovery->store;
    const struct disk *disk = store->segments.disk;
    int fd = -EROFS;
    if (!store->config.read_only) {
        fd = disk->calls->open_file(disk->backend, path, O_RDWR | O_DIRECT, 0);
    }
    if (fd == -EROFS || fd == -EACCES || fd == -EPERM) {
        fd = disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0);
        if (fd >= 0 && !store->config.read_only) {
            tier_set_state(recovery->tier, TIER_READONLY);
        }
    }
    return fd;
}

/* A file under an id that another tier's has: a copy, or one that was brought here by hand. It gets
 * an id of its own; then its batches are weighed against the others' like any, and where it holds
 * nothing that the first does not, it goes. Returns: the id; 0: left alone. */
static uint32_t id_anew(struct recovery *recovery, char path[SEGMENT_PATH_MAX]) {
    struct segments *segments = &recovery->store->segments;
    const struct disk *disk = segments->disk;
    char to[SEGMENT_PATH_MAX];
    uint32_t other = max_u32(segments->super->tiers.ids_top, segments->top);
    if (other >= SEGMENT_IDS) {
        return 0;
    }
    segment_path_at(segments, &(struct segment_at){recovery->tier->index, other}, to);
    if (!recovery->store->config.read_only) {
        if (disk->calls->rename_file(disk->backend, path, to) != 0) {
            return 0;
        }
        memcpy(path, to, sizeof to);
    }
    recovery->report->segments_twice++;
    return other;
}

static int list_one(void *context, const char *name) {
    struct recovery *recovery = context;
    struct store *store = recovery->store;
    uint32_t id = segment_id_of(name);
    if (id == 0) {
        return 0; /* not ours: left alone */
    }
    char path[SEGMENT_PATH_MAX];
    segment_path_at(&store->segments, &(struct segment_at){recovery->tier->index, id}, path);
    if (segment_state(&store->segments.all[id]) != SEGMENT_NONE) {
        id = id_anew(recovery, path);
        if (id == 0) {
            return 0;
        }
    }
    struct segment *segment = &store->segments.all[id];
    segment_clear(segment, id);
    segment->tier = recovery->tier->index;
    const struct disk *disk = store->segments.disk;
    int fd = open_segment(recovery, path);
    if (fd < 0) {
        recovery->result = fd;
        (void)say(recovery->report, "cannot open segment ", path);
        return 1;
    }
    atomic_store_explicit(&segment->fd, fd, memory_order_relaxed);
    store->segments.top = max_u32(store->segments.top, id + 1);
    segment_set_state(segment, SEGMENT_CLOSED); /* its file is closed with the others */
    int64_t bytes = disk->calls->file_bytes(disk->backend, fd);
    if (bytes < 0) { /* to take it for empty would be to drop it */
        recovery->result = (int)bytes;
        (void)say(recovery->report, "cannot read the size of segment ", path);
        return 1;
    }
    /* Its list is never longer than its blocks: what lies behind is nobody's, and would be read. */
    uint64_t most = 2 * store->segments.segment_bytes + PAGE_BYTES;
    atomic_store_explicit(&segment->file_bytes, min_u64((uint64_t)bytes, most),
                          memory_order_relaxed);
    must(recovery->count < recovery->max);
    recovery->found[recovery->count++].segment = segment;
    return 0;
}

static int list_tier(struct recovery *recovery) {
    const struct store *store = recovery->store;
    const struct disk *disk = &store->config.disk;
    const struct tier *tier = recovery->tier;
    if (tier_state(tier) == TIER_MISSING) {
        return 0;
    }
    int r = disk->calls->list_dir(disk->backend, tier->dir, list_one, recovery);
    r = recovery->result ? recovery->result : r;
    if (r == -ENOENT && store->config.read_only) {
        return 0;
    }
    if (r != 0 && recovery->result == 0) {
        (void)say(recovery->report, "cannot list the tier at ", tier->dir);
    }
    return r;
}

int found_list(struct recovery *recovery) {
    struct store *store = recovery->store;
    int r = 0;
    for (uint32_t i = 0; i < store->tiers.count && r == 0; i++) {
        recovery->tier = &store->tiers.all[i];
        r = list_tier(recovery);
    }
    return r;
}

/* --- read ------------------------------------------------------------------------------------- */

static int scan_begin(struct recovery *recovery, uint64_t index, uint64_t end) {
    struct store *store = recovery->store;
    struct found *found = &recovery->found[index];
    found->scan = &recovery->scans[index];
    struct scan_source source = {&store->config.disk, found->segment, &recovery->window, end};
    int r = scan_open(found->scan, &source);
    if (r != 0) {
        found->scan = NULL;
        return r;
    }
    found->scan->hash_seed = store->hash_seed;
    return 0;
}

static void scan_end(struct recovery *recovery, struct found *found) {
    recovery->report->records_scanned += found->scan->records_seen;
    found->unread = found->unread || found->scan->unreadable > 0;
}

int found_scan(struct recovery *recovery, uint64_t index, uint64_t end) {
    int r = scan_begin(recovery, index, end);
    if (r == 0) {
        scan_run(recovery->found[index].scan);
        scan_end(recovery, &recovery->found[index]);
    }
    return r;
}

int item_add(struct recovery *recovery, const struct judge_item *item) {
    if (recovery->item_count == recovery->items_max) {
        uint64_t max = recovery->items_max ? recovery->items_max * 2 : 4096;
        struct judge_item *items = vm_map(max * sizeof *items);
        if (!items) {
            return err_raise(-ENOMEM);
        }
        memcpy(items, recovery->items ? recovery->items : items,
               recovery->item_count * sizeof *items);
        vm_unmap(recovery->items, recovery->items_max * sizeof *items);
        recovery->items = items;
        recovery->items_max = max;
    }
    recovery->items[recovery->item_count++] = *item;
    return 0;
}

int found_gone(struct recovery *recovery) {
    const struct gone *gone = &recovery->store->gone;
    int r = 0;
    for (uint32_t i = 0; i < gone->count && r == 0; i++) {
        const struct gone_range *range = &gone_ranges(gone)[i];
        r = item_add(recovery, &(struct judge_item){.first_lsn = range->first_lsn,
                                                    .last_lsn = range->last_lsn,
                                                    .durable_lsn = range->last_lsn,
                                                    .log = range->log,
                                                    .segment = FOUND_NONE,
                                                    .batch = UINT32_MAX,
                                                    .sealed = true,
                                                    .sound = true});
    }
    return r;
}

int found_sealed(struct recovery *recovery, const struct segment_trailer *trailer, uint32_t index) {
    if (trailer->first_lsn == 0) {
        return 0;
    }
    return item_add(recovery, &(struct judge_item){.first_lsn = trailer->first_lsn,
                                                   .last_lsn = trailer->last_lsn,
                                                   .durable_lsn = trailer->last_lsn,
                                                   .log = trailer->log,
                                                   .segment = index,
                                                   .batch = UINT32_MAX,
                                                   .sealed = true,
                                                   .sound = true});
}

static int read_sealed(struct recovery *recovery, uint64_t index) {
    struct found *found = &recovery->found[index];
    struct segment *segment = found->segment;
    found->sealed = true;
    found->keep = true;
    found->data_bytes = found->trailer.data_bytes;
    segment->damaged_ranges = found->trailer.damaged_ranges;
    segment->suspect = (found->trailer.flags & TRAILER_SUSPECT) != 0;
    segment->recovered = (found->trailer.flags & TRAILER_RECOVERED) != 0;
    segment->unproven = (found->trailer.flags & TRAILER_UNPROVEN) != 0;
    segment->footer_count = found->trailer.footer_count;
    segment->tombstones = found->trailer.tombstones;
    atomic_store_explicit(&segment->min_birth_lsn, found->trailer.min_birth_lsn,
                          memory_order_relaxed);
    segment->footer_offset = found->trailer.footer_offset;
    recovery->report->corrupt_ranges += segment->damaged_ranges;
    return found_sealed(recovery, &found->trailer, (uint32_t)index);
}

int found_end(struct recovery *recovery, uint64_t index) {
    struct found *found = &recovery->found[index];
    int r = 0;
    if (!found->scan) {
        return 0;
    }
    scan_end(recovery, found);
    for (uint64_t i = 0; r == 0 && i < found->scan->batch_count; i++) {
        const struct scan_batch *batch = &found->scan->batches[i];
        r = item_add(recovery,
                     &(struct judge_item){.first_lsn = batch->head.first_lsn,
                                          .last_lsn = batch->head.last_lsn,
                                          .durable_lsn = batch->head.durable_lsn,
                                          .log = batch->head.log,
                                          .segment = (uint32_t)index,
                                          .batch = (uint32_t)i,
                                          .sound = batch->whole && batch->bad_payloads == 0});
    }
    return r;
}

static int read_trailer(struct recovery *recovery, struct found *found) {
    struct store *store = recovery->store;
    int r = -EIO;
    for (uint32_t tries = 0; tries < READ_TRIES && r < 0; tries++) {
        r = trailer_read(&store->segments, found->segment, recovery->page);
    }
    return r;
}

int found_begin(struct recovery *recovery, uint64_t index) {
    struct found *found = &recovery->found[index];
    if (found->segment->generation == 0 && !header_read(recovery, found)) {
        return 0; /* never was one, or nothing is left of it, or nothing of it is to be had */
    }
    int r = read_trailer(recovery, found);
    if (r == 0) {
        memcpy(&found->trailer, recovery->page, sizeof found->trailer);
        return read_sealed(recovery, index);
    }
    found->unread = found->unread || r < 0;
    return scan_begin(recovery, index,
                      atomic_load_explicit(&found->segment->file_bytes, memory_order_relaxed));
}

int found_read(struct recovery *recovery, uint64_t index) {
    int r = found_begin(recovery, index);
    if (r == 0 && recovery->found[index].scan) {
        scan_run(recovery->found[index].scan);
    }
    return r == 0 ? found_end(recovery, index) : r;
}

/* One whose header is not to be had may be of any log. */
static bool holds_up(const struct found *unread, const struct found *found) {
    const struct segment *a = unread->segment, *b = found->segment;
    return !found->sealed && (a->generation == 0 || (a->log == b->log && a->epoch == b->epoch));
}

bool found_late(struct recovery *recovery) {
    bool any = false;
    for (uint64_t i = 0; i < recovery->count; i++) {
        struct found *unread = &recovery->found[i];
        for (uint64_t k = 0; unread->unread && k < recovery->count; k++) {
            struct found *found = &recovery->found[k];
            found->late = found->late || k == i || holds_up(unread, found);
        }
        any = any || unread->unread;
    }
    return any;
}
