/* SPDX-License-Identifier: MIT */
#pragma once

/* wants — what we want of one peer, on its way out: entries are packed into messages on one
 * long-lived stream.
 *
 *   wants_say ... ─► entries of the next message ─► wants_flush: one message a turn, in pieces that
 *                                                   the peer's window takes
 *
 * All that a turn says leaves as one message, so a busy session packs by itself and an idle one
 * waits for nothing. Entries are at most WANTS_BYTES_MAX: a peer that does not read them for so
 * long is ended. Memory is the core's arena's, and only held while a session uses the peer.
 * Thread: the net tile that owns the peer. */

#include "base/base.h"
#include "engine/swarm/fetch.h"

struct peer;
struct peer_link;
struct stream;

#define WANTS_BYTES_MAX (512u * 1024)

struct wants {
    struct stream *stream; /* NULL: none yet, or it was lost */
    uint8_t *bytes;
    uint32_t room;
    uint32_t sent;   /* of what is sealed, so far */
    uint32_t sealed; /* up to here the bytes are whole messages */
    uint32_t open;   /* where the entries of the next message begin; 0: it has none */
    uint32_t used;
    uint8_t refusals; /* streams that the peer did not take */
    uint8_t losses;   /* streams it ended since it gave a wanted block, or since it was last idle */
};

/* One entry. Returns: false: the peer takes none of them any more: end it. */
must_check bool wants_say(struct peer *peer, const struct fetch_action *action);
/* Writes what can leave now. Once a turn, and when the window opens. */
void wants_flush(struct peer *peer);
/* Its stream is gone, and all that was said on it is void. */
void wants_lost(struct peer *peer);
void wants_free(struct peer *peer);
/* A session of its ends. With the last one goes what it did to them. */
void wants_unlink(struct peer *peer, struct peer_link *link);
