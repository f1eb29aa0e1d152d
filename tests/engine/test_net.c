/* SPDX-License-Identifier: MIT */
/* What keeps one connection from costing the others, and a stream whole however it is cut:
 * engine/net.c, engine/net_conn.c. */
#include "tests/engine/rig.h"

#include "base/clock.h"
#include "engine/net.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

static struct rig rig;

static void setup(void) {
    rig_init(&rig);
}
static void teardown(void) {
    cr_assert_eq(rig_close(&rig), 0, "every test ends in a clean drain");
}
TestSuite(net, .init = setup, .fini = teardown, .timeout = 200);

static struct tlv_request request_of(uint8_t type, uint32_t id) {
    return (struct tlv_request){.type = type, .id = id, .class = TLV_CLASS_DEFAULT};
}

static void store(struct caller *caller, uint32_t id, const struct block *block) {
    caller_put(caller, id, block);
    (void)caller_expect(caller, TLV_DONE, id);
}

/* In memory from here on: reads answer light. */
static void warm(struct caller *caller, const struct block *block) {
    store(caller, 1, block);
    for (int i = 0; i < 3; i++) {
        caller_get(caller, 2, &block->key);
        caller_expect_value(caller, 2, block);
    }
}

static void until_counter(const char *name, uint64_t least) {
    uint64_t give_up = clock_ns() + PATIENCE_NS;
    while (rig_net_counter(&rig, name) < least) {
        cr_assert_lt(clock_ns(), give_up, "%s never came to %llu", name, (unsigned long long)least);
    }
}

/* A stream of requests in a buffer. */
struct stream {
    uint8_t bytes[1 << 16];
    size_t used;
};

static void add_request(struct stream *stream, const struct tlv_request *request,
                        const struct key *key) {
    stream->used += tlv_request_write(request, key, stream->bytes + stream->used);
}

static void add_bytes(struct stream *stream, const void *bytes, size_t count) {
    memcpy(stream->bytes + stream->used, bytes, count);
    stream->used += count;
}

/* ---- streams */

enum { SPLIT_PING = 1, SPLIT_PUT, SPLIT_GET, SPLIT_HAVE, SPLIT_EMPTY, SPLIT_ABSENT, SPLIT_LAST };

/* A PING, a PUT, a GET of something stored, a HAVE, an empty PUT, a miss. */
static void fill_split(struct stream *stream, const struct block *put, const struct block *stored,
                       const struct block *empty, const struct block *absent) {
    struct tlv_request request = request_of(TLV_PING, SPLIT_PING);
    stream->used = 0;
    add_request(stream, &request, NULL);
    request = request_of(TLV_PUT, SPLIT_PUT);
    request.body_bytes = put->count;
    add_request(stream, &request, &put->key);
    add_bytes(stream, put->bytes, put->count);
    request = request_of(TLV_GET, SPLIT_GET);
    add_request(stream, &request, &stored->key);
    request = request_of(TLV_HAVE, SPLIT_HAVE);
    uint8_t body[2 * KEY_MULTIHASH_MAX];
    request.count = 2;
    request.body_bytes = (uint32_t)key_write(&stored->key, body);
    request.body_bytes += (uint32_t)key_write(&absent->key, body + request.body_bytes);
    add_request(stream, &request, NULL);
    add_bytes(stream, body, request.body_bytes);
    request = request_of(TLV_PUT, SPLIT_EMPTY);
    add_request(stream, &request, &empty->key);
    request = request_of(TLV_GET, SPLIT_ABSENT);
    add_request(stream, &request, &absent->key);
}

/* Replies may come in any order; each request has exactly one, and the right one. */
static void expect_split(struct caller *caller, const struct block *stored) {
    static const uint8_t types[SPLIT_LAST] = {0,         TLV_PONG, TLV_DONE,     TLV_VALUE,
                                              TLV_HAVES, TLV_DONE, TLV_NOT_FOUND};
    uint32_t seen = 0;
    for (int i = SPLIT_PING; i < SPLIT_LAST; i++) {
        struct tlv_reply reply = caller_reply(caller);
        cr_assert(reply.id >= SPLIT_PING && reply.id < SPLIT_LAST, "id %u", reply.id);
        cr_assert_eq(seen & 1u << reply.id, 0, "id %u twice", reply.id);
        seen |= 1u << reply.id;
        cr_assert_eq(reply.type, types[reply.id], "id %u: 0x%02x %s", reply.id, reply.type,
                     reply.type == TLV_FAULT ? reply.text : "");
        if (reply.id == SPLIT_GET) {
            cr_assert_eq(memcmp(caller->body, stored->bytes, stored->count), 0);
        } else if (reply.id == SPLIT_HAVE) {
            cr_assert_eq(caller->body_bytes, 2);
            cr_assert_eq(caller->body[0], 1);
            cr_assert_eq(caller->body[1], 0);
        }
    }
}

/* Waits until the server has read what was sent so far, so that the cut is really one. */
static void until_read(struct caller *caller) {
    uint64_t give_up = clock_ns() + PATIENCE_NS;
    int left = 1;
    while (left > 0) {
        /* TIOCOUTQ: bytes the other side has not acknowledged; then its queue is asked by PING of
         * nobody: on loopback acknowledged bytes are in the other socket at once. */
        cr_assert_eq(ioctl(caller->fd, TIOCOUTQ, &left), 0);
        cr_assert_lt(clock_ns(), give_up);
    }
}

Test(net, a_stream_cut_at_every_byte_gets_the_same_replies) {
    static struct stream stream;
    rig_run(&rig);
    struct block put = block_make(1, 40), stored = block_make(2, 60), empty = block_make(3, 0),
                 absent = block_make(4, 10);
    struct caller caller = caller_open(&rig);
    (void)caller_hello(&caller, CLASS_CRITICAL);
    warm(&caller, &stored);
    fill_split(&stream, &put, &stored, &empty, &absent);
    for (size_t cut = 1; cut < stream.used; cut++) {
        caller_send(&caller, stream.bytes, cut);
        until_read(&caller);
        caller_send(&caller, stream.bytes + cut, stream.used - cut);
        expect_split(&caller, &stored);
    }
    for (size_t at = 0; at < stream.used; at++) { /* and at all of them at once */
        caller_send(&caller, stream.bytes + at, 1);
    }
    expect_split(&caller, &stored);
    caller_close(&caller);
}

/* The first frames come without HELLO, by one-shot receives: cuts there meet other code. */
Test(net, a_new_connection_may_be_cut_anywhere_too) {
    static struct stream stream;
    rig_run(&rig);
    struct block put = block_make(1, 40), stored = block_make(2, 60), empty = block_make(3, 0),
                 absent = block_make(4, 10);
    struct caller first = caller_open(&rig);
    warm(&first, &stored);
    caller_close(&first);
    fill_split(&stream, &put, &stored, &empty, &absent);
    for (size_t cut = 1; cut < stream.used; cut += 3) {
        struct caller caller = caller_open(&rig);
        caller_send(&caller, stream.bytes, cut);
        until_read(&caller);
        caller_send(&caller, stream.bytes + cut, stream.used - cut);
        expect_split(&caller, &stored);
        caller_close(&caller);
    }
}

Test(net, a_half_closed_client_still_gets_its_replies) {
    static struct stream stream;
    rig_run(&rig);
    struct block put = block_make(1, 40), stored = block_make(2, 60), empty = block_make(3, 0),
                 absent = block_make(4, 10);
    struct caller caller = caller_open(&rig);
    warm(&caller, &stored);
    fill_split(&stream, &put, &stored, &empty, &absent);
    caller_send(&caller, stream.bytes, stream.used);
    cr_assert_eq(shutdown(caller.fd, SHUT_WR), 0);
    expect_split(&caller, &stored);
    caller_expect_end(&caller);
    caller_close(&caller);
    until_counter("end_peer", 1);
}

Test(net, a_client_that_leaves_inside_a_body_leaves_nothing_behind) {
    rig_run(&rig);
    struct block block = block_make(1, 100000);
    for (uint32_t i = 0; i < 20; i++) {
        struct caller caller = caller_open(&rig);
        struct tlv_request put = request_of(TLV_PUT, i);
        put.body_bytes = block.count;
        caller_ask(&caller, &put, &block.key);
        caller_send(&caller, block.bytes, 5000 * i);
        caller_close(&caller);
    }
    until_counter("closes", 20);
    cr_assert_eq(rig_net_counter(&rig, "connections"), 0);
    const struct net *net = rig.engine->cores[0].net; /* no connection: its core is still */
    cr_assert_eq(net->body_bytes[CLASS_NORMAL] + net->shared_body_bytes, 0);
    cr_assert_eq(pool_used(&rig.engine->cores[0].net->jobs) <= 1, 1, "but for the spare one");
}

/* How long a client takes to send a body is its own affair: it is no queue of ours, so nothing is
 * shed and no deadline passes for it. */
Test(net, a_slow_upload_is_neither_shed_nor_expired) {
    rig_run(&rig);
    struct block block = block_make(1, 3000);
    struct caller caller = caller_open(&rig);
    (void)caller_hello(&caller, CLASS_CRITICAL); /* shed from 20 ms on */
    for (uint32_t i = 0; i < 10; i++) {
        struct tlv_request put = request_of(TLV_PUT, i);
        put.body_bytes = block.count;
        put.deadline_ms = i % 2 ? 60 : 0;
        caller_ask(&caller, &put, &block.key);
        (void)poll(NULL, 0, 80);
        caller_send(&caller, block.bytes, block.count);
        (void)caller_expect(&caller, TLV_DONE, i);
    }
    block_free(&block);
    caller_close(&caller);
}

/* ---- limits */

Test(net, requests_beyond_the_credits_are_busy_and_the_others_are_answered) {
    enum { ASKED = 200 };
    rig.settings.net_credits = 8;
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    cr_assert_eq(caller_hello(&caller, CLASS_CRITICAL).credits, 8);
    static struct stream stream;
    struct block block = block_make(1, 20);
    for (uint32_t i = 0; i < ASKED; i++) { /* heavy: they stay unanswered while more are read */
        struct tlv_request request = request_of(TLV_PUT, 100 + i);
        request.body_bytes = block.count;
        add_request(&stream, &request, &block.key);
        add_bytes(&stream, block.bytes, block.count);
    }
    caller_send(&caller, stream.bytes, stream.used);
    uint32_t done = 0, busy = 0;
    for (uint32_t i = 0; i < ASKED; i++) {
        struct tlv_reply reply = caller_reply(&caller);
        done += reply.type == TLV_DONE;
        busy += reply.type == TLV_BUSY;
        if (reply.type == TLV_BUSY) {
            cr_assert_gt(reply.retry_ms, 0);
            cr_assert_eq(reply.credits, 8);
        }
    }
    cr_assert_eq(done + busy, ASKED);
    cr_assert_geq(done, 8);
    cr_assert_gt(busy, 0);
    cr_assert_eq(rig_net_counter(&rig, "over_credits"), busy);
    store(&caller, 7, &block); /* and then there are credits again */
    caller_close(&caller);
}

Test(net, a_request_may_lower_its_class_and_not_raise_it) {
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    (void)caller_hello(&caller, CLASS_NORMAL);
    struct block block = block_make(1, 100);
    warm(&caller, &block);
    struct tlv_request get = request_of(TLV_GET, 5);
    static const uint8_t asked[] = {CLASS_LOW, CLASS_CRITICAL, CLASS_NORMAL, TLV_CLASS_DEFAULT};
    for (size_t i = 0; i < array_count(asked); i++) {
        get.class = asked[i];
        caller_ask(&caller, &get, &block.key);
        caller_expect_value(&caller, 5, &block);
    }
    json_t *stat = rig_ask(&rig, "stat");
    json_t *class;
    size_t i;
    json_array_foreach(json_object_get(stat, "classes"), i, class) {
        json_int_t done = json_integer_value(json_object_get(class, "done"));
        const char *name = json_string_value(json_object_get(class, "class"));
        if (strcmp(name, "low") == 0) {
            cr_assert_eq(done, 1);
        } else if (strcmp(name, "normal") == 0) {
            cr_assert_eq(done, 4 + 3); /* the PUT and three GETs of warm() among them */
        } else {
            cr_assert_eq(done, 0, "%s", name);
        }
    }
    json_decref(stat);
    caller_close(&caller);
}

Test(net, more_connections_than_the_limit_are_turned_away_in_words) {
    rig.settings.net_connections_max = 10;
    rig_run(&rig);
    struct caller callers[10];
    for (uint32_t i = 0; i < array_count(callers); i++) {
        callers[i] = caller_open(&rig);
        (void)caller_hello(&callers[i], CLASS_NORMAL);
    }
    for (uint32_t i = 0; i < 5; i++) {
        struct caller more = caller_open(&rig);
        caller_expect_fault(&more, 0, TLV_CODE_TOO_MANY_CONNECTIONS);
        caller_expect_end(&more);
        caller_close(&more);
    }
    cr_assert_eq(rig_net_counter(&rig, "refused_connections"), 5);
    caller_close(&callers[0]);
    until_counter("closes", 1);
    struct caller again = caller_open(&rig); /* a place is free again */
    (void)caller_hello(&again, CLASS_NORMAL);
    caller_close(&again);
    for (uint32_t i = 1; i < array_count(callers); i++) {
        caller_close(&callers[i]);
    }
}

/* An upload limit that is met says BUSY and reads the body over. */
Test(net, bodies_beyond_upload_memory_are_busy) {
    rig.settings.net_body_bytes_max = 8 * MiB; /* 1 MiB for each class, 4 MiB for whoever comes */
    rig_run(&rig);
    struct block block = block_make(1, 2 * MiB);
    struct caller holders[2], caller = caller_open(&rig);
    for (uint32_t i = 0; i < 2; i++) { /* announced, not sent: their memory is taken */
        holders[i] = caller_open(&rig);
        struct tlv_request put = request_of(TLV_PUT, 1);
        put.body_bytes = block.count;
        caller_ask(&holders[i], &put, &block.key);
    }
    until_counter("requests", 2);
    caller_put(&caller, 9, &block);
    (void)caller_expect(&caller, TLV_BUSY, 9);
    cr_assert_eq(rig_net_counter(&rig, "no_body_memory"), 1);
    for (uint32_t i = 0; i < 2; i++) {
        caller_close(&holders[i]);
    }
    until_counter("closes", 2);
    store(&caller, 10, &block);
    block_free(&block);
    caller_close(&caller);
}

/* Who takes no replies costs at most net.output_max, is cut off, and slows nobody. */
Test(net, a_slow_reader_is_bounded_and_cut_off) {
    rig.settings.net_output_bytes_max = 256 * KiB;
    rig.settings.net_stall_timeout_ns = 500 * NS_PER_MS;
    rig_run(&rig);
    struct block block = block_make(1, 100000);
    struct caller other = caller_open(&rig);
    warm(&other, &block);
    struct caller slow = caller_open(&rig);
    int small = 4096;
    (void)setsockopt(slow.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    (void)caller_hello(&slow, CLASS_CRITICAL);
    uint32_t asked = 0;
    uint64_t give_up = clock_ns() + PATIENCE_NS;
    uint8_t frame[TLV_REQUEST_MAX];
    struct tlv_request get = request_of(TLV_GET, 3);
    size_t bytes = tlv_request_write(&get, &block.key, frame);
    bool ended = false;
    while (!ended) { /* asks for ever and reads nothing */
        ssize_t n = send(slow.fd, frame, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
        asked += n == (ssize_t)bytes;
        cr_assert(n < 0 || n == (ssize_t)bytes || n > 0);
        ended = n < 0 && errno != EAGAIN;
        const struct net *net = rig.engine->cores[0].net;
        cr_assert_leq(pool_used(&net->outs.leased), 16, "256 KiB are three blocks");
        caller_get(&other, 4, &block.key);
        caller_expect_value(&other, 4, &block); /* the others are served meanwhile */
        cr_assert_lt(clock_ns(), give_up, "it was never cut off");
        if (n > 0 && n < (ssize_t)bytes) {
            break; /* half a request fits: no more may be sent without breaking the stream */
        }
    }
    until_counter("stalled_closes", 1);
    until_counter("closes", 1);
    cr_assert_gt(asked, 4);
    caller_get(&other, 5, &block.key);
    caller_expect_value(&other, 5, &block);
    caller_close(&slow);
    caller_close(&other);
    block_free(&block);
}

Test(net, an_idle_connection_is_closed_after_its_time_and_a_busy_one_is_not) {
    rig.settings.net_idle_timeout_ns = 300 * NS_PER_MS;
    rig_run(&rig);
    struct caller idle = caller_open(&rig), busy = caller_open(&rig);
    struct pollfd end = {.fd = idle.fd, .events = POLLIN};
    uint64_t give_up = clock_ns() + PATIENCE_NS;
    struct tlv_request ping = request_of(TLV_PING, 2);
    while (poll(&end, 1, 50) == 0) {
        caller_ask(&busy, &ping, NULL);
        (void)caller_expect(&busy, TLV_PONG, 2);
        cr_assert_lt(clock_ns(), give_up);
    }
    caller_expect_end(&idle);
    cr_assert_eq(rig_net_counter(&rig, "idle_closes"), 1);
    caller_close(&idle);
    caller_close(&busy);
}

/* Expired jobs are dropped before work is spent: the queue in front makes them late. */
Test(net, a_request_past_its_deadline_is_expired) {
    enum { AHEAD = 60, LATE = 30 };
    rig_run(&rig);
    struct caller caller = caller_open(&rig);
    (void)caller_hello(&caller, CLASS_CRITICAL);
    struct block block = block_make(1, MiB);
    for (uint32_t i = 0; i < AHEAD; i++) { /* a millisecond of hashing each */
        struct tlv_request verify = request_of(TLV_PUT, 1000 + i);
        verify.body_bytes = block.count;
        caller_ask(&caller, &verify, &block.key);
        caller_send(&caller, block.bytes, block.count);
        for (uint32_t late = 0; i == AHEAD - 1 && late < LATE; late++) {
            struct tlv_request remove = request_of(TLV_DELETE, late);
            remove.deadline_ms = 1;
            caller_ask(&caller, &remove, &block.key);
        }
    }
    uint32_t expired = 0, answered = 0;
    for (uint32_t i = 0; i < AHEAD + LATE; i++) {
        struct tlv_reply reply = caller_reply(&caller);
        answered++;
        if (reply.type == TLV_FAULT && reply.id < LATE) {
            cr_assert_eq(reply.code, TLV_CODE_EXPIRED, "%s", reply.text);
            expired++;
        }
    }
    cr_assert_eq(answered, AHEAD + LATE, "each has a reply, expired or not");
    cr_log_info("%u of %u expired", expired, LATE);
    block_free(&block);
    caller_close(&caller);
}

/* ---- many */

Test(net, connections_come_and_go_without_leaving_anything) {
    rig_run(&rig);
    struct block block = block_make(1, 3000);
    struct caller first = caller_open(&rig);
    warm(&first, &block);
    for (uint32_t round = 0; round < 300; round++) {
        struct caller caller = caller_open(&rig);
        caller_get(&caller, round, &block.key);
        if (round % 3 == 0) {
            caller_expect_value(&caller, round, &block);
        } else if (round % 3 == 1) {
            struct linger hard = {.l_onoff = 1};
            (void)setsockopt(caller.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
        }
        caller_close(&caller);
    }
    until_counter("closes", 300);
    cr_assert_eq(rig_net_counter(&rig, "connections"), 1);
    caller_get(&first, 5, &block.key);
    caller_expect_value(&first, 5, &block);
    caller_close(&first);
    block_free(&block);
}
