/* SPDX-License-Identifier: MIT */
/* Everything at once, at random of one seed: guests of all manners come, ask, break off, send what
 * makes no sense and vanish, blocks come and go, pools run dry, time leaps. What must hold: no
 * panic, no block that is not the one it says it is, no word that breaks a protocol (a guest sees
 * to both), and nothing left when all have gone: engine/swarm/swarm.h. */
#include "base/bits.h"
#include "base/clock.h"
#include "engine/swarm/client.h"
#include "engine/swarm/session.h"
#include "tests/engine/tile.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUESTS = 5, BLOCKS = 24, STREAMS = 6, HELD = 3, FETCHES = 3, STEPS = 1500 };

struct errand_of_ours { /* a fetch by the engine */
    struct session *session;
    bool over;
};

struct house_guest {
    bool here;
    struct guest guest;
    struct guest_stream *streams[STREAMS]; /* of wants; NULL: none */
};

struct chaos {
    struct tile tile;
    uint64_t random;
    struct house_guest guests[GUESTS];
    struct block blocks[BLOCKS];
    bool stored[BLOCKS];
    struct pool *pools[HELD]; /* from which some is held back */
    void *held[HELD][32768];
    uint32_t held_count[HELD];
    struct errand_of_ours fetches[FETCHES];
    struct caller caller;
    uint64_t asked, answered, opened, fetched;
};

static struct chaos chaos;

static uint64_t draw(uint64_t below) {
    chaos.random += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */
    uint64_t x = chaos.random;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return (x ^ x >> 31) % below;
}

/* ---- the house ---- */

static void give_pools(void) {
    for (uint32_t p = 0; p < HELD; p++) {
        while (chaos.held_count[p] > 0) {
            pool_put(chaos.pools[p], chaos.held[p][--chaos.held_count[p]]);
        }
    }
}

static void dry_a_pool(void) {
    uint32_t p = (uint32_t)draw(HELD);
    uint32_t left = (uint32_t)draw(6);
    while (chaos.pools[p]->free_count > left) {
        chaos.held[p][chaos.held_count[p]++] = pool_get(chaos.pools[p]);
    }
}

static void move_block(void) {
    uint32_t i = (uint32_t)draw(BLOCKS);
    give_pools(); /* TLV waits for chunks, too */
    if (chaos.stored[i]) {
        struct tlv_request request = {.type = TLV_DELETE, .id = i, .class = TLV_CLASS_DEFAULT};
        caller_ask(&chaos.caller, &request, &chaos.blocks[i].key);
    } else {
        caller_put(&chaos.caller, i, &chaos.blocks[i]);
    }
    (void)caller_expect(&chaos.caller, TLV_DONE, i);
    chaos.stored[i] = !chaos.stored[i];
    if (chaos.stored[i] && draw(2) == 0) {
        caller_get(&chaos.caller, i, &chaos.blocks[i].key);
        caller_expect_value(&chaos.caller, i, &chaos.blocks[i]);
    }
}

static void changed(void *context, const struct session *session) {
    struct errand_of_ours *errand = context;
    errand->over = session_over(session);
    chaos.fetched += errand->over && session->fetch.state == FETCH_DONE;
}

/* The engine wants something of its guests, or no more. */
static void fetch(void) {
    struct errand_of_ours *errand = &chaos.fetches[draw(FETCHES)];
    if (errand->session && !errand->over) {
        session_cancel(errand->session);
        return;
    }
    struct session_spec spec = {.changed = changed, .context = errand};
    cid_of_key(&chaos.blocks[draw(BLOCKS)].key, CID_RAW, &spec.root);
    *errand = (struct errand_of_ours){0};
    errand->session = client_begin(chaos.tile.swarm->client, &spec);
    errand->over = errand->session == NULL;
}

static void end_fetches(void) {
    for (uint32_t i = 0; i < FETCHES; i++) {
        if (chaos.fetches[i].session && !chaos.fetches[i].over) {
            session_cancel(chaos.fetches[i].session);
        }
    }
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (!client_idle(chaos.tile.swarm->client)) {
        cr_assert_lt(clock_ns(), limit, "a fetch does not end");
        tile_tick(&chaos.tile);
    }
}

/* ---- guests ---- */

static void check_answers(const struct guest *guest) {
    for (uint32_t a = 0; a < guest->answer_count; a++) {
        const struct guest_answer *answer = &guest->answers[a];
        bool known = false;
        for (uint32_t i = 0; i < BLOCKS; i++) {
            known |= key_equal(&answer->key, &chaos.blocks[i].key) &&
                     (answer->kind != GUEST_BLOCK || answer->bytes == chaos.blocks[i].count);
        }
        cr_assert(known, "an answer about nothing that was asked for");
        chaos.answered++;
    }
}

static void leave(struct house_guest *at, bool rudely) {
    check_answers(&at->guest);
    if (rudely) {
        guest_abort(&at->guest);
    } else {
        guest_close(&at->guest);
    }
    memset(at, 0, sizeof *at);
}

static void arrive(struct house_guest *at) {
    static const char *const speaks[] = {NULL, NULL, NULL, "/ipfs/bitswap/1.1.0",
                                         "/ipfs/bitswap/1.0.0"};
    struct guest_manners manners = {
        .kind = draw(2) ? SECURE_TLS : SECURE_NOISE,
        .seed = (uint8_t)(1 + draw(GUESTS)),
        .agent = draw(3) == 0 ? "js-libp2p/3.3.11" : NULL,
        .speaks = speaks[draw(array_count(speaks))],
        .keeps_identify = draw(8) == 0,
        .keeps_tokens = draw(8) == 0,
        .holds_windows = draw(5) == 0,
        .ends_at_once = draw(3) == 0,
        .resets_after = draw(4) == 0 ? (uint32_t)draw(200000) : 0,
    };
    give_pools();
    at->guest = guest_open(&chaos.tile.rig, &manners);
    at->here = true;
    chaos.opened++;
}

static struct guest_stream *some_stream(struct house_guest *at) {
    uint32_t slot = (uint32_t)draw(STREAMS);
    struct guest_stream *stream = at->streams[slot];
    if (!stream || stream->reset || stream->yamux.self_done) {
        const char *speaks = at->guest.manners.speaks;
        stream = guest_stream(&at->guest, speaks ? speaks : "/ipfs/bitswap/1.2.0");
        at->streams[slot] = stream;
    }
    return stream;
}

static void ask(struct house_guest *at) {
    struct bitswap_want wants[BLOCKS];
    uint32_t count = (uint32_t)(1 + draw(BLOCKS));
    for (uint32_t i = 0; i < count; i++) {
        wants[i] = guest_want(&chaos.blocks[draw(BLOCKS)]);
        wants[i].priority = (int32_t)draw(200) - 50;
        wants[i].have = draw(3) == 0;
        wants[i].send_dont_have = draw(2) == 0;
        wants[i].cancel = draw(5) == 0;
        if (draw(3) == 0) {
            wants[i].form = (struct bitswap_form){CID_DAG_PB, (uint8_t)draw(2)};
        }
    }
    struct guest_stream *stream = some_stream(at);
    if (stream->yamux.send_window > 32 * KiB) {
        guest_wants(&at->guest, stream, wants, count, draw(10) == 0);
        chaos.asked += count;
    }
}

/* A block, mostly one that was asked for; or a presence, or half a block. */
static void give(struct house_guest *at) {
    struct guest *guest = &at->guest;
    const struct block *block = &chaos.blocks[draw(BLOCKS)];
    if (guest->wanted_count > 0 && draw(4) != 0) {
        const struct key *key = &guest->wanted[draw(guest->wanted_count)].key;
        for (uint32_t i = 0; i < BLOCKS; i++) {
            block = key_equal(&chaos.blocks[i].key, key) ? &chaos.blocks[i] : block;
        }
    }
    if (draw(4) == 0) {
        guest_presence(guest, block, draw(2));
    } else if (draw(8) == 0) {
        struct guest_stream *stream = guest_stream(guest, "/ipfs/bitswap/1.2.0");
        static uint8_t half[20000] = "\xa0\x9c\x01\x1a\x9c\x9c\x01\x12\x98\x9c\x01";
        guest_send(guest, stream, half, 11 + draw(sizeof half - 11));
        if (draw(2)) {
            guest_reset(guest, stream);
        } else {
            guest_finish(guest, stream);
        }
    } else if (block->count < 100000) {
        guest_give(guest, block, CID_RAW);
    }
}

/* What is legal, and odd. */
static void disturb(struct house_guest *at) {
    struct guest *guest = &at->guest;
    struct guest_stream *stream = guest->streams;
    for (uint64_t skip = draw(20); stream && stream->next && skip > 0; skip--) {
        stream = stream->next;
    }
    uint32_t id = 100001 + 2 * (uint32_t)draw(1000);
    static const uint8_t noise[600];
    switch (draw(9)) {
    case 0:
        if (stream && !(stream->ended && stream->yamux.self_done)) {
            guest_reset(guest, stream);
        }
        break;
    case 1:
        if (stream && !stream->theirs) {
            guest_finish(guest, stream);
        }
        break;
    case 2:
        guest_frame(guest, (struct guest_frame){.type = 0, .id = id, .length = 600}, noise, 600);
        break;
    case 3:
        guest_frame(guest, (struct guest_frame){.type = 1, .flags = 8, .id = id}, NULL, 0);
        break;
    case 4: /* opened and given up at once */
        guest_frame(guest, (struct guest_frame){.type = 1, .flags = 9, .id = id}, NULL, 0);
        break;
    case 5:
        guest->manners.holds_windows = !guest->manners.holds_windows;
        break;
    case 6:
        (void)guest_stream(guest, draw(2) ? "/ipfs/id/1.0.0" : "/ipfs/ping/1.0.0");
        break;
    case 7:
        (void)guest_stream(guest, "/ipfs/kad/1.0.0");
        break;
    default: {
        struct guest_stream *mine = some_stream(at);
        if (mine->yamux.send_window > 1000) { /* no message: its stream will be reset */
            guest_send(guest, mine, "\x05\x0a\xff\xff\xff\xff", 6);
        }
        break;
    }
    }
}

/* ---- the run ---- */

static void act(struct house_guest *at) {
    if (!at->here) {
        arrive(at);
        return;
    }
    uint64_t what = draw(100);
    if (at->guest.ended) {
        leave(at, false);
    } else if (what < 45) {
        guest_step(&at->guest);
    } else if (what < 70) {
        ask(at);
    } else if (what < 78) {
        give(at);
    } else if (what < 93) {
        disturb(at);
    } else if (what < 97) {
        leave(at, draw(2) == 0);
    } else { /* what makes no sense at all ends the connection */
        uint8_t rubbish[64];
        for (uint32_t i = 0; i < sizeof rubbish; i++) {
            rubbish[i] = (uint8_t)draw(256);
        }
        if (draw(2)) {
            guest_say(&at->guest, rubbish, 1 + draw(sizeof rubbish));
        } else {
            guest_write(&at->guest, rubbish, 1 + draw(sizeof rubbish));
        }
        tile_rest(&chaos.tile);
        leave(at, draw(2) == 0);
    }
}

static void step(void) {
    uint64_t what = draw(100);
    if (what < 70) {
        act(&chaos.guests[draw(GUESTS)]);
    } else if (what < 82) {
        tile_turn(&chaos.tile);
    } else if (what < 88) {
        move_block();
    } else if (what < 90) {
        fetch();
    } else if (what < 93) {
        dry_a_pool();
    } else if (what < 95) {
        give_pools();
    } else if (what < 98) {
        tile_tick(&chaos.tile);
    } else {
        tile_age(&chaos.tile, draw(70) * NS_PER_S);
        tile_tick(&chaos.tile);
    }
}

static void run(uint64_t seed) {
    memset(&chaos, 0, sizeof chaos);
    chaos.random = seed;
    struct tile *tile = &chaos.tile;
    tile_init(tile);
    tile->rig.settings.bitswap_idle_timeout_ns = 300 * NS_PER_S;
    tile_open(tile);
    chaos.pools[0] = &tile->net->outs.large;
    chaos.pools[1] = &tile->net->outs.small;
    chaos.pools[2] = &tile->swarm->streams;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        static const uint32_t sizes[] = {0, 1, 900, 1025, 12288, 12289, 70000, 400000, 1500000};
        chaos.blocks[i] = block_make((uint32_t)(seed * 100) + i, sizes[i % array_count(sizes)]);
        if (chaos.blocks[i].count < 8) { /* there is only one empty block */
            block_free(&chaos.blocks[i]);
            chaos.blocks[i] = block_make((uint32_t)(seed * 100) + i, 20 + i);
        }
    }
    chaos.caller = caller_open(&tile->rig);
    for (uint32_t i = 0; i < STEPS; i++) {
        step();
    }
    give_pools();
    for (uint32_t i = 0; i < GUESTS; i++) {
        if (chaos.guests[i].here) {
            leave(&chaos.guests[i], false);
        }
    }
    end_fetches();
    caller_close(&chaos.caller);
    cr_assert_eq(pool_used(&tile->swarm->client->intakes), 0);
    cr_assert_eq(tile->swarm->client->body_bytes, 0);
    cr_assert_gt(chaos.opened, GUESTS);
    cr_assert_gt(chaos.answered, chaos.asked / 50, "%lu of %lu", (unsigned long)chaos.answered,
                 (unsigned long)chaos.asked);
    if (getenv("CHAOS_SEEDS")) {
        fprintf(stderr, "seed %lu: %lu guests, %lu wants, %lu answers, %lu fetches done\n",
                (unsigned long)seed, (unsigned long)chaos.opened, (unsigned long)chaos.asked,
                (unsigned long)chaos.answered, (unsigned long)chaos.fetched);
    }
    tile_close(tile);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        block_free(&chaos.blocks[i]);
    }
}

Test(swarm_chaos, of_seed_1, .timeout = 200) {
    run(1);
}
Test(swarm_chaos, of_seed_2, .timeout = 200) {
    run(2);
}
Test(swarm_chaos, of_seed_3, .timeout = 200) {
    run(3);
}
Test(swarm_chaos, of_seed_4, .timeout = 200) {
    run(4);
}

/* CHAOS_SEEDS=FROM-TO of the environment: as many as one has time for. */
Test(swarm_chaos, of_the_seeds_asked_for, .timeout = 100000) {
    unsigned from = 1, to = 0;
    const char *asked = getenv("CHAOS_SEEDS");
    if (asked) {
        cr_assert_eq(sscanf(asked, "%u-%u", &from, &to), 2);
    }
    for (unsigned seed = from; seed <= to; seed++) {
        run(seed);
    }
}
