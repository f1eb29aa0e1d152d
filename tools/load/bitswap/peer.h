/* SPDX-License-Identifier: MIT */
#pragma once

/* peer — one libp2p connection of the generator, either end of it, without I/O.
 *
 *   PROPOSE security -> HANDSHAKE -> (PROPOSE muxer) -> READY          any -> DEAD, with a reason
 *
 * Bytes from the socket go into peer_feed; after it, and after anything is asked of the peer,
 * peer_write is called until it has nothing more. It answers identify and ping, refuses other
 * protocols, and reads bitswap messages on every stream that is opened to it: their events go to
 * the host's hook. Wants are put into the out buffer of one stream of ours that stays open.
 *
 * Attacks use the same peer: peer_raw adds any bytes to what is encrypted, and the host can be told
 * to leave things unanswered. Thread: owner. */

#include "base/base.h"
#include "proto/bitswap/bitswap.h"
#include "proto/libp2p/multistream.h"
#include "proto/libp2p/secure.h"
#include "proto/libp2p/yamux.h"

#define PEER_STREAMS_MAX 512u
#define PEER_WHY_MAX     96u

/* Bytes that wait to be sent: appended behind, sent from the front. */
struct bytes {
    uint8_t *at;
    uint32_t used, sent, room;
};
/* Room for `count` more. Returns: where they go; bytes->used is the caller's to move. */
uint8_t *bytes_room(struct bytes *bytes, size_t count);
void bytes_add(struct bytes *bytes, const void *from, size_t count);
void bytes_free(struct bytes *bytes);
static inline uint32_t bytes_left(const struct bytes *bytes) {
    return bytes->used - bytes->sent;
}

enum stream_kind {
    STREAM_NEW,     /* inbound, its protocol not agreed */
    STREAM_WANT,    /* ours: wants go out on it */
    STREAM_ANSWER,  /* ours: a listener's blocks go out on it */
    STREAM_BITSWAP, /* inbound: messages come in on it */
    STREAM_PING,    /* inbound, echoed */
    STREAM_QUIET,   /* inbound: what comes is not looked at */
};

struct peer_stream {
    struct yamux_stream yamux;
    struct peer_stream *next; /* of all of its peer, or of the free ones */
    uint8_t kind;
    bool queued; /* out holds bytes or a FIN is due */
    bool finish; /* once out is empty */
    struct bytes out;
    struct multistream names;
    struct bitswap_reader reader;
    /* The block being received; the hook's to use. */
    uint64_t block_index;
    uint32_t block_bytes, block_at;
    bool block_good;
    struct bytes block; /* put together where it cannot be checked in pieces */
};

enum peer_state {
    PEER_SECURITY, /* proposing security */
    PEER_HANDSHAKE,
    PEER_MUXER, /* proposing the muxer, encrypted */
    PEER_READY,
    PEER_DEAD
};

struct peer;

/* What peers of one thread share. */
struct peer_host {
    struct secure_memory memory; /* its scratch is shared with secure_read */
    uint8_t *record;             /* SECURE_RECORD_BYTES: what is being sealed */
    const char *agent;
    struct peer_stream *free; /* streams to use again */
    uint32_t window_max;
    bool mute;   /* streams opened to us get no answer at all, not even an ACK */
    bool stingy; /* what is read opens no window */
    bool blind;  /* READY peers read without looking: answers to what the muxer never asked */
    /* READY; what came on any stream that is read; the want stream was reset (a new one is open:
     * ask again). */
    void (*on_ready)(struct peer *peer);
    void (*on_bitswap)(struct peer *peer, struct peer_stream *stream, enum bitswap_event event,
                       const struct bitswap_step *step);
    void (*on_want_lost)(struct peer *peer);
    void (*on_raw)(struct peer *peer, const uint8_t *bytes, size_t count); /* NULL: dropped */
    uint64_t now_ns; /* of this turn, set by the owner */
};

struct peer {
    struct peer_host *host;
    struct secure_self *self; /* its identity, the owner's */
    const struct peer_id *expected;
    struct secure *secure;
    uint8_t state;
    uint8_t kind; /* enum secure_kind */
    bool dialer;
    bool raw; /* what comes is on_raw's, what is in `early` is all that is said */
    struct multistream names;
    struct bytes early; /* sent as it is, before there is encryption */
    struct bytes inbox; /* handshake bytes that lack the rest */
    struct bytes plain; /* encrypted ahead of all streams */
    struct yamux yamux;
    struct peer_stream *streams;
    struct peer_stream *want;
    uint32_t queued; /* streams with something to send */
    char why[PEER_WHY_MAX];
};

/* Returns: 0 or -ENOMEM. */
must_check int peer_host_open(struct peer_host *host);
void peer_host_close(struct peer_host *host);

/* `peer` is zeroed here. `expected` outlives it, NULL takes anybody. */
void peer_init(struct peer *peer, struct peer_host *host, struct secure_self *self,
               const struct peer_id *expected, enum secure_kind kind, bool dialer);
void peer_fini(struct peer *peer);
/* After it the state may be DEAD, with `why`. */
void peer_feed(struct peer *peer, const uint8_t *bytes, size_t count);
/* What is to be sent next, in memory that lives until the next call for any peer of the host.
 * Returns: bytes, 0 for none. */
size_t peer_write(struct peer *peer, const uint8_t **ret_bytes);
void peer_fail(struct peer *peer, const char *why);

extern const char peer_bitswap[]; /* "/ipfs/bitswap/1.2.0" */
/* Opens a stream of ours, the proposal of its protocol already in its buffer. Returns: false: no
 * more streams may be opened. */
must_check bool peer_open(struct peer *peer, enum stream_kind kind, const char *protocol,
                          struct peer_stream **ret_stream);
/* Something was appended to stream->out. */
void peer_queue(struct peer *peer, struct peer_stream *stream);
/* Plain bytes ahead of all streams. */
void peer_raw(struct peer *peer, const void *bytes, size_t count);
