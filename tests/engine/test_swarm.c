/* SPDX-License-Identifier: MIT */
/* The life of peers, by the clock and at the bounds of every pool: engine/swarm/swarm.c. */
#include "engine/swarm/swarm.h"

#include "base/clock.h"
#include "engine/swarm/serve.h"
#include "tests/engine/tile.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char bitswap[] = "/ipfs/bitswap/1.2.0";
static struct tile tile;

static void setup(void) {
    tile_init(&tile);
}
static void teardown(void) {
    tile_close(&tile);
}
TestSuite(swarm, .init = setup, .fini = teardown, .timeout = 200);

/* ---- time ---- */

Test(swarm, a_silent_peer_is_pinged_and_stays_while_it_answers) {
    tile_open(&tile);
    struct guest guest = tile_enter(&tile, NULL);
    for (uint32_t i = 0; i < 5; i++) {
        tile_age(&tile, 31 * NS_PER_S);
        tile_tick(&tile);
        struct peer *peer = tile_peer(&tile);
        cr_assert_neq(peer->pinged_ns, 0);
        guest_until(&guest, peer->pinged_ns == 0);
    }
    cr_assert_eq(tile_counter(&tile, keepalive_closes), 0);
    guest_close(&guest);
}

Test(swarm, a_peer_that_answers_no_ping_is_closed) {
    tile_open(&tile);
    struct guest guest = tile_enter(&tile, NULL);
    tile_age(&tile, 31 * NS_PER_S);
    tile_tick(&tile); /* the guest makes no step: it answers nothing */
    tile_age(&tile, 21 * NS_PER_S);
    tile_tick(&tile);
    cr_assert_eq(tile_counter(&tile, keepalive_closes), 1);
    guest_expect_end(&guest);
    guest_close(&guest);
}

Test(swarm, a_peer_that_never_answered_a_ping_is_closed) {
    tile_open(&tile);
    struct guest guest = guest_open(&tile.rig, NULL);
    tile_rest(&tile); /* our first ping is out */
    cr_assert_neq(tile_peer(&tile)->pinged_ns, 0);
    tile_age(&tile, 31 * NS_PER_S);
    tile_tick(&tile);
    cr_assert_eq(tile_counter(&tile, keepalive_closes), 1);
    guest_expect_end(&guest);
    guest_close(&guest);
}

Test(swarm, a_peer_of_no_use_is_closed_after_the_idle_timeout) {
    tile.rig.settings.bitswap_idle_timeout_ns = 60 * NS_PER_S;
    tile_open(&tile);
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 10);
    guest_ask(&guest, guest_stream(&guest, bitswap), &block);
    guest_settle(&guest);
    tile_age(&tile, 61 * NS_PER_S);
    tile_tick(&tile);
    guest_settle(&guest); /* it waits for a block: that is of use */
    struct bitswap_want cancel = guest_want(&block);
    cancel.cancel = true;
    guest_wants(&guest, guest_stream(&guest, bitswap), &cancel, 1, false);
    guest_settle(&guest);
    tile_age(&tile, 61 * NS_PER_S);
    tile_tick(&tile);
    guest_expect_end(&guest);
    cr_assert_eq(counter_get(&tile.net->counters.idle_closes), 1);
    guest_close(&guest);
    block_free(&block);
}

static void expect_late(void (*say)(struct guest *guest)) {
    tile_open(&tile);
    struct guest guest = guest_call(&tile.rig, NULL);
    say(&guest);
    tile_rest(&tile);
    tile_age(&tile, 9 * NS_PER_S);
    tile_tick(&tile);
    cr_assert_eq(tile.swarm->shaking, 1);
    tile_age(&tile, 2 * NS_PER_S);
    tile_tick(&tile);
    cr_assert_eq(tile_counter(&tile, handshakes_late), 1);
    guest_expect_end(&guest);
    guest_close(&guest);
}

static void say_nothing(struct guest *guest) {
    (void)guest;
}
static void say_protocol(struct guest *guest) {
    guest_write(guest, "\x13/multistream/1.0.0\n\x07/noise\n", 28);
}
static void say_part(struct guest *guest) {
    say_protocol(guest);
    guest_write(guest, "\0\x20part", 6);
}

Test(swarm, a_connection_that_says_nothing_is_closed_in_time) {
    expect_late(say_nothing);
}
Test(swarm, a_handshake_that_stops_is_closed_in_time) {
    expect_late(say_protocol);
}
Test(swarm, a_handshake_that_stops_inside_a_message_is_closed_in_time) {
    expect_late(say_part);
}

Test(swarm, a_record_that_trickles_is_closed_in_time) {
    tile_open(&tile);
    struct guest guest = tile_enter(&tile, NULL);
    guest_write(&guest, "\xff\xff....", 6);
    tile_rest(&tile);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_gt(tile.swarm->record_bytes, 0);
        tile_age(&tile, 8 * NS_PER_S);
        guest_write(&guest, ".", 1); /* it is heard, all the time */
        tile_tick(&tile);
    }
    guest_expect_end(&guest);
    tile_tick(&tile);
    cr_assert_eq(tile.swarm->record_bytes, 0);
    guest_close(&guest);
}

Test(swarm, wants_expire) {
    tile.rig.settings.bitswap_want_expiry_ns = 60 * NS_PER_S;
    tile_open(&tile);
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 10);
    guest_ask(&guest, guest_stream(&guest, bitswap), &block);
    guest_settle(&guest);
    struct ledger *ledger = &tile.swarm->ledger;
    cr_assert_eq(counter_get(&ledger->counters.waiting), 1);
    for (uint32_t i = 0; i < ledger->wants.slots_max; i++) {
        ((struct ledger_want *)pool_at(&ledger->wants, i))->named_ns -= 61 * NS_PER_S;
    }
    tile_tick(&tile);
    cr_assert_eq(counter_get(&ledger->counters.expired), 1);
    cr_assert_eq(counter_get(&ledger->counters.wants), 0);
    guest_close(&guest);
    block_free(&block);
}

/* ---- bounds ---- */

Test(swarm, the_oldest_handshake_makes_room_for_a_newcomer) {
    enum { ROOM = 64 };
    tile_open(&tile);
    cr_assert_eq(tile.swarm->shaking_max, ROOM);
    struct guest *half = calloc(ROOM, sizeof *half);
    for (uint32_t i = 0; i < ROOM; i++) {
        half[i] = guest_call(&tile.rig, NULL);
        tile_rest(&tile);
    }
    cr_assert_eq(tile.swarm->shaking, ROOM);
    struct guest guest = tile_enter(&tile, NULL);
    cr_assert_eq(tile_counter(&tile, handshakes_displaced), 1);
    guest_expect_end(&half[0]);
    guest_step(&half[1]);
    cr_assert_not(half[1].ended);
    guest_close(&guest);
    for (uint32_t i = 0; i < ROOM; i++) {
        guest_close(&half[i]);
    }
    free(half);
}

Test(swarm, more_peers_than_the_bound_are_turned_away) {
    tile.rig.settings.bitswap_peers_max = 1; /* and 16 over */
    tile_open(&tile);
    struct guest guests[17];
    for (uint32_t i = 0; i < array_count(guests); i++) {
        guests[i] = tile_enter(&tile, &(struct guest_manners){.seed = (uint8_t)(i + 1)});
    }
    struct guest late = guest_call(&tile.rig, NULL);
    guest_expect_end(&late);
    cr_assert_eq(tile_counter(&tile, no_peer), 1);
    guest_close(&late);
    guest_close(&guests[3]);
    tile_rest(&tile);
    guests[3] = tile_enter(&tile, NULL);
    for (uint32_t i = 0; i < array_count(guests); i++) {
        guest_settle(&guests[i]);
        guest_close(&guests[i]);
    }
}

/* All of a pool but `left`, until it is given back. */
struct taken {
    struct pool *pool;
    uint32_t count;
    void *slots[32768];
};

static void take_more(struct taken *taken, uint32_t left) {
    while (taken->pool->free_count > left) {
        taken->slots[taken->count++] = pool_get(taken->pool);
    }
}

static struct taken *take_all(struct pool *pool, uint32_t left) {
    struct taken *taken = calloc(1, sizeof *taken);
    taken->pool = pool;
    take_more(taken, left);
    return taken;
}

static void give_all(struct taken *taken) {
    while (taken->count > 0) {
        pool_put(taken->pool, taken->slots[--taken->count]);
    }
    free(taken);
}

Test(swarm, without_output_memory_newcomers_are_turned_away) {
    tile_open(&tile);
    struct taken *small = take_all(&tile.net->outs.small, 0);
    struct taken *large = take_all(&tile.net->outs.large, 0);
    struct guest guest = guest_call(&tile.rig, NULL);
    guest_expect_end(&guest);
    cr_assert_eq(tile_counter(&tile, no_peer), 1);
    guest_close(&guest);
    give_all(small);
    give_all(large);
    guest = tile_enter(&tile, NULL);
    guest_close(&guest);
}

Test(swarm, a_handshake_waits_for_a_free_step) {
    tile_open(&tile);
    struct taken *taken = take_all(&tile.swarm->handshakes, 0);
    struct guest guest = guest_call(&tile.rig, NULL);
    say_protocol(&guest);
    guest_write(&guest, "\0\x20", 2);
    static const uint8_t ephemeral[32] = {9};
    guest_write(&guest, ephemeral, sizeof ephemeral);
    tile_rest(&tile);
    cr_assert_eq(tile_peer(&tile)->state, PEER_HANDSHAKE);
    cr_assert_null(tile_peer(&tile)->step);
    give_all(taken);
    tile_rest(&tile);
    guest_step(&guest);
    cr_assert_gt(guest.in_used, 28 + 32, "the second message of the handshake has come");
    guest_close(&guest);
}

Test(swarm, without_streams_peers_are_refused_streams_and_nothing_else) {
    tile_open(&tile);
    struct guest guest = tile_enter(&tile, NULL);
    struct taken *taken = take_all(&tile.swarm->streams, 0);
    struct guest_stream *stream = guest_stream(&guest, "/ipfs/ping/1.0.0");
    guest_until(&guest, stream->reset);
    cr_assert_eq(tile_counter(&tile, streams_refused), 1);
    give_all(taken);
    stream = guest_stream(&guest, "/ipfs/ping/1.0.0");
    guest_until(&guest, stream->used == 20 + 18);
    guest_close(&guest);
}

Test(swarm, a_want_waits_for_a_reply_stream) {
    tile_open(&tile);
    struct block block = block_make(1, 100);
    house_warm(&tile.rig, &block);
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_settle(&guest);
    struct taken *taken = take_all(&tile.swarm->streams, 0);
    guest_ask(&guest, stream, &block);
    guest_settle(&guest);
    tile_rest(&tile);
    cr_assert_eq(guest.answer_count, 0);
    give_all(taken);
    tile_tick(&tile);
    (void)guest_expect_block(&guest, &block);
    guest_close(&guest);
    block_free(&block);
}

Test(swarm, a_peer_that_holds_all_its_streams_costs_no_disk_reads) {
    tile_open(&tile);
    struct block block = block_make(1, 300000);
    house_put(&tile.rig, &block);
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap), *other = NULL;
    for (uint32_t i = 1; i < PEER_STREAMS_MAX; i++) {
        other = guest_stream(&guest, "/ipfs/ping/1.0.0");
    }
    guest_settle(&guest);
    cr_assert_eq(tile_counter(&tile, streams), PEER_STREAMS_MAX);
    uint64_t heavy = counter_get(&tile.net->counters.heavy);
    guest_ask(&guest, stream, &block);
    for (uint32_t i = 0; i < 10; i++) {
        guest_settle(&guest);
        tile_tick(&tile);
    }
    cr_assert_leq(counter_get(&tile.net->counters.heavy) - heavy, 1);
    cr_assert_eq(guest.answer_count, 0);
    guest_reset(&guest, other); /* and now there is room for a reply */
    (void)guest_expect_block(&guest, &block);
    guest_close(&guest);
    block_free(&block);
}

static void expect_block_without(uint32_t bytes, bool small, bool large) {
    tile_open(&tile);
    struct block block = block_make(1, bytes);
    house_warm(&tile.rig, &block);
    struct guest guest = tile_enter(&tile, NULL);
    struct guest_stream *stream = guest_stream(&guest, bitswap);
    guest_settle(&guest);
    struct peer *peer = tile_peer(&tile);
    guest_ask(&guest, stream, &block);
    tile_turn(&tile);
    struct taken *some = small ? take_all(&tile.net->outs.small, 0) : NULL;
    struct taken *more = large ? take_all(&tile.net->outs.large, 0) : NULL;
    tile_rest(&tile); /* which must come to rest: waiting is not spinning */
    tile_tick(&tile);
    cr_assert_eq(peer->state, PEER_OPEN);
    if (some) {
        give_all(some);
    }
    if (more) {
        give_all(more);
    }
    tile_tick(&tile);
    (void)guest_expect_block(&guest, &block);
    guest_close(&guest);
    block_free(&block);
}

Test(swarm, a_large_block_waits_for_large_chunks) {
    expect_block_without(2 * MiB, false, true);
}
Test(swarm, a_large_block_waits_for_chunks) {
    expect_block_without(2 * MiB, true, true);
}
Test(swarm, a_small_block_waits_for_chunks) {
    expect_block_without(1000, true, true);
}

Test(swarm, four_blocks_in_the_middle_wait_for_chunks_without_a_turn_spent) {
    enum { COUNT = 8 };
    tile_open(&tile);
    struct block blocks[COUNT];
    struct bitswap_want wants[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        blocks[i] = block_make(1 + i, 1 * MiB);
        house_warm(&tile.rig, &blocks[i]);
        wants[i] = guest_want(&blocks[i]);
    }
    struct guest guest = tile_enter(&tile, NULL);
    guest_ask(&guest, guest_stream(&guest, bitswap), &blocks[0]); /* its blocks are large */
    (void)guest_expect_block(&guest, &blocks[0]);
    guest_settle(&guest);
    guest_wants(&guest, guest_stream(&guest, bitswap), wants, COUNT, false);
    struct peer *peer = tile_peer(&tile);
    uint64_t limit = clock_ns() + PATIENCE_NS;
    uint32_t begun = 0;
    while (begun < PEER_REPLIES_MAX) {
        begun = 0;
        for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
            begun += peer->replies[i] && peer->replies[i]->total != 0;
        }
        cr_assert_lt(clock_ns(), limit);
        tile_turn(&tile);
    }
    struct taken *taken = take_all(&tile.net->outs.large, 0);
    while (peer->conn->out_head) { /* what is said already leaves */
        tile_turn(&tile);
        take_more(taken, 0);
    }
    enum { MORE = 100000, MUCH = 4 * 1024 * 1024 };
    struct guest_stream *theirs = NULL;
    while (!theirs) {
        guest_step(&guest);
        take_more(taken, 0);
        theirs = guest.streams;
        while (theirs && theirs->yamux.id != peer->replies[0]->yamux.id) {
            theirs = theirs->next;
        }
        cr_assert_lt(clock_ns(), limit);
    }
    theirs->yamux.receive_left += MORE + MUCH; /* it knows what it allows */
    theirs->yamux.receive_window += MORE + MUCH;
    peer->replies[0]->yamux.send_window += MORE; /* as if word of it had come in time */
    guest_frame(&guest,
                (struct guest_frame){.type = 1, .id = peer->replies[0]->yamux.id, .length = MUCH},
                NULL, 0);
    peer->blocked = false;
    serve_poll(peer);
    tile_rest(&tile);
    give_all(taken);
    tile_tick(&tile);
    for (uint32_t i = 0; i < COUNT; i++) {
        (void)guest_expect_block(&guest, &blocks[i]);
    }
    guest_close(&guest);
    for (uint32_t i = 0; i < COUNT; i++) {
        block_free(&blocks[i]);
    }
}

/* ---- ends ---- */

Test(swarm, a_peer_killed_with_wants_of_every_state_leaves_nothing) {
    enum { COUNT = 60 };
    tile_open(&tile);
    struct block blocks[COUNT];
    struct bitswap_want wants[COUNT];
    for (uint32_t i = 0; i < COUNT; i++) {
        blocks[i] = block_make(1 + i, i % 3 == 0 ? 200000 : 1000);
        wants[i] = guest_want(&blocks[i]);
        if (i % 4 != 0) {
            house_put(&tile.rig, &blocks[i]); /* on disk: jobs will be out */
        }
    }
    for (uint32_t turns = 0; turns < 12; turns++) {
        struct guest guest = guest_open(&tile.rig, &(struct guest_manners){.holds_windows = true});
        guest_settle(&guest);
        guest_wants(&guest, guest_stream(&guest, bitswap), wants, COUNT, false);
        for (uint32_t i = 0; i < turns; i++) {
            tile_turn(&tile);
        }
        guest_abort(&guest);
        uint64_t limit = clock_ns() + PATIENCE_NS;
        while (pool_used(&tile.swarm->peers) > 0) {
            cr_assert_lt(clock_ns(), limit, "a killed peer stays");
            tile_tick(&tile);
        }
        cr_assert_eq(counter_get(&tile.swarm->ledger.counters.wants), 0);
        cr_assert_eq(tile_counter(&tile, streams), 0);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        block_free(&blocks[i]);
    }
}

Test(swarm, a_peer_killed_inside_its_handshake_leaves_nothing) {
    tile_open(&tile);
    for (uint32_t turns = 0; turns < 8; turns++) {
        struct guest guest = guest_call(&tile.rig, NULL);
        say_protocol(&guest);
        static const uint8_t first[34] = {0, 32, 9};
        guest_write(&guest, first, sizeof first);
        for (uint32_t i = 0; i < turns; i++) {
            tile_turn(&tile);
        }
        guest_abort(&guest);
        uint64_t limit = clock_ns() + PATIENCE_NS;
        while (pool_used(&tile.swarm->peers) > 0) {
            cr_assert_lt(clock_ns(), limit, "a killed peer stays");
            tile_tick(&tile);
        }
        cr_assert_eq(tile.swarm->shaking, 0);
    }
}

Test(swarm, draining_ends_peers_and_what_they_want) {
    tile_open(&tile);
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 10);
    guest_ask(&guest, guest_stream(&guest, bitswap), &block);
    guest_settle(&guest);
    net_drain(tile.net, false);
    tile_tick(&tile);
    guest_expect_end(&guest);
    guest_close(&guest);
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (!net_drained(tile.net)) {
        cr_assert_lt(clock_ns(), limit);
        tile_tick(&tile);
    }
    block_free(&block);
}

Test(swarm, a_hard_stop_ends_peers_in_the_middle_of_blocks) {
    tile_open(&tile);
    struct block block = block_make(1, 2 * MiB);
    house_put(&tile.rig, &block);
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.holds_windows = true});
    guest_ask(&guest, guest_stream(&guest, bitswap), &block);
    guest_settle(&guest);
    struct guest shaking = guest_call(&tile.rig, NULL);
    say_protocol(&shaking);
    tile_turn(&tile);
    net_drain(tile.net, true);
    guest_expect_end(&guest);
    guest_expect_end(&shaking);
    guest_close(&guest);
    guest_close(&shaking);
    block_free(&block);
}
