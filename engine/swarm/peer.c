/* SPDX-License-Identifier: MIT */
#include "engine/swarm/peer.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/arena.h"
#include "engine/net.h"
#include "engine/swarm/client.h"
#include "engine/swarm/message.h"
#include "engine/swarm/record.h"
#include "engine/swarm/serve.h"

#include <string.h>

#define SHAKE_WINDOW_NS  (10 * NS_PER_MS)
#define SHAKE_BURST_NS   (50 * NS_PER_MS)
#define SHAKE_BUSY_JOBS  100u /* light jobs in a window: there is something to protect */
#define EARLY_FIRST      1024u
#define EARLY_BYTES      (8 * MiB) /* of all handshakes in progress on this tile */
#define OWED_BYTES       1024u
#define OUTPUT_CHUNKS    4u /* large ones that must be free before a record is opened */
#define PATIENCE_UNIT_NS (250 * NS_PER_US) /* 4,000 a second */
#define WASTED_BYTES     256u              /* of payload for nobody: a unit */
#define OUTPUT_MAX       (1024u * 1024)    /* sealed and not sent: control frames wait behind it */
#define TURN_BYTES       (128u * 1024)     /* plaintext acted on before others get their turn */
#define WINDOW_MAX       (16u * 1024 * 1024)

const char *const peer_state_names[] = {
    [PEER_FREE] = "free",   [PEER_SECURITY] = "security", [PEER_HANDSHAKE] = "handshake",
    [PEER_MUXER] = "muxer", [PEER_OPEN] = "open",         [PEER_GONE] = "gone",
};

static const char yamux_protocol[] = "/yamux/1.0.0";

/* What to say of a dial whose peer did not prove itself. */
static const char *shake_failure(const struct peer *peer, enum conn_end end) {
    enum conn_end real = peer->conn->state == CONN_CLOSING ? (enum conn_end)peer->conn->end : end;
    if (peer->end_why) {
        return peer->end_why;
    }
    switch (real) {
    case CONN_END_PEER:
        return "it closed the connection before it had proven itself";
    case CONN_END_PROTOCOL:
        return "the handshake failed: it is no libp2p peer, or speaks neither Noise nor TLS";
    case CONN_END_STALLED:
    case CONN_END_IDLE:
        return "the handshake was not done in time";
    case CONN_END_ERROR:
    case CONN_END_DRAIN:
    case CONN_END_COUNT:
        break;
    }
    return "the connection broke during the handshake";
}

void peer_end(struct peer *peer, enum conn_end end) {
    if (peer->state != PEER_GONE) {
        struct swarm_counters *counters = &peer->swarm->counters;
        if (peer->state == PEER_OPEN) {
            counter_set(&counters->peers, counter_get(&counters->peers) - 1);
        } else if (end == CONN_END_PROTOCOL) {
            counter_add(&counters->handshakes_failed, 1);
        }
        peer->state = PEER_GONE;
        client_peer_gone(peer->swarm->client, peer);
        if (peer->dial) {
            dial_lost(peer, shake_failure(peer, end));
        }
        net_conn_end(peer->swarm->net, peer->conn, end);
    }
}

bool peer_is_used(const struct peer *peer) {
    for (uint32_t i = 0; i < PEER_LINKS_MAX; i++) {
        if (peer->links[i].generation != 0) {
            return true;
        }
    }
    return false;
}

bool peer_output_full(const struct peer *peer) {
    const struct net *net = peer->swarm->net;
    bool large = peer->block_bytes > MESSAGE_BLOCK_MAX;
    return peer->conn->out_bytes >= OUTPUT_MAX || net_output_full(net, peer->conn) ||
           (large ? net->outs.large.free_count : out_pools_free(&net->outs)) == 0;
}

bool peer_has_presences(const struct peer *peer) {
    return peer->spoken == 0;
}

/* ---- in the clear --------------------------------------------------------------------------- */

static bool say(struct peer *peer, const char *name) {
    struct net *net = peer->swarm->net;
    uint8_t token[MULTISTREAM_WRITE_MAX];
    uint32_t bytes = (uint32_t)multistream_write(name, token);
    bool said = conn_append(&net->outs, peer->conn, token, bytes);
    net_conn_dirty(net, peer->conn);
    return said;
}

bool peer_greet(struct peer *peer) {
    return say(peer, multistream_header) &&
           (!peer->dialer || say(peer, secure_protocols[peer->kind]));
}

/* Ours is the fault, not the peer's. Returns: false, as its callers do. */
static bool shake_no_memory(struct peer *peer) {
    counter_add(&peer->swarm->counters.handshakes_no_memory, 1);
    peer->end_why = "no memory here for another handshake";
    peer_end(peer, CONN_END_ERROR);
    return false;
}

static bool begin_secure(struct peer *peer) {
    const struct peer_id *expected = peer->expected.count > 0 ? &peer->expected : NULL;
    peer->secure = secure_open(peer->swarm->self, (enum secure_kind)peer->kind, peer->dialer,
                               expected, &peer->swarm->memory);
    peer->state = PEER_HANDSHAKE;
    return peer->secure != NULL || shake_no_memory(peer);
}

/* One token of the negotiation of the channel's protocol. Returns: false: it cannot go on. */
static bool security_token(struct peer *peer) {
    if (peer->dialer) {
        if (multistream_is(&peer->select, secure_protocols[peer->kind])) {
            return begin_secure(peer);
        }
        if (peer->kind == SECURE_NOISE && multistream_is(&peer->select, multistream_na)) {
            peer->kind = SECURE_TLS;
            return say(peer, secure_protocols[SECURE_TLS]);
        }
        return false;
    }
    for (uint32_t kind = 0; kind < array_count(secure_protocols); kind++) {
        if (multistream_is(&peer->select, secure_protocols[kind])) {
            peer->kind = (uint8_t)kind;
            return say(peer, secure_protocols[kind]) && begin_secure(peer);
        }
    }
    counter_add(&peer->swarm->counters.unknown_protocols, 1);
    return peer->select.tokens <= PEER_PROPOSALS_MAX && say(peer, multistream_na);
}

static uint32_t read_security(struct peer *peer, const uint8_t *bytes, uint32_t count) {
    uint32_t at = 0;
    while (at < count && peer->state == PEER_SECURITY) {
        size_t used = 0;
        enum multistream_event event =
            multistream_step(&peer->select, bytes + at, count - at, &used);
        at += (uint32_t)used;
        if (event == MULTISTREAM_BAD || (event == MULTISTREAM_TOKEN && !security_token(peer))) {
            peer_end(peer, CONN_END_PROTOCOL);
        }
    }
    return at;
}

/* ---- the handshake -------------------------------------------------------------------------- */

static void early_give(struct peer *peer) {
    arena_give(peer->swarm->net->core->arena, peer->early, peer->early_room);
    peer->swarm->early_bytes -= peer->early_room > EARLY_FIRST ? peer->early_room : 0;
}

static void early_free(struct peer *peer) {
    if (peer->early) {
        early_give(peer);
    }
    peer->early = NULL;
    peer->early_used = peer->early_at = peer->early_room = 0;
}

/* The oldest of those that hold more than their first part gives it up, and its handshake. */
static bool early_displace(const struct peer *newcomer) {
    struct swarm *swarm = newcomer->swarm;
    for (struct peer *peer = swarm->shaking_head; peer; peer = peer->shaking_next) {
        if (peer != newcomer && peer->early_room > EARLY_FIRST && !peer->step) {
            counter_add(&swarm->counters.handshakes_displaced, 1);
            peer->end_why = "newer handshakes needed its memory";
            peer_end(peer, CONN_END_ERROR);
            early_free(peer);
            return true;
        }
    }
    return false;
}

/* Everybody's first part is its own; what is beyond has a bound for all, and the oldest make room.
 */
static uint8_t *early_take(struct peer *peer, uint32_t room) {
    struct swarm *swarm = peer->swarm;
    bool first = room == EARLY_FIRST;
    while (!first && swarm->early_bytes + room > EARLY_BYTES) {
        if (!early_displace(peer)) {
            return NULL;
        }
    }
    uint8_t *early = arena_take(swarm->net->core->arena, room, 16);
    swarm->early_bytes += early && !first ? room : 0;
    return early;
}

static bool early_keep(struct peer *peer, const uint8_t *bytes, uint32_t count) {
    uint32_t need = peer->early_used + count;
    if (need > peer->early_room) {
        uint32_t room = need <= EARLY_FIRST ? EARLY_FIRST : (uint32_t)power_of_two_above(need);
        if (need > SECURE_HANDSHAKE_IN_MAX + IO_BUFFER_BYTES) {
            return false;
        }
        uint8_t *grown = early_take(peer, room);
        if (!grown) {
            return shake_no_memory(peer);
        }
        if (peer->early) {
            memcpy(grown, peer->early, peer->early_used);
            early_give(peer);
        }
        peer->early = grown;
        peer->early_room = room;
    }
    memcpy(peer->early + peer->early_used, bytes, count);
    peer->early_used += count;
    return true;
}

/* While requests are served, handshakes take a quarter of a core's time at most: a storm of them
 * delays newcomers, not those that are here. */
static bool may_shake(struct swarm *swarm) {
    struct net *net = swarm->net;
    uint64_t now_ns = net->core->now_ns;
    uint64_t passed_ns = now_ns - swarm->shake_seen_ns;
    if (passed_ns >= SHAKE_WINDOW_NS) {
        uint64_t light = counter_get(&net->counters.light);
        swarm->shake_limited = light - swarm->shake_light > SHAKE_BUSY_JOBS;
        swarm->shake_light = light;
        swarm->shake_seen_ns = now_ns;
        uint64_t earned_ns = min_u64(passed_ns, NS_PER_S) / 4;
        swarm->shake_left_ns += (int64_t)earned_ns;
        if (swarm->shake_left_ns > (int64_t)SHAKE_BURST_NS) {
            swarm->shake_left_ns = (int64_t)SHAKE_BURST_NS;
        }
    }
    if (swarm->shake_limited && swarm->shake_left_ns <= 0) {
        counter_add(&swarm->counters.handshakes_held, 1);
        return false;
    }
    return true;
}

/* Sends the next step to a work tile if there are bytes for one. */
static void begin_step(struct peer *peer) {
    struct swarm *swarm = peer->swarm;
    struct net *net = swarm->net;
    if (!may_shake(swarm)) {
        net_conn_stall(net, peer->conn);
        return;
    }
    const uint8_t *in = peer->early ? peer->early + peer->early_at : NULL;
    uint32_t in_bytes = peer->early_used - peer->early_at;
    if (peer->step || !secure_wants_step(peer->secure, in, in_bytes)) {
        return;
    }
    struct handshake *step = pool_get(&swarm->handshakes);
    struct job *job =
        step ? net_job_take(net, peer->conn, (enum job_class)peer->conn->class) : NULL;
    if (!job) {
        if (step) {
            pool_put(&swarm->handshakes, step);
        }
        net_conn_stall(net, peer->conn); /* looked at again in every turn */
        return;
    }
    step->secure = peer->secure;
    step->in = in;
    step->in_bytes = in_bytes;
    step->used = step->out_bytes = 0;
    peer->step = step;
    job->kind = JOB_HANDSHAKE;
    job->data = step;
    net_push_heavy(net, job);
}

void handshake_run(struct handshake *handshake) {
    size_t used = 0, out = 0;
    handshake->result = secure_step(handshake->secure, handshake->in, handshake->in_bytes, &used,
                                    handshake->out, &out);
    handshake->used = (uint32_t)used;
    handshake->out_bytes = (uint32_t)out;
}

static bool mux_say(struct peer *peer, const char *name) {
    uint8_t *room = record_room(peer, MULTISTREAM_WRITE_MAX, false);
    if (!room) {
        return false;
    }
    size_t used = multistream_write(name, room);
    record_trim(peer, MULTISTREAM_WRITE_MAX - (uint32_t)used);
    return true;
}

static void handshake_over(struct peer *peer) {
    counter_add(&peer->swarm->counters.handshakes, 1);
    if (secure_muxer_agreed(peer->secure)) {
        peer_opened(peer);
        return;
    }
    peer->state = PEER_MUXER;
    multistream_init(&peer->select);
    if (!mux_say(peer, multistream_header) || (peer->dialer && !mux_say(peer, yamux_protocol))) {
        peer_end(peer, CONN_END_ERROR);
    }
}

void peer_step_home(struct swarm *swarm, struct job *job, uint64_t now_ns) {
    struct net *net = swarm->net;
    struct peer *peer = ((struct conn *)pool_at(&net->conns, job->conn))->peer;
    struct handshake *step = job->data;
    bool ran = job->status == JOB_OK;
    swarm->shake_left_ns -= job->finished_ns - job->started_ns;
    must(peer->step == step);
    peer->step = NULL;
    job->data = NULL;
    if (ran) {
        peer->early_at += step->used;
        if (step->out_bytes > 0 &&
            !conn_append(&net->outs, peer->conn, step->out, step->out_bytes)) {
            step->result = SECURE_BAD;
        }
        net_conn_dirty(net, peer->conn);
    }
    int32_t result = ran ? step->result : SECURE_MORE; /* shed: it tries again */
    pool_put(&swarm->handshakes, step);
    net_finish(net, job, now_ns);
    if (peer->early_at == peer->early_used) {
        early_free(peer);
    }
    if (peer->state != PEER_HANDSHAKE) {
        return;
    }
    if (result == 0) {
        handshake_over(peer);
    } else if (result == SECURE_MORE) {
        begin_step(peer);
    } else {
        peer->end_why = result == SECURE_STRANGER ? "another peer answered than the one named"
                                                  : "a check of its handshake failed";
        peer_end(peer, CONN_END_PROTOCOL);
    }
    net_conn_wait(net, peer->conn); /* what came meanwhile is read now */
}

/* ---- inside the channel --------------------------------------------------------------------- */

static void read_muxer(struct peer *peer, const uint8_t **bytes, size_t *count) {
    while (*count > 0 && peer->state == PEER_MUXER) {
        size_t used = 0;
        enum multistream_event event = multistream_step(&peer->select, *bytes, *count, &used);
        *bytes += used;
        *count -= used;
        bool good = event != MULTISTREAM_BAD;
        if (event == MULTISTREAM_TOKEN && multistream_is(&peer->select, yamux_protocol)) {
            good = peer->dialer || mux_say(peer, yamux_protocol);
            if (good) {
                peer_opened(peer);
            }
        } else if (event == MULTISTREAM_TOKEN) {
            counter_add(&peer->swarm->counters.unknown_protocols, 1);
            good = !peer->dialer && peer->select.tokens <= PEER_PROPOSALS_MAX &&
                   mux_say(peer, multistream_na);
        }
        if (!good) {
            peer_end(peer, CONN_END_PROTOCOL);
        }
    }
}

/* What yamux owes, into the record. Returns: false: no output memory. */
static bool write_owed(struct peer *peer) {
    while (yamux_owes(&peer->yamux)) {
        uint8_t *room = record_room(peer, OWED_BYTES, false);
        if (!room) {
            return false;
        }
        size_t used =
            yamux_write_owed(&peer->yamux, peer->swarm->net->core->now_ns, room, OWED_BYTES);
        record_trim(peer, OWED_BYTES - (uint32_t)used);
        if (used == 0) {
            return true;
        }
    }
    return true;
}

static struct stream *stream_at(const struct yamux_step *step) {
    return (struct stream *)(void *)step->stream;
}

static void act(struct peer *peer, enum yamux_event event, const struct yamux_step *step) {
    if (event != YAMUX_DATA && event != YAMUX_MORE) {
        peer_charge(peer, event == YAMUX_FULL ? YAMUX_OWED_MAX : 1);
    }
    switch (event) {
    case YAMUX_OPENED:
        stream_accept(peer);
        break;
    case YAMUX_DATA:
        stream_data(stream_at(step), step->bytes, step->count);
        break;
    case YAMUX_FIN:
        stream_fin(stream_at(step));
        break;
    case YAMUX_RESET:
        stream_gone(stream_at(step));
        break;
    case YAMUX_WINDOW:
        peer->blocked = false;
        net_conn_dirty(peer->swarm->net, peer->conn); /* wants may be waiting for it */
        if (stream_may_send(stream_at(step))) {
            serve_poll(peer);
        }
        break;
    case YAMUX_PONG:
        peer->pinged_ns = 0;
        break;
    case YAMUX_FULL:
        if (!write_owed(peer)) {
            counter_add(&peer->swarm->counters.no_output, 1);
            peer_end(peer, CONN_END_STALLED);
        }
        break;
    case YAMUX_BAD:
        counter_add(&peer->swarm->counters.bad_yamux, 1);
        yamux_go_away(&peer->yamux, 1);
        (void)write_owed(peer);
        (void)record_seal(peer);
        peer_end(peer, CONN_END_PROTOCOL);
        break;
    case YAMUX_GOAWAY:
        net_conn_dirty(peer->swarm->net,
                       peer->conn); /* once what it asked for is out: swarm_flush */
        break;
    case YAMUX_MORE:
        break;
    }
}

void peer_plain(struct peer *peer, const uint8_t *bytes, size_t count) {
    if (peer->state == PEER_MUXER) {
        read_muxer(peer, &bytes, &count);
    }
    uint64_t now_ns = peer->swarm->net->core->now_ns;
    uint64_t drained = peer->yamux.drained_bytes, refused = peer->yamux.refused;
    enum yamux_event event = YAMUX_WINDOW;
    while (event != YAMUX_MORE && peer->state == PEER_OPEN) { /* a FIN may stand behind all bytes */
        struct yamux_step step;
        event = yamux_step(&peer->yamux, bytes, count, now_ns, &step);
        bytes += step.used;
        count -= step.used;
        act(peer, event, &step);
    }
    peer_charge(peer, (uint32_t)((peer->yamux.drained_bytes - drained) / WASTED_BYTES));
    refused = peer->yamux.refused - refused;
    peer_charge(peer, (uint32_t)refused);
    counter_add(&peer->swarm->counters.streams_refused, refused);
    if (peer->state == PEER_OPEN && yamux_owes(&peer->yamux)) {
        net_conn_dirty(peer->swarm->net, peer->conn);
    }
}

void peer_earn(struct peer *peer, uint32_t units) {
    peer->patience = peer->patience + (int32_t)units > PEER_PATIENCE_MAX
                         ? PEER_PATIENCE_MAX
                         : peer->patience + (int32_t)units;
}

void peer_ask_identify(struct peer *peer) {
    struct stream *stream = stream_open(peer, STREAM_IDENTIFY_OUT);
    if (stream && !stream_write(stream, NULL, 0)) {
        stream_reset(stream);
        stream = NULL;
    }
    peer->asked = stream != NULL;
    if (!stream) {
        counter_add(&peer->swarm->counters.identify_put_off, 1);
    }
}

void peer_opened(struct peer *peer) {
    struct swarm *swarm = peer->swarm;
    peer->state = PEER_OPEN;
    peer->useful_ns = swarm->net->core->now_ns;
    peer->conn->requests = 1; /* it is no stranger any more: its class's buffers from here on */
    swarm_proven(swarm, peer);
    yamux_init(&peer->yamux, peer->dialer, PEER_STREAMS_MAX, WINDOW_MAX);
    if (yamux_ping(&peer->yamux)) {
        peer->pinged_ns = swarm->net->core->now_ns;
    }
    peer_ask_identify(peer);
    net_conn_dirty(swarm->net, peer->conn);
    if (peer->dial) {
        dial_opened(peer);
    }
    client_peer_opened(swarm->client, peer);
}

/* Output memory for whatever a record may ask us to say. */
static bool may_open_record(const struct peer *peer) {
    const struct net *net = peer->swarm->net;
    return net->outs.large.free_count >= OUTPUT_CHUNKS &&
           net->outs.small.free_count >= OUTPUT_CHUNKS && !net_output_full(net, peer->conn) &&
           peer->conn->out_bytes < 2 * MiB;
}

/* Patience comes back with time: a peer that has used it up is read on, at this rate. */
static bool has_patience(struct peer *peer) {
    uint64_t now_ns = peer->swarm->net->core->now_ns;
    uint64_t units = (now_ns - peer->patience_ns) / PATIENCE_UNIT_NS;
    if (units > 0) {
        peer->patience_ns = now_ns;
        peer_earn(peer, (uint32_t)min_u64(units, PEER_PATIENCE_MAX));
    }
    return peer->patience >= 0;
}

/* Opens records and acts on them. Returns: false if it had to stop. */
static bool read_records(struct peer *peer, const uint8_t *bytes, uint32_t count,
                         uint32_t *ret_used) {
    struct swarm *swarm = peer->swarm;
    uint32_t at = 0, acted = 0;
    bool more = true;
    while (more && peer->state != PEER_GONE) {
        if (!may_open_record(peer) || peer->opens_left == 0 || !has_patience(peer)) {
            net_conn_stall(swarm->net, peer->conn);
            break;
        }
        if (acted >= TURN_BYTES) {
            counter_add(&swarm->counters.budget_stops, 1);
            net_conn_wait(swarm->net, peer->conn);
            break;
        }
        size_t used = 0, plain_bytes = 0;
        const uint8_t *plain = NULL;
        int r = secure_read(peer->secure, bytes + at, count - at, &used, &plain, &plain_bytes);
        at += (uint32_t)used;
        if (r == 0) {
            peer->part_ns = 0;
            acted += (uint32_t)plain_bytes;
            peer_plain(peer, plain, plain_bytes);
        } else if (r == SECURE_MORE) {
            more = false;
            if (peer->part_ns == 0 && secure_in_record(peer->secure)) {
                peer->part_ns = swarm->net->core->now_ns;
            }
        } else if (r == SECURE_MEMORY) {
            counter_add(&swarm->counters.no_record_memory, 1);
            net_conn_stall(swarm->net, peer->conn);
            break;
        } else {
            peer_end(peer, r == SECURE_END ? CONN_END_PEER : CONN_END_PROTOCOL);
        }
    }
    *ret_used = at;
    return at == count && !more;
}

/* What a handshake left over comes first. */
static bool read_early(struct peer *peer) {
    if (peer->early_at == peer->early_used) {
        early_free(peer);
        return true;
    }
    uint32_t used = 0;
    bool all =
        read_records(peer, peer->early + peer->early_at, peer->early_used - peer->early_at, &used);
    peer->early_at += used;
    if (all) {
        early_free(peer);
    }
    return all;
}

bool peer_read(struct peer *peer, const uint8_t *bytes, uint32_t count, uint32_t *ret_used) {
    uint32_t at = 0;
    if (count > 0) { /* else it is looked at again */
        peer->heard_ns = peer->swarm->net->core->now_ns;
    }
    if (peer->state == PEER_SECURITY) {
        at = read_security(peer, bytes, count);
        if (peer->state == PEER_HANDSHAKE) {
            begin_step(peer); /* a dialler speaks first */
        }
    }
    if (peer->state == PEER_HANDSHAKE) {
        if (peer->step || (at < count && !early_keep(peer, bytes + at, count - at))) {
            *ret_used = at;
            if (!peer->step) {
                peer_end(peer, CONN_END_PROTOCOL);
            }
            return at == count;
        }
        at = count;
        begin_step(peer);
    }
    bool all = at == count;
    if (peer->state == PEER_MUXER || peer->state == PEER_OPEN) {
        uint32_t used = 0;
        all = read_early(peer) && read_records(peer, bytes + at, count - at, &used);
        at += used;
    }
    *ret_used = at;
    return all && peer->state != PEER_GONE;
}

void peer_free_parts(struct peer *peer) {
    early_free(peer);
    secure_close(peer->secure);
    peer->secure = NULL;
}

void peer_owed(struct peer *peer) {
    if (peer->state == PEER_OPEN && !write_owed(peer)) {
        counter_add(&peer->swarm->counters.no_output, 1);
    }
    if (peer->state == PEER_OPEN && peer->finishing) {
        stream_reap_finished(peer);
    }
}
