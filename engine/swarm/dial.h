/* SPDX-License-Identifier: MIT */
#pragma once

/* dial — connections that we make: one address after another, until a peer has proven itself.
 *
 *   CONNECTING ──► SHAKING ──► over: done(dial, peer)
 *       └── next address, or over: done(dial, NULL) with `why`
 *
 * An attempt has DIAL_NS for its TCP connection; the handshake's own timeout bounds the rest. A
 * dial is freed when `done` returns. Thread: the net tile's. */

#include "base/base.h"
#include "base/pool.h"
#include "engine/io.h"
#include "proto/libp2p/peer_id.h"

#include <stdatomic.h>
#include <sys/socket.h>

struct net;
struct peer;

#define DIAL_NS            (10 * NS_PER_S)
#define DIAL_ADDRESSES_MAX 4u
#define DIALS_MAX          64u /* at once, on one tile */
#define DIAL_WHY_MAX       (PEER_ID_TEXT_MAX + 64u)

/* Where a peer may be, with names resolved. */
struct dial_target {
    struct sockaddr_storage addresses[DIAL_ADDRESSES_MAX];
    uint32_t count;
    struct peer_id peer; /* who must answer; count 0: anybody */
};

enum dial_state { DIAL_CONNECTING, DIAL_SHAKING };

struct dial {
    struct net *net;
    uint8_t state;
    bool cancelled;
    int fd;
    uint32_t at; /* address being tried */
    uint64_t deadline_ns;
    struct peer *peer; /* SHAKING */
    const char *why;   /* why it came to nothing: static, or `words` */
    char words[DIAL_WHY_MAX];
    void (*done)(void *context, struct dial *dial, struct peer *peer);
    void *context;
    _Atomic uint32_t *phase; /* NULL, or where to note `state` for another thread (relaxed) */
    struct dial_target target;
};

/* Returns: NULL: too many at once. `done` is never called before this returns. */
must_check struct dial *
dial_begin(struct net *net, const struct dial_target *target,
           void (*done)(void *context, struct dial *dial, struct peer *peer), void *context);
/* done is not called any more. */
void dial_cancel(struct dial *dial);
void dial_event(struct net *net, const struct io_event *event);
void dial_tick(struct net *net);
/* The peer it made has proven itself, or is gone. why: static. */
void dial_opened(struct peer *peer);
void dial_lost(struct peer *peer, const char *why);
