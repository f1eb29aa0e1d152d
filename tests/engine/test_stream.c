/* SPDX-License-Identifier: MIT */
/* What stands on a stream: negotiation, identify, ping, their ends and bounds:
 * engine/swarm/stream.c. */
#include "engine/swarm/stream.h"

#include "base/clock.h"
#include "tests/engine/tile.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char bitswap[] = "/ipfs/bitswap/1.2.0";
static const char identify[] = "/ipfs/id/1.0.0";
static const char push[] = "/ipfs/id/push/1.0.0";
static const char ping[] = "/ipfs/ping/1.0.0";
static struct tile tile;

static void setup(void) {
    tile_init(&tile);
    tile_open(&tile);
}
static void teardown(void) {
    tile_close(&tile);
}
TestSuite(stream, .init = setup, .fini = teardown, .timeout = 200);

static uint32_t token_bytes(const char *name) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    return (uint32_t)multistream_write(name, token);
}

static void send_token(struct guest *guest, struct guest_stream *stream, const char *name) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    guest_send(guest, stream, token, multistream_write(name, token));
}

/* What came on a stream ends with this token. */
static void expect_token(struct guest *guest, struct guest_stream *stream, uint32_t at,
                         const char *name) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    uint32_t count = (uint32_t)multistream_write(name, token);
    guest_until(guest, stream->used >= at + count);
    cr_assert_eq(memcmp(stream->bytes + at, token, count), 0, "no %s", name);
}

/* ---- negotiation ---- */

Test(stream, what_is_not_spoken_is_na_and_another_may_be_proposed) {
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, "/ipfs/kad/1.0.0");
    uint32_t at = token_bytes(multistream_header);
    expect_token(&guest, stream, at, multistream_na);
    send_token(&guest, stream, "/ipfs/kad/2.0.0");
    expect_token(&guest, stream, at + 4, multistream_na);
    send_token(&guest, stream, ping);
    expect_token(&guest, stream, at + 8, ping);
    cr_assert_eq(tile_counter(&tile, unknown_protocols), 2);
    guest_close(&guest);
}

Test(stream, too_many_proposals_reset_the_stream_alone) {
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, "/a");
    for (uint32_t i = 0; i < MULTISTREAM_TOKENS_MAX && !stream->reset; i++) {
        send_token(&guest, stream, "/b");
    }
    guest_until(&guest, stream->reset);
    guest_settle(&guest);
    guest_close(&guest);
}

Test(stream, what_is_no_token_resets_the_stream_alone) {
    struct guest guest = tile_enter(&tile, NULL);
    static const struct {
        const char *bytes;
        uint32_t count;
    } wrong[] = {{"\x05no\n..", 6}, {"\xff\xff\x7f", 3}, {"\0", 1}};
    for (uint32_t i = 0; i < array_count(wrong); i++) {
        struct guest_stream *stream = guest_stream(&guest, "/x");
        guest_send(&guest, stream, wrong[i].bytes, wrong[i].count);
        guest_until(&guest, stream->reset);
    }
    guest_settle(&guest);
    guest_close(&guest);
}

Test(stream, a_stream_that_ends_inside_a_token_is_over) {
    struct guest guest = tile_enter(&tile, NULL);
    uint64_t before = tile_counter(&tile, streams);
    struct guest_stream *stream = guest_stream(&guest, "/x");
    guest_send(&guest, stream, "\x13/multi", 7);
    guest_finish(&guest, stream);
    guest_until(&guest, stream->ended);
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, streams), before);
    guest_close(&guest);
}

/* ---- identify ---- */

static void expect_identify(struct guest *guest, struct guest_stream *stream) {
    guest_until(guest, stream->ended);
    uint8_t buffer[IDENTIFY_BYTES_MAX];
    struct identify_reader reader;
    identify_reader_init(&reader, secure_peer(guest->secure), buffer);
    uint32_t at = token_bytes(multistream_header) + token_bytes(identify);
    size_t used = 0;
    cr_assert_eq(identify_step(&reader, stream->bytes + at, stream->used - at, &used),
                 IDENTIFY_MESSAGE);
    cr_assert_eq(at + used, stream->used, "one message and its FIN");
    cr_assert(reader.info.key_matches, "js peers need the key");
    cr_assert(reader.info.speaks & SPEAKS_BITSWAP_120);
    cr_assert(reader.info.speaks & SPEAKS_PING);
    cr_assert_eq(strncmp(reader.info.agent, "millrace/", 9), 0);
}

Test(stream, identify_is_answered_and_ended) {
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, identify);
    expect_identify(&guest, stream);
    guest_finish(&guest, stream);
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, identify_served), 1);
    guest_close(&guest);
}

Test(stream, identify_is_answered_byte_by_byte) {
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.write_bytes = 1});
    expect_identify(&guest, guest_stream(&guest, identify));
    guest_close(&guest);
}

Test(stream, identify_asked_for_too_often_is_refused_until_time_has_passed) {
    struct guest guest = tile_enter(&tile, NULL);
    uint32_t served = 0, refused = 0;
    for (uint32_t i = 0; i < 30 && refused == 0; i++) {
        struct guest_stream *stream = guest_stream(&guest, identify);
        guest_until(&guest, stream->ended || stream->reset);
        served += !stream->reset;
        refused += stream->reset;
    }
    cr_assert_geq(served, 8);
    cr_assert_eq(refused, 1);
    cr_assert_eq(tile_counter(&tile, identify_refused), 1);
    tile_tick(&tile);
    struct guest_stream *stream = guest_stream(&guest, identify);
    expect_identify(&guest, stream);
    guest_close(&guest);
}

Test(stream, the_peer_is_asked_who_it_is) {
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.agent = "somebody/9"});
    struct peer *peer = tile_peer(&tile);
    guest_until(&guest, peer->identified);
    cr_assert_str_eq(peer->agent, "somebody/9");
    cr_assert_not(peer->js);
    cr_assert_eq(peer->spoken, 0);
    guest_settle(&guest);
    cr_assert_eq(tile.swarm->identifies, 0);
    guest_close(&guest);
}

Test(stream, a_peer_that_keeps_who_it_is_is_served_all_the_same) {
    struct block block = block_make(1, 100000);
    house_put(&tile.rig, &block);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.keeps_identify = true});
    guest_ask(&guest, guest_stream(&guest, bitswap), &block);
    (void)guest_expect_block(&guest, &block);
    cr_assert_eq(tile.swarm->identifies, 1);
    tile_age(&tile, 61 * NS_PER_S);
    tile_tick(&tile);
    cr_assert_eq(tile.swarm->identifies, 0, "the buffer does not stay");
    guest_close(&guest);
    block_free(&block);
}

Test(stream, a_pushed_identify_counts) {
    struct guest guest = tile_enter(&tile, NULL);
    struct peer *peer = tile_peer(&tile);
    guest_until(&guest, peer->identified);
    struct guest_stream *stream = guest_stream(&guest, push);
    expect_token(&guest, stream, token_bytes(multistream_header), push);
    static const uint8_t message[] = {0x0d, 0x32, 0x0b, 'j', 's', '-', 'l',
                                      'i',  'b',  'p',  '2', 'p', '/', '3'};
    guest_send(&guest, stream, message, sizeof message);
    guest_finish(&guest, stream);
    guest_until(&guest, stream->ended);
    cr_assert_str_eq(peer->agent, "js-libp2p/3");
    cr_assert(peer->js);
    guest_settle(&guest);
    cr_assert_eq(tile.swarm->identifies, 0);
    guest_close(&guest);
}

Test(stream, a_pushed_message_that_is_none_changes_nothing) {
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.agent = "somebody/9"});
    struct peer *peer = tile_peer(&tile);
    guest_until(&guest, peer->identified);
    struct guest_stream *stream = guest_stream(&guest, push);
    guest_send(&guest, stream, "\xff\xff\xff\xff\xff", 5);
    guest_finish(&guest, stream);
    guest_settle(&guest);
    cr_assert_str_eq(peer->agent, "somebody/9");
    cr_assert_eq(tile.swarm->identifies, 0);
    guest_close(&guest);
}

/* ---- ping ---- */

static void expect_echo(uint32_t write_bytes) {
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.write_bytes = write_bytes});
    struct guest_stream *stream = guest_stream(&guest, ping);
    uint32_t at = token_bytes(multistream_header) + token_bytes(ping);
    for (uint32_t round = 0; round < 3; round++) {
        uint8_t bytes[32];
        memset(bytes, (int)('a' + round), sizeof bytes);
        for (uint32_t i = 0; i < sizeof bytes; i += write_bytes ? 1 : (uint32_t)sizeof bytes) {
            guest_send(&guest, stream, bytes + i, write_bytes ? 1 : sizeof bytes);
        }
        guest_until(&guest, stream->used == at + (round + 1) * 32);
        cr_assert_eq(memcmp(stream->bytes + at + (size_t)round * 32, bytes, 32), 0);
    }
    cr_assert_eq(tile_counter(&tile, pings_served), 3);
    guest_finish(&guest, stream);
    guest_until(&guest, stream->ended);
    guest_close(&guest);
}

Test(stream, pings_are_echoed) {
    expect_echo(0);
}
Test(stream, pings_are_echoed_frame_by_frame_of_a_byte) {
    expect_echo(3);
}

Test(stream, pings_come_ahead_of_blocks) {
    struct block block = block_make(1, 2 * MiB);
    house_warm(&tile.rig, &block);
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, ping);
    guest_until(&guest, stream->used == 20 + 18);
    struct guest_stream *wants = guest_stream(&guest, bitswap);
    guest_ask(&guest, wants, &block);
    tile_turn(&tile);
    tile_turn(&tile);
    uint8_t bytes[32] = {7};
    guest_send(&guest, stream, bytes, sizeof bytes);
    guest_until(&guest, stream->used == 20 + 18 + 32);
    cr_assert_eq(guest.answer_count, 0, "the echo waits for no block");
    (void)guest_expect_block(&guest, &block);
    guest_close(&guest);
    block_free(&block);
}

/* ---- bounds and ends ---- */

Test(stream, more_streams_than_the_bound_are_reset_and_the_others_stay) {
    struct guest guest = tile_enter(&tile, NULL);
    guest_until(&guest, tile_counter(&tile, streams) == 0);
    struct guest_stream *streams[PEER_STREAMS_MAX + 10];
    for (uint32_t i = 0; i < array_count(streams); i++) {
        streams[i] = guest_stream(&guest, ping);
    }
    guest_settle(&guest);
    uint32_t reset = 0;
    for (uint32_t i = 0; i < array_count(streams); i++) {
        reset += streams[i]->reset;
    }
    cr_assert_eq(reset, 10);
    cr_assert_eq(tile_counter(&tile, streams), PEER_STREAMS_MAX);
    uint8_t bytes[32] = {1};
    guest_send(&guest, streams[0], bytes, sizeof bytes);
    guest_until(&guest, streams[0]->used == 20 + 18 + 32);
    for (uint32_t i = 0; i < array_count(streams); i++) {
        guest_reset(&guest, streams[i]);
    }
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, streams), 0);
    guest_close(&guest);
}

Test(stream, one_stream_after_another_is_no_many) {
    struct guest guest = tile_enter(&tile, NULL);
    for (uint32_t i = 0; i < 3 * PEER_STREAMS_MAX; i++) { /* as js opens one for each batch */
        struct guest_stream *stream = guest_stream(&guest, bitswap);
        guest_finish(&guest, stream);
        guest_until(&guest, stream->ended);
    }
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, streams), 0);
    cr_assert_eq(tile_counter(&tile, streams_refused), 0);
    guest_close(&guest);
}

Test(stream, streams_opened_faster_than_the_budget_wait) {
    struct guest guest = tile_enter(&tile, NULL);
    uint8_t opens[64 * YAMUX_HEAD_BYTES];
    uint32_t id = 101;
    for (uint32_t round = 0; round < 40; round++) { /* opened, and reset in the same breath */
        for (uint32_t i = 0; i < 64; i += 2, id += 2) {
            uint8_t *at = opens + (size_t)i * YAMUX_HEAD_BYTES;
            memset(at, 0, 2 * YAMUX_HEAD_BYTES);
            at[1] = at[13] = 1;
            at[3] = 1;
            at[15] = 8;
            put_be32(at + 4, id);
            put_be32(at + 16, id);
        }
        guest_say(&guest, opens, sizeof opens);
        tile_rest(&tile);
    }
    struct peer *peer = tile_peer(&tile);
    cr_assert_lt(peer->opens_left, 64);
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (tile_counter(&tile, streams_in) + tile_counter(&tile, streams_refused) < 40 * 32) {
        cr_assert_lt(clock_ns(), limit);
        tile_tick(&tile);
    }
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, streams), 0);
    guest_close(&guest);
}

Test(stream, a_stream_without_a_word_is_reset_after_a_while) {
    struct guest guest = tile_enter(&tile, NULL);
    guest_until(&guest, tile_counter(&tile, streams) == 0);
    guest_frame(&guest, (struct guest_frame){.type = 1, .flags = 1, .id = 1001}, NULL, 0);
    tile_rest(&tile);
    cr_assert_eq(tile_counter(&tile, streams), 1);
    tile_age(&tile, 61 * NS_PER_S);
    tile_tick(&tile);
    cr_assert_eq(tile_counter(&tile, streams), 0);
    guest_step(&guest);
    guest_close(&guest);
}

Test(stream, a_want_stream_stays_open_however_long_it_is_silent) {
    struct block block = block_make(1, 10);
    house_put(&tile.rig, &block);
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_settle(&guest);
    for (uint32_t i = 0; i < 4; i++) {
        tile_age(&tile, 25 * NS_PER_S);
        tile_tick(&tile);
        guest_settle(&guest);
    }
    guest_ask(&guest, stream, &block);
    (void)guest_expect_block(&guest, &block);
    guest_close(&guest);
    block_free(&block);
}

Test(stream, a_message_that_is_none_resets_its_stream_and_what_was_wanted_before_stands) {
    struct block block = block_make(1, 10);
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_ask(&guest, stream, &block);
    guest_send(&guest, stream, "\x02\x0f\xff", 3);
    guest_until(&guest, stream->reset);
    cr_assert_eq(tile_counter(&tile, bad_messages), 1);
    house_put(&tile.rig, &block);
    (void)guest_expect_block(&guest, &block);
    guest_close(&guest);
    block_free(&block);
}

Test(stream, blocks_nobody_asked_for_are_read_away_and_counted) {
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    struct block block = block_make(1, 300000);
    struct bitswap_form form = {CID_RAW, 1};
    uint8_t head[BITSWAP_LENGTH_MAX + BITSWAP_BLOCK_HEAD_MAX];
    size_t used =
        bitswap_put_length((uint32_t)bitswap_block_size(&block.key, &form, block.count), head);
    used += bitswap_put_block_head(&block.key, &form, block.count, head + used);
    guest_send(&guest, stream, head, used);
    guest_send(&guest, stream, block.bytes, block.count);
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, unwanted_blocks), 1);
    guest_ask(&guest, stream, &block);
    guest_settle(&guest);
    cr_assert_eq(guest.answer_count, 0, "it was not stored");
    guest_close(&guest);
    block_free(&block);
}
