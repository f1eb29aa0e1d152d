/* SPDX-License-Identifier: MIT */
#include "tests/store/rig.h"

#include "base/cid.h"
#include "base/must.h"
#include "store/crc32c.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

/* Golden stores: made once by the program of their day (golden/make.py says how), opened by the
 * program of today. Versions: what a format newer than ours may say, and what we answer. */

#define ARCHIVE_MAX  (48 * MiB)
#define ARCHIVE_PATH 512

static uint8_t *read_whole(const char *name, size_t *ret_bytes) {
    char path[ARCHIVE_PATH];
    snprintf(path, sizeof path, "%s/%s", GOLDEN, name);
    FILE *file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    uint8_t *bytes = malloc(1 * MiB);
    must(bytes != NULL);
    *ret_bytes = fread(bytes, 1, 1 * MiB - 1, file);
    bytes[*ret_bytes] = 0;
    fclose(file);
    return bytes;
}

/* One file of the archive onto the disk. Returns: where the next begins. */
static const uint8_t *unpack_file(struct rig *rig, const uint8_t *at) {
    const struct disk_calls *calls = rig->disk.calls;
    char name[64], path[ARCHIVE_PATH];
    unsigned long bytes = 0, pages = 0;
    cr_assert_eq(sscanf((const char *)at, "%63s %lu %lu\n", name, &bytes, &pages), 3);
    at = (const uint8_t *)strchr((const char *)at, '\n') + 1;
    snprintf(path, sizeof path, "/s/%s", name);
    int fd = calls->open_file(rig->disk.backend, path, O_RDWR | O_CREAT, 0640);
    must(fd >= 0);
    must(calls->truncate(rig->disk.backend, fd, bytes) == 0);
    for (; pages > 0; pages--, at += 4 + PAGE_BYTES) {
        uint32_t page = 0;
        memcpy(&page, at, 4);
        must(calls->pwrite(rig->disk.backend, fd, at + 4, PAGE_BYTES,
                           (uint64_t)page * PAGE_BYTES) == PAGE_BYTES);
    }
    must(calls->sync_file(rig->disk.backend, fd) == 0);
    must(calls->close_file(rig->disk.backend, fd) == 0);
    return at;
}

static void unpack(struct rig *rig, const char *stem) {
    char name[64];
    size_t packed_bytes = 0;
    rig_start(rig, 22);
    crc32c_open();
    rig->config.create = false;
    must(rig->disk.calls->make_dir(rig->disk.backend, "/s/ssd", 0750) == 0);
    bool slow = strstr(stem, "1.0") == NULL; /* which knew no tiers */
    must(!slow || rig->disk.calls->make_dir(rig->disk.backend, "/s/hdd", 0750) == 0);
    snprintf(name, sizeof name, "%s.zst", stem);
    uint8_t *packed = read_whole(name, &packed_bytes);
    uint8_t *archive = malloc(ARCHIVE_MAX + 1);
    must(archive != NULL);
    size_t bytes = ZSTD_decompress(archive, ARCHIVE_MAX, packed, packed_bytes);
    cr_assert_not(ZSTD_isError(bytes), "%s: %s", name, ZSTD_getErrorName(bytes));
    archive[bytes] = 0;
    for (const uint8_t *at = archive; at < archive + bytes;) {
        at = unpack_file(rig, at);
    }
    must(rig->disk.calls->sync_dir(rig->disk.backend, "/s/ssd") == 0);
    must(!slow || rig->disk.calls->sync_dir(rig->disk.backend, "/s/hdd") == 0);
    must(rig->disk.calls->sync_dir(rig->disk.backend, "/s") == 0);
    free(archive);
    free(packed);
}

static void look_for(struct rig *rig, const char *cid_text, uint32_t bytes, bool here) {
    struct cid cid;
    struct store_op op = {.kind = STORE_READ};
    uint8_t digest[HASH_DIGEST_MAX];
    cr_assert_eq(cid_parse(cid_text, &cid, NULL, 0), 0);
    cr_assert_eq(cid_key(&cid, &op.key), 0);
    int32_t r = rig_do(rig, &op);
    cr_assert_eq(r, here ? 0 : STORE_ABSENT, "%s (%u bytes): %d", cid_text, bytes, r);
    if (!here) {
        return;
    }
    cr_assert_eq(frame_bytes(op.frame), bytes, "%s", cid_text);
    cr_assert_eq(frame_codec(op.frame), cid.codec, "%s", cid_text);
    must(hash_compute(op.key.code, frame_body(op.frame), bytes, digest, op.key.digest_bytes) == 0);
    cr_assert_arr_eq(digest, op.key.digest, op.key.digest_bytes, "%s", cid_text);
    frame_give_back(op.frame);
}

static bool is_pinned(const struct rig *rig, const char *cid_text) {
    struct cid cid;
    struct key key;
    cr_assert_eq(cid_parse(cid_text, &cid, NULL, 0), 0);
    cr_assert_eq(cid_key(&cid, &key), 0);
    uint64_t hash = store_hash(rig->store, &key);
    return pins_find(&rig->store->keepers[hash_keeper(rig->store, hash)].pins, hash, &key) != NULL;
}

/* Everything on the list is what the list says. Returns: how many blocks are there. */
static uint32_t look(struct rig *rig, const char *stem) {
    char name[64], cid[128], word[8];
    size_t bytes = 0;
    unsigned size = 0, here = 0;
    int used = 0;
    snprintf(name, sizeof name, "%s.list", stem);
    char *list = (char *)read_whole(name, &bytes);
    for (const char *at = list; sscanf(at, "%127s %u %7s\n%n", cid, &size, word, &used) == 3;) {
        bool is_here = strcmp(word, "gone") != 0;
        look_for(rig, cid, size, is_here);
        cr_assert_eq(is_pinned(rig, cid), strcmp(word, "pinned") == 0, "%s", cid);
        here += is_here;
        at += used;
    }
    free(list);
    return here;
}

/* Opens it with 1 to 3 keepers, uses it, and opens it again after closing and after a crash. */
static void live_with(const char *stem, bool clean) {
    for (uint32_t keepers = 1; keepers <= 3; keepers++) {
        struct rig rig;
        unpack(&rig, stem);
        rig.config.keepers = keepers;
        cr_assert_eq(rig_open(&rig), 0, "%s: %s", stem, rig.report.why);
        cr_assert_eq(rig.report.clean, clean);
        cr_assert_eq(rig.report.corrupt_ranges + rig.report.segments_suspect, 0);
        uint32_t here = look(&rig, stem);
        cr_assert_gt(here, 200);
        cr_assert_eq(rig.report.blocks, here);
        cr_assert_eq(rig_put(&rig, 1, 5000), 0);
        rig_close(&rig);
        cr_assert_eq(rig_open(&rig), 0, "%s: %s", stem, rig.report.why);
        cr_assert_eq(look(&rig, stem), here);
        cr_assert_eq(rig_put(&rig, 2, 5000), 0);
        rig_crash(&rig);
        cr_assert_eq(rig_open(&rig), 0, "%s: %s", stem, rig.report.why);
        cr_assert_eq(rig.report.blocks, here + 2, "%lu of %u", rig.report.blocks, here + 2);
        cr_assert_eq(look(&rig, stem), here);
        cr_assert_eq(rig_get(&rig, 1, 5000), 0);
        cr_assert_eq(rig_get(&rig, 2, 5000), 0);
        rig_end(&rig);
    }
}

Test(golden, a_store_of_format_1_0_closed_in_order_opens_with_every_block) {
    live_with("format-1.0.clean", true);
}

Test(golden, a_store_of_format_1_0_whose_daemon_was_killed_opens_with_every_block) {
    live_with("format-1.0.killed", false);
}

/* With pins, bundles, blocks that are compressed, and a slow tier. */
Test(golden, a_store_of_format_1_2_closed_in_order_opens_with_every_block_and_pin) {
    live_with("format-1.2.clean", true);
}

Test(golden, a_store_of_format_1_2_whose_daemon_was_killed_opens_with_every_block_and_pin) {
    live_with("format-1.2.killed", false);
}

Test(golden, a_store_of_format_1_2_says_what_it_holds) {
    struct rig rig;
    unpack(&rig, "format-1.2.clean");
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    const struct super_slot *slot = &rig.store->super.slot;
    cr_assert_eq(slot->ro_compat, SUPER_RO_COMPAT_PINS);
    cr_assert_eq(slot->incompat, SUPER_INCOMPAT_KNOWN);
    uint64_t pins = 0;
    for (uint32_t k = 0; k < rig.config.keepers; k++) {
        pins += rig.store->keepers[k].pins.count;
    }
    cr_assert_gt(pins, 4);
    rig_end(&rig);
}

Test(golden, a_reader_of_an_old_store_changes_nothing) {
    struct rig rig;
    unpack(&rig, "format-1.0.killed");
    rig.config.read_only = true;
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_gt(look(&rig, "format-1.0.killed"), 200);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_not(rig.report.clean, "the killed store still says so: SUPER was not touched");
    rig_end(&rig);
}

/* --- versions --------------------------------------------------------------------------------- */

/* Changes both slots of SUPER, and makes their checksums true again. */
static void change_super(struct rig *rig, void (*change)(struct super_slot *slot)) {
    uint8_t page[PAGE_BYTES];
    uint64_t size = 0;
    for (uint32_t i = 0; i < 2; i++) {
        const uint8_t *bytes = sim_disk_bytes(rig->sim, "/s/SUPER", &size);
        must(bytes && size == (uint64_t)2 * PAGE_BYTES);
        memcpy(page, bytes + (size_t)i * PAGE_BYTES, PAGE_BYTES);
        change((struct super_slot *)(void *)page);
        page_seal(page, 0);
        sim_disk_spoil(rig->sim, "/s/SUPER", (uint64_t)i * PAGE_BYTES, page, PAGE_BYTES);
    }
}

static void set_incompat(struct super_slot *slot) {
    slot->incompat |= UINT64_C(1) << 63;
}
static void set_ro_compat(struct super_slot *slot) {
    slot->ro_compat |= UINT64_C(1) << 63;
}
static void set_compat(struct super_slot *slot) {
    slot->compat |= UINT64_C(1) << 63;
}
static void set_newer(struct super_slot *slot) {
    slot->major = FORMAT_MAJOR + 1;
}
static void set_older(struct super_slot *slot) {
    slot->major = 0;
}
static void set_minor(struct super_slot *slot) {
    slot->minor = UINT16_MAX;
}

static void expect_refusal(struct rig *rig, const char *words) {
    cr_assert_eq(rig_open(rig), STORE_FORMAT);
    cr_assert_not_null(strstr(rig->report.why, words), "said: %s", rig->report.why);
}

Test(golden, a_bit_of_a_feature_we_lack_refuses_and_says_why) {
    static const struct {
        void (*change)(struct super_slot *slot);
        const char *words;
    } cases[] = {{set_incompat, "uses a feature that this version does not have"},
                 {set_newer, "written by a newer version of Millrace"},
                 {set_older, "too old to read"}};
    for (size_t i = 0; i < array_count(cases); i++) {
        struct rig rig;
        unpack(&rig, "format-1.0.clean");
        change_super(&rig, cases[i].change);
        for (uint32_t reader = 0; reader < 2; reader++) {
            rig.config.read_only = reader == 1;
            expect_refusal(&rig, cases[i].words);
        }
        rig_end(&rig);
    }
}

Test(golden, a_bit_of_a_feature_we_can_only_read_opens_for_reading_alone) {
    struct rig rig;
    unpack(&rig, "format-1.0.clean");
    change_super(&rig, set_ro_compat);
    expect_refusal(&rig, "can only read");
    rig.config.read_only = true;
    cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
    cr_assert_gt(look(&rig, "format-1.0.clean"), 200);
    rig_end(&rig);
}

Test(golden, what_we_need_not_know_is_kept_as_it_is) {
    struct rig rig;
    uint64_t size = 0;
    unpack(&rig, "format-1.0.clean");
    change_super(&rig, set_compat);
    change_super(&rig, set_minor);
    for (uint32_t life = 0; life < 3; life++) {
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        cr_assert_eq(look(&rig, "format-1.0.clean"), rig.report.blocks);
        rig_close(&rig);
    }
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *bytes = sim_disk_bytes(rig.sim, "/s/SUPER", &size);
        const struct super_slot *slot = (const void *)(bytes + i * PAGE_BYTES);
        cr_assert_eq(slot->compat, UINT64_C(1) << 63 | SUPER_COMPAT_SNAPSHOTS);
        cr_assert_eq(slot->minor, UINT16_MAX);
    }
    rig_end(&rig);
}

Test(golden, a_cut_super_opens_by_its_other_slot_or_is_refused) {
    static const struct {
        uint64_t bytes;
        bool opens;
    } cases[] = {{0, false},
                 {512, false},
                 {PAGE_BYTES - 512, false},
                 {PAGE_BYTES, true},
                 {PAGE_BYTES + 512, true}};
    for (size_t i = 0; i < array_count(cases); i++) {
        struct rig rig;
        unpack(&rig, "format-1.0.clean");
        sim_disk_set_size(rig.sim, "/s/SUPER", cases[i].bytes);
        if (!cases[i].opens) {
            expect_refusal(&rig, "SUPER");
        } else {
            cr_assert_eq(rig_open(&rig), 0, "%lu bytes: %s", cases[i].bytes, rig.report.why);
            cr_assert_eq(look(&rig, "format-1.0.clean"), rig.report.blocks);
            rig_close(&rig);
        }
        rig_end(&rig);
    }
}

Test(golden, without_super_it_is_no_store_and_is_not_formatted_over) {
    struct rig rig;
    unpack(&rig, "format-1.0.clean");
    sim_disk_remove(rig.sim, "/s/SUPER");
    expect_refusal(&rig, "not a store");
    rig.config.create = true;
    cr_assert_neq(rig_open(&rig), 0, "segments without SUPER: somebody's data");
    cr_assert_gt(strlen(rig.report.why), 10);
    rig_end(&rig);
}
