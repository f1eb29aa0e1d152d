/* SPDX-License-Identifier: MIT */
#include "store/store.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "store/arrival.h"
#include "store/crc32c.h"
#include "store/inside.h"
#include "store/seal.h"
#include "store/snapshot.h"
#include "store/text.h"
#include "store/vm.h"

#include <errno.h>
#include <string.h>

#define SEGMENT_EDGES                                                           \
    (64 * KiB) /* header, batch, footer and trailer of a segment with one block \
                */

/* Opening: lock, SUPER, recovery, a new epoch, spares; and closing in the reverse order. */

static void say(struct store_report *report, const char *words, const char *more) {
    if (report->why[0] == 0) {
        struct text text = {report->why, sizeof report->why, 0};
        text_add(&text, words);
        text_add(&text, more);
    }
}

/* --- lock and SUPER --------------------------------------------------------------------------- */

static int lock(struct store *store, struct store_report *report) {
    const struct disk *disk = &store->config.disk;
    char path[SUPER_PATH_MAX];
    struct text text = {path, sizeof path, 0};
    text_add(&text, store->dir);
    text_add(&text, "/LOCK");
    uint32_t pid = 0;
    int (*lock_file)(void *, const char *, bool, uint32_t *) =
        disk->calls->lock_file ? disk->calls->lock_file : disk_sync_calls.lock_file;
    int fd = lock_file(disk->backend, path, store->config.read_only, &pid);
    if (fd == -EAGAIN) {
        struct text why = {report->why, sizeof report->why, 0};
        text_add(&why, "another process has the store open");
        if (pid != 0) {
            text_add(&why, ": pid ");
            text_add_number(&why, pid);
        }
        return STORE_LOCKED;
    }
    if (fd < 0 && !(fd == -ENOENT && store->config.read_only)) {
        struct text why = {report->why, sizeof report->why, 0};
        text_add(&why, "cannot lock ");
        text_add(&why, path);
        text_add(&why, ": ");
        text_add(&why, err_text(fd));
        return fd;
    }
    store->lock_fd = fd;
    return 0;
}

/* What a tier may take that is not made yet. */
static uint64_t space_of(const struct store *store, const struct tier *tier) {
    const struct disk *disk = &store->config.disk;
    int64_t bytes = disk->calls->free_bytes(disk->backend, tier->dir);
    bytes = bytes < 0 ? disk->calls->free_bytes(disk->backend, store->dir) : bytes;
    uint64_t space = bytes > 0 ? (uint64_t)bytes : 0;
    return tier->size_bytes != 0 ? min_u64(space, tier->size_bytes) : space;
}

/* Would segments of half the size be better? Where the space holds only a few of these a keeper, or
 * a tier with a size of its own does, of which spares would take a large part: down to what holds
 * the largest block then, as long as there are numbers for as many as there is space. */
static bool too_large(const struct store *store, uint64_t bytes, uint64_t space) {
    uint64_t keepers = store->config.keepers;
    bool few = bytes > 4 * STORE_SEGMENT_BYTES_MIN && bytes * 8 * keepers > space;
    bool small = false;
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        uint64_t size = store->tiers.all[i].size_bytes;
        small = small || (size != 0 && bytes * 16 * keepers > size);
    }
    uint64_t half = bytes / 2;
    bool can = half >= STORE_SEGMENT_BYTES_MIN &&
               half >= (uint64_t)store->config.block_bytes_max + SEGMENT_EDGES &&
               space / half < SEGMENT_IDS / 4;
    return few || (small && can);
}

/* 256 MiB, or less. */
static uint64_t segment_bytes_chosen(const struct store *store) {
    if (store->config.segment_bytes != 0) {
        return store->config.segment_bytes;
    }
    uint64_t space = 0;
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        space += space_of(store, &store->tiers.all[i]);
    }
    uint64_t bytes = STORE_SEGMENT_BYTES_MAX;
    while (too_large(store, bytes, space)) {
        bytes /= 2;
    }
    return bytes;
}

/* What may stand in a directory that is no store yet: what Millrace leaves beside a store or of a
 * format that was cut off, what tools/up puts there, and what a fresh file system has. */
static bool ours(const char *name) {
    static const char *const names[] = {"LOCK",    "SUPER.new",    "GONE.new",     "ssd",
                                        "hdd",     "millrace.log", "millrace.pid", "admin.sock",
                                        "samples", "lost+found",   "index"};
    for (size_t i = 0; i < array_count(names); i++) {
        if (strcmp(name, names[i]) == 0) {
            return true;
        }
    }
    return name[0] == '.';
}

struct seen {
    bool super;
    char foreign[64]; /* the first name that is not ours */
};

static int see(void *context, const char *name) {
    struct seen *seen = context;
    seen->super = seen->super || strcmp(name, "SUPER") == 0;
    if (seen->foreign[0] == 0 && !ours(name)) {
        struct text text = {seen->foreign, sizeof seen->foreign, 0};
        text_add(&text, name);
    }
    return 0;
}

/* A directory of somebody else's is left alone, before a lock is written into it. */
static int place_judge(const struct store *store, struct store_report *report) {
    const struct disk *disk = &store->config.disk;
    struct seen seen = {.super = false};
    int r = disk->calls->list_dir(disk->backend, store->dir, see, &seen);
    if (r == -ENOTDIR) {
        say(report, "not a directory: ", store->dir);
        return r;
    }
    if (r == 0 && !seen.super && seen.foreign[0] != 0) {
        struct text why = {report->why, sizeof report->why, 0};
        text_add(&why, "not a store and not empty: ");
        text_add(&why, store->dir);
        text_add(&why, " holds ");
        text_add(&why, seen.foreign);
        text_add(&why, "; name an empty or new directory");
        return STORE_FORMAT;
    }
    return 0; /* what else is wrong with it shows when it is locked */
}

static int format(struct store *store, struct store_report *report) {
    report->why[0] = 0;
    if (tiers_used(store, report)) {
        return STORE_FORMAT;
    }
    uint64_t segment_bytes = segment_bytes_chosen(store);
    if (tiers_too_small(store, segment_bytes, report)) {
        return -EINVAL;
    }
    int r = super_format(&store->config, segment_bytes, store->page);
    if (r != 0) {
        struct text why = {report->why, sizeof report->why, 0};
        text_add(&why, "cannot format a store in ");
        text_add(&why, store->dir);
        text_add(&why, ": ");
        text_add(&why, err_text(r));
        return r;
    }
    report->formatted = true;
    return 0;
}

static int super_open(struct store *store, struct store_report *report) {
    struct super_scratch scratch = {store->page, report->why, sizeof report->why};
    bool absent = false;
    int r = super_read(&store->super, &store->config, &scratch, &absent);
    if (r != 0 && absent && store->config.create && !store->config.read_only) {
        r = format(store, report);
        r = r == 0 ? super_read(&store->super, &store->config, &scratch, &absent) : r;
    }
    if (r != 0) {
        return r;
    }
    const struct super_slot *slot = &store->super.slot;
    report->clean = slot->clean != 0;
    store->unclean = slot->clean == 0;
    store->hash_seed = slot->hash_seed;
    store->segments.segment_bytes = slot->segment_bytes;
    store->segments.uuid = store->super.slot.uuid;
    if (!store->config.read_only && tiers_too_small(store, slot->segment_bytes, report)) {
        return -EINVAL;
    }
    if (slot->epoch >= EPOCH_MAX) {
        say(report, "the store has been started 16 million times; copy it into a new one", "");
        return STORE_FORMAT;
    }
    return 0;
}

/* --- memory ----------------------------------------------------------------------------------- */

static int keeper_open(struct store *store, uint32_t index) {
    struct keeper *keeper = &store->keepers[index];
    const struct store_config *config = &store->config;
    keeper->store = store;
    keeper->index = index;
    keeper->reader = config->readers + index;
    keeper->sweep_shard = index;
    keeper->disk = config->keeper_disks ? config->keeper_disks[index] : config->disk;
    store->homes[index] = &keeper->home;
    atomic_init(&keeper->adopt, FRAME_NONE);
    uint64_t budget = config->memory_bytes / config->keepers;
    struct store_memory memory;
    int r = 0;
    if (config->memory) {
        memory = config->memory[index];
    } else {
        r = heap_open(&keeper->heap, budget * 2 + 64 * MiB, &memory);
    }
    r = r == 0 ? frame_home_open(&keeper->home, index, budget, &memory) : r;
    if (r != 0) {
        return r;
    }
    evictor_init(&keeper->evictor, config->policy, budget, store->homes);
    uint64_t batch = max_u64(LOG_BATCH_BYTES, store->record_bytes_max + BATCH_RECORD);
    keeper->log.buffer_bytes = (uint32_t)round_up(batch + PAGE_BYTES, PAGE_BYTES);
    keeper->log.batches_max = config->batches ? config->batches : LOG_BATCHES;
    must(keeper->log.batches_max >= 2 && keeper->log.batches_max <= LOG_BATCHES);
    size_t log_bytes = (size_t)keeper->log.buffer_bytes * keeper->log.batches_max;
    size_t roll_bytes = round_up(log_bytes / ROLL_SHARE, PAGE_BYTES);
    size_t fetch_bytes = round_up(fetch_footprint(store), PAGE_BYTES);
    keeper->buffers_bytes = log_bytes + LOG_ROLLS * roll_bytes + fetch_bytes;
    /* In huge pages a transfer is one piece to the disk, not one a page. */
    keeper->buffers = vm_map_huge(keeper->buffers_bytes);
    if (!keeper->buffers) {
        return err_raise(-ENOMEM);
    }
    for (uint32_t i = 0; i < keeper->log.batches_max; i++) {
        keeper->log.batches[i].keeper = keeper;
        keeper->log.batches[i].buffer =
            (uint8_t *)keeper->buffers + (size_t)i * keeper->log.buffer_bytes;
    }
    uint8_t *rolls = (uint8_t *)keeper->buffers + log_bytes;
    for (uint32_t i = 0; i < LOG_ROLLS; i++) {
        struct roll *roll = &keeper->log.rolls[i];
        roll->entries = (void *)(rolls + i * roll_bytes);
        roll->max = (uint32_t)(roll_bytes / sizeof *roll->entries);
    }
    fetch_open(keeper, rolls + LOG_ROLLS * roll_bytes);
    r = unzip_open(&keeper->unzip);
    return r == 0 ? pins_open(&keeper->pins, config->keepers) : r;
}

static int memory_open(struct store *store) {
    atomic_init(&store->frames_bytes, store->config.memory_bytes);
    uint32_t keepers = store->config.keepers;
    uint32_t readers = store->config.readers + keepers + 2;
    store->helper = readers - 2;
    store->keepers_bytes = keepers * (sizeof *store->keepers + sizeof *store->arenas);
    store->keepers = vm_map(store->keepers_bytes);
    store->readers_bytes = readers * sizeof *store->turns.readers;
    store->turns.readers = vm_map(store->readers_bytes);
    store->turns.readers_max = readers;
    store->zeroes = vm_map(HOUSEKEEP_STEP);
    store->walk = vm_map(WALK_BYTES);
    if (!store->keepers || !store->turns.readers || !store->zeroes || !store->walk) {
        return err_raise(-ENOMEM);
    }
    store->arenas = (struct catalog_arena *)(void *)(store->keepers + keepers);
    for (uint32_t i = 0; i < readers; i++) {
        atomic_init(&store->turns.readers[i].seen, TURN_PARKED);
    }
    int r = catalog_open(&store->catalog, &store->turns, keepers, store->arenas);
    for (uint32_t k = 0; k < keepers && r == 0; k++) {
        r = keeper_open(store, k);
    }
    r = r == 0 ? snapshot_open(store) : r;
    return r == 0 ? porter_open(store) : r;
}

static void memory_close(struct store *store) {
    porter_close(store);
    snapshot_close(store);
    for (uint32_t k = 0; store->keepers && k < store->config.keepers; k++) {
        struct keeper *keeper = &store->keepers[k];
        frame_home_close(&keeper->home);
        pins_close(&keeper->pins);
        unzip_close(&keeper->unzip);
        heap_close(keeper->heap);
        vm_unmap(keeper->buffers, keeper->buffers_bytes);
    }
    catalog_close(&store->catalog);
    gone_close(&store->gone);
    vm_unmap(store->keepers, store->keepers_bytes);
    vm_unmap(store->turns.readers, store->readers_bytes);
    vm_unmap(store->zeroes, HOUSEKEEP_STEP);
    vm_unmap(store->walk, WALK_BYTES);
    vm_unmap(store->page, PAGE_BYTES);
    vm_unmap(store, sizeof *store);
}

/* --- open ------------------------------------------------------------------------------------- */

static int config_take(struct store *store, const struct store_config *config,
                       struct store_report *report) {
    must(config->keepers >= 1 && config->keepers <= STORE_KEEPERS_MAX);
    must(config->dir != NULL && config->disk.calls != NULL);
    store->config = *config;
    struct text text = {store->dir, sizeof store->dir, 0};
    text_add(&text, config->dir);
    store->config.dir = store->dir;
    store->lock_fd = -1;
    store->super.fd = -1;
    store->segments.disk = &store->config.disk;
    store->segments.dir = store->dir;
    store->segments.tiers = &store->tiers;
    store->segments.super = &store->super;
    if (strlen(config->dir) >= sizeof store->dir) {
        say(report, "the store's path is too long", "");
        return -ENAMETOOLONG;
    }
    uint64_t segment = config->segment_bytes;
    if (segment != 0 && (!is_power_of_two(segment) || segment < STORE_SEGMENT_BYTES_MIN ||
                         segment > STORE_SEGMENT_BYTES_MAX)) {
        say(report, "the segment size must be a power of two from 4 MiB to 256 MiB", "");
        return -EINVAL;
    }
    if (store->config.gc_memory_bytes == 0) {
        store->config.gc_memory_bytes = 64 * MiB;
    }
    if (store->config.block_bytes_max == 0) {
        store->config.block_bytes_max = STORE_BLOCK_MAX;
    }
    store->config.block_bytes_max = min_u32(store->config.block_bytes_max, STORE_BLOCK_HARD_MAX);
    return tiers_take(store, report);
}

/* A block must fit a segment with its header, batch, footer and trailer. */
static void limits_set(struct store *store) {
    struct store_config *config = &store->config;
    uint64_t room = store->segments.segment_bytes - SEGMENT_EDGES;
    config->block_bytes_max = (uint32_t)min_u64(config->block_bytes_max, room);
    /* What is on the disk may have come in under a higher limit. */
    store->record_bytes_max =
        (uint32_t)min_u64(STORE_BLOCK_HARD_MAX + RECORD_HEADER_MAX, store->segments.segment_bytes);
}

/* While a tier is away ids are taken from above all that it may have. */
static void ids_set(struct store *store) {
    struct super_tiers *said = &store->super.tiers;
    uint64_t top = round_up(max_u32(store->segments.top, 1), 1024);
    said->ids_top = max_u32(said->ids_top, (uint32_t)min_u64(top, SEGMENT_IDS));
    store->segments.id_first = tiers_unknown(&store->tiers) ? said->ids_top : 1;
}

static int epoch_begin(struct store *store) {
    store->super.slot.epoch++;
    store->super.slot.clean = 0;
    store->super.end.magic = 0;
    store->super.end.segments = 0;
    store->super.slot.compat |= SUPER_COMPAT_SNAPSHOTS;
    store->segments.epoch = store->super.slot.epoch;
    store->segments.generation_next = 1;
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        struct log *log = &store->keepers[k].log;
        log->next_lsn = lsn_make(store->segments.epoch, 1);
        log->durable_lsn = log->data_lsn = log->marked_lsn = lsn_make(store->segments.epoch, 0);
    }
    ids_set(store);
    feature_begin(store);
    if (store->config.read_only) {
        return 0;
    }
    tiers_mark(store);
    return super_write(&store->super, &store->config.disk, store->page);
}

static int open_steps(struct store *store, struct store_report *report) {
    bool may_format = store->config.create && !store->config.read_only;
    int r = may_format ? place_judge(store, report) : 0;
    r = r == 0 ? lock(store, report) : r;
    r = r == 0 ? super_open(store, report) : r;
    r = r == 0 ? tiers_open(store, report) : r;
    if (r != 0) {
        return r;
    }
    limits_set(store);
    r = segments_open(&store->segments);
    r = r == 0 ? memory_open(store) : r;
    r = r == 0 ? recover(store, report) : r;
    r = r == 0 ? epoch_begin(store) : r;
    if (r != 0 || store->config.read_only) {
        return r;
    }
    r = arrival_prepare(store);
    int made = r == 0 ? spare_refill(store) : r;
    return made < 0 ? made : 0;
}

static void close_files(struct store *store) {
    const struct disk *disk = &store->config.disk;
    segments_close(&store->segments);
    for (uint32_t i = 0; i < store->tiers.count; i++) {
        tier_unlock(disk, &store->tiers.all[i]);
    }
    if (store->super.fd >= 0) {
        (void)disk->calls->close_file(disk->backend, store->super.fd);
    }
    if (store->lock_fd >= 0) {
        (void)disk->calls->close_file(disk->backend, store->lock_fd);
    }
}

int store_open(const struct store_config *config, struct store_report *report,
               struct store **ret_store) {
    uint64_t start_ns = clock_ns();
    *report = (struct store_report){.formatted = false};
    crc32c_open();
    struct store *store = vm_map(sizeof *store);
    if (!store) {
        say(report, "cannot open the store: ", err_text(-ENOMEM));
        return err_raise(-ENOMEM);
    }
    (void)pthread_mutex_init(&store->files, NULL);
    int r = config_take(store, config, report);
    store->page = vm_map(PAGE_BYTES);
    r = r == 0 && !store->page ? err_raise(-ENOMEM) : r;
    r = r == 0 ? open_steps(store, report) : r;
    if (r != 0) {
        say(report, "cannot open the store: ", r < 0 ? err_text(r) : "its format is wrong");
        close_files(store);
        memory_close(store);
        return r;
    }
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        report->blocks += counter_get(&store->keepers[k].counters.blocks);
        report->bytes += counter_get(&store->keepers[k].counters.bytes);
    }
    report->open_ns = clock_ns() - start_ns;
    store->opened = true;
    *ret_store = store;
    return 0;
}

/* --- close ------------------------------------------------------------------------------------ */

static int close_segments(struct store *store) {
    int r = 0;
    spare_drop_all(store);
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        struct log *log = &store->keepers[k].log;
        log_leave(log);
    }
    for (uint32_t id = 1; id < store->segments.top; id++) {
        struct segment *segment = &store->segments.all[id];
        bool writable = tier_state(tier_of(store, segment)) < TIER_READONLY;
        if (segment_state(segment) != SEGMENT_CLOSED || !writable) {
            continue; /* what cannot be sealed now is scanned at the next start */
        }
        if (!seal_may(segment)) {
            continue; /* the next start tells what counts in it */
        }
        bool empty = atomic_load_explicit(&segment->data_bytes, memory_order_relaxed) <= PAGE_BYTES;
        int one = empty && !segment->suspect ? segment_drop(&store->segments, segment)
                                             : spare_seal(store, segment);
        r = r == 0 && one < 0 ? one : r; /* damaged: the next start says so */
    }
    return r;
}

/* How many sealed segments stay: the others may turn out to hold nothing, and go before a start has
 * written to SUPER. What lies on a tier that was never known is not counted. */
static struct super_end end_of(const struct store *store) {
    struct super_end end = store->super.end;
    end.magic = tiers_unknown(&store->tiers) ? 0 : SUPER_END_MAGIC;
    end.segments = 0;
    for (uint32_t id = 1; id < store->segments.top; id++) {
        end.segments += segment_state(&store->segments.all[id]) == SEGMENT_SEALED;
    }
    return end;
}

int store_close(struct store *store) {
    int r = 0;
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        must(keeper_idle(&store->keepers[k]));
    }
    porter_close(store);
    if (!store->config.read_only) {
        r = close_segments(store);
        int hint = r == 0 ? snapshot_last(store) : 0; /* without it the next start takes longer */
        (void)hint;
        if (r == 0) {
            store->super.slot.clean = 1;
            store->super.end = end_of(store);
            r = super_write(&store->super, &store->config.disk, store->page);
        }
    }
    close_files(store);
    memory_close(store);
    return r;
}

struct keeper *store_keeper(struct store *store, uint32_t index) {
    must(index < store->config.keepers);
    return &store->keepers[index];
}

void store_press(struct store *store, const struct ladder_step *step) {
    /* relaxed: each is a word by itself, and may be seen late */
    atomic_store_explicit(&store->frames_bytes, step->frames_bytes, memory_order_relaxed);
    atomic_store_explicit(&store->rung, step->rung, memory_order_relaxed);
}

enum ladder_rung store_rung(const struct store *store) {
    return (enum ladder_rung)atomic_load_explicit(&store->rung, memory_order_relaxed);
}

uint64_t store_index_bytes(const struct store *store) {
    return catalog_memory(&store->catalog);
}

uint64_t store_buffers_bytes(const struct store *store) {
    uint64_t sum = 0;
    for (uint32_t k = 0; k < store->config.keepers; k++) {
        sum += store->keepers[k].buffers_bytes + unzip_footprint(&store->keepers[k].unzip);
    }
    return sum;
}

void store_usage(const struct store *store, struct store_usage *ret_usage) {
    struct store_usage usage = {.catalog_bytes = catalog_memory(&store->catalog)};
    for (uint32_t id = 1; id < store->segments.top; id++) {
        const struct segment *segment = &store->segments.all[id];
        enum segment_state state = segment_state(segment);
        usage.segments += state != SEGMENT_NONE && state != SEGMENT_SPARE;
        usage.spare_segments += state == SEGMENT_SPARE;
        if (state != SEGMENT_NONE) {
            usage.bytes_on_disk += atomic_load_explicit(&segment->file_bytes, memory_order_relaxed);
            usage.live_bytes += atomic_load_explicit(&segment->live_bytes, memory_order_relaxed);
        }
    }
    usage.free_bytes = tiers_free_bytes(store);
    usage.snapshots_written = counter_get(&store->snapshots.written);
    usage.snapshots_failed = counter_get(&store->snapshots.failed);
    usage.snapshot_blocks = counter_get(&store->snapshots.blocks);
    usage.snapshot_bytes = counter_get(&store->snapshots.bytes);
    usage.stopped = atomic_load_explicit(&store->stopped, memory_order_relaxed);
    usage.read_only = store->config.read_only || usage.stopped != 0;
    *ret_usage = usage;
}
