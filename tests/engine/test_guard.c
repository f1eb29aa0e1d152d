/* SPDX-License-Identifier: MIT */
/* Who is closed when there are too many, and what one of many may not take: engine/swarm/guard.c,
 * and the shares of stream.c and peer.c. */
#include "engine/swarm/guard.h"

#include "tests/engine/tile.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct tile tile;

static void setup(void) {
    tile_init(&tile);
}
static void teardown(void) {
    tile_close(&tile);
}
TestSuite(guard, .init = setup, .fini = teardown, .timeout = 200);

static struct guest enter(uint8_t seed) {
    return tile_enter(&tile, &(struct guest_manners){.seed = seed});
}

enum { GUESTS = 10 };

static void trim_down(uint64_t age_ns) {
    tile_age(&tile, age_ns);
    for (uint32_t i = 0; i < 32; i++) { /* a round takes a tick for every 4,096 slots */
        tile_tick(&tile);
        tile_rest(&tile);
    }
}

Test(guard, above_the_high_water_the_least_useful_are_closed_down_to_the_low) {
    tile.rig.settings.bitswap_high_water = 8;
    tile.rig.settings.bitswap_low_water = 4;
    tile.rig.settings.bitswap_grace_ns = NS_PER_S;
    tile_open(&tile);
    struct block block = block_make(1, 5000);
    struct guest guests[GUESTS];
    for (uint32_t i = 0; i < GUESTS; i++) {
        guests[i] = enter((uint8_t)(i + 1));
    }
    house_put(&tile.rig, &block);
    struct guest_stream *stream = guest_stream(&guests[0], "/ipfs/bitswap/1.2.0");
    guest_ask(&guests[0], stream, &block);
    (void)guest_expect_block(&guests[0], &block);
    trim_down(5 * NS_PER_S);
    cr_assert_eq(tile_counter(&tile, trimmed), GUESTS - 4, "%lu of %u peers",
                 (unsigned long)tile_counter(&tile, trimmed), pool_used(&tile.swarm->peers));
    guest_step(&guests[0]);
    cr_assert_not(guests[0].ended, "the one that was served stays");
    uint32_t ended = 0;
    for (uint32_t i = 1; i < GUESTS; i++) {
        for (uint32_t turn = 0; turn < 50 && !guests[i].ended; turn++) {
            guest_step(&guests[i]);
        }
        ended += guests[i].ended;
    }
    cr_assert_eq(ended, GUESTS - 4);
    for (uint32_t i = 0; i < GUESTS; i++) {
        guest_close(&guests[i]);
    }
    block_free(&block);
}

Test(guard, nobody_younger_than_the_grace_is_closed) {
    tile.rig.settings.bitswap_high_water = 4;
    tile.rig.settings.bitswap_low_water = 2;
    tile.rig.settings.bitswap_grace_ns = 3600 * NS_PER_S;
    tile_open(&tile);
    struct guest guests[GUESTS];
    for (uint32_t i = 0; i < GUESTS; i++) {
        guests[i] = enter((uint8_t)(i + 1));
    }
    trim_down(5 * NS_PER_S);
    cr_assert_eq(tile_counter(&tile, trimmed), 0);
    for (uint32_t i = 0; i < GUESTS; i++) {
        guest_settle(&guests[i]);
        guest_close(&guests[i]);
    }
}

/* Half of the pool is kept for what is everybody's own. */
Test(guard, idle_streams_of_greedy_peers_leave_the_others_theirs) {
    tile.rig.settings.bitswap_peers_max = 16;
    tile_open(&tile);
    struct guest greedy[12];
    for (uint32_t i = 0; i < array_count(greedy); i++) {
        greedy[i] = enter((uint8_t)(i + 1));
        for (uint32_t s = 0; s < 250; s++) {
            uint8_t nothing = 0;
            struct guest_frame frame = {.type = 1, .flags = 1, .id = 1001 + 2 * s};
            guest_frame(&greedy[i], frame, &nothing, 0);
        }
        tile_rest(&tile);
    }
    cr_assert_geq(tile.swarm->streams.free_count, tile.swarm->streams.slots_max / 2);
    cr_assert_gt(tile_counter(&tile, streams_refused), 0);
    struct block block = block_make(2, 5000);
    house_put(&tile.rig, &block);
    struct guest honest = enter(200);
    struct guest_stream *stream = guest_stream(&honest, "/ipfs/bitswap/1.2.0");
    guest_ask(&honest, stream, &block);
    (void)guest_expect_block(&honest, &block);
    guest_close(&honest);
    for (uint32_t i = 0; i < array_count(greedy); i++) {
        guest_abort(&greedy[i]);
    }
    block_free(&block);
}
