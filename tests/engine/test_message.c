/* SPDX-License-Identifier: MIT */
/* How answers are packed, on which streams they leave, and what a peer's windows do to them:
 * engine/swarm/message.c. */
#include "engine/swarm/message.h"

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
TestSuite(message, .init = setup, .fini = teardown, .timeout = 200);

/* So many blocks, in memory, with their wants; one want-block each. */
struct shelf {
    uint32_t count;
    struct block *blocks;
    struct bitswap_want *wants;
};

static struct shelf shelf_make(uint32_t count, uint32_t bytes) {
    struct shelf shelf = {count, calloc(count, sizeof *shelf.blocks),
                          calloc(count, sizeof *shelf.wants)};
    struct caller caller = caller_open(&tile.rig);
    for (uint32_t i = 0; i < count; i++) {
        shelf.blocks[i] = block_make(1000 + i, bytes);
        shelf.wants[i] = guest_want(&shelf.blocks[i]);
        caller_put(&caller, i, &shelf.blocks[i]);
        (void)caller_expect(&caller, TLV_DONE, i);
        caller_get(&caller, i, &shelf.blocks[i].key);
        caller_expect_value(&caller, i, &shelf.blocks[i]);
    }
    caller_close(&caller);
    return shelf;
}

static void shelf_free(struct shelf *shelf) {
    for (uint32_t i = 0; i < shelf->count; i++) {
        block_free(&shelf->blocks[i]);
    }
    free(shelf->blocks);
    free(shelf->wants);
}

static void expect_shelf(struct guest *guest, const struct shelf *shelf) {
    for (uint32_t i = 0; i < shelf->count; i++) {
        (void)guest_expect_block(guest, &shelf->blocks[i]);
    }
}

static uint32_t streams_used(const struct guest *guest) {
    uint32_t count = 0;
    for (const struct guest_stream *stream = guest->streams; stream; stream = stream->next) {
        count += stream->theirs && stream->bitswap;
    }
    return count;
}

/* ---- packing ---- */

Test(message, small_blocks_and_presences_share_a_message) {
    struct shelf shelf = shelf_make(10, 500);
    struct guest guest = tile_enter(&tile, NULL);
    struct bitswap_want wants[20];
    struct block none[10];
    for (uint32_t i = 0; i < 10; i++) {
        none[i] = block_make(1 + i, 10);
        wants[i] = shelf.wants[i];
        wants[10 + i] = guest_want(&none[i]);
        wants[10 + i].send_dont_have = true;
    }
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, 20, false);
    guest_until(&guest, guest.answer_count == 20);
    guest_settle(&guest);
    cr_assert_eq(streams_used(&guest), 1);
    cr_assert_leq(tile_counter(&tile, messages_out), 2);
    cr_assert_eq(tile_counter(&tile, blocks_out), 10);
    cr_assert_eq(tile_counter(&tile, dont_haves_out), 10);
    guest_close(&guest);
    for (uint32_t i = 0; i < 10; i++) {
        block_free(&none[i]);
    }
    shelf_free(&shelf);
}

Test(message, messages_of_small_blocks_are_bounded) {
    struct shelf shelf = shelf_make(200, 3000);
    struct guest guest = tile_enter(&tile, NULL);
    guest_wants(&guest, guest_stream(&guest, bitswap), shelf.wants, shelf.count, false);
    expect_shelf(&guest, &shelf);
    cr_assert_eq(guest.answer_count, shelf.count);
    cr_assert_geq(tile_counter(&tile, messages_out), 200 / 5);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, large_blocks_leave_on_several_streams_at_once) {
    struct shelf shelf = shelf_make(12, 256 * 1024);
    struct guest guest = tile_enter(&tile, NULL);
    guest_wants(&guest, guest_stream(&guest, bitswap), shelf.wants, shelf.count, false);
    expect_shelf(&guest, &shelf);
    cr_assert_gt(streams_used(&guest), 1);
    cr_assert_leq(guest_replies(&guest), PEER_REPLIES_MAX);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, reply_streams_end_before_go_forgets_their_window) {
    struct shelf shelf = shelf_make(24, 300 * 1024);
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    for (uint32_t i = 0; i < shelf.count; i++) { /* one after the other */
        guest_ask(&guest, stream, &shelf.blocks[i]);
        (void)guest_expect_block(&guest, &shelf.blocks[i]);
    }
    guest_settle(&guest);
    cr_assert_geq(streams_used(&guest), 24 * 300 / 1000);
    for (const struct guest_stream *at = guest.streams; at; at = at->next) {
        cr_assert(!at->theirs || at->taken <= 1000 * 1000 + 100);
    }
    cr_assert_leq(guest_replies(&guest), PEER_REPLIES_MAX);
    cr_assert_leq(tile_counter(&tile, streams), PEER_REPLIES_MAX + 1);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, streams_whose_windows_go_forgot_are_replaced) {
    struct shelf shelf = shelf_make(1, 256 * 1024);
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_settle(&guest);
    struct peer *peer = tile_peer(&tile);
    for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
        if (!peer->replies[i]) {
            peer->replies[i] = stream_open(peer, STREAM_REPLY);
            cr_assert(stream_write(peer->replies[i], NULL, 0));
        }
        peer->replies[i]->sent = 1000 * 1000 - 100;
        peer->replies[i]->yamux.send_window = 100;
    }
    guest_ask(&guest, stream, &shelf.blocks[0]);
    expect_shelf(&guest, &shelf);
    guest_close(&guest);
    shelf_free(&shelf);
}

/* ---- js peers ---- */

Test(message, reply_streams_to_js_peers_end_with_their_burst) {
    struct shelf shelf = shelf_make(8, 20000);
    struct guest guest = tile_enter(
        &tile, &(struct guest_manners){.agent = "js-libp2p/3.3.11", .ends_at_once = true});
    cr_assert(tile_peer(&tile)->js);
    for (uint32_t burst = 0; burst < 4; burst++) {
        struct guest_stream *stream = guest_stream(&guest, bitswap);
        guest_wants(&guest, stream, shelf.wants + 2 * (size_t)burst, 2, false);
        guest_finish(&guest, stream);
        (void)guest_expect_block(&guest, &shelf.blocks[2 * burst]);
        (void)guest_expect_block(&guest, &shelf.blocks[2 * burst + 1]);
        guest_until(&guest, guest_replies(&guest) == 0);
    }
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, streams), 0);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, three_hundred_bursts_to_a_js_peer_leave_no_stream) {
    struct shelf shelf = shelf_make(1, 100);
    struct guest guest = tile_enter(
        &tile, &(struct guest_manners){.agent = "js-libp2p/3.3.11", .ends_at_once = true});
    for (uint32_t burst = 0; burst < 300; burst++) {
        struct guest_stream *stream = guest_stream(&guest, bitswap);
        guest_ask(&guest, stream, &shelf.blocks[0]);
        guest_finish(&guest, stream);
        guest_until(&guest, guest.answer_count == burst + 1);
    }
    guest_until(&guest, guest_replies(&guest) == 0);
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, streams), 0);
    cr_assert_eq(tile_counter(&tile, streams_refused), 0);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, an_open_message_is_ended_before_a_large_block_counts_its_window) {
    enum { SMALL = 12000, LARGE = 300000 };
    struct shelf small = shelf_make(1, SMALL);
    struct block large = block_make(1, LARGE), filler = block_make(2, 230000);
    house_warm(&tile.rig, &large);
    house_warm(&tile.rig, &filler);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.agent = "js-libp2p/3.3.11",
                                                                   .keeps_tokens = true,
                                                                   .holds_windows = true});
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_ask(&guest, stream, &filler); /* leaves 32 KiB of the window */
    (void)guest_expect_block(&guest, &filler);
    struct bitswap_want wants[] = {small.wants[0], guest_want(&large)};
    wants[0].priority = 10;
    guest_wants(&guest, stream, wants, 2, false);
    (void)guest_expect_block(&guest, &small.blocks[0]);
    cr_assert_eq(tile_peer(&tile)->state, PEER_OPEN);
    guest_close(&guest);
    block_free(&large);
    block_free(&filler);
    shelf_free(&small);
}

/* ---- windows ---- */

Test(message, windows_that_never_open_hold_no_frame_and_nobody_else_up) {
    enum { COUNT = 12 };
    struct shelf shelf = shelf_make(COUNT, 1024 * 1024);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.holds_windows = true});
    guest_wants(&guest, guest_stream(&guest, bitswap), shelf.wants, COUNT, false);
    guest_until(&guest, guest_replies(&guest) == PEER_REPLIES_MAX);
    guest_settle(&guest);
    tile_rest(&tile);
    cr_assert_eq(guest.answer_count, 0);
    cr_assert_eq(tile.net->outs.leased_bytes, 0);
    cr_assert_eq(pool_used(&tile.net->jobs), 1, "nothing is in flight for it");
    cr_assert_null(tile_peer(&tile)->conn->out_head);
    struct guest other = guest_open(&tile.rig, &(struct guest_manners){.seed = 2});
    guest_wants(&other, guest_stream(&other, bitswap), shelf.wants, COUNT, false);
    expect_shelf(&other, &shelf);
    guest_close(&other);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, a_block_without_a_window_for_long_begins_again_on_another_stream) {
    struct shelf shelf = shelf_make(1, 1024 * 1024);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.holds_windows = true});
    guest_wants(&guest, guest_stream(&guest, bitswap), shelf.wants, 1, false);
    guest_until(&guest, guest_replies(&guest) == 1);
    guest_settle(&guest);
    guest.manners.holds_windows = false;
    tile_age(&tile, 16 * NS_PER_S);
    tile_tick(&tile);
    expect_shelf(&guest, &shelf);
    cr_assert_eq(tile_counter(&tile, replies_stuck), 1);
    cr_assert_eq(guest.answer_count, 1);
    guest_close(&guest);
    shelf_free(&shelf);
}

static void expect_steps(uint32_t step) {
    struct shelf shelf = shelf_make(1, 400 * 1024);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.holds_windows = true});
    guest_wants(&guest, guest_stream(&guest, bitswap), shelf.wants, 1, false);
    guest_until(&guest, guest_replies(&guest) == 1);
    guest_settle(&guest);
    struct guest_stream *reply = guest.streams;
    while (!reply->bitswap || !reply->theirs) {
        reply = reply->next;
    }
    for (uint32_t given = 0; given < 200 * 1024 && guest.answer_count == 0; given += step) {
        guest_frame(&guest, (struct guest_frame){.type = 1, .id = reply->id, .length = step}, NULL,
                    0);
        reply->yamux.receive_left += step; /* as its own yamux would have counted it */
        reply->yamux.receive_window += step;
        guest_step(&guest);
    }
    expect_shelf(&guest, &shelf);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, windows_opened_in_steps_are_used) {
    expect_steps(5000);
}
Test(message, windows_opened_in_tiny_steps_are_used) {
    expect_steps(100);
}

/* ---- resets ---- */

Test(message, a_block_whose_stream_is_reset_begins_again_elsewhere) {
    struct shelf shelf = shelf_make(3, 2 * 1024 * 1024);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.resets_after = 100000});
    guest_wants(&guest, guest_stream(&guest, bitswap), shelf.wants, shelf.count, false);
    expect_shelf(&guest, &shelf);
    cr_assert_eq(guest.answer_count, 3);
    guest_settle(&guest);
    cr_assert_eq(counter_get(&tile.swarm->ledger.counters.wants), 0);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, a_block_deleted_in_the_middle_resets_its_stream_and_waits) {
    struct shelf shelf = shelf_make(1, 1024 * 1024);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.holds_windows = true});
    guest_wants(&guest, guest_stream(&guest, bitswap), shelf.wants, 1, false);
    guest_until(&guest, guest_replies(&guest) == 1);
    guest_settle(&guest);
    house_delete(&tile.rig, &shelf.blocks[0]);
    struct guest_stream *reply = guest.streams;
    while (!reply->bitswap || !reply->theirs) {
        reply = reply->next;
    }
    guest_frame(&guest, (struct guest_frame){.type = 1, .id = reply->id, .length = 100000}, NULL,
                0);
    guest_until(&guest, reply->reset);
    cr_assert_eq(counter_get(&tile.swarm->ledger.counters.waiting), 1);
    guest.manners.holds_windows = false;
    house_put(&tile.rig, &shelf.blocks[0]);
    expect_shelf(&guest, &shelf);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, a_withdrawn_block_in_the_middle_wanted_again_as_have_is_ended) {
    struct shelf shelf = shelf_make(1, 1024 * 1024);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.holds_windows = true});
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_wants(&guest, stream, shelf.wants, 1, false);
    guest_until(&guest, guest_replies(&guest) == 1);
    guest_settle(&guest);
    struct bitswap_want again[] = {shelf.wants[0], shelf.wants[0]};
    again[0].cancel = true;
    again[1].have = true;
    guest_wants(&guest, stream, again, 1, false);
    guest_wants(&guest, stream, again + 1, 1, false);
    guest_settle(&guest);
    /* Out of memory and back from disk, as any block may go meanwhile. */
    house_delete(&tile.rig, &shelf.blocks[0]);
    house_put(&tile.rig, &shelf.blocks[0]);
    struct guest_stream *reply = guest.streams;
    while (!reply->bitswap || !reply->theirs) {
        reply = reply->next;
    }
    guest_frame(&guest, (struct guest_frame){.type = 1, .id = reply->id, .length = 8 * 1024 * 1024},
                NULL, 0);
    reply->yamux.receive_left += 8 * 1024 * 1024;
    reply->yamux.receive_window += 8 * 1024 * 1024;
    guest.manners.holds_windows = false;
    expect_shelf(&guest, &shelf);
    cr_assert_eq(tile_peer(&tile)->state, PEER_OPEN);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, a_refused_protocol_is_answered_in_the_next_older_one) {
    struct shelf shelf = shelf_make(1, 50000);
    struct guest guest = tile_enter(
        &tile, &(struct guest_manners){
                   .keeps_identify = true, .refuses = 1, .speaks = "/ipfs/bitswap/1.1.0"});
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_ask(&guest, stream, &shelf.blocks[0]);
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (guest.manners.refuses > 0) {
        cr_assert_lt(clock_ns(), limit);
        guest_step(&guest);
    }
    guest_settle(&guest);
    guest_ask(&guest, stream, &shelf.blocks[0]); /* the first may have left with the refusal */
    expect_shelf(&guest, &shelf);
    guest_close(&guest);
    shelf_free(&shelf);
}

Test(message, streams_retired_before_their_tokens_came_ignore_them) {
    struct shelf shelf = shelf_make(8, 250 * 1024);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.keeps_tokens = true});
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    for (uint32_t i = 0; i < shelf.count; i++) {
        guest_ask(&guest, stream, &shelf.blocks[i]);
        (void)guest_expect_block(&guest, &shelf.blocks[i]);
    }
    for (struct guest_stream *at = guest.streams; at; at = at->next) {
        if (at->theirs && at->bitswap && !at->yamux.self_done) {
            guest_send(&guest, at, "\x13/multistream/1.0.0\n\x14/ipfs/bitswap/1.2.0\n", 41);
        }
    }
    guest_settle(&guest);
    cr_assert_eq(tile_peer(&tile)->state, PEER_OPEN);
    guest_close(&guest);
    shelf_free(&shelf);
}
