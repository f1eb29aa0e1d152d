/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/swarm.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "tools/load/machine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define INBOX_BYTES    (256u * 1024u)
#define READS_A_TURN   4u
#define EVENTS_MAX     512
#define DIAL_LIMIT_NS  (30 * NS_PER_S)
#define DIAL_TRIES_MAX 3u
#define BACKLOG_MIN    1024u
#define BACKLOG_MAX    (1u << 20)

/* ---- memory ---- */

static uint32_t common_factor(uint32_t a, uint32_t b) {
    while (b != 0) {
        uint32_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* A walk over all blocks: none is asked for again before all others were, since servers forget a
 * want whose answer is still on its way out when the same is wanted anew. */
static void walk_init(struct swarm *swarm, struct node *node) {
    uint32_t count = swarm->catalog.count;
    node->walk_at = (uint32_t)draw_below(&swarm->draw, count);
    do {
        node->walk_stride = 1 + (uint32_t)draw_below(&swarm->draw, count);
    } while (common_factor(node->walk_stride, count) != 1);
}

static int nodes_open(struct swarm *swarm, char *why, size_t why_bytes) {
    const struct swarm_plan *plan = swarm->plan;
    swarm->count = plan->plan.conns;
    swarm->nodes = calloc(swarm->count, sizeof *swarm->nodes);
    if (swarm->nodes == NULL) {
        return err_raise(-ENOMEM);
    }
    for (uint32_t i = 0; i < swarm->count; i++) {
        struct node *node = &swarm->nodes[i];
        uint8_t seed[SECURE_SEED_BYTES];
        node->swarm = swarm;
        node->number = i;
        node->fd = -1;
        node->peer.state = PEER_DEAD;
        /* The busy ones lie evenly among the others. */
        node->active = (uint64_t)(i + 1) * plan->active / swarm->count !=
                       (uint64_t)i * plan->active / swarm->count;
        walk_init(swarm, node);
        int r = secure_seed_make(seed);
        r = r != 0 ? r : secure_self_open(seed, &node->self);
        if (r == 0 && node->active) {
            r = asks_open(&node->asks, plan->plan.depth);
        }
        if (r != 0) {
            snprintf(why, why_bytes, "identity %u of %u cannot be made: %s", i + 1, swarm->count,
                     err_text(r));
            return err_pass(r);
        }
    }
    return 0;
}

static int backlog_open(struct swarm *swarm) {
    double rate = swarm->plan->plan.rate;
    if (rate <= 0) {
        return 0;
    }
    /* One second's worth: a server that far behind is not catching up. */
    uint64_t room = rate > BACKLOG_MAX ? BACKLOG_MAX : (uint64_t)rate;
    room = power_of_two_above(max_u64(room, BACKLOG_MIN));
    swarm->backlog.due = calloc(room, sizeof(uint64_t));
    swarm->backlog.mask = (uint32_t)room - 1;
    return swarm->backlog.due != NULL ? 0 : err_raise(-ENOMEM);
}

int swarm_open(struct swarm *swarm, const struct swarm_plan *plan, const struct content *content,
               char *why, size_t why_bytes) {
    *swarm = (struct swarm){.plan = plan, .stopping = true, .epoll = -1, .from_ns = UINT64_MAX};
    swarm->dial_limit = plan->dialing;
    swarm->draw.state = draw_mix(plan->plan.seed * 977);
    swarm->host.agent = "millrace-load";
    swarm->host.window_max = 16u << 20;
    client_hooks(swarm);
    int r = content != NULL ? catalog_open(&swarm->catalog, content)
                            : catalog_read(&swarm->catalog, plan->cids, why, why_bytes);
    if (r != 0) {
        return err_pass(r);
    }
    if (plan->plan.zipf_s > 0) {
        zipf_init(&swarm->zipf, swarm->catalog.count, plan->plan.zipf_s);
    }
    r = machine_files(plan->plan.conns, why, why_bytes);
    r = r != 0 ? r : peer_host_open(&swarm->host);
    swarm->inbox = malloc(INBOX_BYTES);
    r = r != 0 ? r : swarm->inbox == NULL ? -ENOMEM : 0;
    r = r != 0 ? r : backlog_open(swarm);
    swarm->epoll = epoll_create1(EPOLL_CLOEXEC);
    r = r != 0 ? r : swarm->epoll < 0 ? -errno : 0;
    return err_pass(r != 0 ? r : nodes_open(swarm, why, why_bytes));
}

void swarm_close(struct swarm *swarm) {
    for (uint32_t i = 0; swarm->nodes != NULL && i < swarm->count; i++) {
        struct node *node = &swarm->nodes[i];
        if (node->fd >= 0) {
            close(node->fd);
        }
        peer_fini(&node->peer);
        secure_self_close(node->self);
        asks_close(&node->asks);
        if (node->extra_end) {
            node->extra_end(node->extra);
        }
        free(node->extra);
        bytes_free(&node->unsent);
    }
    if (swarm->epoll >= 0) {
        close(swarm->epoll);
    }
    peer_host_close(&swarm->host);
    letter_close(&swarm->letter);
    letter_close(&swarm->regrets);
    catalog_close(&swarm->catalog);
    free(swarm->nodes);
    free(swarm->inbox);
    free(swarm->backlog.due);
}

/* ---- sockets ---- */

static void interest(struct swarm *swarm, struct node *node, int op) {
    struct epoll_event event = {.data.ptr = node,
                                .events = (node->deaf ? 0 : (uint32_t)EPOLLIN) |
                                          (node->writing ? (uint32_t)EPOLLOUT : 0)};
    must(epoll_ctl(swarm->epoll, op, node->fd, &event) == 0);
}

static void writing_set(struct swarm *swarm, struct node *node, bool writing) {
    if (node->writing != writing) {
        node->writing = writing;
        interest(swarm, node, EPOLL_CTL_MOD);
    }
}

void swarm_deafen(struct swarm *swarm, struct node *node) {
    if (!node->deaf && node->fd >= 0) {
        node->deaf = true;
        interest(swarm, node, EPOLL_CTL_MOD);
    }
}

static int node_socket(const struct swarm *swarm, struct node *node) {
    const struct plan *plan = &swarm->plan->plan;
    int one = 1;
    node->fd = socket(plan->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (node->fd < 0) {
        return err_raise(-errno);
    }
    (void)setsockopt(node->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (plan->sources > 1 && plan->to.ss_family == AF_INET) {
        struct sockaddr_in from = {.sin_family = AF_INET,
                                   .sin_addr.s_addr =
                                       htonl(INADDR_LOOPBACK + node->number % plan->sources)};
        (void)setsockopt(node->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(node->fd, (struct sockaddr *)&from, sizeof from) != 0) {
            return err_raise(-errno);
        }
    }
    if (connect(node->fd, (const struct sockaddr *)&plan->to, plan->to_bytes) != 0 &&
        errno != EINPROGRESS) {
        return err_raise(-errno);
    }
    return 0;
}

void swarm_dial_again(struct swarm *swarm, struct node *node) {
    node->dial_next = swarm->dial_head;
    swarm->dial_head = node;
}

static void dial(struct swarm *swarm, struct node *node) {
    const struct peer_id *expected = &swarm->plan->expected;
    peer_fini(&node->peer);
    peer_init(&node->peer, &swarm->host, node->self, expected->count > 0 ? expected : NULL,
              swarm->plan->security, true);
    node->unsent.used = node->unsent.sent = 0;
    node->dialled_ns = swarm->now_ns;
    node->connected = node->deaf = node->settled = false;
    node->tries++;
    node->step = node->due_ns = 0;
    swarm->dials++;
    swarm->dialling++;
    swarm->alive++;
    swarm->active_alive += node->active;
    int r = node_socket(swarm, node);
    node->writing = true;
    if (swarm->on_dial != NULL) {
        swarm->on_dial(swarm, node);
    }
    if (r == 0) {
        interest(swarm, node, EPOLL_CTL_ADD);
    } else {
        peer_fail(&node->peer, err_text(r));
        swarm_drop(swarm, node, false);
    }
}

void swarm_drop(struct swarm *swarm, struct node *node, bool hard) {
    struct linger linger = {.l_onoff = 1};
    if (node->fd >= 0) {
        if (hard) {
            (void)setsockopt(node->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
        }
        close(node->fd);
        node->fd = -1;
    }
    swarm->alive--;
    swarm->active_alive -= node->active;
    node->due_ns = 0;
    peer_fail(&node->peer, "closed");
    if (node->settled) {
        swarm->lost++;
        client_lost(swarm, node);
        return;
    }
    swarm->dialling--;
    if (swarm->plan->attack == NULL && node->tries < DIAL_TRIES_MAX) {
        swarm_dial_again(swarm, node);
    }
}

static void node_broken(struct swarm *swarm, struct node *node) {
    if (swarm->plan->attack == NULL) {
        swarm_fault(swarm, node->settled ? "a peer was lost" : "a dial failed", node->peer.why);
    }
    swarm_drop(swarm, node, false);
}

void swarm_flush(struct swarm *swarm, struct node *node) {
    while (node->fd >= 0 && node->connected) {
        const uint8_t *from = node->unsent.at + node->unsent.sent;
        size_t count = bytes_left(&node->unsent);
        bool old = count > 0;
        if (!old) {
            count = peer_write(&node->peer, &from);
        }
        if (count == 0) {
            writing_set(swarm, node, false);
            return;
        }
        ssize_t sent = send(node->fd, from, count, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN) {
            peer_fail(&node->peer, err_text(-errno));
            return;
        }
        size_t taken = sent > 0 ? (size_t)sent : 0;
        swarm->sent_bytes += taken;
        if (old) {
            node->unsent.sent += (uint32_t)taken;
        } else {
            bytes_add(&node->unsent, from + taken, count - taken);
        }
        if (taken < count) {
            writing_set(swarm, node, true);
            return;
        }
    }
}

/* ---- a turn ---- */

static void node_read(struct swarm *swarm, struct node *node) {
    for (uint32_t reads = 0; reads < READS_A_TURN && node->peer.state != PEER_DEAD; reads++) {
        ssize_t got = recv(node->fd, swarm->inbox, INBOX_BYTES, 0);
        if (got > 0) {
            peer_feed(&node->peer, swarm->inbox, (size_t)got);
        } else if (got == 0) {
            peer_fail(&node->peer, "the server closed the connection");
        } else if (errno != EAGAIN) {
            peer_fail(&node->peer, err_text(-errno));
        }
        if (got < (ssize_t)INBOX_BYTES) {
            return;
        }
    }
}

static void node_connected(struct node *node) {
    int error = 0;
    socklen_t bytes = sizeof error;
    (void)getsockopt(node->fd, SOL_SOCKET, SO_ERROR, &error, &bytes);
    if (error != 0) {
        peer_fail(&node->peer, err_text(-error));
    } else {
        node->connected = true;
    }
}

static void node_event(struct swarm *swarm, struct node *node, uint32_t events) {
    if (!node->connected) {
        node_connected(node);
    }
    if (events & (uint32_t)(EPOLLIN | EPOLLHUP | EPOLLERR)) {
        node_read(swarm, node);
    }
    if (node->peer.state == PEER_READY && !node->settled) {
        node->settled = true;
        swarm->dialling--;
        swarm->settled++;
        hist_record(&swarm->handshake, swarm->now_ns - node->dialled_ns, 1);
    }
    if (node->touched) {
        client_refill(swarm, node);
    }
    swarm_flush(swarm, node);
    if (node->peer.state == PEER_DEAD && node->fd >= 0) {
        node_broken(swarm, node);
    }
}

static void dial_some(struct swarm *swarm) {
    while (swarm->dial_head != NULL && swarm->dialling < swarm->dial_limit) {
        struct node *node = swarm->dial_head;
        swarm->dial_head = node->dial_next;
        dial(swarm, node);
    }
}

void swarm_turn(struct swarm *swarm, uint64_t until_ns) {
    struct epoll_event events[EVENTS_MAX];
    uint64_t next_ns = min_u64(until_ns, client_next_ns(swarm));
    swarm->now_ns = swarm->host.now_ns = clock_ns();
    dial_some(swarm);
    uint64_t wait_ns = next_ns > swarm->now_ns ? next_ns - swarm->now_ns : 0;
    struct timespec wait = {.tv_sec = (time_t)(wait_ns / NS_PER_S),
                            .tv_nsec = (long)(wait_ns % NS_PER_S)};
    int count = epoll_pwait2(swarm->epoll, events, EVENTS_MAX, &wait, NULL);
    for (int i = 0; i < count; i++) {
        swarm->now_ns = swarm->host.now_ns = clock_ns();
        struct node *node = events[i].data.ptr;
        if (node->fd >= 0) {
            node_event(swarm, node, events[i].events);
        }
    }
    client_turn(swarm);
}

static void dials_expire(struct swarm *swarm) {
    for (uint32_t i = 0; i < swarm->count; i++) {
        struct node *node = &swarm->nodes[i];
        if (node->fd >= 0 && !node->settled && node->dialled_ns + DIAL_LIMIT_NS < swarm->now_ns) {
            peer_fail(&node->peer, "the handshake took too long");
            node_broken(swarm, node);
        }
    }
}

void swarm_dial_all(struct swarm *swarm) {
    for (uint32_t i = swarm->count; i > 0; i--) {
        swarm_dial_again(swarm, &swarm->nodes[i - 1]);
    }
}

int swarm_dial(struct swarm *swarm, char *why, size_t why_bytes) {
    uint64_t swept_ns = clock_ns();
    swarm->now_ns = swept_ns;
    swarm_dial_all(swarm);
    while (swarm->dialling > 0 || swarm->dial_head != NULL) {
        swarm_turn(swarm, clock_ns() + NS_PER_S);
        if (swarm->now_ns - swept_ns > NS_PER_S) {
            dials_expire(swarm);
            swept_ns = swarm->now_ns;
        }
    }
    if (swarm->settled < swarm->count) {
        snprintf(why, why_bytes, "%u of %u peers could not connect to %s: %s",
                 swarm->count - swarm->settled, swarm->count, swarm->plan->plan.to_text,
                 swarm->fault);
        return err_raise(-ECONNABORTED);
    }
    return 0;
}
