/* SPDX-License-Identifier: MIT */
#include "engine/swarm/dial.h"

#include "base/err.h"
#include "base/must.h"
#include "engine/net.h"
#include "engine/swarm/client.h"
#include "engine/swarm/peer.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

static socklen_t address_bytes(const struct sockaddr_storage *address) {
    return address->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static void finish(struct dial *dial, struct peer *peer) {
    struct net *net = dial->net;
    if (peer) {
        peer->dial = NULL;
    } else {
        counter_add(&net->swarm->client->counters.dials_failed, 1);
    }
    if (!dial->cancelled) {
        dial->done(dial->context, dial, peer);
    }
    pool_put(&net->swarm->dials, dial);
}

static void set_option(int fd, int level, int name, int value) {
    (void)setsockopt(fd, level, name, &value, sizeof value); /* each is a help, none a need */
}

/* Tries the next address that a socket can be made for. Returns: false: there is none. */
static bool try_next(struct dial *dial) {
    struct net *net = dial->net;
    while (dial->at < dial->target.count) {
        const struct sockaddr_storage *address = &dial->target.addresses[dial->at];
        dial->fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (dial->fd >= 0) {
            uint32_t slot = pool_index(&net->swarm->dials, dial);
            set_option(dial->fd, IPPROTO_TCP, TCP_NODELAY, 1);
            set_option(dial->fd, SOL_SOCKET, SO_KEEPALIVE, 1);
            dial->state = DIAL_CONNECTING;
            dial->deadline_ns = net->core->now_ns + DIAL_NS;
            io_connect(&net->core->io, dial->fd, slot, pool_generation(&net->swarm->dials, slot),
                       (const struct sockaddr *)(const void *)address, address_bytes(address));
            return true;
        }
        dial->why = err_text(-errno);
        dial->at++;
    }
    return false;
}

struct dial *dial_begin(struct net *net, const struct dial_target *target,
                        void (*done)(void *context, struct dial *dial, struct peer *peer),
                        void *context) {
    struct dial *dial = net->draining ? NULL : pool_get(&net->swarm->dials);
    if (!dial) {
        return NULL;
    }
    *dial = (struct dial){
        .net = net, .fd = -1, .done = done, .context = context, .target = *target, .why = ""};
    counter_add(&net->swarm->client->counters.dials, 1);
    if (!try_next(dial)) {
        counter_add(&net->swarm->client->counters.dials_failed, 1);
        pool_put(&net->swarm->dials, dial);
        return NULL;
    }
    return dial;
}

void dial_cancel(struct dial *dial) {
    struct net *net = dial->net;
    dial->cancelled = true;
    if (dial->state == DIAL_CONNECTING) {
        uint32_t slot = pool_index(&net->swarm->dials, dial);
        io_cancel_connect(&net->core->io, slot, pool_generation(&net->swarm->dials, slot));
    } else {
        peer_end(dial->peer, CONN_END_ERROR); /* dial_lost frees it */
    }
}

static void next_or_over(struct dial *dial) {
    dial->at++;
    if (dial->cancelled || !try_next(dial)) {
        finish(dial, NULL);
    }
}

void dial_event(struct net *net, const struct io_event *event) {
    struct dial *dial = pool_at(&net->swarm->dials, event->slot);
    must((pool_generation(&net->swarm->dials, event->slot) & 0xffffffu) == event->generation);
    must(dial->state == DIAL_CONNECTING);
    struct conn *conn = NULL;
    if (event->result == 0 && !dial->cancelled) {
        conn = net_conn_dialled(net, dial->fd, &dial->target.peer);
        dial->why = conn ? "" : "no room for another connection";
    } else {
        dial->why = event->result == -ECANCELED ? "no answer in time" : err_text(event->result);
    }
    if (!conn) {
        close(dial->fd);
        dial->fd = -1;
        next_or_over(dial);
        return;
    }
    dial->fd = -1; /* the connection's */
    dial->state = DIAL_SHAKING;
    if (dial->phase) {
        atomic_store_explicit(dial->phase, DIAL_SHAKING, memory_order_relaxed);
    }
    dial->peer = conn->peer;
    conn->peer->dial = dial;
}

void dial_tick(struct net *net) {
    struct pool *dials = &net->swarm->dials;
    for (uint32_t i = 0; pool_used(dials) > 0 && i < dials->slots_max; i++) {
        struct dial *dial = pool_at(dials, i);
        if (pool_find(dials, i, pool_generation(dials, i)) && dial->state == DIAL_CONNECTING &&
            net->core->now_ns > dial->deadline_ns) {
            dial->deadline_ns = UINT64_MAX;
            io_cancel_connect(&net->core->io, i, pool_generation(dials, i));
        }
    }
}

void dial_opened(struct peer *peer) {
    finish(peer->dial, peer);
}

void dial_lost(struct peer *peer, const char *why) {
    struct dial *dial = peer->dial;
    bool mine = peer->secure && !peer->step; /* else a work tile has it */
    const struct peer_id *stranger = mine ? secure_stranger(peer->secure) : NULL;
    peer->dial = NULL;
    dial->why = why;
    if (stranger) {
        char id[PEER_ID_TEXT_MAX];
        peer_id_format(stranger, id);
        (void)snprintf(dial->words, sizeof dial->words, "%s: it is %s", why, id);
        dial->why = dial->words;
    }
    next_or_over(dial);
}
