/* SPDX-License-Identifier: MIT */
/* The Bitswap generator without sockets: one of its peers and a toy server, joined by a wire that
 * cuts at random; so tools/load/bitswap/peer.c, tools/load/bitswap/peer_stream.c,
 * tools/load/bitswap/letter.c, tools/load/bitswap/swarm.c and tools/load/bitswap/swarm_client.c. */

#include "tools/load/bitswap/swarm.h"

#include "base/bits.h"
#include "base/hash.h"
#include "base/must.h"
#include "tools/load/bitswap/peer_stream.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 400u

enum manner { HONEST, LIES, CUTS_SHORT, HAS_NOTHING, SAYS_HAVE, SILENT };

struct toy {
    struct peer peer;
    struct peer_host host;
    struct secure_self *self;
    const struct swarm *client;
    enum manner manner;
    uint32_t wants, cancels;
    struct peer_stream *answers;
};

static struct content content;
static struct swarm_plan plan;
static struct swarm swarm;
static struct toy toy;
static struct draw dice = {.state = 4};

static void toy_ready(struct peer *peer) {
    must(peer_open(peer, STREAM_ANSWER, peer_bitswap, &toy.answers));
}

static void toy_says(const struct key *key, const struct bitswap_form *form, bool have) {
    uint8_t presence[BITSWAP_PRESENCE_MAX], length[BITSWAP_LENGTH_MAX], list[4];
    size_t bytes = bitswap_put_presence(key, form, have, presence);
    size_t list_bytes = bitswap_put_empty_list(list);
    bytes_add(&toy.answers->out, length,
              bitswap_put_length((uint32_t)(bytes + list_bytes), length));
    bytes_add(&toy.answers->out, list, list_bytes);
    bytes_add(&toy.answers->out, presence, bytes);
}

static void toy_sends(const struct key *key, const struct bitswap_form *form) {
    uint8_t head[BITSWAP_BLOCK_HEAD_MAX], length[BITSWAP_LENGTH_MAX], list[4], block[4096];
    uint32_t index = catalog_find(&toy.client->catalog, key), size = content.bytes;
    must(index < KEYS && size <= sizeof block);
    content_copy(&content, index, block);
    if (toy.manner == LIES) {
        block[size - 1] ^= 1;
    } else if (toy.manner == CUTS_SHORT) {
        size--;
    }
    size_t list_bytes = bitswap_put_empty_list(list);
    size_t bytes = bitswap_block_size(key, form, size);
    bytes_add(&toy.answers->out, length,
              bitswap_put_length((uint32_t)(bytes + list_bytes), length));
    bytes_add(&toy.answers->out, list, list_bytes);
    bytes_add(&toy.answers->out, head, bitswap_put_block_head(key, form, size, head));
    bytes_add(&toy.answers->out, block, size);
}

static void toy_hears(struct peer *peer, struct peer_stream *stream, enum bitswap_event event,
                      const struct bitswap_step *step) {
    (void)stream;
    if (event != BITSWAP_WANT) {
        return;
    }
    const struct bitswap_want *want = &step->want;
    toy.wants += !want->cancel;
    toy.cancels += want->cancel;
    if (want->cancel || toy.manner == SILENT) {
        return;
    }
    if (toy.manner == HAS_NOTHING || toy.manner == SAYS_HAVE || want->have) {
        toy_says(&want->key, &want->form, toy.manner != HAS_NOTHING);
    } else {
        toy_sends(&want->key, &want->form);
    }
    peer_queue(peer, toy.answers);
}

static void want_lost(struct peer *peer) {
    (void)peer;
}

/* Carries what `from` writes to `to`, in pieces. Returns: something was carried. */
static bool carry(struct peer *from, struct peer *to) {
    const uint8_t *bytes;
    size_t count = peer_write(from, &bytes), at = 0;
    uint8_t *copy = malloc(count + 1);
    if (count > 0) {
        memcpy(copy, bytes, count);
    }
    while (at < count) {
        size_t piece = 1 + draw_below(&dice, draw_below(&dice, 3) ? 5000 : 40);
        piece = piece < count - at ? piece : count - at;
        peer_feed(to, copy + at, piece);
        at += piece;
    }
    free(copy);
    return count > 0;
}

static void talk(uint32_t turns) {
    struct node *node = &swarm.nodes[0];
    for (bool moved = true; moved && turns > 0; turns--) {
        swarm.now_ns = swarm.host.now_ns = toy.host.now_ns += 1000;
        moved = carry(&node->peer, &toy.peer);
        moved = carry(&toy.peer, &node->peer) || moved;
        if (node->touched) {
            client_refill(&swarm, node);
            moved = true;
        }
    }
}

static void meet(enum secure_kind kind, enum manner manner, const struct peer_id *expected) {
    uint8_t seed[SECURE_SEED_BYTES] = {7};
    char why[200] = "";
    memset(&toy, 0, sizeof toy);
    toy.manner = manner;
    toy.client = &swarm;
    cr_assert_eq(hash_open(), 0);
    cr_assert_eq(content_open(&content, KEYS, plan.plan.size, 1, true), 0);
    cr_assert_eq(swarm_open(&swarm, &plan, &content, why, sizeof why), 0, "%s", why);
    cr_assert_eq(peer_host_open(&toy.host), 0);
    toy.host.window_max = YAMUX_WINDOW_BYTES;
    toy.host.agent = "toy";
    toy.host.on_ready = toy_ready;
    toy.host.on_bitswap = toy_hears;
    toy.host.on_want_lost = want_lost;
    cr_assert_eq(secure_self_open(seed, &toy.self), 0);
    peer_init(&toy.peer, &toy.host, toy.self, NULL, kind, false);
    struct node *node = &swarm.nodes[0];
    peer_init(&node->peer, &swarm.host, node->self, expected, kind, true);
    swarm.from_ns = 0;
    swarm.to_ns = UINT64_MAX;
    talk(1000);
}

static void part(void) {
    peer_fini(&toy.peer);
    peer_host_close(&toy.host);
    secure_self_close(toy.self);
    swarm_close(&swarm);
    content_close(&content);
}

static void plan_of(uint32_t size, uint32_t depth) {
    plan = (struct swarm_plan){
        .plan = {.conns = 1, .depth = depth, .size = size, .keys = KEYS, .reads = 1},
        .active = 1,
        .verify_percent = 100,
        .priorities = {1},
        .priority_count = 1};
}

static void begin(uint32_t turns) {
    swarm.stopping = false;
    client_refill(&swarm, &swarm.nodes[0]);
    talk(turns);
    swarm.stopping = true;
    talk(1000);
}

Test(swarm, peers_shake_hands_and_blocks_come_whole_however_they_are_cut, .timeout = 60) {
    for (uint32_t size = 8; size <= 4096; size = size * 2 + 1) {
        plan_of(size, 16);
        meet(size % 4 == 1 ? SECURE_TLS : SECURE_NOISE, HONEST, NULL);
        cr_assert_eq(swarm.nodes[0].peer.state, PEER_READY, "%s", swarm.nodes[0].peer.why);
        cr_assert_eq(toy.peer.state, PEER_READY, "%s", toy.peer.why);
        begin(60);
        cr_assert_gt(swarm.tally.requests, 100);
        cr_assert_eq(swarm.tally.requests, toy.wants);
        cr_assert_eq(swarm.tally.bytes, (uint64_t)toy.wants * size);
        cr_assert_eq(swarm.tally.wrong + swarm.tally.errors + swarm.extra_blocks, 0);
        cr_assert_eq(swarm.nodes[0].asks.count, 0);
        cr_assert_eq(hist_total(&swarm.tally.latency), toy.wants);
        part();
    }
}

Test(swarm, a_server_that_lies_is_found_out) {
    static const enum manner manners[] = {LIES, CUTS_SHORT};
    for (size_t i = 0; i < array_count(manners); i++) {
        plan_of(1000, 8);
        meet(SECURE_NOISE, manners[i], NULL);
        begin(1);
        cr_assert_geq(swarm.tally.wrong, 8);
        cr_assert_eq(swarm.tally.requests, 0);
        cr_assert_neq(swarm.fault[0], '\0');
        part();
    }
}

Test(swarm, presences_are_answers_and_a_have_is_no_block) {
    plan_of(1000, 8);
    meet(SECURE_NOISE, HAS_NOTHING, NULL);
    begin(4);
    cr_assert_geq(swarm.tally.not_found, 8);
    cr_assert_eq(swarm.dont_haves, toy.wants);
    part();
    meet(SECURE_NOISE, SAYS_HAVE, NULL);
    begin(4);
    cr_assert_eq(swarm.tally.requests, 0, "blocks were wanted");
    cr_assert_eq(swarm.nodes[0].asks.count, 8);
    part();
    plan.plan.reads = 0;
    plan.plan.writes = 1;
    meet(SECURE_NOISE, HONEST, NULL);
    begin(20);
    cr_assert_geq(swarm.tally.requests, 8);
    cr_assert_eq(swarm.haves, swarm.tally.requests);
    part();
}

Test(swarm, wants_taken_back_are_not_waited_for) {
    plan_of(1000, 8);
    plan.cancels = 0.5;
    meet(SECURE_NOISE, HONEST, NULL);
    begin(60);
    cr_assert_gt(swarm.cancelled, 20);
    cr_assert_eq(toy.cancels, swarm.cancelled);
    cr_assert_eq(swarm.tally.requests + swarm.extra_blocks, toy.wants);
    cr_assert_eq(swarm.nodes[0].asks.count, 0);
    part();
}

Test(swarm, a_lost_want_stream_is_opened_anew_and_all_is_asked_again) {
    plan_of(1000, 8);
    meet(SECURE_NOISE, SILENT, NULL);
    begin(4);
    cr_assert_eq(toy.wants, 8);
    struct peer_stream *stream = toy.peer.streams;
    while (stream->kind != STREAM_BITSWAP) {
        stream = stream->next;
    }
    cr_assert(yamux_reset(&toy.peer.yamux, &stream->yamux));
    stream_free(&toy.peer, stream);
    toy.manner = HONEST;
    talk(1000);
    cr_assert_eq(swarm.reconnects, 1);
    cr_assert_eq(toy.wants, 16);
    cr_assert_eq(swarm.tally.requests, 8);
    part();
}

/* What the server gets on a stream of its own beyond our two tokens. */
static uint32_t answered_bytes(const char *protocol, const void *bytes, size_t count,
                               bool *ret_done) {
    struct peer_stream *stream;
    cr_assert(peer_open(&toy.peer, STREAM_ANSWER, protocol, &stream));
    bytes_add(&stream->out, bytes, count);
    talk(1000);
    *ret_done = stream->yamux.peer_done;
    return stream->yamux.receive_window - stream->yamux.receive_left - 20 -
           (uint32_t)strlen(protocol) - 2;
}

Test(swarm, identify_and_ping_are_answered_and_other_protocols_refused) {
    bool done;
    uint8_t ping[32] = {1, 2, 3};
    plan_of(1000, 8);
    meet(SECURE_NOISE, HONEST, NULL);
    cr_assert_gt(answered_bytes("/ipfs/id/1.0.0", "", 0, &done), 100);
    cr_assert(done, "identify ends");
    cr_assert_eq(answered_bytes("/ipfs/ping/1.0.0", ping, sizeof ping, &done), 32);
    cr_assert_not(done);
    cr_assert_eq((int32_t)answered_bytes("/ipfs/nobody/speaks", "", 0, &done), 4 - 21);
    cr_assert_gt(toy.peer.yamux.round_trip_ns, 0, "and so are the muxer's pings");
    part();
}

Test(swarm, only_the_peer_that_was_named_is_spoken_with) {
    static const char other[] = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
    struct peer_id expected;
    plan_of(1000, 8);
    cr_assert_eq(peer_id_parse(other, &expected), 0);
    meet(SECURE_NOISE, HONEST, &expected);
    cr_assert_eq(swarm.nodes[0].peer.state, PEER_DEAD);
    cr_assert(strstr(swarm.nodes[0].peer.why, "another peer") != NULL);
    part();
}

Test(swarm, what_is_lost_with_a_peer_is_an_error) {
    plan_of(1000, 8);
    meet(SECURE_NOISE, SILENT, NULL);
    begin(4);
    swarm.stopping = false;
    client_lost(&swarm, &swarm.nodes[0]);
    cr_assert_eq(swarm.tally.errors, 8);
    cr_assert_eq(swarm.nodes[0].asks.count, 0);
    part();
}

Test(swarm, garbage_ends_a_peer_at_every_stage) {
    static const uint8_t garbage[64] = {0xff, 0xff, 0xff, 0x01};
    plan_of(1000, 8);
    meet(SECURE_NOISE, HONEST, NULL);
    peer_feed(&swarm.nodes[0].peer, garbage, sizeof garbage);
    peer_feed(&swarm.nodes[0].peer, garbage, sizeof garbage);
    struct peer fresh;
    peer_init(&fresh, &swarm.host, swarm.nodes[0].self, NULL, SECURE_NOISE, true);
    peer_feed(&fresh, garbage, sizeof garbage);
    cr_assert_eq(fresh.state, PEER_DEAD);
    peer_fini(&fresh);
    part();
}
