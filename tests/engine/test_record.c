/* SPDX-License-Identifier: MIT */
/* The open record of a peer: engine/swarm/record.c. What is written are window updates of nothing
 * for streams that are not there: a guest reads them, and says nothing. */
#include "engine/swarm/record.h"

#include "base/bits.h"
#include "tests/engine/tile.h"

#include <criterion/criterion.h>
#include <string.h>

static struct tile tile;
static struct guest guest;
static struct peer *peer;

static void setup(void) {
    tile_init(&tile);
    tile_open(&tile);
    guest = guest_open(&tile.rig, NULL);
    guest_settle(&guest);
    guest_settle(&guest);
    tile_rest(&tile);
    peer = tile_peer(&tile);
    cr_assert_null(peer->record);
}
static void teardown(void) {
    guest_close(&guest);
    tile_close(&tile);
}
TestSuite(record, .init = setup, .fini = teardown, .timeout = 200);

static void put_frames(uint8_t *room, uint32_t count) {
    memset(room, 0, count);
    for (uint32_t at = 0; at < count; at += YAMUX_HEAD_BYTES) {
        room[at + 1] = 1;
        put_be32(room + at + 4, 99998);
    }
}

static void say_nothing(uint32_t bytes) {
    uint8_t *room = record_room(peer, bytes, false);
    cr_assert_not_null(room);
    put_frames(room, bytes);
}

/* All of it is read, in order: a ping behind it comes back. */
static void expect_read(void) {
    cr_assert(record_seal(peer));
    cr_assert_null(peer->record);
    guest_settle(&guest);
    tile_rest(&tile);
    cr_assert_eq(peer->state, PEER_OPEN);
}

Test(record, room_follows_room_in_one_record) {
    uint64_t before = tile_counter(&tile, records_out);
    uint8_t *first = record_room(peer, 120, false);
    put_frames(first, 120);
    uint8_t *second = record_room(peer, 240, false);
    put_frames(second, 240);
    cr_assert_eq(second - first, 120);
    cr_assert_eq(peer->record_used, 360);
    cr_assert(record_seal(peer));
    cr_assert_eq(tile_counter(&tile, records_out), before + 1);
    expect_read();
}

Test(record, what_is_given_back_is_not_said) {
    say_nothing(120);
    (void)record_room(peer, 1000, false);
    record_trim(peer, 1000);
    cr_assert_eq(peer->record_used, 120);
    expect_read();
}

Test(record, an_empty_record_is_no_record) {
    uint64_t before = tile_counter(&tile, records_out);
    uint32_t small = tile.net->outs.small.free_count, large = tile.net->outs.large.free_count;
    (void)record_room(peer, 100, false);
    record_trim(peer, 100);
    cr_assert(record_seal(peer));
    cr_assert_null(peer->record);
    cr_assert_eq(tile_counter(&tile, records_out), before);
    cr_assert_eq(tile.net->outs.small.free_count, small);
    cr_assert_eq(tile.net->outs.large.free_count, large);
}

Test(record, what_does_not_fit_begins_another) {
    uint64_t before = tile_counter(&tile, records_out);
    say_nothing(12);
    uint32_t left = record_left(peer);
    cr_assert_lt(left, OUT_SMALL_BYTES);
    say_nothing(16380); /* more than a small chunk has */
    cr_assert_eq(tile_counter(&tile, records_out), before + 1);
    cr_assert_eq(peer->record_used, 16380);
    cr_assert_gt(record_left(peer), 40000);
    for (uint32_t i = 0; i < 20; i++) {
        say_nothing(16380);
    }
    expect_read();
}

Test(record, a_record_may_be_as_long_as_the_channel_allows) {
    cr_assert(record_begin_large(peer));
    cr_assert_eq(record_left(peer), SECURE_PLAIN_MAX);
    while (record_left(peer) >= 16380) {
        say_nothing(16380);
    }
    say_nothing(record_left(peer) / YAMUX_HEAD_BYTES * YAMUX_HEAD_BYTES);
    expect_read();
}

Test(record, a_body_follows_what_is_written_without_a_copy) {
    static uint8_t body[50 * 1200];
    put_frames(body, sizeof body);
    cr_assert(record_begin_large(peer));
    say_nothing(120);
    cr_assert(record_seal_with(peer, body, sizeof body));
    cr_assert_null(peer->record);
    expect_read();
}

Test(record, a_dropped_record_gives_its_chunk_back) {
    uint32_t small = tile.net->outs.small.free_count;
    say_nothing(120);
    cr_assert_eq(tile.net->outs.small.free_count, small - 1);
    record_drop(peer);
    record_drop(peer);
    cr_assert_null(peer->record);
    cr_assert_eq(tile.net->outs.small.free_count, small);
    expect_read();
}

Test(record, a_peer_that_is_gone_has_no_room) {
    peer_end(peer, CONN_END_ERROR);
    cr_assert_null(record_room(peer, 12, false));
}

Test(record, the_small_stand_in_for_the_large_and_the_other_way_round) {
    void *taken[4096 + 1024];
    uint32_t count = 0;
    while (tile.net->outs.small.free_count > 0) {
        taken[count++] = pool_get(&tile.net->outs.small);
    }
    say_nothing(120);
    cr_assert_eq(peer->record->size, OUT_LARGE_BYTES);
    cr_assert(record_seal(peer));
    while (count > 0) {
        pool_put(&tile.net->outs.small, taken[--count]);
    }
    while (tile.net->outs.large.free_count > 0) {
        taken[count++] = pool_get(&tile.net->outs.large);
    }
    say_nothing(120);
    cr_assert_eq(peer->record->size, OUT_SMALL_BYTES);
    cr_assert_null(record_room(peer, 16380, false), "too much for a small one");
    cr_assert_not(record_begin_large(peer));
    while (count > 0) {
        pool_put(&tile.net->outs.large, taken[--count]);
    }
    expect_read();
}
