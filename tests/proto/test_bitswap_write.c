/* SPDX-License-Identifier: MIT */
/* proto/bitswap/bitswap_write.c: what is written has the size that was announced, and reads back
 * the same. */

#include "proto/bitswap/bitswap.h"

#include "tests/proto/bitswap_story.h"

#include <criterion/criterion.h>

#define DIGEST "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define CID    "01551220" DIGEST

static const struct bitswap_form raw = {CID_RAW, 1}, version_0 = {CID_DAG_PB, 0};

static struct key key_of(uint16_t code, uint8_t digest_bytes) {
    struct key key = {.code = code, .digest_bytes = digest_bytes};
    cr_assert_eq(hash_compute(code, "hello", 5, key.digest, digest_bytes), 0);
    return key;
}

static void is_hex(const uint8_t *bytes, size_t count, const char *hex) {
    char text[1024];
    cr_assert_lt(2 * count, sizeof text);
    for (size_t i = 0; i < count; i++) {
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    }
    cr_assert_str_eq(text, hex);
}

Test(bitswap_write, empty_list_and_length) {
    uint8_t out[8];
    cr_assert_eq(bitswap_put_empty_list(out), BITSWAP_EMPTY_LIST_BYTES);
    is_hex(out, 2, "0a00");
    is_hex(out, bitswap_put_length(2, out), "02");
    is_hex(out, bitswap_put_length(BITSWAP_MESSAGE_MAX, out), "80808002");
    cr_assert_eq(bitswap_put_length(BITSWAP_MESSAGE_MAX, out), BITSWAP_LENGTH_MAX);
}

Test(bitswap_write, entries_leave_out_what_is_zero) {
    uint8_t out[128];
    struct bitswap_want want = {.key = key_of(HASH_SHA2_256, 32), .form = raw};
    is_hex(out, bitswap_put_entry(&want, out), "0a260a24" CID);
    want.priority = 1;
    want.send_dont_have = true;
    is_hex(out, bitswap_put_entry(&want, out), "0a2a0a24" CID "10012801");
    want.priority = -1;
    want.cancel = true;
    want.have = true;
    is_hex(out, bitswap_put_entry(&want, out), "0a370a24" CID "10ffffffffffffffffff01180120012801");
    want = (struct bitswap_want){.key = want.key, .form = version_0};
    is_hex(out, bitswap_put_entry(&want, out), "0a240a221220" DIGEST);
}

Test(bitswap_write, list_with_full_is_as_helia_means_it) {
    uint8_t out[128];
    struct bitswap_want want = {
        .key = key_of(HASH_SHA2_256, 32), .form = raw, .priority = 1, .have = true};
    size_t used = bitswap_put_list_head((uint32_t)bitswap_entry_size(&want), true, out);
    used += bitswap_put_entry(&want, out + used);
    used += bitswap_put_full(out + used);
    is_hex(out, used, "0a2e0a2a0a24" CID "100120011001");
}

Test(bitswap_write, block_and_presences_are_as_helia_writes_them) {
    uint8_t out[BITSWAP_PRESENCE_MAX], head[BITSWAP_BLOCK_HEAD_MAX];
    struct key key = key_of(HASH_SHA2_256, 32);
    is_hex(head, bitswap_put_block_head(&key, &raw, 5, head), "1a0d0a04015512201205");
    cr_assert_eq(bitswap_block_size(&key, &raw, 5), 15);
    is_hex(head, bitswap_put_block_head(&key, &version_0, 5, head), "1a0d0a04007012201205");
    is_hex(out, bitswap_put_presence(&key, &raw, true, out), "22260a24" CID);
    is_hex(out, bitswap_put_presence(&key, &raw, false, out), "22280a24" CID "1001");
    is_hex(out, bitswap_put_presence(&key, &version_0, false, out), "22260a221220" DIGEST "1001");
    is_hex(head, bitswap_put_block_head_100(300, head), "12ac02");
    cr_assert_eq(bitswap_block_size_100(300), 303);
}

/* One message with everything in it, for every hash and form we can name. */
struct pair {
    uint16_t code;
    uint8_t digest_bytes;
    struct bitswap_form form;
};

static const struct pair pairs[] = {
    {HASH_SHA2_256, 32, {CID_RAW, 1}},       {HASH_SHA2_256, 32, {CID_DAG_PB, 0}},
    {HASH_SHA2_256, 20, {CID_DAG_CBOR, 1}},  {HASH_SHA2_512, 64, {CID_DAG_JSON, 1}},
    {HASH_BLAKE2B_256, 32, {CID_DAG_PB, 1}}, {HASH_SHA1, 20, {0x78, 1}},
    {HASH_BLAKE2B_512, 64, {UINT32_MAX, 1}},
};

static const int32_t priorities[] = {0, 1, 127, 128, INT32_MAX, -1, INT32_MIN};

static size_t list_put(struct bitswap_story *expected, uint32_t variant, uint8_t *out) {
    struct bitswap_want wants[array_count(pairs)];
    uint32_t entries_bytes = 0;
    for (uint32_t i = 0; i < array_count(pairs); i++) {
        wants[i] = (struct bitswap_want){.key = key_of(pairs[i].code, pairs[i].digest_bytes),
                                         .form = pairs[i].form,
                                         .priority = priorities[(i + variant) % 7],
                                         .cancel = variant & 1,
                                         .have = variant & 2,
                                         .send_dont_have = variant & 4};
        entries_bytes += (uint32_t)bitswap_entry_size(&wants[i]);
    }
    size_t used = bitswap_put_list_head(entries_bytes, variant & 8, out), head = used;
    for (uint32_t i = 0; i < array_count(pairs); i++) {
        size_t bytes = bitswap_put_entry(&wants[i], out + used);
        cr_assert_eq(bytes, bitswap_entry_size(&wants[i]));
        used += bytes;
        bitswap_say_event(expected, BITSWAP_WANT, &(struct bitswap_step){.want = wants[i]});
    }
    cr_assert_eq(used - head, entries_bytes);
    return variant & 8 ? used + bitswap_put_full(out + used) : used;
}

static size_t block_put(struct bitswap_story *expected, const struct pair *pair, uint32_t bytes,
                        uint8_t *out) {
    struct key key = key_of(pair->code, pair->digest_bytes);
    size_t used = bitswap_put_block_head(&key, &pair->form, bytes, out);
    cr_assert_leq(used, BITSWAP_BLOCK_HEAD_MAX);
    cr_assert_eq(used + bytes, bitswap_block_size(&key, &pair->form, bytes));
    memset(out + used, 'x', bytes);
    struct bitswap_step step = {.block_bytes = bytes};
    bitswap_say_event(expected, BITSWAP_BLOCK, &step);
    step.bytes = out + used;
    step.count = bytes;
    if (bytes > 0) {
        bitswap_say_event(expected, BITSWAP_DATA, &step);
    }
    step.prefix = (struct bitswap_prefix){pair->form, pair->code, pair->digest_bytes, true};
    bitswap_say_event(expected, BITSWAP_BLOCK_END, &step);
    return used + bytes;
}

static size_t presence_put(struct bitswap_story *expected, const struct pair *pair, bool have,
                           uint8_t *out) {
    struct bitswap_step step = {
        .presence = {key_of(pair->code, pair->digest_bytes), pair->form, have}};
    bitswap_say_event(expected, BITSWAP_PRESENCE, &step);
    return bitswap_put_presence(&step.presence.key, &pair->form, have, out);
}

Test(bitswap_write, what_is_written_reads_back_the_same) {
    static uint8_t out[1 << 14], message[1 << 14];
    static struct bitswap_story expected, read;
    for (uint32_t variant = 0; variant < 16; variant++) {
        expected = (struct bitswap_story){.used = 0};
        size_t used = list_put(&expected, variant, out);
        for (uint32_t i = 0; i < array_count(pairs); i++) {
            used += block_put(&expected, &pairs[i], 150 * i, out + used);
            used += presence_put(&expected, &pairs[i], i & 1, out + used);
        }
        if (variant & 8) {
            bitswap_say_event(&expected, BITSWAP_FULL, NULL);
        }
        bitswap_say_event(&expected, BITSWAP_END, NULL);
        size_t length = bitswap_put_length((uint32_t)used, message);
        memcpy(message + length, out, used);
        bitswap_story_read(&read, message, length + used, variant + 1, variant + 1);
        char *behind_begin = strchr(read.text, '\n');
        cr_assert(behind_begin);
        cr_assert_str_eq(behind_begin + 1, expected.text);
        cr_assert_eq(read.skipped, 0);
    }
}
