/* SPDX-License-Identifier: MIT */
/* TLS's heads; what is common to both kinds is tested through noise.h. */
#include "proto/libp2p/records.h"

#include "tests/proto/secure_rig.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t key[32] = {1}, iv[12] = {2};
static uint8_t record[20000], plain[17000];

static void open_records(struct records *records) {
    memset(records, 0, sizeof *records);
    cr_assert_eq(crypto_open(), 0);
    cr_assert(records_init(records, true));
    cr_assert(crypto_aead_key(&records->open, CRYPTO_AES128_GCM, key, iv, false));
}

static size_t sealed(uint32_t count, uint64_t nonce) {
    struct crypto_aead aead = {0};
    uint32_t length = count + 16;
    const uint8_t head[5] = {23, 3, 3, (uint8_t)(length >> 8), (uint8_t)length};
    memcpy(record, head, 5);
    cr_assert(crypto_aead_init(&aead));
    cr_assert(crypto_aead_key(&aead, CRYPTO_AES128_GCM, key, iv, true));
    aead.nonce = nonce;
    cr_assert(crypto_aead_begin(&aead));
    cr_assert(crypto_aead_associate(&aead, head, 5));
    cr_assert(crypto_aead_turn(&aead, record + 5, plain, count));
    cr_assert(crypto_aead_seal_end(&aead, record + 5 + count));
    crypto_aead_fini(&aead);
    return 5 + length;
}

Test(records, of_tls_open_however_they_are_cut) {
    struct records records;
    struct rig_memory memory;
    uint64_t nonce = 0;
    open_records(&records);
    rig_memory_init(&memory);
    for (size_t i = 0; i < sizeof plain; i++) {
        plain[i] = (uint8_t)(i * 3);
    }
    for (uint32_t bytes = 0; bytes <= 16640 - 16; bytes = bytes * 3 + 1) {
        for (size_t piece = 1; piece < 20000; piece = piece * 4 + 1) {
            size_t count = sealed(bytes, nonce++), used = 0, made = 0;
            const uint8_t *out = plain;
            int r = SECURE_MORE;
            for (size_t at = 0; at < count; at += used) {
                size_t some = piece < count - at ? piece : count - at;
                cr_assert_eq(r, SECURE_MORE);
                r = records_read(&records, &memory.memory, record + at, some, &used, &out, &made);
                cr_assert_eq(used, some);
            }
            cr_assert_eq(r, 0);
            cr_assert_eq(made, bytes);
            cr_assert(bytes == 0 || memcmp(out, plain, bytes) == 0);
        }
    }
    cr_assert_leq(memory.most_bytes, 4096 + 16640);
    records_fini(&records, &memory.memory);
    rig_memory_fini(&memory);
}

static int reads(const char *head) {
    struct records records;
    struct rig_memory memory;
    size_t used = 0, made = 0;
    const uint8_t *out;
    open_records(&records);
    rig_memory_init(&memory);
    int r = records_read(&records, &memory.memory, (const uint8_t *)head, 5, &used, &out, &made);
    records_fini(&records, &memory.memory);
    rig_memory_fini(&memory);
    return r;
}

Test(records, heads_of_another_kind_or_length_are_bad) {
    cr_assert_eq(reads("\x17\x03\x03\x41\x00"), SECURE_MORE);
    cr_assert_eq(reads("\x17\x03\x03\x41\x01"), SECURE_BAD, "over 2^14 + 256");
    cr_assert_eq(reads("\x17\x03\x03\x00\x0f"), SECURE_BAD, "no room for a tag");
    cr_assert_eq(reads("\x16\x03\x03\x00\x40"), SECURE_BAD, "in the clear");
    cr_assert_eq(reads("\x15\x03\x03\x00\x40"), SECURE_BAD, "in the clear");
    cr_assert_eq(reads("\x17\x03\x01\x00\x40"), SECURE_BAD);
    cr_assert_eq(reads("\x17\x02\x03\x00\x40"), SECURE_BAD);
}
