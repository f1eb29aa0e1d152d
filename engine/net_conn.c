/* SPDX-License-Identifier: MIT */
/* net_conn — the life of a connection on its net tile: accepted, given to a core, received from,
 * ended. */
#include "engine/net.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/engine_private.h"
#include "engine/swarm/swarm.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- lists ---------------------------------------------------------------------------------- */

void net_conn_stall(struct net *net, struct conn *conn) {
    if (!conn->waiting) {
        conn->waiting = true;
        conn->next_waiting = NULL;
        if (net->waiting_tail) {
            net->waiting_tail->next_waiting = conn;
        } else {
            net->waiting_head = conn;
        }
        net->waiting_tail = conn;
    }
}

void net_conn_wait(struct net *net, struct conn *conn) {
    net_conn_stall(net, conn);
    net->wake = true;
}

void net_conn_dirty(struct net *net, struct conn *conn) {
    if (!conn->dirty) {
        conn->dirty = true;
        conn->next_dirty = net->dirty;
        net->dirty = conn;
    }
}

/* ---- the life of a connection --------------------------------------------------------------- */

/* On loopback every connection is a flow of its own; else those of one /24 or /56 share one. */
static uint16_t flow_of(const struct sockaddr_storage *peer, uint32_t slot, uint64_t salt) {
    uint64_t prefix = 0;
    if (peer->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
        uint32_t address = ntohl(in->sin_addr.s_addr);
        if (address >> 24 != 127) {
            prefix = address >> 8;
        }
    } else if (peer->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)(const void *)peer;
        if (!IN6_IS_ADDR_LOOPBACK(&in->sin6_addr)) {
            prefix = get_be64(&in->sin6_addr) >> 8;
        }
    }
    uint64_t mixed = ((prefix ? prefix : slot) ^ salt) * UINT64_C(0x9e3779b97f4a7c15);
    mixed = (mixed ^ mixed >> 32) * (salt | 1);
    return (uint16_t)(mixed >> 48);
}

/* The address of a socket's end, IPv4 written as IPv6 has it. Returns: its length, 0 for others. */
static size_t address_bytes(const struct sockaddr_storage *end, uint8_t bytes[16]) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (end->ss_family == AF_INET) {
        memcpy(bytes, mapped, sizeof mapped);
        memcpy(bytes + 12, &((const struct sockaddr_in *)(const void *)end)->sin_addr, 4);
        return 16;
    }
    if (end->ss_family == AF_INET6) {
        memcpy(bytes, &((const struct sockaddr_in6 *)(const void *)end)->sin6_addr, 16);
        return 16;
    }
    return 0;
}

/* Whether what is sent there leaves the host: from loopback to loopback, and from an address of
 * ours to itself, the kernel copies whatever it was asked. */
static bool is_far(int fd, const struct sockaddr_storage *peer) {
    uint8_t theirs[16], ours[16];
    struct sockaddr_storage self = {0};
    socklen_t length = sizeof self;
    if (address_bytes(peer, theirs) == 0) {
        return false;
    }
    struct in6_addr address;
    memcpy(&address, theirs, sizeof address);
    if (IN6_IS_ADDR_LOOPBACK(&address) || (IN6_IS_ADDR_V4MAPPED(&address) && theirs[12] == 127)) {
        return false;
    }
    return getsockname(fd, (struct sockaddr *)&self, &length) == 0 &&
           address_bytes(&self, ours) > 0 && memcmp(ours, theirs, sizeof ours) != 0;
}

static bool is_bitswap(const struct net *net, uint32_t listener) {
    return net->engine->listeners[listener].address.protocol == LISTENER_BITSWAP;
}

static void refuse(struct net *net, int fd, uint32_t listener) {
    if (!is_bitswap(net, listener)) { /* a libp2p peer would not understand a word of it */
        uint8_t frame[TLV_REPLY_MAX];
        size_t used = tlv_fault(frame, 0, TLV_CODE_TOO_MANY_CONNECTIONS, NULL);
        (void)send(fd, frame, used,
                   MSG_DONTWAIT | MSG_NOSIGNAL); /* a courtesy: its loss changes nothing */
    }
    close(fd);
    counter_add(&net->counters.refused_connections, 1);
    /* Counted as closed so that the acceptor's balance stays true. */
    atomic_fetch_add_explicit(&net->closed, 1, memory_order_relaxed);
}

static void fill_conn(struct net *net, struct conn *conn, int fd, uint8_t listener, uint8_t ceiling,
                      struct sockaddr_storage *ret_peer) {
    uint32_t slot = pool_index(&net->conns, conn);
    socklen_t length = sizeof *ret_peer;
    memset(ret_peer, 0, sizeof *ret_peer);
    (void)getpeername(fd, (struct sockaddr *)ret_peer, &length); /* one already gone has no flow */
    memset(conn, 0, sizeof *conn);
    conn->fd = fd;
    conn->slot = slot;
    conn->listener = listener;
    conn->ceiling = ceiling;
    conn->class = (uint8_t)max_u32(CLASS_NORMAL, ceiling);
    conn->flow = flow_of(ret_peer, slot, net->flow_salt);
    conn->input_head = conn->input_tail = CONN_NO_BUFFER;
    conn->progress_ns = net->core->now_ns;
}

static void conn_opened(struct net *net, struct conn *conn) {
    conn_goto(conn, CONN_HELLO);
    counter_add(&net->counters.connections, 1);
    net_conn_receive(net, conn);
}

struct conn *net_conn_dialled(struct net *net, int fd, const struct peer_id *expected) {
    struct conn *conn = net->draining ? NULL : pool_get(&net->conns);
    if (!conn) {
        return NULL;
    }
    struct sockaddr_storage peer;
    fill_conn(net, conn, fd, CONN_DIALLED, CLASS_NORMAL, &peer);
    if (!swarm_dialled(net->swarm, conn, (const struct sockaddr *)&peer, expected)) {
        conn_drop_output(&net->outs, conn);
        pool_put(&net->conns, conn);
        return NULL;
    }
    conn_opened(net, conn);
    return conn;
}

void net_conn_open(struct net *net, int fd, uint32_t listener) {
    struct conn *conn = net->draining ? NULL : pool_get(&net->conns);
    if (!conn) {
        refuse(net, fd, listener);
        return;
    }
    struct sockaddr_storage peer;
    fill_conn(net, conn, fd, (uint8_t)listener,
              (uint8_t)net->engine->listeners[listener].address.ceiling, &peer);
    if (is_bitswap(net, listener)) {
        if (!swarm_accept(net->swarm, conn, (const struct sockaddr *)&peer)) {
            conn_drop_output(&net->outs, conn);
            pool_put(&net->conns, conn);
            refuse(net, fd, listener);
            return;
        }
    } else {
        tlv_reader_init(&conn->reader);
        conn->far = is_far(fd, &peer);
    }
    counter_add(&net->counters.accepts, 1);
    conn_opened(net, conn);
}

void net_conn_starve(struct net *net, struct conn *conn) {
    uint32_t group = conn->group;
    must(!conn->starved);
    conn->starved = true;
    conn->next_starved = NULL;
    if (net->starved_tail[group]) {
        net->starved_tail[group]->next_starved = conn;
    } else {
        net->starved[group] = conn;
    }
    net->starved_tail[group] = conn;
}

void net_conn_arm(struct net *net, struct conn *conn) {
    must(conn->input_count == 0 && !conn->receive_out);
    /* One buffer each while others wait for one, and while its class is not known yet. */
    bool multishot = conn->state == CONN_READY && !net->starved[conn->group] &&
                     !(conn->peer && swarm_is_tiresome(conn));
    conn->receive_out = true;
    conn->many = multishot;
    io_receive(&net->core->io, conn->fd, conn->slot, pool_generation(&net->conns, conn->slot),
               conn->group, multishot);
}

/* Arms a receive, or stands in line where others wait for a buffer of its group. */
void net_conn_receive(struct net *net, struct conn *conn) {
    if (conn->state == CONN_CLOSING || conn->receive_out || conn->cancel_out || conn->starved ||
        conn->peer_ended) {
        return;
    }
    must(conn->input_count == 0);
    conn->group = conn->state == CONN_READY ? (uint8_t)(conn->class + 1) : 0;
    conn->slow = false;
    if (net->starved[conn->group]) {
        net_conn_starve(net, conn);
    } else {
        net_conn_arm(net, conn);
    }
}

static void return_input(struct net *net, struct conn *conn) {
    while (conn->input_count > 0) {
        uint16_t buffer = conn->input_head;
        conn->input_head = net->inputs[conn->group][buffer].next;
        conn->input_count--;
        io_buffer_return(&net->core->io, conn->group, buffer);
    }
}

void net_conn_stop_receive(struct net *net, struct conn *conn) {
    if (conn->receive_out && !conn->cancel_out) {
        conn->cancel_out = true;
        io_cancel_receive(&net->core->io, conn->slot, pool_generation(&net->conns, conn->slot));
    }
}

static void count_end(struct net *net, enum conn_end end) {
    counter_t *counts[CONN_END_COUNT] = {
        [CONN_END_PEER] = &net->counters.end_peer,
        [CONN_END_ERROR] = &net->counters.end_error,
        [CONN_END_PROTOCOL] = &net->counters.end_protocol,
        [CONN_END_STALLED] = &net->counters.stalled_closes,
        [CONN_END_IDLE] = &net->counters.idle_closes,
        [CONN_END_DRAIN] = &net->counters.drain_closes,
    };
    counter_add(counts[end], 1);
}

void net_conn_end(struct net *net, struct conn *conn, enum conn_end end) {
    if (conn->state == CONN_CLOSING) {
        return;
    }
    conn_goto(conn, CONN_CLOSING);
    conn->end = (uint8_t)end;
    conn->progress_ns = net->core->now_ns;
    count_end(net, end);
    return_input(net, conn);
    if (conn->upload) { /* its body will never be whole */
        struct job *job = conn->upload;
        conn->upload = NULL;
        net_body_free(net, job);
        net_job_give(net, job);
    }
    if (end == CONN_END_ERROR || end == CONN_END_STALLED) {
        if (conn->loans > 0) { /* its close then resets: what waits in the kernel holds frames */
            const struct linger reset = {.l_onoff = 1};
            (void)setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        (void)shutdown(conn->fd, SHUT_RDWR); /* ends a send that waits for the peer */
        if (!conn->send_out) {
            conn_drop_output(&net->outs, conn);
        }
    }
    if (end != CONN_END_PROTOCOL && end != CONN_END_DRAIN) { /* those linger */
        net_conn_stop_receive(net, conn);
    }
    net_conn_wait(net, conn);
}

#define LINGER_BYTES (256u * 1024)

/* The peer may still be sending (it broke the protocol, or we are shutting down): closing now would
 * reset the connection, and our last words with it. So shut our side, and read away what comes
 * until it ends or a second passed. */
static bool linger(struct net *net, struct conn *conn) {
    bool ours = conn->end == CONN_END_PROTOCOL || conn->end == CONN_END_DRAIN;
    if (!ours || conn->peer_ended || conn->lingered > LINGER_BYTES) {
        return false; /* who goes on pouring does not listen either */
    }
    if (!conn->lingering) {
        conn->lingering = true;
        (void)shutdown(conn->fd, SHUT_WR);
    }
    if (!conn->receive_out && !conn->starved) {
        conn->receive_out = true;
        conn->many = false;
        io_receive(&net->core->io, conn->fd, conn->slot, pool_generation(&net->conns, conn->slot),
                   conn->group, false);
    }
    return true;
}

/* Frees a closing connection once nothing names it. */
void net_conn_try_free(struct net *net, struct conn *conn) {
    if (conn->peer) {
        swarm_let_go(net->swarm, conn);
    }
    while (conn->deferred.head) {
        struct job *job = job_chain_pop(&conn->deferred);
        if (job->kind == JOB_HAVE || job->kind == JOB_GET_MANY) {
            net_body_free(net, job);
        }
        net_job_give(net, job);
    }
    if (conn->out_head && !conn->send_out) {
        net_conn_dirty(net, conn); /* the last words */
    }
    /* on the waiting list: the last of the deferred put it there, and it comes by once more */
    if (conn->jobs > 0 || conn->send_out || conn->cancel_out || conn->dirty || conn->starved ||
        conn->waiting || linger(net, conn) || conn->receive_out) {
        return;
    }
    if (conn->peer) {
        swarm_free(net->swarm, conn);
    }
    io_close_fd(&net->core->io, conn->fd);
    conn->fd = -1;
    conn_goto(conn, CONN_FREE);
    pool_put(&net->conns, conn);
    counter_add(&net->counters.closes, 1);
    counter_set(&net->counters.connections, counter_get(&net->counters.connections) - 1);
    if (conn->listener != CONN_DIALLED) { /* a number for the acceptor, who never gave that one */
        atomic_fetch_add_explicit(&net->closed, 1, memory_order_relaxed);
    }
}

/* ---- accepting: one tile listens and gives each connection to the core with the fewest ------ */

/* Returns: the core with the fewest connections, and how many there are on all of them. */
static uint32_t emptiest_core(struct net *net, uint64_t *ret_all) {
    struct engine *engine = net->engine;
    uint32_t best = net->core->index;
    uint64_t best_open = UINT64_MAX;
    uint64_t all = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        struct net *other = engine->cores[i].net;
        if (other) {
            uint64_t closed = atomic_load_explicit(&other->closed, memory_order_relaxed);
            uint64_t open_now = net->assigned[i] - closed;
            all += open_now;
            if (open_now < best_open) {
                best_open = open_now;
                best = i;
            }
        }
    }
    *ret_all = all;
    return best;
}

/* Out of descriptors: give up the spare one to take the waiting connection and close it, so that
 * the peer is refused at once instead of hanging, then take the spare again. */
static void refuse_without_descriptor(struct net *net, uint32_t listener) {
    counter_add(&net->counters.no_descriptors, 1);
    if (net->spare_fd >= 0) {
        close(net->spare_fd);
        int fd =
            accept4(net->engine->listeners[listener].fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            close(fd);
        }
        net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
}

void net_on_accept(struct net *net, const struct io_event *event) {
    if (event->result >= 0) {
        uint64_t all = 0;
        uint32_t target = emptiest_core(net, &all);
        bool full = all >= net->settings->net_connections_max;
        target = full ? net->core->index : target;
        net->assigned[target]++;
        if (full) { /* pools are a little larger, since cores never have exactly the same number */
            refuse(net, event->result, event->slot);
        } else if (target == net->core->index) {
            net_conn_open(net, event->result, event->slot);
        } else {
            io_adopt(&net->core->io, io_fd(&net->engine->cores[target].io), event->result,
                     event->slot);
        }
    } else if (event->result == -EMFILE || event->result == -ENFILE) {
        refuse_without_descriptor(net, event->slot);
    }
    net->engine->listeners[event->slot].accepting = event->more;
    if (!event->more && !net->draining) {
        if (event->result >= 0 || event->result == -ECONNABORTED) {
            io_accept(&net->core->io, net->engine->listeners[event->slot].fd, event->slot);
            net->engine->listeners[event->slot].accepting = true;
        } else {
            net->accept_again = true; /* at the next tick: not in a circle */
        }
    }
}
