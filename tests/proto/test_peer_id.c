/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/peer_id.h"

#include "base/hash.h"
#include "base/multibase.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

/* The Ed25519 key of libp2p's own vectors, and its name in every form. */
static const char key_hex[] =
    "080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e";
static const char id_text[] = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
static const char *const id_forms[] = {
    "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
    "bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6",
    "BAFZAAJAIAEJCAHWR5D5OFRFBIS4L5D6UWR57HU5TJODRYPFM6YAQ6DSC2R2PZYT6",
    "k51qzi5uqu5dgy8qsq67hbz73jqkw87l3fgf4a91qb0d9b5173tir7n4vxk1oe",
    "z5AanNVJCxnGuh8TJu4nye3dE3NbxAd8FB9cr46uVagyFPuibMxok2R",
    "f01720024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e",
};

static size_t unhex(const char *text, uint8_t *out, size_t room) {
    size_t count;
    cr_assert_eq(multibase_read('f', text, strlen(text), out, room, &count), 0);
    return count;
}

Test(peer_id, a_short_key_is_its_own_name) {
    uint8_t key[64];
    char text[PEER_ID_TEXT_MAX];
    struct peer_id id;
    size_t count = unhex(key_hex, key, sizeof key);
    cr_assert_eq(count, 36);
    cr_assert_eq(peer_id_of_key(key, count, &id), 0);
    cr_assert_eq(id.count, 38);
    cr_assert_eq(memcmp(id.bytes, "\x00\x24", 2), 0);
    cr_assert_eq(memcmp(id.bytes + 2, key, count), 0);
    cr_assert_eq(peer_id_format(&id, text), strlen(id_text));
    cr_assert_str_eq(text, id_text);
}

Test(peer_id, every_text_form_names_the_same_peer) {
    uint8_t key[64];
    struct peer_id id, other;
    size_t count = unhex(key_hex, key, sizeof key);
    cr_assert_eq(peer_id_of_key(key, count, &id), 0);
    for (size_t i = 0; i < array_count(id_forms); i++) {
        cr_assert_eq(peer_id_parse(id_forms[i], &other), 0, "%s", id_forms[i]);
        cr_assert(peer_id_equal(&id, &other), "%s", id_forms[i]);
    }
}

/* A key as RSA's are: long. What it holds is no matter here. */
static size_t long_key(uint8_t *key, size_t data) {
    size_t count = 0;
    key[count++] = 0x08;
    key[count++] = 0x00;
    key[count++] = 0x12;
    if (data >= 128) {
        key[count++] = (uint8_t)(0x80u | (data & 0x7f));
        key[count++] = (uint8_t)(data >> 7);
    } else {
        key[count++] = (uint8_t)data;
    }
    memset(key + count, 0xab, data);
    return count + data;
}

Test(peer_id, a_long_key_is_named_by_its_hash) {
    uint8_t key[512], digest[32];
    char text[PEER_ID_TEXT_MAX];
    struct peer_id id, again;
    size_t count = long_key(key, 294);
    cr_assert_eq(peer_id_of_key(key, count, &id), 0);
    cr_assert_eq(hash_compute(HASH_SHA2_256, key, count, digest, 32), 0);
    cr_assert_eq(id.count, 34);
    cr_assert_eq(memcmp(id.bytes, "\x12\x20", 2), 0);
    cr_assert_eq(memcmp(id.bytes + 2, digest, 32), 0);
    cr_assert_eq(peer_id_format(&id, text), 46);
    cr_assert_eq(strncmp(text, "Qm", 2), 0);
    cr_assert_eq(peer_id_parse(text, &again), 0);
    cr_assert(peer_id_equal(&id, &again));
}

Test(peer_id, forty_two_bytes_are_carried_and_forty_three_hashed) {
    uint8_t key[64];
    struct peer_id id;
    cr_assert_eq(long_key(key, 38), 42);
    cr_assert_eq(peer_id_of_key(key, 42, &id), 0);
    cr_assert_eq(id.count, PEER_ID_MAX);
    cr_assert_eq(id.bytes[0], 0);
    cr_assert_eq(long_key(key, 39), 43);
    cr_assert_eq(peer_id_of_key(key, 43, &id), 0);
    cr_assert_eq(id.bytes[0], 0x12);
}

Test(peer_id, a_key_spelt_otherwise_would_have_a_second_name_and_has_none) {
    static const char *const odd[] = {
        "",
        "0801",
        "08011200",     /* no key in it */
        "0801120201",   /* cut off */
        "0801120101ff", /* bytes behind it */
        "0801120101"
        "1a0101",       /* a field more */
        "1201010801",   /* data first */
        "088100120101", /* type spelt long */
        "080112810001", /* length spelt long */
        "0801080112",   /* type twice */
        "0a0101120101", /* a type that is bytes */
    };
    for (size_t i = 0; i < array_count(odd); i++) {
        uint8_t key[64];
        struct peer_id id;
        size_t count = unhex(odd[i], key, sizeof key);
        cr_assert_eq(peer_id_of_key(key, count, &id), PEER_ID_BAD, "%s", odd[i]);
    }
    static uint8_t large[4200];
    struct peer_id id;
    cr_assert_eq(peer_id_of_key(large, long_key(large, 4091), &id), 0);
    cr_assert_eq(peer_id_of_key(large, long_key(large, 4092), &id), PEER_ID_BAD);
}

Test(peer_id, only_identity_and_sha2_256_name_peers) {
    uint8_t bytes[64] = {0x12, 0x20};
    struct peer_id id;
    cr_assert_eq(peer_id_read(bytes, 34, &id), 0);
    cr_assert_eq(peer_id_read(bytes, 33, &id), PEER_ID_BAD);
    cr_assert_eq(peer_id_read(bytes, 35, &id), PEER_ID_BAD);
    bytes[0] = 0x16;
    cr_assert_eq(peer_id_read(bytes, 34, &id), PEER_ID_BAD);
    bytes[0] = 0x12;
    bytes[1] = 0x14;
    cr_assert_eq(peer_id_read(bytes, 22, &id), PEER_ID_BAD);
    bytes[0] = 0;
    bytes[1] = 0;
    cr_assert_eq(peer_id_read(bytes, 2, &id), PEER_ID_BAD);
    bytes[1] = 42;
    cr_assert_eq(peer_id_read(bytes, 44, &id), 0);
    bytes[1] = 43;
    cr_assert_eq(peer_id_read(bytes, 45, &id), PEER_ID_BAD);
    cr_assert_eq(peer_id_read(bytes, 0, &id), PEER_ID_BAD);
}

Test(peer_id, text_of_other_things_is_refused) {
    static const char *const odd[] = {
        "",
        "1",
        "Qm",
        "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWKJ",         /* cut off */
        "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3p", /* likewise */
        "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3p0",
        "bafkreifzjut3te7nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", /* a block's */
        "/ipfs/bafzaajaiaejcahwr5d5ofrfbis4l5d6uwr57hu5tjodrypfm6yaq6dsc2r2pzyt6",
        "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq ",
        "f017200",
    };
    for (size_t i = 0; i < array_count(odd); i++) {
        struct peer_id id = {.count = 9};
        cr_assert_eq(peer_id_parse(odd[i], &id), PEER_ID_BAD, "%s", odd[i]);
        cr_assert_eq(id.count, 9);
    }
    char text[200];
    struct peer_id id;
    memset(text, '1', sizeof text);
    text[sizeof text - 1] = 0;
    cr_assert_eq(peer_id_parse(text, &id), PEER_ID_BAD);
    text[60] = 0;
    cr_assert_eq(peer_id_parse(text, &id), PEER_ID_BAD);
}

Test(peer_id, nobody_has_no_text_and_equals_only_nobody) {
    struct peer_id nobody = {0}, id;
    char text[PEER_ID_TEXT_MAX] = "x";
    cr_assert_eq(peer_id_format(&nobody, text), 0);
    cr_assert_str_empty(text);
    cr_assert_eq(peer_id_parse(id_text, &id), 0);
    cr_assert_not(peer_id_equal(&nobody, &id));
    struct peer_id other = id;
    other.bytes[id.count - 1] ^= 1;
    cr_assert_not(peer_id_equal(&other, &id));
}
