/* SPDX-License-Identifier: MIT */
#pragma once

/* record — the plaintext a peer is being told, in a chunk of output that is sealed in place.
 *
 *   chunk: [head room | plaintext ... | tail room]  ──secure_seal──►  the same bytes, to be sent
 *
 * Small talk lies in a small chunk; what does not fit goes on in a large one. A block's bytes are
 * never copied into it: record_seal_with reads them once, from their frame, while it seals.
 *
 * Thread: owner. */

#include "base/base.h"

struct peer;

/* `bytes` (<= 16 KiB) of room at the end of the plaintext, counted as written. Ends an open message
 * first where `keep_message` is false. Returns: NULL: no output memory. */
uint8_t *record_room(struct peer *peer, uint32_t bytes, bool keep_message);
/* As much plaintext as one record still takes. */
uint32_t record_left(const struct peer *peer);
/* Gives the last `bytes` of the plaintext back. */
void record_trim(struct peer *peer, uint32_t bytes);
/* Seals what is written, and `body` behind it, onto the connection's output. Returns: false: the
 * connection has been ended. */
bool record_seal_with(struct peer *peer, const uint8_t *body, uint32_t body_bytes);
bool record_seal(struct peer *peer);
/* Begins a large record (sealing what is there). Returns: false: no large chunk, or ended. */
must_check bool record_begin_large(struct peer *peer);
void record_drop(struct peer *peer);
