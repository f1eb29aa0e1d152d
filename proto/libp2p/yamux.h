/* SPDX-License-Identifier: MIT */
#pragma once

/* yamux — many streams over one channel: /yamux/1.0.0. Bytes in, events out; frames out by owing.
 *
 * Reading: yamux_step takes bytes and yields one event at a time; payload is handed out in place,
 * in whatever pieces it arrives. Writing: what the session owes its peer (acknowledgements, window
 * updates, pongs, resets, FINs) is remembered in bounded state and written by yamux_write_owed when
 * its owner has room, ahead of bulk data; data frames are a head from yamux_data_head and payload
 * that the owner puts behind it. Nothing is allocated: streams are the owner's memory, linked here.
 *
 * Bounds: streams open at once (streams_max, beyond it an inbound SYN is reset and counted), pongs
 * and resets owed (YAMUX_OWED_MAX each: then YAMUX_FULL, and nothing more is read until some are
 * written). A peer that overruns a window, opens an open stream again, or breaks the framing is
 * BAD, and BAD for good. Ids need not come in order: Go hands them out before it writes them.
 *
 * Frames of streams that are not there are drained and counted; so is what comes behind a FIN.
 *
 * Rules that matter to Go and js peers: a FIN is sent as an empty window update, never on a data
 * frame; ping flags are exactly SYN or ACK; ACK is sent once, before anything else of its stream.
 * Thread: owner. Source: hashicorp/yamux spec.md; libp2p specs yamux/README.md. */

#include "base/base.h"

#define YAMUX_HEAD_BYTES   12u
#define YAMUX_WINDOW_BYTES (256u * 1024u) /* of a fresh stream, each way */
#define YAMUX_OWED_MAX     32u
#define YAMUX_BUCKETS      16u
#define YAMUX_WRITE_MIN    (4u * YAMUX_HEAD_BYTES) /* room below which write_owed writes nothing */

enum yamux_fault { /* of BAD: go-away is 1 for all of them */
                   YAMUX_FAULT_NONE,
                   YAMUX_FAULT_VERSION,
                   YAMUX_FAULT_TYPE,
                   YAMUX_FAULT_FLAGS,
                   YAMUX_FAULT_STREAM_ID, /* SYN with an id of our parity, of id 0, or of a stream
                                             that is open */
                   YAMUX_FAULT_WINDOW, /* more data than the window we gave, or a window past 4 GiB
                                        */
                   YAMUX_FAULT_PONG,   /* not one we asked for */
};

enum yamux_event {
    YAMUX_MORE,   /* all bytes were taken */
    YAMUX_OPENED, /* step.id: the peer opened a stream: answer with yamux_accept or yamux_refuse
                     before the next step */
    YAMUX_DATA,   /* step.stream, step.bytes, step.count: payload in order */
    YAMUX_FIN,    /* step.stream: the peer will send no more */
    YAMUX_RESET,  /* step.stream: gone; already unlinked, its memory is the owner's again */
    YAMUX_WINDOW, /* step.stream: more may be sent on it */
    YAMUX_PONG,   /* our ping came back */
    YAMUX_GOAWAY, /* step.id: its code; the peer opens nothing more */
    YAMUX_FULL,   /* too much is owed: write, then step again with the rest */
    YAMUX_BAD     /* step.fault */
};

struct yamux_stream {
    struct yamux_stream *next; /* bucket chain */
    struct yamux_stream *next_owed, *previous_owed;
    uint32_t id;
    uint32_t send_window;    /* bytes we may send now */
    uint32_t receive_left;   /* bytes the peer may still send */
    uint32_t receive_window; /* full size of its window; grows */
    uint32_t consumed;       /* by the owner since the last update */
    uint64_t update_ns;      /* when the window last turned over */
    uint8_t owes;            /* the frames it owes, private to yamux.c */
    bool peer_done;          /* FIN came */
    bool self_done;          /* FIN was asked for */
};

struct yamux_step {
    size_t used;
    struct yamux_stream *stream;
    const uint8_t *bytes;
    uint32_t count;
    uint32_t id;
    enum yamux_fault fault;
};

struct yamux {
    bool dialer;
    bool gone_away; /* the peer said so */
    bool ping_owed, ping_out, goaway_owed;
    uint8_t phase; /* of the frame in progress, private to yamux.c */
    uint8_t head_used;
    uint8_t head[YAMUX_HEAD_BYTES];
    uint8_t frame_type;
    uint16_t frame_flags;
    uint32_t frame_id;
    uint32_t frame_left;               /* its payload, its delta, its ping or its code */
    struct yamux_stream *frame_stream; /* whose; NULL: drained */
    enum yamux_fault fault;
    uint32_t opened_id; /* between OPENED and its answer */
    uint32_t next_id;
    uint32_t streams, streams_max;
    uint32_t window_max; /* to which a receive window may grow */
    struct yamux_stream *buckets[YAMUX_BUCKETS];
    struct yamux_stream *recent; /* last used: most frames are of one stream */
    struct yamux_stream *owed_head, *owed_tail;
    uint32_t pongs[YAMUX_OWED_MAX];
    uint32_t resets[YAMUX_OWED_MAX];
    uint32_t pongs_owed, resets_owed;
    uint32_t ping_value, goaway_code;
    uint64_t ping_ns;       /* when it was written */
    uint64_t round_trip_ns; /* 0: not known yet */
    uint64_t refused;       /* SYNs reset because streams_max were open */
    uint64_t drained_bytes; /* payload for nobody */
};

/* window_max: YAMUX_WINDOW_BYTES .. 16 MiB. */
void yamux_init(struct yamux *yamux, bool dialer, uint32_t streams_max, uint32_t window_max);

must_check enum yamux_event yamux_step(struct yamux *yamux, const uint8_t *bytes, size_t count,
                                       uint64_t now_ns, struct yamux_step *ret_step);
/* Answers to OPENED. accept: `stream` is zeroed here and linked; its ACK is owed. */
void yamux_accept(struct yamux *yamux, struct yamux_stream *stream);
void yamux_refuse(struct yamux *yamux);
/* Opens a stream of ours: its SYN is owed or goes out with the first data frame. Returns: false
 * where streams_max are open, ids are used up, or the peer has gone away. */
must_check bool yamux_open_stream(struct yamux *yamux, struct yamux_stream *stream);
/* Ends our side once what was written is out: owes the FIN. */
void yamux_finish(struct yamux *yamux, struct yamux_stream *stream);
/* Ends both sides at once: owes a RST (YAMUX_OWED_MAX of them fit) and unlinks the stream; one
 * whose SYN was not written yet owes nothing. Returns: false: too many are owed, nothing was done.
 */
must_check bool yamux_reset(struct yamux *yamux, struct yamux_stream *stream);
/* Both sides have finished and all is written: may be unlinked. */
bool yamux_over(const struct yamux_stream *stream);
/* Unlinks a stream that is over (or whose whole session ends). */
void yamux_unlink(struct yamux *yamux, struct yamux_stream *stream);
/* The owner has taken `count` payload bytes: the window opens again, by a window update that is
 * owed once half of it was used; it doubles up to window_max while it turns over within four round
 * trips. */
void yamux_consumed(struct yamux *yamux, struct yamux_stream *stream, uint32_t count,
                    uint64_t now_ns);

/* The head of a data frame of `count` bytes (1 .. stream->send_window), which must follow it. */
void yamux_data_head(struct yamux *yamux, struct yamux_stream *stream, uint32_t count,
                     uint8_t out[YAMUX_HEAD_BYTES]);
/* Owes a ping; its answer measures the round trip. False: one is out already. */
bool yamux_ping(struct yamux *yamux);
void yamux_go_away(struct yamux *yamux, uint32_t code);
bool yamux_owes(const struct yamux *yamux);
/* Writes what is owed, whole frames, as much as fits. Returns: bytes. */
size_t yamux_write_owed(struct yamux *yamux, uint64_t now_ns, uint8_t *out, size_t room);
