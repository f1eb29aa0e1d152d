/* SPDX-License-Identifier: MIT */
#include "tools/load/content.h"

#include "base/hash.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct content content;

static void made(uint32_t bytes) {
    cr_assert_eq(hash_open(), 0);
    cr_assert_eq(content_open(&content, 200, bytes, 9, true), 0);
}

Test(load_content, digests_are_those_of_the_copied_blocks) {
    made(1000);
    uint8_t block[1000], digest[32];
    for (uint64_t i = 0; i < 200; i++) {
        content_copy(&content, i, block);
        cr_assert_eq(hash_compute(HASH_SHA2_256, block, sizeof block, digest, 32), 0);
        cr_assert_arr_eq(digest, content_digest(&content, i), 32);
    }
    content_close(&content);
}

Test(load_content, blocks_of_eight_bytes_all_differ) {
    made(8);
    uint64_t seen[200];
    for (uint64_t i = 0; i < 200; i++) {
        content_copy(&content, i, (uint8_t *)&seen[i]);
        for (uint64_t j = 0; j < i; j++) {
            cr_assert_neq(seen[i], seen[j]);
        }
    }
    content_close(&content);
}

Test(load_content, any_range_of_a_block_is_recognised_and_no_other_byte_is) {
    made(100);
    uint8_t block[100];
    for (uint32_t offset = 0; offset < 100; offset++) {
        for (uint32_t count = 0; count <= 100 - offset; count += 7) {
            content_copy(&content, 5, block);
            cr_assert(content_equal(&content, 5, offset, block + offset, count));
            if (count > 0) {
                block[offset + count / 2] ^= 1;
                cr_assert_not(content_equal(&content, 5, offset, block + offset, count));
            }
        }
    }
    cr_assert_not(content_equal(&content, 5, 90, block + 90, 11), "past the end is not the block");
    content_close(&content);
}

Test(load_content, stamp_and_tail_together_are_the_block) {
    made(300);
    uint8_t block[300], stamp[16];
    content_copy(&content, 7, block);
    cr_assert_eq(content_stamp(&content, 7, stamp), 16);
    cr_assert_arr_eq(block, stamp, 16);
    cr_assert_arr_eq(block + 16, content_tail(&content, 7), 284);
    content_close(&content);
}
