/* SPDX-License-Identifier: MIT */
/* Many blocks in one request, through a real engine: engine/many.c. */
#include "engine/net.h"
#include "tests/engine/rig.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct rig rig;

static void setup(void) {
    rig_init(&rig);
}
/* What a request took it has given back. */
static void no_leak(struct engine *engine) {
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct net *net = engine->cores[i].net;
        for (uint32_t c = 0; net && c < CLASS_COUNT; c++) {
            cr_assert_eq(net->body_bytes[c], 0, "upload memory of class %u", c);
            cr_assert_eq(net->class_jobs[c], 0);
        }
        cr_assert(!net || net->outs.leased_bytes == 0);
    }
}
static void teardown(void) {
    rig.check = no_leak;
    cr_assert_eq(rig_close(&rig), 0, "every test ends in a clean drain");
}
TestSuite(many, .init = setup, .fini = teardown, .timeout = 120);

static uint8_t *body;
static uint32_t body_bytes, body_count;

static void body_begin(void) {
    free(body);
    body = malloc(TLV_PUT_MANY_BODY_MAX + 256);
    body_bytes = body_count = 0;
}
static void body_key(const struct key *key) {
    body_bytes += (uint32_t)key_write(key, body + body_bytes);
    body_count++;
}
static void body_block(const struct block *block) {
    struct tlv_put_item item = {.codec = 0x55, .bytes = block->count, .key = block->key};
    body_bytes += (uint32_t)tlv_put_item_head(&item, body + body_bytes);
    memcpy(body + body_bytes, block->bytes, block->count);
    body_bytes += block->count;
    body_count++;
}

static void ask(struct caller *caller, uint8_t type, uint32_t id, uint8_t flags, uint32_t most) {
    struct tlv_request request = {.type = type,
                                  .id = id,
                                  .class = TLV_CLASS_DEFAULT,
                                  .flags = flags,
                                  .count = (uint16_t)body_count,
                                  .length = most,
                                  .body_bytes = body_bytes};
    caller_ask(caller, &request, NULL);
    caller_send(caller, body, body_bytes);
}

static void expect_results(struct caller *caller, uint32_t id, const uint16_t wanted[]) {
    struct tlv_reply reply = caller_expect(caller, TLV_RESULTS, id);
    cr_assert_eq(reply.count, body_count);
    for (uint32_t i = 0; i < body_count; i++) {
        cr_assert_eq(get_be16(caller->body + 2 * i), wanted[i], "item %u: %u", i,
                     get_be16(caller->body + 2 * i));
    }
}

/* One item of VALUES, from *at on. */
static struct tlv_value_item item_at(const struct caller *caller, uint32_t *at) {
    struct tlv_value_item item;
    size_t used = 0;
    cr_assert_eq(tlv_value_item_read(caller->body + *at, caller->body_bytes - *at, &item, &used),
                 0);
    *at += (uint32_t)used;
    return item;
}

static void expect_block(const struct caller *caller, uint32_t *at, const struct block *block) {
    struct tlv_value_item item = item_at(caller, at);
    cr_assert_eq(item.result, TLV_RESULT_DONE);
    cr_assert_eq(item.codec, 0x55);
    cr_assert_eq(item.bytes, block->count);
    cr_assert_eq(memcmp(item.block, block->bytes, block->count), 0);
}

enum { SIZES = 9 };
static const uint32_t sizes[SIZES] = {1, 100, 0, 2048, 4096, 4097, 16384, 65536, 300000};

static void make(struct block blocks[SIZES], uint32_t seed) {
    for (uint32_t i = 0; i < SIZES; i++) {
        blocks[i] = block_make(seed + i, sizes[i]);
    }
}
static void unmake(struct block blocks[SIZES]) {
    for (uint32_t i = 0; i < SIZES; i++) {
        block_free(&blocks[i]);
    }
}

Test(many, what_was_put_together_is_got_together_from_disk_and_from_memory) {
    static const uint16_t done[SIZES] = {0};
    struct block blocks[SIZES], absent = block_make(999, 50);
    make(blocks, 0);
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    cr_assert(caller_hello(&caller, CLASS_HIGH).features & TLV_FEATURE_MANY);
    body_begin();
    for (uint32_t i = 0; i < SIZES; i++) {
        body_block(&blocks[i]);
    }
    ask(&caller, TLV_PUT_MANY, 2, 0, 0);
    expect_results(&caller, 2, done);
    for (uint32_t again = 0; again < 3; again++) {
        body_begin();
        for (uint32_t i = 0; i < SIZES; i++) {
            body_key(&blocks[i].key);
            body_key(&absent.key);
        }
        memcpy(body + body_bytes, "\x1b\x20", 2); /* keccak: nobody here has it */
        body_bytes += 34;
        body_count++;
        ask(&caller, TLV_GET_MANY, 3 + again, 0, 0);
        struct tlv_reply reply = caller_expect(&caller, TLV_VALUES, 3 + again);
        cr_assert_eq(reply.count, 2 * SIZES + 1);
        uint32_t at = 0;
        for (uint32_t i = 0; i < SIZES; i++) {
            expect_block(&caller, &at, &blocks[i]);
            cr_assert_eq(item_at(&caller, &at).result, TLV_RESULT_NOT_FOUND);
        }
        cr_assert_eq(item_at(&caller, &at).result, TLV_RESULT_NOT_FOUND);
        cr_assert_eq(at, caller.body_bytes);
    }
    unmake(blocks);
    block_free(&absent);
    caller_close(&caller);
}

static uint64_t fills(void) {
    uint64_t sum = 0;
    for (uint32_t k = 0; k < rig.engine->layout.work_count; k++) {
        struct keeper *keeper = store_keeper(rig.engine->store, k);
        sum += counter_get(&keeper_counters(keeper)->fills);
    }
    return sum;
}

/* One by one, in parts and together: what is read for a scan enters no memory, and is right. */
Test(many, a_scan_reads_all_and_keeps_nothing) {
    static const uint16_t done[SIZES] = {0};
    struct block blocks[SIZES];
    make(blocks, 0);
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    cr_assert(caller_hello(&caller, CLASS_NORMAL).features & TLV_FEATURE_SCAN);
    body_begin();
    for (uint32_t i = 0; i < SIZES; i++) {
        body_block(&blocks[i]);
    }
    ask(&caller, TLV_PUT_MANY, 2, 0, 0);
    expect_results(&caller, 2, done);
    for (uint32_t again = 0; again < 2; again++) {
        body_begin();
        for (uint32_t i = 0; i < SIZES; i++) {
            struct tlv_request request = {
                .type = TLV_GET, .id = 10 + i, .class = TLV_CLASS_DEFAULT, .flags = TLV_FLAG_SCAN};
            caller_ask(&caller, &request, &blocks[i].key);
            caller_expect_value(&caller, 10 + i, &blocks[i]);
            request.type = TLV_GET_RANGE;
            request.length = 1;
            caller_ask(&caller, &request, &blocks[i].key);
            (void)caller_expect(&caller, TLV_VALUE, 10 + i);
            body_key(&blocks[i].key);
        }
        ask(&caller, TLV_GET_MANY, 3, TLV_FLAG_SCAN, 0);
        (void)caller_expect(&caller, TLV_VALUES, 3);
        uint32_t at = 0;
        for (uint32_t i = 0; i < SIZES; i++) {
            expect_block(&caller, &at, &blocks[i]);
        }
        cr_assert_eq(fills(), 0);
    }
    for (uint32_t i = 0; i < SIZES; i++) { /* without the flag they do enter */
        caller_get(&caller, 20, &blocks[i].key);
        caller_expect_value(&caller, 20, &blocks[i]);
    }
    cr_assert_gt(fills(), 0);
    unmake(blocks);
    caller_close(&caller);
}

Test(many, each_block_is_judged_by_itself_or_all_together) {
    struct block blocks[SIZES];
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    for (uint32_t atomic = 0; atomic < 2; atomic++) {
        uint16_t wanted[SIZES];
        make(blocks, 100 + 100 * atomic);
        blocks[4].bytes[9] ^= 1;
        body_begin();
        for (uint32_t i = 0; i < SIZES; i++) {
            body_block(&blocks[i]);
            wanted[i] = i == 4        ? TLV_CODE_MISMATCH
                        : atomic == 1 ? TLV_RESULT_ABORTED
                                      : TLV_RESULT_DONE;
        }
        ask(&caller, TLV_PUT_MANY, 5, atomic ? TLV_FLAG_ALL : 0, 0);
        expect_results(&caller, 5, wanted);
        for (uint32_t i = 0; i < SIZES; i++) {
            caller_get(&caller, 6, &blocks[i].key);
            bool there = i != 4 && (atomic == 0 || sizes[i] == 0);
            if (there) {
                caller_expect_value(&caller, 6, &blocks[i]);
            } else {
                (void)caller_expect(&caller, TLV_NOT_FOUND, 6);
            }
        }
        if (atomic) { /* and once it is mended, all are taken */
            static const uint16_t done[SIZES] = {0};
            blocks[4].bytes[9] ^= 1;
            body_begin();
            for (uint32_t i = 0; i < SIZES; i++) {
                body_block(&blocks[i]);
            }
            ask(&caller, TLV_PUT_MANY, 7, TLV_FLAG_ALL, 0);
            expect_results(&caller, 7, done);
        }
        unmake(blocks);
    }
    caller_close(&caller);
}

Test(many, what_does_not_fit_the_answer_is_to_be_asked_for_again) {
    enum { COUNT = 20, BYTES = 100000 };
    struct block blocks[COUNT];
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    for (uint32_t i = 0; i < COUNT; i++) {
        blocks[i] = block_make(i, BYTES);
        caller_put(&caller, i, &blocks[i]);
        (void)caller_expect(&caller, TLV_DONE, i);
    }
    static const uint32_t mosts[] = {1, BYTES, 350000, 0, UINT32_MAX};
    static const uint32_t fitting[] = {1, 1, 3, 10, 10};
    for (uint32_t n = 0; n < array_count(mosts); n++) {
        for (uint32_t again = 0; again < 2; again++) { /* from disk, from memory */
            body_begin();
            for (uint32_t i = 0; i < COUNT; i++) {
                body_key(&blocks[i].key);
            }
            ask(&caller, TLV_GET_MANY, 50, 0, mosts[n]);
            (void)caller_expect(&caller, TLV_VALUES, 50);
            uint32_t at = 0, done = 0;
            for (uint32_t i = 0; i < COUNT; i++) {
                struct tlv_value_item item = item_at(&caller, &at);
                cr_assert(item.result == TLV_RESULT_DONE || item.result == TLV_RESULT_AGAIN);
                done += item.result == TLV_RESULT_DONE;
            }
            cr_assert(done == fitting[n], "%u of %u at most %u", done, COUNT, mosts[n]);
        }
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        block_free(&blocks[i]);
    }
    caller_close(&caller);
}

Test(many, bodies_that_are_not_what_they_say_are_refused_and_store_nothing) {
    struct block first = block_make(1, 100), second = block_make(2, 100);
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    body_begin();
    body_block(&first);
    body_block(&second);
    body_bytes--; /* the last lacks a byte */
    ask(&caller, TLV_PUT_MANY, 1, 0, 0);
    caller_expect_fault(&caller, 1, TLV_CODE_BAD_KEY);
    body_bytes += 2; /* a byte too many */
    ask(&caller, TLV_PUT_MANY, 2, 0, 0);
    caller_expect_fault(&caller, 2, TLV_CODE_BAD_KEY);
    body_bytes--;
    body_count = 3; /* an item too few */
    ask(&caller, TLV_PUT_MANY, 3, TLV_FLAG_ALL, 0);
    caller_expect_fault(&caller, 3, TLV_CODE_BAD_KEY);
    body_begin();
    body_key(&first.key);
    body_key(&second.key);
    body_bytes--;
    ask(&caller, TLV_GET_MANY, 4, 0, 0);
    caller_expect_fault(&caller, 4, TLV_CODE_BAD_KEY);
    caller_get(&caller, 5, &first.key);
    (void)caller_expect(&caller, TLV_NOT_FOUND, 5);
    block_free(&first);
    block_free(&second);
    caller_close(&caller);
}

Test(many, a_thousand_small_ones_and_one_of_the_largest_fit) {
    static struct block blocks[TLV_MANY_MAX];
    static uint16_t done[TLV_MANY_MAX];
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    body_begin();
    for (uint32_t i = 0; i < TLV_MANY_MAX; i++) {
        blocks[i] = block_make(i, 1000);
        body_block(&blocks[i]);
    }
    ask(&caller, TLV_PUT_MANY, 1, TLV_FLAG_ALL, 0);
    expect_results(&caller, 1, done);
    for (uint32_t again = 0; again < 2; again++) {
        body_begin();
        for (uint32_t i = 0; i < TLV_MANY_MAX; i++) {
            body_key(&blocks[i].key);
        }
        ask(&caller, TLV_GET_MANY, 2, 0, 0);
        (void)caller_expect(&caller, TLV_VALUES, 2);
        uint32_t at = 0, got = 0;
        for (uint32_t i = 0; i < TLV_MANY_MAX; i++) {
            struct tlv_value_item item = item_at(&caller, &at);
            got += item.result == TLV_RESULT_DONE && item.bytes == 1000 &&
                   memcmp(item.block, blocks[i].bytes, 1000) == 0;
            cr_assert(item.result == TLV_RESULT_DONE || item.result == TLV_RESULT_AGAIN);
        }
        cr_assert_geq(got, 900); /* of records of 1,152 bytes a little less than a MiB */
    }
    struct block large = block_make(5000, STORE_BLOCK_MAX);
    body_begin();
    body_block(&large);
    ask(&caller, TLV_PUT_MANY, 3, 0, 0);
    expect_results(&caller, 3, done);
    body_begin();
    body_key(&large.key);
    ask(&caller, TLV_GET_MANY, 4, 0, 0);
    (void)caller_expect(&caller, TLV_VALUES, 4);
    uint32_t at = 0;
    expect_block(&caller, &at, &large);
    block_free(&large);
    for (uint32_t i = 0; i < TLV_MANY_MAX; i++) {
        block_free(&blocks[i]);
    }
    caller_close(&caller);
}

/* The teardown looks at what is still held. */
Test(many, who_goes_away_in_the_middle_leaves_nothing_behind) {
    enum { COUNT = 40, BYTES = 60000 };
    struct block blocks[COUNT];
    rig_run(&rig);
    struct caller keeper = caller_open(&rig);
    for (uint32_t i = 0; i < COUNT; i++) {
        blocks[i] = block_make(i, BYTES);
    }
    for (uint32_t round = 0; round < 30; round++) {
        struct caller caller = caller_open(&rig);
        body_begin();
        if (round % 3 == 2) {
            for (uint32_t i = 0; i < COUNT; i++) {
                body_key(&blocks[i].key);
            }
            for (uint32_t n = 0; n < 20; n++) { /* nobody reads them */
                ask(&caller, TLV_GET_MANY, n, 0, 0);
            }
        } else {
            for (uint32_t i = 0; i < COUNT; i++) {
                body_block(&blocks[i]);
            }
            if (round % 3 == 0) {
                body_bytes -= round * 1000 + 1; /* a body that never ends */
                struct tlv_request request = {.type = TLV_PUT_MANY,
                                              .id = 1,
                                              .class = TLV_CLASS_DEFAULT,
                                              .count = (uint16_t)body_count,
                                              .body_bytes = body_bytes + round * 1000 + 1};
                caller_ask(&caller, &request, NULL);
                caller_send(&caller, body, body_bytes);
            } else {
                ask(&caller, TLV_PUT_MANY, 1, round % 2 ? TLV_FLAG_ALL : 0, 0);
            }
        }
        caller_close(&caller);
    }
    body_begin();
    body_key(&blocks[0].key);
    ask(&keeper, TLV_GET_MANY, 9, 0, 0);
    (void)caller_expect(&keeper, TLV_VALUES, 9);
    for (uint32_t i = 0; i < COUNT; i++) {
        block_free(&blocks[i]);
    }
    caller_close(&keeper);
}

/* Many slow clients with large blocks on their way in and out: what is held stays in its window. */
Test(many, slow_clients_with_large_blocks_are_held_in_bounds) {
    enum { CLIENTS = 60, BYTES = STORE_BLOCK_MAX };
    struct caller callers[CLIENTS];
    rig.settings.net_body_bytes_max = 16 * MiB;
    rig_run(&rig);
    struct caller maker = caller_open(&rig);
    (void)caller_hello(&maker, CLASS_HIGH); /* with a share of upload memory of its own */
    struct block large = block_make(1, BYTES);
    caller_put(&maker, 1, &large);
    (void)caller_expect(&maker, TLV_DONE, 1);
    uint32_t id = 0;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        callers[i] = caller_open(&rig);
        struct tlv_request put = {.type = TLV_PUT,
                                  .id = ++id,
                                  .class = TLV_CLASS_DEFAULT,
                                  .codec = 0x55,
                                  .body_bytes = BYTES};
        if (i % 2) { /* half a block, and no more of it */
            caller_ask(&callers[i], &put, &large.key);
            caller_send(&callers[i], large.bytes, BYTES / 2);
        } else { /* thirty answers that nobody reads */
            for (uint32_t n = 0; n < 30; n++) {
                caller_get(&callers[i], ++id, &large.key);
            }
        }
    }
    struct block small = block_make(2, 1000);
    caller_put(&maker, 2, &small); /* others are served meanwhile */
    (void)caller_expect(&maker, TLV_DONE, 2);
    caller_get(&maker, 3, &small.key);
    caller_expect_value(&maker, 3, &small);
    while (rig_net_counter(&rig, "no_body_memory") == 0) { /* until the bound was met */
    }
    const struct net *net = rig.engine->cores[0].net;
    uint64_t bodies = 0;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        bodies += net->body_bytes[c];
    }
    cr_assert_leq(bodies, 16 * MiB, "%lu bytes in uploads", bodies);
    cr_assert_leq(net->outs.leased_bytes, net->outs.leased_bytes_max + BYTES);
    cr_assert_leq(arena_used(rig.engine->cores[0].arena), 16 * MiB + 16 * MiB + 8 * MiB);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        caller_close(&callers[i]);
    }
    caller_get(&maker, 4, &large.key); /* and once the slow ones are gone, large ones again */
    caller_expect_value(&maker, 4, &large);
    block_free(&large);
    block_free(&small);
    caller_close(&maker);
}
