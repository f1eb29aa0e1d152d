/* SPDX-License-Identifier: MIT */
#include "store/rejoin.h"

#include "base/bits.h"
#include "base/err.h"
#include "store/arrival.h"
#include "store/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define PROBE_NS    (1 * NS_PER_S)
#define HURRY_NS    (50 * NS_PER_MS) /* between probes while operations fail */
#define PROBE_TRIES 3u               /* one failed read is no lost disk */

struct rejoin {
    uint64_t next_ns;    /* of the next probe of all */
    uint64_t hurried_ns; /* the last probe that errors asked for */
    void *page;          /* PAGE_BYTES */
    int *retired;        /* [SEGMENT_IDS] old descriptor + 1, till no reader holds the segment */
    uint32_t retired_count;
};

int rejoin_open(struct porter *porter) {
    struct rejoin *rejoin = vm_map(sizeof *rejoin);
    if (!rejoin) {
        return err_raise(-ENOMEM);
    }
    porter->rejoin = rejoin;
    rejoin->page = vm_map(PAGE_BYTES);
    rejoin->retired = vm_map(SEGMENT_IDS * sizeof *rejoin->retired);
    return rejoin->page && rejoin->retired ? 0 : err_raise(-ENOMEM);
}

/* Returns: how many were closed. `all`: no reader is left. */
static uint32_t close_retired(struct porter *porter, bool all) {
    struct rejoin *rejoin = porter->rejoin;
    struct store *store = porter->store;
    const struct disk *disk = &store->config.disk;
    uint32_t closed = 0;
    for (uint32_t id = 1; rejoin->retired_count > 0 && id < store->segments.top; id++) {
        struct segment *segment = &store->segments.all[id];
        /* seq_cst: the new descriptor was stored before; who pins after this reads that one */
        bool held = atomic_load_explicit(&segment->pins, memory_order_seq_cst) != 0;
        if (rejoin->retired[id] != 0 && (all || !held)) {
            (void)disk->calls->close_file(disk->backend, rejoin->retired[id] - 1);
            rejoin->retired[id] = 0;
            rejoin->retired_count--;
            closed++;
        }
    }
    return closed;
}

void rejoin_close(struct porter *porter) {
    struct rejoin *rejoin = porter->rejoin;
    arrival_close(porter);
    if (!rejoin) {
        return;
    }
    if (rejoin->retired) {
        (void)close_retired(porter, true);
    }
    vm_unmap(rejoin->page, PAGE_BYTES);
    vm_unmap(rejoin->retired, SEGMENT_IDS * sizeof *rejoin->retired);
    vm_unmap(rejoin, sizeof *rejoin);
    porter->rejoin = NULL;
}

/* --- is it there? ----------------------------------------------------------------------------- */

enum presence { PRESENT, AWAY, UNCLEAR };

/* What one look says. A page that is damaged is still that of a directory which is there; being out
 * of descriptors or memory says nothing about a disk. */
static enum presence look(struct porter *porter, const struct tier *tier) {
    struct store *store = porter->store;
    const struct tier_page *page = porter->rejoin->page;
    int r = tier_read(&store->config.disk, tier->dir, porter->rejoin->page);
    if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == FORMAT_BAD) {
        return UNCLEAR;
    }
    bool ours = r == 0 && memcmp(page->store_uuid, store->super.slot.uuid, 16) == 0 &&
                memcmp(page->uuid, tier->uuid, 16) == 0;
    return ours ? PRESENT : AWAY;
}

static enum presence probe(struct porter *porter, const struct tier *tier) {
    enum presence seen = look(porter, tier);
    for (uint32_t i = 1; i < PROBE_TRIES && seen == AWAY; i++) {
        seen = look(porter, tier);
    }
    return seen;
}

/* --- files anew ------------------------------------------------------------------------------- */

/* Is this the file that it was? */
static bool same_file(struct porter *porter, const struct segment *segment, int fd) {
    const struct store *store = porter->store;
    const struct disk *disk = &store->config.disk;
    const struct segment_header *header = porter->rejoin->page;
    int64_t n = disk->calls->pread(disk->backend, fd, porter->rejoin->page, PAGE_BYTES, 0);
    return n == PAGE_BYTES &&
           segment_header_check(porter->rejoin->page, store->segments.uuid, segment->id) == 0 &&
           (segment->generation == 0 || header->generation == segment->generation); /* 0: unread */
}

/* Opens one segment's file anew. Returns: false: not now, or it is not there any more: then its
 * blocks are read by the old descriptor, and what that says counts. */
static bool reopen(struct porter *porter, struct segment *segment) {
    struct rejoin *rejoin = porter->rejoin;
    const struct disk *disk = &porter->store->config.disk;
    char path[SEGMENT_PATH_MAX];
    if (rejoin->retired[segment->id] != 0) {
        return false; /* it went and came before its readers were done */
    }
    segment_path(&porter->store->segments, segment->id, path);
    int fd = disk->calls->open_file(disk->backend, path, O_RDWR | O_DIRECT, 0);
    if (fd == -EROFS || fd == -EACCES) {
        fd = disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0);
    }
    if (fd < 0) {
        return fd == -ENOENT;
    }
    if (!same_file(porter, segment, fd)) {
        (void)disk->calls->close_file(disk->backend, fd);
        return true;
    }
    /* seq_cst: before the pins are looked at (close_retired); segment.h says why */
    int old = atomic_exchange_explicit(&segment->fd, fd, memory_order_seq_cst);
    rejoin->retired[segment->id] = old + 1;
    rejoin->retired_count++;
    return true;
}

/* All files of a tier that is there again. Returns: false: some could not be opened: later. */
static bool reopen_all(struct porter *porter, const struct tier *tier) {
    struct segments *segments = &porter->store->segments;
    bool all = true;
    for (uint32_t id = 1; id < segments->top; id++) {
        struct segment *segment = &segments->all[id];
        enum segment_state state = segment_state(segment);
        bool has_file = state != SEGMENT_NONE && state != SEGMENT_DYING;
        if (has_file && segment->tier == tier->index) {
            all = reopen(porter, segment) && all;
        }
    }
    return all;
}

/* Another process may have taken it while it was away. */
static bool hold(struct porter *porter, struct tier *tier) {
    static const char in_use[] = "another process has it in use";
    const char *waits = atomic_load_explicit(&tier->waits, memory_order_relaxed); /* ours */
    if (waits && waits != in_use) {
        return true; /* it is not taken up before the next start, which asks again */
    }
    uint32_t pid = 0;
    int r = tier_lock(&porter->store->config.disk, tier, false, &pid);
    atomic_store_explicit(&tier->waits, r == -EAGAIN ? in_use : NULL, memory_order_relaxed);
    return r != -EAGAIN;
}

static uint32_t judge_tier(struct porter *porter, struct tier *tier) {
    struct store *store = porter->store;
    enum presence seen = probe(porter, tier);
    bool missing = tier_state(tier) == TIER_MISSING;
    if (seen == AWAY && !missing) {
        tier_set_state(tier, TIER_MISSING);
        return 1;
    }
    bool known = atomic_load_explicit(&tier->known, memory_order_relaxed); /* ours */
    if (seen != PRESENT || !missing || !hold(porter, tier) ||
        (!known && !arrival_may(porter, tier))) {
        return 0;
    }
    (void)pthread_mutex_lock(&store->files);
    tier_measure(&store->config.disk, tier); /* it may have come back on another disk */
    bool all = reopen_all(porter, tier);
    (void)pthread_mutex_unlock(&store->files);
    if (all && !known) {
        return arrival_welcome(porter, tier);
    }
    if (all) {
        tier_set_state(tier, tier->leaving ? TIER_READONLY : TIER_ONLINE);
    }
    return 1;
}

/* Did operations fail since the last look? */
static bool failing(const struct tiers *tiers, const struct porter *porter) {
    bool any = false;
    for (uint32_t i = 0; i < tiers->count; i++) {
        const struct tier *tier = &tiers->all[i];
        any = any || atomic_load_explicit(&tier->errors, memory_order_relaxed) != tier->errors_seen;
    }
    return any && porter->now_ns >= porter->rejoin->hurried_ns + HURRY_NS;
}

uint32_t rejoin_step(struct porter *porter) {
    struct rejoin *rejoin = porter->rejoin;
    struct tiers *tiers = &porter->store->tiers;
    uint32_t work = close_retired(porter, false) + arrival_step(porter);
    bool hurry = failing(tiers, porter);
    if (!hurry && porter->now_ns < rejoin->next_ns) {
        return work;
    }
    rejoin->hurried_ns = hurry ? porter->now_ns : rejoin->hurried_ns;
    rejoin->next_ns = porter->now_ns + PROBE_NS;
    for (uint32_t i = 0; i < tiers->count; i++) {
        struct tier *tier = &tiers->all[i];
        tier->errors_seen = atomic_load_explicit(&tier->errors, memory_order_relaxed);
        work += judge_tier(porter, tier);
    }
    return work;
}
