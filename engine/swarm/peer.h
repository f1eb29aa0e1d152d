/* SPDX-License-Identifier: MIT */
#pragma once

/* peer — one libp2p connection: from its first token to its last frame.
 *
 *   SECURITY ──► HANDSHAKE ──► MUXER ──► OPEN          any state ──► (its connection closes)
 *   multistream   heavy jobs    │          ▲
 *   in the clear                └── skipped where the handshake agreed on yamux
 *
 * In HANDSHAKE bytes that came are kept in `early` until a step has used them; what a step leaves
 * belongs to the channel and is read first once the handshake is over. From MUXER on everything
 * passes the channel: a record is opened whole and acted on whole, so before one is opened there
 * must be output memory for whatever it may ask for.
 *
 * Output is plaintext in one open record (record.h), sealed when it is full or when the tile
 * flushes; at most one Bitswap message is open in it (message.h).
 *
 * Thread: the net tile that owns it. Source: libp2p specs connections/README.md. */

#include "base/base.h"
#include "engine/conn.h"
#include "engine/swarm/ledger.h"
#include "engine/swarm/peer_link.h"
#include "engine/swarm/stream.h"
#include "engine/swarm/swarm.h"
#include "engine/swarm/wants.h"
#include "proto/libp2p/identify.h"
#include "proto/libp2p/multistream.h"
#include "proto/libp2p/secure.h"
#include "proto/libp2p/yamux.h"

enum peer_state { PEER_FREE, PEER_SECURITY, PEER_HANDSHAKE, PEER_MUXER, PEER_OPEN, PEER_GONE };
extern const char *const peer_state_names[];

#define PEER_STREAMS_MAX   256u  /* inbound and outbound together */
#define PEER_REPLIES_MAX   4u    /* reply streams: several let a Go peer verify in parallel */
#define PEER_PATIENCE_MAX  16384 /* units a peer may waste at once */
#define PEER_PROPOSALS_MAX 8u    /* before the handshake */

struct peer {
    /* set when made */
    struct conn *conn;
    struct swarm *swarm;
    bool dialer;
    struct peer_id expected; /* dialer: whom; count 0: anybody */

    /* life */
    uint8_t state;
    uint8_t kind; /* enum secure_kind, proposed or agreed */
    bool js;      /* a js-libp2p peer: reply streams end with their burst */
    bool asked;   /* who it is; else the next sweep asks */
    bool identified;
    bool shaking;       /* on the list of handshakes in progress */
    bool let_go;        /* its wants, streams and record are gone */
    uint8_t spoken;     /* index of the Bitswap protocol it wants replies in */
    uint32_t speaks;    /* enum identify_speaks */
    uint64_t opened_ns; /* accepted or dialled; OPEN: proven */
    uint64_t heard_ns;  /* last byte from it */
    uint64_t useful_ns; /* last Bitswap message, either way */
    uint64_t pinged_ns; /* 0: no keep-alive ping is out */
    uint64_t part_ns;   /* a record has been coming since; 0: none is in part */
    uint64_t pause_ns;  /* its wants wait until then */
    struct peer *shaking_next, *shaking_prev;

    /* what guard.c judges it by */
    struct prefix prefix;
    bool protected;                        /* asked for by a command */
    uint64_t lately_sent, lately_received; /* block bytes, fading */
    uint64_t swept_sent, swept_received;

    /* the channel */
    struct multistream select;
    struct secure *secure;
    struct handshake *step; /* in flight */
    uint8_t *early;         /* from the arena */
    uint32_t early_used, early_at, early_room;
    struct yamux yamux;
    struct stream *streams;
    bool finishing; /* some are over but for a FIN of ours that is not written yet */

    /* budgets: buckets, filled at the tick */
    uint32_t opens_left, identifies_left; /* streams it opens, identify it asks for */
    uint8_t paused_sweeps;                /* in a row */
    uint64_t patience_ns;                 /* when time last gave some */
    int32_t patience; /* for what leads to nothing: below zero it is read later */

    /* output */
    struct out *record;
    uint32_t record_used; /* plaintext in it */
    struct {
        struct stream *stream; /* NULL: none is open */
        uint32_t start;        /* in the record's plaintext: where the frame's head goes */
        uint32_t bytes;        /* of the message so far, without its length */
    } message;
    struct stream *replies[PEER_REPLIES_MAX];
    uint32_t reply_next;
    uint32_t jobs_out;    /* wants in the policy or in the store */
    uint32_t block_bytes; /* moving average of what a want costs to send */
    bool polling;         /* serve_poll is on the stack */
    bool blocked;         /* an answer found no stream, window or output: until one frees */

    /* what we want of it */
    struct wants wants;
    struct peer_link links[PEER_LINKS_MAX]; /* sessions that use it */
    uint32_t filling;                       /* blocks that are coming from it, */
    uint64_t filling_bytes;                 /* and what they weigh once they are here */
    struct dial *dial;                      /* that is making it; NULL: none */
    const char *end_why; /* static: why its handshake was broken off, where that is known */

    struct ledger_peer ledger;
    uint64_t bytes_in, bytes_out; /* of records: sealed bytes both ways */
    char agent[IDENTIFY_AGENT_MAX];
};

/* Ends the connection; what is on the stack must return at once (peer->state is PEER_GONE). */
void peer_end(struct peer *peer, enum conn_end end);
/* A step of its handshake came home. Takes the job. */
void peer_step_home(struct swarm *swarm, struct job *job, uint64_t now_ns);
/* Bytes while the handshake goes on; and whatever else it is in the middle of. As swarm_read. */
bool peer_read(struct peer *peer, const uint8_t *bytes, uint32_t count, uint32_t *ret_used);
/* Asks who it is and what it speaks. */
void peer_ask_identify(struct peer *peer);
/* First words in the clear. Returns: false: no output memory. */
must_check bool peer_greet(struct peer *peer);
/* Enough of its output waits for now: it holds the most a peer may, or its part of what is left. */
bool peer_output_full(const struct peer *peer);
/* Writes what yamux owes into the record. */
void peer_owed(struct peer *peer);
/* Early bytes and the channel; no step of it is in flight. */
void peer_free_parts(struct peer *peer);
/* The channel is open and both sides may open streams. */
void peer_opened(struct peer *peer);
/* One piece of plaintext. Its streams may be gone and the connection ended when this returns. */
void peer_plain(struct peer *peer, const uint8_t *bytes, size_t count);
/* What it sent led to nothing (a want refused or of an absent block, a cancel of nothing, a
 * presence or bytes nobody asked for, a frame without payload): that is paid for. */
static inline void peer_charge(struct peer *peer, uint32_t units) {
    peer->patience -= (int32_t)units;
}
/* It was served: that earns some. */
void peer_earn(struct peer *peer, uint32_t units);
/* Some fetch of ours counts on it. */
bool peer_is_used(const struct peer *peer);
bool peer_has_presences(const struct peer *peer); /* it speaks 1.2.0 */
