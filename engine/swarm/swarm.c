/* SPDX-License-Identifier: MIT */
#include "engine/swarm/swarm.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/must.h"
#include "engine/arena.h"
#include "engine/engine_private.h"
#include "engine/net.h"
#include "engine/swarm/arrivals.h"
#include "engine/swarm/client.h"
#include "engine/swarm/errand.h"
#include "engine/swarm/intake.h"
#include "engine/swarm/message.h"
#include "engine/swarm/peer.h"
#include "engine/swarm/record.h"
#include "engine/swarm/serve.h"
#include "engine/work.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>

COUNTER_NAMES(swarm, SWARM_COUNTERS);

#define RECORD_BYTES          (16 * MiB) /* for records that came in part, all peers of the tile */
#define ARRIVALS_A_TURN       64u
#define WOKEN_A_TURN          256u
#define EXPIRE_A_TICK         16384u
#define OPENS_MAX             1024u
#define OPENS_A_SWEEP         512u /* a sweep looks at each connection every 0.8 s */
#define PAUSED_SWEEPS_MAX     12u  /* ten seconds without a moment of good behaviour */
#define IDENTIFIES_MAX        8u
#define IDENTIFIES_A_SWEEP    4u
#define KEEPALIVE_NS          (30 * NS_PER_S)
#define KEEPALIVE_PATIENCE_NS (20 * NS_PER_S)
#define GREETING_CHUNKS       4u
#define REPLY_IDLE_NS         (5 * NS_PER_S) /* js peers reset a silent stream after 10 s */
#define REPLY_STUCK_NS        (15 * NS_PER_S)
#define STREAM_IDLE_NS        (60 * NS_PER_S)

/* ---- set-up --------------------------------------------------------------------------------- */

struct swarm_sizes {
    uint32_t peers, streams, shaking;
    struct ledger_config ledger;
};

static struct swarm_sizes sizes_of(const struct settings *settings, uint32_t net_count) {
    uint32_t peers = (uint32_t)(settings->bitswap_peers_max / net_count + 16);
    return (struct swarm_sizes){
        .peers = peers,
        .streams = 2 * peers * STREAMS_OWN + 16 * PEER_STREAMS_MAX,
        .shaking = max_u32(peers / 4, 64),
        .ledger = {.wants_max = (uint32_t)settings->bitswap_wants_max,
                   .peer_wants_max = (uint32_t)settings->bitswap_peer_wants_max},
    };
}

size_t swarm_footprint(const struct settings *settings, uint32_t net_count) {
    struct swarm_sizes sizes = sizes_of(settings, net_count);
    size_t sum = mem_need(0, sizeof(struct swarm), CACHE_PAIR);
    sum = mem_need(sum, pool_footprint(sizeof(struct peer), sizes.peers), CACHE_PAIR);
    sum = mem_need(sum, pool_footprint(sizeof(struct stream), sizes.streams), CACHE_PAIR);
    sum = mem_need(sum, pool_footprint(sizeof(struct handshake), SWARM_HANDSHAKE_JOBS), CACHE_PAIR);
    sum = mem_need(sum, ledger_footprint(&sizes.ledger), CACHE_PAIR);
    sum += guard_footprint(settings, net_count);
    sum = mem_need(sum, pool_footprint(sizeof(struct dial), DIALS_MAX), CACHE_PAIR);
    sum = mem_need(sum, sizeof(struct client), CACHE_PAIR);
    sum = mem_need(sum, client_footprint(), CACHE_PAIR);
    return mem_need(sum, SECURE_SCRATCH_BYTES, CACHE_PAIR);
}

static void *record_take(void *context, size_t bytes) {
    struct swarm *swarm = context;
    if (swarm->record_bytes + bytes > RECORD_BYTES) {
        return NULL;
    }
    void *memory = arena_take(swarm->net->core->arena, bytes, 16);
    swarm->record_bytes += memory ? bytes : 0;
    return memory;
}

static void record_give(void *context, void *memory, size_t bytes) {
    struct swarm *swarm = context;
    swarm->record_bytes -= bytes;
    arena_give(swarm->net->core->arena, memory, bytes);
}

static void make_pool(struct mem_region *region, struct pool *pool, uint32_t bytes,
                      uint32_t count) {
    pool_init(pool, mem_carve(region, pool_footprint(bytes, count), CACHE_PAIR), bytes, count);
}

int swarm_open(struct net *net, const struct settings *settings, uint32_t net_count) {
    struct mem_region *region = &net->core->region;
    struct swarm_sizes sizes = sizes_of(settings, net_count);
    struct swarm *swarm = mem_carve(region, sizeof(struct swarm), CACHE_PAIR);
    swarm->net = net;
    swarm->self = net->engine->self;
    swarm->peers_max = sizes.peers;
    swarm->shaking_max = sizes.shaking;
    if (getrandom(&swarm->salt, sizeof swarm->salt, 0) != sizeof swarm->salt) {
        return err_raise(-EIO);
    }
    make_pool(region, &swarm->peers, sizeof(struct peer), sizes.peers);
    make_pool(region, &swarm->streams, sizeof(struct stream), sizes.streams);
    make_pool(region, &swarm->handshakes, sizeof(struct handshake), SWARM_HANDSHAKE_JOBS);
    sizes.ledger.salt = swarm->salt;
    ledger_init(&swarm->ledger, mem_carve(region, ledger_footprint(&sizes.ledger), CACHE_PAIR),
                &sizes.ledger);
    guard_open(&swarm->guard, region, settings, net_count, swarm->salt);
    make_pool(region, &swarm->dials, sizeof(struct dial), DIALS_MAX);
    swarm->client = mem_carve(region, sizeof(struct client), CACHE_PAIR);
    client_open(swarm->client, swarm, settings);
    swarm->memory = (struct secure_memory){
        .take = record_take,
        .give = record_give,
        .context = swarm,
        .scratch = mem_carve(region, SECURE_SCRATCH_BYTES, CACHE_PAIR),
    };
    net->swarm = swarm;
    return 0;
}

/* ---- the life of a peer --------------------------------------------------------------------- */

static void shaking_add(struct swarm *swarm, struct peer *peer) {
    peer->shaking_prev = swarm->shaking_tail;
    peer->shaking_next = NULL;
    if (swarm->shaking_tail) {
        swarm->shaking_tail->shaking_next = peer;
    } else {
        swarm->shaking_head = peer;
    }
    swarm->shaking_tail = peer;
    peer->shaking = true;
    swarm->shaking++;
}

static void shaking_remove(struct swarm *swarm, struct peer *peer) {
    if (!peer->shaking) {
        return;
    }
    if (peer->shaking_prev) {
        peer->shaking_prev->shaking_next = peer->shaking_next;
    } else {
        swarm->shaking_head = peer->shaking_next;
    }
    if (peer->shaking_next) {
        peer->shaking_next->shaking_prev = peer->shaking_prev;
    } else {
        swarm->shaking_tail = peer->shaking_prev;
    }
    peer->shaking = false;
    swarm->shaking--;
}

static bool make_peer(struct swarm *swarm, struct conn *conn, const struct sockaddr *address,
                      const struct peer_id *expected) {
    bool greets = out_pools_free(&swarm->net->outs) >= GREETING_CHUNKS;
    struct peer *peer = greets ? pool_get(&swarm->peers) : NULL;
    if (!peer) {
        counter_add(&swarm->counters.no_peer, 1);
        return false;
    }
    memset(peer, 0, sizeof *peer);
    if (!guard_take(&swarm->guard, peer, address, expected != NULL)) {
        counter_add(&swarm->counters.address_full, 1);
        pool_put(&swarm->peers, peer);
        return false;
    }
    if (swarm->shaking >=
        swarm->shaking_max) { /* it is taken: the oldest half-open one makes room */
        struct peer *oldest = swarm->shaking_head;
        counter_add(&swarm->counters.handshakes_displaced, 1);
        shaking_remove(swarm, oldest);
        peer_end(oldest, CONN_END_ERROR);
    }
    peer->conn = conn;
    peer->swarm = swarm;
    peer->state = PEER_SECURITY;
    peer->opens_left = OPENS_MAX;
    peer->identifies_left = IDENTIFIES_MAX;
    peer->patience = PEER_PATIENCE_MAX;
    peer->patience_ns = swarm->net->core->now_ns;
    peer->opened_ns = peer->heard_ns = swarm->net->core->now_ns;
    multistream_init(&peer->select);
    ledger_peer_init(&swarm->ledger, &peer->ledger);
    if (expected) {
        peer->dialer = true;
        peer->expected = *expected;
    }
    conn->peer = peer;
    shaking_add(swarm, peer);
    bool greeted = peer_greet(peer);
    must(greeted); /* there is room: a connection not begun yet could not be ended */
    return true;
}

bool swarm_accept(struct swarm *swarm, struct conn *conn, const struct sockaddr *address) {
    return make_peer(swarm, conn, address, NULL);
}

bool swarm_dialled(struct swarm *swarm, struct conn *conn, const struct sockaddr *address,
                   const struct peer_id *expected) {
    return make_peer(swarm, conn, address, expected);
}

void swarm_proven(struct swarm *swarm, struct peer *peer) {
    shaking_remove(swarm, peer);
    peer->opened_ns = swarm->net->core->now_ns;
    counter_add(&swarm->counters.peers, 1);
    /* From here on what it wants is charged to who it is, however many connections it has. */
    const struct peer_id *id = secure_peer(peer->secure);
    uint64_t mixed = swarm->salt;
    for (uint32_t i = 0; i < id->count; i++) {
        mixed = (mixed ^ id->bytes[i]) * UINT64_C(0x9e3779b97f4a7c15);
        mixed ^= mixed >> 29;
    }
    peer->conn->flow = (uint16_t)(mixed >> 48);
}

void swarm_let_go(struct swarm *swarm, struct conn *conn) {
    struct peer *peer = conn->peer;
    if (peer->let_go) {
        return;
    }
    peer->let_go = true;
    peer_end(peer, CONN_END_ERROR);
    shaking_remove(swarm, peer);
    record_drop(peer);
    ledger_peer_gone(&swarm->ledger, &peer->ledger);
    while (peer->streams) {
        stream_free(peer->streams);
    }
}

void swarm_free(struct swarm *swarm, struct conn *conn) {
    struct peer *peer = conn->peer;
    must(peer->let_go && !peer->step);
    peer_free_parts(peer);
    guard_give_back(&swarm->guard, peer);
    peer->state = PEER_FREE;
    conn->peer = NULL;
    pool_put(&swarm->peers, peer);
}

void swarm_drop(struct swarm *swarm, struct job *job) {
    struct peer *peer = ((struct conn *)pool_at(&swarm->net->conns, job->conn))->peer;
    if (job->kind == JOB_HANDSHAKE) {
        must(peer->step == job->data);
        pool_put(&swarm->handshakes, peer->step);
        peer->step = NULL;
        job->data = NULL;
    } else if (job->kind == JOB_GET && job->status == JOB_OK && job->data) {
        frame_give_back(job->data);
        job->data = NULL;
    }
}

/* ---- reading and writing -------------------------------------------------------------------- */

bool swarm_read(struct swarm *swarm, struct conn *conn, const uint8_t *bytes, uint32_t count,
                uint32_t *ret_used) {
    conn->peer->bytes_in += count;
    bool all = peer_read(conn->peer, bytes, count, ret_used);
    conn->peer->bytes_in -= count - *ret_used;
    if (unlikely(conn->many && conn->receive_out && swarm_is_tiresome(conn))) {
        net_conn_stop_receive(swarm->net, conn);
    }
    return all;
}

bool swarm_is_tiresome(const struct conn *conn) {
    return conn->peer->patience < PEER_PATIENCE_MAX / 2;
}

void swarm_resume(struct swarm *swarm, struct conn *conn) {
    (void)swarm;
    struct peer *peer = conn->peer;
    uint32_t used = 0;
    (void)peer_read(peer, NULL, 0, &used); /* a handshake's step, or what one left over */
    serve_poll(peer);
}

/* Reply streams of a js peer end with their burst. */
static void end_burst(struct peer *peer) {
    for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
        struct stream *stream = peer->replies[i];
        if (stream && stream->total == 0 && !stream->selecting) {
            message_retire(stream);
        }
    }
}

/* It said go-away, and nothing that it asked for is left to be said: it waits for us to hang up.
 * What we asked it for cannot come: answers come on streams that it opens. */
static bool has_left(const struct peer *peer) {
    return peer->state == PEER_OPEN && peer->yamux.gone_away && !peer->conn->out_head &&
           peer->ledger.queued + peer->ledger.serving == 0;
}

void swarm_flush(struct swarm *swarm, struct conn *conn) {
    (void)swarm;
    struct peer *peer = conn->peer;
    if (peer->state == PEER_OPEN) {
        if (peer->js && peer->ledger.queued == 0 && peer->jobs_out == 0) {
            end_burst(peer);
        }
        wants_flush(peer);
        peer_owed(peer);
    }
    if (peer->state == PEER_OPEN || peer->state == PEER_MUXER) {
        (void)record_seal(peer);
    }
    if (has_left(peer)) {
        peer_end(peer, CONN_END_PEER);
    }
}

uint32_t swarm_cost_ns(const struct conn *conn) {
    return 600 + conn->peer->block_bytes / 2;
}

bool swarm_sent(struct conn *conn) {
    struct peer *peer = conn->peer;
    peer->blocked = false;
    return peer->state != PEER_OPEN || peer->ledger.queued + peer->ledger.serving > 0 ||
           peer->early != NULL;
}

bool swarm_has_output(const struct conn *conn) {
    return conn->peer->record != NULL || yamux_owes(&conn->peer->yamux) ||
           conn->peer->wants.used > 0;
}

/* ---- identify ------------------------------------------------------------------------------- */

static bool address_of(const struct sockaddr_storage *from, struct multiaddr *ret_address) {
    *ret_address = (struct multiaddr){0};
    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)from;
        ret_address->host = MULTIADDR_IP4;
        memcpy(ret_address->address, &in->sin_addr, 4);
        ret_address->port = ntohs(in->sin_port);
        return true;
    }
    if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)from;
        ret_address->host = MULTIADDR_IP6;
        memcpy(ret_address->address, &in->sin6_addr, 16);
        ret_address->port = ntohs(in->sin6_port);
        return true;
    }
    return false;
}

uint32_t swarm_identify(const struct swarm *swarm, const struct conn *conn,
                        uint8_t out[IDENTIFY_WRITE_MAX]) {
    const struct engine *engine = swarm->net->engine;
    struct multiaddr observed;
    struct sockaddr_storage peer = {0};
    socklen_t length = sizeof peer;
    bool seen = getpeername(conn->fd, (struct sockaddr *)&peer, &length) == 0 &&
                address_of(&peer, &observed);
    struct identify_self self = {
        .agent = self_agent,
        .protocol_version = self_protocol_version,
        .protocols = self_protocols,
        .addresses = engine->addresses,
        .address_count = engine->address_count,
        .observed = seen ? &observed : NULL,
    };
    self.key = secure_self_key(swarm->self, &self.key_bytes);
    return (uint32_t)identify_write(&self, out);
}

/* ---- blocks that arrived -------------------------------------------------------------------- */

static void wake(struct ledger_peer *const woken[], uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        struct peer *peer = container_of(woken[i], struct peer, ledger);
        peer->blocked = false;
        serve_poll(peer);
    }
}

static bool take_arrival(struct swarm *swarm, uint32_t from) {
    struct ledger_peer *woken[WOKEN_A_TURN];
    struct key key;
    if (swarm->arriving) { /* more waited for it than one turn wakes */
        key = swarm->arriving_key;
    } else {
        int r = arrivals_pop(swarm->net->engine->cores[from].work->arrivals,
                             &swarm->arrivals_seen[from], &key);
        if (r == ARRIVALS_LOST) {
            ledger_rescan_begin(&swarm->ledger);
        }
        if (r != 0) {
            return false;
        }
    }
    uint32_t count = ledger_arrived(&swarm->ledger, &key, woken, WOKEN_A_TURN);
    swarm->arriving = count == WOKEN_A_TURN;
    swarm->arriving_key = key;
    wake(woken, count);
    return true;
}

bool swarm_poll(struct swarm *swarm) {
    const struct engine *engine = swarm->net->engine;
    uint32_t taken = 0;
    for (uint32_t i = 0; i < engine->layout.count && taken < ARRIVALS_A_TURN; i++) {
        if (!engine->cores[i].work) {
            continue;
        }
        if (counter_get(&swarm->ledger.counters.wants) == 0 && !swarm->arriving) {
            uint64_t head = arrivals_head(engine->cores[i].work->arrivals);
            if (head != swarm->arrivals_seen[i]) {
                swarm->arrivals_seen[i] = head;
                ledger_passed_over(&swarm->ledger);
            }
            continue;
        }
        while (taken < ARRIVALS_A_TURN && take_arrival(swarm, i)) {
            taken++;
        }
    }
    if (ledger_rescanning(&swarm->ledger)) {
        struct ledger_peer *woken[WOKEN_A_TURN];
        wake(woken, ledger_rescan(&swarm->ledger, woken, WOKEN_A_TURN));
    }
    bool more = errand_poll(swarm);
    more |= client_poll(swarm->client);
    return more || taken == ARRIVALS_A_TURN || swarm->arriving || ledger_rescanning(&swarm->ledger);
}

void swarm_publish(struct swarm *swarm) {
    /* Release is enough: the fence that counts is the bell's. */
    atomic_store_explicit(&swarm->waiting, (uint32_t)counter_get(&swarm->ledger.counters.waiting),
                          memory_order_release);
}

bool swarm_has_input(const struct swarm *swarm) {
    const struct engine *engine = swarm->net->engine;
    if (errand_has_input(swarm) || far_has_input(swarm->client)) {
        return true;
    }
    if (counter_get(&swarm->ledger.counters.waiting) == 0) {
        return false;
    }
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        if (engine->cores[i].work &&
            arrivals_head(engine->cores[i].work->arrivals) != swarm->arrivals_seen[i]) {
            return true;
        }
    }
    return false;
}

/* ---- the lazy tick -------------------------------------------------------------------------- */

void swarm_apply(struct swarm *swarm, const struct settings *settings) {
    guard_apply(&swarm->guard, settings);
}

void swarm_tick(struct swarm *swarm) {
    struct net *net = swarm->net;
    guard_tick(swarm);
    client_tick(swarm->client);
    dial_tick(net);
    uint64_t expiry_ns = net->settings->bitswap_want_expiry_ns;
    if (expiry_ns != 0 && net->core->now_ns > expiry_ns) {
        (void)ledger_expire(&swarm->ledger, net->core->now_ns - expiry_ns, EXPIRE_A_TICK);
    }
    while (swarm->shaking_head && net->core->now_ns - swarm->shaking_head->opened_ns >
                                      net->settings->bitswap_handshake_timeout_ns) {
        struct peer *late = swarm->shaking_head;
        counter_add(&swarm->counters.handshakes_late, 1);
        late->end_why = "the handshake was not done in time";
        shaking_remove(swarm, late);
        peer_end(late, CONN_END_ERROR);
    }
}

/* A block that is coming must go on coming, for somebody. Returns: false: its stream is gone. */
static bool sweep_intake(struct stream *stream, uint64_t now_ns) {
    struct peer *peer = stream->peer;
    struct client *client = peer->swarm->client;
    switch (intake_pace(peer, stream->intake, now_ns)) {
    case INTAKE_MOVES:
        break;
    case INTAKE_ORPHANED:
        intake_drop(client, peer, stream->intake);
        stream->intake = NULL; /* the rest of it is passed over */
        break;
    case INTAKE_STUCK:
        counter_add(&client->counters.intakes_stuck, 1);
        stream_reset(stream);
        return false;
    }
    return true;
}

static void sweep_streams(struct peer *peer, uint64_t now_ns) {
    for (struct stream *stream = peer->streams, *next; stream; stream = next) {
        next = stream->next;
        if (stream->intake && !sweep_intake(stream, now_ns)) {
            if (peer->state != PEER_OPEN) {
                return;
            }
            continue;
        }
        bool quiet = now_ns - stream->since_ns > STREAM_IDLE_NS;
        bool reply_quiet = stream->role == STREAM_REPLY && stream->total == 0 &&
                           (peer->js || !peer->identified) &&
                           now_ns - stream->since_ns > REPLY_IDLE_NS;
        bool stuck = stream->role == STREAM_REPLY && stream->total != 0 && !stream->job_out &&
                     now_ns - stream->since_ns > REPLY_STUCK_NS;
        if (stuck) { /* it opens no window: the block begins again on a stream of its own */
            counter_add(&peer->swarm->counters.replies_stuck, 1);
            stream_reset(stream);
            if (peer->state != PEER_OPEN) {
                return;
            }
        } else if (reply_quiet) {
            message_retire(stream);
        } else if (quiet && stream->role != STREAM_REPLY && stream->role != STREAM_BITSWAP_IN &&
                   stream->role != STREAM_WANT) {
            stream_reset(stream); /* opened, and then nothing */
            if (peer->state != PEER_OPEN) {
                return;
            }
        }
    }
}

/* A peer that was silent is pinged; one that does not answer is gone. */
static uint32_t keep_alive(struct peer *peer, uint64_t now_ns) {
    if (peer->pinged_ns != 0 && now_ns - peer->pinged_ns > KEEPALIVE_PATIENCE_NS &&
        now_ns - peer->heard_ns > KEEPALIVE_PATIENCE_NS) {
        counter_add(&peer->swarm->counters.keepalive_closes, 1);
        return CONN_END_STALLED;
    }
    if (peer->pinged_ns == 0 && now_ns - peer->heard_ns > KEEPALIVE_NS &&
        yamux_ping(&peer->yamux)) {
        peer->pinged_ns = now_ns;
        net_conn_dirty(peer->swarm->net, peer->conn);
    }
    return CONN_END_COUNT;
}

/* A record of which we have taken all that came must be whole soon, however it trickles: its memory
 * is the others' too. */
static bool record_late(struct peer *peer, uint64_t now_ns) {
    if (!peer->conn->receive_out) {
        peer->part_ns = peer->part_ns ? now_ns : 0; /* we do not listen: no fault of its own */
    }
    bool pressed = peer->swarm->record_bytes > RECORD_BYTES / 2;
    uint64_t patience_ns = pressed ? NS_PER_S : KEEPALIVE_PATIENCE_NS;
    return peer->part_ns != 0 && now_ns - peer->part_ns > patience_ns;
}

static bool is_idle(const struct peer *peer, uint64_t now_ns) {
    uint64_t idle_ns = peer->swarm->net->settings->bitswap_idle_timeout_ns;
    return idle_ns != 0 && peer->ledger.wants == 0 && !peer_is_used(peer) &&
           now_ns - peer->useful_ns > idle_ns;
}

/* A peer that is not read cannot be heard ending: what it sent stands before its FIN, perhaps in
 * its own kernel. So one that wastes its budget for long is not waited for. */
static bool is_wasteful(struct peer *peer) {
    peer->paused_sweeps = peer->patience < 0 ? (uint8_t)(peer->paused_sweeps + 1) : 0;
    if (peer->paused_sweeps < PAUSED_SWEEPS_MAX) {
        return false;
    }
    counter_add(&peer->swarm->counters.wasteful_closes, 1);
    return true;
}

uint32_t swarm_sweep(struct swarm *swarm, struct conn *conn) {
    struct peer *peer = conn->peer;
    uint64_t now_ns = swarm->net->core->now_ns;
    if (peer->state != PEER_OPEN) {
        return CONN_END_COUNT;
    }
    if (peer->opens_left == 0 || peer->patience < 0) {
        counter_add(&swarm->counters.budget_pauses, 1);
        net_conn_wait(swarm->net, conn);
    }
    if (is_wasteful(peer)) {
        return CONN_END_STALLED;
    }
    peer->opens_left = min_u32(peer->opens_left + OPENS_A_SWEEP, OPENS_MAX);
    peer->identifies_left = min_u32(peer->identifies_left + IDENTIFIES_A_SWEEP, IDENTIFIES_MAX);
    if (record_late(peer, now_ns)) {
        return CONN_END_STALLED;
    }
    guard_sweep(peer);
    if (!peer->asked) {
        peer_ask_identify(peer);
    }
    sweep_streams(peer, now_ns);
    if (peer->state != PEER_OPEN) {
        return CONN_END_COUNT;
    }
    peer->blocked = false;
    serve_poll(peer);
    if (has_left(peer)) {
        return CONN_END_PEER;
    }
    return is_idle(peer, now_ns) ? CONN_END_IDLE : keep_alive(peer, now_ns);
}
