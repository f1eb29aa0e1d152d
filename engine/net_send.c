/* SPDX-License-Identifier: MIT */
/* net_send — the bytes a connection owes go to the kernel.
 *
 *   plain  one ring operation of many pieces, which copies
 *   file   sendfile, a direct call: for bodies in the memfd whose frame was sent often enough that
 *          the holes it costs later pay; their heads go by a direct call before it
 *   zero   a ring operation that does not copy, for large bodies to other hosts; the frame is lent
 *          until the kernel notifies, which nobody waits for
 *
 * A connection has one operation out at a time, so replies never reorder. What cannot go the way it
 * was meant to goes plain, and a counter says so. */
#include "engine/net.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/swarm/client.h"
#include "engine/swarm/swarm.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <sys/socket.h>

#define NET_IOVECS         4096u
#define NET_MESSAGES       512u
#define NET_SEND_PIECES    64u            /* iovecs of one send */
#define NET_SEND_BYTES     (1024u * 1024) /* of one send, about */
#define NET_WAIT_ALL_BYTES (64u * 1024)   /* up to here one send operation delivers everything */
#define NET_FILE_SENDS     16u            /* of a frame, before sendfile pays for its holes */

/* ---- set-up --------------------------------------------------------------------------------- */

size_t net_send_footprint(void) {
    size_t sum = mem_need(0, NET_IOVECS * sizeof(struct iovec), CACHE_PAIR);
    sum = mem_need(sum, NET_MESSAGES * sizeof(struct msghdr), CACHE_PAIR);
    return mem_need(sum, loans_footprint(), CACHE_PAIR);
}

void net_send_open(struct net *net) {
    struct mem_region *region = &net->core->region;
    net->iovecs = mem_carve(region, NET_IOVECS * sizeof(struct iovec), CACHE_PAIR);
    net->messages = mem_carve(region, NET_MESSAGES * sizeof(struct msghdr), CACHE_PAIR);
    loans_init(&net->loans, mem_carve(region, loans_footprint(), CACHE_PAIR));
}

enum out_way net_way(const struct net *net, const struct conn *conn, struct frame *frame,
                     uint32_t bytes) {
    uint32_t sends = frame_count_send(frame);
    if (unlikely(store_rung(net->store) >= LADDER_COPIES)) {
        return OUT_PLAIN;
    }
    if (sends >= NET_FILE_SENDS && bytes >= CORE_FILED_BYTES) {
        return OUT_FILE;
    }
    uint64_t least = net->settings->net_zero_copy_bytes;
    return conn->far && least != 0 && bytes >= least ? OUT_ZERO : OUT_PLAIN;
}

/* ---- what came of a send -------------------------------------------------------------------- */

/* `count` bytes of the output are the kernel's. */
static void took(struct net *net, struct conn *conn, uint32_t count) {
    conn_sent(&net->outs, conn, count);
    counter_add(&net->counters.bytes_out, count);
    conn->progress_ns = net->core->now_ns;
    if (conn->out_head || (conn->peer && swarm_has_output(conn))) {
        net_conn_dirty(net, conn);
    }
    /* Only those that were held back, or are about to end, have anything to do now. */
    bool held_back = conn->peer ? swarm_sent(conn) : conn->deferred.head != NULL;
    if (conn->state == CONN_CLOSING || held_back || conn->input_count > 0 || conn->peer_ended) {
        net_conn_wait(net, conn);
    }
}

static void completed(struct net *net, struct conn *conn, int32_t result) {
    must(conn->send_out);
    conn->send_out = false;
    conn->sending = 0;
    if (result <= 0) {
        net_conn_end(net, conn, CONN_END_ERROR);
        conn_drop_output(&net->outs, conn);
        net_conn_wait(net, conn);
        return;
    }
    took(net, conn, (uint32_t)result);
}

void net_on_send(struct net *net, const struct io_event *event) {
    completed(net, net_conn_of(net, event), event->result);
}

/* ---- without a copy ------------------------------------------------------------------------- */

static struct loan *loan_of(struct net *net, const struct io_event *event) {
    struct loan *loan = pool_find(&net->loans.pool, event->slot, event->generation);
    must(loan != NULL); /* it ends with the kernel's last word about it, and not before */
    return loan;
}

static void end_loan(struct net *net, struct loan *loan) {
    struct conn *conn = pool_find(&net->conns, loan->conn, loan->generation);
    if (conn) {
        must(conn->loans > 0);
        conn->loans--;
    }
    loan_end(&net->loans, loan);
}

void net_on_zero(struct net *net, const struct io_event *event) {
    struct loan *loan = loan_of(net, event);
    struct conn *conn = pool_at(&net->conns, loan->conn); /* in place: a send of it is out */
    int32_t result = event->result;
    if (!event->more) { /* the only word that says so: failed sends may be notified of, too */
        end_loan(net, loan);
    }
    if (result == -EOPNOTSUPP || result == -EINVAL || result == -ENOMEM || result == -ENOBUFS) {
        conn->far = false;
        counter_add(&net->counters.zero_fallbacks, 1);
        conn->send_out = false;
        conn->sending = 0;
        conn_head_plain(conn);
        net_conn_dirty(net, conn);
        if (conn->state == CONN_CLOSING) {
            net_conn_wait(net, conn);
        }
        return;
    }
    counter_add(&net->counters.zero_bytes, result > 0 ? (uint64_t)result : 0);
    completed(net, conn, result);
}

void net_on_zero_done(struct net *net, const struct io_event *event) {
    struct loan *loan = loan_of(net, event);
    if (event->result) {
        struct conn *conn = pool_find(&net->conns, loan->conn, loan->generation);
        counter_add(&net->counters.zero_copied, 1);
        if (conn) {
            conn->far = false;
        }
    }
    end_loan(net, loan);
}

/* Lends the first piece to the kernel. Returns: false: it goes plain. */
static bool send_zero(struct net *net, struct conn *conn) {
    struct out *head = conn->out_head;
    struct loan *loan = conn->far ? loan_make(&net->loans, head->frame, head->used) : NULL;
    if (!loan) {
        counter_add(&net->counters.zero_fallbacks, 1);
        conn_head_plain(conn);
        return false;
    }
    loan->conn = conn->slot;
    loan->generation = pool_generation(&net->conns, conn->slot);
    conn->loans++;
    uint32_t slot = pool_index(&net->loans.pool, loan);
    io_send_zero(&net->core->io, conn->fd, slot, pool_generation(&net->loans.pool, slot),
                 head->bytes, head->used, head->used <= NET_WAIT_ALL_BYTES);
    conn->send_out = true;
    conn->sending = head->used;
    counter_add(&net->counters.zero_sends, 1);
    return true;
}

/* ---- from the file -------------------------------------------------------------------------- */

/* The head of a body that is to go by sendfile, before it. Returns: false: not all of it went. */
static bool send_head(struct net *net, struct conn *conn) {
    const struct out *head = conn->out_head;
    uint32_t bytes = head->used;
    ssize_t n = send(conn->fd, head->bytes, bytes, MSG_DONTWAIT | MSG_NOSIGNAL | MSG_MORE);
    counter_add(&net->counters.direct_sends, 1);
    if (n > 0) {
        took(net, conn, (uint32_t)n);
    }
    return n == (ssize_t)bytes;
}

/* The first piece by sendfile. Returns: false: it, or what is left of it, goes plain, which also
 * finds out what is wrong with the socket. */
static bool send_file(struct net *net, struct conn *conn) {
    struct out *head = conn->out_head;
    uint32_t bytes = head->used;
    int file = -1;
    uint64_t offset = 0;
    ssize_t n = 0;
    if (frame_expose(head->frame, head->bytes, &file, &offset)) {
        off_t at = (off_t)offset;
        n = sendfile(conn->fd, file, &at, bytes);
        counter_add(&net->counters.file_sends, 1);
        if (n > 0) {
            counter_add(&net->counters.file_bytes, (uint64_t)n);
            took(net, conn, (uint32_t)n);
        }
    }
    if (n == (ssize_t)bytes) {
        return true;
    }
    counter_add(&net->counters.file_fallbacks, 1);
    conn_head_plain(conn);
    return false;
}

/* Sends what may go by direct calls, for as long as a turn may take. Returns: whether a plain send
 * is to follow now. */
static bool send_direct(struct net *net, struct conn *conn) {
    uint32_t sent = 0;
    while (conn->out_head && sent < NET_SEND_BYTES) {
        const struct out *head = conn->out_head;
        uint32_t bytes = head->used;
        bool leads = head->size != 0 && bytes <= OUT_SMALL_BYTES && head->next &&
                     head->next->way == OUT_FILE;
        if (head->way == OUT_FILE ? !send_file(net, conn) : !leads || !send_head(net, conn)) {
            return true;
        }
        sent += bytes;
    }
    return false;
}

/* ---- plain ---------------------------------------------------------------------------------- */

/* The pieces up to the first that is not to go plain, as one message. Returns: false if this turn
 * has no iovecs left. */
static bool send_pieces(struct net *net, struct conn *conn, uint32_t *ret_bytes) {
    if (net->iovecs_used + NET_SEND_PIECES > NET_IOVECS || net->messages_used == NET_MESSAGES) {
        return false;
    }
    struct iovec *first = &net->iovecs[net->iovecs_used];
    uint32_t pieces = 0;
    uint32_t bytes = 0;
    for (struct out *out = conn->out_head;
         out && out->way == OUT_PLAIN && pieces < NET_SEND_PIECES && bytes < NET_SEND_BYTES;
         out = out->next) {
        first[pieces++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)out->bytes, .iov_len = out->used};
        bytes += out->used;
    }
    must(pieces > 0);
    net->iovecs_used += pieces;
    struct msghdr *message = &net->messages[net->messages_used++];
    *message = (struct msghdr){.msg_iov = first, .msg_iovlen = pieces};
    io_send_message(&net->core->io, conn->fd, conn->slot, pool_generation(&net->conns, conn->slot),
                    message, bytes <= NET_WAIT_ALL_BYTES);
    *ret_bytes = bytes;
    return true;
}

static bool send_plain(struct net *net, struct conn *conn) {
    const struct out *head = conn->out_head;
    uint32_t bytes = head->used;
    if (!head->next) {
        io_send(&net->core->io, conn->fd, conn->slot, pool_generation(&net->conns, conn->slot),
                head->bytes, bytes, bytes <= NET_WAIT_ALL_BYTES);
    } else if (!send_pieces(net, conn, &bytes)) {
        return false;
    }
    conn->send_out = true;
    conn->sending = bytes;
    conn->progress_ns = net->core->now_ns; /* from here on the peer is what it waits for */
    conn->out_queued = 0;
    counter_add(&net->counters.sends, 1);
    return true;
}

/* Output of which some is not to go plain. Returns: false: more is to be sent in another turn. */
static cold_path bool send_special(struct net *net, struct conn *conn) {
    conn->progress_ns = net->core->now_ns;
    conn->out_queued = 0;
    if (!send_direct(net, conn)) {
        return !conn->out_head;
    }
    if (conn->out_head->way == OUT_ZERO && send_zero(net, conn)) {
        return true;
    }
    return send_plain(net, conn);
}

bool net_flush(struct net *net) {
    net->iovecs_used = 0;
    net->messages_used = 0;
    struct conn *conn = net->dirty;
    net->dirty = NULL;
    bool left = false;
    while (conn) {
        struct conn *next = conn->next_dirty;
        conn->dirty = false;
        if (conn->peer && !conn->send_out && conn->state != CONN_CLOSING) {
            swarm_flush(net->swarm, conn);
        }
        if (conn->out_head && !conn->send_out) {
            bool all =
                likely(conn->out_special == 0) ? send_plain(net, conn) : send_special(net, conn);
            if (!all) {
                net_conn_dirty(net, conn);
                left = true;
            }
        }
        if (conn->state == CONN_CLOSING && !conn->send_out) {
            net_conn_wait(net, conn);
        }
        conn = next;
    }
    io_publish_buffers(&net->core->io);
    left |= client_flush(net->swarm->client);
    swarm_publish(net->swarm);
    return left || net->wake;
}
