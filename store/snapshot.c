/* SPDX-License-Identifier: MIT */
#include "store/snapshot.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "store/copy.h"
#include "store/inside.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <xxhash.h>

#define BUFFER_BYTES (2 * MiB)
#define CHUNKS_MAX   (1u << 20)
/* of the chunks, and room for the coverage behind them */
#define MANIFEST_BYTES \
    (CHUNKS_MAX * sizeof(struct image_chunk) + SEGMENT_IDS * sizeof(struct image_segment))

/* --- paths ------------------------------------------------------------------------------------ */

static void path_of(const struct store *store, const char *name, char path[SNAPSHOT_PATH_MAX]) {
    struct text text = {path, SNAPSHOT_PATH_MAX, 0};
    text_add(&text, store->dir);
    text_add(&text, "/index");
    text_add(&text, name[0] ? "/" : "");
    text_add(&text, name);
}

void snapshot_path(const struct store *store, uint64_t generation, char path[SNAPSHOT_PATH_MAX]) {
    char name[IMAGE_NAME_MAX] = "";
    if (generation != 0) {
        image_name(generation, name);
    }
    path_of(store, name, path);
}

void snapshot_path_new(const struct store *store, char path[SNAPSHOT_PATH_MAX]) {
    path_of(store, "new", path);
}

struct listing {
    void (*each)(void *context, uint64_t generation);
    void *context;
};

static int list_one(void *context, const char *name) {
    const struct listing *listing = context;
    uint64_t generation = image_generation(name);
    if (generation != 0) {
        listing->each(listing->context, generation);
    }
    return 0;
}

int snapshot_list(const struct store *store, void (*each)(void *context, uint64_t generation),
                  void *context) {
    const struct disk *disk = &store->config.disk;
    char dir[SNAPSHOT_PATH_MAX];
    snapshot_path(store, 0, dir);
    struct listing listing = {each, context};
    return disk->calls->list_dir(disk->backend, dir, list_one, &listing);
}

/* --- the file --------------------------------------------------------------------------------- */

/* Writes the whole pages of the buffer; the rest moves to its front. */
static int flush(struct snapshot *snapshot) {
    const struct disk *disk = &snapshot->store->config.disk;
    uint64_t bytes = round_down(snapshot->used, PAGE_BYTES);
    if (bytes == 0) {
        return 0;
    }
    int64_t n =
        disk->calls->pwrite(disk->backend, snapshot->fd, snapshot->buffer, bytes, snapshot->at);
    if (n != (int64_t)bytes) {
        return n < 0 ? (int)n : err_raise(-EIO);
    }
    snapshot->at += bytes;
    snapshot->used -= bytes;
    memmove(snapshot->buffer, snapshot->buffer + bytes, snapshot->used);
    return 0;
}

static int append(struct snapshot *snapshot, const void *from, uint64_t bytes) {
    const uint8_t *at = from;
    while (bytes > 0) {
        uint64_t part = min_u64(bytes, BUFFER_BYTES - snapshot->used);
        memcpy(snapshot->buffer + snapshot->used, at, part);
        snapshot->used += part;
        at += part;
        bytes -= part;
        int r = snapshot->used == BUFFER_BYTES ? flush(snapshot) : 0;
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

/* Zeroes to the end of the page, and all of it into the file. */
static int pad(struct snapshot *snapshot) {
    uint64_t more = round_up(snapshot->used, PAGE_BYTES) - snapshot->used;
    must(snapshot->used + more <= BUFFER_BYTES);
    memset(snapshot->buffer + snapshot->used, 0, more);
    snapshot->used += more;
    return flush(snapshot);
}

static int finish_file(struct snapshot *snapshot) {
    const struct store *store = snapshot->store;
    int r = pad(snapshot);
    struct image_tail tail = {.magic = IMAGE_MAGIC,
                              .version = IMAGE_VERSION,
                              .generation = snapshot->generation,
                              .hash_seed = store->hash_seed,
                              .created_us = clock_wall_us(),
                              .manifest_offset = snapshot->at,
                              .entries = snapshot->entries,
                              .chunks = snapshot->chunk_count,
                              .segments = snapshot->coverage.count};
    memcpy(tail.uuid, store->segments.uuid, sizeof tail.uuid);
    uint64_t chunk_bytes = snapshot->chunk_count * sizeof(struct image_chunk);
    uint64_t segment_bytes = snapshot->coverage.count * sizeof(struct image_segment);
    tail.manifest_bytes = chunk_bytes + segment_bytes;
    /* the two lists make one run of bytes: the coverage moves up behind the chunks */
    uint8_t *manifest = (uint8_t *)snapshot->chunks;
    memcpy(manifest + chunk_bytes, snapshot->coverage.segments, segment_bytes);
    tail.manifest_xxh3 = XXH3_64bits(manifest, tail.manifest_bytes);
    r = r == 0 ? append(snapshot, manifest, tail.manifest_bytes) : r;
    r = r == 0 ? pad(snapshot) : r;
    if (r != 0) {
        return r;
    }
    memset(snapshot->buffer, 0, PAGE_BYTES);
    memcpy(snapshot->buffer, &tail, sizeof tail);
    image_seal(snapshot->buffer);
    snapshot->used = PAGE_BYTES;
    return flush(snapshot);
}

/* --- two are kept ----------------------------------------------------------------------------- */

struct oldest {
    uint64_t generation;
    uint32_t count;
};

static void find_oldest(void *context, uint64_t generation) {
    struct oldest *oldest = context;
    oldest->count++;
    if (oldest->generation == 0 || generation < oldest->generation) {
        oldest->generation = generation;
    }
}

static void drop_older(const struct store *store) {
    const struct disk *disk = &store->config.disk;
    for (;;) {
        struct oldest oldest = {0, 0};
        if (snapshot_list(store, find_oldest, &oldest) != 0 || oldest.count <= SNAPSHOTS_KEPT) {
            return;
        }
        char path[SNAPSHOT_PATH_MAX];
        snapshot_path(store, oldest.generation, path);
        if (disk->calls->unlink_file(disk->backend, path) != 0) {
            return; /* next time */
        }
    }
}

/* --- copying ---------------------------------------------------------------------------------- */

/* To the end of the buffer. Thread: the table's owner. */
static void copy_next(struct snapshot *snapshot) {
    copy_table(snapshot->store, snapshot->hash, snapshot->buffer + snapshot->used,
               &snapshot->copied);
}

static void copy_note(struct keeper *keeper, struct note *note) {
    struct snapshot *snapshot = container_of(note, struct snapshot, note);
    must(hash_keeper(keeper->store, snapshot->hash) == keeper->index);
    copy_next(snapshot);
}

/* Takes the copy in. *ret_more: there is another table, and room for it in the buffer. */
static int take_copy(struct snapshot *snapshot, bool *ret_more) {
    struct image_chunk *copied = &snapshot->copied;
    copied->offset = snapshot->at + snapshot->used;
    copied->xxh3 = XXH3_64bits(snapshot->buffer + snapshot->used, copied->bytes);
    snapshot->used += copied->bytes;
    snapshot->entries += copied->entries;
    snapshot->chunks[snapshot->chunk_count++] = *copied;
    snapshot->hash = image_next(snapshot->hash, copied->depth);
    if (snapshot->chunk_count == CHUNKS_MAX) {
        return err_raise(-ENOSPC);
    }
    *ret_more = snapshot->hash != 0;
    return snapshot->used + COPY_BYTES_MAX > BUFFER_BYTES ? flush(snapshot) : 0;
}

/* --- one snapshot ----------------------------------------------------------------------------- */

/* Twice what it takes now, as the catalog may grow meanwhile, is left to the blocks. */
static bool space_left(const struct store *store) {
    const struct disk *disk = &store->config.disk;
    int64_t free_bytes = disk->calls->free_bytes(disk->backend, store->dir);
    uint64_t needed = 2 * catalog_memory(&store->catalog) + 2 * store->segments.segment_bytes;
    return free_bytes < 0 || (uint64_t)free_bytes >= needed;
}

static int begin(struct snapshot *snapshot) {
    struct store *store = snapshot->store;
    const struct disk *disk = &store->config.disk;
    char path[SNAPSHOT_PATH_MAX];
    snapshot_path(store, 0, path);
    if (!space_left(store)) {
        return -ENOSPC;
    }
    int r = disk->calls->make_dir(disk->backend, path, 0750);
    if (r == 0) {
        r = disk->calls->sync_dir(disk->backend, store->dir);
    } else if (r == -EEXIST) {
        r = 0;
    }
    snapshot_path_new(store, path);
    snapshot->fd = r == 0 ? disk->calls->open_file(disk->backend, path,
                                                   O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0640)
                          : r;
    if (snapshot->fd < 0) {
        return snapshot->fd;
    }
    snapshot->count++;
    snapshot->generation = lsn_make(store->segments.epoch, snapshot->count);
    snapshot->writing = true;
    snapshot->hash = snapshot->entries = snapshot->used = snapshot->at = 0;
    snapshot->chunk_count = 0;
    return 0;
}

static int end(struct snapshot *snapshot) {
    const struct store *store = snapshot->store;
    const struct disk *disk = &store->config.disk;
    char from[SNAPSHOT_PATH_MAX], to[SNAPSHOT_PATH_MAX], dir[SNAPSHOT_PATH_MAX];
    snapshot_path_new(store, from);
    snapshot_path(store, snapshot->generation, to);
    snapshot_path(store, 0, dir);
    int r = finish_file(snapshot);
    r = r == 0 ? disk->calls->sync_file(disk->backend, snapshot->fd) : r;
    r = r == 0 ? disk->calls->rename_file(disk->backend, from, to) : r;
    r = r == 0 ? disk->calls->sync_dir(disk->backend, dir) : r;
    if (r != 0) {
        return r;
    }
    (void)disk->calls->close_file(disk->backend, snapshot->fd);
    snapshot->writing = false;
    snapshot->covered_sum = snapshot->coverage.sum;
    drop_older(store);
    return 0;
}

/* What there is of it goes; the older ones stay. */
static void give_up(struct snapshot *snapshot) {
    const struct disk *disk = &snapshot->store->config.disk;
    if (snapshot->writing) {
        char path[SNAPSHOT_PATH_MAX];
        snapshot_path_new(snapshot->store, path);
        (void)disk->calls->close_file(disk->backend, snapshot->fd);
        (void)disk->calls->unlink_file(disk->backend, path);
        snapshot->writing = false;
    }
}

static void note_end(struct snapshot *snapshot, int r) {
    struct store_snapshots *seen = &snapshot->store->snapshots;
    if (r == 0) {
        counter_add(&seen->written, 1);
        counter_set(&seen->bytes, snapshot->at);
        counter_set(&seen->blocks, snapshot->entries);
    } else {
        counter_add(&seen->failed, 1);
        give_up(snapshot);
    }
}

/* Takes the coverage. Is there news? Where the next start has to settle whether some bundle counts,
 * the catalog does not know either; nor does it know of pins that this start could not read. */
static bool is_due(struct snapshot *snapshot) {
    if (atomic_load_explicit(&snapshot->store->in_doubt, memory_order_relaxed) ||
        pins_unclear(snapshot->store)) {
        return false;
    }
    coverage_take(&snapshot->coverage, snapshot->store);
    return snapshot->coverage.sum != snapshot->covered_sum;
}

static void post(struct snapshot *snapshot) {
    note_post(snapshot->store, hash_keeper(snapshot->store, snapshot->hash), &snapshot->note);
}

static uint32_t step_idle(struct snapshot *snapshot, uint64_t now_ns) {
    uint64_t interval_ns = snapshot->store->config.snapshot_interval_ns;
    if (interval_ns == 0 || snapshot->due_ns == 0 || now_ns < snapshot->due_ns) {
        snapshot->due_ns = snapshot->due_ns ? snapshot->due_ns : now_ns + interval_ns;
        return 0;
    }
    snapshot->due_ns = now_ns + interval_ns;
    if (!is_due(snapshot)) {
        return 0;
    }
    int r = begin(snapshot);
    if (r != 0) {
        note_end(snapshot, r);
        return 1;
    }
    post(snapshot);
    return 1;
}

uint32_t snapshot_step(struct porter *porter) {
    struct snapshot *snapshot = porter->store->snapshot;
    if (!snapshot->writing) {
        return step_idle(snapshot, porter->now_ns);
    }
    if (!note_done(&snapshot->note)) {
        return 0;
    }
    bool more = false;
    int r = take_copy(snapshot, &more);
    if (r == 0 && more) {
        post(snapshot);
        return 1;
    }
    /* Acquired with the last note: what came into doubt while its table was not copied yet is seen.
     */
    bool doubt = atomic_load_explicit(&snapshot->store->in_doubt, memory_order_relaxed);
    r = r == 0 && doubt ? err_raise(-ECANCELED) : r;
    note_end(snapshot, r == 0 ? end(snapshot) : r);
    return 1;
}

void snapshot_abandon(struct porter *porter) {
    if (porter->store->snapshot) {
        give_up(porter->store->snapshot);
    }
}

int snapshot_last(struct store *store) {
    struct snapshot *snapshot = store->snapshot;
    if (!is_due(snapshot)) {
        return 0;
    }
    int r = begin(snapshot);
    bool more = r == 0;
    while (more && r == 0) {
        copy_next(snapshot);
        r = take_copy(snapshot, &more);
    }
    r = r == 0 ? end(snapshot) : r;
    note_end(snapshot, r);
    return r;
}

int snapshot_open(struct store *store) {
    struct snapshot *snapshot = vm_map(sizeof *snapshot);
    if (!snapshot) {
        return err_raise(-ENOMEM);
    }
    store->snapshot = snapshot;
    snapshot->store = store;
    snapshot->note.run = copy_note;
    snapshot->buffer = vm_map(BUFFER_BYTES);
    snapshot->chunks = vm_map(MANIFEST_BYTES);
    int r = coverage_open(&snapshot->coverage);
    return snapshot->buffer && snapshot->chunks ? r : err_raise(-ENOMEM);
}

void snapshot_close(struct store *store) {
    struct snapshot *snapshot = store->snapshot;
    if (!snapshot) {
        return;
    }
    vm_unmap(snapshot->buffer, BUFFER_BYTES);
    vm_unmap(snapshot->chunks, MANIFEST_BYTES);
    coverage_close(&snapshot->coverage);
    vm_unmap(snapshot, sizeof *snapshot);
    store->snapshot = NULL;
}
