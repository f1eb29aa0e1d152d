/* SPDX-License-Identifier: MIT */
#include "store/recall.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/found.h"
#include "store/snapshot.h"
#include "store/table.h"
#include "store/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

/* Chunks are read as many at once as fit, from the page the first begins in: the disk works for
 * long stretches, and into huge pages, which it gets as one piece. */
#define STAGING_BYTES (4 * MiB)
static_assert(TABLE_CHUNKS * CHUNK_PAGES * PAGE_BYTES + 2 * PAGE_BYTES <= STAGING_BYTES, "a chunk");

#define SLOTS_BYTES (sizeof(uint64_t) << DEPTH_MAX)

/* --- which there are -------------------------------------------------------------------------- */

/* The highest generation below a bound. */
struct newest {
    uint64_t below, generation;
};

static void find_newest(void *context, uint64_t generation) {
    struct newest *newest = context;
    if (generation < newest->below && generation > newest->generation) {
        newest->generation = generation;
    }
}

static int64_t read_file(const struct recall *recall, int fd, void *to, uint64_t bytes,
                         uint64_t offset) {
    const struct disk *disk = &recall->recovery->store->config.disk;
    return disk->calls->pread(disk->backend, fd, to, bytes, offset);
}

/* Tail and manifest into *image, whose file is open. Returns: 0, FORMAT_BAD, -errno. */
static int image_read(const struct recall *recall, struct recall_image *image,
                      uint64_t generation) {
    const struct store *store = recall->recovery->store;
    const struct disk *disk = &store->config.disk;
    int64_t bytes = disk->calls->file_bytes(disk->backend, image->fd);
    if (bytes < (int64_t)(2 * PAGE_BYTES) || bytes % PAGE_BYTES != 0) {
        return bytes < 0 ? (int)bytes : FORMAT_BAD;
    }
    struct image_bounds bounds = {.uuid = store->segments.uuid,
                                  .hash_seed = store->hash_seed,
                                  .generation = generation,
                                  .file_bytes = (uint64_t)bytes};
    int64_t n =
        read_file(recall, image->fd, store->page, PAGE_BYTES, bounds.file_bytes - PAGE_BYTES);
    if (n != PAGE_BYTES || image_check(store->page, &bounds) != 0) {
        return n < 0 ? (int)n : FORMAT_BAD;
    }
    memcpy(&image->tail, store->page, sizeof image->tail);
    uint64_t padded = round_up(image->tail.manifest_bytes, PAGE_BYTES);
    image->manifest = vm_map(padded);
    if (!image->manifest) {
        return err_raise(-ENOMEM);
    }
    n = read_file(recall, image->fd, image->manifest, padded, image->tail.manifest_offset);
    return n < 0                  ? (int)n
           : n != (int64_t)padded ? FORMAT_BAD
                                  : manifest_check(image->manifest, &image->tail);
}

static void image_let_go(const struct recall *recall, struct recall_image *image) {
    const struct disk *disk = &recall->recovery->store->config.disk;
    (void)disk->calls->close_file(disk->backend, image->fd);
    vm_unmap(image->manifest, round_up(image->tail.manifest_bytes, PAGE_BYTES));
    vm_unmap(image->covered, SEGMENT_IDS * sizeof *image->covered);
    *image = (struct recall_image){.fd = -1};
}

/* What the snapshot covers of the segments as they are now. */
static int cover(const struct recall *recall, struct recall_image *image) {
    const struct recovery *recovery = recall->recovery;
    const struct image_segment *segments = image_segments(&image->tail, image->manifest);
    image->covered = vm_map(SEGMENT_IDS * sizeof *image->covered);
    if (!image->covered) {
        return err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < recovery->count; i++) {
        const struct found *found = &recovery->found[i];
        if (found->keep) {
            image->covered[found->segment->id] = found->data_bytes;
        }
    }
    uint32_t next = 1;
    for (uint32_t i = 0; i <= image->tail.segments; i++) {
        uint32_t id = i < image->tail.segments ? segments[i].id : SEGMENT_IDS;
        uint32_t end = min_u32(id, recovery->store->segments.top);
        for (; next < end; next++) {
            image->covered[next] = 0;
        }
        if (id >= recovery->store->segments.top) {
            break;
        }
        const struct segment *segment = &recovery->store->segments.all[id];
        bool same = segment->generation == segments[i].generation;
        uint64_t covered = same ? min_u64(image->covered[id], segments[i].covered_bytes) : 0;
        bool closed = (segments[i].flags & IMAGE_CLOSED) != 0;
        image->loose = image->loose || (same && closed && covered < image->covered[id]);
        image->covered[id] = covered;
        next = id + 1;
    }
    return 0;
}

/* Takes the snapshot of this generation in, if it can be used. Returns: 0 or -ENOMEM. */
static int image_take(struct recall *recall, uint64_t generation) {
    struct store *store = recall->recovery->store;
    const struct disk *disk = &store->config.disk;
    char path[SNAPSHOT_PATH_MAX];
    snapshot_path(store, generation, path);
    struct recall_image *image = &recall->images[recall->count];
    *image = (struct recall_image){
        .fd = disk->calls->open_file(disk->backend, path, O_RDONLY | O_DIRECT, 0)};
    if (image->fd < 0) {
        return 0;
    }
    int r = image_read(recall, image, generation);
    r = r == 0 ? cover(recall, image) : r;
    if (r == 0) {
        recall->count++;
        return 0;
    }
    image_let_go(recall, image);
    recall->recovery->report->snapshots_bad++;
    if (r == FORMAT_BAD && !store->config.read_only) {
        (void)disk->calls->unlink_file(disk->backend, path);
    }
    return r == -ENOMEM ? r : 0;
}

int recall_open(struct recall *recall, struct recovery *recovery) {
    *recall = (struct recall){.recovery = recovery};
    memset(recall->source, RECALL_IMAGES, sizeof recall->source);
    struct newest newest = {.below = UINT64_MAX, .generation = 0};
    int r = 0;
    while (r == 0 && recall->count < RECALL_IMAGES) {
        newest.generation = 0;
        if (snapshot_list(recovery->store, find_newest, &newest) != 0 || newest.generation == 0) {
            break; /* none, or none to be had */
        }
        newest.below = newest.generation;
        r = image_take(recall, newest.generation);
    }
    if (recall->count > 0) {
        recall->staging = vm_map_huge(STAGING_BYTES);
        recall->slots = vm_map(SLOTS_BYTES);
        r = recall->staging && recall->slots ? r : err_raise(-ENOMEM);
    }
    return r;
}

void recall_settle(const struct recall *recall) {
    struct store *store = recall->recovery->store;
    const struct disk *disk = &store->config.disk;
    if (store->config.read_only) {
        return;
    }
    if (recall_whole(recall)) {
        const struct recall_image *image = &recall->images[0];
        store->snapshot->covered_sum =
            coverage_sum(image_segments(&image->tail, image->manifest), image->tail.segments);
    }
    char path[SNAPSHOT_PATH_MAX];
    snapshot_path_new(store, path);
    (void)disk->calls->unlink_file(disk->backend, path); /* of a start that was cut off */
}

void recall_name_gone(const struct recall *recall) {
    const struct segments *segments = &recall->recovery->store->segments;
    struct store_report *report = recall->recovery->report;
    struct text text = {report->gone, sizeof report->gone, 0};
    if (recall->count == 0) {
        return;
    }
    const struct recall_image *image = &recall->images[0];
    const struct image_segment *known = image_segments(&image->tail, image->manifest);
    for (uint32_t i = 0; i < image->tail.segments && text.used + 8 < text.bytes; i++) {
        const struct segment *segment = &segments->all[known[i].id];
        if (segment_state(segment) == SEGMENT_NONE || segment->id != known[i].id) {
            text_add(&text, text.used > 0 ? " " : "");
            text_add_hex(&text, known[i].id, 5);
        }
    }
}

void recall_close(struct recall *recall) {
    while (recall->count > 0) {
        image_let_go(recall, &recall->images[--recall->count]);
    }
    vm_unmap(recall->staging, STAGING_BYTES);
    vm_unmap(recall->slots, SLOTS_BYTES);
    recall->staging = NULL;
    recall->slots = NULL;
}

/* --- one shard -------------------------------------------------------------------------------- */

/* Blocks and bytes of a shard's entries, by segment: added when they are taken, and taken back
 * where the shard is not used after all. */
static void account(const struct recall *recall, uint64_t place, bool in) {
    struct spot spot = place_spot(place);
    struct segment *segment = &recall->recovery->store->segments.all[spot.segment];
    uint64_t bytes = (uint64_t)spot.length_units * RECORD_UNIT;
    uint64_t live = atomic_load_explicit(&segment->live_bytes, memory_order_relaxed);
    /* relaxed, and in two steps: nobody else is here yet */
    atomic_store_explicit(&segment->live_bytes, in ? live + bytes : live - bytes,
                          memory_order_relaxed);
    uint64_t blocks = atomic_load_explicit(&segment->live_blocks, memory_order_relaxed);
    atomic_store_explicit(&segment->live_blocks, in ? blocks + 1 : blocks - 1,
                          memory_order_relaxed);
}

/* A place as it is now: its segment may lie on a tier of another kind than then. */
static uint64_t place_now(const struct recall *recall, uint64_t place) {
    const struct store *store = recall->recovery->store;
    return (place & ~PLACE_STATE_MASK) |
           place_of_segment(store, &store->segments.all[place_spot(place).segment]);
}

static bool wanted(const uint64_t *covered, uint64_t place) {
    struct spot spot = place_spot(place);
    uint64_t end = ((uint64_t)spot.offset_units + spot.length_units) * RECORD_UNIT;
    return spot.offset_units >= PAGE_BYTES / RECORD_UNIT && end <= covered[spot.segment];
}

struct tally {
    uint64_t blocks, bytes;
};

/* Clears what is not wanted out of the buckets, and counts the rest in. */
static void sift_raw(const struct recall *recall, const uint64_t *covered, uint64_t *words,
                     uint32_t buckets, struct tally *tally) {
    for (uint32_t b = 0; b < buckets; b++, words += 2 * BUCKET_ENTRIES) {
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            uint64_t place = words[BUCKET_ENTRIES + i];
            if (words[i] == 0) {
                continue;
            }
            if (!wanted(covered, place)) {
                words[i] = words[BUCKET_ENTRIES + i] = 0;
                continue;
            }
            words[BUCKET_ENTRIES + i] = place_now(recall, place);
            account(recall, place, true);
            tally->blocks++;
            tally->bytes += (uint64_t)place_spot(place).length_units * RECORD_UNIT;
        }
    }
}

static uint32_t sift_list(const struct recall *recall, const uint64_t *covered, uint64_t *words,
                          uint32_t count, struct tally *tally) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t place = words[2 * i + 1];
        if (wanted(covered, place)) {
            words[2 * kept] = words[2 * i];
            words[2 * kept + 1] = place_now(recall, place);
            kept++;
            account(recall, place, true);
            tally->blocks++;
            tally->bytes += (uint64_t)place_spot(place).length_units * RECORD_UNIT;
        }
    }
    return kept;
}

static void unaccount(const struct recall *recall, const struct table_image *image) {
    const uint64_t *words = (const void *)image->raw;
    for (uint32_t b = 0; words && b < image->buckets; b++, words += 2 * BUCKET_ENTRIES) {
        for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
            if (words[i] != 0) {
                account(recall, words[BUCKET_ENTRIES + i], false);
            }
        }
    }
    for (uint32_t i = 0; i < image->list_count; i++) {
        account(recall, image->list[2 * i + 1], false);
    }
}

/* Does the staging buffer hold these bytes of the image? */
static bool is_staged(const struct recall *recall, const struct recall_image *image, uint64_t from,
                      uint64_t bytes) {
    return recall->staged == image && from >= recall->staged_from &&
           from + bytes <= recall->staged_from + recall->staged_bytes;
}

/* Reads the pages, and what lies behind them as far as it fits; where that fails, them alone. */
static void stage(struct recall *recall, const struct recall_image *image, uint64_t from,
                  uint64_t bytes) {
    uint64_t more = min_u64(image->tail.manifest_offset - from, STAGING_BYTES);
    int64_t n = read_file(recall, image->fd, recall->staging, more, from);
    if (n < (int64_t)bytes && more > bytes) {
        n = read_file(recall, image->fd, recall->staging, bytes, from);
    }
    recall->staged = image;
    recall->staged_from = from;
    recall->staged_bytes = n > 0 ? (uint64_t)n : 0;
}

/* The chunk in the staging buffer. NULL: it cannot be read, or is not what the manifest says. */
static void *chunk_read(struct recall *recall, const struct recall_image *image,
                        const struct image_chunk *chunk) {
    uint64_t from = round_down(chunk->offset, PAGE_BYTES);
    uint64_t bytes = round_up(chunk->offset + chunk->bytes, PAGE_BYTES) - from;
    must(bytes <= STAGING_BYTES);
    if (!is_staged(recall, image, chunk->offset, chunk->bytes)) {
        stage(recall, image, from, bytes);
    }
    if (!is_staged(recall, image, chunk->offset, chunk->bytes)) {
        return NULL;
    }
    void *at = recall->staging + (chunk->offset - recall->staged_from);
    return chunk_check(at, chunk) == 0 ? at : NULL;
}

/* Returns: 0, FORMAT_BAD, TABLE_UNFIT, -ENOMEM. */
static int load_chunk(struct recall *recall, const struct recall_image *image,
                      struct shard_load *load, const struct image_chunk *chunk,
                      struct tally *tally) {
    uint64_t *words = chunk_read(recall, image, chunk);
    if (!words) {
        return FORMAT_BAD;
    }
    struct table_image table = {
        .first = chunk->first, .depth = chunk->depth, .buckets = chunk->buckets};
    if (chunk->kind == IMAGE_RAW) {
        table.raw = (const void *)words;
        sift_raw(recall, image->covered, words, chunk->buckets, tally);
    } else {
        table.list = words;
        table.list_count = sift_list(recall, image->covered, words, chunk->entries, tally);
    }
    int r = shard_load_table(load, &table);
    if (r != 0) {
        unaccount(recall, &table);
    }
    return r;
}

/* What was counted of the tables that are there. */
static void unaccount_tables(const struct recall *recall, const struct shard_load *load) {
    const struct table *table;
    uint64_t slot = 0;
    while ((table = shard_load_next(load, &slot)) != NULL) {
        for (uint32_t b = 0; b < table->buckets; b++) {
            const struct bucket *bucket = table_bucket(load->catalog, table, b);
            for (uint32_t i = 0; i < BUCKET_ENTRIES; i++) {
                /* relaxed: nobody else is here yet */
                if (atomic_load_explicit(&bucket->hash[i], memory_order_relaxed) != 0) {
                    account(recall, atomic_load_explicit(&bucket->place[i], memory_order_relaxed),
                            false);
                }
            }
        }
    }
}

/* All chunks of one shard from one snapshot; *at moves behind them. Returns: as load_chunk. */
static int load_shard(struct recall *recall, const struct recall_image *image, uint32_t shard,
                      uint32_t *at) {
    struct store *store = recall->recovery->store;
    const struct image_chunk *chunks = image_chunks(image->manifest);
    struct shard_load load = {
        .catalog = &store->catalog, .shard = shard, .depth = DEPTH_LEAST, .slots = recall->slots};
    uint32_t first = *at;
    for (; *at < image->tail.chunks && hash_shard(chunks[*at].first) == shard; ++*at) {
        load.depth = max_u32(load.depth, chunks[*at].depth);
    }
    memset(load.slots, 0, sizeof *load.slots << load.depth);
    struct tally tally = {0, 0};
    int r = 0;
    for (uint32_t i = first; i < *at && r == 0; i++) {
        r = load_chunk(recall, image, &load, &chunks[i], &tally);
    }
    if (r != 0) {
        unaccount_tables(recall, &load);
        shard_load_undo(&load);
        return r;
    }
    r = shard_load_end(&load);
    if (r == 0) {
        struct store_counters *counters = &store->keepers[shard % store->config.keepers].counters;
        counter_add(&counters->blocks, tally.blocks);
        counter_add(&counters->bytes, tally.bytes);
    }
    return r;
}

int recall_load(struct recall *recall) {
    struct store_report *report = recall->recovery->report;
    for (uint32_t i = 0; i < recall->count; i++) {
        const struct recall_image *image = &recall->images[i];
        uint32_t at = 0;
        for (uint32_t shard = 0; shard < STORE_SHARDS; shard++) {
            const struct image_chunk *chunks = image_chunks(image->manifest);
            if (recall->source[shard] < RECALL_IMAGES) {
                while (at < image->tail.chunks && hash_shard(chunks[at].first) == shard) {
                    at++;
                }
                continue;
            }
            int r = load_shard(recall, image, shard, &at);
            if (r < 0) {
                return r;
            }
            if (r == 0) {
                recall->source[shard] = (uint8_t)i;
                report->snapshot_shards++;
                report->snapshot = max_u64(report->snapshot, image->tail.generation);
            }
        }
    }
    return 0;
}

/* --- what is known ---------------------------------------------------------------------------- */

bool recall_knows(const struct recall *recall, uint32_t segment, uint64_t hash, uint64_t offset) {
    uint32_t source = recall->source[hash_shard(hash)];
    return source < recall->count && offset < recall->images[source].covered[segment];
}

uint64_t recall_known_bytes(const struct recall *recall, uint32_t segment) {
    uint64_t known = UINT64_MAX;
    bool used[RECALL_IMAGES + 1] = {false};
    for (uint32_t shard = 0; shard < STORE_SHARDS; shard++) {
        used[recall->source[shard]] = true;
    }
    for (uint32_t i = 0; i < recall->count; i++) {
        known = used[i] ? min_u64(known, recall->images[i].covered[segment]) : known;
    }
    return used[RECALL_IMAGES] ? 0 : known;
}

bool recall_whole(const struct recall *recall) {
    for (uint32_t shard = 0; shard < STORE_SHARDS; shard++) {
        if (recall->source[shard] != 0) {
            return false;
        }
    }
    return recall->count > 0;
}
