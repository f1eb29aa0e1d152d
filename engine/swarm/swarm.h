/* SPDX-License-Identifier: MIT */
#pragma once

/* swarm — the libp2p side of a net tile: its peers, their streams, what they want.
 *
 * A peer is a connection (engine/conn.h) whose listener speaks Bitswap, or one that we dialled. The
 * net tile receives, sends, times out and frees it like any other and hands its bytes and finished
 * jobs to the functions below; wants become light jobs of the same policy that serves TLV requests.
 *
 *   bytes ─► multistream ─► handshake (heavy job) ─► record ─► yamux ─► stream ─► its protocol
 *            peer.c                                            stream.c   negotiation, identify,
 * ping wants ─► ledger.c ledger ─► jobs ─► policy ─► store ─► message ─► yamux frame ─► record,
 * sealed once ─► socket serve.c                    message.c                  record.c
 *
 * Nothing a peer does takes memory without a bound: pools of peers, streams and handshakes, the
 * ledger's shares, output within the connection's share of the tile's chunks. A block's bytes are
 * read from its frame only while they can be sent: a peer that does not read holds a place in line.
 *
 * Thread: the net tile's. */

#include "base/base.h"
#include "base/counter.h"
#include "base/pool.h"
#include "engine/layout.h"
#include "engine/swarm/guard.h"
#include "engine/swarm/ledger.h"
#include "proto/libp2p/identify.h"
#include "proto/libp2p/secure.h"

struct net;
struct conn;
struct job;
struct find;
struct peer;
struct settings;
struct client;

#define SWARM_COUNTERS(X)                                                                       \
    X(peers, "peers", "connected and proven now")                                               \
    X(handshakes, "handshakes", "finished")                                                     \
    X(handshakes_failed, "handshakes",                                                          \
      "broken off: the peer broke the protocol or proved another")                              \
    X(handshakes_no_memory, "handshakes", "broken off: no memory for them")                     \
    X(handshakes_held, "waits", "a step waited: handshakes had their part of the time")         \
    X(handshakes_late, "handshakes", "broken off: not done in time")                            \
    X(handshakes_displaced, "handshakes", "broken off, the oldest first: too many at once")     \
    X(no_peer, "connections", "turned away: no room for another peer")                          \
    X(address_full, "connections", "turned away: too many from one address")                    \
    X(trimmed, "peers", "closed: above the high water")                                         \
    X(unknown_protocols, "proposals", "answered na")                                            \
    X(streams, "streams", "open now")                                                           \
    X(streams_in, "streams", "opened by peers")                                                 \
    X(streams_refused, "streams", "reset: too many open, or opened too fast")                   \
    X(streams_reset, "streams", "reset by us: what came on them broke their protocol")          \
    X(identify_served, "messages", "identify answered")                                         \
    X(identify_put_off, "messages", "identify not asked for yet: too many are being read")      \
    X(identify_refused, "messages", "identify not answered: asked for too often")               \
    X(pings_served, "pings", "echoed")                                                          \
    X(messages_in, "messages", "Bitswap messages read")                                         \
    X(messages_out, "messages", "Bitswap messages written")                                     \
    X(bad_messages, "messages", "that ended their stream")                                      \
    X(entries_skipped, "entries", "with a CID that is too long, unreadable or an identity")     \
    X(wants_in, "wants", "read")                                                                \
    X(cancels_in, "wants", "withdrawals read")                                                  \
    X(blocks_out, "blocks", "sent")                                                             \
    X(block_bytes_out, "bytes", "of blocks sent")                                               \
    X(haves_out, "presences", "HAVE sent")                                                      \
    X(dont_haves_out, "presences", "DONT_HAVE sent")                                            \
    X(unwanted_blocks, "blocks", "received that nobody here asked for; not hashed, not stored") \
    X(replies_stuck, "streams", "reset in the middle of a block: no window for long")           \
    X(records_out, "records", "sealed")                                                         \
    X(budget_stops, "stops", "a peer's input waited for its next turn")                         \
    X(budget_pauses, "sweeps", "that found a peer unread because it had wasted its budget")     \
    X(wasteful_closes, "peers", "closed: their budget was wasted for ten seconds in a row")     \
    X(no_output, "closes", "no output memory in the middle of a record")                        \
    X(no_record_memory, "waits", "a record in parts found no memory")                           \
    X(pauses, "pauses", "a peer's wants waited: overload")                                      \
    X(keepalive_closes, "peers", "closed: no answer to our ping")                               \
    X(bad_yamux, "peers", "closed: broke the framing, or overran a window")
COUNTER_STRUCT(swarm, SWARM_COUNTERS);

#define SWARM_HANDSHAKE_JOBS 64u /* steps in flight; the rest wait their turn */

/* One step of a handshake on its way through a work tile. The channel and `in` are the job's until
 * it is home. */
struct handshake {
    struct secure *secure;
    const uint8_t *in;
    uint32_t in_bytes;
    uint32_t used; /* of in */
    uint32_t out_bytes;
    int32_t result; /* of secure_step */
    uint8_t out[SECURE_HANDSHAKE_OUT_MAX];
};
/* Runs the step. Thread: the work tile that has the job. Cost: 0.1 to 0.6 ms. */
void handshake_run(struct handshake *handshake);

struct swarm {
    /* set at boot */
    struct net *net;
    const struct secure_self *self;
    uint32_t peers_max, shaking_max;
    uint64_t salt;

    /* owner only */
    struct pool peers, streams, handshakes, dials;
    struct client *client; /* what we fetch */
    struct ledger ledger;
    struct guard guard;
    struct secure_memory memory;
    uint64_t record_bytes;                    /* taken for records in parts */
    uint64_t early_bytes;                     /* taken for handshakes in progress */
    struct peer *shaking_head, *shaking_tail; /* handshakes in progress, oldest first */
    uint32_t shaking;
    uint32_t identifies;                      /* identify messages being read: each has a buffer */
    uint64_t arrivals_seen[LAYOUT_CORES_MAX]; /* cursor per work tile */
    struct key arriving_key;                  /* more peers wait for it than one turn wakes */
    bool arriving;
    bool shake_limited;    /* requests were served in the last window */
    int64_t shake_left_ns; /* of work tiles' time, for handshakes */
    uint64_t shake_seen_ns, shake_light;

    /* written here, read elsewhere */
    struct swarm_counters counters;
    _Atomic uint32_t waiting; /* wants that wait for a block: work tiles ring only if there are */
};

/* Bytes of region; 0 peers make it small. */
size_t swarm_footprint(const struct settings *settings, uint32_t net_count);
/* Carves it from the core's region and hangs it on the tile. Returns: 0 or -errno. Thread: boot. */
must_check int swarm_open(struct net *net, const struct settings *settings, uint32_t net_count);

/* A connection of a Bitswap listener becomes a peer. Returns: false: no room, refuse it. */
must_check bool swarm_accept(struct swarm *swarm, struct conn *conn,
                             const struct sockaddr *address);
/* One that we made becomes a peer, who must be `expected` (count 0: anybody). */
must_check bool swarm_dialled(struct swarm *swarm, struct conn *conn,
                              const struct sockaddr *address, const struct peer_id *expected);
/* Reads bytes of a peer. Returns: false if it had to stop (it has seen to its going on); *ret_used
 * says where. */
bool swarm_read(struct swarm *swarm, struct conn *conn, const uint8_t *bytes, uint32_t count,
                uint32_t *ret_used);
/* It has wasted much: it gets one receive buffer at a time, so that it holds none while it waits.
 */
bool swarm_is_tiresome(const struct conn *conn);
/* The connection was held back or may go on sending: what waits is looked at again. */
void swarm_resume(struct swarm *swarm, struct conn *conn);
/* Everything owed goes into records and onto the connection's output. Before its send. */
void swarm_flush(struct swarm *swarm, struct conn *conn);
/* Estimated cost of its next want, by what its last ones took to look up, encrypt and send. */
uint32_t swarm_cost_ns(const struct conn *conn);
/* Its output moved. Returns: whether something of it was held back until then. */
bool swarm_sent(struct conn *conn);
/* Is more to be said once a send is done? */
bool swarm_has_output(const struct conn *conn);
/* A light GET of a peer: `find` is done. Takes the lease and the job, or passes the job on. */
void swarm_answer(struct swarm *swarm, struct job *job, struct find *find, uint64_t now_ns);
/* A GET that the policy shed or that expired, or whose connection's output is full: the want goes
 * back in line. Takes the job. pause: not at once. */
void swarm_postpone(struct swarm *swarm, struct job *job, bool pause);
/* A job of a peer came home. Takes it. */
void swarm_home(struct swarm *swarm, struct job *job, uint64_t now_ns);
/* A job of a connection that is closing came home: its handshake slot is free again. */
void swarm_drop(struct swarm *swarm, struct job *job);
/* The handshake proved who the peer is. */
void swarm_proven(struct swarm *swarm, struct peer *peer);
/* The connection is closing: wants, streams and records go now; idempotent. */
void swarm_let_go(struct swarm *swarm, struct conn *conn);
/* No job names the connection any more. */
void swarm_free(struct swarm *swarm, struct conn *conn);

/* Our identify message to this connection. Returns: bytes. */
uint32_t swarm_identify(const struct swarm *swarm, const struct conn *conn,
                        uint8_t out[IDENTIFY_WRITE_MAX]);

/* Takes the reloadable settings over. */
void swarm_apply(struct swarm *swarm, const struct settings *settings);

/* Once a turn: blocks that arrived. Returns: whether more is left. */
bool swarm_poll(struct swarm *swarm);
/* The last word of a turn: whether its peers wait for blocks, for the work tiles to read. */
void swarm_publish(struct swarm *swarm);
bool swarm_has_input(const struct swarm *swarm);
/* The lazy tick, of the tile and of one connection. sweep returns enum conn_end to end it with, or
 * CONN_END_COUNT. */
void swarm_tick(struct swarm *swarm);
uint32_t swarm_sweep(struct swarm *swarm, struct conn *conn);
