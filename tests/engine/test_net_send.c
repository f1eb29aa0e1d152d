/* SPDX-License-Identifier: MIT */
/* Bytes on their way out, turn by turn: what was sent stays what it was, however long the peer
 * takes to read it and whatever becomes of the frame meanwhile. engine/net_send.c. */
#include "tests/engine/tile.h"

#include "base/clock.h"
#include "store/frame.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOT 20u /* sends of one frame, more than sendfile asks for */

static struct tile tile;

static void setup(void) {
    tile_init(&tile);
    tile.rig.settings.store_memory_bytes = 8 * MiB;
}
static void teardown(void) {
    tile_close(&tile);
}
TestSuite(net_send, .init = setup, .fini = teardown, .timeout = 200);

#define COUNTED(name) counter_get(&tile.net->counters.name)

static void put(struct caller *caller, const struct block *block) {
    caller_put(caller, 1, block);
    (void)caller_expect(caller, TLV_DONE, 1);
}
static void get(struct caller *caller, const struct block *block) {
    caller_get(caller, 2, &block->key);
    caller_expect_value(caller, 2, block);
}
static void put_and_heat(struct caller *caller, const struct block *block, uint32_t times) {
    put(caller, block);
    for (uint32_t i = 0; i < times; i++) {
        get(caller, block);
    }
}
static void erase(struct caller *caller, const struct block *block) {
    struct tlv_request request = {.type = TLV_DELETE, .id = 3, .class = TLV_CLASS_DEFAULT};
    caller_ask(caller, &request, &block->key);
    (void)caller_expect(caller, TLV_DONE, 3);
}

/* Waits by turns until the caller's socket has something: its own window is then open or shut as
 * the test wants it. */
static void until_readable(const struct caller *caller) {
    struct pollfd waiting = {.fd = caller->fd, .events = POLLIN};
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (poll(&waiting, 1, 0) == 0) {
        tile_turn(&tile);
        cr_assert_lt(clock_ns(), limit, "nothing came");
    }
    tile_rest(&tile);
}

/* A caller whose window is small: most of a large body waits on our side. */
static struct caller stalled_open(void) {
    struct caller caller = {.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .room = 1 << 16};
    int small = 8192;
    cr_assert_eq(setsockopt(caller.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(tile.rig.engine->listeners[0].address.port)};
    cr_assert_eq(connect(caller.fd, (struct sockaddr *)&address, sizeof address), 0);
    caller.bytes = malloc(caller.room);
    caller.turn = tile.rig.turn;
    caller.context = tile.rig.context;
    return caller;
}

/* The connection that is no other's: all tests open theirs last. */
static struct conn *conn_of(const struct caller *caller) {
    struct sockaddr_in name = {0};
    socklen_t length = sizeof name;
    cr_assert_eq(getsockname(caller->fd, (struct sockaddr *)&name, &length), 0);
    for (uint32_t i = 0; i < tile.net->conns.slots_max; i++) {
        struct conn *conn = pool_at(&tile.net->conns, i);
        struct sockaddr_in peer = {0};
        length = sizeof peer;
        if (conn->state != CONN_FREE && conn->fd >= 0 &&
            getpeername(conn->fd, (struct sockaddr *)&peer, &length) == 0 &&
            peer.sin_port == name.sin_port) {
            return conn;
        }
    }
    cr_assert_fail("no such connection");
    return NULL;
}

/* As a connection to another host; loopback has the same send queue, and copies only what it
 * delivers. */
static struct conn *make_far(const struct caller *caller) {
    tile_rest(&tile);
    struct conn *conn = conn_of(caller);
    cr_assert_not(conn->far, "loopback is no other host");
    conn->far = true;
    return conn;
}

/* The memory of what was erased is used for other blocks of its size. */
static void refill(struct caller *caller, uint32_t bytes) {
    for (uint32_t i = 0; i < 30; i++) {
        struct block other = block_make(1000 + i, bytes);
        put_and_heat(caller, &other, 1);
        block_free(&other);
    }
}

static void until_no_loan(void) {
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (tile.net->loans.bytes > 0) {
        tile_turn(&tile);
        cr_assert_lt(clock_ns(), limit, "%llu bytes are lent for ever",
                     (unsigned long long)tile.net->loans.bytes);
    }
}

/* ---- sendfile ------------------------------------------------------------------------------- */

static bool no_file(void) {
    const uint8_t *base;
    uint64_t bytes;
    return arena_file(tile.core->frames, &base, &bytes) < 0;
}

Test(net_send, a_frame_sent_often_goes_by_sendfile_and_small_ones_never) {
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig);
    struct block large = block_make(1, 300000), small = block_make(2, 15000);
    if (!no_file()) {
        put_and_heat(&caller, &small, 2 * HOT);
        cr_assert_eq(COUNTED(file_sends), 0);
        put_and_heat(&caller, &large, 2 * HOT);
        cr_assert_geq(COUNTED(file_sends), HOT);
        cr_assert_geq(COUNTED(file_bytes), (uint64_t)HOT * large.count);
        cr_assert_eq(COUNTED(file_fallbacks), 0);
        cr_assert_gt(COUNTED(direct_sends), 0);
    }
    block_free(&large);
    block_free(&small);
    caller_close(&caller);
}

/* On that rung of the ladder no send holds a frame; below it they do. */
Test(net_send, short_of_memory_everything_is_copied) {
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig), far = caller_open(&tile.rig);
    struct store *store = tile.rig.engine->store;
    struct block block = block_make(1, 300000), cool = block_make(2, 100000);
    put_and_heat(&caller, &block, 2 * HOT);
    put_and_heat(&caller, &cool, 1);
    for (uint32_t rung = LADDER_PUTS; rung > LADDER_ALL; rung--) {
        bool copies = rung >= LADDER_COPIES;
        store_press(store, &(struct ladder_step){(enum ladder_rung)rung, 8 * MiB});
        uint64_t files = COUNTED(file_sends), zeros = COUNTED(zero_sends);
        get(&caller, &block);
        cr_assert(no_file() || (COUNTED(file_sends) > files) != copies, "%s", ladder_names[rung]);
        (void)make_far(&far);
        get(&far, &cool);
        cr_assert((COUNTED(zero_sends) > zeros) != copies, "%s", ladder_names[rung]);
        until_no_loan();
        conn_of(&far)->far = false;
    }
    block_free(&block);
    block_free(&cool);
    caller_close(&far);
    caller_close(&caller);
}

/* Sent, not read yet, and its memory used for something else: the reader gets what was sent. */
Test(net_send, a_reader_that_stalls_gets_the_old_bytes_of_a_frame_that_was_evicted_and_refilled) {
    tile_open(&tile);
    if (no_file()) {
        return;
    }
    struct caller caller = caller_open(&tile.rig), late = caller_open(&tile.rig);
    struct block block = block_make(1, 200000);
    put_and_heat(&caller, &block, HOT);
    uint64_t before = COUNTED(file_bytes);
    caller_get(&late, 2, &block.key);
    until_readable(&late);
    cr_assert_eq(COUNTED(file_bytes), before + block.count, "all of it lies in the sockets");
    refill(&caller, block.count); /* 8 MiB of frames hold the block and 39 like it */
    refill(&caller, block.count - 1);
    erase(&caller, &block); /* should it have stayed */
    refill(&caller, block.count - 2);
    caller_expect_value(&late, 2, &block);
    cr_assert_geq(counter_get(&keeper_counters(store_keeper(tile.rig.engine->store, 0))->punches),
                  1);
    block_free(&block);
    caller_close(&caller);
    caller_close(&late);
}

/* A socket that takes a part: the rest goes plain, in order, and the next reply behind it. */
Test(net_send, what_a_full_socket_does_not_take_of_a_file_follows_plainly) {
    tile_open(&tile);
    if (no_file()) {
        return;
    }
    struct caller caller = caller_open(&tile.rig);
    struct block block = block_make(1, 2 * MiB), other = block_make(2, 90000);
    put_and_heat(&caller, &block, HOT);
    put_and_heat(&caller, &other, HOT);
    struct caller slow = stalled_open();
    tile_rest(&tile);
    int small = 64 * 1024;
    (void)setsockopt(conn_of(&slow)->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    uint64_t before = COUNTED(file_fallbacks);
    caller_get(&slow, 2, &block.key);
    caller_get(&slow, 2, &other.key);
    until_readable(&slow);
    cr_assert_gt(COUNTED(file_fallbacks), before);
    caller_expect_value(&slow, 2, &block);
    caller_expect_value(&slow, 2, &other);
    block_free(&block);
    block_free(&other);
    caller_close(&slow);
    caller_close(&caller);
}

/* ---- SEND_ZC -------------------------------------------------------------------------------- */

/* The kernel still reads it: its frame is nobody else's, though the block is gone. */
Test(net_send, a_frame_is_not_used_again_before_the_kernel_has_notified) {
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig), late = stalled_open();
    struct block block = block_make(1, 400000);
    put_and_heat(&caller, &block, 1);
    struct conn *conn = make_far(&late);
    caller_get(&late, 2, &block.key);
    until_readable(&late);
    cr_assert_geq(COUNTED(zero_sends), 1);
    cr_assert_gt(tile.net->loans.bytes, 0);
    cr_assert_gt(conn->loans, 0);
    erase(&caller, &block);
    refill(&caller, block.count);
    cr_assert_gt(tile.net->loans.bytes, 0, "it still is");
    caller_expect_value(&late, 2, &block);
    until_no_loan();
    cr_assert_eq(conn->loans, 0);
    block_free(&block);
    caller_close(&late);
    caller_close(&caller);
}

Test(net_send, a_socket_whose_sends_are_copied_all_the_same_goes_back_to_plain_ones) {
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig);
    struct block block = block_make(1, 100000), small = block_make(2, 20000);
    put_and_heat(&caller, &block, 1);
    put_and_heat(&caller, &small, 1);
    struct conn *conn = make_far(&caller);
    get(&caller, &small);
    cr_assert_eq(COUNTED(zero_sends), 0, "below the setting");
    get(&caller, &block);
    cr_assert_geq(COUNTED(zero_sends), 1);
    until_no_loan();
    tile_rest(&tile);
    cr_assert_geq(COUNTED(zero_copied), 1, "loopback copies what it delivers");
    cr_assert_not(conn->far);
    uint64_t sends = COUNTED(zero_sends);
    get(&caller, &block);
    cr_assert_eq(COUNTED(zero_sends), sends);
    block_free(&block);
    block_free(&small);
    caller_close(&caller);
}

Test(net_send, a_short_send_without_a_copy_goes_on_where_it_ended) {
    tile.rig.settings.store_memory_bytes = 32 * MiB;
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig), slow = stalled_open();
    struct block block = block_make(1, 2 * MiB), next = block_make(2, 70000);
    put_and_heat(&caller, &block, 1);
    put_and_heat(&caller, &next, 1);
    struct conn *conn = make_far(&slow);
    int small = 64 * 1024;
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    caller_get(&slow, 2, &block.key);
    caller_get(&slow, 2, &next.key);
    until_readable(&slow);
    cr_assert_gt(COUNTED(zero_bytes), 0);
    cr_assert_lt(COUNTED(zero_bytes), block.count, "the socket took a part");
    caller_expect_value(&slow, 2, &block);
    caller_expect_value(&slow, 2, &next);
    until_no_loan();
    block_free(&block);
    block_free(&next);
    caller_close(&slow);
    caller_close(&caller);
}

/* The whole block is with the kernel, and lent, for a peer that reads none of it. */
static void lend_to(struct caller *slow, struct caller *caller, const struct block *block) {
    int large = 4 << 20;
    put_and_heat(caller, block, 1);
    struct conn *conn = make_far(slow);
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUFFORCE, &large, sizeof large);
    caller_get(slow, 2, &block->key);
    until_readable(slow);
    cr_assert_gt(tile.net->loans.bytes, 0);
}

/* All is with the kernel, nothing moves: after the stall timeout it is ended as one that does not
 * take its replies is, and its frames come back at once, not when TCP gives up. */
Test(net_send, a_peer_that_stalls_for_hours_is_ended_and_its_frames_come_back) {
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig), slow = stalled_open();
    struct block block = block_make(1, 400000);
    lend_to(&slow, &caller, &block);
    for (uint32_t i = 0; i < 4 && tile.net->loans.bytes > 0; i++) {
        tile_age(&tile, 120 * NS_PER_S); /* as long as the machine has run, at least */
        tile_tick(&tile);
    }
    cr_assert_eq(COUNTED(stalled_closes), 1);
    until_no_loan();
    get(&caller, &block);
    block_free(&block);
    caller_close(&slow);
    caller_close(&caller);
}

/* The kernel's last word comes when the connection is long gone, and its slot another's. */
Test(net_send, a_notification_after_the_connection_has_ended_ends_the_loan) {
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig), slow = stalled_open();
    struct block block = block_make(1, 150000);
    lend_to(&slow, &caller, &block);
    (void)shutdown(slow.fd, SHUT_WR); /* it asks no more: we end too, what is queued stays */
    uint64_t limit = clock_ns() + PATIENCE_NS;
    while (COUNTED(closes) == 0) {
        tile_turn(&tile);
        cr_assert_lt(clock_ns(), limit, "it is never closed");
    }
    cr_assert_gt(tile.net->loans.bytes, 0, "the kernel still sends");
    struct caller heir = caller_open(&tile.rig); /* in the same slot */
    get(&heir, &block);
    caller_expect_value(&slow, 2, &block);
    until_no_loan();
    cr_assert_eq(conn_of(&heir)->loans, 0);
    block_free(&block);
    caller_close(&heir);
    caller_close(&slow);
    caller_close(&caller);
}

Test(net_send, beyond_what_may_be_lent_sends_are_plain) {
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig);
    struct block block = block_make(1, 100000);
    put_and_heat(&caller, &block, 1);
    struct conn *conn = make_far(&caller);
    tile.net->loans.bytes_max = block.count - 1;
    get(&caller, &block);
    cr_assert_eq(COUNTED(zero_sends), 0);
    cr_assert_eq(COUNTED(zero_fallbacks), 1);
    cr_assert(conn->far, "when there is room again it may");
    block_free(&block);
    caller_close(&caller);
}

/* A socket that knows no such send (one of AF_UNIX, put in the other's place). */
Test(net_send, a_socket_that_cannot_send_without_a_copy_gets_plain_sends) {
    tile_open(&tile);
    struct caller caller = caller_open(&tile.rig);
    struct block block = block_make(1, 100000);
    put_and_heat(&caller, &block, 1);
    struct conn *conn = make_far(&caller);
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    caller_get(&caller, 2, &block.key); /* the receive that is out keeps the old socket */
    cr_assert_eq(dup2(pair[0], conn->fd), conn->fd);
    close(pair[0]);
    struct caller other = {.fd = pair[1],
                           .room = 1 << 16,
                           .bytes = malloc(1 << 16),
                           .turn = tile.rig.turn,
                           .context = tile.rig.context};
    caller_expect_value(&other, 2, &block);
    cr_assert_eq(COUNTED(zero_fallbacks), 1);
    cr_assert_eq(COUNTED(zero_bytes), 0);
    cr_assert_not(conn->far);
    until_no_loan();
    block_free(&block);
    caller_close(&other);
    caller_close(&caller);
}
