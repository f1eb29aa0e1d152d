/* SPDX-License-Identifier: MIT */
#pragma once

/* swarm — many peers of ours against one server: sockets, deadlines, wants and what became of them.
 *
 *   turn: readable sockets -> peer_feed -> answers counted -> wants due or permitted -> one send a
 *         peer
 *
 * swarm_client.c knows what is wanted and does no I/O; swarm.c moves the bytes; attacks put
 * themselves in the client's place. One thread, one epoll. */

#include "tools/load/bitswap/asks.h"
#include "tools/load/bitswap/catalog.h"
#include "tools/load/bitswap/letter.h"
#include "tools/load/bitswap/peer.h"
#include "tools/load/bitswap/swarm_plan.h"
#include "tools/load/draw.h"
#include "tools/load/pace.h"
#include "tools/load/run.h"

struct swarm;

struct node {
    struct peer peer; /* first: hooks are given it */
    struct swarm *swarm;
    struct node *next;      /* of those that may take a want */
    struct node *dial_next; /* of those to be dialled */
    struct secure_self *self;
    struct asks asks;
    struct bytes unsent; /* the socket took no more */
    uint64_t dialled_ns;
    uint32_t walk_at, walk_stride; /* its own order of all blocks */
    uint64_t step, due_ns;         /* an attack's */
    void *extra;                   /* an attack's, from malloc */
    void (*extra_end)(void *);     /* what it holds, before it is freed; NULL: nothing */
    uint32_t number;
    uint16_t tries;
    bool active, listed, writing, deaf, touched;
    bool connected; /* the socket; READY is the peer's */
    bool settled;   /* was READY */
    int fd;
};

struct backlog_ring {
    uint64_t *due;
    uint32_t head, tail, mask;
};

struct swarm {
    const struct swarm_plan *plan;
    struct catalog catalog;
    struct peer_host host;
    struct node *nodes;
    uint32_t count;
    int epoll;
    uint8_t *inbox;                /* what one read takes */
    struct letter letter, regrets; /* wants, and cancels that follow them */
    struct draw draw;
    struct zipf zipf;
    struct pace pace;
    struct backlog_ring backlog;
    struct node *able_head, *able_tail; /* open loop: peers with room, in turn */
    struct node *dial_head;
    uint32_t dial_limit; /* handshakes at once */
    uint32_t dialling, settled, alive, active_alive;
    uint64_t now_ns, from_ns, to_ns;
    bool stopping;
    struct tally tally;
    /* counts of this protocol's own */
    uint64_t haves, dont_haves, extra_blocks, cancelled, messages_in, reconnects;
    uint32_t lost; /* peers that were READY and are gone */
    uint64_t sent_bytes, dials;
    void (*on_dial)(struct swarm *swarm, struct node *node); /* NULL: nothing; before connect */
    struct hist handshake;
    char fault[160];
};

/* ---- swarm_client.c ---- */

void client_hooks(struct swarm *swarm);
/* Wants that are permitted or due go into want streams; nodes with something to send are touched.
 */
void client_turn(struct swarm *swarm);
void client_refill(struct swarm *swarm, struct node *node);
/* The node is gone: what it asked for is lost. */
void client_lost(struct swarm *swarm, struct node *node);
uint64_t client_next_ns(const struct swarm *swarm);
void swarm_fault(struct swarm *swarm, const char *what, const char *text);

/* ---- swarm_run.c ---- */

/* Measures, drains, and says what came of it. */
void swarm_run(struct swarm *swarm, struct result *ret_result);

/* ---- swarm.c ---- */

/* Returns: 0, or -errno with a sentence in `why`. */
must_check int swarm_open(struct swarm *swarm, const struct swarm_plan *plan,
                          const struct content *content, char *why, size_t why_bytes);
void swarm_close(struct swarm *swarm);
/* Dials all. Returns: 0, or -errno with a sentence in `why` where not all came to be READY. */
must_check int swarm_dial(struct swarm *swarm, char *why, size_t why_bytes);
/* Puts all nodes up to be dialled; swarm_turn dials them, some at once. */
void swarm_dial_all(struct swarm *swarm);
/* One turn; waits until `until_ns` at most. */
void swarm_turn(struct swarm *swarm, uint64_t until_ns);
/* Sends what the node has to send. */
void swarm_flush(struct swarm *swarm, struct node *node);
/* The node's socket is closed, at once where `hard`. */
void swarm_drop(struct swarm *swarm, struct node *node, bool hard);
/* No more is read from it. */
void swarm_deafen(struct swarm *swarm, struct node *node);
void swarm_dial_again(struct swarm *swarm, struct node *node);
