/* SPDX-License-Identifier: MIT */
#include "engine/swarm/wants.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/arena.h"
#include "engine/net.h"
#include "engine/swarm/peer.h"

#include <string.h>

#define FIRST_BYTES 4096u
#define HEAD_ROOM   16u /* length and list head, written backwards once the entries are known */
#define PIECE_MAX   (2u * 1024)
#define PIECE_MIN   256u

static struct arena *arena_of(const struct peer *peer) {
    return peer->swarm->net->core->arena;
}

void wants_free(struct peer *peer) {
    struct wants *wants = &peer->wants;
    if (wants->bytes) {
        arena_give(arena_of(peer), wants->bytes, wants->room);
    }
    wants->bytes = NULL;
    wants->room = wants->sent = wants->sealed = wants->open = wants->used = 0;
}

void wants_lost(struct peer *peer) {
    struct wants *wants = &peer->wants;
    bool refused = wants->stream && wants->stream->selecting;
    wants->refusals = refused ? (uint8_t)(wants->refusals + 1) : 0;
    wants->losses = (uint8_t)min_u32(wants->losses + 1u, UINT8_MAX);
    wants->stream = NULL;
    wants_free(peer);
}

void wants_unlink(struct peer *peer, struct peer_link *link) {
    link->generation = 0;
    if (!peer_is_used(peer)) {
        peer->wants.losses = 0;
    }
}

/* What was sent makes room; else the buffer grows. */
static bool make_room(struct peer *peer, uint32_t more) {
    struct wants *wants = &peer->wants;
    if (wants->used + more <= wants->room) {
        return true;
    }
    uint32_t kept = wants->used - wants->sent;
    uint8_t *bytes = wants->bytes;
    if (kept + more > wants->room / 2) {
        uint32_t room = (uint32_t)power_of_two_above(max_u32(2 * (kept + more), FIRST_BYTES));
        bytes = room <= WANTS_BYTES_MAX ? arena_take(arena_of(peer), room, 16) : NULL;
        if (!bytes) {
            return false;
        }
        if (wants->bytes) {
            memcpy(bytes, wants->bytes + wants->sent, kept);
            arena_give(arena_of(peer), wants->bytes, wants->room);
        }
        wants->room = room;
    } else {
        memmove(bytes, bytes + wants->sent, kept);
    }
    wants->bytes = bytes;
    wants->used -= wants->sent;
    wants->sealed -= wants->sent;
    wants->open -= wants->open ? wants->sent : 0;
    wants->sent = 0;
    return true;
}

bool wants_say(struct peer *peer, const struct fetch_action *action) {
    struct wants *wants = &peer->wants;
    bool presences = peer_has_presences(peer);
    struct bitswap_want want = {
        .key = action->key,
        .form = action->form,
        .priority = action->priority,
        .cancel = action->kind == FETCH_CANCEL,
        .have = action->kind == FETCH_WANT_HAVE,
        .send_dont_have = presences && action->kind != FETCH_CANCEL,
    };
    if (want.have && !presences) {
        return true; /* it knows no such question */
    }
    if (!make_room(peer, HEAD_ROOM + BITSWAP_ENTRY_MAX)) {
        return false;
    }
    if (!wants->open) {
        wants->open = wants->used + HEAD_ROOM;
        wants->used = wants->open;
    }
    wants->used += (uint32_t)bitswap_put_entry(&want, wants->bytes + wants->used);
    net_conn_dirty(peer->swarm->net, peer->conn);
    return true;
}

/* The open entries become a message. What was sealed has been sent. */
static void seal(struct wants *wants) {
    uint8_t head[2 * HEAD_ROOM];
    uint32_t entries = wants->used - wants->open;
    size_t list = bitswap_put_list_head(entries, false, head + BITSWAP_LENGTH_MAX);
    size_t length = bitswap_put_length((uint32_t)list + entries, head);
    must(length + list <= HEAD_ROOM);
    memmove(head + length, head + BITSWAP_LENGTH_MAX, list);
    wants->sent = wants->open - (uint32_t)(length + list);
    memcpy(wants->bytes + wants->sent, head, length + list);
    wants->sealed = wants->used;
    wants->open = 0;
}

static bool write_piece(struct peer *peer) {
    struct wants *wants = &peer->wants;
    uint32_t left = wants->sealed - wants->sent;
    uint32_t window = wants->stream->yamux.send_window;
    uint32_t ahead = 2 * MULTISTREAM_WRITE_MAX; /* its proposal may go with it */
    if (window < ahead + min_u32(left, PIECE_MIN)) {
        return false;
    }
    uint32_t piece = min_u32(min_u32(left, PIECE_MAX), window - ahead);
    if (!stream_write(wants->stream, wants->bytes + wants->sent, piece)) {
        return false;
    }
    wants->sent += piece;
    return true;
}

void wants_flush(struct peer *peer) {
    struct wants *wants = &peer->wants;
    if (wants->used == 0 || peer->state != PEER_OPEN) {
        return;
    }
    if (!wants->stream) {
        wants->stream = stream_open(peer, STREAM_WANT);
        if (!wants->stream) {
            return; /* others end; the next sweep looks again */
        }
    }
    while (wants->used > 0) {
        if (wants->sent == wants->sealed) {
            if (!wants->open) {
                wants->sent = wants->sealed = wants->used = 0;
                break;
            }
            seal(wants);
        }
        if (!write_piece(peer)) {
            break;
        }
    }
}
