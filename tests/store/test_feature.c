/* SPDX-License-Identifier: MIT */
#include "store/feature.h"

#include "base/must.h"
#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* What keeps older programs from serving what they do not know: store/feature.c. */

enum { MANY = 4, BYTES = 60000 };

static struct rig rig;
static uint8_t bodies[MANY][BYTES];
static struct store_op ops[MANY];
static struct store_bundle bundle;
static const struct store_tier tiers[] = {{"ssd", 20 * MiB, TIER_SSD}, {"hdd", 0, TIER_HDD}};

static void start(void) {
    rig_start(&rig, 5);
}
static void end(void) {
    rig_end(&rig);
}
TestSuite(feature, .init = start, .fini = end, .timeout = 120);

/* --- the platter ------------------------------------------------------------------------------ */

/* The slot that a start would go by. NULL: there is no SUPER yet. */
static const struct super_slot *slot(void) {
    uint64_t bytes = 0;
    const uint8_t *pages = sim_disk_bytes(rig.sim, "/s/SUPER", &bytes);
    const struct super_slot *newest = NULL;
    for (uint64_t i = 0; pages && i < bytes / PAGE_BYTES; i++) {
        const struct super_slot *at = (const void *)(pages + i * PAGE_BYTES);
        bool sound = at->magic == SUPER_MAGIC && page_sound(at, 0);
        newest = sound && (!newest || at->sequence > newest->sequence) ? at : newest;
    }
    return newest;
}

/* Kinds of records in a file that verify. */
static uint32_t records_in(const char *name, const uint8_t uuid[16]) {
    uint64_t bytes = 0;
    const uint8_t *file = sim_disk_bytes(rig.sim, name, &bytes);
    uint32_t features = 0;
    for (uint64_t at = PAGE_BYTES; at + RECORD_HEADER_MAX <= bytes; at += RECORD_UNIT) {
        const struct record_header *header = (const void *)(file + at);
        struct record_bounds bounds = {.crc_base = format_crc_base(uuid, header->generation),
                                       .generation = header->generation,
                                       .offset = at,
                                       .bytes_here = bytes - at,
                                       .bytes_max = bytes - at};
        if (header->magic != RECORD_MAGIC || record_check(header, &bounds) != 0) {
            continue;
        }
        bool pin = header->type == RECORD_PIN || header->type == RECORD_UNPIN;
        features |= pin ? FEATURE_PINS : 0;
        features |= header->type == RECORD_COMMIT || header->txn != 0 ? FEATURE_COMMITS : 0;
        features |= header->flags & RECORD_ZSTD ? FEATURE_ZSTD : 0;
    }
    return features;
}

/* What is on the platter is said in SUPER. Returns: the kinds there are. */
static uint32_t check(void) {
    const struct super_slot *super = slot();
    uint32_t features = 0;
    if (!super) {
        return 0;
    }
    uint64_t ro_compat = super->ro_compat, incompat = super->incompat;
    uint8_t uuid[16];
    memcpy(uuid, super->uuid, sizeof uuid);
    for (uint32_t n = 0; sim_disk_name(rig.sim, n); n++) {
        const char *name = sim_disk_name(rig.sim, n);
        features |= strstr(name, ".seg") ? records_in(name, uuid) : 0;
    }
    cr_assert(!(features & FEATURE_PINS) || (ro_compat & SUPER_RO_COMPAT_PINS));
    cr_assert(!(features & FEATURE_COMMITS) || (incompat & SUPER_INCOMPAT_COMMITS));
    cr_assert(!(features & FEATURE_ZSTD) || (incompat & SUPER_INCOMPAT_ZSTD));
    return features;
}

/* --- what brings them about ------------------------------------------------------------------- */

static int32_t pin(uint32_t i, enum store_op_kind kind) {
    static uint8_t payload[PIN_PAYLOAD_MAX];
    struct store_op op = {.kind = (uint8_t)kind, .codec = 0x55, .data = payload};
    (void)rig_block(i, BYTES, &op.key);
    op.bytes = pin_write(&(struct store_pin){.mode = STORE_PIN_DIRECT}, payload);
    return rig_do(&rig, &op);
}

static void put_bundle(void) {
    bundle = (struct store_bundle){.ops = ops, .count = MANY, .atomic = true};
    for (uint32_t i = 0; i < MANY; i++) {
        ops[i] = (struct store_op){.kind = STORE_PUT, .bytes = BYTES, .codec = 0x55};
        memcpy(bodies[i], rig_block(100 + i, BYTES, &ops[i].key), BYTES);
        ops[i].data = bodies[i];
    }
    keeper_bundle(store_keeper(rig.store, 0), &bundle);
    for (uint32_t i = 0; !keeper_bundle_done(store_keeper(rig.store, 0)); i++) {
        cr_assert_lt(i, 10000);
        rig_turn(&rig);
        (void)store_housekeep(rig.store);
    }
}

static void demote(void) {
    for (uint32_t i = 0; i < 340 && !sim_disk_dead(rig.sim); i++) {
        (void)rig_put(&rig, i, BYTES);
    }
    for (uint32_t i = 0; i < 100 && !sim_disk_dead(rig.sim); i++) {
        rig.now_ns += NS_PER_S / 4;
        rig_maintain(&rig, 4);
        (void)store_housekeep(rig.store);
    }
}

Test(feature, a_store_that_never_uses_them_stays_open_to_all) {
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_put(&rig, 1, BYTES), 0);
    cr_assert_eq(rig_delete(&rig, 1, BYTES), 0);
    cr_assert_eq(pin(1, STORE_UNPIN), STORE_ABSENT);
    rig_close(&rig);
    cr_assert_eq(slot()->ro_compat, 0);
    cr_assert_eq(slot()->incompat, 0);
    cr_assert_eq(check(), 0);
}

Test(feature, each_is_said_when_it_is_first_used_and_for_good) {
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(pin(1, STORE_PIN), 0);
    cr_assert_eq(slot()->ro_compat, SUPER_RO_COMPAT_PINS);
    cr_assert_eq(slot()->incompat, 0);
    put_bundle();
    cr_assert(bundle.committed);
    cr_assert_eq(slot()->incompat, SUPER_INCOMPAT_COMMITS);
    cr_assert_eq(pin(1, STORE_UNPIN), 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    uint64_t sequence = slot()->sequence;
    cr_assert_eq(pin(1, STORE_PIN), 0);
    put_bundle();
    cr_assert_eq(slot()->sequence, sequence, "nothing is written for it again");
    cr_assert_eq(slot()->ro_compat, SUPER_RO_COMPAT_PINS);
    cr_assert_eq(check(), FEATURE_PINS | FEATURE_COMMITS);
}

/* Power goes at every call in turn. */
Test(feature, no_record_is_on_the_disk_before_its_bit) {
    uint32_t seen = 0;
    for (uint32_t at = 1, died = 1; died; at++) {
        rig_end(&rig);
        rig_start(&rig, at);
        cr_assert_eq(rig_open(&rig), 0);
        sim_disk_crash_after(rig.sim, at);
        if (at % 2 == 0) {
            (void)pin(1, STORE_PIN);
        }
        put_bundle();
        (void)pin(2, STORE_PIN);
        died = sim_disk_dead(rig.sim);
        rig_crash(&rig);
        seen |= check();
        cr_assert_eq(rig_open(&rig), 0, "%s", rig.report.why);
        seen |= check();
    }
    cr_assert_eq(seen, FEATURE_PINS | FEATURE_COMMITS);
}

Test(feature, nothing_compressed_is_on_the_disk_before_its_bit) {
    uint32_t seen = 0;
    for (uint32_t at = 0; at < 24; at++) {
        rig_end(&rig);
        rig_start(&rig, at);
        rig.config.tiers = tiers;
        rig.config.tier_count = 2;
        rig.config.compress = STORE_COMPRESS_HDD;
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(slot()->incompat, SUPER_INCOMPAT_TIERS);
        sim_disk_crash_after(rig.sim, at == 0 ? 0 : 380 + at * 4);
        demote();
        rig_crash(&rig);
        uint32_t found = check();
        cr_assert(at > 0 || found == FEATURE_ZSTD);
        seen += found != 0;
    }
    cr_assert_gt(seen, 2);
    cr_assert_lt(seen, 22, "power goes before the first of them too");
}

Test(feature, where_super_cannot_be_written_there_is_no_such_record_and_then_there_is) {
    cr_assert_eq(rig_open(&rig), 0);
    uint64_t from = sim_disk_calls(rig.sim) + 1;
    sim_disk_plan(rig.sim, &(struct sim_plan){SIM_EIO, from, UINT64_MAX, "/s/SUPER"});
    cr_assert_eq(pin(1, STORE_PIN), STORE_READONLY);
    put_bundle();
    cr_assert_not(bundle.committed);
    for (uint32_t i = 0; i < MANY; i++) {
        cr_assert_eq(ops[i].result, STORE_READONLY);
    }
    cr_assert_eq(rig_put(&rig, 7, BYTES), 0, "all else goes on");
    cr_assert_eq(check(), 0);
    sim_disk_plan(rig.sim, &(struct sim_plan){.error = SIM_FINE});
    cr_assert_eq(pin(1, STORE_PIN), 0);
    put_bundle();
    cr_assert(bundle.committed);
    cr_assert_eq(check(), FEATURE_PINS | FEATURE_COMMITS);
}

Test(feature, where_super_cannot_be_written_moves_do_not_try_with_each_block) {
    rig.config.tiers = tiers;
    rig.config.tier_count = 2;
    rig.config.compress = STORE_COMPRESS_HDD;
    cr_assert_eq(rig_open(&rig), 0);
    uint64_t sequence = rig.store->super.slot.sequence;
    sim_disk_plan(rig.sim, &(struct sim_plan){SIM_EIO, 0, UINT64_MAX, "/s/SUPER"});
    demote();
    cr_assert_gt(counter_get(&store_upkeep(rig.store)->moves), 50);
    uint64_t tries = rig.store->super.slot.sequence - sequence;
    cr_assert(tries > 0 && tries < 3, "%lu", tries);
    cr_assert_eq(check(), 0);
}

/* Written by a program that had these records and no bits. */
Test(feature, a_store_that_holds_some_and_does_not_say_so_says_so_from_now_on) {
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(pin(1, STORE_PIN), 0);
    put_bundle();
    rig_close(&rig);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t page[PAGE_BYTES];
        uint64_t bytes = 0;
        memcpy(page, sim_disk_bytes(rig.sim, "/s/SUPER", &bytes) + (size_t)i * PAGE_BYTES,
               PAGE_BYTES);
        struct super_slot *at = (struct super_slot *)(void *)page;
        at->minor = 1;
        at->incompat = at->ro_compat = 0;
        page_seal(page, 0);
        sim_disk_spoil(rig.sim, "/s/SUPER", (uint64_t)i * PAGE_BYTES, page, PAGE_BYTES);
    }
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(slot()->ro_compat, SUPER_RO_COMPAT_PINS);
    cr_assert_eq(slot()->incompat, SUPER_INCOMPAT_COMMITS | SUPER_INCOMPAT_ZSTD);
    cr_assert_eq(slot()->minor, FORMAT_MINOR);
}
