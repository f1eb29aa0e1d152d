/* SPDX-License-Identifier: MIT */
#include "engine/swarm/stream.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/arena.h"
#include "engine/net.h"
#include "engine/swarm/client.h"
#include "engine/swarm/errand.h"
#include "engine/swarm/intake.h"
#include "engine/swarm/message.h"
#include "engine/swarm/peer.h"
#include "engine/swarm/record.h"
#include "engine/swarm/serve.h"

#include <string.h>

#define PASSED_BYTES 2048u
#define ENTRY_BYTES  64u /* a want or a presence has about as many */
#define SEND_WORTH   4096u
#define READERS_MAX  512u /* identify messages being read at once: 8 KiB each */

const char *const bitswap_protocols[BITSWAP_PROTOCOLS] = {
    "/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap"};
static const char identify_protocol[] = "/ipfs/id/1.0.0";
static const char push_protocol[] = "/ipfs/id/push/1.0.0";
static const char ping_protocol[] = "/ipfs/ping/1.0.0";
static uint64_t now_ns(const struct peer *peer) {
    return peer->swarm->net->core->now_ns;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void link_stream(struct peer *peer, struct stream *stream) {
    stream->next = peer->streams;
    if (peer->streams) {
        peer->streams->prev = stream;
    }
    peer->streams = stream;
    counter_add(&peer->swarm->counters.streams, 1);
}

static struct stream *take_stream(struct peer *peer, enum stream_role role) {
    struct stream *stream = pool_get(&peer->swarm->streams);
    if (stream) {
        memset(stream, 0, sizeof *stream);
        stream->peer = peer;
        stream->role = (uint8_t)role;
        stream->since_ns = now_ns(peer);
    }
    return stream;
}

/* The buffer of an identify reader, while its bytes come. */
static bool take_identify(struct stream *stream) {
    struct peer *peer = stream->peer;
    struct swarm *swarm = peer->swarm;
    uint8_t *buffer = swarm->identifies < READERS_MAX
                          ? arena_take(swarm->net->core->arena, IDENTIFY_BYTES_MAX, 16)
                          : NULL;
    if (buffer) {
        swarm->identifies++;
        identify_reader_init(&stream->identify, secure_peer(peer->secure), buffer);
    }
    return buffer != NULL;
}

static bool has_identify(const struct stream *stream) {
    return stream->role == STREAM_IDENTIFY_OUT || stream->role == STREAM_PUSH_IN;
}

static void give_identify(struct stream *stream) {
    struct swarm *swarm = stream->peer->swarm;
    if (has_identify(stream) && stream->identify.buffer) {
        arena_give(swarm->net->core->arena, stream->identify.buffer, IDENTIFY_BYTES_MAX);
        stream->identify.buffer = NULL;
        swarm->identifies--;
    }
}

void stream_free(struct stream *stream) {
    struct peer *peer = stream->peer;
    give_identify(stream);
    errand_pinged(stream, false);
    if (stream->intake) {
        intake_drop(peer->swarm->client, peer, stream->intake);
    }
    for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
        if (peer->replies[i] == stream) {
            peer->replies[i] = NULL;
        }
    }
    if (stream->prev) {
        stream->prev->next = stream->next;
    } else {
        peer->streams = stream->next;
    }
    if (stream->next) {
        stream->next->prev = stream->prev;
    }
    counter_set(&peer->swarm->counters.streams, counter_get(&peer->swarm->counters.streams) - 1);
    pool_put(&peer->swarm->streams, stream);
    peer->blocked = false;
    if (peer->state == PEER_OPEN && peer->ledger.queued > 0) {
        net_conn_wait(peer->swarm->net, peer->conn); /* its place may be a reply's */
    }
}

void stream_gone(struct stream *stream) {
    if (stream->role == STREAM_REPLY) {
        if (stream->peer->message.stream == stream) { /* written for nobody */
            record_trim(stream->peer, stream->peer->record_used - stream->peer->message.start);
            stream->peer->message.stream = NULL;
        }
        serve_stream_lost(stream);
    }
    if (stream->role == STREAM_WANT) {
        client_stream_lost(stream->peer->swarm->client, stream->peer);
    }
    stream_free(stream);
}

void stream_reset(struct stream *stream) {
    struct peer *peer = stream->peer;
    counter_add(&peer->swarm->counters.streams_reset, 1);
    if (!yamux_reset(&peer->yamux, &stream->yamux)) {
        peer_end(peer, CONN_END_PROTOCOL);
        return;
    }
    net_conn_dirty(peer->swarm->net, peer->conn);
    stream_gone(stream);
}

void stream_finish(struct stream *stream) {
    if (!stream->yamux.self_done) {
        if (stream->peer->message.stream == stream) {
            (void)record_seal(stream->peer); /* its FIN stands behind its message */
        }
        yamux_finish(&stream->peer->yamux, &stream->yamux);
        net_conn_dirty(stream->peer->swarm->net, stream->peer->conn);
    }
}

void stream_reap(struct stream *stream) {
    if (yamux_over(&stream->yamux)) {
        yamux_unlink(&stream->peer->yamux, &stream->yamux);
        stream_gone(stream);
    } else if (stream->yamux.peer_done && stream->yamux.self_done) {
        stream->peer->finishing = true; /* over once its FIN is written */
    }
}

void stream_reap_finished(struct peer *peer) {
    peer->finishing = false;
    for (struct stream *stream = peer->streams, *next; stream; stream = next) {
        next = stream->next;
        stream_reap(stream);
    }
}

/* A few streams are everybody's own. Beyond them half of the pool is shared out, each peer at most
 * a quarter of what is left of it, so that any number of greedy ones leaves the others theirs. */
static bool may_have_another(const struct peer *peer) {
    const struct pool *pool = &peer->swarm->streams;
    uint32_t reserve = pool->slots_max / 2;
    uint32_t shared = pool->free_count > reserve ? pool->free_count - reserve : 0;
    return peer->yamux.streams < STREAMS_OWN || peer->yamux.streams - STREAMS_OWN < shared / 4;
}

void stream_accept(struct peer *peer) {
    struct swarm *swarm = peer->swarm;
    struct stream *stream = NULL;
    if (peer->opens_left > 0 && peer->state == PEER_OPEN && may_have_another(peer)) {
        peer->opens_left--;
        stream = take_stream(peer, STREAM_SELECT);
    }
    if (!stream) {
        counter_add(&swarm->counters.streams_refused, 1);
        yamux_refuse(&peer->yamux);
        return;
    }
    multistream_init(&stream->select);
    yamux_accept(&peer->yamux, &stream->yamux);
    link_stream(peer, stream);
    counter_add(&swarm->counters.streams_in, 1);
    net_conn_dirty(swarm->net, peer->conn);
}

struct stream *stream_open(struct peer *peer, enum stream_role role) {
    struct stream *stream = take_stream(peer, role);
    if (!stream) {
        return NULL;
    }
    multistream_init(&stream->select);
    stream->selecting = true;
    stream->spoken = peer->spoken;
    bool ready = role != STREAM_IDENTIFY_OUT || take_identify(stream);
    if (!ready || !yamux_open_stream(&peer->yamux, &stream->yamux)) {
        give_identify(stream);
        pool_put(&peer->swarm->streams, stream);
        return NULL;
    }
    link_stream(peer, stream);
    return stream;
}

/* ---- writing -------------------------------------------------------------------------------- */

const char *stream_protocol(const struct stream *stream) {
    switch ((enum stream_role)stream->role) {
    case STREAM_IDENTIFY_OUT:
        return identify_protocol;
    case STREAM_PING_OUT:
        return ping_protocol;
    case STREAM_REPLY:
    case STREAM_WANT:
        return bitswap_protocols[stream->spoken];
    case STREAM_SELECT:
    case STREAM_BITSWAP_IN:
    case STREAM_PUSH_IN:
    case STREAM_PING_IN:
    case STREAM_CLOSING:
        break;
    }
    never("a stream of theirs proposes nothing");
}

static uint32_t put_proposal(const struct stream *stream, uint8_t *out) {
    size_t used = multistream_write(multistream_header, out);
    return (uint32_t)(used + multistream_write(stream_protocol(stream), out + used));
}

bool stream_may_send(const struct stream *stream) {
    return stream->yamux.send_window >= SEND_WORTH ||
           (stream->role == STREAM_REPLY && stream->total != 0);
}

bool stream_write(struct stream *stream, const void *bytes, uint32_t count) {
    must(count <= 2 * KiB);
    struct peer *peer = stream->peer;
    uint8_t proposal[2 * MULTISTREAM_WRITE_MAX];
    bool first = stream->selecting && !stream->proposed;
    uint32_t ahead = first ? put_proposal(stream, proposal) : 0;
    if (ahead + count == 0) {
        return true;
    }
    if (stream->yamux.send_window < ahead + count || stream->yamux.self_done) {
        return false;
    }
    uint8_t *room = record_room(peer, YAMUX_HEAD_BYTES + ahead + count, false);
    if (!room) {
        return false;
    }
    yamux_data_head(&peer->yamux, &stream->yamux, ahead + count, room);
    memcpy(room + YAMUX_HEAD_BYTES, proposal, ahead);
    if (count > 0) {
        memcpy(room + YAMUX_HEAD_BYTES + ahead, bytes, count);
    }
    stream->proposed |= first;
    return true;
}

static bool write_token(struct stream *stream, const char *name) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    return stream_write(stream, token, (uint32_t)multistream_write(name, token));
}

/* ---- identify ------------------------------------------------------------------------------- */

static bool serve_identify(struct stream *stream) {
    struct peer *peer = stream->peer;
    struct swarm *swarm = peer->swarm;
    if (peer->identifies_left == 0) {
        counter_add(&swarm->counters.identify_refused, 1);
        return false;
    }
    peer->identifies_left--;
    uint8_t message[IDENTIFY_WRITE_MAX];
    uint32_t bytes = swarm_identify(swarm, peer->conn, message);
    for (uint32_t at = 0; at < bytes;) {
        uint32_t piece = min_u32(bytes - at, 2 * KiB);
        if (!stream_write(stream, message + at, piece)) {
            return false;
        }
        at += piece;
    }
    stream->role = STREAM_CLOSING;
    stream_finish(stream);
    counter_add(&swarm->counters.identify_served, 1);
    return true;
}

/* From here on replies are in this protocol; what is begun in another is ended first. */
static void speak(struct peer *peer, uint32_t spoken) {
    if (peer->spoken != spoken) {
        message_end(peer);
        peer->spoken = (uint8_t)spoken;
    }
}

static void take_info(struct stream *stream) {
    struct peer *peer = stream->peer;
    const struct identify_info *info = &stream->identify.info;
    if (info->speaks != 0) {
        peer->speaks = info->speaks;
        static const uint32_t bits[BITSWAP_PROTOCOLS] = {SPEAKS_BITSWAP_120, SPEAKS_BITSWAP_110,
                                                         SPEAKS_BITSWAP_100, SPEAKS_BITSWAP};
        uint32_t best = peer->spoken;
        for (uint32_t i = BITSWAP_PROTOCOLS; i-- > 0;) {
            best = (info->speaks & bits[i]) ? i : best;
        }
        speak(peer, best);
    }
    if (info->agent[0] != '\0') {
        memcpy(peer->agent, info->agent, sizeof peer->agent);
    }
    peer->js = strncmp(peer->agent, "js-libp2p", 9) == 0 || strncmp(peer->agent, "helia", 5) == 0;
    peer->identified = true;
}

static void read_identify(struct stream *stream, const uint8_t *bytes, uint32_t count) {
    while (count > 0 && stream->identify.buffer) {
        size_t used = 0;
        enum identify_event event = identify_step(&stream->identify, bytes, count, &used);
        bytes += used;
        count -= (uint32_t)used;
        if (event == IDENTIFY_MESSAGE) {
            take_info(stream);
        } else if (event == IDENTIFY_BAD) {
            give_identify(stream); /* what came before stands; the rest is read away */
        }
    }
}

/* ---- Bitswap -------------------------------------------------------------------------------- */

static void read_bitswap(struct stream *stream, const uint8_t *bytes, uint32_t count) {
    struct peer *peer = stream->peer;
    struct swarm *swarm = peer->swarm;
    uint32_t skipped = stream->bitswap.skipped;
    uint32_t spelled = count; /* bytes that had to be read one by one: all but those of blocks */
    uint32_t passed = 0;      /* bytes of blocks for nobody: cheap, and often only late */
    if (stream->intake) {
        client_heard(swarm->client, peer);
    }
    while (count > 0) {
        struct bitswap_step step;
        enum bitswap_event event = bitswap_step(&stream->bitswap, bytes, count, &step);
        bytes += step.used;
        count -= (uint32_t)step.used;
        switch (event) {
        case BITSWAP_MORE:
        case BITSWAP_PENDING:
            break;
        case BITSWAP_BLOCK:
            stream->intake = intake_begin(swarm->client, peer, step.block_bytes);
            counter_add(&swarm->counters.unwanted_blocks, !stream->intake);
            break;
        case BITSWAP_DATA:
            spelled -= step.count;
            if (stream->intake) {
                intake_data(stream->intake, step.bytes, step.count);
            } else {
                passed += step.count;
            }
            break;
        case BITSWAP_BLOCK_END:
            if (stream->intake) {
                struct intake *intake = stream->intake;
                stream->intake = NULL;
                peer->ledger.blocks_received++;
                peer->ledger.bytes_received += intake->bytes;
                intake_end(swarm->client, peer, intake, &step.prefix);
            }
            break;
        case BITSWAP_PRESENCE:
            peer_charge(peer, client_owed(swarm->client, peer) > 0 ? 0 : 1);
            client_presence(swarm->client, peer, &step.presence);
            break;
        case BITSWAP_BEGIN:
            stream->mark = ledger_mark(&swarm->ledger, now_ns(peer));
            stream->full = false;
            break;
        case BITSWAP_WANT:
            serve_want(stream, &step.want);
            break;
        case BITSWAP_FULL:
            stream->full = true;
            break;
        case BITSWAP_END:
            counter_add(&swarm->counters.messages_in, 1);
            serve_message_end(stream);
            break;
        case BITSWAP_BAD:
            counter_add(&swarm->counters.bad_messages, 1);
            peer_charge(peer, spelled / ENTRY_BYTES + passed / PASSED_BYTES);
            stream_reset(stream);
            return;
        }
    }
    peer_charge(peer, spelled / ENTRY_BYTES + passed / PASSED_BYTES);
    peer_charge(peer, stream->bitswap.skipped - skipped);
    counter_add(&swarm->counters.entries_skipped, stream->bitswap.skipped - skipped);
}

/* ---- ping ----------------------------------------------------------------------------------- */

static void echo_ping(struct stream *stream, const uint8_t *bytes, uint32_t count) {
    while (count > 0) {
        uint32_t piece = min_u32(count, (uint32_t)sizeof stream->ping - stream->ping_used);
        memcpy(stream->ping + stream->ping_used, bytes, piece);
        stream->ping_used = (uint8_t)(stream->ping_used + piece);
        bytes += piece;
        count -= piece;
        if (stream->ping_used == sizeof stream->ping) {
            stream->ping_used = 0;
            if (!stream_write(stream, stream->ping, sizeof stream->ping)) {
                stream_reset(stream);
                return;
            }
            counter_add(&stream->peer->swarm->counters.pings_served, 1);
        }
    }
}

/* The echo of a ping of ours. */
static void read_echo(struct stream *stream, const uint8_t *bytes, uint32_t count) {
    uint32_t piece = min_u32(count, (uint32_t)sizeof stream->ping - stream->ping_used);
    bool same = memcmp(stream->ping + stream->ping_used, bytes, piece) == 0;
    stream->ping_used = (uint8_t)(stream->ping_used + piece);
    if (!same || stream->ping_used == sizeof stream->ping) {
        errand_pinged(stream, same);
        stream->role = STREAM_CLOSING;
        stream_finish(stream);
    }
}

/* ---- negotiation ---------------------------------------------------------------------------- */

/* The protocol of a stream of theirs. Returns: false: we do not speak it. */
static bool choose(struct stream *stream, const char *name, bool *ret_failed) {
    bool done = true;
    if (strcmp(name, identify_protocol) == 0) {
        done = write_token(stream, name) && serve_identify(stream);
    } else if (strcmp(name, push_protocol) == 0) {
        stream->role = STREAM_PUSH_IN;
        stream->identify = (struct identify_reader){0};
        done = take_identify(stream) && write_token(stream, name);
    } else if (strcmp(name, ping_protocol) == 0) {
        stream->role = STREAM_PING_IN;
        done = write_token(stream, name);
    } else {
        for (uint32_t i = 0; i < BITSWAP_PROTOCOLS; i++) {
            if (strcmp(name, bitswap_protocols[i]) == 0) {
                stream->role = STREAM_BITSWAP_IN;
                stream->spoken = (uint8_t)i;
                if (!stream->peer->identified) { /* until it says what else it speaks */
                    speak(stream->peer, i);
                }
                bitswap_reader_init(&stream->bitswap);
                *ret_failed = !write_token(stream, name);
                return true;
            }
        }
        return false;
    }
    *ret_failed = !done;
    return true;
}

/* Tokens of a stream of theirs. Returns: bytes used; the stream may be gone: *ret_gone. */
static uint32_t select_theirs(struct stream *stream, const uint8_t *bytes, uint32_t count,
                              bool *ret_gone) {
    struct peer *peer = stream->peer;
    uint32_t at = 0;
    bool failed = false;
    while (at < count && stream->role == STREAM_SELECT && !failed) {
        size_t used = 0;
        enum multistream_event event =
            multistream_step(&stream->select, bytes + at, count - at, &used);
        at += (uint32_t)used;
        if (event == MULTISTREAM_HEADER) {
            failed = !write_token(stream, multistream_header);
        } else if (event == MULTISTREAM_BAD) {
            failed = true;
        } else if (event == MULTISTREAM_TOKEN && !choose(stream, stream->select.name, &failed)) {
            counter_add(&peer->swarm->counters.unknown_protocols, 1);
            failed = !write_token(stream, multistream_na);
        }
    }
    if (failed && peer->state == PEER_OPEN) {
        stream_reset(stream);
    }
    *ret_gone = failed;
    return at;
}

/* The peer's answer to our proposal. */
static uint32_t select_ours(struct stream *stream, const uint8_t *bytes, uint32_t count,
                            bool *ret_gone) {
    uint32_t at = 0;
    while (at < count && stream->selecting) {
        size_t used = 0;
        enum multistream_event event =
            multistream_step(&stream->select, bytes + at, count - at, &used);
        at += (uint32_t)used;
        bool accepted =
            event == MULTISTREAM_TOKEN && multistream_is(&stream->select, stream_protocol(stream));
        if (accepted) {
            stream->selecting = false;
            net_conn_dirty(stream->peer->swarm->net,
                           stream->peer->conn); /* its burst may be over */
        } else if (event == MULTISTREAM_TOKEN || event == MULTISTREAM_BAD) {
            struct peer *peer = stream->peer;
            bool bitswap = stream->role == STREAM_REPLY || stream->role == STREAM_WANT;
            if (bitswap && peer->spoken == stream->spoken &&
                peer->spoken + 1u < BITSWAP_PROTOCOLS) {
                speak(peer, peer->spoken + 1u); /* an older one may be what it has */
            }
            stream_reset(stream);
            *ret_gone = true;
            return at;
        }
    }
    return at;
}

/* ---- what yamux reports --------------------------------------------------------------------- */

void stream_data(struct stream *stream, const uint8_t *bytes, uint32_t count) {
    struct peer *peer = stream->peer;
    yamux_consumed(&peer->yamux, &stream->yamux, count, now_ns(peer));
    stream->since_ns = now_ns(peer);
    bool gone = false;
    uint32_t used = 0;
    if (stream->role == STREAM_SELECT) {
        used = select_theirs(stream, bytes, count, &gone);
    } else if (stream->selecting && stream->role != STREAM_CLOSING) {
        used = select_ours(stream, bytes, count, &gone);
    }
    bytes += used;
    count -= used;
    if (gone || count == 0 || peer->state != PEER_OPEN) {
        return;
    }
    switch ((enum stream_role)stream->role) {
    case STREAM_BITSWAP_IN:
        read_bitswap(stream, bytes, count);
        break;
    case STREAM_PUSH_IN:
    case STREAM_IDENTIFY_OUT:
        read_identify(stream, bytes, count);
        break;
    case STREAM_PING_IN:
        echo_ping(stream, bytes, count);
        break;
    case STREAM_SELECT:
    case STREAM_CLOSING:
    case STREAM_REPLY:
    case STREAM_WANT:
        break; /* read away */
    case STREAM_PING_OUT:
        read_echo(stream, bytes, count);
        break;
    }
}

void stream_fin(struct stream *stream) {
    switch ((enum stream_role)stream->role) {
    case STREAM_BITSWAP_IN:
        if (!bitswap_reader_idle(&stream->bitswap)) {
            counter_add(&stream->peer->swarm->counters.bad_messages, 1);
        }
        stream_finish(stream);
        break;
    case STREAM_SELECT:
    case STREAM_PUSH_IN:
    case STREAM_IDENTIFY_OUT:
    case STREAM_PING_IN:
    case STREAM_PING_OUT:
    case STREAM_CLOSING:
        give_identify(stream);
        stream_finish(stream);
        break;
    case STREAM_REPLY:
    case STREAM_WANT:
        break; /* a reader that will not write: as it should be */
    }
    stream_reap(stream);
}
