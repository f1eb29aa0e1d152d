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

static void store(struct caller *caller, uint32_t id, const struct block *block) {
    caller_put(caller, id, block);
    (void)caller_expect(caller, TLV_DONE, id);
}

/* ---- HELLO */

Test(net_request, hello_is_welcomed_with_class_credits_and_block_limit) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct tlv_reply welcome = caller_hello(&caller, CLASS_HIGH);
    cr_assert_eq(welcome.version, TLV_VERSION);
    cr_assert_eq(welcome.class, CLASS_HIGH);
    cr_assert_eq(welcome.credits, rig.settings.net_credits);
    cr_assert_eq(welcome.block_max, rig.settings.store_block_bytes_max);
    caller_close(&caller);
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
        struct caller caller = caller_open(&rig);
        cr_assert_eq(caller_hello(&caller, cases[i].asked).class, cases[i].got);
        caller_close(&caller);
    }
}

Test(net_request, hello_after_the_first_frame_is_refused_and_ends) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct tlv_request ping = request_of(TLV_PING, 5);
    caller_ask(&caller, &ping, NULL);
    (void)caller_expect(&caller, TLV_PONG, 5);
    struct tlv_request hello = {
        .type = TLV_HELLO, .id = 6, .class = CLASS_LOW, .version = TLV_VERSION};
    caller_ask(&caller, &hello, NULL);
    caller_expect_fault(&caller, 6, TLV_CODE_HELLO_LATE);
    caller_expect_end(&caller);
    caller_close(&caller);
}

Test(net_request, another_version_is_refused_and_ends) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct tlv_request hello = {
        .type = TLV_HELLO, .id = 6, .class = CLASS_LOW, .version = TLV_VERSION + 1};
    caller_ask(&caller, &hello, NULL);
    caller_expect_fault(&caller, 6, TLV_CODE_VERSION);
    caller_expect_end(&caller);
    caller_close(&caller);
}

/* Credentials are asked for by no listener yet: their bytes must not be taken for requests. */
Test(net_request, a_hellos_body_is_read_over) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct tlv_request hello = {
        .type = TLV_HELLO, .id = 6, .class = CLASS_LOW, .version = TLV_VERSION, .body_bytes = 4000};
    uint8_t body[4000];
    memset(body, 0xff, sizeof body);
    caller_ask(&caller, &hello, NULL);
    caller_send(&caller, body, sizeof body);
    (void)caller_expect(&caller, TLV_WELCOME, 6);
    struct tlv_request ping = request_of(TLV_PING, 7);
    caller_ask(&caller, &ping, NULL);
    (void)caller_expect(&caller, TLV_PONG, 7);
    caller_close(&caller);
}

/* ---- blocks in and out */

Test(net_request, what_was_put_is_got_byte_for_byte) {
    static const uint32_t sizes[] = {1, 2026, 2027, 4096, 16384, 100000, 1048576, 2097152};
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    (void)caller_hello(&caller, CLASS_CRITICAL);
    for (uint32_t i = 0; i < array_count(sizes); i++) {
        struct block block = block_make(i, sizes[i]);
        store(&caller, 10, &block);
        for (uint32_t again = 0; again < 3; again++) { /* from disk or from memory: the same */
            caller_get(&caller, 20 + again, &block.key);
            caller_expect_value(&caller, 20 + again, &block);
        }
        block_free(&block);
    }
    caller_close(&caller);
}

Test(net_request, a_put_with_an_empty_body_is_complete_at_once) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block block = block_make(1, 0);
    store(&caller, 3, &block);
    caller_get(&caller, 4, &block.key);
    caller_expect_value(&caller, 4, &block);
    block_free(&block);
    caller_close(&caller);
}

Test(net_request, a_put_that_does_not_match_its_key_stores_nothing) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block block = block_make(1, 5000);
    block.bytes[4999] ^= 1;
    caller_put(&caller, 3, &block);
    caller_expect_fault(&caller, 3, TLV_CODE_MISMATCH);
    caller_get(&caller, 4, &block.key);
    (void)caller_expect(&caller, TLV_NOT_FOUND, 4);
    block_free(&block);
    caller_close(&caller);
}

Test(net_request, an_oversize_put_is_skipped_and_the_next_request_answered) {
    rig.settings.store_block_bytes_max = 64 * KiB;
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block large = block_make(1, 64 * KiB + 1), fitting = block_make(2, 64 * KiB);
    caller_put(&caller, 3, &large);
    caller_put(&caller, 4, &fitting);
    caller_expect_fault(&caller, 3, TLV_CODE_TOO_LARGE);
    (void)caller_expect(&caller, TLV_DONE, 4);
    caller_get(&caller, 5, &large.key);
    (void)caller_expect(&caller, TLV_NOT_FOUND, 5);
    block_free(&large);
    block_free(&fitting);
    caller_close(&caller);
}

Test(net_request, a_put_beyond_the_protocols_limit_ends_the_connection) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig), other = caller_open(&rig);
    struct block block = block_make(1, 1);
    struct tlv_request put = request_of(TLV_PUT, 3);
    put.body_bytes = TLV_BLOCK_MAX + 1;
    caller_ask(&caller, &put, &block.key);
    caller_expect_fault(&caller, 3, TLV_CODE_BODY_TOO_LARGE);
    caller_expect_end(&caller);
    store(&other, 4, &block); /* the others are unharmed */
    block_free(&block);
    caller_close(&caller);
    caller_close(&other);
}

Test(net_request, an_unknown_frame_type_ends_the_connection) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    static const uint8_t frame[10] = {0x7f, 8, 0, 0, 0, 9};
    caller_send(&caller, frame, sizeof frame);
    struct tlv_reply reply = caller_reply(&caller);
    cr_assert_eq(reply.type, TLV_FAULT);
    cr_assert_eq(reply.code, TLV_CODE_UNKNOWN_TYPE);
    caller_expect_end(&caller);
    caller_close(&caller);
}

/* What was put aside for it goes at the end, and the last of it once put a connection that was
 * being freed on the list of those that wait. */
Test(net_request, who_breaks_the_protocol_with_answers_put_aside_and_goes_is_freed_once) {
    enum { BYTES = 300000, GETS = 60, ROUNDS = 8 };
    uint8_t frames[GETS * TLV_REQUEST_MAX] = {0};
    size_t used = 0;
    rig.settings.net_output_bytes_max = 1 * MiB;
    rig_run(&rig);
    struct caller other = caller_open(&rig);
    struct block block = block_make(1, BYTES);
    store(&other, 1, &block);
    for (uint32_t i = 0; i < GETS - 1; i++) {
        struct tlv_request get = request_of(TLV_GET, i);
        used += tlv_request_write(&get, &block.key, frames + used);
    }
    frames[used] = 0xff; /* read with the rest, before any of it is answered */
    used += 2;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t deferred = rig_net_counter(&rig, "deferred");
        uint64_t faults = rig_net_counter(&rig, "bad_frames");
        struct caller caller = caller_open(&rig);
        int small = 4096;
        cr_assert_eq(setsockopt(caller.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
        caller_send(&caller, frames, used);
        while (rig_net_counter(&rig, "deferred") == deferred ||
               rig_net_counter(&rig, "bad_frames") == faults) {
        }
        struct linger reset = {.l_onoff = 1};
        cr_assert_eq(setsockopt(caller.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        caller_close(&caller);
        caller_get(&other, 100 + round, &block.key);
        caller_expect_value(&other, 100 + round, &block);
    }
    while (rig_net_counter(&rig, "connections") > 1) {
    }
    block_free(&block);
    caller_close(&other);
}

Test(net_request, ranges_are_cut_from_the_block) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block block = block_make(1, 10000);
    store(&caller, 1, &block);
    static const struct {
        uint32_t offset, length, got;
    } cases[] = {{0, 0, 10000}, {0, 10, 10},        {100, 5000, 5000},
                 {9999, 0, 1},  {9000, 5000, 1000}, {10000, 0, 0}};
    for (uint32_t i = 0; i < array_count(cases); i++) {
        struct tlv_request range = request_of(TLV_GET_RANGE, 100 + i);
        range.offset = cases[i].offset;
        range.length = cases[i].length;
        caller_ask(&caller, &range, &block.key);
        struct tlv_reply value = caller_expect(&caller, TLV_VALUE, 100 + i);
        cr_assert_eq(value.total, 10000);
        cr_assert_eq(value.offset, cases[i].offset);
        cr_assert_eq(caller.body_bytes, cases[i].got);
        cr_assert_eq(memcmp(caller.body, block.bytes + cases[i].offset, cases[i].got), 0);
    }
    struct tlv_request beyond = request_of(TLV_GET_RANGE, 7);
    beyond.offset = 10001;
    caller_ask(&caller, &beyond, &block.key);
    caller_expect_fault(&caller, 7, TLV_CODE_RANGE);
    block_free(&block);
    caller_close(&caller);
}

Test(net_request, a_deleted_block_is_gone_and_may_come_again) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block block = block_make(1, 3000);
    for (int round = 0; round < 3; round++) {
        store(&caller, 1, &block);
        struct tlv_request request = request_of(TLV_VERIFY, 2);
        caller_ask(&caller, &request, &block.key);
        (void)caller_expect(&caller, TLV_DONE, 2);
        request = request_of(TLV_DELETE, 3);
        caller_ask(&caller, &request, &block.key);
        (void)caller_expect(&caller, TLV_DONE, 3);
        caller_get(&caller, 4, &block.key);
        (void)caller_expect(&caller, TLV_NOT_FOUND, 4);
        caller_ask(&caller, &request, &block.key);
        (void)caller_expect(&caller, TLV_NOT_FOUND, 3);
        request = request_of(TLV_VERIFY, 5);
        caller_ask(&caller, &request, &block.key);
        (void)caller_expect(&caller, TLV_NOT_FOUND, 5);
    }
    block_free(&block);
    caller_close(&caller);
}

/* ---- keys */

Test(net_request, a_key_that_can_never_be_stored_is_refused_by_its_own_code) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    /* GET of keccak-256 (0x1b), of identity (0), and of a digest that is cut. */
    uint8_t unknown[10 + 34] = {TLV_GET, 8 + 34, 0, 0, 0, 1, 255, 0, 0, 0, 0x1b, 32};
    uint8_t identity[10 + 6] = {TLV_GET, 8 + 6, 0, 0, 0, 2, 255, 0, 0, 0, 0, 4};
    uint8_t cut[10 + 20] = {TLV_GET, 8 + 20, 0, 0, 0, 3, 255, 0, 0, 0, 0x12, 32};
    caller_send(&caller, unknown, sizeof unknown);
    caller_expect_fault(&caller, 1, TLV_CODE_UNKNOWN_HASH);
    caller_send(&caller, identity, sizeof identity);
    caller_expect_fault(&caller, 2, TLV_CODE_BAD_KEY);
    caller_send(&caller, cut, sizeof cut);
    caller_expect_fault(&caller, 3, TLV_CODE_BAD_KEY);
    /* The same where a body follows: it is read over. */
    uint8_t put[10 + 8 + 34 + 5] = {TLV_PUT, 8 + 8 + 34, 0, 0,    0, 4, 255, 0, 0,    0,
                                    0,       0,          0, 0x55, 0, 0, 0,   5, 0x1b, 32};
    caller_send(&caller, put, sizeof put);
    caller_expect_fault(&caller, 4, TLV_CODE_UNKNOWN_HASH);
    put[18] = 0x11; /* sha1 with 32 bytes: no such digest */
    caller_send(&caller, put, sizeof put);
    caller_expect_fault(&caller, 4, TLV_CODE_BAD_KEY);
    struct tlv_request ping = request_of(TLV_PING, 9);
    caller_ask(&caller, &ping, NULL);
    (void)caller_expect(&caller, TLV_PONG, 9);
    caller_close(&caller);
}

static void ask_have(struct caller *caller, uint32_t id, uint32_t count, const uint8_t *body,
                     uint32_t bytes) {
    struct tlv_request have = request_of(TLV_HAVE, id);
    have.count = (uint16_t)count;
    have.body_bytes = bytes;
    caller_ask(caller, &have, NULL);
    caller_send(caller, body, bytes);
}

/* One byte for each key, in order; a hash nobody here has says nothing of the keys behind it. */
Test(net_request, have_answers_every_key_whatever_stands_beside_it) {
    enum { ROUNDS = 50 };
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block here = block_make(1, 100), absent = block_make(2, 100);
    store(&caller, 1, &here);
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
    ask_have(&caller, 8, count, body, bytes);
    struct tlv_reply reply = caller_expect(&caller, TLV_HAVES, 8);
    cr_assert_eq(reply.count, count);
    cr_assert_eq(caller.body_bytes, count);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_eq(caller.body[i], wanted[i], "key %u: %u", i, caller.body[i]);
    }
    block_free(&here);
    block_free(&absent);
    caller_close(&caller);
}

Test(net_request, have_of_what_are_not_that_many_multihashes_is_refused) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct block here = block_make(1, 100);
    uint8_t body[KEY_MULTIHASH_MAX * 2 + 8];
    uint32_t bytes = (uint32_t)key_write(&here.key, body);
    memcpy(body + bytes, body, bytes);
    ask_have(&caller, 1, 2, body, 2 * bytes - 1); /* the last lacks a byte */
    caller_expect_fault(&caller, 1, TLV_CODE_BAD_KEY);
    ask_have(&caller, 2, 3, body, 2 * bytes); /* a key too few */
    caller_expect_fault(&caller, 2, TLV_CODE_BAD_KEY);
    body[2 * bytes] = 0;
    ask_have(&caller, 3, 2, body, 2 * bytes + 1); /* a byte too many */
    caller_expect_fault(&caller, 3, TLV_CODE_BAD_KEY);
    body[bytes + 1] = 200; /* sha2-256 of 200 bytes */
    ask_have(&caller, 4, 2, body, 2 * bytes);
    caller_expect_fault(&caller, 4, TLV_CODE_BAD_KEY);
    memcpy(body + bytes, body, bytes);
    ask_have(&caller, 5, 2, body, 2 * bytes); /* and the connection lives */
    (void)caller_expect(&caller, TLV_HAVES, 5);
    block_free(&here);
    caller_close(&caller);
}

/* ---- LIST and STAT */

Test(net_request, list_pages_name_every_block_once) {
    enum { BLOCKS = 50 };
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    uint32_t seen[BLOCKS] = {0};
    for (uint32_t i = 0; i < BLOCKS; i++) {
        struct block block = block_make(i, 100 + i);
        store(&caller, i, &block);
        block_free(&block);
    }
    uint64_t cursor = 0;
    uint32_t page = 0;
    do { /* 0 asks for the first page, and says that there is no other */
        cr_assert_lt(page, 100, "it never ends");
        struct tlv_request list = request_of(TLV_LIST, page);
        list.cursor = cursor;
        list.count = 7;
        caller_ask(&caller, &list, NULL);
        struct tlv_reply items = caller_expect(&caller, TLV_ITEMS, page);
        cursor = items.cursor;
        uint32_t at = 0;
        for (uint32_t i = 0; i < items.count; i++) {
            struct tlv_item item;
            size_t used;
            cr_assert_eq(tlv_item_read(caller.body + at, caller.body_bytes - at, &item, &used), 0);
            at += (uint32_t)used;
            cr_assert_geq(item.bytes, 100);
            cr_assert_lt(item.bytes, 100 + BLOCKS);
            seen[item.bytes - 100]++;
        }
        cr_assert_eq(at, caller.body_bytes);
        page++;
    } while (cursor != 0);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        cr_assert_eq(seen[i], 1, "block %u was listed %u times", i, seen[i]);
    }
    caller_close(&caller);
}

Test(net_request, stat_over_the_protocol_is_the_same_document) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    struct tlv_request stat = request_of(TLV_STAT, 3);
    caller_ask(&caller, &stat, NULL);
    (void)caller_expect(&caller, TLV_STATS, 3);
    json_t *document = json_loadb((const char *)caller.body, caller.body_bytes, 0, NULL);
    cr_assert_not_null(document);
    cr_assert_not_null(json_object_get(document, "cores"));
    json_decref(document);
    caller_close(&caller);
}
