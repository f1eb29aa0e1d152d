/* SPDX-License-Identifier: MIT */
#include "engine/swarm/arrivals.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct arrivals *arrivals;

static void setup(void) {
    arrivals = aligned_alloc(CACHE_PAIR, sizeof *arrivals);
    arrivals_init(arrivals);
}
static void teardown(void) {
    free(arrivals);
}
TestSuite(arrivals, .init = setup, .fini = teardown);

static struct key key_of(uint32_t number) {
    struct key key = {.code = HASH_SHA2_256, .digest_bytes = 32};
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t word = (number + 1) * 2654435761u + i;
        memcpy(key.digest + (size_t)i * sizeof word, &word, sizeof word);
    }
    return key;
}

static void push(uint32_t from, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct key key = key_of(from + i);
        arrivals_push(arrivals, &key);
    }
}

static void expect(uint64_t *cursor, uint32_t from, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct key key, wanted = key_of(from + i);
        cr_assert_eq(arrivals_pop(arrivals, cursor, &key), 0);
        cr_assert(key_equal(&key, &wanted), "key %u", from + i);
    }
}

static void expect_none(uint64_t *cursor) {
    struct key key;
    cr_assert_eq(arrivals_pop(arrivals, cursor, &key), ARRIVALS_NONE);
}

Test(arrivals, keys_come_in_the_order_they_were_pushed) {
    uint64_t cursor = 0;
    expect_none(&cursor);
    push(0, 10);
    expect(&cursor, 0, 10);
    expect_none(&cursor);
    push(10, 3);
    expect(&cursor, 10, 3);
    expect_none(&cursor);
}

Test(arrivals, every_reader_hears_of_every_key) {
    uint64_t one = 0, two = 0;
    push(0, 5);
    expect(&one, 0, 5);
    push(5, 5);
    expect(&two, 0, 10);
    expect(&one, 5, 5);
}

Test(arrivals, a_cursor_at_the_head_hears_of_what_comes_later) {
    push(0, 7);
    uint64_t cursor = arrivals_head(arrivals);
    expect_none(&cursor);
    push(7, 1);
    expect(&cursor, 7, 1);
}

Test(arrivals, a_full_ring_is_read_whole) {
    uint64_t cursor = 0;
    push(0, ARRIVALS_SLOTS);
    expect(&cursor, 0, ARRIVALS_SLOTS);
    expect_none(&cursor);
}

Test(arrivals, a_reader_that_is_a_ring_behind_is_told_once_and_goes_on_from_now) {
    uint64_t cursor = 0;
    push(0, ARRIVALS_SLOTS + 1);
    struct key key;
    cr_assert_eq(arrivals_pop(arrivals, &cursor, &key), ARRIVALS_LOST);
    cr_assert_eq(cursor, arrivals_head(arrivals));
    expect_none(&cursor);
    push(5000, 2);
    expect(&cursor, 5000, 2);
}

Test(arrivals, long_and_short_digests_come_whole) {
    uint64_t cursor = 0;
    struct key keys[] = {{.code = HASH_SHA2_512, .digest_bytes = HASH_DIGEST_MAX},
                         {.code = HASH_SHA2_256, .digest_bytes = 20},
                         {.code = 0xb220, .digest_bytes = 0}};
    memset(keys[0].digest, 0xee, sizeof keys[0].digest);
    memset(keys[1].digest, 0x11, 20);
    for (uint32_t i = 0; i < array_count(keys); i++) {
        arrivals_push(arrivals, &keys[i]);
    }
    for (uint32_t i = 0; i < array_count(keys); i++) {
        struct key key;
        cr_assert_eq(arrivals_pop(arrivals, &cursor, &key), 0);
        cr_assert(key_equal(&key, &keys[i]));
    }
}
