/* SPDX-License-Identifier: MIT */
#include "store/pins.h"

#include "tests/store/rig.h"

#include <criterion/criterion.h>
#include <string.h>

/* What is pinned, through the log and back: store/pins.c, and load.c's part of it. */

static struct rig rig;

static void start(uint64_t seed, uint32_t keepers) {
    rig_start(&rig, seed);
    rig.config.keepers = keepers;
    cr_assert_eq(rig_open(&rig), 0);
}

static struct store_pin pin_of(uint32_t i, uint8_t mode, const char *name) {
    struct store_pin pin = {.codec = 0x70, .mode = mode, .name_bytes = (uint8_t)strlen(name)};
    (void)rig_block(i, 100, &pin.key);
    memcpy(pin.name, name, strlen(name));
    return pin;
}

static int32_t do_pin(const struct store_pin *pin) {
    uint8_t payload[PIN_PAYLOAD_MAX];
    struct store_op op = {.kind = STORE_PIN, .key = pin->key, .codec = pin->codec, .data = payload};
    op.bytes = pin_write(pin, payload);
    return rig_do(&rig, &op);
}

static int32_t pin(uint32_t i, uint8_t mode, const char *name) {
    struct store_pin wanted = pin_of(i, mode, name);
    return do_pin(&wanted);
}

static int32_t unpin(uint32_t i) {
    struct store_op op = {.kind = STORE_UNPIN};
    (void)rig_block(i, 100, &op.key);
    return rig_do(&rig, &op);
}

static uint32_t pin_count(void) {
    uint32_t count = 0;
    for (uint32_t k = 0; k < rig.config.keepers; k++) {
        count += rig.store->keepers[k].pins.count;
    }
    return count;
}

/* Is it pinned so, and under this name? */
static bool is_pinned(const struct store_pin *wanted) {
    uint64_t hash = store_hash(rig.store, &wanted->key);
    const struct pins *pins = &rig.store->keepers[hash_keeper(rig.store, hash)].pins;
    uint32_t cursor = 0;
    struct store_pin found;
    while (cursor != PINS_NONE) {
        if (pins_page(pins, &cursor, &found, 1) == 1 && key_equal(&found.key, &wanted->key)) {
            return found.mode == wanted->mode && found.codec == wanted->codec &&
                   found.name_bytes == wanted->name_bytes &&
                   memcmp(found.name, wanted->name, found.name_bytes) == 0;
        }
    }
    return false;
}

static void expect(uint32_t i, uint8_t mode, const char *name) {
    struct store_pin wanted = pin_of(i, mode, name);
    cr_assert(is_pinned(&wanted), "block %u", i);
}

Test(pins, what_was_pinned_is_pinned_after_a_power_loss_and_after_an_orderly_end) {
    start(1, 1);
    char longest[STORE_PIN_NAME_MAX + 1];
    memset(longest, 'n', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    cr_assert_eq(pin(1, STORE_PIN_RECURSIVE, ""), 0);
    cr_assert_eq(pin(2, STORE_PIN_DIRECT, "two"), 0);
    cr_assert_eq(pin(3, STORE_PIN_RECURSIVE, longest), 0);
    cr_assert_eq(pin(4, STORE_PIN_RECURSIVE, "gone"), 0);
    cr_assert_eq(unpin(4), 0);
    for (uint32_t round = 0; round < 4; round++) {
        if (round % 2 == 0) {
            rig_mark(&rig);
            rig_crash(&rig);
        } else {
            rig_close(&rig);
        }
        rig.config.keepers = 1 + round; /* any number opens it */
        cr_assert_eq(rig_open(&rig), 0);
        cr_assert_eq(pin_count(), 3, "round %u", round);
        expect(1, STORE_PIN_RECURSIVE, "");
        expect(2, STORE_PIN_DIRECT, "two");
        expect(3, STORE_PIN_RECURSIVE, longest);
        cr_assert_eq(rig.report.blocks, 0, "a pin is no block");
        cr_assert_eq(rig.report.corrupt_ranges, 0);
    }
    rig_end(&rig);
}

Test(pins, the_last_word_about_a_key_counts) {
    start(2, 2);
    cr_assert_eq(unpin(1), STORE_ABSENT, "it never was");
    cr_assert_eq(pin(1, STORE_PIN_DIRECT, "a"), 0);
    cr_assert_eq(pin(1, STORE_PIN_DIRECT, "b"), 0, "another name");
    cr_assert_eq(pin(1, STORE_PIN_RECURSIVE, "b"), 0, "an upgrade");
    cr_assert_eq(pin(1, STORE_PIN_DIRECT, "b"), STORE_PINNED, "no way down but by unpin");
    expect(1, STORE_PIN_RECURSIVE, "b");
    cr_assert_eq(unpin(1), 0);
    cr_assert_eq(unpin(1), STORE_ABSENT);
    cr_assert_eq(pin(1, STORE_PIN_DIRECT, "c"), 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    expect(1, STORE_PIN_DIRECT, "c");
    cr_assert_eq(unpin(1), 0, "of an earlier start");
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(pin_count(), 0);
    rig_end(&rig);
}

Test(pins, the_same_pin_again_writes_nothing) {
    start(3, 1);
    cr_assert_eq(pin(1, STORE_PIN_RECURSIVE, "x"), 0);
    uint64_t lsn = rig.store->keepers[0].log.next_lsn;
    cr_assert_eq(pin(1, STORE_PIN_RECURSIVE, "x"), 0);
    cr_assert_eq(pin(1, STORE_PIN_RECURSIVE, ""), 0, "no name leaves the one it has");
    expect(1, STORE_PIN_RECURSIVE, "x");
    cr_assert_eq(rig.store->keepers[0].log.next_lsn, lsn);
    rig_end(&rig);
}

Test(pins, a_delete_is_no_unpin_and_an_unpin_no_delete) {
    start(4, 1);
    cr_assert_eq(rig_put(&rig, 1, 100), 0);
    cr_assert_eq(pin(1, STORE_PIN_DIRECT, ""), 0);
    cr_assert_eq(unpin(1), 0);
    cr_assert_eq(rig_put(&rig, 2, 100), 0);
    cr_assert_eq(pin(2, STORE_PIN_DIRECT, ""), 0);
    cr_assert_eq(rig_delete(&rig, 2, 100), 0);
    rig_close(&rig);
    cr_assert_eq(rig_open(&rig), 0);
    cr_assert_eq(rig_get(&rig, 1, 100), 0);
    cr_assert_eq(rig_get(&rig, 2, 100), STORE_ABSENT);
    expect(2, STORE_PIN_DIRECT, "");
    rig_end(&rig);
}

Test(pins, a_full_table_takes_no_more_and_a_failed_one_gives_its_place_back) {
    start(5, 1);
    struct pins *pins = &rig.store->keepers[0].pins;
    pins->admitted_max = 2;
    cr_assert_eq(pin(1, STORE_PIN_DIRECT, ""), 0);
    cr_assert_eq(pin(2, STORE_PIN_DIRECT, ""), 0);
    cr_assert_eq(pin(3, STORE_PIN_DIRECT, ""), STORE_FULL);
    cr_assert_eq(pin(1, STORE_PIN_RECURSIVE, ""), 0, "one that has its place");
    cr_assert_eq(unpin(2), 0);
    cr_assert_eq(pin(3, STORE_PIN_DIRECT, ""), 0);
    cr_assert_eq(unpin(3), 0);
    rig.store->keepers[0].log.read_only = true;
    cr_assert_eq(pin(4, STORE_PIN_DIRECT, ""), STORE_READONLY);
    cr_assert_eq(pins->reserved, 0);
    rig_end(&rig);
}

Test(pins, a_list_in_pages_misses_none_that_stays) {
    start(6, 1);
    const struct pins *pins = &rig.store->keepers[0].pins;
    for (uint32_t i = 0; i < 50; i++) {
        cr_assert_eq(pin(i, STORE_PIN_DIRECT, ""), 0);
    }
    bool seen[50] = {false};
    uint32_t cursor = 0;
    for (uint32_t at = 0; cursor != PINS_NONE; at++) {
        struct store_pin page[7];
        uint32_t count = pins_page(pins, &cursor, page, 7);
        for (uint32_t n = 0; n < count; n++) {
            uint32_t i = 0;
            for (; i < 50; i++) {
                struct store_pin one = pin_of(i, STORE_PIN_DIRECT, "");
                if (key_equal(&one.key, &page[n].key)) {
                    break;
                }
            }
            cr_assert(i < 50 && !seen[i], "once each");
            seen[i] = true;
        }
        (void)unpin(at); /* and others go meanwhile */
    }
    for (uint32_t i = 10; i < 50; i++) {
        cr_assert(seen[i], "pin %u", i);
    }
    rig_end(&rig);
}

Test(pins, a_record_counts_until_there_is_a_later_word) {
    start(7, 1);
    struct store_pin one = pin_of(1, STORE_PIN_DIRECT, "a");
    uint64_t hash = store_hash(rig.store, &one.key);
    cr_assert_eq(do_pin(&one), 0);
    const struct pins *pins = &rig.store->keepers[0].pins;
    uint64_t first = pins_find(pins, hash, &one.key)->birth_lsn;
    cr_assert(pins_record_live(rig.store, hash, first));
    cr_assert_eq(pin(1, STORE_PIN_RECURSIVE, "b"), 0);
    uint64_t second = pins_find(pins, hash, &one.key)->birth_lsn;
    cr_assert_gt(second, first);
    cr_assert(!pins_record_live(rig.store, hash, first));
    cr_assert(pins_record_live(rig.store, hash, second));
    cr_assert_eq(unpin(1), 0);
    cr_assert(!pins_record_live(rig.store, hash, second));
    rig.store->keepers[0].pins.sequence++; /* as in the midst of a change */
    cr_assert(pins_record_live(rig.store, hash, second), "it cannot tell");
    rig.store->keepers[0].pins.sequence++;
    rig_end(&rig);
}

static uint64_t record_offset(const char *name, uint8_t type) {
    uint64_t bytes = 0;
    const uint8_t *platter = sim_disk_bytes(rig.sim, name, &bytes);
    for (uint64_t at = PAGE_BYTES; at + RECORD_FIXED <= bytes; at += RECORD_UNIT) {
        const struct record_header *header = (const void *)(platter + at);
        if (header->magic == RECORD_MAGIC && header->type == type) {
            return at;
        }
    }
    cr_assert_fail("no such record");
    return 0;
}

static const char *first_segment(void) {
    for (uint32_t n = 0;; n++) {
        const char *name = sim_disk_name(rig.sim, n);
        cr_assert_not_null(name);
        if (strstr(name, ".seg")) {
            return name;
        }
    }
}

Test(pins, a_damaged_record_pins_more_rather_than_less) {
    start(8, 1);
    cr_assert_eq(pin(1, STORE_PIN_DIRECT, "name"), 0);
    rig_close(&rig);
    const char *name = first_segment();
    uint64_t at = record_offset(name, RECORD_PIN) + record_header_bytes(34);
    sim_disk_spoil(rig.sim, name, at + 9, "X", 1);
    cr_assert_eq(rig_open(&rig), 0);
    expect(1, STORE_PIN_RECURSIVE, "");
    rig_end(&rig);
}

Test(pins, a_payload_that_is_none_is_refused) {
    struct store_pin out;
    uint8_t bytes[PIN_PAYLOAD_MAX];
    struct store_pin in = pin_of(1, STORE_PIN_DIRECT, "abc");
    uint32_t count = pin_write(&in, bytes);
    cr_assert_eq(count, 11);
    cr_assert_eq(pin_read(bytes, count, &out), 0);
    cr_assert_str_eq(out.name, "abc");
    cr_assert_eq(pin_read(bytes, count - 1, &out), FORMAT_BAD);
    cr_assert_eq(pin_read(bytes, 7, &out), FORMAT_BAD);
    bytes[0] = 3;
    cr_assert_eq(pin_read(bytes, count, &out), FORMAT_BAD);
}
