/* SPDX-License-Identifier: MIT */
#pragma once

/* stream — one yamux stream of a peer, and the protocol on it.
 *
 *   theirs: SELECT ──► BITSWAP_IN | PUSH_IN | PING_IN | CLOSING (identify was answered)
 *   ours:   REPLY | IDENTIFY_OUT | PING_OUT | WANT, all lazy: the proposal leaves without waiting,
 *           in its own frame or with the first bytes, and the peer's two tokens are verified later
 *
 * Streams are one-way in Bitswap: wants come on theirs, blocks leave on ours. A stream's reading
 * side is bounded by its parser, its writing side by the peer's window.
 *
 * Thread: the net tile that owns its peer. */

#include "base/base.h"
#include "engine/swarm/ledger.h"
#include "proto/bitswap/bitswap.h"
#include "proto/libp2p/identify.h"
#include "proto/libp2p/multistream.h"
#include "proto/libp2p/yamux.h"

struct desk_request;
struct intake;
struct peer;

#define STREAMS_OWN 4u /* that a peer may open whatever others have */

enum stream_role {
    STREAM_SELECT,
    STREAM_BITSWAP_IN,
    STREAM_PUSH_IN,
    STREAM_PING_IN,
    STREAM_CLOSING, /* what still comes is read away */
    STREAM_IDENTIFY_OUT,
    STREAM_REPLY,
    STREAM_WANT,
    STREAM_PING_OUT
};

/* The Bitswap protocols, best first; index 0 has presences. */
#define BITSWAP_PROTOCOLS 4u
extern const char *const bitswap_protocols[BITSWAP_PROTOCOLS];

struct stream {
    struct yamux_stream yamux; /* first: yamux hands out its address */
    struct peer *peer;
    struct stream *next, *prev; /* of its peer */
    uint8_t role;
    uint8_t spoken;            /* BITSWAP_IN, REPLY, WANT: index into bitswap_protocols */
    bool selecting;            /* ours: the peer's tokens are still to come */
    bool proposed;             /* ours: our tokens are out */
    uint8_t ping_used;         /* PING_OUT: bytes of the echo seen */
    uint64_t since_ns;         /* opened, or last useful byte */
    struct multistream select; /* SELECT, or `selecting` */
    union {
        struct bitswap_reader bitswap;
        struct identify_reader identify;
        uint8_t ping[32];
        struct {
            struct ledger_handle sending; /* REPLY: the block whose bytes it is in the middle of */
            uint32_t total;               /* of that block; 0: none */
            uint32_t sent;                /* on this stream so far */
            bool job_out;
        };
    };
    struct desk_request *errand; /* PING_OUT: who asked for it */
    struct intake *intake;       /* BITSWAP_IN: the block that is coming; NULL: it is passed over */
    uint64_t mark;               /* BITSWAP_IN: of the message being read */
    bool full;                   /* it said FULL */
};

/* A stream of ours. Returns: NULL: none to be had. */
struct stream *stream_open(struct peer *peer, enum stream_role role);
/* Writes small things (at most 2 KiB, all of it or nothing) as one data frame, our proposal before
 * the first. Returns: false: the window or output memory does not allow it. */
must_check bool stream_write(struct stream *stream, const void *bytes, uint32_t count);
/* What yamux reports. data and fin may free the stream, and any of them may end its peer: look at
 * peer->state before going on, and at the stream no more. */
void stream_accept(struct peer *peer);
void stream_data(struct stream *stream, const uint8_t *bytes, uint32_t count);
void stream_fin(struct stream *stream);
/* Gone already for yamux: its memory goes. */
void stream_gone(struct stream *stream);
/* Resets it, or ends the connection where even that is too much. The stream is gone either way. */
void stream_reset(struct stream *stream);
void stream_finish(struct stream *stream);
/* Unlinks and frees it if it is over; else, once what it owes is written, reap_finished does. */
void stream_reap(struct stream *stream);
void stream_reap_finished(struct peer *peer);
/* Frees the memory, without a word to yamux. */
void stream_free(struct stream *stream);
/* Its window is worth a look for something to send: not opened byte by byte. */
bool stream_may_send(const struct stream *stream);
/* The protocol that a stream of ours proposes. */
const char *stream_protocol(const struct stream *stream);
