/* SPDX-License-Identifier: MIT */
#include "store/snapshot.h"

#include "base/bits.h"
#include "base/must.h"
#include "store/copy.h"
#include "store/coverage.h"
#include "store/recall.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Snapshots (store/snapshot.c writes them in the form of store/image.c, store/recall.c takes them
 * in): whichever way the catalog comes, it is the same. */

enum { BYTES = 200 };

/* What a start shows: every block with its birth, and what is counted. */
struct shown {
    uint64_t blocks, bytes, listing, live;
};

static struct shown show(const struct rig *rig) {
    struct shown shown = {rig->report.blocks, rig->report.bytes, 0, 0};
    struct store_item items[64];
    uint64_t cursor = 0;
    while (cursor != UINT64_MAX) {
        uint32_t count = 0;
        must(store_page(rig->store, &cursor, items, 64, &count) == 0);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t seed = items[i].birth_lsn ^ (uint64_t)items[i].bytes << 40;
            shown.listing += XXH3_64bits_withSeed(items[i].key.digest, 32, seed);
        }
    }
    for (uint32_t id = 1; id < rig->store->segments.top; id++) {
        shown.live += atomic_load(&rig->store->segments.all[id].live_bytes);
    }
    return shown;
}

/* Opens without writing anything, looks, and closes. */
static struct shown look(struct rig *rig) {
    rig->config.read_only = true;
    cr_assert_eq(rig_open(rig), 0, "%s", rig->report.why);
    struct shown shown = show(rig);
    rig_close(rig);
    rig->config.read_only = false;
    return shown;
}

static void same(const struct shown *a, const struct shown *b, const char *what) {
    cr_assert_eq(a->blocks, b->blocks, "%s: %lu blocks, not %lu", what, a->blocks, b->blocks);
    cr_assert_eq(a->bytes, b->bytes, "%s: bytes", what);
    cr_assert_eq(a->listing, b->listing, "%s: other blocks or births", what);
    cr_assert_eq(a->live, b->live, "%s: live bytes", what);
}

/* The n-th newest snapshot's file. NULL: none. */
static const char *snapshot_file(const struct rig *rig, uint32_t nth) {
    static char found[2][128];
    memset(found, 0, sizeof found);
    for (uint32_t n = 0; sim_disk_name(rig->sim, n); n++) {
        const char *name = sim_disk_name(rig->sim, n);
        if (!strstr(name, ".snap")) {
            continue;
        }
        if (strcmp(name, found[0]) > 0) {
            memcpy(found[1], found[0], sizeof found[0]);
            snprintf(found[0], sizeof found[0], "%s", name);
        } else if (strcmp(name, found[1]) > 0) {
            snprintf(found[1], sizeof found[1], "%s", name);
        }
    }
    return found[nth][0] ? found[nth] : NULL;
}

static uint32_t snapshot_count(const struct rig *rig) {
    uint32_t count = 0;
    for (uint32_t n = 0; sim_disk_name(rig->sim, n); n++) {
        count += strstr(sim_disk_name(rig->sim, n), ".snap") != NULL;
    }
    return count;
}

static void flip(struct rig *rig, const char *name, uint64_t offset) {
    uint64_t size = 0;
    const uint8_t *bytes = sim_disk_bytes(rig->sim, name, &size);
    cr_assert_lt(offset, size);
    uint8_t value = (uint8_t)(bytes[offset] ^ (1u << (offset % 8)));
    sim_disk_spoil(rig->sim, name, offset, &value, 1);
}

/* No footer verifies any more; `trailers` too: nothing but the batches is left. */
static void spoil_footers(struct rig *rig, bool trailers) {
    for (uint32_t n = 0; sim_disk_name(rig->sim, n); n++) {
        const char *name = sim_disk_name(rig->sim, n);
        uint64_t size = 0;
        const uint8_t *bytes = sim_disk_bytes(rig->sim, name, &size);
        if (!strstr(name, ".seg") || size < 3 * PAGE_BYTES ||
            get_le32(bytes + size - PAGE_BYTES) != TRAILER_MAGIC) {
            continue;
        }
        const struct segment_trailer *trailer = (const void *)(bytes + size - PAGE_BYTES);
        uint64_t footer = trailer->footer_offset;
        flip(rig, name, trailers ? size - 40 : footer + 56); /* not what is listed */
    }
}

static void put_many(struct rig *rig, uint32_t first, uint32_t count) {
    for (uint32_t i = first; i < first + count; i++) {
        cr_assert_eq(rig_put(rig, i, BYTES), 0);
    }
}

/* Waits until the snapshot that is due is on the disk. */
static void snapshot_now(struct rig *rig) {
    uint64_t before = counter_get(&rig->store->snapshots.written);
    rig->now_ns += 2 * rig->config.snapshot_interval_ns;
    for (uint32_t i = 0; counter_get(&rig->store->snapshots.written) == before; i++) {
        cr_assert_lt(i, 5000u);
        rig_maintain(rig, 1);
    }
}

static void start(struct rig *rig, uint64_t seed) {
    rig_start(rig, seed);
    rig->config.snapshot_interval_ns = 10 * NS_PER_S;
    cr_assert_eq(rig_open(rig), 0, "%s", rig->report.why);
    rig_maintain(rig, 1);
}

Test(snapshot, a_clean_start_reads_nothing_else) {
    struct rig rig;
    start(&rig, 1);
    put_many(&rig, 0, 300);
    for (uint32_t i = 0; i < 300; i += 3) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    cr_assert_eq(snapshot_count(&rig), 1);
    for (uint32_t keepers = 1; keepers <= 3; keepers++) { /* whoever owned the shards then */
        rig.config.keepers = keepers;
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(rig.report.snapshot_shards, STORE_SHARDS);
        cr_assert_neq(rig.report.snapshot, 0);
        cr_assert_eq(rig.report.segments_footer + rig.report.segments_scanned, 0);
        cr_assert_eq(rig.report.blocks, 200);
        for (uint32_t i = 0; i < 300; i++) {
            cr_assert_eq(rig_get(&rig, i, BYTES), i % 3 == 0 ? STORE_ABSENT : 0);
        }
        cr_assert_eq(rig_put(&rig, 1000 + keepers, BYTES), 0);
        cr_assert_eq(rig_delete(&rig, 1000 + keepers, BYTES), 0);
        rig_close(&rig);
        cr_assert_leq(snapshot_count(&rig), SNAPSHOTS_KEPT);
    }
    rig_end(&rig);
}

/* LRFU weighs a use with more than an entry's two bits can hold. */
Test(snapshot, what_a_policy_counts_spoils_no_entry) {
    enum { LARGE = 60000, COUNT = 24 };
    struct rig rig;
    rig_start(&rig, 31);
    rig.config.policy = STORE_POLICY_LRFU;
    cr_assert_eq(rig_open(&rig), 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_put(&rig, i, LARGE), 0);
    }
    for (uint32_t i = 0; i < 4; i++) {
        cr_assert_eq(rig_get(&rig, 0, LARGE), 0);
    }
    for (uint32_t i = 1; i < COUNT; i++) { /* so many that it comes up, and stays with a weight */
        cr_assert_eq(rig_get(&rig, i, LARGE), 0);
    }
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.snapshots_bad, 0);
    cr_assert_eq(rig.report.snapshot_shards, STORE_SHARDS);
    for (uint32_t i = 0; i < COUNT; i++) {
        cr_assert_eq(rig_get(&rig, i, LARGE), 0);
    }
    rig_end(&rig);
}

Test(snapshot, without_news_none_is_written) {
    struct rig rig;
    start(&rig, 2);
    put_many(&rig, 0, 20);
    snapshot_now(&rig);
    rig.now_ns += 100 * NS_PER_S;
    rig_maintain(&rig, 50);
    rig.now_ns += 100 * NS_PER_S;
    rig_maintain(&rig, 50);
    cr_assert_leq(counter_get(&rig.store->snapshots.written), 2, "one more says the mark");
    uint64_t written = counter_get(&rig.store->snapshots.written);
    rig.now_ns += 100 * NS_PER_S;
    rig_maintain(&rig, 50);
    cr_assert_eq(counter_get(&rig.store->snapshots.written), written);
    rig_close(&rig);
    char newest[128];
    snprintf(newest, sizeof newest, "%s", snapshot_file(&rig, 0));
    cr_assert_eq(rig_open(&rig), 0);
    rig_close(&rig);
    cr_assert_str_eq(snapshot_file(&rig, 0), newest, "nothing came or went");
    rig_end(&rig);
}

/* Enough that tables lie in their file as they lie in memory. */
static void fill(struct rig *rig, uint32_t count) {
    struct store_op *ops = calloc(256, sizeof *ops);
    uint8_t *data = malloc(256 * 64);
    must(ops && data);
    for (uint32_t first = 0; first < count; first += 256) {
        uint32_t done = 0;
        struct keeper *keeper = store_keeper(rig->store, 0);
        for (uint32_t i = 0; i < 256; i++) {
            ops[i] = (struct store_op){.kind = STORE_PUT, .bytes = 60, .codec = 0x55};
            memcpy(data + 64 * i, rig_block(first + i, 60, &ops[i].key), 60);
            ops[i].data = data + 64 * i;
            keeper_begin(keeper, &ops[i]);
        }
        for (uint32_t turns = 0; done < 256; turns++) {
            cr_assert_lt(turns, 10000u);
            rig_turn(rig);
            for (struct store_op *op; (op = keeper_done(keeper)) != NULL; done++) {
                cr_assert_eq(op->result, 0);
            }
            (void)store_housekeep(rig->store);
        }
    }
    free(ops);
    free(data);
}

Test(snapshot, full_tables_come_back_as_they_were_and_grow_on) {
    enum { COUNT = 160 * 256, MORE = 320 * 256 };
    struct rig rig;
    start(&rig, 3);
    fill(&rig, COUNT);
    snapshot_now(&rig);
    uint64_t memory = catalog_memory(&rig.store->catalog);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig.report.snapshot_shards, STORE_SHARDS);
    cr_assert_eq(rig.report.segments_footer, 0);
    cr_assert_eq(rig.report.blocks, COUNT);
    cr_assert_leq(catalog_memory(&rig.store->catalog), memory + 8 * MiB);
    for (uint32_t i = 0; i < COUNT; i += 97) {
        cr_assert_eq(rig_get(&rig, i, 60), 0);
    }
    fill(&rig, MORE); /* the first half is there already, the tables split */
    rig_close(&rig);
    struct shown with = look(&rig);
    cr_assert_eq(with.blocks, MORE);
    cr_assert_gt(rig_forget(&rig), 0);
    struct shown without = look(&rig);
    same(&with, &without, "without the snapshot");
    rig_end(&rig);
}

/* Puts, deletes, reads and starts at random, with snapshots in the midst of them. */
static void live(struct rig *rig, uint64_t *random, uint32_t turns) {
    for (uint32_t i = 0; i < turns; i++) {
        uint32_t block = (uint32_t)(sim_random(random) % 240);
        uint32_t what = (uint32_t)(sim_random(random) % 16);
        if (what < 8) {
            cr_assert_eq(rig_put(rig, block, BYTES), 0);
        } else if (what < 12) {
            int32_t r = rig_delete(rig, block, BYTES);
            cr_assert(r == 0 || r == STORE_ABSENT);
        } else if (what < 14) {
            int32_t r = rig_get(rig, block, BYTES);
            cr_assert(r == 0 || r == STORE_ABSENT);
        } else if (what == 14) {
            (void)store_housekeep(rig->store);
        } else {
            rig_maintain(rig, 1 + (uint32_t)(sim_random(random) % 60));
        }
        if (sim_random(random) % 128 == 0) {
            rig->now_ns += 10 * NS_PER_S; /* one is due */
        }
    }
}

Test(snapshot, all_ways_to_the_catalog_lead_to_the_same, .timeout = 240) {
    uint32_t used = 0, partly = 0;
    uint64_t moved = 0;
    for (uint64_t seed = 100; seed < 140; seed++) {
        struct rig rig;
        uint64_t random = seed;
        start(&rig, seed);
        for (uint32_t life = 0; life < 3; life++) {
            live(&rig, &random, 60 + (uint32_t)(sim_random(&random) % 400));
            moved += counter_get(&store_upkeep(rig.store)->moves);
            bool clean = sim_random(&random) % 3 == 0;
            clean ? rig_close(&rig) : rig_crash(&rig);
            if (life < 2) {
                rig.config.keepers = 1 + (uint32_t)(sim_random(&random) % 3);
                cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
                rig_maintain(&rig, 1);
            }
        }
        char what[64];
        struct shown first = look(&rig);
        used += rig.report.snapshot_shards == STORE_SHARDS;
        partly += rig.report.snapshot_shards == STORE_SHARDS &&
                  rig.report.segments_footer + rig.report.segments_scanned > 0;
        if (snapshot_file(&rig, 1)) {
            flip(&rig, snapshot_file(&rig, 0), 8); /* a chunk: that shard from the older one */
            struct shown mixed = look(&rig);
            snprintf(what, sizeof what, "seed %lu, a chunk", seed);
            same(&first, &mixed, what);
            sim_disk_remove(rig.sim, snapshot_file(&rig, 0));
            struct shown older = look(&rig);
            snprintf(what, sizeof what, "seed %lu, the older", seed);
            same(&first, &older, what);
        }
        (void)rig_forget(&rig);
        struct shown footers = look(&rig);
        cr_assert_eq(rig.report.snapshot_shards, 0);
        snprintf(what, sizeof what, "seed %lu, footers", seed);
        same(&first, &footers, what);
        spoil_footers(&rig, false);
        struct shown scanned = look(&rig);
        cr_assert_eq(rig.report.segments_footer, 0);
        snprintf(what, sizeof what, "seed %lu, scanned", seed);
        same(&first, &scanned, what);
        spoil_footers(&rig, true);
        struct shown batches = look(&rig);
        snprintf(what, sizeof what, "seed %lu, batches alone", seed);
        same(&first, &batches, what);
        rig_end(&rig);
    }
    cr_assert_gt(moved, 100u, "compaction went on beside it");
    cr_assert_gt(used, 20u);
    cr_assert_gt(partly, 5u, "snapshots from amid the work, with a rest to read");
}

Test(snapshot, power_may_go_at_any_call_while_one_is_written, .timeout = 240) {
    for (uint64_t at = 1, over = 0; !over; at++) {
        struct rig rig;
        start(&rig, 5000 + at);
        put_many(&rig, 0, 30);
        snapshot_now(&rig);
        put_many(&rig, 30, 30);
        for (uint32_t i = 0; i < 60; i += 4) {
            cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
        }
        rig_mark(&rig);
        rig.now_ns += 20 * NS_PER_S;
        sim_disk_crash_after(rig.sim, at);
        for (uint32_t i = 0; i < 1200 && !sim_disk_dead(rig.sim); i++) {
            rig_maintain(&rig, 1);
        }
        over = !sim_disk_dead(rig.sim);
        rig_crash(&rig);
        struct shown first = look(&rig);
        cr_assert_eq(rig.report.blocks, 45, "call %lu", at);
        cr_assert_eq(rig.report.snapshot_shards, STORE_SHARDS, "call %lu: one is always whole", at);
        cr_assert_eq(rig_open(&rig), 0);
        for (uint32_t i = 0; i < 60; i++) {
            cr_assert_eq(rig_get(&rig, i, BYTES), i % 4 == 0 ? STORE_ABSENT : 0);
        }
        rig_crash(&rig);
        (void)rig_forget(&rig);
        struct shown without = look(&rig);
        same(&first, &without, "without");
        cr_assert_lt(at, 1000u);
        rig_end(&rig);
    }
}

Test(snapshot, no_bit_of_it_is_believed_when_wrong, .timeout = 240) {
    struct rig rig;
    start(&rig, 6);
    put_many(&rig, 0, 90);
    for (uint32_t i = 0; i < 90; i += 5) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    snapshot_now(&rig);
    put_many(&rig, 100, 20);
    rig_crash(&rig);
    const char *name = snapshot_file(&rig, 0);
    uint64_t size = 0;
    const uint8_t *bytes = sim_disk_bytes(rig.sim, name, &size);
    struct image_tail tail;
    memcpy(&tail, bytes + size - PAGE_BYTES, sizeof tail);
    cr_assert_eq(tail.magic, IMAGE_MAGIC);
    struct shown first = look(&rig);
    uint32_t whole = 0, partly = 0, none = 0;
    for (uint64_t at = 0; at < size; at++) {
        bool in_tail = at >= size - PAGE_BYTES && at < size - PAGE_BYTES + sizeof tail;
        bool step = at % 61 == 0 || at >= size - 8;
        if (!in_tail && !step) {
            continue;
        }
        flip(&rig, name, at);
        struct shown now = look(&rig);
        same(&first, &now, "after a flip");
        uint32_t shards = rig.report.snapshot_shards;
        whole += shards == STORE_SHARDS;
        partly += shards == STORE_SHARDS - 1;
        none += shards == 0;
        cr_assert(shards == 0 || shards >= STORE_SHARDS - 1);
        bool padding = at >= tail.manifest_offset + tail.manifest_bytes && at < size - PAGE_BYTES;
        bool gap = at >= (uint64_t)tail.entries * 16 && at < tail.manifest_offset;
        cr_assert(shards != STORE_SHARDS || padding || gap, "byte %lu of %lu", at, size);
        flip(&rig, name, at);
    }
    cr_assert_gt(whole, 0u);
    cr_assert_gt(partly, 10u);
    cr_assert_gt(none, 90u);
    rig_end(&rig);
}

/* Tables are read many at once; where that fails, one by one. */
Test(snapshot, a_page_of_it_that_cannot_be_read_costs_the_shards_on_it_alone) {
    struct rig rig;
    start(&rig, 17);
    put_many(&rig, 0, 1500);
    snapshot_now(&rig);
    rig_crash(&rig);
    struct shown first = look(&rig);
    cr_assert_eq(rig.report.snapshot_shards, STORE_SHARDS);
    uint64_t size = 0;
    (void)sim_disk_bytes(rig.sim, snapshot_file(&rig, 0), &size);
    cr_assert_gt(size, 8 * PAGE_BYTES);
    sim_disk_bad_page(rig.sim, snapshot_file(&rig, 0), 4 * PAGE_BYTES);
    struct shown now = look(&rig);
    same(&first, &now, "with a bad page");
    cr_assert_lt(rig.report.snapshot_shards, STORE_SHARDS);
    cr_assert_gt(rig.report.snapshot_shards, STORE_SHARDS / 2);
    rig_end(&rig);
}

Test(snapshot, another_stores_or_a_renamed_one_is_refused_and_goes) {
    struct rig other, rig;
    start(&other, 7);
    put_many(&other, 0, 40);
    rig_close(&other);
    start(&rig, 8);
    put_many(&rig, 0, 40);
    snapshot_now(&rig);
    put_many(&rig, 40, 5);
    snapshot_now(&rig);
    for (uint32_t i = 0; i < 40; i += 2) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    rig_crash(&rig);
    struct shown first = look(&rig);
    /* the older one under a newer name */
    sim_disk_duplicate(rig.sim, snapshot_file(&rig, 1), "/s/index/0000f00000000001.snap");
    struct shown renamed = look(&rig);
    same(&first, &renamed, "renamed");
    cr_assert_eq(rig.report.snapshots_bad, 1);
    cr_assert_eq(rig.report.snapshot_shards, STORE_SHARDS, "the good ones still serve");
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(snapshot_count(&rig), 2, "it is gone");
    rig_crash(&rig);
    sim_disk_remove(rig.sim, "/s/index/0000f00000000001.snap"); /* power may bring it back */
    /* another store's: its bytes under the name of ours */
    uint64_t size = 0;
    const uint8_t *theirs = sim_disk_bytes(other.sim, snapshot_file(&other, 0), &size);
    uint8_t *copy = malloc(size);
    must(copy != NULL);
    memcpy(copy, theirs, size);
    for (uint32_t nth = 0; nth < 2; nth++) {
        const char *name = snapshot_file(&rig, nth);
        sim_disk_set_size(rig.sim, name, size);
        sim_disk_spoil(rig.sim, name, 0, copy, size);
    }
    free(copy);
    struct shown foreign = look(&rig);
    same(&first, &foreign, "foreign");
    cr_assert_eq(rig.report.snapshots_bad, 2);
    cr_assert_eq(rig.report.snapshot_shards, 0);
    rig_end(&other);
    rig_end(&rig);
}

Test(snapshot, an_old_one_put_back_misleads_nobody) {
    struct rig rig;
    start(&rig, 9);
    put_many(&rig, 0, 60);
    snapshot_now(&rig);
    sim_disk_duplicate(rig.sim, snapshot_file(&rig, 0), "/s/kept");
    char name[128];
    snprintf(name, sizeof name, "%s", snapshot_file(&rig, 0));
    for (uint32_t i = 0; i < 60; i += 2) {
        cr_assert_eq(rig_delete(&rig, i, BYTES), 0);
    }
    for (uint32_t i = 0; i < 60; i += 4) {
        cr_assert_eq(rig_put(&rig, i, BYTES), 0);
    }
    rig_close(&rig);
    struct shown first = look(&rig);
    (void)rig_forget(&rig);
    sim_disk_duplicate(rig.sim, "/s/kept", name);
    struct shown old = look(&rig);
    cr_assert_eq(rig.report.snapshot_shards, STORE_SHARDS);
    same(&first, &old, "the old one");
    rig_end(&rig);
}

Test(snapshot, where_most_was_deleted_since_the_footers_are_read) {
    struct rig rig;
    start(&rig, 10);
    fill(&rig, 8 * 256);
    snapshot_now(&rig);
    struct store_op op;
    for (uint32_t i = 0; i < 1500; i++) {
        op = (struct store_op){.kind = STORE_DELETE};
        (void)rig_block(i, 60, &op.key);
        cr_assert_eq(rig_do(&rig, &op), 0);
    }
    rig_crash(&rig);
    struct shown first = look(&rig);
    cr_assert_eq(rig.report.snapshot_shards, 0, "a look at each would take longer");
    cr_assert_eq(first.blocks, 8 * 256 - 1500);
    rig_end(&rig);
}

Test(snapshot, a_disk_that_has_no_room_for_it_serves_blocks) {
    struct rig rig;
    start(&rig, 11);
    put_many(&rig, 0, 40);
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_ENOSPC, .to = UINT64_MAX});
    rig.now_ns += 20 * NS_PER_S;
    rig_maintain(&rig, 600);
    cr_assert_eq(counter_get(&rig.store->snapshots.written), 0);
    cr_assert_gt(counter_get(&rig.store->snapshots.failed), 0);
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_FINE});
    cr_assert_eq(rig_get(&rig, 3, BYTES), 0);
    cr_assert_eq(snapshot_count(&rig), 0);
    snapshot_now(&rig);
    cr_assert_eq(snapshot_count(&rig), 1);
    rig_end(&rig);
}

static uint64_t covered(const struct coverage *coverage, uint32_t id) {
    for (uint32_t i = 0; i < coverage->count; i++) {
        if (coverage->segments[i].id == id) {
            return coverage->segments[i].covered_bytes;
        }
    }
    return 0;
}

Test(snapshot, what_is_not_decided_yet_is_not_covered) {
    struct rig rig;
    struct coverage coverage;
    rig_start(&rig, 41);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(coverage_open(&coverage), 0);
    cr_assert_eq(rig_put(&rig, 1, 9000), 0);
    rig_mark(&rig);
    uint32_t id = place_spot(rig_place(&rig, 1, 9000)).segment;
    struct segment *segment = &rig.store->segments.all[id];
    coverage_take(&coverage, rig.store);
    uint64_t sum = coverage.sum;
    cr_assert_gt(covered(&coverage, id), 9000);
    coverage_take(&coverage, rig.store);
    cr_assert_eq(coverage.sum, sum, "nothing came to it");
    atomic_store(&segment->undecided, 1);
    coverage_take(&coverage, rig.store);
    cr_assert_eq(covered(&coverage, id), PAGE_BYTES, "named, and up to nowhere");
    cr_assert_neq(coverage.sum, sum);
    atomic_store(&segment->undecided, 0);
    coverage_close(&coverage);
    rig_end(&rig);
}

Test(snapshot, a_table_that_is_mostly_empty_is_copied_as_a_list_of_places_on_disk) {
    struct rig rig;
    struct image_chunk chunk;
    rig_start(&rig, 42);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 1, 9000), 0);
    cr_assert_eq(rig_get(&rig, 1, 9000), 0);
    struct key key;
    (void)rig_block(1, 9000, &key);
    uint64_t hash = store_hash(rig.store, &key);
    uint64_t *words = aligned_alloc(PAGE_BYTES, COPY_BYTES_MAX);
    copy_table(rig.store, hash, words, &chunk);
    cr_assert_eq(chunk.kind, IMAGE_LIST);
    cr_assert_eq(chunk.entries, 1);
    const struct image_entry *entry = (const void *)words;
    cr_assert_eq(chunk.bytes, sizeof *entry);
    cr_assert_eq(words[0], hash);
    cr_assert_not(place_resident(words[1]), "in memory now, and not at the next start");
    cr_assert_eq(words[1] & PLACE_MASK, rig_place(&rig, 1, 9000) & PLACE_MASK);
    free(words);
    rig_end(&rig);
}
