/* SPDX-License-Identifier: MIT */
#pragma once

/* desk — where control leaves requests about peers and fetches for net tiles, and where they leave
 * what came of them.
 *
 *   control: desk_take ─► fill ─► desk_hand ──ring, bell──► tile: errand.c
 *   control: reads `state` (acquire), then the answer    ◄── tile: answers, then `state` (release)
 *
 * A request belongs to whoever may write it: control until it is handed over, then its tile until
 * `state` is DONE or FAILED, then control again. Words that move meanwhile (progress, phase) are
 * atomic. Control keeps answered requests until their place is needed: DESK_REQUESTS at once; full
 * is an answer.
 * Thread: desk_take, desk_hand, desk_find: control. desk_pop: the tile. */

#include "base/base.h"
#include "base/cid.h"
#include "engine/mesh.h"
#include "engine/swarm/client.h"
#include "engine/swarm/dial.h"
#include "engine/swarm/resolve.h"
#include "proto/libp2p/identify.h"

#include <stdatomic.h>

struct core;
struct engine;
struct io;

#define DESK_REQUESTS MESH_DESK
#define DESK_PAGE     64u
/* A fetch that nobody has asked after for so long is cancelled: its client is gone. */
#define DESK_FORGOTTEN_NS (60 * NS_PER_S)

enum desk_kind { DESK_DIAL, DESK_PEERS, DESK_FIND, DESK_DISCONNECT, DESK_PING, DESK_FETCH };
enum desk_state {
    DESK_FREE,
    DESK_TAKEN,     /* control fills it */
    DESK_ASKED,     /* handed over */
    DESK_UNDER_WAY, /* the tile began */
    DESK_DONE,
    DESK_FAILED /* `why` says it */
};
enum desk_phase { DESK_DIALING = DIAL_CONNECTING, DESK_SHAKING = DIAL_SHAKING, DESK_CONNECTED };

/* One peer, as `millrace peers` shows it. */
struct desk_peer {
    struct peer_id id;
    struct sockaddr_storage address;
    char agent[IDENTIFY_AGENT_MAX];
    const char *state;    /* static */
    const char *security; /* static */
    const char *class;    /* static */
    bool outbound;
    uint32_t wants, waiting;
    uint64_t age_ns, bytes_in, bytes_out, blocks_out, blocks_in, round_trip_ns;
    int64_t debt_bytes; /* of blocks: sent less received */
};

struct desk_page {
    uint32_t next; /* where to go on; 0: that was all */
    uint32_t count;
    struct desk_peer peers[DESK_PAGE];
};

/* Numbers of a fetch that move while it runs. */
struct desk_progress {
    _Atomic uint64_t blocks, bytes, here_blocks, duplicates, duplicate_bytes, unwanted, in_flight,
        seeking, known, frontier, late, dont_haves, peers, dialing;
};

struct desk_request {
    /* control's */
    uint32_t number; /* what its client calls it */
    uint32_t core;
    uint64_t taken_ns;
    uint8_t kind;
    bool wait; /* names are being resolved: not handed over yet */
    struct dial_target targets[CLIENT_FROM_MAX];
    struct resolve *resolves[CLIENT_FROM_MAX]; /* names being looked up */
    uint32_t target_count;
    bool no_memory;
    struct cid root; /* FETCH */
    bool dag;
    struct peer_id id;      /* FIND, DISCONNECT, PING */
    struct desk_page *page; /* PEERS */
    uint32_t cursor;        /* PEERS */

    /* the tile's, until DONE or FAILED */
    struct session *session;
    bool forgotten; /* FETCH: nobody asked after it */
    struct dial *dial;
    char why[SESSION_SAY_MAX];
    bool absent;             /* FETCH: failed because nobody has a block of it */
    uint32_t found;          /* FIND, DISCONNECT, PING: connections of that peer */
    struct peer_id answered; /* DIAL */
    uint64_t round_trip_ns;  /* PING */

    /* written there, read here */
    _Atomic uint32_t state; /* enum desk_state: the hand-over, both ways */
    _Atomic uint32_t phase; /* enum desk_phase */
    struct desk_progress progress;
    /* written here, read there */
    _Atomic bool cancel;
    _Atomic uint64_t asked_ns; /* FETCH: when its client last asked after it */
};

struct desk {
    struct engine *engine;
    struct io *bells; /* control's ring; NULL: the tile finds out at its tick */
    uint32_t next_number;
    struct desk_page page;
    struct desk_request *page_out; /* the tile that has the page did not answer in time */
    struct desk_request requests[DESK_REQUESTS];
};

/* Returns: 0 or -ENOMEM. Thread: boot. */
must_check int desk_open(struct engine *engine, struct desk **ret_desk);
void desk_close(struct desk *desk);

/* Returns: a cleared request, or NULL: all are under way. */
struct desk_request *desk_take(struct desk *desk, enum desk_kind kind);
/* Hands it to the net tile of this core. */
void desk_hand(struct desk *desk, struct desk_request *request, uint32_t core);
/* Hands it over and waits a moment for its end. Returns: whether it has ended. */
bool desk_ask(struct desk *desk, struct desk_request *request, uint32_t core);
/* Waits a moment for a tile to begin with it. Returns: whether it has. */
bool desk_settle(const struct desk_request *request);
/* Another address to dial; names begin to be looked up. */
void desk_target(struct desk_request *request, const struct multiaddr *address);
/* A peer that is connected already, and so needs no address. */
void desk_target_peer(struct desk_request *request, const struct peer_id *peer);
enum { DESK_RESOLVING = 1, DESK_UNRESOLVED = 2 };
/* Returns: 0: all targets have addresses; RESOLVING; UNRESOLVED with `why`. */
must_check int desk_resolved(struct desk_request *request);
/* Wakes its tile: something was written for it (cancel). */
void desk_ring(struct desk *desk, const struct desk_request *request);
struct desk_request *desk_find(struct desk *desk, uint32_t number, enum desk_kind kind);
void desk_give(struct desk_request *request);
static inline enum desk_state desk_state(const struct desk_request *request) {
    return (enum desk_state)atomic_load_explicit(&request->state, memory_order_acquire);
}
static inline bool desk_ended(const struct desk_request *request) {
    enum desk_state state = desk_state(request);
    return state == DESK_DONE || state == DESK_FAILED;
}

/* The next request for this tile, or NULL. Thread: the tile. */
struct desk_request *desk_pop(struct core *core);
bool desk_waits(const struct core *core);
/* The answer is written. Thread: the tile. */
static inline void desk_end(struct desk_request *request, enum desk_state how) {
    atomic_store_explicit(&request->state, how, memory_order_release); /* pairs with desk_state */
}
