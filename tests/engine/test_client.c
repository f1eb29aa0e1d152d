/* SPDX-License-Identifier: MIT */
/* Fetching from peers that are made up, turn by turn: engine/swarm/client.c, session.c, intake.c,
 * wants.c, dial.c, desk.c, front.c and errand.c of engine/swarm/. */
#include "engine/swarm/client.h"

#include "base/clock.h"
#include "engine/engine_private.h"
#include "engine/swarm/desk.h"
#include "engine/swarm/front.h"
#include "engine/swarm/intake.h"
#include "engine/swarm/session.h"
#include "engine/work.h"
#include "tests/engine/tile.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct tile tile;

/* What a session said last, and at its end. */
struct outcome {
    bool over;
    enum fetch_state state;
    enum fetch_why why;
    struct fetch_numbers numbers;
    char text[SESSION_SAY_MAX];
};

static void setup(void) {
    tile_init(&tile);
    tile_open(&tile);
}
static void teardown(void) {
    cr_assert_eq(pool_used(&tile.swarm->client->intakes), 0);
    cr_assert_eq(tile.swarm->client->body_bytes, 0);
    cr_assert(client_idle(tile.swarm->client));
    cr_assert_eq(pool_used(&tile.swarm->dials), 0);
    tile_close(&tile);
}
TestSuite(client, .init = setup, .fini = teardown, .timeout = 200);

#define count_of(name) counter_get(&tile.swarm->client->counters.name)

static void changed(void *context, const struct session *session) {
    struct outcome *outcome = context;
    fetch_count(&session->fetch, &outcome->numbers);
    outcome->over = session_over(session);
    outcome->state = session->fetch.state;
    outcome->why = session->fetch.why;
    (void)session_say(session, outcome->text);
}

static struct session *begin(const struct block *block, struct outcome *outcome,
                             const struct dial_target *from, uint32_t from_count) {
    struct session_spec spec = {
        .from = from, .from_count = from_count, .changed = changed, .context = outcome};
    cid_of_key(&block->key, CID_RAW, &spec.root);
    *outcome = (struct outcome){0};
    struct session *session = client_begin(tile.swarm->client, &spec);
    cr_assert_not_null(session);
    return session;
}

static void until_over(struct guest *guest, const struct outcome *outcome) {
    guest_until(guest, outcome->over);
}

static bool is_here(const struct block *block) {
    uint8_t present = 0;
    store_have(tile.net->store, 0, &block->key, &present, 1);
    return present == 1;
}

/* ---- one peer ---- */

Test(client, a_block_is_asked_for_hashed_stored_and_nothing_is_owed_after) {
    static const uint32_t sizes[] = {1, 1000, 8192, 8193, 300000};
    struct guest guest = tile_enter(&tile, NULL);
    for (uint32_t i = 0; i < 5; i++) {
        struct block block = block_make(i, sizes[i]);
        struct outcome outcome;
        begin(&block, &outcome, NULL, 0);
        guest_until(&guest, guest_wanted(&guest, &block.key, false) == 1);
        const struct bitswap_want *want = &guest.wanted[guest.wanted_count - 1];
        cr_assert_not(want->have);
        cr_assert(want->send_dont_have);
        cr_assert_eq(want->form.codec, CID_RAW);
        guest_give(&guest, &block, CID_RAW);
        until_over(&guest, &outcome);
        cr_assert_eq(outcome.state, FETCH_DONE, "%s", outcome.text);
        cr_assert_eq(outcome.numbers.bytes, block.count);
        cr_assert(is_here(&block));
        cr_assert_eq(guest_wanted(&guest, &block.key, true), 0); /* it was answered */
        block_free(&block);
    }
    cr_assert_eq(count_of(stored), 5);
    cr_assert_eq(counter_get(&tile.core->work->counters.hashes), 2); /* the others here */
    guest_close(&guest);
}

Test(client, what_nobody_asked_for_is_neither_kept_nor_hashed) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 5000);
    guest_give(&guest, &block, CID_RAW);
    guest_settle(&guest);
    tile_rest(&tile);
    cr_assert_eq(tile_counter(&tile, unwanted_blocks), 1);
    cr_assert_eq(count_of(blocks_in), 0);
    cr_assert_not(is_here(&block));
    block_free(&block);
    guest_close(&guest);
}

Test(client, a_liar_is_found_out_and_the_next_peer_asked) {
    struct guest liar = tile_enter(&tile, &(struct guest_manners){.seed = 2});
    struct block block = block_make(1, 5000);
    struct outcome outcome;
    begin(&block, &outcome, NULL, 0);
    guest_until(&liar, guest_wanted(&liar, &block.key, false) == 1);
    struct guest honest = tile_enter(&tile, &(struct guest_manners){.seed = 3});
    struct block lie = block_make(99, 5000);
    guest_give(&liar, &lie, CID_RAW);
    guest_until(&honest, guest_wanted(&honest, &block.key, false) == 1);
    guest_until(&liar, guest_wanted(&liar, &block.key, true) == 1); /* taken back */
    cr_assert_not(is_here(&lie));
    guest_give(&honest, &block, CID_RAW);
    until_over(&honest, &outcome);
    cr_assert_eq(outcome.state, FETCH_DONE);
    cr_assert_eq(outcome.numbers.unwanted_blocks, 1);
    cr_assert_eq(count_of(lies), 1);
    block_free(&block);
    block_free(&lie);
    guest_close(&liar);
    guest_close(&honest);
}

Test(client, a_refusal_sends_the_want_elsewhere_and_when_all_refuse_it_is_named) {
    struct guest one = tile_enter(&tile, &(struct guest_manners){.seed = 2});
    struct guest two = tile_enter(&tile, &(struct guest_manners){.seed = 3});
    struct block block = block_make(1, 100);
    struct outcome outcome;
    begin(&block, &outcome, NULL, 0);
    tile_rest(&tile);
    guest_until(&one, one.wanted_count >= 1);
    guest_until(&two, two.wanted_count >= 1); /* one is asked for it, one whether it has it */
    cr_assert_neq(one.wanted[0].have, two.wanted[0].have);
    guest_presence(&one, &block, false);
    guest_presence(&two, &block, false);
    guest_until(&one, outcome.over);
    cr_assert_eq(outcome.why, FETCH_WHY_ABSENT, "%s", outcome.text);
    cr_assert_eq(outcome.numbers.dont_haves, 2);
    char name[CID_TEXT_MAX];
    struct cid cid;
    cid_of_key(&block.key, CID_RAW, &cid);
    cid_format(&cid, name);
    cr_assert_not_null(strstr(outcome.text, name));
    block_free(&block);
    guest_close(&one);
    guest_close(&two);
}

Test(client, a_block_that_comes_twice_is_stored_once) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 50000), other = block_make(2, 500);
    struct outcome outcome, second;
    begin(&block, &outcome, NULL, 0);
    begin(&other, &second, NULL, 0); /* it still expects a block: the double is looked at */
    guest_until(&guest, guest.wanted_count == 2);
    guest_give(&guest, &block, CID_RAW);
    guest_give(&guest, &block, CID_RAW);
    until_over(&guest, &outcome);
    guest_give(&guest, &other, CID_RAW);
    until_over(&guest, &second);
    cr_assert_eq(count_of(stored), 2);
    cr_assert_eq(count_of(blocks_in), 3);
    cr_assert_eq(count_of(lies), 0);
    block_free(&block);
    block_free(&other);
    guest_close(&guest);
}

/* ---- streams ---- */

Test(client, a_want_stream_that_is_reset_is_opened_anew_and_all_asked_again) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 100);
    struct outcome outcome;
    begin(&block, &outcome, NULL, 0);
    guest_until(&guest, guest_wanted(&guest, &block.key, false) == 1);
    guest_reset(&guest, guest.want_stream);
    guest_until(&guest, guest_wanted(&guest, &block.key, false) == 2);
    cr_assert_eq(count_of(streams_lost), 1);
    guest_give(&guest, &block, CID_RAW);
    until_over(&guest, &outcome);
    cr_assert_eq(outcome.state, FETCH_DONE);
    block_free(&block);
    guest_close(&guest);
}

Test(client, a_peer_that_resets_what_is_asked_of_it_is_asked_no_more_in_the_end) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 100), other = block_make(2, 100);
    struct outcome outcome, second;
    struct dial_target target = {.peer = *secure_peer(tile_peer(&tile)->secure), .count = 1};
    begin(&block, &outcome, &target, 1);
    for (uint32_t i = 1; i < CLIENT_LOSSES_MAX; i++) {
        guest_until(&guest, guest_wanted(&guest, &block.key, false) == i);
        guest_reset(&guest, guest.want_stream);
    }
    guest_until(&guest, guest_wanted(&guest, &block.key, false) == CLIENT_LOSSES_MAX);
    guest_give(&guest, &block, CID_RAW); /* that makes good for them */
    until_over(&guest, &outcome);
    cr_assert_eq(outcome.state, FETCH_DONE);
    begin(&other, &second, &target, 1);
    for (uint32_t i = 1; i <= CLIENT_LOSSES_MAX; i++) {
        guest_until(&guest, guest_wanted(&guest, &other.key, false) == i);
        guest_reset(&guest, guest.want_stream);
    }
    until_over(&guest, &second);
    cr_assert_eq(second.why, FETCH_WHY_NO_PEER);
    cr_assert_not_null(strstr(second.text, "gives no block"), "%s", second.text);
    block_free(&block);
    block_free(&other);
    guest_close(&guest);
}

Test(client, a_peer_that_serves_as_many_fetches_as_it_may_is_not_waited_for) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block blocks[PEER_LINKS_MAX + 1];
    struct outcome outcomes[PEER_LINKS_MAX + 1];
    struct dial_target target = {.peer = *secure_peer(tile_peer(&tile)->secure), .count = 1};
    for (uint32_t i = 0; i <= PEER_LINKS_MAX; i++) {
        blocks[i] = block_make(i, 100);
        begin(&blocks[i], &outcomes[i], &target, 1);
    }
    until_over(&guest, &outcomes[PEER_LINKS_MAX]);
    cr_assert_eq(outcomes[PEER_LINKS_MAX].why, FETCH_WHY_NO_PEER);
    cr_assert_not_null(strstr(outcomes[PEER_LINKS_MAX].text, "as many fetches"), "%s",
                       outcomes[PEER_LINKS_MAX].text);
    cr_assert_eq(count_of(no_link), 1);
    for (uint32_t i = 0; i <= PEER_LINKS_MAX; i++) {
        if (i < PEER_LINKS_MAX) {
            guest_until(&guest, guest_wanted(&guest, &blocks[i].key, false) > 0);
            guest_give(&guest, &blocks[i], CID_RAW);
            until_over(&guest, &outcomes[i]);
            cr_assert_eq(outcomes[i].state, FETCH_DONE);
        }
        block_free(&blocks[i]);
    }
    guest_close(&guest);
}

Test(client, a_peer_without_bitswap_is_let_be) {
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.refuses = 100});
    struct block block = block_make(1, 100);
    struct outcome outcome;
    struct session *session = begin(&block, &outcome, NULL, 0);
    guest_until(&guest, session->fetch.live == 0);
    cr_assert_leq(count_of(streams_lost), BITSWAP_PROTOCOLS);
    session_cancel(session);
    until_over(&guest, &outcome);
    cr_assert_eq(outcome.why, FETCH_WHY_CANCELED);
    block_free(&block);
    guest_close(&guest);
}

Test(client, an_old_peer_is_asked_in_its_own_words) {
    struct guest guest =
        tile_enter(&tile, &(struct guest_manners){.speaks = "/ipfs/bitswap/1.1.0"});
    struct block block = block_make(1, 100);
    struct outcome outcome;
    begin(&block, &outcome, NULL, 0);
    guest_until(&guest, guest_wanted(&guest, &block.key, false) == 1);
    cr_assert_not(guest.wanted[0].send_dont_have);
    guest_give(&guest, &block, CID_RAW);
    until_over(&guest, &outcome);
    cr_assert_eq(outcome.state, FETCH_DONE);
    block_free(&block);
    guest_close(&guest);
}

/* Half of a block's message, and its stream stays open. */
static struct guest_stream *give_half(struct guest *guest, const struct block *block) {
    struct bitswap_form form = {.codec = CID_RAW, .version = 1};
    uint8_t message[256];
    size_t field = bitswap_block_size(&block->key, &form, block->count);
    size_t used = bitswap_put_length((uint32_t)(field + BITSWAP_EMPTY_LIST_BYTES), message);
    used += bitswap_put_empty_list(message + used);
    used += bitswap_put_block_head(&block->key, &form, block->count, message + used);
    struct guest_stream *stream = guest_stream(guest, "/ipfs/bitswap/1.2.0");
    guest_send(guest, stream, message, used);
    guest_send(guest, stream, block->bytes, block->count / 2);
    guest_settle(guest);
    tile_rest(&tile);
    return stream;
}

Test(client, a_block_that_breaks_off_is_dropped_and_another_peer_asked) {
    struct guest guest = tile_enter(&tile, &(struct guest_manners){.seed = 2});
    struct block block = block_make(1, 100000);
    struct outcome outcome;
    begin(&block, &outcome, NULL, 0);
    guest_until(&guest, guest_wanted(&guest, &block.key, false) == 1);
    struct guest_stream *stream = give_half(&guest, &block);
    cr_assert_eq(tile.swarm->client->body_bytes, block.count);
    guest_reset(&guest, stream);
    guest_settle(&guest);
    tile_rest(&tile);
    cr_assert_eq(tile.swarm->client->body_bytes, 0);
    (void)give_half(&guest, &block);
    (void)give_half(&guest, &block);
    cr_assert_eq(tile.swarm->client->body_bytes, block.count); /* one was asked for */
    struct guest other = tile_enter(&tile, &(struct guest_manners){.seed = 3});
    guest_abort(&guest);
    guest_until(&other, guest_wanted(&other, &block.key, false) >= 1);
    guest_give(&other, &block, CID_RAW);
    until_over(&other, &outcome);
    cr_assert_eq(outcome.state, FETCH_DONE);
    block_free(&block);
    guest_close(&other);
}

static uint32_t stored_codec(const struct block *block) {
    struct find find = {.key = &block->key};
    store_find(tile.net->store, 0, &find, 1);
    if (find.state == FIND_DISK) { /* not in memory yet */
        house_warm(&tile.rig, block);
        store_find(tile.net->store, 0, &find, 1);
    }
    cr_assert_eq(find.state, FIND_FRAME);
    uint32_t codec = (uint32_t)frame_codec(find.frame);
    frame_give_back(find.frame);
    return codec;
}

Test(client, a_block_is_stored_under_the_codec_it_was_asked_for_by) {
    struct guest guest = tile_enter(&tile, NULL);
    static const uint32_t sizes[] = {100, 20000};
    for (uint32_t i = 0; i < 2; i++) {
        struct block block = block_make(i, sizes[i]);
        struct outcome outcome;
        begin(&block, &outcome, NULL, 0);
        guest_until(&guest, guest_wanted(&guest, &block.key, false) == 1);
        guest_give(&guest, &block, CID_DAG_CBOR); /* so its sender says */
        until_over(&guest, &outcome);
        cr_assert_eq(outcome.state, FETCH_DONE, "%s", outcome.text);
        cr_assert_eq(stored_codec(&block), CID_RAW);
        block_free(&block);
    }
    guest_close(&guest);
}

Test(client, what_sessions_remember_is_bounded_for_all_of_them) {
    struct client *client = tile.swarm->client;
    struct block block = block_make(1, 100);
    struct outcome outcome;
    client->lent_bytes = CLIENT_LENT_MAX - 1000; /* others have it */
    struct session *session = begin(&block, &outcome, NULL, 0);
    cr_assert_eq(session->fetch.why, FETCH_WHY_MEMORY);
    client->lent_bytes -= CLIENT_LENT_MAX - 1000;
    tile_rest(&tile);
    cr_assert(outcome.over);
    cr_assert_eq(client->lent_bytes, 0);
    block_free(&block);
}

/* ---- blocks that never end ---- */

/* A peer that was asked for a few blocks begins all of them and ends none. */
static void begin_all(struct guest *guest, const struct block blocks[], uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        guest_until(guest, guest_wanted(guest, &blocks[i].key, false) > 0);
    }
    for (uint32_t i = 0; i < count; i++) {
        (void)give_half(guest, &blocks[i]);
    }
}

Test(client, who_begins_blocks_and_never_ends_them_leaves_room_for_others) {
    enum { BLOCKS = 6 };
    struct client *client = tile.swarm->client;
    struct guest hoarder = tile_enter(&tile, &(struct guest_manners){.seed = 2});
    struct block blocks[BLOCKS];
    struct outcome outcomes[BLOCKS];
    client->body_bytes_max = 1000000;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        blocks[i] = block_make(i, 100000);
        begin(&blocks[i], &outcomes[i], NULL, 0);
    }
    begin_all(&hoarder, blocks, BLOCKS);
    cr_assert_eq(client->body_bytes, 200000); /* a third would be more than 800,000 / 4 */
    cr_assert_eq(count_of(no_share), BLOCKS - 2);
    cr_assert_eq(tile_peer(&tile)->filling_bytes, 200000);
    struct guest honest = tile_enter(&tile, &(struct guest_manners){.seed = 3});
    guest_abort(&hoarder);
    for (uint32_t i = 0; i < BLOCKS; i++) {
        guest_until(&honest, guest_wanted(&honest, &blocks[i].key, false) > 0);
        guest_give(&honest, &blocks[i], CID_RAW);
        until_over(&honest, &outcomes[i]);
        cr_assert_eq(outcomes[i].state, FETCH_DONE);
        block_free(&blocks[i]);
    }
    guest_close(&honest);
}

Test(client, a_block_that_trickles_is_given_up_and_one_that_moves_is_not) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 100000);
    struct outcome outcome;
    struct session *session = begin(&block, &outcome, NULL, 0);
    guest_until(&guest, guest_wanted(&guest, &block.key, false) == 1);
    struct guest_stream *stream = give_half(&guest, &block);
    tile_age(&tile, 9 * NS_PER_S);
    tile_tick(&tile); /* half of it came: that counts from now on */
    guest_send(&guest, stream, block.bytes + 50000, 16384);
    guest_settle(&guest);
    tile_age(&tile, 9 * NS_PER_S);
    tile_tick(&tile);
    guest_send(&guest, stream, block.bytes + 66384, 16383);
    guest_settle(&guest);
    tile_age(&tile, 9 * NS_PER_S);
    tile_tick(&tile);
    cr_assert_eq(tile.swarm->client->body_bytes, block.count);
    tile_age(&tile, 2 * NS_PER_S);
    tile_tick(&tile);
    cr_assert_eq(count_of(intakes_stuck), 1);
    cr_assert_eq(tile.swarm->client->body_bytes, 0);
    guest_until(&guest, stream->reset);
    session_cancel(session);
    until_over(&guest, &outcome);
    block_free(&block);
    guest_close(&guest);
}

Test(client, when_its_session_ends_a_block_gives_its_memory_back) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 100000), other = block_make(2, 100);
    struct outcome outcome;
    struct session *session = begin(&block, &outcome, NULL, 0);
    guest_until(&guest, guest_wanted(&guest, &block.key, false) == 1);
    struct guest_stream *stream = give_half(&guest, &block);
    cr_assert_eq(tile.swarm->client->body_bytes, block.count);
    session_cancel(session);
    until_over(&guest, &outcome);
    tile_tick(&tile);
    cr_assert_eq(tile.swarm->client->body_bytes, 0);
    guest_send(&guest, stream, block.bytes + 50000, 50000); /* its rest is passed over */
    begin(&other, &outcome, NULL, 0);
    guest_until(&guest, guest_wanted(&guest, &other.key, false) == 1);
    guest_give(&guest, &other, CID_RAW);
    until_over(&guest, &outcome);
    cr_assert_eq(outcome.state, FETCH_DONE);
    cr_assert_not(stream->reset);
    block_free(&block);
    block_free(&other);
    guest_close(&guest);
}

/* ---- bounds ---- */

Test(client, without_memory_for_its_body_a_block_is_passed_over) {
    struct guest guest = tile_enter(&tile, NULL);
    struct block block = block_make(1, 100000);
    struct outcome outcome;
    struct session *session = begin(&block, &outcome, NULL, 0);
    tile.swarm->client->body_bytes_max = 99999;
    guest_until(&guest, guest_wanted(&guest, &block.key, false) == 1);
    guest_give(&guest, &block, CID_RAW);
    guest_settle(&guest);
    tile_rest(&tile);
    cr_assert_eq(count_of(no_body_memory), 1);
    cr_assert_eq(session->fetch.state, FETCH_RUNNING); /* it will be asked again when it is late */
    session_cancel(session);
    until_over(&guest, &outcome);
    guest_until(&guest, guest_wanted(&guest, &block.key, true) == 1);
    block_free(&block);
    guest_close(&guest);
}

Test(client, sessions_are_as_many_as_there_may_be_and_end_with_the_daemon) {
    struct outcome outcomes[CLIENT_SESSIONS];
    struct block block = block_make(1, 10);
    for (uint32_t i = 0; i < CLIENT_SESSIONS; i++) {
        begin(&block, &outcomes[i], NULL, 0);
    }
    struct session_spec spec = {0};
    cid_of_key(&block.key, CID_RAW, &spec.root);
    cr_assert_null(client_begin(tile.swarm->client, &spec));
    client_drain(tile.swarm->client);
    tile_rest(&tile);
    for (uint32_t i = 0; i < CLIENT_SESSIONS; i++) {
        cr_assert(outcomes[i].over);
        cr_assert_eq(outcomes[i].why, FETCH_WHY_CANCELED);
    }
    block_free(&block);
}

Test(client, what_is_here_needs_nobody) {
    struct block block = block_make(1, 3000);
    struct outcome outcome;
    house_put(&tile.rig, &block);
    tile_rest(&tile);
    begin(&block, &outcome, NULL, 0);
    for (uint32_t i = 0; i < 1000 && !outcome.over; i++) {
        tile_turn(&tile);
    }
    cr_assert(outcome.over);
    cr_assert_eq(outcome.state, FETCH_DONE);
    cr_assert_eq(outcome.numbers.here_blocks, 1);
    block_free(&block);
}

/* ---- dials ---- */

static int listen_here(struct dial_target *ret_target, int backlog) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, bytes), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &bytes), 0);
    if (backlog > 0) {
        cr_assert_eq(listen(fd, backlog), 0);
    }
    *ret_target = (struct dial_target){.count = 1};
    memcpy(&ret_target->addresses[0], &at, sizeof at);
    return fd;
}

static void until_it_ends(const struct outcome *outcome) {
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (!outcome->over) {
        cr_assert_lt(clock_ns(), limit, "the session does not end");
        tile_turn(&tile);
    }
}

Test(client, who_is_not_there_fails_it_with_the_reason) {
    struct dial_target target;
    int fd = listen_here(&target, 0);
    struct block block = block_make(1, 10);
    struct outcome outcome;
    begin(&block, &outcome, &target, 1);
    until_it_ends(&outcome);
    cr_assert_eq(outcome.why, FETCH_WHY_NO_PEER);
    cr_assert_not_null(strstr(outcome.text, "refused"), "%s", outcome.text);
    cr_assert_eq(count_of(dials), 1);
    cr_assert_eq(count_of(dials_failed), 1);
    block_free(&block);
    close(fd);
}

Test(client, the_next_address_is_tried_when_one_refuses) {
    struct dial_target dead, target;
    int none = listen_here(&dead, 0), fd = listen_here(&target, 1);
    target.addresses[1] = target.addresses[0];
    target.addresses[0] = dead.addresses[0];
    target.count = 2;
    struct block block = block_make(1, 10);
    struct outcome outcome;
    struct session *session = begin(&block, &outcome, &target, 1);
    for (uint32_t i = 0; i < 1000 && tile.net->counters.connections == 0; i++) {
        tile_turn(&tile);
    }
    cr_assert_eq(counter_get(&tile.net->counters.connections), 1);
    session_cancel(session); /* in the middle of the handshake */
    until_it_ends(&outcome);
    cr_assert_eq(outcome.why, FETCH_WHY_CANCELED);
    block_free(&block);
    close(fd);
    close(none);
}

Test(client, who_never_answers_is_given_up_in_time) {
    struct dial_target target;
    int fd = listen_here(&target, 1);
    struct block block = block_make(1, 10);
    struct outcome outcome;
    begin(&block, &outcome, &target, 1);
    for (uint32_t i = 0; i < 1000 && tile.net->counters.connections == 0; i++) {
        tile_turn(&tile);
    }
    tile_age(&tile, 11 * NS_PER_S);
    tile_tick(&tile);
    until_it_ends(&outcome);
    cr_assert_not_null(strstr(outcome.text, "in time"), "%s", outcome.text);
    block_free(&block);
    close(fd);
}

/* ---- what control asks ---- */

static json_t *ask(const char *command, json_t *request) {
    json_t *answer = front_answer(tile.rig.engine, command, request);
    cr_assert_not_null(answer, "no answer at all to %s", command);
    json_decref(request);
    return answer;
}

static void is_error(json_t *answer, const char *sentence) {
    const char *error = json_string_value(json_object_get(answer, "error"));
    cr_assert_not_null(error);
    cr_assert_not_null(strstr(error, sentence), "%s", error);
    json_decref(answer);
}

Test(client, an_error_quotes_what_was_asked_however_it_is_cut) {
    char text[400];
    memset(text, 'a', sizeof text);
    for (size_t at = 190; at < 260; at++) { /* one of two bytes there */
        memcpy(text + at, "\xc3\xa9", 2);
        text[at + 2] = '\0';
        is_error(ask("fetch", json_pack("{s:s}", "cid", text)), "aaa");
        is_error(ask("connect", json_pack("{s:s}", "to", text)), "aaa");
        is_error(ask("ping", json_pack("{s:s}", "peer", text)), "aaa");
        text[at] = text[at + 1] = text[at + 2] = 'a';
    }
    is_error(ask("ping", json_pack("{s:s}", "peer", "\x1b[2J")), "'\\x1b[2J'");
}

Test(client, a_fetch_that_nobody_asks_after_ends) {
    struct block block = block_make(1, 100);
    struct cid cid;
    char name[CID_TEXT_MAX];
    cid_of_key(&block.key, CID_RAW, &cid);
    cid_format(&cid, name);
    json_t *answer = ask("fetch", json_pack("{s:s}", "cid", name));
    json_int_t number = json_integer_value(json_object_get(answer, "session"));
    json_decref(answer);
    struct desk_request *request = desk_find(tile.rig.engine->desk, (uint32_t)number, DESK_FETCH);
    cr_assert_not_null(request);
    tile_rest(&tile);
    request->asked_ns -= DESK_FORGOTTEN_NS + NS_PER_S;
    json_decref(ask("fetch_status", json_pack("{s:I}", "session", number)));
    tile_tick(&tile);
    cr_assert_eq(desk_state(request), DESK_UNDER_WAY);
    request->asked_ns -= DESK_FORGOTTEN_NS + NS_PER_S;
    tile_tick(&tile);
    cr_assert_eq(desk_state(request), DESK_FAILED);
    cr_assert_not_null(strstr(request->why, "nobody asked"), "%s", request->why);
    block_free(&block);
}

Test(client, a_page_that_came_late_is_not_waited_for_for_ever) {
    struct desk *desk = tile.rig.engine->desk;
    struct desk_request *taken[DESK_REQUESTS];
    is_error(ask("peers", json_object()), "does not answer"); /* nobody turns meanwhile */
    is_error(ask("peers", json_object()), "not answered yet");
    tile_rest(&tile);
    for (uint32_t i = 0; i < DESK_REQUESTS; i++) { /* and others take its place */
        taken[i] = desk_take(desk, DESK_FIND);
        cr_assert_not_null(taken[i]);
    }
    is_error(ask("peers", json_object()), "does not answer");
    for (uint32_t i = 0; i < DESK_REQUESTS; i++) {
        desk_give(taken[i]);
    }
    cr_assert_null(desk->page_out);
}

Test(client, who_was_asked_for_by_a_command_is_protected) {
    struct guest guest = tile_enter(&tile, NULL);
    cr_assert_not(tile_peer(&tile)->protected);
    struct desk_request *request = desk_take(tile.rig.engine->desk, DESK_DIAL);
    request->targets[0].peer = *secure_peer(tile_peer(&tile)->secure);
    desk_hand(tile.rig.engine->desk, request, 0);
    tile_rest(&tile);
    cr_assert_eq(desk_state(request), DESK_DONE);
    cr_assert(tile_peer(&tile)->protected);
    desk_give(request);
    guest_close(&guest);
}
