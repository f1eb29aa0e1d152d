/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include "base/bits.h"
#include "base/must.h"
#include "store/load.h"
#include "store/scan.h"
#include "store/seal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* store/recover.c and what it stands on (store/found.c, scan, load, seal, super, segment): stores
 * whose bytes were spoiled in known ways. */

/* A store of `count` blocks of `bytes`, each in a batch of its own, power lost afterwards. */
static void make_crashed(struct rig *rig, uint32_t count, uint32_t bytes, bool mark) {
    rig_start(rig, 5);
    cr_assert_eq(rig_open(rig), 0, "%s", rig->report.why);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(rig_put(rig, i, bytes), 0);
    }
    if (mark) {
        rig_mark(rig);
    }
    rig_crash(rig);
}

static const char *data_file(struct rig *rig) {
    uint64_t size = 0;
    for (uint32_t n = 0;; n++) {
        const char *name = sim_disk_name(rig->sim, n);
        must(name != NULL);
        const uint8_t *bytes = sim_disk_bytes(rig->sim, name, &size);
        if (strstr(name, ".seg") && size > PAGE_BYTES + 4 &&
            get_le32(bytes + PAGE_BYTES) == RECORD_MAGIC) {
            return name;
        }
    }
}

/* How many of the blocks read back right; fails on wrong bytes. */
static uint32_t count_present(struct rig *rig, uint32_t count, uint32_t bytes,
                              uint32_t *ret_corrupt) {
    uint32_t present = 0;
    *ret_corrupt = 0;
    for (uint32_t i = 0; i < count; i++) {
        int32_t r = rig_get(rig, i, bytes);
        cr_assert(r == 0 || r == STORE_ABSENT || r == STORE_CORRUPT, "%d", r);
        present += r == 0;
        *ret_corrupt += r == STORE_CORRUPT;
    }
    return present;
}

Test(recover, an_unclean_store_shows_all_that_was_acknowledged) {
    struct rig rig;
    make_crashed(&rig, 50, 3000, true);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_not(rig.report.clean);
    cr_assert_eq(rig.report.blocks, 50);
    cr_assert_eq(rig.report.torn_batches + rig.report.corrupt_ranges, 0);
    uint32_t corrupt = 0;
    cr_assert_eq(count_present(&rig, 50, 3000, &corrupt), 50);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert(rig.report.clean);
    cr_assert_eq(rig.report.blocks, 50);
    cr_assert_eq(rig.report.records_scanned, 0, "sealed segments are read from their footers");
    rig_end(&rig);
}

Test(recover, a_tail_torn_at_any_sector_never_hides_what_came_before) {
    enum { COUNT = 6, BYTES = 700 };
    struct rig base, rig;
    make_crashed(&base, COUNT, BYTES, false);
    char name[64];
    snprintf(name, sizeof name, "%s", data_file(&base));
    uint64_t size = 0;
    const uint8_t *bytes = sim_disk_bytes(base.sim, name, &size);
    for (uint64_t cut = PAGE_BYTES; cut <= PAGE_BYTES + COUNT * PAGE_BYTES; cut += 512) {
        rig_start(&rig, 6);
        sim_disk_copy(rig.sim, base.sim);
        uint64_t end = PAGE_BYTES + COUNT * PAGE_BYTES;
        uint8_t *zeroes = calloc(1, end);
        must(zeroes && bytes);
        sim_disk_spoil(rig.sim, name, cut, zeroes, end - cut);
        cr_assert_eq(rig_open(&rig), 0);
        uint32_t corrupt = 0;
        uint32_t present = count_present(&rig, COUNT, BYTES, &corrupt);
        /* A batch is a page here, its bytes end before the page does. */
        uint64_t pages = (cut - PAGE_BYTES) / PAGE_BYTES;
        uint64_t rest = (cut - PAGE_BYTES) % PAGE_BYTES;
        cr_assert_eq(present, pages + (rest >= 1024 && pages < COUNT), "cut at %lu", cut);
        cr_assert_eq(corrupt, 0);
        /* The next life works, and its acknowledgements hold. */
        cr_assert_eq(rig_put(&rig, 1000, BYTES), 0);
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(count_present(&rig, COUNT, BYTES, &corrupt), present);
        cr_assert_eq(rig_get(&rig, 1000, BYTES), 0);
        free(zeroes);
        rig_end(&rig);
    }
    rig_end(&base);
}

/* Opens a copy of `base` with one byte changed and looks at everything. */
static void flip_and_look(const struct rig *base, const char *name, uint64_t offset, uint32_t count,
                          uint32_t bytes) {
    static struct rig rig; /* its disk is used again: making one costs more than the test */
    if (!rig.sim) {
        rig_start(&rig, 9);
    }
    sim_disk_copy(rig.sim, base->sim);
    uint64_t size = 0;
    uint8_t value = (uint8_t)(sim_disk_bytes(rig.sim, name, &size)[offset] ^ 0x10);
    sim_disk_spoil(rig.sim, name, offset, &value, 1);
    int r = rig_open(&rig);
    cr_assert_eq(r, 0, "byte %lu of %s: %d %s", offset, name, r, rig.report.why);
    uint32_t corrupt = 0;
    uint32_t present = count_present(&rig, count, bytes, &corrupt);
    bool said = present + corrupt == count || rig.report.corrupt_ranges > 0;
    cr_assert(said, "byte %lu of %s: %u of %u there, %u damaged, and no word of it", offset, name,
              present, count, corrupt);
    cr_assert_geq(present + 1, count, "one byte costs at most one block (byte %lu)", offset);
    rig_crash(&rig);
}

/* The checksum that a page ends in. */
static void flip_page_end(const struct rig *base, const char *name, uint64_t page, uint32_t count,
                          uint32_t bytes) {
    for (uint64_t at = PAGE_CRC_OFFSET; at < PAGE_BYTES; at++) {
        flip_and_look(base, name, page + at, count, bytes);
    }
}

Test(recover, a_flipped_byte_anywhere_in_a_scanned_log_is_healed_or_said, .timeout = 300) {
    struct rig base;
    make_crashed(&base, 4, 300, true);
    char name[64];
    snprintf(name, sizeof name, "%s", data_file(&base));
    for (uint64_t at = 0; at < 64; at++) {
        flip_and_look(&base, name, at, 4, 300); /* segment header */
    }
    flip_page_end(&base, name, 0, 4, 300);
    for (uint64_t at = 0; at < 640; at++) {
        flip_and_look(&base, name, 2 * PAGE_BYTES + at, 4, 300); /* a batch and its record */
    }
    rig_end(&base);
}

Test(recover, a_flipped_byte_anywhere_in_a_sealed_segment_is_healed_or_said, .timeout = 300) {
    struct rig base;
    make_crashed(&base, 4, 300, true);
    cr_assert_eq(rig_open(&base), 0);
    rig_close(&base);
    char name[64];
    snprintf(name, sizeof name, "%s", data_file(&base));
    uint64_t size = 0;
    (void)sim_disk_bytes(base.sim, name, &size);
    for (uint64_t at = 0; at < sizeof(struct segment_header); at++) {
        flip_and_look(&base, name, at, 4, 300);
    }
    flip_page_end(&base, name, 0, 4, 300);
    for (uint64_t at = 0; at < 640; at++) {
        flip_and_look(&base, name, 2 * PAGE_BYTES + at, 4, 300);
    }
    for (uint64_t at = 0; at < 256; at++) {
        flip_and_look(&base, name, size - 2 * PAGE_BYTES + at, 4, 300); /* footer */
    }
    for (uint64_t at = 0; at < sizeof(struct segment_trailer); at++) {
        flip_and_look(&base, name, size - PAGE_BYTES + at, 4, 300);
    }
    flip_page_end(&base, name, size - PAGE_BYTES, 4, 300);
    for (uint64_t slot = 0; slot < 2; slot++) { /* the other one is left; its tiers: the first */
        for (uint64_t at = 0; at < sizeof(struct super_slot) + sizeof(struct super_tier); at++) {
            flip_and_look(&base, "/s/SUPER", slot * PAGE_BYTES + at, 4, 300);
        }
        flip_page_end(&base, "/s/SUPER", slot * PAGE_BYTES, 4, 300);
    }
    rig_end(&base);
}

/* Of a tombstone: what it killed stays gone, or the damage is said. */
Test(recover, a_flipped_byte_anywhere_in_a_tombstone_is_healed_or_said, .timeout = 300) {
    struct rig base, rig;
    rig_start(&base, 8);
    cr_assert_eq(rig_open(&base), 0);
    cr_assert_eq(rig_put(&base, 0, 300), 0);
    cr_assert_eq(rig_delete(&base, 0, 300), 0);
    cr_assert_eq(rig_put(&base, 1, 300), 0);
    rig_mark(&base);
    rig_crash(&base);
    rig_start(&rig, 9);
    char name[64];
    snprintf(name, sizeof name, "%s", data_file(&base));
    for (uint64_t at = 2 * PAGE_BYTES; at < 2 * PAGE_BYTES + BATCH_RECORD + 128; at++) {
        sim_disk_copy(rig.sim, base.sim);
        uint64_t size = 0;
        uint8_t value = (uint8_t)(sim_disk_bytes(rig.sim, name, &size)[at] ^ 0x10);
        sim_disk_spoil(rig.sim, name, at, &value, 1);
        cr_assert_eq(rig_open(&rig), 0, "byte %lu: %s", at, rig.report.why);
        int32_t r = rig_get(&rig, 0, 300);
        cr_assert(r == STORE_ABSENT || (r == 0 && rig.report.corrupt_ranges > 0), "byte %lu: %d",
                  at, r);
        cr_assert_eq(rig_get(&rig, 1, 300), 0, "byte %lu", at);
        rig_crash(&rig);
    }
    rig_end(&rig);
    rig_end(&base);
}

/* Its footer named a tombstone that the batches do not show any more. */
Test(recover, what_a_damaged_list_named_and_nothing_shows_is_said) {
    struct rig rig;
    rig_start(&rig, 8);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 0, 300), 0);
    cr_assert_eq(rig_delete(&rig, 0, 300), 0);
    cr_assert_eq(rig_put(&rig, 1, 300), 0);
    rig_close(&rig);
    (void)rig_forget(&rig);
    char name[64];
    snprintf(name, sizeof name, "%s", data_file(&rig));
    uint64_t size = 0;
    (void)sim_disk_bytes(rig.sim, name, &size);
    sim_disk_spoil(rig.sim, name, size - 2 * PAGE_BYTES, "rotten", 6);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig.report.corrupt_ranges, 0, "the batches say all of it");
    cr_assert_eq(rig_get(&rig, 0, 300), STORE_ABSENT);
    rig_crash(&rig);
    (void)rig_forget(&rig);
    sim_disk_spoil(rig.sim, name, 2 * PAGE_BYTES + BATCH_RECORD + 16, "rotten", 6);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig.report.corrupt_ranges, 1);
    cr_assert_eq(rig_get(&rig, 1, 300), 0);
    rig_end(&rig);
}

Test(recover, footers_and_a_full_scan_give_the_same_catalog) {
    enum { COUNT = 400, BYTES = 9000 };
    struct rig rig;
    rig_start(&rig, 12);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    for (uint32_t i = 0; i < COUNT; i += 5) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    for (uint32_t i = 0; i < COUNT; i += 10) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    (void)rig_forget(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    struct store_report first = rig.report;
    cr_assert_eq(first.blocks, COUNT - COUNT / 10);
    rig_close(&rig);
    cr_assert_gt(rig_forget(&rig), 0);
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) { /* no footer verifies any more */
        const char *name = sim_disk_name(rig.sim, n);
        uint64_t size = 0;
        const uint8_t *bytes = sim_disk_bytes(rig.sim, name, &size);
        if (strstr(name, ".seg") && size > 3 * PAGE_BYTES) {
            uint8_t value = (uint8_t)(bytes[size - 2 * PAGE_BYTES + 40] ^ 1);
            sim_disk_spoil(rig.sim, name, size - 2 * PAGE_BYTES + 40, &value, 1);
        }
    }
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_geq(rig.report.records_scanned, COUNT + COUNT / 5 + COUNT / 10);
    cr_assert_eq(rig.report.blocks, first.blocks);
    cr_assert_eq(rig.report.bytes, first.bytes);
    cr_assert_eq(rig.report.tombstones, first.tombstones);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_get(&rig, i, BYTES), i % 5 == 0 && i % 10 != 0 ? STORE_ABSENT : 0);
    }
    rig_end(&rig);
}

Test(recover, a_zeroed_page_in_the_acknowledged_middle_is_reported_and_the_rest_kept) {
    struct rig rig;
    make_crashed(&rig, 10, 700, true);
    uint8_t zeroes[PAGE_BYTES] = {0};
    sim_disk_spoil(rig.sim, data_file(&rig), 4 * PAGE_BYTES, zeroes, sizeof zeroes);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 1);
    uint32_t corrupt = 0;
    cr_assert_eq(count_present(&rig, 10, 700, &corrupt), 9);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 1, "sealed, and still known");
    rig_end(&rig);
}

Test(recover, a_record_survives_its_batch_record) {
    struct rig rig;
    make_crashed(&rig, 10, 700, true);
    uint8_t zeroes[RECORD_UNIT] = {0};
    sim_disk_spoil(rig.sim, data_file(&rig), 4 * PAGE_BYTES, zeroes, sizeof zeroes);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 1);
    uint32_t corrupt = 0;
    cr_assert_eq(count_present(&rig, 10, 700, &corrupt), 10);
    rig_end(&rig);
}

Test(recover, a_deleted_segment_is_missed) {
    enum { COUNT = 900, BYTES = 9000 };
    struct rig rig;
    make_crashed(&rig, COUNT, BYTES, true);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_gt(rig.report.segments, 2);
    rig_close(&rig);
    char name[64];
    snprintf(name, sizeof name, "%s", data_file(&rig));
    sim_disk_remove(rig.sim, name);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_geq(rig.report.corrupt_ranges, 1);
    uint32_t corrupt = 0;
    uint32_t present = count_present(&rig, COUNT, BYTES, &corrupt);
    cr_assert(present > 0 && present < COUNT);
    rig_end(&rig);
}

Test(recover, a_truncated_segment_keeps_what_is_left_of_it) {
    struct rig rig;
    make_crashed(&rig, 10, 700, true);
    cr_assert_eq(rig_open(&rig), 0);
    rig_close(&rig);
    sim_disk_set_size(rig.sim, data_file(&rig), 5 * PAGE_BYTES + 100);
    cr_assert_eq(rig_open(&rig), 0);
    uint32_t corrupt = 0;
    cr_assert_eq(count_present(&rig, 10, 700, &corrupt), 4);
    rig_end(&rig);
}

Test(recover, what_somebody_hung_onto_a_segment_is_not_read) {
    struct rig rig;
    make_crashed(&rig, 10, 700, true);
    sim_disk_set_size(rig.sim, data_file(&rig), 64 * MiB);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.blocks, 10);
    for (uint32_t id = 1; id < rig.store->segments.top; id++) {
        cr_assert_leq(atomic_load(&rig.store->segments.all[id].file_bytes),
                      2 * rig.store->segments.segment_bytes + PAGE_BYTES);
    }
    rig_end(&rig);
}

Test(recover, a_segment_copied_under_another_name_is_not_taken_for_one) {
    struct rig rig;
    make_crashed(&rig, 10, 700, true);
    cr_assert_eq(rig_open(&rig), 0);
    rig_close(&rig);
    uint64_t size = 0;
    char name[64];
    snprintf(name, sizeof name, "%s", data_file(&rig));
    const uint8_t *bytes = sim_disk_bytes(rig.sim, name, &size);
    struct disk *disk = &rig.disk;
    int fd = disk->calls->open_file(disk->backend, "/s/ssd/00077.seg", 0100, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(disk->calls->pwrite(disk->backend, fd, bytes, size, 0), (int64_t)size);
    cr_assert_eq(disk->calls->sync_file(disk->backend, fd), 0);
    cr_assert_eq(disk->calls->sync_dir(disk->backend, "/s/ssd"), 0);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.blocks, 10);
    uint32_t corrupt = 0;
    cr_assert_eq(count_present(&rig, 10, 700, &corrupt), 10);
    rig_end(&rig);
}

Test(recover, a_batch_that_was_written_elsewhere_is_noise) {
    struct rig rig;
    make_crashed(&rig, 10, 700, true);
    uint64_t size = 0;
    char name[64];
    snprintf(name, sizeof name, "%s", data_file(&rig));
    uint8_t page[PAGE_BYTES];
    memcpy(page, sim_disk_bytes(rig.sim, name, &size) + 4 * PAGE_BYTES, sizeof page);
    sim_disk_spoil(rig.sim, name, 6 * PAGE_BYTES, page, sizeof page);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 1);
    uint32_t corrupt = 0;
    cr_assert_eq(count_present(&rig, 10, 700, &corrupt), 9);
    rig_end(&rig);
}

Test(recover, an_unreadable_page_is_not_damage_and_costs_what_lies_on_it) {
    struct rig rig;
    make_crashed(&rig, 10, 700, true);
    sim_disk_bad_page(rig.sim, data_file(&rig), 4 * PAGE_BYTES);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.corrupt_ranges, 0);
    cr_assert_eq(rig.report.segments_unread, 1);
    for (uint32_t i = 0; i < 10; i++) {
        cr_assert_eq(rig_get(&rig, i, 700), i == 3 ? STORE_RETRY : 0);
    }
    rig_end(&rig);
}

Test(recover, any_number_of_keepers_opens_any_store) {
    enum { COUNT = 60, BYTES = 2000 };
    struct rig rig;
    rig_start(&rig, 3);
    const uint32_t keepers[] = {3, 1, 7, 2};
    for (uint32_t round = 0; round < 4; round++) {
        rig.config.keepers = keepers[round];
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(rig.report.blocks, round * COUNT);
        for (uint32_t i = 0; i < COUNT; i++) {
            cr_assert_eq(rig_put(&rig, round * COUNT + i, BYTES), 0);
        }
        uint32_t corrupt = 0;
        cr_assert_eq(count_present(&rig, (round + 1) * COUNT, BYTES, &corrupt),
                     (round + 1) * COUNT);
        if (round % 2) {
            rig_close(&rig);
        } else {
            rig_mark(&rig);
            rig_crash(&rig);
        }
    }
    rig_end(&rig);
}

/* The format's golden bytes: a change of any of them is a change of the format. */
Test(recover, the_bytes_on_the_disk_are_those_of_version_1) {
    struct rig rig;
    make_crashed(&rig, 3, 500, true);
    uint64_t size = 0;
    const uint8_t *bytes = sim_disk_bytes(rig.sim, data_file(&rig), &size);
    uint64_t sum = XXH3_64bits(bytes, 5 * PAGE_BYTES);
    cr_assert_eq(sum, UINT64_C(0x5eda6249f49dafb2), "%lx", sum);
    cr_assert_eq(rig_open(&rig), 0);
    rig_close(&rig);
    bytes = sim_disk_bytes(rig.sim, data_file(&rig), &size);
    sum = XXH3_64bits(bytes, size);
    cr_assert_eq(sum, UINT64_C(0x3fe87ac4b46ab11d), "%lx", sum);
    rig_end(&rig);
}

/* What may be in memory at once is a few tombstones; all of them count all the same, from footers,
 * from scans, and beside a snapshot. */
Test(recover, more_deletes_than_fit_memory_are_gathered_in_parts) {
    enum { COUNT = 4000, KEPT = 3 };
    struct rig rig;
    rig_start(&rig, 62);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, 60), 0);
        if (i % KEPT != 0) {
            cr_assert_eq(rig_delete(&rig, i, 60), 0);
        }
    }
    for (uint32_t i = 0; i < COUNT; i += KEPT * KEPT) { /* gone and come again */
        cr_assert_eq(rig_delete(&rig, i, 60), 0);
        cr_assert_eq(rig_put(&rig, i, 60), 0);
    }
    rig_mark(&rig);
    rig_crash(&rig);
    for (uint32_t round = 0; round < 3; round++) {
        rig.config.memory_bytes = round == 2 ? 1 * MiB : 64 * KiB;
        if (round > 0) {
            (void)rig_forget(&rig);
        }
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        cr_assert(round == 2 ? rig.report.load_parts == 1 : rig.report.load_parts >= 4,
                  "round %u: %u parts", round, rig.report.load_parts);
        cr_assert_geq(rig.report.tombstones, COUNT / KEPT * (KEPT - 1));
        cr_assert_eq(rig.report.blocks, (COUNT + KEPT - 1) / KEPT);
        for (uint32_t i = 0; i < COUNT; i++) {
            cr_assert_eq(rig_get(&rig, i, 60), i % KEPT == 0 ? 0 : STORE_ABSENT, "block %u", i);
        }
        rig_close(&rig);
    }
    rig_end(&rig);
}

Test(recover, a_trailer_that_counts_too_few_tombstones_ends_nothing) {
    enum { COUNT = 100 };
    struct rig rig;
    alignas(8) uint8_t page[PAGE_BYTES];
    rig_start(&rig, 61);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, 60), 0);
        cr_assert_eq(rig_delete(&rig, i, 60), 0);
    }
    rig_close(&rig);
    const char *name = data_file(&rig);
    uint64_t size = 0;
    (void)sim_disk_bytes(rig.sim, name, &size);
    memcpy(page, sim_disk_bytes(rig.sim, name, &size) + size - PAGE_BYTES, PAGE_BYTES);
    struct segment_trailer *trailer = (struct segment_trailer *)(void *)page;
    cr_assert_eq(trailer->tombstones, COUNT);
    trailer->tombstones = 1;
    page_seal(page, format_crc_at(format_crc_base(trailer->uuid, trailer->generation),
                                  size - PAGE_BYTES));
    sim_disk_spoil(rig.sim, name, size - PAGE_BYTES, page, sizeof page);
    (void)rig_forget(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_eq(rig.report.tombstones, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_get(&rig, i, 60), STORE_ABSENT);
    }
    rig_end(&rig);
}

/* A snapshot knows the block; the tombstone of an earlier put of it lies where the snapshot saw it,
 * and a second time where it did not: in a segment of moves, or on a tier that was away. */
Test(recover, an_older_tombstone_kills_no_block_whose_header_is_damaged) {
    enum { SEEN = 7, LATER = 8, BYTES = 5000 };
    struct rig rig;
    rig_start(&rig, 62);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 1, BYTES), 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    rig_spoil(&rig, rig_place(&rig, 1, BYTES), 40);
    struct key key;
    (void)rig_block(1, BYTES, &key);
    struct footer_entry seen = {.hash = store_hash(rig.store, &key),
                                .birth_lsn = 1,
                                .hash_code = (uint16_t)key.code,
                                .digest_bytes = 32,
                                .type_flags = RECORD_TOMBSTONE};
    memcpy(seen.digest, key.digest, FOOTER_PREFIX);
    struct footer_entry carried = seen;
    carried.type_flags |= RECORD_MOVED_IN << 4;
    uint64_t *covered = calloc(SEGMENT_IDS, sizeof *covered);
    must(covered != NULL);
    covered[SEEN] = UINT64_MAX;
    static struct recall recall;
    recall = (struct recall){.count = 1};
    recall.images[0].covered = covered;
    for (uint32_t order = 0; order < 4; order++) {
        carried.birth_lsn = order == 3 ? UINT64_MAX : 1; /* a delete of after the put */
        struct load load;
        cr_assert_eq(load_open(&load, rig.store, &(struct load_room){4, 0, 0}), 0);
        load.recall = &recall;
        load_tombstone(&load, order == 0 ? SEEN : LATER, order == 0 ? &seen : &carried);
        load_tombstone(&load, order == 1 ? SEEN : LATER, order % 3 == 0 ? &carried : &seen);
        cr_assert_eq(load_bury(&load), order == 3 ? 1 : 0, "order %u", order);
        cr_assert_eq(rig_get(&rig, 1, BYTES), order == 3 ? STORE_ABSENT : STORE_CORRUPT);
        load_close(&load);
    }
    free(covered);
    rig_end(&rig);
}

/* Takes the file of a segment away. Returns: there was one. */
static bool take_away(struct rig *rig, uint32_t id) {
    char path[64];
    snprintf(path, sizeof path, "%s/ssd/%05x.seg", rig->config.dir, id);
    return rig->disk.calls->unlink_file(rig->disk.backend, path) == 0;
}

/* The last of a log leaves no gap, and where all are gone there is no log. */
Test(recover, segments_that_are_gone_after_a_clean_end_are_said) {
    struct rig rig;
    rig_start(&rig, 63);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t way = 0; way < 4; way++) {
        bool all = way % 2 == 1, forgotten = way >= 2;
        for (uint32_t run = 0; run < 2; run++) {
            for (uint32_t i = 0; i < 100; i++) {
                cr_assert_eq(rig_put(&rig, way * 1000 + run * 100 + i, 60000), 0);
            }
            rig_close(&rig);
            cr_assert_eq(rig_open(&rig), 0);
            cr_assert_eq(rig.report.segments_gone, 0, "all there");
        }
        rig_close(&rig);
        if (forgotten) {
            cr_assert_gt(rig_forget(&rig), 0);
        }
        uint32_t taken = 0;
        for (uint32_t id = 64; id > 0 && (all || taken == 0); id--) {
            taken += take_away(&rig, id);
        }
        cr_assert_gt(taken, 0);
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        cr_assert_eq(rig.report.segments_gone, taken, "way %u", way);
        cr_assert_geq(rig.report.corrupt_ranges, taken);
        cr_assert_eq(rig.report.gone[0] == 0, forgotten, "%s", rig.report.gone);
        rig_close(&rig);
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(rig.report.segments_gone, 0, "said once");
    }
    rig_end(&rig);
}

Test(recover, what_compaction_and_a_crash_take_is_not_said_to_be_gone) {
    struct rig rig;
    rig_start(&rig, 63);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < 200; i++) {
        cr_assert_eq(rig_put(&rig, i, 60000), 0);
    }
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < 200; i++) {
        cr_assert_eq(rig_delete(&rig, i, 60000), 0);
    }
    rig_maintain(&rig, 4000);
    rig_crash(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.segments_gone + rig.report.corrupt_ranges, 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.segments_gone + rig.report.corrupt_ranges, 0);
    rig_end(&rig);
}
