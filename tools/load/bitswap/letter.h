/* SPDX-License-Identifier: MIT */
#pragma once

/* letter — one Bitswap message of wants, put together entry by entry and then sent whole. */

#include "proto/bitswap/bitswap.h"
#include "tools/load/bitswap/peer.h"

struct letter {
    struct bytes entries;
    uint32_t count;
};

void letter_add(struct letter *letter, const struct bitswap_want *want);
/* Appends the message, with its length, to the stream; the letter is empty again. */
void letter_send(struct letter *letter, struct peer *peer, struct peer_stream *stream);
void letter_close(struct letter *letter);
