/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/yamux.h"

#include "base/bits.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { DATA, UPDATE, PING, GOAWAY };
enum { SYN = 1, ACK = 2, FIN = 4, RST = 8 };

#define STREAMS_MAX 40u

static size_t put(uint8_t *out, uint8_t type, uint16_t flags, uint32_t id, uint32_t length) {
    out[0] = 0;
    out[1] = type;
    put_be16(out + 2, flags);
    put_be32(out + 4, id);
    put_be32(out + 8, length);
    return YAMUX_HEAD_BYTES;
}

/* The next event of a head alone, which must be taken whole. */
static enum yamux_event feed(struct yamux *yamux, uint8_t type, uint16_t flags, uint32_t id,
                             uint32_t length, struct yamux_step *step) {
    uint8_t head[YAMUX_HEAD_BYTES];
    put(head, type, flags, id, length);
    enum yamux_event event = yamux_step(yamux, head, sizeof head, 0, step);
    cr_assert_eq(step->used, sizeof head);
    return event;
}

static enum yamux_event more(struct yamux *yamux, struct yamux_step *step) {
    static const uint8_t nothing[1];
    return yamux_step(yamux, nothing, 0, 0, step);
}

static struct yamux listener(void) {
    struct yamux yamux;
    yamux_init(&yamux, false, STREAMS_MAX, YAMUX_WINDOW_BYTES);
    return yamux;
}

static void open_inbound(struct yamux *yamux, uint32_t id, struct yamux_stream *stream) {
    struct yamux_step step;
    cr_assert_eq(feed(yamux, UPDATE, SYN, id, 0, &step), YAMUX_OPENED);
    cr_assert_eq(step.id, id);
    yamux_accept(yamux, stream);
    cr_assert_eq(more(yamux, &step), YAMUX_MORE);
}

/* What is owed must be exactly this one frame. */
static void owes_only(struct yamux *yamux, uint8_t type, uint16_t flags, uint32_t id,
                      uint32_t length) {
    uint8_t out[YAMUX_WRITE_MIN], wanted[YAMUX_HEAD_BYTES];
    put(wanted, type, flags, id, length);
    cr_assert_eq(yamux_write_owed(yamux, 0, out, sizeof out), sizeof wanted);
    cr_assert_eq(memcmp(out, wanted, sizeof wanted), 0);
    cr_assert_not(yamux_owes(yamux));
}

static void faults(uint8_t type, uint16_t flags, uint32_t id, uint32_t length,
                   enum yamux_fault fault) {
    struct yamux yamux = listener();
    struct yamux_stream stream;
    struct yamux_step step;
    open_inbound(&yamux, 3, &stream);
    cr_assert_eq(feed(&yamux, type, flags, id, length, &step), YAMUX_BAD);
    cr_assert_eq(step.fault, fault, "type %u flags %u id %u: fault %d", type, flags, id,
                 step.fault);
    cr_assert_eq(more(&yamux, &step), YAMUX_BAD, "bad for good");
    cr_assert_eq(step.fault, fault);
}

Test(yamux, what_breaks_the_protocol_is_bad_and_says_why) {
    faults(4, 0, 3, 0, YAMUX_FAULT_TYPE);
    faults(DATA, 16, 3, 0, YAMUX_FAULT_FLAGS);
    faults(PING, 0, 0, 1, YAMUX_FAULT_FLAGS);
    faults(PING, SYN | ACK, 0, 1, YAMUX_FAULT_FLAGS);
    faults(PING, ACK, 0, 1, YAMUX_FAULT_PONG);
    faults(PING, SYN, 3, 1, YAMUX_FAULT_STREAM_ID);
    faults(DATA, 0, 0, 0, YAMUX_FAULT_STREAM_ID);
    faults(UPDATE, SYN, 0, 0, YAMUX_FAULT_STREAM_ID);
    faults(UPDATE, SYN, 4, 0, YAMUX_FAULT_STREAM_ID);
    faults(UPDATE, SYN, 3, 0, YAMUX_FAULT_STREAM_ID);
    faults(DATA, 0, 3, YAMUX_WINDOW_BYTES + 1, YAMUX_FAULT_WINDOW);
    faults(DATA, SYN, 5, YAMUX_WINDOW_BYTES + 1, YAMUX_FAULT_WINDOW);
    faults(UPDATE, 0, 3, UINT32_MAX - YAMUX_WINDOW_BYTES + 1, YAMUX_FAULT_WINDOW);
    struct yamux yamux = listener();
    struct yamux_step step;
    uint8_t head[YAMUX_HEAD_BYTES] = {1};
    cr_assert_eq(yamux_step(&yamux, head, sizeof head, 0, &step), YAMUX_BAD);
    cr_assert_eq(step.fault, YAMUX_FAULT_VERSION);
}

Test(yamux, the_largest_delta_and_the_whole_window_are_legal) {
    struct yamux yamux = listener();
    struct yamux_stream stream;
    struct yamux_step step;
    open_inbound(&yamux, 3, &stream);
    cr_assert_eq(feed(&yamux, UPDATE, 0, 3, UINT32_MAX - YAMUX_WINDOW_BYTES, &step), YAMUX_WINDOW);
    cr_assert_eq(stream.send_window, UINT32_MAX);
    cr_assert_eq(feed(&yamux, DATA, 0, 3, YAMUX_WINDOW_BYTES, &step), YAMUX_MORE);
    static uint8_t payload[YAMUX_WINDOW_BYTES];
    cr_assert_eq(yamux_step(&yamux, payload, sizeof payload, 0, &step), YAMUX_DATA);
    cr_assert_eq(step.count, YAMUX_WINDOW_BYTES);
    cr_assert_eq(feed(&yamux, DATA, 0, 3, 1, &step), YAMUX_BAD, "and not a byte above it");
}

Test(yamux, ack_is_sent_once_and_before_anything_else_of_its_stream) {
    struct yamux yamux = listener();
    struct yamux_stream alone, with_data, with_fin;
    uint8_t head[YAMUX_HEAD_BYTES], wanted[YAMUX_HEAD_BYTES], out[YAMUX_WRITE_MIN];
    open_inbound(&yamux, 3, &alone);
    owes_only(&yamux, UPDATE, ACK, 3, 0);
    open_inbound(&yamux, 5, &with_data);
    yamux_data_head(&yamux, &with_data, 9, head);
    put(wanted, DATA, ACK, 5, 9);
    cr_assert_eq(memcmp(head, wanted, sizeof head), 0);
    cr_assert_not(yamux_owes(&yamux));
    yamux_data_head(&yamux, &with_data, 9, head);
    put(wanted, DATA, 0, 5, 9);
    cr_assert_eq(memcmp(head, wanted, sizeof head), 0);
    open_inbound(&yamux, 7, &with_fin);
    yamux_finish(&yamux, &with_fin);
    yamux_finish(&yamux, &with_fin);
    cr_assert_eq(yamux_write_owed(&yamux, 0, out, sizeof out), 2 * YAMUX_HEAD_BYTES);
    put(wanted, UPDATE, ACK, 7, 0);
    cr_assert_eq(memcmp(out, wanted, sizeof wanted), 0);
    put(wanted, UPDATE, FIN, 7, 0);
    cr_assert_eq(memcmp(out + YAMUX_HEAD_BYTES, wanted, sizeof wanted), 0,
                 "an empty update, never on data");
}

Test(yamux, our_stream_says_syn_alone_or_with_its_first_data) {
    struct yamux yamux;
    struct yamux_stream first, second;
    uint8_t head[YAMUX_HEAD_BYTES], wanted[YAMUX_HEAD_BYTES];
    yamux_init(&yamux, true, 2, YAMUX_WINDOW_BYTES);
    cr_assert(yamux_open_stream(&yamux, &first));
    owes_only(&yamux, UPDATE, SYN, 1, 0);
    cr_assert(yamux_open_stream(&yamux, &second));
    yamux_data_head(&yamux, &second, 100, head);
    put(wanted, DATA, SYN, 3, 100);
    cr_assert_eq(memcmp(head, wanted, sizeof head), 0);
    cr_assert_eq(second.send_window, YAMUX_WINDOW_BYTES - 100);
    struct yamux_stream third;
    cr_assert_not(yamux_open_stream(&yamux, &third), "streams_max");
    cr_assert(yamux_reset(&yamux, &first));
    struct yamux_step step;
    cr_assert_eq(feed(&yamux, GOAWAY, 0, 0, 2, &step), YAMUX_GOAWAY);
    cr_assert_eq(step.id, 2);
    cr_assert(yamux.gone_away);
    cr_assert_not(yamux_open_stream(&yamux, &third), "gone away");
    cr_assert_eq(yamux.streams, 1);
}

Test(yamux, ids_used_up_end_opening) {
    struct yamux yamux;
    struct yamux_stream stream;
    yamux_init(&yamux, true, 2, YAMUX_WINDOW_BYTES);
    yamux.next_id = UINT32_MAX - 2;
    cr_assert(yamux_open_stream(&yamux, &stream));
    cr_assert(yamux_reset(&yamux, &stream));
    cr_assert_not(yamux_owes(&yamux), "its SYN was never said: nor is its RST");
    cr_assert_not(yamux_open_stream(&yamux, &stream));
}

Test(yamux, data_with_syn_and_fin_is_opened_read_and_finished) {
    struct yamux yamux = listener();
    struct yamux_stream stream;
    struct yamux_step step;
    uint8_t frame[YAMUX_HEAD_BYTES + 5];
    put(frame, DATA, SYN | FIN, 9, 5);
    memcpy(frame + YAMUX_HEAD_BYTES, "hello", 5);
    cr_assert_eq(yamux_step(&yamux, frame, sizeof frame, 0, &step), YAMUX_OPENED);
    yamux_accept(&yamux, &stream);
    const uint8_t *rest = frame + step.used;
    size_t left = sizeof frame - step.used;
    cr_assert_eq(yamux_step(&yamux, rest, left, 0, &step), YAMUX_DATA);
    cr_assert_eq(step.stream, &stream);
    cr_assert_eq(step.count, 5);
    cr_assert_eq(memcmp(step.bytes, "hello", 5), 0);
    cr_assert_not(stream.peer_done);
    cr_assert_eq(more(&yamux, &step), YAMUX_FIN);
    cr_assert(stream.peer_done);
    cr_assert_eq(feed(&yamux, UPDATE, FIN, 9, 0, &step), YAMUX_MORE, "it is said once");
    cr_assert_eq(feed(&yamux, DATA, 0, 9, 1, &step), YAMUX_MORE);
    cr_assert_eq(yamux_step(&yamux, (const uint8_t *)"x", 1, 0, &step), YAMUX_MORE, "drained");
    cr_assert_eq(yamux.drained_bytes, 1);
    cr_assert_not(yamux_over(&stream));
    yamux_finish(&yamux, &stream);
    cr_assert_not(yamux_over(&stream), "ACK and FIN are owed");
    uint8_t out[YAMUX_WRITE_MIN];
    cr_assert_eq(yamux_write_owed(&yamux, 0, out, sizeof out), 2 * YAMUX_HEAD_BYTES);
    cr_assert(yamux_over(&stream));
    yamux_unlink(&yamux, &stream);
    cr_assert_eq(yamux.streams, 0);
}

Test(yamux, a_reset_ends_a_stream_on_either_type_and_its_length_is_no_delta) {
    for (uint8_t type = DATA; type <= UPDATE; type++) {
        struct yamux yamux = listener();
        struct yamux_stream stream;
        struct yamux_step step;
        uint8_t payload[7] = {0};
        open_inbound(&yamux, 3, &stream);
        cr_assert_eq(feed(&yamux, type, RST, 3, type == DATA ? 7 : UINT32_MAX, &step), YAMUX_RESET);
        cr_assert_eq(step.stream, &stream);
        cr_assert_eq(yamux.streams, 0);
        cr_assert_not(yamux_owes(&yamux), "the ACK it owed went with it");
        if (type == DATA) {
            cr_assert_eq(yamux_step(&yamux, payload, 7, 0, &step), YAMUX_MORE);
            cr_assert_eq(step.used, 7);
        }
        open_inbound(&yamux, 5, &stream);
    }
}

Test(yamux, frames_of_strangers_are_drained_and_a_stream_born_dead_is_no_event) {
    struct yamux yamux = listener();
    struct yamux_step step;
    uint8_t payload[100] = {0};
    cr_assert_eq(feed(&yamux, DATA, 0, 77, sizeof payload, &step), YAMUX_MORE);
    cr_assert_eq(yamux_step(&yamux, payload, sizeof payload, 0, &step), YAMUX_MORE);
    cr_assert_eq(step.used, sizeof payload);
    cr_assert_eq(feed(&yamux, UPDATE, 0, 78, UINT32_MAX, &step), YAMUX_MORE);
    cr_assert_eq(feed(&yamux, UPDATE, FIN | RST, 79, 3, &step), YAMUX_MORE);
    cr_assert_eq(feed(&yamux, UPDATE, SYN | RST, 81, 3, &step), YAMUX_MORE);
    cr_assert_eq(yamux.drained_bytes, sizeof payload);
    cr_assert_not(yamux_owes(&yamux));
}

Test(yamux, refused_streams_get_a_reset_and_their_data_is_drained) {
    struct yamux yamux = listener();
    struct yamux_step step;
    cr_assert_eq(feed(&yamux, DATA, SYN | FIN, 9, 3, &step), YAMUX_OPENED);
    yamux_refuse(&yamux);
    cr_assert_eq(yamux_step(&yamux, (const uint8_t *)"abc", 3, 0, &step), YAMUX_MORE);
    owes_only(&yamux, UPDATE, RST, 9, 0);
}

Test(yamux, streams_above_the_limit_are_reset_and_counted) {
    struct yamux yamux = listener();
    struct yamux_stream streams[STREAMS_MAX];
    struct yamux_step step;
    uint8_t out[4096];
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        open_inbound(&yamux, 1 + 2 * i, &streams[i]);
    }
    cr_assert_gt(yamux_write_owed(&yamux, 0, out, sizeof out), 0);
    cr_assert_eq(feed(&yamux, UPDATE, SYN, 1001, 0, &step), YAMUX_MORE);
    cr_assert_eq(yamux.refused, 1);
    owes_only(&yamux, UPDATE, RST, 1001, 0);
    cr_assert(yamux_reset(&yamux, &streams[4]));
    owes_only(&yamux, UPDATE, RST, 9, 0);
    open_inbound(&yamux, 1003, &streams[4]);
}

Test(yamux, ids_may_come_out_of_order) {
    struct yamux yamux = listener();
    struct yamux_stream later, earlier;
    open_inbound(&yamux, 7, &later);
    open_inbound(&yamux, 5, &earlier);
    cr_assert_eq(yamux.streams, 2);
}

Test(yamux, pings_are_answered_with_their_value_and_ours_measure_the_round_trip) {
    struct yamux yamux = listener();
    struct yamux_step step;
    uint8_t out[YAMUX_WRITE_MIN];
    cr_assert_eq(feed(&yamux, PING, SYN, 0, 0xabcdef01, &step), YAMUX_MORE);
    owes_only(&yamux, PING, ACK, 0, 0xabcdef01);
    cr_assert(yamux_ping(&yamux));
    cr_assert_not(yamux_ping(&yamux));
    cr_assert_eq(yamux_write_owed(&yamux, 1000, out, sizeof out), YAMUX_HEAD_BYTES);
    cr_assert_not(yamux_ping(&yamux), "it is out");
    put_be16(out + 2, ACK);
    cr_assert_eq(yamux_step(&yamux, out, YAMUX_HEAD_BYTES, 1600, &step), YAMUX_PONG);
    cr_assert_eq(yamux.round_trip_ns, 600);
    cr_assert(yamux_ping(&yamux));
}

Test(yamux, too_much_owed_stops_the_reading_until_it_is_written) {
    static const struct {
        uint8_t type;
        uint16_t flags;
    } kinds[] = {{PING, SYN}, {UPDATE, SYN}};
    for (size_t kind = 0; kind < array_count(kinds); kind++) {
        struct yamux yamux = listener();
        struct yamux_step step;
        uint8_t out[4096];
        for (uint32_t i = 0; i <= YAMUX_OWED_MAX; i++) {
            bool ping = kinds[kind].type == PING;
            enum yamux_event event =
                feed(&yamux, kinds[kind].type, kinds[kind].flags, ping ? 0 : 1 + 2 * i, i, &step);
            if (event == YAMUX_OPENED) {
                yamux_refuse(&yamux);
            }
            cr_assert_eq(event == YAMUX_FULL, i == YAMUX_OWED_MAX);
        }
        cr_assert_eq(more(&yamux, &step), YAMUX_FULL, "still");
        cr_assert_eq(yamux_write_owed(&yamux, 0, out, YAMUX_WRITE_MIN - 1), 0);
        cr_assert_eq(yamux_write_owed(&yamux, 0, out, YAMUX_WRITE_MIN), YAMUX_WRITE_MIN);
        enum yamux_event event = more(&yamux, &step);
        cr_assert_eq(event, kind == 0 ? YAMUX_MORE : YAMUX_OPENED, "the frame was kept");
        if (event == YAMUX_OPENED) {
            yamux_refuse(&yamux);
        }
        cr_assert_eq(yamux_write_owed(&yamux, 0, out, sizeof out),
                     (YAMUX_OWED_MAX - 3) * YAMUX_HEAD_BYTES);
        cr_assert_eq(get_be32(out + (kind == 0 ? 8 : 4)), kind == 0 ? 4 : 9, "oldest first");
    }
}

/* Feeds and consumes `count` bytes. */
static void transfer(struct yamux *yamux, struct yamux_stream *stream, uint32_t count,
                     uint64_t now_ns) {
    static uint8_t payload[YAMUX_WINDOW_BYTES * 4];
    uint8_t head[YAMUX_HEAD_BYTES];
    struct yamux_step step;
    put(head, DATA, 0, stream->id, count);
    cr_assert_eq(yamux_step(yamux, head, sizeof head, now_ns, &step), YAMUX_MORE);
    cr_assert_eq(yamux_step(yamux, payload, count, now_ns, &step), YAMUX_DATA);
    cr_assert_eq(step.count, count);
    yamux_consumed(yamux, stream, count, now_ns);
}

static uint32_t delta_written(struct yamux *yamux, uint32_t id) {
    uint8_t out[YAMUX_WRITE_MIN];
    size_t bytes = yamux_write_owed(yamux, 0, out, sizeof out);
    if (bytes == 0) {
        return 0;
    }
    cr_assert_eq(bytes, YAMUX_HEAD_BYTES);
    cr_assert_eq(out[1], UPDATE);
    cr_assert_eq(get_be32(out + 4), id);
    return get_be32(out + 8);
}

Test(yamux, a_window_opens_again_when_half_of_it_is_used_and_grows_while_that_is_quick) {
    const uint32_t whole = YAMUX_WINDOW_BYTES, half = whole / 2;
    struct yamux yamux;
    struct yamux_stream stream;
    yamux_init(&yamux, false, STREAMS_MAX, 4 * whole);
    open_inbound(&yamux, 3, &stream);
    owes_only(&yamux, UPDATE, ACK, 3, 0);
    transfer(&yamux, &stream, half - 1, 100);
    cr_assert_not(yamux_owes(&yamux));
    transfer(&yamux, &stream, 1, 101);
    cr_assert_eq(delta_written(&yamux, 3), half, "no round trip is known: no growth");
    yamux.round_trip_ns = 1000;
    transfer(&yamux, &stream, half, 101 + 3999);
    cr_assert_eq(delta_written(&yamux, 3), half + whole, "doubled");
    transfer(&yamux, &stream, whole, 101 + 3999 + 4000);
    cr_assert_eq(delta_written(&yamux, 3), whole, "too slow to grow");
    transfer(&yamux, &stream, whole, 8200);
    cr_assert_eq(delta_written(&yamux, 3), 3 * whole);
    transfer(&yamux, &stream, 4 * whole, 8300);
    cr_assert_eq(delta_written(&yamux, 3), 4 * whole, "window_max is reached");
    cr_assert_eq(stream.receive_left, 4 * whole);
    cr_assert_eq(stream.receive_window, 4 * whole);
}

Test(yamux, nothing_is_granted_to_a_peer_that_has_finished) {
    struct yamux yamux = listener();
    struct yamux_stream stream;
    struct yamux_step step;
    open_inbound(&yamux, 3, &stream);
    owes_only(&yamux, UPDATE, ACK, 3, 0);
    transfer(&yamux, &stream, YAMUX_WINDOW_BYTES, 1);
    cr_assert(yamux_owes(&yamux));
    cr_assert_eq(feed(&yamux, UPDATE, FIN, 3, 0, &step), YAMUX_FIN);
    cr_assert_not(yamux_owes(&yamux));
}

Test(yamux, a_stream_that_is_freed_leaves_every_list) {
    struct yamux yamux = listener();
    struct yamux_stream streams[3];
    struct yamux_step step;
    uint8_t out[YAMUX_WRITE_MIN];
    for (uint32_t gone = 0; gone < 3; gone++) {
        for (uint32_t i = 0; i < 3; i++) {
            open_inbound(&yamux, 101 + 32 * i + 1000 * gone, &streams[i]); /* all in one bucket */
        }
        cr_assert_eq(feed(&yamux, DATA, 0, streams[gone].id, 10, &step), YAMUX_MORE);
        yamux_unlink(&yamux, &streams[gone]);
        memset(&streams[gone], 0xa5, sizeof streams[gone]);
        cr_assert_eq(yamux_step(&yamux, out, 10, 0, &step), YAMUX_MORE, "its frame is drained");
        cr_assert_eq(yamux_write_owed(&yamux, 0, out, sizeof out), 2 * YAMUX_HEAD_BYTES);
        cr_assert_eq(get_be32(out + 4), streams[gone == 0].id);
        cr_assert_eq(get_be32(out + 16), streams[gone == 2 ? 1 : 2].id);
        for (uint32_t i = 0; i < 3; i++) {
            if (i != gone) {
                cr_assert(yamux_reset(&yamux, &streams[i]));
            }
        }
        cr_assert_eq(yamux_write_owed(&yamux, 0, out, sizeof out), 2 * YAMUX_HEAD_BYTES);
        cr_assert_eq(yamux.streams, 0);
    }
}

Test(yamux, opening_and_resetting_for_ever_leaves_nothing_behind) {
    struct yamux yamux = listener();
    struct yamux_stream stream;
    struct yamux_step step;
    uint8_t out[YAMUX_WRITE_MIN];
    for (uint32_t i = 0; i < 1000000; i++) {
        cr_assert_eq(feed(&yamux, UPDATE, SYN, 2 * i + 1, 0, &step), YAMUX_OPENED);
        yamux_accept(&yamux, &stream);
        cr_assert_eq(feed(&yamux, UPDATE, RST, 2 * i + 1, 0, &step), YAMUX_RESET);
    }
    cr_assert_eq(yamux.streams, 0);
    cr_assert_eq(yamux_write_owed(&yamux, 0, out, sizeof out), 0);
}

Test(yamux, go_away_is_written_last) {
    struct yamux yamux = listener();
    struct yamux_step step;
    uint8_t out[YAMUX_WRITE_MIN];
    yamux_go_away(&yamux, 1);
    cr_assert_eq(feed(&yamux, PING, SYN, 0, 5, &step), YAMUX_MORE);
    cr_assert_eq(yamux_write_owed(&yamux, 0, out, sizeof out), 2 * YAMUX_HEAD_BYTES);
    cr_assert_eq(out[1], PING);
    cr_assert_eq(out[YAMUX_HEAD_BYTES + 1], GOAWAY);
    cr_assert_eq(get_be32(out + YAMUX_HEAD_BYTES + 8), 1);
}

/* ---- two sessions talk to each other over a wire of random cuts ---- */

#define WIRE_BYTES   (1u << 16)
#define PAIR_STREAMS 12u

struct talk {
    struct yamux_stream stream;
    bool used;
    uint32_t sent, to_send; /* of ours, byte i of stream id is (id * 31 + i) & 0xff */
    uint32_t got;
    uint32_t unread; /* handed out, not yet consumed */
};

struct side {
    struct yamux yamux;
    struct talk talks[PAIR_STREAMS];
    uint8_t wire[WIRE_BYTES]; /* what this side has written */
    size_t wire_used;
    uint32_t finished;
    uint64_t bytes;
};

static uint32_t below(unsigned short seed[3], uint32_t limit) {
    return (uint32_t)nrand48(seed) % limit;
}

static struct talk *talk_of(struct yamux_stream *stream) {
    return container_of(stream, struct talk, stream);
}

static struct talk *free_talk(struct side *side) {
    for (uint32_t i = 0; i < PAIR_STREAMS; i++) {
        if (!side->talks[i].used) {
            return &side->talks[i];
        }
    }
    return NULL;
}

static uint32_t random_length(unsigned short seed[3]) {
    return below(seed, 4) ? below(seed, 3000) : below(seed, 900000);
}

static void side_write(struct side *side, unsigned short seed[3], uint64_t now_ns) {
    side->wire_used += yamux_write_owed(&side->yamux, now_ns, side->wire + side->wire_used,
                                        min_u64(WIRE_BYTES - side->wire_used, below(seed, 200)));
    for (uint32_t tries = below(seed, 6); tries > 0; tries--) {
        struct talk *talk = &side->talks[below(seed, PAIR_STREAMS)];
        if (!talk->used || talk->stream.self_done) {
            continue;
        }
        uint32_t count = min_u32(talk->to_send - talk->sent, talk->stream.send_window);
        count = min_u32(count, 1 + below(seed, 20000));
        if (talk->sent == talk->to_send) {
            yamux_finish(&side->yamux, &talk->stream);
        } else if (count > 0 && count + YAMUX_HEAD_BYTES <= WIRE_BYTES - side->wire_used) {
            uint8_t *out = side->wire + side->wire_used;
            yamux_data_head(&side->yamux, &talk->stream, count, out);
            for (uint32_t i = 0; i < count; i++) {
                out[YAMUX_HEAD_BYTES + i] = (uint8_t)(talk->stream.id * 31 + talk->sent + i);
            }
            talk->sent += count;
            side->wire_used += YAMUX_HEAD_BYTES + count;
        }
    }
}

static void side_sweep(struct side *side, unsigned short seed[3], uint64_t now_ns) {
    for (uint32_t i = 0; i < PAIR_STREAMS; i++) {
        struct talk *talk = &side->talks[i];
        if (talk->used && talk->unread > 0 && below(seed, 2)) {
            uint32_t count = 1 + below(seed, talk->unread);
            yamux_consumed(&side->yamux, &talk->stream, count, now_ns);
            talk->unread -= count;
        }
        if (talk->used && yamux_over(&talk->stream) && talk->unread == 0) {
            yamux_unlink(&side->yamux, &talk->stream);
            talk->used = false;
            side->finished++;
        }
    }
}

static void side_event(struct side *side, enum yamux_event event, const struct yamux_step *step,
                       unsigned short seed[3], uint64_t now_ns) {
    struct talk *talk = step->stream ? talk_of(step->stream) : NULL;
    cr_assert_neq(event, YAMUX_BAD, "fault %d", step->fault);
    if (event == YAMUX_OPENED) {
        talk = free_talk(side);
        cr_assert_not_null(talk);
        *talk = (struct talk){.used = true, .to_send = random_length(seed)};
        yamux_accept(&side->yamux, &talk->stream);
    } else if (event == YAMUX_DATA) {
        for (uint32_t i = 0; i < step->count; i++) {
            cr_assert_eq(step->bytes[i], (uint8_t)(talk->stream.id * 31 + talk->got + i));
        }
        talk->got += step->count;
        talk->unread += step->count;
        side->bytes += step->count;
    } else if (event == YAMUX_FULL) {
        side_write(side, seed, now_ns);
    }
}

static void side_read(struct side *side, struct side *from, unsigned short seed[3],
                      uint64_t now_ns) {
    size_t count = min_u64(from->wire_used, 1 + below(seed, below(seed, 3) ? 40000 : 30)), at = 0;
    enum yamux_event event = YAMUX_WINDOW;
    for (uint32_t fulls = 0; event != YAMUX_MORE && fulls < 100;) {
        struct yamux_step step;
        event = yamux_step(&side->yamux, from->wire + at, count - at, now_ns, &step);
        at += step.used;
        fulls += event == YAMUX_FULL;
        side_event(side, event, &step, seed, now_ns);
    }
    from->wire_used -= at;
    memmove(from->wire, from->wire + at, from->wire_used);
}

static void converse(uint32_t seed_number) {
    static struct side sides[2];
    unsigned short seed[3] = {(unsigned short)seed_number, 0x1234, 0x330e};
    uint32_t opened = 0, goal = 60;
    uint64_t now_ns = 1000;
    memset(sides, 0, sizeof sides);
    for (int i = 0; i < 2; i++) {
        yamux_init(&sides[i].yamux, i == 0, PAIR_STREAMS, (1u + below(seed, 8)) * 262144);
        cr_assert(yamux_ping(&sides[i].yamux));
    }
    uint32_t turns = 0;
    while (sides[0].finished + sides[1].finished < 2 * goal) {
        cr_assert_lt(turns++, 3000000u, "seed %u: they no longer talk", seed_number);
        now_ns += below(seed, 2000);
        struct side *side = &sides[below(seed, 2)], *other = side == sides ? side + 1 : sides;
        struct talk *talk = free_talk(side);
        /* half of the room each: what is on the wire must find a place when it comes */
        if (talk && opened < goal && side->yamux.streams < PAIR_STREAMS / 2 &&
            other->yamux.streams < PAIR_STREAMS / 2 && side->wire_used + other->wire_used == 0) {
            *talk = (struct talk){.used = true, .to_send = random_length(seed)};
            cr_assert(yamux_open_stream(&side->yamux, &talk->stream));
            opened++;
        }
        side_write(side, seed, now_ns);
        side_read(side, other, seed, now_ns);
        side_sweep(side, seed, now_ns);
    }
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(sides[i].yamux.streams, 0);
        cr_assert_gt(sides[i].bytes, 0);
        cr_assert_gt(sides[i].yamux.round_trip_ns, 0);
    }
}

Test(yamux, two_sessions_deliver_every_byte_in_order_however_it_is_cut, .timeout = 120) {
    for (uint32_t seed = 1; seed <= 8; seed++) {
        converse(seed);
    }
}

/* ---- however split, the same events ---- */

static uint32_t record(const uint8_t *bytes, size_t count, size_t piece, uint32_t *events) {
    struct yamux yamux = listener();
    struct yamux_stream streams[8];
    uint32_t accepted = 0, used = 0;
    for (size_t at = 0;;) {
        struct yamux_step step;
        size_t give = min_u64(piece, count - at);
        enum yamux_event event = yamux_step(&yamux, bytes + at, give, 0, &step);
        at += step.used;
        if (event == YAMUX_OPENED) {
            yamux_accept(&yamux, &streams[accepted++]);
        }
        if (event == YAMUX_DATA) {
            for (uint32_t i = 0; i < step.count; i++) {
                events[used++] = step.stream->id << 8 | step.bytes[i];
            }
        } else if (event != YAMUX_MORE) {
            uint32_t of = step.stream ? step.stream->id : step.id;
            events[used++] = (uint32_t)event << 24 | of << 8 | (uint32_t)step.fault;
        } else if (at == count) {
            return used;
        }
        if (event == YAMUX_BAD) {
            return used;
        }
    }
}

Test(yamux, however_split_the_events_are_the_same) {
    uint8_t bytes[1024];
    size_t count = 0;
    count += put(bytes + count, UPDATE, SYN, 1, 50);
    count += put(bytes + count, DATA, SYN, 3, 30);
    memset(bytes + count, 0x21, 30);
    count += 30;
    count += put(bytes + count, PING, SYN, 0, 5);
    count += put(bytes + count, DATA, FIN, 1, 20);
    memset(bytes + count, 0x22, 20);
    count += 20;
    count += put(bytes + count, UPDATE, FIN, 3, 9);
    count += put(bytes + count, DATA, 0, 99, 13);
    memset(bytes + count, 0x23, 13);
    count += 13;
    count += put(bytes + count, UPDATE, RST, 3, 1);
    count += put(bytes + count, GOAWAY, 0, 0, 0);
    count += put(bytes + count, UPDATE, SYN, 1, 0); /* open: bad */
    uint32_t whole[256], split[256];
    uint32_t events = record(bytes, count, count, whole);
    cr_assert_eq(events, 2 + 1 + 50 + 1 + 1 + 1 + 1 + 1 + 1);
    for (size_t piece = 1; piece < count; piece++) {
        cr_assert_eq(record(bytes, count, piece, split), events);
        cr_assert_eq(memcmp(split, whole, events * sizeof *whole), 0, "pieces of %zu", piece);
    }
}
