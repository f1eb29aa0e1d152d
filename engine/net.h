/* SPDX-License-Identifier: MIT */
#pragma once

/* net — the tile that owns connections: reads requests, answers the light ones on its own core,
 * sends the heavy ones to the scheduler, and writes every reply.
 *
 *   receive ─► tlv_reader ─► job ─► light: policy ─► store_find ─► reply        (never leaves the
 * core) └──► heavy: batch ─► class ring ··· done ring ─► reply
 *
 * While the policy is empty and all that arrives is of one class there is nothing to decide: GETs
 * are then answered as they are read, for up to one quantum a turn; the next class to appear finds
 * them in the policy like any other. Light: GET of a block in memory, HAVE, PING. Heavy: a GET that
 * missed memory, PUT, DELETE, VERIFY. LIST and STAT go to the helper. The policy's turn is bounded
 * by estimated cost only while two classes wait, so shares hold without costing throughput where
 * one class is alone.
 *
 * Bounds: connections, jobs (each class has a share of its own), receive buffers per class, output
 * per connection, upload bytes; each has a counter that says when it was met.
 * Files: net.c (set-up and turn), net_conn.c (connections), net_request.c (bytes to jobs),
 * net_reply.c (results to bytes), net_send.c (bytes to the kernel). Thread: its core's. */

#include "base/base.h"
#include "base/counter.h"
#include "base/hist.h"
#include "engine/budget.h"
#include "engine/conn.h"
#include "engine/core.h"
#include "engine/loan.h"
#include "engine/mesh.h"
#include "engine/sched.h"
#include "engine/settings.h"
#include "proto/libp2p/peer_id.h"
#include "store/store.h"

struct swarm;

#include <sys/socket.h>
#include <sys/uio.h>

#define NET_LIGHT_GROUP 64u /* light jobs looked up together */

#define NET_COUNTERS(X)                                                                       \
    X(connections, "connections", "open now")                                                 \
    X(accepts, "connections", "accepted")                                                     \
    X(closes, "connections", "closed")                                                        \
    X(refused_connections, "connections", "turned away: the limit of connections is reached") \
    X(no_descriptors, "connections", "turned away: the process has no descriptor left")       \
    X(end_peer, "connections", "ended by the peer")                                           \
    X(end_error, "connections", "ended by a socket error")                                    \
    X(end_protocol, "connections", "ended by us: the peer broke the protocol")                \
    X(stalled_closes, "connections", "ended by us: the peer did not take its replies")        \
    X(idle_closes, "connections", "ended by us: idle too long")                               \
    X(drain_closes, "connections", "ended by us: shutting down")                              \
    X(requests, "requests", "frames read")                                                    \
    X(light, "requests", "answered on this core")                                             \
    X(direct, "requests", "of those, answered as they were read: no other class was there")   \
    X(heavy, "requests", "sent through the scheduler")                                        \
    X(helped, "requests", "sent to the helper")                                               \
    X(bytes_in, "bytes", "received")                                                          \
    X(bytes_out, "bytes", "sent")                                                             \
    X(sends, "calls", "send operations")                                                      \
    X(leased_sends, "replies", "bodies sent from their frame without a copy")                 \
    X(file_sends, "calls", "direct system calls (sendfile) that sent bodies from the memfd")  \
    X(file_bytes, "bytes", "sent by them")                                                    \
    X(file_fallbacks, "bodies", "of them, ended by plain sends: the socket was full")         \
    X(direct_sends, "calls", "direct system calls (send) for the heads of such bodies")       \
    X(zero_sends, "calls", "send operations without a copy (SEND_ZC)")                        \
    X(zero_bytes, "bytes", "sent by them")                                                    \
    X(zero_copied, "calls", "of them, the kernel copied all the same")                        \
    X(zero_fallbacks, "bodies", "sent plainly: refused by the kernel, or too much was lent")  \
    X(zero_lent, "bytes", "of frames that the kernel may still read for such sends, now")     \
    X(bad_frames, "frames", "that ended their connection")                                    \
    X(busy, "replies", "BUSY: shed by the policy or over a limit")                            \
    X(over_credits, "replies", "of those, beyond the connection's credits")                   \
    X(no_jobs, "waits", "a connection waited for a free job")                                 \
    X(no_room, "waits", "answers waited for output memory")                                   \
    X(deferred, "requests", "put aside because their connection takes its replies slowly")    \
    X(starved, "waits", "receives stopped because a class's buffers were all in use")         \
    X(slow_stops, "stops", "receives stopped because the connection holds too much")          \
    X(no_body_memory, "replies", "BUSY: upload memory is full")                               \
    X(jobs_used, "jobs", "in flight now")                                                     \
    X(jobs_peak, "jobs", "most in flight ever")
COUNTER_STRUCT(net, NET_COUNTERS);

/* Stamps of one finished request, for `millrace why`; relaxed words, good enough to read. */
struct net_trace {
    _Atomic uint64_t arrived_ns, replied_ns;
    _Atomic uint32_t queued_ns, started_ns, finished_ns;
    _Atomic uint32_t kind, class, work; /* work: core index, UINT32_MAX for light */
};

struct net {
    /* set at boot */
    struct core *core;
    struct engine *engine;
    struct store *store;
    struct mesh *mesh;
    const struct settings *settings; /* the published one; swapped by reload between turns */
    uint32_t credits;
    uint32_t output_bytes_max;
    uint32_t block_bytes_max;
    uint64_t body_bytes_max;
    bool acceptor; /* this tile listens and spreads connections by count */

    /* owner only */
    struct pool conns;
    struct pool jobs;
    struct pool batches;
    struct out_pools outs;
    struct loans loans;
    struct sched *light;
    struct swarm *swarm; /* its libp2p peers */
    struct conn_input *inputs[IO_GROUPS];
    struct conn *waiting_head, *waiting_tail;
    struct conn *dirty;
    struct conn *starved[IO_GROUPS], *starved_tail[IO_GROUPS]; /* first come, first served */
    struct batch *open[CLASS_COUNT];
    struct job *direct[NET_LIGHT_GROUP]; /* GETs of one class that found the policy empty */
    uint32_t direct_count;
    uint64_t direct_ns;                     /* estimated cost of those answered in this turn */
    uint64_t contended_ns;                  /* when last two classes waited at once */
    struct job_chain unpushed[CLASS_COUNT]; /* heavy jobs for which no container was free */
    struct job_chain unhelped;
    struct job *spare_job; /* the parser fills it: one beside all shares, so that a frame can always
                              be read */
    uint32_t jobs_max;     /* without it */
    uint64_t flow_salt;    /* a peer cannot choose whom it shares a flow with */
    uint32_t class_jobs[CLASS_COUNT];
    uint32_t shared_jobs;             /* beyond the classes' own shares */
    uint64_t body_bytes[CLASS_COUNT]; /* in upload bodies: a share of its own each, as jobs */
    uint64_t shared_body_bytes;       /* beyond those shares */
    struct job *unwritten;   /* finished, but no output memory was free: their replies come first */
    uint32_t unwritten_work; /* the work tile they came from */
    uint32_t sweep;          /* next connection slot the lazy tick looks at */
    uint64_t assigned[LAYOUT_CORES_MAX]; /* acceptor: connections given to each core, ever */
    int spare_fd;      /* acceptor: closed to accept-and-refuse when descriptors run out */
    bool accept_again; /* acceptor: accepting stopped; try at the next tick */
    bool wake;         /* something on the waiting list can go on */
    bool draining;
    struct iovec *iovecs;
    struct msghdr *messages;
    uint32_t iovecs_used, messages_used;

    /* written here, read elsewhere */
    struct net_counters counters;
    _Atomic uint64_t closed; /* connections closed, for the acceptor's balance */
    struct hist latency[CLASS_COUNT];
    counter_t done[CLASS_COUNT];
    counter_t shed[CLASS_COUNT];
    counter_t expired[CLASS_COUNT];
    counter_t sla_misses[CLASS_COUNT];
    counter_t ring_full[CLASS_COUNT]; /* a batch found its class ring full and waited a turn */
    counter_t queued[CLASS_COUNT];    /* light backlog, at the last tick */
    struct net_trace last_light, last_heavy;
};

/* Bytes of region the tile carves. */
size_t net_footprint(const struct settings *settings, const struct budget_sizes *budget,
                     uint32_t net_count);
/* Carves and readies the tile. Returns: 0 or -errno. Thread: boot. */
must_check int net_open(struct net *net, struct core *core, const struct settings *settings,
                        bool acceptor);
void net_close(struct net *net);
/* Takes the reloadable settings over. Thread: boot, or own between turns. */
void net_apply(struct net *net, const struct settings *settings);
/* Begins listening (acceptor). Thread: own, first turn. */
void net_start(struct net *net);

/* One event of the core's ring. */
void net_event(struct net *net, const struct io_event *event);
/* Answers what is light, pushes what is heavy. Returns: whether backlog is left for another turn.
 */
bool net_poll(struct net *net);
/* Takes finished jobs home and writes their replies. Returns: how many. */
uint32_t net_collect(struct net *net);
/* Makes and prepares the sends of this turn. Returns: whether some must wait for the next. */
bool net_flush(struct net *net);
/* Input from other tiles waits: part of the last look before parking. */
bool net_has_input(const struct net *net);
/* The lazy tick: timeouts, accept again, published numbers. */
void net_tick(struct net *net);
/* Stops accepting; connections end as they fall quiet. hard: at once. */
void net_drain(struct net *net, bool hard);
bool net_drained(const struct net *net);
/* The connection an event of the ring names. */
struct conn *net_conn_of(struct net *net, const struct io_event *event);

/* ---- between the tile's own files ---------------------------------------------------------------
 */

/* net_request.c */
void net_parse(struct net *net, struct conn *conn);
void net_job_give(struct net *net, struct job *job);
/* A job of this connection (NULL: of nobody's, see client.h) and class, filled but for its kind and
 * what that needs. Returns: NULL: the class has none left. */
struct job *net_job_take(struct net *net, struct conn *conn, enum job_class class);
/* Counts a finished request and gives its job back. */
void net_finish(struct net *net, struct job *job, uint64_t replied_ns);
void net_push_heavy(struct net *net, struct job *job);
void net_push_light(struct net *net, struct job *job);
void net_body_free(struct net *net, struct job *job);
/* Counts the shares anew after their size changed. */
void net_body_shares(struct net *net);
/* Returns: whether some found no container or a full ring: the scheduler empties both soon. */
bool net_flush_heavy(struct net *net);

/* net_reply.c */
void net_answer_light(struct net *net, struct sched_pick picks[], uint32_t count);
/* Answers the GETs in net->direct. */
void net_answer_direct(struct net *net);
/* Output memory for a whole group of answers. */
bool net_has_room(struct net *net);
/* The connection takes its replies too slowly to be given more. */
static inline bool net_output_full(const struct net *net, const struct conn *conn) {
    return conn_output_full(&net->outs, conn, net->output_bytes_max);
}
/* Writes the reply of a finished job and gives the job back; false: no room, nothing was done. */
bool net_reply(struct net *net, struct job *job, uint32_t work, uint64_t now_ns);
void net_reply_fault(struct net *net, struct conn *conn, uint32_t id, enum tlv_code code,
                     const char *text);
void net_reply_busy(struct net *net, struct conn *conn, uint32_t id, enum job_class class);

/* net_send.c */
size_t net_send_footprint(void);
void net_send_open(struct net *net);
void net_on_send(struct net *net, const struct io_event *event);
void net_on_zero(struct net *net, const struct io_event *event);
void net_on_zero_done(struct net *net, const struct io_event *event);
/* How a leased part of this size is to leave; counts it as a send of its frame. */
enum out_way net_way(const struct net *net, const struct conn *conn, struct frame *frame,
                     uint32_t bytes);

/* net_conn.c */
void net_on_accept(struct net *net, const struct io_event *event);
void net_conn_open(struct net *net, int fd, uint32_t listener);
/* A connection that we made. expected: who must answer; count 0: anybody. Returns: NULL: no room,
 * or draining: the descriptor is the caller's still. */
must_check struct conn *net_conn_dialled(struct net *net, int fd, const struct peer_id *expected);
/* Frees a closing connection once nothing names it. */
void net_conn_try_free(struct net *net, struct conn *conn);
void net_conn_end(struct net *net, struct conn *conn, enum conn_end end);
void net_conn_dirty(struct net *net, struct conn *conn);
/* Looks at the connection again in the next turn (wait: which comes at once; stall: whenever it
 * comes). */
void net_conn_wait(struct net *net, struct conn *conn);
void net_conn_stall(struct net *net, struct conn *conn);
void net_conn_receive(struct net *net, struct conn *conn);
/* Prepares the receive itself; starve: puts the connection in line for a buffer of its group. */
void net_conn_arm(struct net *net, struct conn *conn);
void net_conn_starve(struct net *net, struct conn *conn);
void net_conn_stop_receive(struct net *net, struct conn *conn);
