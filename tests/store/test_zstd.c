/* SPDX-License-Identifier: MIT */
#include "store/zip.h"

#include "store/format.h"
#include "store/move.h"
#include "store/peek.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

/* Compressed payloads: the frames themselves, forged and damaged ones, and the way of a block to a
 * slow tier, through everything that reads it there, and back. */

enum { BLOCKS = 300, BYTES = 60000, GUARD = 64 };

/* --- frames ----------------------------------------------------------------------------------- */

static uint8_t block[STORE_BLOCK_HARD_MAX], stored[STORE_BLOCK_HARD_MAX + 4096];
static uint8_t out[STORE_BLOCK_HARD_MAX + GUARD];

static void fill(uint32_t bytes) {
    for (uint32_t i = 0; i < bytes; i++) {
        block[i] = (uint8_t)(i * 7 + (i >> 7));
    }
}

static struct record_header header_of(uint32_t count, uint32_t bytes) {
    return (struct record_header){
        .type = RECORD_BLOCK, .flags = RECORD_ZSTD, .stored_bytes = count, .logical_bytes = bytes};
}

/* Opens what is in `stored`; not a byte behind the block may change. */
static int open_as(struct unzip *unzip, uint32_t count, uint32_t bytes) {
    struct record_header header = header_of(count, bytes);
    memset(out + bytes, 0xa5, GUARD);
    int r = unzip_record(unzip, &header, stored, out);
    for (uint32_t i = 0; i < GUARD; i++) {
        cr_assert_eq(out[bytes + i], 0xa5, "it wrote %u bytes too far", i + 1);
    }
    return r;
}

Test(zstd, what_saves_an_eighth_is_compressed_and_comes_back) {
    struct zip zip;
    cr_assert_eq(zip_open(&zip), 0);
    static const uint32_t sizes[] = {ZIP_BYTES_MIN, 4096, 60000, 2 * MiB, STORE_BLOCK_HARD_MAX};
    for (uint32_t i = 0; i < array_count(sizes); i++) {
        fill(sizes[i]);
        uint32_t count = zip_block(&zip, block, sizes[i], stored);
        cr_assert_gt(count, 0, "%u bytes", sizes[i]);
        cr_assert_leq(count, sizes[i] - sizes[i] / 8);
        cr_assert_eq(open_as(&zip.unzip, count, sizes[i]), 0);
        cr_assert_eq(memcmp(out, block, sizes[i]), 0);
    }
    cr_assert_eq(zip_block(&zip, block, ZIP_BYTES_MIN - 1, stored), 0);
    uint64_t random = 88172645463325252u;
    for (uint32_t i = 0; i < BYTES; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        block[i] = (uint8_t)random;
    }
    cr_assert_eq(zip_block(&zip, block, BYTES, stored), 0, "noise stays as it is");
    cr_assert_gt(unzip_footprint(&zip.unzip), 0);
    zip_close(&zip);
}

Test(zstd, headers_that_cannot_be_are_refused) {
    struct record_header header = header_of(100, 1000);
    cr_assert(zip_header_sound(&header));
    cr_assert_eq(record_block_bytes(&header), 1000);
    header.logical_bytes = STORE_BLOCK_HARD_MAX;
    cr_assert(zip_header_sound(&header));
    header.logical_bytes = STORE_BLOCK_HARD_MAX + 1;
    cr_assert_not(zip_header_sound(&header), "larger than any block");
    header.logical_bytes = UINT32_MAX;
    cr_assert_not(zip_header_sound(&header));
    header.logical_bytes = 100;
    cr_assert_not(zip_header_sound(&header), "it saves nothing");
    header = header_of(100, 1000);
    header.dict = 1;
    cr_assert_not(zip_header_sound(&header), "a dictionary nobody has");
    header = header_of(100, 1000);
    header.type = RECORD_TOMBSTONE;
    cr_assert_not(zip_header_sound(&header));
    header.flags = 0;
    cr_assert(zip_header_sound(&header));
    cr_assert_eq(record_block_bytes(&header), 100);
}

Test(zstd, frames_that_are_not_just_that_block_are_refused) {
    struct unzip unzip;
    cr_assert_eq(unzip_open(&unzip), 0);
    fill(BYTES);
    uint32_t count = (uint32_t)ZSTD_compress(stored, sizeof stored, block, BYTES, 3);
    cr_assert_eq(open_as(&unzip, count, BYTES), 0);
    cr_assert_eq(open_as(&unzip, count, BYTES - 1), STORE_CORRUPT, "another size");
    cr_assert_eq(open_as(&unzip, count, BYTES + 1), STORE_CORRUPT);
    stored[count] = 0;
    cr_assert_eq(open_as(&unzip, count + 1, BYTES), STORE_CORRUPT, "something behind it");
    memcpy(stored + count, "\x50\x2a\x4d\x18\0\0\0\0", 8);
    cr_assert_eq(open_as(&unzip, count + 8, BYTES), STORE_CORRUPT, "a frame to be skipped");
    for (uint32_t cut = 0; cut < count; cut++) {
        cr_assert_eq(open_as(&unzip, cut, BYTES), STORE_CORRUPT, "%u bytes of %u", cut, count);
    }
    memmove(stored + 8, stored, count);
    memcpy(stored, "\x50\x2a\x4d\x18\0\0\0\0", 8);
    cr_assert_eq(open_as(&unzip, count + 8, BYTES), STORE_CORRUPT, "and one before it");
    memcpy(stored, "\x27\xb5\x2f\xfd", 4);
    cr_assert_eq(open_as(&unzip, count + 8, BYTES), STORE_CORRUPT, "of an early version");
    uint32_t half = (uint32_t)ZSTD_compress(stored, sizeof stored, block, BYTES / 2, 3);
    uint32_t rest =
        (uint32_t)ZSTD_compress(stored + half, sizeof stored - half, block, BYTES / 2, 3);
    cr_assert_eq(open_as(&unzip, half + rest, BYTES), STORE_CORRUPT, "two frames");
    unzip_close(&unzip);
}

Test(zstd, bombs_and_dictionaries_give_nothing) {
    struct unzip unzip;
    cr_assert_eq(unzip_open(&unzip), 0);
    memset(block, 0, sizeof block);
    uint32_t count = (uint32_t)ZSTD_compress(stored, sizeof stored, block, STORE_BLOCK_HARD_MAX, 3);
    cr_assert_lt(count, 4096);
    cr_assert_eq(open_as(&unzip, count, BYTES), STORE_CORRUPT, "it says that it is too large");
    uint32_t lie = BYTES; /* magic 4, descriptor 1, then the size, of 4 bytes here */
    cr_assert_eq(ZSTD_getFrameContentSize(stored, count), STORE_BLOCK_HARD_MAX);
    for (uint32_t at = 5; at < 7 && ZSTD_getFrameContentSize(stored, count) != BYTES; at++) {
        uint8_t kept[4];
        memcpy(kept, stored + at, 4);
        memcpy(stored + at, &lie, 4);
        if (ZSTD_getFrameContentSize(stored, count) != BYTES) {
            memcpy(stored + at, kept, 4);
        }
    }
    cr_assert_eq(ZSTD_getFrameContentSize(stored, count), BYTES);
    cr_assert_eq(open_as(&unzip, count, BYTES), STORE_CORRUPT, "it lies");
    ZSTD_CCtx *context = ZSTD_createCCtx();
    (void)ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, 0);
    count = (uint32_t)ZSTD_compress2(context, stored, sizeof stored, block, STORE_BLOCK_HARD_MAX);
    cr_assert_eq(ZSTD_getFrameContentSize(stored, count), ZSTD_CONTENTSIZE_UNKNOWN);
    cr_assert_eq(open_as(&unzip, count, BYTES), STORE_CORRUPT, "it does not say");
    (void)ZSTD_freeCCtx(context);
    fill(BYTES);
    count = (uint32_t)ZSTD_compress(stored, sizeof stored, block, BYTES, 3);
    cr_assert(stored[4] & 0x20, "one segment: no window byte comes before the dictionary's");
    memmove(stored + 6, stored + 5, count - 5);
    stored[4] |= 1;
    stored[5] = 7;
    cr_assert_eq(ZSTD_getDictID_fromFrame(stored, count + 1), 7);
    cr_assert_eq(open_as(&unzip, count + 1, BYTES), STORE_CORRUPT, "a dictionary");
    unzip_close(&unzip);
}

Test(zstd, damaged_frames_never_write_too_far) {
    static uint8_t whole[BYTES];
    struct unzip unzip;
    uint64_t random = 4711;
    uint32_t refused = 0;
    cr_assert_eq(unzip_open(&unzip), 0);
    fill(BYTES);
    uint32_t count = (uint32_t)ZSTD_compress(whole, sizeof whole, block, BYTES, 3);
    for (uint32_t i = 0; i < 5000; i++) {
        memcpy(stored, whole, count);
        for (uint32_t n = 0; n <= i % 4; n++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            stored[(random >> 33) % count] ^= (uint8_t)(1u << (random >> 13 & 7));
        }
        int r = open_as(&unzip, count, BYTES);
        cr_assert(r == 0 || r == STORE_CORRUPT);
        refused += r != 0;
    }
    cr_assert_gt(refused, 500);
    memcpy(stored, whole, count);
    cr_assert_eq(open_as(&unzip, count, BYTES), 0, "and the context is as good as before");
    cr_assert_eq(memcmp(out, block, BYTES), 0);
    unzip_close(&unzip);
}

/* --- in a store ------------------------------------------------------------------------------- */

static const struct store_tier tiers[] = {{"ssd", 24 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};

static void turns(struct rig *rig, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        rig_turn(rig);
        rig->now_ns += NS_PER_S;
        (void)store_housekeep(rig->store);
        (void)store_maintain(rig->store, rig->now_ns);
    }
}

/* More than the fast tier takes: the oldest are on the slow one, compressed. */
static void demoted(struct rig *rig, uint64_t seed, enum store_compress compress) {
    rig_start(rig, seed);
    rig->config.tiers = tiers;
    rig->config.tier_count = array_count(tiers);
    rig->config.compress = compress;
    cr_assert_eq(rig_open(rig), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(rig_put(rig, i, BYTES), 0, "put %u", i);
        turns(rig, 1);
    }
    turns(rig, 300);
    cr_assert_geq(counter_get(&store_upkeep(rig->store)->demotions), 1);
}

static bool is_zipped(struct rig *rig, struct peek *peek, uint32_t i) {
    cr_assert_eq(peek_look(peek, rig_place(rig, i, BYTES), PEEK_MULTIHASH), 0, "block %u", i);
    cr_assert_eq(peek->bytes, BYTES);
    return record_zipped(peek->record);
}

/* Every block but each `skip`th is there, through a keeper and through a peek. Returns: how many of
 * them are compressed. */
static uint32_t check_all(struct rig *rig, uint32_t skip) {
    struct peek peek;
    uint32_t zipped = 0;
    cr_assert_eq(peek_open(&peek, rig->store), 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        bool gone = skip != 0 && i % skip == 0;
        cr_assert_eq(rig_get(rig, i, BYTES), gone ? STORE_ABSENT : 0, "block %u", i);
        zipped += !gone && is_zipped(rig, &peek, i);
    }
    peek_close(&peek);
    return zipped;
}

/* A forged header also spoils its batch, which is no block's damage. */
static void note(void *context, const struct store_damage *damage) {
    *(uint32_t *)context += damage->key_known;
}

static uint32_t bad_blocks(struct rig *rig) {
    struct store_check_totals totals = {0};
    uint32_t bad = 0;
    cr_assert_eq(store_check(rig->store, note, NULL, &bad, &totals), 0);
    return bad;
}

Test(zstd, what_moves_to_a_slow_tier_is_compressed_and_read_by_all) {
    struct rig rig;
    demoted(&rig, 51, STORE_COMPRESS_HDD);
    uint64_t zipped = counter_get(&store_upkeep(rig.store)->zipped_blocks);
    cr_assert_gt(zipped, 60);
    cr_assert_gt(counter_get(&store_upkeep(rig.store)->zipped_saved), zipped * BYTES / 8);
    cr_assert_eq(check_all(&rig, 0), zipped);
    struct store_item items[64];
    uint32_t seen = 0, count = 0;
    for (uint64_t cursor = 0; cursor != UINT64_MAX; seen += count) {
        cr_assert_eq(store_page(rig.store, &cursor, items, 64, &count), 0);
        for (uint32_t i = 0; i < count; i++) {
            cr_assert_eq(items[i].bytes, BYTES, "sizes are those of blocks");
        }
    }
    cr_assert_eq(seen, BLOCKS);
    cr_assert_eq(bad_blocks(&rig), 0);
    const struct store_counters *counters = keeper_counters(store_keeper(rig.store, 0));
    uint64_t puts = counter_get(&counters->puts);
    for (uint32_t i = 0; i < 40; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
        struct store_op op = {.kind = STORE_VERIFY};
        (void)rig_block(i, BYTES, &op.key);
        cr_assert_eq(rig_do(&rig, &op), 0);
    }
    cr_assert_eq(counter_get(&counters->put_duplicates), 40, "known, and not written again");
    cr_assert_leq(counter_get(&counters->puts), puts + 40);
    cr_assert_eq(check_all(&rig, 0), zipped);
    rig_end(&rig);
}

Test(zstd, every_way_to_start_finds_them) {
    struct rig rig;
    demoted(&rig, 52, STORE_COMPRESS_HDD);
    uint32_t zipped = check_all(&rig, 0);
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    cr_assert_eq(check_all(&rig, 0), zipped, "after a loss of power");
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_gt(rig.report.snapshot_shards, 0);
    cr_assert_eq(check_all(&rig, 0), zipped, "from a snapshot");
    rig_close(&rig);
    cr_assert_gt(rig_forget(&rig), 0);
    rig.config.compress = STORE_COMPRESS_OFF;
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(check_all(&rig, 0), zipped, "from footers, compressing no more");
    rig_end(&rig);
}

Test(zstd, off_compresses_nothing) {
    struct rig rig;
    demoted(&rig, 53, STORE_COMPRESS_OFF);
    cr_assert_eq(counter_get(&store_upkeep(rig.store)->zipped_blocks), 0);
    cr_assert_eq(check_all(&rig, 0), 0);
    rig_end(&rig);
}

static struct store_task task;

Test(zstd, scrub_and_compaction_take_them_as_they_are) {
    struct rig rig;
    demoted(&rig, 54, STORE_COMPRESS_HDD);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    task = (struct store_task){.kind = STORE_TASK_SCRUB};
    cr_assert_eq(store_task_begin(rig.store, &task), 0);
    turns(&rig, 400);
    cr_assert_eq(atomic_load(&task.state), STORE_TASK_DONE);
    cr_assert_eq(task.result, 0, "%s", task.why);
    uint32_t zipped = check_all(&rig, 0);
    uint32_t deleted = 0;
    struct peek peek;
    cr_assert_eq(peek_open(&peek, rig.store), 0);
    for (uint32_t i = 0; i < BLOCKS; i += 2) {
        deleted += is_zipped(&rig, &peek, i);
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    peek_close(&peek);
    uint64_t before = counter_get(&store_upkeep(rig.store)->moves);
    turns(&rig, 300);
    cr_assert_gt(counter_get(&store_upkeep(rig.store)->moves), before);
    cr_assert_gt(check_all(&rig, 2), 0);
    cr_assert_geq(check_all(&rig, 2), zipped - deleted);
    cr_assert_eq(counter_get(&store_upkeep(rig.store)->quarantined), 0);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_gt(check_all(&rig, 2), 0);
    rig_end(&rig);
}

Test(zstd, a_move_back_to_a_fast_tier_stores_it_as_it_was) {
    struct rig rig;
    demoted(&rig, 55, STORE_COMPRESS_HDD);
    struct peek peek;
    struct mover *mover = vm_map(sizeof *mover);
    cr_assert_eq(peek_open(&peek, rig.store), 0);
    cr_assert_eq(mover_open(mover, rig.store->porter), 0);
    uint32_t i = 0;
    while (!is_zipped(&rig, &peek, i)) {
        cr_assert_lt(++i, BLOCKS);
    }
    struct key key;
    (void)rig_block(i, BYTES, &key);
    uint64_t from = rig_place(&rig, i, BYTES);
    struct move_record record = {peek.record,
                                 (const uint8_t *)peek.record + peek.record->header_bytes,
                                 store_hash(rig.store, &key), from};
    cr_assert_eq(move_add(mover, 0, &record), 0);
    move_flush(mover);
    for (uint32_t n = 0; n < 20; n++) {
        (void)move_step(mover);
        rig_turn(&rig);
    }
    cr_assert(move_settled(mover));
    cr_assert_neq(rig_place(&rig, i, BYTES), from);
    cr_assert_eq(store_tier_at(rig.store, rig_place(&rig, i, BYTES)), 0);
    cr_assert_not(is_zipped(&rig, &peek, i));
    cr_assert_eq(rig_get(&rig, i, BYTES), 0);
    mover_close(mover);
    peek_close(&peek);
    vm_unmap(mover, sizeof *mover);
    rig_mark(&rig);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, i, BYTES), 0, "either copy of that birth will do");
    rig_end(&rig);
}

/* --- case 21: forged records ------------------------------------------------------------------ */

enum forgery { DICTIONARY, LARGER, SMALLER, BOMB, NO_FRAME, TRAILING, FORGERIES };

/* Changes the record at this place and makes its checksums right again. */
static void forge(struct rig *rig, uint64_t place, enum forgery forgery) {
    char path[SEGMENT_PATH_MAX];
    uint64_t bytes = 0;
    struct spot spot = place_spot(place);
    const struct segment *segment = &rig->store->segments.all[spot.segment];
    uint64_t offset = (uint64_t)spot.offset_units * RECORD_UNIT;
    uint64_t length = (uint64_t)spot.length_units * RECORD_UNIT;
    segment_path(&rig->store->segments, spot.segment, path);
    memcpy(stored, sim_disk_bytes(rig->sim, path, &bytes) + offset, length);
    struct record_header *header = (void *)stored;
    uint8_t *payload = stored + header->header_bytes;
    cr_assert(record_zipped(header));
    switch (forgery) {
    case DICTIONARY:
        header->dict = 5;
        break;
    case LARGER:
        header->logical_bytes++;
        break;
    case SMALLER:
        header->logical_bytes--;
        break;
    case BOMB:
        header->logical_bytes = UINT32_MAX;
        break;
    case NO_FRAME:
        memset(payload, 0x5a, header->stored_bytes);
        break;
    case TRAILING:
        header->stored_bytes = (uint32_t)length - header->header_bytes;
        break;
    case FORGERIES:
        break;
    }
    header->payload_xxh3 = XXH3_64bits(payload, header->stored_bytes);
    header->crc = format_record_crc(segment->crc_base, offset, header);
    sim_disk_spoil(rig->sim, path, offset, stored, length);
}

static void expect_damaged(struct rig *rig, uint32_t i, enum forgery forgery) {
    struct peek peek;
    struct store_op op = {.kind = STORE_VERIFY};
    (void)rig_block(i, BYTES, &op.key);
    cr_assert_eq(rig_get(rig, i, BYTES), STORE_CORRUPT, "forgery %d", (int)forgery);
    cr_assert_eq(rig_do(rig, &op), STORE_CORRUPT);
    cr_assert_eq(peek_open(&peek, rig->store), 0);
    cr_assert_eq(peek_look(&peek, rig_place(rig, i, BYTES), PEEK_MULTIHASH), STORE_CORRUPT);
    peek_close(&peek);
    cr_assert_eq(bad_blocks(rig), 1, "the check names it");
    uint64_t place = rig_place(rig, i, BYTES);
    cr_assert_eq(rig_put(rig, i, BYTES), 0);
    cr_assert_neq(rig_place(rig, i, BYTES), place, "no put rests on a copy that does not open");
    cr_assert_eq(rig_get(rig, i, BYTES), 0);
    cr_assert_eq(bad_blocks(rig), 0);
}

Test(zstd, case_21_what_does_not_open_is_damage_and_never_data) {
    struct rig rig;
    demoted(&rig, 56, STORE_COMPRESS_HDD);
    rig_close(&rig);
    for (uint32_t f = 0, i = 0; f < FORGERIES; f++, i++) {
        cr_assert_eq(rig_open(&rig), 0); /* nothing is in memory */
        struct peek peek;
        bool fits = false;
        cr_assert_eq(peek_open(&peek, rig.store), 0);
        for (; !fits && i < BLOCKS; i += !fits) {
            fits = is_zipped(&rig, &peek, i);
            uint32_t end = peek.record->header_bytes + peek.record->stored_bytes;
            fits = fits && (f != TRAILING || end % RECORD_UNIT != 0);
        }
        peek_close(&peek);
        cr_assert(fits);
        forge(&rig, rig_place(&rig, i, BYTES), (enum forgery)f);
        expect_damaged(&rig, i, (enum forgery)f);
        rig_close(&rig);
    }
    rig_end(&rig);
}
