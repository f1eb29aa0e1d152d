/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/peer_stream.h"

#include "base/bits.h"
#include "base/must.h"
#include "proto/libp2p/identify.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX 65536u /* pings and proposals waiting on one stream */

const char peer_bitswap[] = "/ipfs/bitswap/1.2.0";
static const char identify_name[] = "/ipfs/id/1.0.0";
static const char push_name[] = "/ipfs/id/push/1.0.0";
static const char ping_name[] = "/ipfs/ping/1.0.0";

/* ---- streams ---- */

static struct peer_stream *stream_take(struct peer *peer, enum stream_kind kind) {
    struct peer_stream *stream = peer->host->free;
    if (stream) {
        peer->host->free = stream->next;
    } else {
        stream = calloc(1, sizeof *stream);
        if (stream == NULL) {
            never("the generator is out of memory");
        }
    }
    stream->kind = (uint8_t)kind;
    multistream_init(&stream->names);
    stream->next = peer->streams;
    peer->streams = stream;
    return stream;
}

void stream_free(struct peer *peer, struct peer_stream *stream) {
    struct peer_stream **at = &peer->streams;
    while (*at != stream) {
        must(*at);
        at = &(*at)->next;
    }
    *at = stream->next;
    peer->queued -= stream->queued;
    if (peer->want == stream) {
        peer->want = NULL;
    }
    struct bytes out = stream->out, block = stream->block;
    out.used = out.sent = block.used = block.sent = 0;
    *stream = (struct peer_stream){.out = out, .block = block, .next = peer->host->free};
    peer->host->free = stream;
}

void peer_queue(struct peer *peer, struct peer_stream *stream) {
    peer->queued += !stream->queued;
    stream->queued = true;
}

static void say(struct peer *peer, struct peer_stream *stream, const char *name) {
    uint8_t *out = bytes_room(&stream->out, MULTISTREAM_WRITE_MAX);
    stream->out.used += (uint32_t)multistream_write(name, out);
    peer_queue(peer, stream);
}

bool peer_open(struct peer *peer, enum stream_kind kind, const char *protocol,
               struct peer_stream **ret_stream) {
    struct peer_stream *stream = stream_take(peer, kind);
    if (!yamux_open_stream(&peer->yamux, &stream->yamux)) {
        stream_free(peer, stream);
        return false;
    }
    say(peer, stream, multistream_header);
    say(peer, stream, protocol);
    *ret_stream = stream;
    return true;
}

static void finish(struct peer *peer, struct peer_stream *stream) {
    stream->finish = true;
    peer_queue(peer, stream);
}

/* ---- what is said on a stream ---- */

static void identify_say(struct peer *peer, struct peer_stream *stream) {
    static const char *const protocols[] = {"/ipfs/bitswap/1.2.0",
                                            "/ipfs/bitswap/1.1.0",
                                            "/ipfs/bitswap/1.0.0",
                                            "/ipfs/id/1.0.0",
                                            "/ipfs/id/push/1.0.0",
                                            "/ipfs/ping/1.0.0",
                                            NULL};
    size_t key_bytes = 0;
    const uint8_t *key = secure_self_key(peer->self, &key_bytes);
    struct identify_self self = {.key = key,
                                 .key_bytes = key_bytes,
                                 .agent = peer->host->agent,
                                 .protocol_version = "ipfs/0.1.0",
                                 .protocols = protocols};
    uint8_t *out = bytes_room(&stream->out, IDENTIFY_WRITE_MAX);
    stream->out.used += (uint32_t)identify_write(&self, out);
    finish(peer, stream);
}

/* A proposal on a stream that the other side opened. */
static void answer(struct peer *peer, struct peer_stream *stream) {
    const struct multistream *names = &stream->names;
    if (multistream_is(names, peer_bitswap)) {
        stream->kind = STREAM_BITSWAP;
        bitswap_reader_init(&stream->reader);
        say(peer, stream, peer_bitswap);
    } else if (multistream_is(names, identify_name)) {
        stream->kind = STREAM_QUIET;
        say(peer, stream, identify_name);
        identify_say(peer, stream);
    } else if (multistream_is(names, ping_name)) {
        stream->kind = STREAM_PING;
        say(peer, stream, ping_name);
    } else if (multistream_is(names, push_name)) {
        stream->kind = STREAM_QUIET;
        say(peer, stream, push_name);
    } else {
        say(peer, stream, multistream_na);
    }
}

static void read_names(struct peer *peer, struct peer_stream *stream, const uint8_t *bytes,
                       size_t count, size_t *used) {
    while (*used < count && stream->kind == STREAM_NEW) {
        size_t took = 0;
        enum multistream_event event =
            multistream_step(&stream->names, bytes + *used, count - *used, &took);
        *used += took;
        if (event == MULTISTREAM_HEADER) {
            say(peer, stream, multistream_header);
        } else if (event == MULTISTREAM_TOKEN) {
            answer(peer, stream);
        } else if (event == MULTISTREAM_BAD) {
            stream->kind = STREAM_QUIET;
            finish(peer, stream);
        }
    }
}

static void read_bitswap(struct peer *peer, struct peer_stream *stream, const uint8_t *bytes,
                         size_t count) {
    size_t used = 0;
    for (enum bitswap_event event = BITSWAP_BEGIN; event != BITSWAP_MORE;) {
        struct bitswap_step step;
        event = bitswap_step(&stream->reader, bytes + used, count - used, &step);
        used += step.used;
        if (event == BITSWAP_BAD) {
            peer_fail(peer, "a Bitswap message that cannot be read");
            return;
        }
        if (event != BITSWAP_MORE) {
            peer->host->on_bitswap(peer, stream, event, &step);
        }
    }
}

static void stream_data(struct peer *peer, struct peer_stream *stream, const uint8_t *bytes,
                        size_t count) {
    size_t used = 0;
    if (stream->kind == STREAM_NEW) {
        read_names(peer, stream, bytes, count, &used);
    }
    if (used == count) {
        return;
    }
    if (stream->kind == STREAM_BITSWAP) {
        read_bitswap(peer, stream, bytes + used, count - used);
    } else if (stream->kind == STREAM_PING && bytes_left(&stream->out) < ANSWER_MAX) {
        bytes_add(&stream->out, bytes + used, count - used);
        peer_queue(peer, stream);
    }
}

/* ---- the session ---- */

static void on_opened(struct peer *peer) {
    if (peer->yamux.streams >= PEER_STREAMS_MAX) {
        yamux_refuse(&peer->yamux);
        return;
    }
    struct peer_stream *stream = stream_take(peer, STREAM_NEW);
    yamux_accept(&peer->yamux, &stream->yamux);
    if (peer->host->mute) {
        yamux_unlink(&peer->yamux, &stream->yamux); /* with the ACK it owes */
        stream_free(peer, stream);
    }
}

/* Frees a stream whose both sides are done and written. */
static void stream_sweep(struct peer *peer, struct peer_stream *stream) {
    if (yamux_over(&stream->yamux)) {
        yamux_unlink(&peer->yamux, &stream->yamux);
        stream_free(peer, stream);
    }
}

static void on_reset(struct peer *peer, struct peer_stream *stream) {
    bool want = stream == peer->want;
    stream_free(peer, stream); /* unlinked already */
    if (want && peer_open(peer, STREAM_WANT, peer_bitswap, &peer->want)) {
        peer->host->on_want_lost(peer);
    }
}

static void on_event(struct peer *peer, enum yamux_event event, const struct yamux_step *step) {
    struct peer_stream *stream =
        step->stream ? container_of(step->stream, struct peer_stream, yamux) : NULL;
    switch (event) {
    case YAMUX_OPENED:
        on_opened(peer);
        break;
    case YAMUX_DATA:
        if (!peer->host->stingy) {
            yamux_consumed(&peer->yamux, step->stream, step->count, peer->host->now_ns);
        }
        stream_data(peer, stream, step->bytes, step->count);
        break;
    case YAMUX_FIN:
        if (stream->kind >= STREAM_BITSWAP || stream->kind == STREAM_NEW) {
            finish(peer, stream);
        }
        stream_sweep(peer, stream);
        break;
    case YAMUX_RESET:
        on_reset(peer, stream);
        break;
    case YAMUX_FULL:
        peer_spill(peer);
        break;
    case YAMUX_GOAWAY:
        peer_fail(peer, "it went away");
        break;
    case YAMUX_BAD:
        peer_fail(peer, "it breaks the muxer's rules");
        break;
    case YAMUX_WINDOW: /* peer_streams_write looks at all that are queued */
    case YAMUX_PONG:
    case YAMUX_MORE:
        break;
    }
}

void peer_streams_read(struct peer *peer, const uint8_t *bytes, size_t count) {
    enum yamux_event event = YAMUX_WINDOW;
    for (size_t used = 0; event != YAMUX_MORE && peer->state == PEER_READY;) {
        struct yamux_step step;
        event = yamux_step(&peer->yamux, bytes + used, count - used, peer->host->now_ns, &step);
        used += step.used;
        on_event(peer, event, &step);
    }
}

static size_t stream_write(struct peer *peer, struct peer_stream *stream, uint8_t *out,
                           size_t room) {
    uint32_t left = bytes_left(&stream->out);
    size_t used = 0;
    if (left > 0 && room > YAMUX_HEAD_BYTES) {
        uint32_t count = (uint32_t)min_u64(left, room - YAMUX_HEAD_BYTES);
        count = min_u32(count, stream->yamux.send_window);
        if (count > 0) {
            yamux_data_head(&peer->yamux, &stream->yamux, count, out);
            memcpy(out + YAMUX_HEAD_BYTES, stream->out.at + stream->out.sent, count);
            stream->out.sent += count;
            left -= count;
            used = YAMUX_HEAD_BYTES + count;
        }
    }
    if (left == 0) {
        stream->queued = false;
        peer->queued--;
        if (stream->finish) {
            yamux_finish(&peer->yamux, &stream->yamux);
        }
    }
    return used;
}

size_t peer_streams_write(struct peer *peer, uint8_t *out, size_t room) {
    uint64_t now_ns = peer->host->now_ns;
    size_t used = yamux_write_owed(&peer->yamux, now_ns, out, room);
    struct peer_stream *next = peer->queued > 0 ? peer->streams : NULL;
    for (struct peer_stream *stream = next; stream; stream = next) {
        next = stream->next;
        if (stream->queued) {
            used += stream_write(peer, stream, out + used, room - used);
        }
    }
    used += yamux_write_owed(&peer->yamux, now_ns, out + used, room - used);
    next = peer->streams;
    for (struct peer_stream *stream = next; stream; stream = next) {
        next = stream->next;
        stream_sweep(peer, stream);
    }
    return used;
}
