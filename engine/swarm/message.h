/* SPDX-License-Identifier: MIT */
#pragma once

/* message — Bitswap replies packed by bytes: presences and small blocks share a message of up to 16
 * KiB in the open record; a large block is a message of its own that leaves in pieces.
 *
 * The varint length and the yamux head stand before the bytes they count: room for both is kept
 * when a message is opened, and filled when it is ended.
 *
 * Thread: owner. */

#include "base/base.h"
#include "engine/swarm/ledger.h"

struct peer;
struct stream;
struct frame;

#define MESSAGE_SMALL_MAX 16383u /* its length takes two bytes */
#define MESSAGE_BLOCK_MAX 12288u /* larger blocks leave as messages of their own */

/* Each adds one item to the open message, opening or changing it where needed. Returns: false: no
 * reply stream, window or output memory has room: nothing was added. */
must_check bool message_presence(struct peer *peer, const struct ledger_want *want, bool have);
must_check bool message_block(struct peer *peer, const struct ledger_want *want,
                              const uint8_t *body, uint32_t bytes);
/* Closes it: from here on others may write to the record. */
void message_end(struct peer *peer);

/* Sends of a large block what window and output take, from want->offset on, on `stream`. Returns:
 * bytes sent; 0: nothing can leave now. */
uint32_t message_large(struct stream *stream, struct ledger_want *want, const uint8_t *body,
                       uint32_t bytes);
/* Ends a reply stream that is in the middle of nothing: its FIN follows what was written, another
 * takes its place. The stream may be gone when this returns. */
void message_retire(struct stream *stream);
/* Is there a reply stream for anything at all, or could one be opened? */
bool message_possible(const struct peer *peer);
/* A reply stream on which a message of `bytes` may begin. Returns: NULL: none now. */
struct stream *message_stream(struct peer *peer, uint32_t bytes);
