/* SPDX-License-Identifier: MIT */
#pragma once

/* peer_stream — the streams of a peer: what peer.c hands on once the muxer is agreed. */

#include "tools/load/bitswap/peer.h"

/* Plain bytes behind the muxer's negotiation. */
void peer_streams_read(struct peer *peer, const uint8_t *bytes, size_t count);
/* Returns: bytes put into `out`. */
size_t peer_streams_write(struct peer *peer, uint8_t *out, size_t room);
/* What the session owes goes ahead of all else, to make room for more of it. */
void peer_spill(struct peer *peer);
/* Unlinks a stream and keeps its memory for the next. */
void stream_free(struct peer *peer, struct peer_stream *stream);
