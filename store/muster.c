/* SPDX-License-Identifier: MIT */
#include "store/muster.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define STEP_SEGMENTS 8u
#define STEP_BYTES    (4 * MiB)
#define TRIES_MAX     3u

/* --- open, close ------------------------------------------------------------------------------ */

static int list_one(void *context, const char *name) {
    struct muster *muster = context;
    uint32_t id = segment_id_of(name);
    if (id != 0 && muster->id_count < SEGMENT_IDS) {
        muster->ids[muster->id_count++] = id;
    }
    return 0;
}

bool muster_unsettled(const struct store *store, const struct segment *segment) {
    return segment_state(segment) == SEGMENT_CLOSED && segment->epoch < store->segments.epoch &&
           atomic_load_explicit(&segment->unsettled, memory_order_relaxed);
}

int muster_open(struct muster *muster, struct store *store, struct tier *tier) {
    struct recovery *recovery = &muster->recovery;
    *muster = (struct muster){.store = store, .tier = tier};
    *recovery = (struct recovery){
        .store = store, .report = &muster->report, .tier = tier, .max = SEGMENT_IDS};
    recovery->page = vm_map(PAGE_BYTES);
    recovery->found = vm_map(SEGMENT_IDS * sizeof *recovery->found);
    recovery->scans = vm_map(SEGMENT_IDS * sizeof *recovery->scans);
    muster->ids = vm_map(SEGMENT_IDS * sizeof *muster->ids);
    muster->commits = vm_map(SEGMENT_IDS);
    int r = recovery->page && recovery->found && recovery->scans && muster->ids && muster->commits
                ? scan_window_open(&recovery->window)
                : err_raise(-ENOMEM);
    const struct disk *disk = &store->config.disk;
    return r == 0 && tier ? disk->calls->list_dir(disk->backend, tier->dir, list_one, muster) : r;
}

static void scan_forget(struct found *found) {
    if (found->scan) {
        scan_close(found->scan);
        found->scan = NULL;
    }
}

void muster_close(struct muster *muster) {
    struct recovery *recovery = &muster->recovery;
    for (uint64_t i = 0; i < recovery->count; i++) {
        scan_forget(&recovery->found[i]);
    }
    scan_window_close(&recovery->window);
    footer_close(&recovery->footer);
    vm_unmap(recovery->items, recovery->items_max * sizeof *recovery->items);
    vm_unmap(recovery->page, PAGE_BYTES);
    vm_unmap(recovery->found, SEGMENT_IDS * sizeof *recovery->found);
    vm_unmap(recovery->scans, SEGMENT_IDS * sizeof *recovery->scans);
    vm_unmap(muster->ids, SEGMENT_IDS * sizeof *muster->ids);
    vm_unmap(muster->commits, SEGMENT_IDS);
    *muster = (struct muster){.store = NULL};
}

/* --- trouble ---------------------------------------------------------------------------------- */

bool muster_trouble(struct muster *muster) {
    struct store *store = muster->store;
    if (muster->tier &&
        tier_present(&store->config.disk, muster->tier, muster->recovery.page) != 0) {
        muster->lost = true;
        return false;
    }
    if (++muster->tries < TRIES_MAX) {
        return false;
    }
    muster->tries = 0;
    return true;
}

/* --- files ------------------------------------------------------------------------------------ */

static int open_file(struct muster *muster, uint32_t id) {
    const struct disk *disk = &muster->store->config.disk;
    char path[SEGMENT_PATH_MAX];
    segment_path_at(&muster->store->segments, &(struct segment_at){muster->tier->index, id}, path);
    int fd = disk->calls->open_file(disk->backend, path, O_RDWR | O_DIRECT, 0);
    if (fd == -EROFS || fd == -EACCES || fd == -EPERM) {
        fd = disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0);
        muster->read_only = muster->read_only || fd >= 0;
    }
    return fd;
}

static void stop_if_last(struct muster *muster, const char *words) {
    if (muster_trouble(muster)) {
        muster->stop = words;
    }
}

/* Returns: it is open. */
static bool open_one(struct muster *muster, uint32_t id) {
    struct store *store = muster->store;
    const struct disk *disk = &store->config.disk;
    struct segment *segment = &store->segments.all[id];
    if (segment_state(segment) != SEGMENT_NONE || id >= store->segments.id_first) {
        muster->stop = "it has segments under ids of others: restart the daemon to take it up";
        return false;
    }
    int fd = open_file(muster, id);
    int64_t bytes = fd >= 0 ? disk->calls->file_bytes(disk->backend, fd) : fd;
    if (bytes < 0) {
        if (fd >= 0) {
            (void)disk->calls->close_file(disk->backend, fd);
        }
        stop_if_last(muster, "its files cannot be opened: restart the daemon to take it up");
        return false;
    }
    segment_clear(segment, id);
    segment->tier = muster->tier->index;
    atomic_store_explicit(&segment->fd, fd, memory_order_relaxed); /* the state publishes it */
    atomic_store_explicit(&segment->file_bytes, (uint64_t)bytes, memory_order_relaxed);
    (void)pthread_mutex_lock(&store->files);
    store->segments.top = max_u32(store->segments.top, id + 1);
    segment_set_state(segment, SEGMENT_LOADING);
    (void)pthread_mutex_unlock(&store->files);
    muster->recovery.found[muster->recovery.count++].segment = segment;
    return true;
}

static uint32_t open_some(struct muster *muster) {
    uint32_t opened = 0;
    while (opened < STEP_SEGMENTS && muster->at < muster->id_count &&
           open_one(muster, muster->ids[muster->at])) {
        muster->at++;
        opened++;
    }
    if (muster->at < muster->id_count) {
        return opened;
    }
    struct recovery *recovery = &muster->recovery;
    muster->arrived = recovery->count;
    for (uint32_t id = 1; id < muster->store->segments.top; id++) {
        struct segment *segment = &muster->store->segments.all[id];
        if (muster_unsettled(muster->store, segment) &&
            tier_here(tier_of(muster->store, segment))) {
            recovery->found[recovery->count++].segment = segment;
        }
    }
    muster->at = 0;
    muster->phase = MUSTER_READ;
    return opened + 1;
}

/* --- read ------------------------------------------------------------------------------------- */

/* What the disk did not give is asked for again; in the end the segment is left as unread. */
static void read_end(struct muster *muster) {
    struct recovery *recovery = &muster->recovery;
    struct found *found = &recovery->found[muster->at];
    muster->begun = false;
    bool unread = found->unread || (found->scan && found->scan->unreadable > 0);
    if (unread && !muster_trouble(muster) && (muster->lost || muster->tier)) {
        scan_forget(found);
        found->unread = false;
        found->segment->generation = muster->at < muster->arrived ? 0 : found->segment->generation;
        return;
    }
    if (found_end(recovery, muster->at) != 0) {
        muster->stop = "no memory for its blocks: restart the daemon to take it up";
    }
    if (found->segment->epoch >= muster->store->segments.epoch) {
        muster->stop = "it was used by another start: restart the daemon to take it up";
    }
    muster->scans = muster->scans || found->scan;
    muster->tries = 0;
    muster->at++;
}

static uint32_t read_some(struct muster *muster) {
    struct recovery *recovery = &muster->recovery;
    if (muster->at == recovery->count) {
        muster->at = 1;
        muster->phase = MUSTER_TRAILERS;
        return 1;
    }
    struct found *found = &recovery->found[muster->at];
    if (!muster->begun) {
        found->segment->damaged_ranges = 0;
        if (found_begin(recovery, muster->at) != 0) {
            muster->stop = "no memory for its blocks: restart the daemon to take it up";
            return 1;
        }
        muster->begun = true;
    }
    if (!found->scan || !scan_some(found->scan, STEP_BYTES)) {
        read_end(muster);
    }
    return 1;
}

/* --- trailers --------------------------------------------------------------------------------- */

static bool is_here(const struct muster *muster, const struct segment *segment) {
    return segment_state(segment) == SEGMENT_SEALED &&
           segment->epoch < muster->store->segments.epoch;
}

static uint32_t trailers_some(struct muster *muster) {
    struct recovery *recovery = &muster->recovery;
    const struct segments *segments = &muster->store->segments;
    const struct segment_trailer *trailer = recovery->page;
    uint32_t looked = 0;
    for (; muster->at < segments->top && looked < STEP_SEGMENTS && muster->scans; muster->at++) {
        const struct segment *segment = &segments->all[muster->at];
        if (!is_here(muster, segment)) {
            continue;
        }
        looked++;
        if (trailer_read(segments, segment, recovery->page) != 0) {
            stop_if_last(muster,
                         "a segment that is here cannot be read, and is asked what counts of "
                         "it: restart the daemon to take it up");
            return looked;
        }
        muster->commits[muster->at] = trailer->commits > 0;
        if (found_sealed(recovery, trailer, FOUND_NONE) != 0) {
            muster->stop = "no memory for its blocks: restart the daemon to take it up";
            return looked;
        }
    }
    if (muster->at >= segments->top || !muster->scans) {
        muster->phase = MUSTER_JUDGE;
    }
    return looked + 1;
}

/* Tiers that are away even when this one is taken up. */
static uint32_t still_away(const struct muster *muster) {
    const struct tiers *tiers = &muster->store->tiers;
    uint32_t unknown = atomic_load_explicit(&tiers->unknown, memory_order_relaxed);
    return unknown - (muster->tier != NULL) - tiers->unread;
}

static void judge_them(struct muster *muster) {
    struct recovery *recovery = &muster->recovery;
    bool unread = found_late(recovery);
    recovery->partial = unread || still_away(muster) > 0;
    if (found_gone(recovery) != 0) {
        muster->stop = "no memory for its blocks: restart the daemon to take it up";
        return;
    }
    recover_judge(recovery);
    muster->phase = MUSTER_DONE;
}

uint32_t muster_step(struct muster *muster) {
    switch (muster->phase) {
    case MUSTER_FILES:
        return open_some(muster);
    case MUSTER_READ:
        return read_some(muster);
    case MUSTER_TRAILERS:
        return trailers_some(muster);
    case MUSTER_JUDGE:
        judge_them(muster);
        return 1;
    case MUSTER_DONE:
        return 0;
    }
    never("a muster in no phase");
}
