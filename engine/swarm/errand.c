/* SPDX-License-Identifier: MIT */
#include "engine/swarm/errand.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/must.h"
#include "engine/engine_private.h"
#include "engine/net.h"
#include "engine/swarm/client.h"
#include "engine/swarm/desk.h"
#include "engine/swarm/peer.h"
#include "engine/swarm/record.h"
#include "store/store.h"

#include <stdio.h>
#include <string.h>

#define REQUESTS_A_TURN 4u
#define SLOTS_A_PAGE    2048u /* connections looked at for one page */

static void fail(struct desk_request *request, const char *why) {
    size_t count = min_u64(strlen(why), sizeof request->why - 1);
    memcpy(request->why, why, count);
    request->why[count] = '\0';
    desk_end(request, DESK_FAILED);
}

static struct peer *peer_at(const struct net *net, uint32_t slot) {
    struct conn *conn = pool_at(&net->conns, slot);
    bool open = conn->state == CONN_HELLO || conn->state == CONN_READY;
    return open ? conn->peer : NULL;
}

/* ---- dial ----------------------------------------------------------------------------------- */

static void dialled(void *context, struct dial *dial, struct peer *peer) {
    struct desk_request *request = context;
    request->dial = NULL;
    if (!peer) {
        fail(request, dial->why);
        return;
    }
    peer->protected = true;
    request->answered = *secure_peer(peer->secure);
    atomic_store_explicit(&request->phase, DESK_CONNECTED, memory_order_relaxed);
    desk_end(request, DESK_DONE);
}

static void begin_dial(struct swarm *swarm, struct desk_request *request) {
    struct peer *peer = client_find(swarm->client, &request->targets[0].peer);
    if (peer) {
        peer->protected = true;
        request->answered = request->targets[0].peer;
        atomic_store_explicit(&request->phase, DESK_CONNECTED, memory_order_relaxed);
        desk_end(request, DESK_DONE);
        return;
    }
    request->dial = dial_begin(swarm->net, &request->targets[0], dialled, request);
    if (!request->dial) {
        fail(request, "too many connections are being made, no such address, or shutting down");
        return;
    }
    request->dial->phase = &request->phase;
    desk_end(request, DESK_UNDER_WAY);
}

/* ---- peers ---------------------------------------------------------------------------------- */

static void show(const struct swarm *swarm, const struct peer *peer, struct desk_peer *line) {
    uint64_t now_ns = swarm->net->core->now_ns;
    bool proven = peer->state == PEER_OPEN;
    *line = (struct desk_peer){
        .state = peer_state_names[peer->state],
        .security = secure_protocols[peer->kind],
        .class = job_class_names[peer->conn->class],
        .outbound = peer->dialer,
        .wants = peer->ledger.wants - peer->ledger.waiting,
        .waiting = peer->ledger.waiting,
        .age_ns = now_ns - peer->opened_ns,
        .bytes_in = peer->bytes_in,
        .bytes_out = peer->bytes_out,
        .blocks_out = peer->ledger.blocks_sent,
        .blocks_in = peer->ledger.blocks_received,
        .debt_bytes = ledger_debt(&peer->ledger),
        .round_trip_ns = proven ? peer->yamux.round_trip_ns : 0,
    };
    if (proven) {
        line->id = *secure_peer(peer->secure);
    }
    memcpy(line->agent, peer->agent, sizeof line->agent);
    socklen_t length = sizeof line->address;
    (void)getpeername(peer->conn->fd, (struct sockaddr *)&line->address, &length);
}

static void show_page(struct swarm *swarm, struct desk_request *request) {
    struct net *net = swarm->net;
    struct desk_page *page = request->page;
    uint32_t slot = request->cursor;
    uint32_t end = min_u32(slot + SLOTS_A_PAGE, net->conns.slots_max);
    page->count = 0;
    while (slot < end && page->count < DESK_PAGE) {
        const struct peer *peer = peer_at(net, slot);
        if (peer) {
            show(swarm, peer, &page->peers[page->count++]);
        }
        slot++;
    }
    page->next = slot < net->conns.slots_max ? slot : 0;
    desk_end(request, DESK_DONE);
}

/* ---- one peer ------------------------------------------------------------------------------- */

static bool is_it(const struct peer *peer, const struct peer_id *id) {
    return peer && peer->state == PEER_OPEN && peer_id_equal(secure_peer(peer->secure), id);
}

static void look_for(struct swarm *swarm, struct desk_request *request) {
    request->found = client_find(swarm->client, &request->id) != NULL;
    desk_end(request, DESK_DONE);
}

static void disconnect(struct swarm *swarm, struct desk_request *request) {
    for (uint32_t slot = 0; slot < swarm->net->conns.slots_max; slot++) {
        struct peer *peer = peer_at(swarm->net, slot);
        if (is_it(peer, &request->id)) {
            yamux_go_away(&peer->yamux, 0);
            peer_owed(peer);
            (void)record_seal(peer);
            peer_end(peer, CONN_END_DRAIN);
            request->found++;
        }
    }
    desk_end(request, DESK_DONE);
}

static void begin_ping(struct swarm *swarm, struct desk_request *request) {
    for (uint32_t slot = 0; slot < swarm->net->conns.slots_max; slot++) {
        struct peer *peer = peer_at(swarm->net, slot);
        if (!is_it(peer, &request->id)) {
            continue;
        }
        request->found = 1;
        struct stream *stream = stream_open(peer, STREAM_PING_OUT);
        uint8_t bytes[32]; /* anything that another ping has not; nothing secret may go into it */
        uint64_t word = clock_ns() ^ (uint64_t)request->number << 32;
        for (uint32_t i = 0; i < sizeof bytes; i++) {
            word = word * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bytes[i] = (uint8_t)(word >> 56);
        }
        if (!stream) {
            fail(request, "it has too many streams open");
            return;
        }
        memcpy(stream->ping, bytes, sizeof bytes);
        stream->errand = request;
        request->round_trip_ns = clock_ns(); /* until it is one */
        desk_end(request, DESK_UNDER_WAY);
        if (!stream_write(stream, bytes, sizeof bytes)) {
            stream_reset(stream);
        }
        return;
    }
    desk_end(request, DESK_DONE); /* not here: control asks the next */
}

void errand_pinged(struct stream *stream, bool good) {
    struct desk_request *request = stream->errand;
    stream->errand = NULL;
    if (!request) {
        return;
    }
    if (!good) {
        fail(request, "it did not echo");
        return;
    }
    request->round_trip_ns = clock_ns() - request->round_trip_ns;
    desk_end(request, DESK_DONE);
}

/* ---- fetch ---------------------------------------------------------------------------------- */

static void put(_Atomic uint64_t *word, uint64_t value) {
    atomic_store_explicit(word, value, memory_order_relaxed); /* a number to look at, no more */
}

static bool is_forgotten(const struct desk_request *request) {
    uint64_t asked_ns = atomic_load_explicit(&request->asked_ns, memory_order_relaxed);
    return clock_ns() > asked_ns + DESK_FORGOTTEN_NS;
}

static void changed(void *context, const struct session *session) {
    struct desk_request *request = context;
    struct desk_progress *progress = &request->progress;
    struct fetch_numbers numbers;
    fetch_count(&session->fetch, &numbers);
    put(&progress->blocks, numbers.blocks);
    put(&progress->bytes, numbers.bytes);
    put(&progress->here_blocks, numbers.here_blocks);
    put(&progress->duplicates, numbers.duplicate_blocks);
    put(&progress->duplicate_bytes, numbers.duplicate_bytes);
    put(&progress->unwanted, numbers.unwanted_blocks);
    put(&progress->in_flight, numbers.in_flight);
    put(&progress->seeking, session->fetch.seeking.count);
    put(&progress->known, numbers.known);
    put(&progress->frontier, numbers.frontier);
    put(&progress->late, numbers.late);
    put(&progress->dont_haves, numbers.dont_haves);
    put(&progress->peers, (uint64_t)__builtin_popcountll(session->fetch.live));
    put(&progress->dialing, session->fetch.expected - session->untold);
    bool cancel = atomic_load_explicit(&request->cancel, memory_order_relaxed);
    if (session_over(session)) {
        size_t said = session_say(session, request->why);
        if (session->fetch.why == FETCH_WHY_CANCELED && !cancel) {
            (void)snprintf(request->why, sizeof request->why, "%s",
                           request->forgotten ? "canceled: nobody asked after it for a minute"
                                              : "the daemon is stopping");
        }
        request->session = NULL;
        request->absent =
            session->fetch.why == FETCH_WHY_ABSENT || session->fetch.why == FETCH_WHY_NO_PEER;
        desk_end(request, said == 0 ? DESK_DONE : DESK_FAILED);
    } else if (cancel) {
        session_cancel(request->session);
    } else if (is_forgotten(request)) {
        request->forgotten = true;
        session_cancel(request->session);
    }
}

static void begin_fetch(struct swarm *swarm, struct desk_request *request) {
    struct session_spec spec = {
        .root = request->root,
        .dag = request->dag,
        .from_count = request->target_count,
        .from = request->targets,
        .changed = changed,
        .context = request,
    };
    desk_end(request, DESK_UNDER_WAY);
    request->session = client_begin(swarm->client, &spec);
    if (!request->session) {
        fail(request, "as many fetches are under way as there may be, no memory is left, or the "
                      "daemon is stopping");
    }
}

/* ---- the turn ------------------------------------------------------------------------------- */

bool errand_poll(struct swarm *swarm) {
    struct core *core = swarm->net->core;
    for (uint32_t i = 0; i < REQUESTS_A_TURN; i++) {
        struct desk_request *request = desk_pop(core);
        if (!request) {
            return false;
        }
        switch ((enum desk_kind)request->kind) {
        case DESK_DIAL:
            begin_dial(swarm, request);
            break;
        case DESK_PEERS:
            show_page(swarm, request);
            break;
        case DESK_FIND:
            look_for(swarm, request);
            break;
        case DESK_DISCONNECT:
            disconnect(swarm, request);
            break;
        case DESK_PING:
            begin_ping(swarm, request);
            break;
        case DESK_FETCH:
            begin_fetch(swarm, request);
            break;
        }
    }
    return desk_waits(core);
}

bool errand_has_input(const struct swarm *swarm) {
    return desk_waits(swarm->net->core);
}
