/* SPDX-License-Identifier: MIT */
/* A connection from its first token to its last frame, and all that may be wrong on the way:
 * engine/swarm/peer.c. */
#include "engine/swarm/peer.h"

#include "base/bits.h"
#include "base/clock.h"
#include "tests/engine/tile.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char bitswap[] = "/ipfs/bitswap/1.2.0";
static struct tile tile;

static void setup(void) {
    tile_init(&tile);
    tile_open(&tile);
}
static void teardown(void) {
    tile_close(&tile);
}
TestSuite(peer, .init = setup, .fini = teardown, .timeout = 200);

static void say(struct guest *guest, const char *name) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    guest_write(guest, token, multistream_write(name, token));
}

/* What comes in the clear, once so many bytes are there. */
static void expect_clear(struct guest *guest, const char *bytes, size_t count) {
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (guest->in_used < count) {
        cr_assert_lt(clock_ns(), limit);
        cr_assert_not(guest->ended);
        guest_step(guest);
    }
    cr_assert_eq(memcmp(guest->in, bytes, count), 0);
}

/* ---- in the clear ---- */

Test(peer, its_header_comes_unasked) {
    struct guest guest = guest_call(&tile.rig, NULL);
    expect_clear(&guest, "\x13/multistream/1.0.0\n", 20);
    guest_close(&guest);
}

Test(peer, unknown_securities_are_na_and_another_may_be_proposed) {
    struct guest guest = guest_call(&tile.rig, NULL);
    say(&guest, multistream_header);
    say(&guest, "/p2p/plain/2.0.0");
    say(&guest, "/p2p/secio/1.0.0");
    expect_clear(&guest, "\x13/multistream/1.0.0\n\x03na\n\x03na\n", 28);
    say(&guest, "/noise");
    expect_clear(&guest, "\x13/multistream/1.0.0\n\x03na\n\x03na\n\x07/noise\n", 36);
    guest_close(&guest);
}

Test(peer, securities_are_not_proposed_for_ever) {
    struct guest guest = guest_call(&tile.rig, NULL);
    say(&guest, multistream_header);
    for (uint32_t i = 0; i < 2 * PEER_PROPOSALS_MAX && !guest.ended; i++) {
        say(&guest, "/p2p/plain/2.0.0");
    }
    guest_expect_end(&guest);
    cr_assert_eq(tile_counter(&tile, handshakes_failed), 1);
    guest_close(&guest);
}

Test(peer, what_is_no_libp2p_is_closed) {
    static const char *const words[] = {"GET / HTTP/1.1\r\n\r\n", "\x13/multistream/9.9.9\n",
                                        "\xff\xff\xff\xff"};
    for (uint32_t i = 0; i < array_count(words); i++) {
        struct guest guest = guest_call(&tile.rig, NULL);
        guest_write(&guest, words[i], strlen(words[i]));
        guest_expect_end(&guest);
        guest_close(&guest);
    }
    cr_assert_eq(tile_counter(&tile, handshakes_failed), array_count(words));
}

/* ---- the handshake ---- */

static void expect_refused(enum secure_kind kind, const void *bytes, size_t count) {
    struct guest guest = guest_call(&tile.rig, NULL);
    say(&guest, multistream_header);
    say(&guest, secure_protocols[kind]);
    guest_write(&guest, bytes, count);
    guest_expect_end(&guest);
    guest_close(&guest);
}

Test(peer, a_handshake_of_rubbish_is_closed) {
    static uint8_t rubbish[20000];
    memset(rubbish, 0xa5, sizeof rubbish);
    expect_refused(SECURE_NOISE, rubbish, 200);
    expect_refused(SECURE_TLS, rubbish, 200);
    expect_refused(SECURE_NOISE, rubbish, sizeof rubbish);
    expect_refused(SECURE_TLS, rubbish, sizeof rubbish);
    memset(rubbish, 0, sizeof rubbish);
    expect_refused(SECURE_NOISE, rubbish, 200);
    rubbish[0] = 0x3f; /* the longest that may be promised, and more than is kept */
    rubbish[1] = 0xf0;
    expect_refused(SECURE_NOISE, rubbish, sizeof rubbish);
    cr_assert_eq(tile_counter(&tile, handshakes_failed), 6);
    tile_rest(&tile);
    cr_assert_eq(tile.swarm->early_bytes, 0);
}

static void expect_whole(enum secure_kind kind, uint32_t write_bytes) {
    struct block block = block_make(1, 30000);
    house_put(&tile.rig, &block);
    struct guest guest =
        tile_enter(&tile, &(struct guest_manners){.kind = kind, .write_bytes = write_bytes});
    guest_ask(&guest, guest_stream(&guest, bitswap), &block);
    (void)guest_expect_block(&guest, &block);
    cr_assert_eq(tile_counter(&tile, handshakes), 1);
    cr_assert_eq(tile_counter(&tile, peers), 1);
    guest_close(&guest);
    block_free(&block);
}

Test(peer, noise_may_come_byte_by_byte) {
    expect_whole(SECURE_NOISE, 1);
}
Test(peer, tls_may_come_byte_by_byte) {
    expect_whole(SECURE_TLS, 1);
}
Test(peer, noise_may_come_in_pieces) {
    expect_whole(SECURE_NOISE, 37);
}
Test(peer, tls_may_come_in_pieces) {
    expect_whole(SECURE_TLS, 333);
}

Test(peer, what_comes_behind_the_handshake_in_one_breath_is_read) {
    struct block block = block_make(1, 1000);
    house_put(&tile.rig, &block);
    for (uint32_t i = 0; i < 10; i++) {
        struct guest guest = guest_open(&tile.rig, NULL); /* its last message is out, unread */
        guest_ask(&guest, guest_stream(&guest, bitswap), &block);
        (void)guest_expect_block(&guest, &block);
        guest_close(&guest);
    }
    block_free(&block);
}

/* ---- inside the channel ---- */

Test(peer, a_record_that_does_not_open_is_closed) {
    struct guest guest = tile_enter(&tile, NULL);
    uint8_t record[52] = {0, 50};
    guest_write(&guest, record, sizeof record);
    guest_expect_end(&guest);
    cr_assert_eq(counter_get(&tile.net->counters.end_protocol), 1);
    guest_close(&guest);
}

static void expect_bad(struct guest_frame frame, uint32_t payload) {
    struct guest guest = tile_enter(&tile, NULL);
    uint64_t before = tile_counter(&tile, bad_yamux);
    static uint8_t bytes[300 * 1024];
    guest_frame(&guest, frame, bytes, payload);
    guest_expect_end(&guest);
    cr_assert_eq(guest.goaway, 2, "it says go-away 1 first");
    cr_assert_eq(tile_counter(&tile, bad_yamux), before + 1);
    guest_close(&guest);
}

Test(peer, a_broken_frame_is_answered_with_go_away) {
    expect_bad((struct guest_frame){.type = 9, .id = 1}, 0);
    expect_bad((struct guest_frame){.type = 0, .flags = 0x100, .id = 1}, 0);
    expect_bad((struct guest_frame){.type = 1, .flags = 1, .id = 2}, 0); /* of our parity */
    expect_bad((struct guest_frame){.type = 1, .flags = 1, .id = 0}, 0);
    expect_bad((struct guest_frame){.type = 2, .flags = 2, .length = 77}, 0); /* an unasked pong */
    expect_bad((struct guest_frame){.type = 2, .flags = 3}, 0);
}

Test(peer, an_overrun_window_is_answered_with_go_away) {
    expect_bad((struct guest_frame){.type = 0, .flags = 1, .id = 1001, .length = 300 * 1024},
               300 * 1024);
}

Test(peer, a_stream_opened_twice_is_answered_with_go_away) {
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_frame(&guest, (struct guest_frame){.type = 1, .flags = 1, .id = stream->id}, NULL, 0);
    guest_expect_end(&guest);
    cr_assert_eq(guest.goaway, 2);
    guest_close(&guest);
}

Test(peer, frames_of_streams_that_are_not_there_are_passed_over) {
    struct guest guest = tile_enter(&tile, NULL);
    static const uint8_t bytes[1000];
    for (uint32_t i = 0; i < 20; i++) {
        guest_frame(&guest, (struct guest_frame){.type = 0, .id = 5001, .length = 1000}, bytes,
                    1000);
        guest_frame(&guest, (struct guest_frame){.type = 1, .flags = 8, .id = 6001}, NULL, 0);
        guest_frame(&guest, (struct guest_frame){.type = 1, .flags = 4, .id = 6002}, NULL, 0);
    }
    guest_settle(&guest);
    guest_close(&guest);
}

Test(peer, a_record_of_pings_is_answered_whole) {
    enum { PINGS = 2000 };
    struct guest guest = tile_enter(&tile, NULL);
    uint8_t *pings = calloc(PINGS, YAMUX_HEAD_BYTES);
    for (uint32_t i = 0; i < PINGS; i++) {
        pings[i * YAMUX_HEAD_BYTES + 1] = 2;
        pings[i * YAMUX_HEAD_BYTES + 3] = 1;
        put_be32(pings + (size_t)i * YAMUX_HEAD_BYTES + 8, i);
    }
    uint64_t before = tile_peer(&tile)->bytes_out;
    guest.open = false; /* its yamux asked for none of them */
    guest_say(&guest, pings, PINGS * YAMUX_HEAD_BYTES);
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (tile_peer(&tile)->bytes_out - before < PINGS * YAMUX_HEAD_BYTES) {
        cr_assert_lt(clock_ns(), limit);
        guest_step(&guest);
    }
    cr_assert_eq(tile_peer(&tile)->state, PEER_OPEN);
    guest_close(&guest);
    free(pings);
}

Test(peer, more_resets_than_fit_are_written_in_between) {
    enum { OPENS = 700 };
    struct guest guest = tile_enter(&tile, NULL);
    uint8_t *opens = calloc(OPENS, YAMUX_HEAD_BYTES);
    for (uint32_t i = 0; i < OPENS; i++) {
        opens[i * YAMUX_HEAD_BYTES + 1] = 1;
        opens[i * YAMUX_HEAD_BYTES + 3] = 1;
        put_be32(opens + (size_t)i * YAMUX_HEAD_BYTES + 4, 10001 + 2 * i);
    }
    guest_say(&guest, opens, OPENS * YAMUX_HEAD_BYTES);
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, streams), PEER_STREAMS_MAX);
    guest_close(&guest);
    free(opens);
}

Test(peer, go_away_is_no_end_of_what_was_asked_for) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 1000);
    house_put(&tile.rig, &block);
    guest_ask(&guest, guest_stream(&guest, bitswap), &block); /* a reply stream is open now */
    (void)guest_expect_block(&guest, &block);
    guest_frame(&guest, (struct guest_frame){.type = 3}, NULL, 0);
    guest_settle(&guest);
    guest_close(&guest);
    block_free(&block);
}

/* ---- resets and ends at any point ---- */

Test(peer, a_stream_reset_at_any_point_leaves_nothing) {
    struct block block = block_make(1, 500000);
    house_put(&tile.rig, &block);
    struct guest guest = tile_enter(&tile, NULL);
    for (uint32_t cut = 1; cut < 100; cut += 7) { /* tokens and message, up to there */
        uint8_t bytes[200];
        size_t used = multistream_write(multistream_header, bytes);
        used += multistream_write(bitswap, bytes + used);
        struct bitswap_want want = guest_want(&block);
        uint8_t entry[64];
        uint32_t entry_bytes = (uint32_t)bitswap_put_entry(&want, entry);
        used += bitswap_put_length(entry_bytes + 2, bytes + used);
        used += bitswap_put_list_head(entry_bytes, false, bytes + used);
        memcpy(bytes + used, entry, entry_bytes);
        used += entry_bytes;
        uint32_t id = 20001 + 2 * cut;
        uint32_t count = cut < used ? cut : (uint32_t)used;
        guest_frame(&guest, (struct guest_frame){.type = 0, .flags = 1, .id = id, .length = count},
                    bytes, count);
        guest_frame(&guest, (struct guest_frame){.type = 1, .flags = 8, .id = id}, NULL, 0);
    }
    guest_settle(&guest);
    guest_until(&guest, tile_peer(&tile)->ledger.wants == 0);
    guest_close(&guest);
    block_free(&block);
}

Test(peer, a_connection_cut_at_any_point_leaves_nothing) {
    struct block block = block_make(1, 500000);
    house_put(&tile.rig, &block);
    for (uint32_t turns = 0; turns < 30; turns++) {
        struct guest guest = guest_open(
            &tile.rig, &(struct guest_manners){.kind = turns % 2 ? SECURE_TLS : SECURE_NOISE});
        guest_ask(&guest, guest_stream(&guest, bitswap), &block);
        for (uint32_t i = 0; i < turns; i++) {
            tile_turn(&tile);
        }
        if (turns % 3 == 0) {
            guest_abort(&guest);
        } else {
            guest_close(&guest);
        }
    }
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (pool_used(&tile.swarm->peers) > 0) {
        cr_assert_lt(clock_ns(), limit);
        tile_tick(&tile);
    }
    cr_assert_eq(tile_counter(&tile, peers), 0);
    cr_assert_eq(tile_counter(&tile, streams), 0);
    block_free(&block);
}
