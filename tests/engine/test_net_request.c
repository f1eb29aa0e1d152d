/* SPDX-License-Identifier: MIT */
/* Requests and their replies through a real engine: engine/net_request.c, engine/net_reply.c. */
#include "tests/engine/rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct rig rig;

static void setup(void) {
    rig_init(&rig);
}
static void teardown(void) {
    cr_assert_eq(rig_close(&rig), 0, "every test ends in a clean drain");
}
TestSuite(net_request, .init = setup, .fini = teardown, .timeout = 120);

static struct tlv_request request_of(uint8_t type, uint32_t id) {
    return (struct tlv_request){.type = type, .id = id, .class = TLV_CLASS_DEFAULT};
}

static void store(struct peer *peer, uint32_t id, const struct block *block) {
    peer_put(peer, id, block);
    (void)peer_expect(peer, TLV_DONE, id);
}

/* ---- HELLO */

Test(net_request, hello_is_welcomed_with_class_credits_and_block_limit) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct tlv_reply welcome = peer_hello(&peer, CLASS_HIGH);
    cr_assert_eq(welcome.version, TLV_VERSION);
    cr_assert_eq(welcome.class, CLASS_HIGH);
    cr_assert_eq(welcome.credits, rig.settings.net_credits);
    cr_assert_eq(welcome.block_max, rig.settings.store_block_bytes_max);
    peer_close(&peer);
}

Test(net_request, hello_gets_at_most_the_listeners_ceiling) {
    strncat(rig.settings.tlv_listen, ",ceiling=normal", 32);
    rig_run(&rig);
    static const struct {
        uint8_t asked, got;
    } cases[] = {{CLASS_CRITICAL, CLASS_NORMAL},
                 {CLASS_NORMAL, CLASS_NORMAL},
                 {CLASS_LOW, CLASS_LOW},
                 {TLV_CLASS_DEFAULT, CLASS_NORMAL}};
    for (size_t i = 0; i < array_count(cases); i++) {
        struct peer peer = peer_open(&rig);
        cr_assert_eq(peer_hello(&peer, cases[i].asked).class, cases[i].got);
        peer_close(&peer);
    }
}

Test(net_request, hello_after_the_first_frame_is_refused_and_ends) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct tlv_request ping = request_of(TLV_PING, 5);
    peer_ask(&peer, &ping, NULL);
    (void)peer_expect(&peer, TLV_PONG, 5);
    struct tlv_request hello = {
        .type = TLV_HELLO, .id = 6, .class = CLASS_LOW, .version = TLV_VERSION};
    peer_ask(&peer, &hello, NULL);
    peer_expect_fault(&peer, 6, TLV_CODE_HELLO_LATE);
    peer_expect_end(&peer);
    peer_close(&peer);
}

Test(net_request, another_version_is_refused_and_ends) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct tlv_request hello = {
        .type = TLV_HELLO, .id = 6, .class = CLASS_LOW, .version = TLV_VERSION + 1};
    peer_ask(&peer, &hello, NULL);
    peer_expect_fault(&peer, 6, TLV_CODE_VERSION);
    peer_expect_end(&peer);
    peer_close(&peer);
}

/* Credentials are asked for by no listener yet: their bytes must not be taken for requests. */
Test(net_request, a_hellos_body_is_read_over) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct tlv_request hello = {
        .type = TLV_HELLO, .id = 6, .class = CLASS_LOW, .version = TLV_VERSION, .body_bytes = 4000};
    uint8_t body[4000];
    memset(body, 0xff, sizeof body);
    peer_ask(&peer, &hello, NULL);
    peer_send(&peer, body, sizeof body);
    (void)peer_expect(&peer, TLV_WELCOME, 6);
    struct tlv_request ping = request_of(TLV_PING, 7);
    peer_ask(&peer, &ping, NULL);
    (void)peer_expect(&peer, TLV_PONG, 7);
    peer_close(&peer);
}

/* ---- blocks in and out */

Test(net_request, what_was_put_is_got_byte_for_byte) {
    static const uint32_t sizes[] = {1, 2026, 2027, 4096, 16384, 100000, 1048576, 2097152};
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    (void)peer_hello(&peer, CLASS_CRITICAL);
    for (uint32_t i = 0; i < array_count(sizes); i++) {
        struct block block = block_make(i, sizes[i]);
        store(&peer, 10, &block);
        for (uint32_t again = 0; again < 3; again++) { /* from disk or from memory: the same */
            peer_get(&peer, 20 + again, &block.key);
            peer_expect_value(&peer, 20 + again, &block);
        }
        block_free(&block);
    }
    peer_close(&peer);
}

Test(net_request, a_put_with_an_empty_body_is_complete_at_once) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct block block = block_make(1, 0);
    store(&peer, 3, &block);
    peer_get(&peer, 4, &block.key);
    peer_expect_value(&peer, 4, &block);
    block_free(&block);
    peer_close(&peer);
}

Test(net_request, a_put_that_does_not_match_its_key_stores_nothing) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct block block = block_make(1, 5000);
    block.bytes[4999] ^= 1;
    peer_put(&peer, 3, &block);
    peer_expect_fault(&peer, 3, TLV_CODE_MISMATCH);
    peer_get(&peer, 4, &block.key);
    (void)peer_expect(&peer, TLV_NOT_FOUND, 4);
    block_free(&block);
    peer_close(&peer);
}

Test(net_request, an_oversize_put_is_skipped_and_the_next_request_answered) {
    rig.settings.store_block_bytes_max = 64 * KiB;
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct block large = block_make(1, 64 * KiB + 1), fitting = block_make(2, 64 * KiB);
    peer_put(&peer, 3, &large);
    peer_put(&peer, 4, &fitting);
    peer_expect_fault(&peer, 3, TLV_CODE_TOO_LARGE);
    (void)peer_expect(&peer, TLV_DONE, 4);
    peer_get(&peer, 5, &large.key);
    (void)peer_expect(&peer, TLV_NOT_FOUND, 5);
    block_free(&large);
    block_free(&fitting);
    peer_close(&peer);
}

Test(net_request, a_put_beyond_the_protocols_limit_ends_the_connection) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig), other = peer_open(&rig);
    struct block block = block_make(1, 1);
    struct tlv_request put = request_of(TLV_PUT, 3);
    put.body_bytes = TLV_BLOCK_MAX + 1;
    peer_ask(&peer, &put, &block.key);
    peer_expect_fault(&peer, 3, TLV_CODE_BODY_TOO_LARGE);
    peer_expect_end(&peer);
    store(&other, 4, &block); /* the others are unharmed */
    block_free(&block);
    peer_close(&peer);
    peer_close(&other);
}

Test(net_request, an_unknown_frame_type_ends_the_connection) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    static const uint8_t frame[10] = {0x7f, 8, 0, 0, 0, 9};
    peer_send(&peer, frame, sizeof frame);
    struct tlv_reply reply = peer_reply(&peer);
    cr_assert_eq(reply.type, TLV_FAULT);
    cr_assert_eq(reply.code, TLV_CODE_UNKNOWN_TYPE);
    peer_expect_end(&peer);
    peer_close(&peer);
}

Test(net_request, ranges_are_cut_from_the_block) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct block block = block_make(1, 10000);
    store(&peer, 1, &block);
    static const struct {
        uint32_t offset, length, got;
    } cases[] = {{0, 0, 10000}, {0, 10, 10},        {100, 5000, 5000},
                 {9999, 0, 1},  {9000, 5000, 1000}, {10000, 0, 0}};
    for (uint32_t i = 0; i < array_count(cases); i++) {
        struct tlv_request range = request_of(TLV_GET_RANGE, 100 + i);
        range.offset = cases[i].offset;
        range.length = cases[i].length;
        peer_ask(&peer, &range, &block.key);
        struct tlv_reply value = peer_expect(&peer, TLV_VALUE, 100 + i);
        cr_assert_eq(value.total, 10000);
        cr_assert_eq(value.offset, cases[i].offset);
        cr_assert_eq(peer.body_bytes, cases[i].got);
        cr_assert_eq(memcmp(peer.body, block.bytes + cases[i].offset, cases[i].got), 0);
    }
    struct tlv_request beyond = request_of(TLV_GET_RANGE, 7);
    beyond.offset = 10001;
    peer_ask(&peer, &beyond, &block.key);
    peer_expect_fault(&peer, 7, TLV_CODE_RANGE);
    block_free(&block);
    peer_close(&peer);
}

Test(net_request, a_deleted_block_is_gone_and_may_come_again) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct block block = block_make(1, 3000);
    for (int round = 0; round < 3; round++) {
        store(&peer, 1, &block);
        struct tlv_request request = request_of(TLV_VERIFY, 2);
        peer_ask(&peer, &request, &block.key);
        (void)peer_expect(&peer, TLV_DONE, 2);
        request = request_of(TLV_DELETE, 3);
        peer_ask(&peer, &request, &block.key);
        (void)peer_expect(&peer, TLV_DONE, 3);
        peer_get(&peer, 4, &block.key);
        (void)peer_expect(&peer, TLV_NOT_FOUND, 4);
        peer_ask(&peer, &request, &block.key);
        (void)peer_expect(&peer, TLV_NOT_FOUND, 3);
        request = request_of(TLV_VERIFY, 5);
        peer_ask(&peer, &request, &block.key);
        (void)peer_expect(&peer, TLV_NOT_FOUND, 5);
    }
    block_free(&block);
    peer_close(&peer);
}

/* ---- keys */

Test(net_request, a_key_that_can_never_be_stored_is_refused_by_its_own_code) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    /* GET of keccak-256 (0x1b), of identity (0), and of a digest that is cut. */
    uint8_t unknown[10 + 34] = {TLV_GET, 8 + 34, 0, 0, 0, 1, 255, 0, 0, 0, 0x1b, 32};
    uint8_t identity[10 + 6] = {TLV_GET, 8 + 6, 0, 0, 0, 2, 255, 0, 0, 0, 0, 4};
    uint8_t cut[10 + 20] = {TLV_GET, 8 + 20, 0, 0, 0, 3, 255, 0, 0, 0, 0x12, 32};
    peer_send(&peer, unknown, sizeof unknown);
    peer_expect_fault(&peer, 1, TLV_CODE_UNKNOWN_HASH);
    peer_send(&peer, identity, sizeof identity);
    peer_expect_fault(&peer, 2, TLV_CODE_BAD_KEY);
    peer_send(&peer, cut, sizeof cut);
    peer_expect_fault(&peer, 3, TLV_CODE_BAD_KEY);
    /* The same where a body follows: it is read over. */
    uint8_t put[10 + 8 + 34 + 5] = {TLV_PUT, 8 + 8 + 34, 0, 0,    0, 4, 255, 0, 0,    0,
                                    0,       0,          0, 0x55, 0, 0, 0,   5, 0x1b, 32};
    peer_send(&peer, put, sizeof put);
    peer_expect_fault(&peer, 4, TLV_CODE_UNKNOWN_HASH);
    put[18] = 0x11; /* sha1 with 32 bytes: no such digest */
    peer_send(&peer, put, sizeof put);
    peer_expect_fault(&peer, 4, TLV_CODE_BAD_KEY);
    struct tlv_request ping = request_of(TLV_PING, 9);
    peer_ask(&peer, &ping, NULL);
    (void)peer_expect(&peer, TLV_PONG, 9);
    peer_close(&peer);
}

static void ask_have(struct peer *peer, uint32_t id, uint32_t count, const uint8_t *body,
                     uint32_t bytes) {
    struct tlv_request have = request_of(TLV_HAVE, id);
    have.count = (uint16_t)count;
    have.body_bytes = bytes;
    peer_ask(peer, &have, NULL);
    peer_send(peer, body, bytes);
}

/* One byte for each key, in order; a hash nobody here has says nothing of the keys behind it. */
Test(net_request, have_answers_every_key_whatever_stands_beside_it) {
    enum { ROUNDS = 50 };
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct block here = block_make(1, 100), absent = block_make(2, 100);
    store(&peer, 1, &here);
    static uint8_t body[ROUNDS * 4 * KEY_MULTIHASH_MAX], wanted[ROUNDS * 4];
    static const uint8_t keccak[34] = {0x1b, 32};
    uint32_t bytes = 0, count = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        bytes += (uint32_t)key_write(&here.key, body + bytes);
        wanted[count++] = 1;
        memcpy(body + bytes, keccak, sizeof keccak);
        bytes += (uint32_t)sizeof keccak;
        wanted[count++] = 0;
        bytes += (uint32_t)key_write(&absent.key, body + bytes);
        wanted[count++] = 0;
        bytes += (uint32_t)key_write(&here.key, body + bytes);
        wanted[count++] = 1;
    }
    ask_have(&peer, 8, count, body, bytes);
    struct tlv_reply reply = peer_expect(&peer, TLV_HAVES, 8);
    cr_assert_eq(reply.count, count);
    cr_assert_eq(peer.body_bytes, count);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(peer.body[i], wanted[i], "key %u: %u", i, peer.body[i]);
    }
    block_free(&here);
    block_free(&absent);
    peer_close(&peer);
}

Test(net_request, have_of_what_are_not_that_many_multihashes_is_refused) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct block here = block_make(1, 100);
    uint8_t body[KEY_MULTIHASH_MAX * 2 + 8];
    uint32_t bytes = (uint32_t)key_write(&here.key, body);
    memcpy(body + bytes, body, bytes);
    ask_have(&peer, 1, 2, body, 2 * bytes - 1); /* the last lacks a byte */
    peer_expect_fault(&peer, 1, TLV_CODE_BAD_KEY);
    ask_have(&peer, 2, 3, body, 2 * bytes); /* a key too few */
    peer_expect_fault(&peer, 2, TLV_CODE_BAD_KEY);
    body[2 * bytes] = 0;
    ask_have(&peer, 3, 2, body, 2 * bytes + 1); /* a byte too many */
    peer_expect_fault(&peer, 3, TLV_CODE_BAD_KEY);
    body[bytes + 1] = 200; /* sha2-256 of 200 bytes */
    ask_have(&peer, 4, 2, body, 2 * bytes);
    peer_expect_fault(&peer, 4, TLV_CODE_BAD_KEY);
    memcpy(body + bytes, body, bytes);
    ask_have(&peer, 5, 2, body, 2 * bytes); /* and the connection lives */
    (void)peer_expect(&peer, TLV_HAVES, 5);
    block_free(&here);
    peer_close(&peer);
}

/* ---- LIST and STAT */

Test(net_request, list_pages_name_every_block_once) {
    enum { BLOCKS = 50 };
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    uint32_t seen[BLOCKS] = {0};
    for (uint32_t i = 0; i < BLOCKS; i++) {
        struct block block = block_make(i, 100 + i);
        store(&peer, i, &block);
        block_free(&block);
    }
    uint64_t cursor = 0;
    uint32_t page = 0;
    do { /* 0 asks for the first page, and says that there is no other */
        cr_assert_lt(page, 100, "it never ends");
        struct tlv_request list = request_of(TLV_LIST, page);
        list.cursor = cursor;
        list.count = 7;
        peer_ask(&peer, &list, NULL);
        struct tlv_reply items = peer_expect(&peer, TLV_ITEMS, page);
        cursor = items.cursor;
        uint32_t at = 0;
        for (uint32_t i = 0; i < items.count; i++) {
            struct tlv_item item;
            size_t used;
            cr_assert_eq(tlv_item_read(peer.body + at, peer.body_bytes - at, &item, &used), 0);
            at += (uint32_t)used;
            cr_assert_geq(item.bytes, 100);
            cr_assert_lt(item.bytes, 100 + BLOCKS);
            seen[item.bytes - 100]++;
        }
        cr_assert_eq(at, peer.body_bytes);
        page++;
    } while (cursor != 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(seen[i], 1, "block %u was listed %u times", i, seen[i]);
    }
    peer_close(&peer);
}

Test(net_request, stat_over_the_protocol_is_the_same_document) {
    rig_run(&rig);
    struct peer peer = peer_open(&rig);
    struct tlv_request stat = request_of(TLV_STAT, 3);
    peer_ask(&peer, &stat, NULL);
    (void)peer_expect(&peer, TLV_STATS, 3);
    json_t *document = json_loadb((const char *)peer.body, peer.body_bytes, 0, NULL);
    cr_assert_not_null(document);
    cr_assert_not_null(json_object_get(document, "cores"));
    json_decref(document);
    peer_close(&peer);
}
