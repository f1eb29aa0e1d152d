/* SPDX-License-Identifier: MIT */
/* Wants and what answers them: engine/swarm/serve.c. */
#include "engine/swarm/serve.h"

#include "base/clock.h"
#include "tests/engine/house.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static const char bitswap[] = "/ipfs/bitswap/1.2.0";
static struct rig rig;

static void setup(void) {
    house_init(&rig);
}
static void teardown(void) {
    house_close(&rig);
}
TestSuite(serve, .init = setup, .fini = teardown, .timeout = 200);

static void expect_size(uint32_t bytes) {
    rig_run(&rig);
    struct block block = block_make(bytes, bytes);
    house_put(&rig, &block);
    struct guest guest = guest_open(&rig, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_ask(&guest, stream, &block);
    const struct guest_answer *answer = guest_expect_block(&guest, &block);
    cr_assert_eq(answer->form.version, 1);
    cr_assert_eq(answer->form.codec, CID_RAW);
    cr_assert_eq(stream->used, 20 + 21, "nothing but two tokens comes on the peer's own stream");
    guest_close(&guest);
    block_free(&block);
}

Test(serve, an_empty_block_is_sent) {
    expect_size(0);
}
Test(serve, a_block_of_one_byte_is_sent) {
    expect_size(1);
}
Test(serve, a_block_of_a_kibibyte_is_sent) {
    expect_size(1024);
}
Test(serve, a_block_of_64_kibibytes_is_sent) {
    expect_size(64 * 1024);
}
Test(serve, the_largest_block_is_sent) {
    expect_size(2 * 1024 * 1024);
}
Test(serve, a_block_on_the_bound_of_small_ones_is_sent) {
    expect_size(12288);
}
Test(serve, a_block_just_above_that_bound_is_sent) {
    expect_size(12289);
}

Test(serve, tls_serves_as_noise_does) {
    rig_run(&rig);
    struct block block = block_make(1, 700000);
    house_put(&rig, &block);
    struct guest guest = guest_open(&rig, &(struct guest_manners){.kind = SECURE_TLS});
    guest_ask(&guest, guest_stream(&guest, bitswap), &block);
    (void)guest_expect_block(&guest, &block);
    guest_close(&guest);
    block_free(&block);
}

Test(serve, a_small_block_answers_a_want_have_and_a_large_one_does_not) {
    rig_run(&rig);
    struct block small = block_make(1, 1024), large = block_make(2, 1025);
    house_warm(&rig, &small);
    house_warm(&rig, &large);
    struct guest guest = guest_open(&rig, NULL);
    struct bitswap_want wants[] = {guest_want(&small), guest_want(&large)};
    wants[0].have = wants[1].have = true;
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, 2, false);
    guest_until(&guest, guest.answer_count == 2);
    cr_assert_eq(guest_count(&guest, GUEST_BLOCK, &small.key), 1);
    cr_assert_eq(guest_count(&guest, GUEST_HAVE, &large.key), 1);
    guest_close(&guest);
    block_free(&small);
    block_free(&large);
}

Test(serve, dont_have_is_said_only_where_it_is_asked_for) {
    rig_run(&rig);
    struct block asked = block_make(1, 100), silent = block_make(2, 100), have = block_make(3, 9);
    struct guest guest = guest_open(&rig, NULL);
    struct bitswap_want wants[] = {guest_want(&silent), guest_want(&asked), guest_want(&have)};
    wants[1].send_dont_have = wants[2].send_dont_have = wants[2].have = true;
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, 3, false);
    guest_until(&guest, guest.answer_count >= 2);
    guest_settle(&guest);
    cr_assert_eq(guest.answer_count, 2);
    cr_assert_eq(guest_count(&guest, GUEST_DONT_HAVE, &asked.key), 1);
    cr_assert_eq(guest_count(&guest, GUEST_DONT_HAVE, &have.key), 1);
    house_expect(&rig, "ledger", "waiting", 3);
    guest_close(&guest);
    block_free(&asked);
    block_free(&silent);
    block_free(&have);
}

static void expect_arrival(void) {
    rig_run(&rig);
    struct block block = block_make(1, 3000), large = block_make(2, 300000),
                 have = block_make(3, 2000);
    struct guest guest = guest_open(&rig, NULL);
    struct bitswap_want wants[] = {guest_want(&block), guest_want(&large), guest_want(&have)};
    wants[0].send_dont_have = wants[2].have = true;
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, 3, false);
    guest_until(&guest, guest_count(&guest, GUEST_DONT_HAVE, &block.key) == 1);
    house_expect(&rig, "ledger", "waiting", 3);
    house_put(&rig, &block);
    (void)guest_expect_block(&guest, &block);
    house_put(&rig, &large);
    (void)guest_expect_block(&guest, &large);
    house_put(&rig, &have);
    guest_until(&guest, guest_count(&guest, GUEST_HAVE, &have.key) == 1);
    cr_assert_eq(guest.answer_count, 4);
    house_expect(&rig, "ledger", "wants", 0);
    guest_close(&guest);
    block_free(&block);
    block_free(&large);
    block_free(&have);
}

Test(serve, a_want_is_answered_when_its_block_comes) {
    expect_arrival();
}
Test(serve, a_want_is_answered_when_its_block_comes_on_another_core) {
    house_split(&rig);
    expect_arrival();
}

Test(serve, a_block_that_comes_is_told_within_a_tick) {
    enum { ROUNDS = 20 };
    house_split(&rig);
    rig_run(&rig);
    struct guest guest = guest_open(&rig, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    struct caller caller = caller_open(&rig);
    uint64_t slow = 0;
    for (uint32_t i = 0; i < ROUNDS; i++) {
        struct block block = block_make(100 + i, 500);
        struct bitswap_want want = guest_want(&block);
        want.send_dont_have = true;
        guest_wants(&guest, stream, &want, 1, false);
        guest_until(&guest, guest_count(&guest, GUEST_DONT_HAVE, &block.key) == 1);
        caller_put(&caller, i, &block);
        (void)caller_expect(&caller, TLV_DONE, i);
        uint64_t done_ns = clock_ns();
        (void)guest_expect_block(&guest, &block);
        slow += clock_ns() - done_ns > 40 * NS_PER_MS;
        block_free(&block);
    }
    cr_assert_lt(slow, ROUNDS / 2, "%lu of %d waited for a tick", (unsigned long)slow, ROUNDS);
    caller_close(&caller);
    guest_close(&guest);
}

Test(serve, a_withdrawn_want_is_not_answered) {
    rig_run(&rig);
    struct block block = block_make(1, 100), other = block_make(2, 100);
    struct guest guest = guest_open(&rig, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_ask(&guest, stream, &block);
    guest_ask(&guest, stream, &other);
    house_expect(&rig, "ledger", "waiting", 2);
    struct bitswap_want cancel = guest_want(&block);
    cancel.cancel = true;
    guest_wants(&guest, stream, &cancel, 1, false);
    house_expect(&rig, "ledger", "waiting", 1);
    house_put(&rig, &block);
    house_put(&rig, &other);
    (void)guest_expect_block(&guest, &other);
    guest_settle(&guest);
    cr_assert_eq(guest.answer_count, 1);
    guest_close(&guest);
    block_free(&block);
    block_free(&other);
}

Test(serve, a_full_list_replaces_what_was_wanted) {
    rig_run(&rig);
    struct block first = block_make(1, 100), second = block_make(2, 100), third = block_make(3, 9);
    struct guest guest = guest_open(&rig, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_ask(&guest, stream, &first);
    guest_ask(&guest, stream, &second);
    house_expect(&rig, "ledger", "waiting", 2);
    struct bitswap_want wants[] = {guest_want(&second), guest_want(&third)};
    guest_wants(&guest, stream, wants, 2, true);
    house_expect(&rig, "ledger", "replaced", 1);
    house_expect(&rig, "ledger", "waiting", 2);
    house_put(&rig, &first);
    house_put(&rig, &second);
    house_put(&rig, &third);
    (void)guest_expect_block(&guest, &second);
    (void)guest_expect_block(&guest, &third);
    guest_settle(&guest);
    cr_assert_eq(guest_count(&guest, GUEST_BLOCK, &first.key), 0);
    guest_close(&guest);
    block_free(&first);
    block_free(&second);
    block_free(&third);
}

Test(serve, a_cid_named_twice_is_answered_once_as_the_stronger_want) {
    rig_run(&rig);
    struct block block = block_make(1, 5000);
    house_put(&rig, &block);
    struct guest guest = guest_open(&rig, NULL);
    struct bitswap_want wants[] = {guest_want(&block), guest_want(&block), guest_want(&block)};
    wants[0].have = wants[2].have = true;
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, 3, false);
    (void)guest_expect_block(&guest, &block);
    guest_settle(&guest);
    cr_assert_eq(guest.answer_count, 1);
    guest_close(&guest);
    block_free(&block);
}

Test(serve, higher_priorities_are_answered_first) {
    enum { COUNT = 40 };
    rig_run(&rig);
    struct block blocks[COUNT];
    struct bitswap_want wants[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) { /* of memory: what disks bring comes as it comes */
        blocks[i] = block_make(1 + i, 100);
        house_warm(&rig, &blocks[i]);
        wants[i] = guest_want(&blocks[i]);
        wants[i].priority = (int32_t)((i * 17) % COUNT);
    }
    struct guest guest = guest_open(&rig, NULL);
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, COUNT, false);
    guest_until(&guest, guest.answer_count == COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t from = 0;
        while (!key_equal(&guest.answers[i].key, &blocks[from].key)) {
            from++;
        }
        cr_assert_eq(wants[from].priority, (int32_t)(COUNT - 1 - i));
    }
    guest_close(&guest);
    for (uint32_t i = 0; i < COUNT; i++) {
        block_free(&blocks[i]);
    }
}

Test(serve, each_form_of_a_cid_is_echoed_as_it_was_asked_for) {
    rig_run(&rig);
    struct block block = block_make(1, 2000);
    house_put(&rig, &block);
    struct guest guest = guest_open(&rig, NULL);
    static const struct bitswap_form forms[] = {
        {CID_DAG_PB, 0}, {CID_DAG_PB, 1}, {CID_RAW, 1}, {CID_DAG_JSON, 1}};
    struct bitswap_want wants[2 * array_count(forms)];
    for (uint32_t i = 0; i < array_count(wants); i++) {
        wants[i] = guest_want(&block);
        wants[i].form = forms[i / 2];
        wants[i].have = false;
    }
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, array_count(wants), false);
    guest_until(&guest, guest.answer_count == array_count(forms));
    uint32_t seen = 0;
    for (uint32_t i = 0; i < guest.answer_count; i++) {
        for (uint32_t f = 0; f < array_count(forms); f++) {
            seen |= guest.answers[i].form.codec == forms[f].codec &&
                            guest.answers[i].form.version == forms[f].version
                        ? 1u << f
                        : 0;
        }
    }
    cr_assert_eq(seen, 15);
    guest_close(&guest);
    block_free(&block);
}

Test(serve, cids_that_cannot_be_looked_up_are_passed_over) {
    rig_run(&rig);
    struct block block = block_make(1, 50);
    house_put(&rig, &block);
    struct guest guest = guest_open(&rig, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    /* An identity CID, one whose bytes are none, then a sound one. */
    static const uint8_t odd[] = {17, 0x0a, 15,   0x0a, 7, 0x0a, 5, 0x01, 0x55,
                                  0,  1,    0x61, 0x0a, 4, 0x0a, 2, 0xff, 0xff};
    guest_send(&guest, stream, odd, sizeof odd);
    guest_ask(&guest, stream, &block);
    (void)guest_expect_block(&guest, &block);
    house_expect(&rig, "swarm", "entries_skipped", 2);
    guest_close(&guest);
    block_free(&block);
}

static void expect_older(const char *protocol, bool bare) {
    rig_run(&rig);
    struct block small = block_make(1, 500), large = block_make(2, 400000), none = block_make(3, 9);
    house_put(&rig, &small);
    house_put(&rig, &large);
    struct guest guest = guest_open(&rig, &(struct guest_manners){.speaks = protocol});
    guest_settle(&guest);
    struct bitswap_want wants[] = {guest_want(&small), guest_want(&large), guest_want(&none)};
    wants[2].send_dont_have = true;
    guest_wants(&guest, guest_stream(&guest, protocol), wants, 3, false);
    const struct guest_answer *answer = guest_expect_block(&guest, &small);
    cr_assert_eq(answer->form.codec, bare ? CID_DAG_PB : CID_RAW);
    (void)guest_expect_block(&guest, &large);
    answer = guest_find(&guest, &large.key);
    cr_assert_eq(answer->form.codec, bare ? CID_DAG_PB : CID_RAW);
    wants[1].have = true; /* which it has no word for: nothing comes */
    guest_wants(&guest, guest_stream(&guest, protocol), &wants[1], 1, false);
    guest_settle(&guest);
    cr_assert_eq(guest.answer_count, 2, "no presences");
    guest_close(&guest);
    block_free(&small);
    block_free(&large);
    block_free(&none);
}

Test(serve, peers_of_1_1_0_get_blocks_with_prefixes_and_no_presences) {
    expect_older("/ipfs/bitswap/1.1.0", false);
}
Test(serve, peers_of_1_0_0_get_bare_blocks) {
    expect_older("/ipfs/bitswap/1.0.0", true);
}
Test(serve, peers_without_a_version_get_bare_blocks) {
    expect_older("/ipfs/bitswap", true);
}

Test(serve, everything_works_byte_by_byte) {
    rig_run(&rig);
    struct block block = block_make(1, 20000), none = block_make(2, 5);
    house_put(&rig, &block);
    struct guest guest = guest_open(&rig, &(struct guest_manners){.write_bytes = 1});
    struct bitswap_want wants[] = {guest_want(&block), guest_want(&none)};
    wants[1].send_dont_have = true;
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, 2, false);
    (void)guest_expect_block(&guest, &block);
    guest_until(&guest, guest_count(&guest, GUEST_DONT_HAVE, &none.key) == 1);
    guest_close(&guest);
    block_free(&block);
    block_free(&none);
}
