/* SPDX-License-Identifier: MIT */
#include "engine/swarm/message.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/net.h"
#include "engine/swarm/peer.h"
#include "engine/swarm/record.h"

#include <string.h>

#define LENGTH_ROOM    2u     /* of the varint of a small message */
#define WINDOW_BEGIN   16384u /* below it no message begins on a stream: any small one fits it */
#define WINDOW_MIN     4096u  /* below it a large one does not go on */
#define OWED_ROOM      1024u
#define LARGE_HEAD_MAX (BITSWAP_LENGTH_MAX + BITSWAP_EMPTY_LIST_BYTES + BITSWAP_BLOCK_HEAD_MAX)
#define MANY_BLOCKS    256u /* a peer that took so many is worth several streams */

/* go-yamux 5.0.1 forgets to announce a part of the window whenever it doubles it, and may in the
 * end announce nothing more. A stream never gets there within its first MiB, nor if no frame is
 * longer than 16 KiB (docs/decisions.md). */
#define STREAM_SENT_MAX (1000u * 1000)
#define CAREFUL_FRAME   16384u

static_assert(WINDOW_BEGIN >= 2 * MULTISTREAM_WRITE_MAX + LENGTH_ROOM + BITSWAP_EMPTY_LIST_BYTES +
                                  BITSWAP_BLOCK_HEAD_MAX + MESSAGE_BLOCK_MAX,
              "a proposal and any small item");

/* Protocols before 1.1.0 know blocks without a prefix only. */
static bool bare_blocks(uint8_t spoken) {
    return spoken >= 2;
}

/* ---- streams -------------------------------------------------------------------------------- */

void message_retire(struct stream *stream) {
    struct peer *peer = stream->peer;
    for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
        peer->replies[i] = peer->replies[i] == stream ? NULL : peer->replies[i];
    }
    stream_finish(stream);
    stream->role = STREAM_CLOSING;
    stream_reap(stream);
}

static struct stream *open_reply(struct peer *peer, uint32_t slot) {
    struct stream *stream = stream_open(peer, STREAM_REPLY);
    peer->replies[slot] = stream;
    peer->reply_next = (slot + 1) % PEER_REPLIES_MAX;
    return stream;
}

static bool is_spent(const struct stream *stream, uint32_t bytes) {
    return stream->sent > 0 && !stream->peer->js && stream->sent + bytes > STREAM_SENT_MAX;
}

struct stream *message_stream(struct peer *peer, uint32_t bytes) {
    bool large = bytes > MESSAGE_SMALL_MAX;
    uint32_t free_slot = PEER_REPLIES_MAX;
    for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
        uint32_t slot = (peer->reply_next + i) % PEER_REPLIES_MAX;
        struct stream *stream = peer->replies[slot];
        if (stream && stream->total == 0 && stream != peer->message.stream &&
            (is_spent(stream, bytes) || stream->spoken != peer->spoken)) {
            message_retire(stream);
            stream = NULL;
        }
        if (!stream) {
            free_slot = slot;
        } else if (stream->total == 0 && stream->yamux.send_window >= WINDOW_BEGIN &&
                   !(large && stream == peer->message.stream && !peer->js)) {
            peer->reply_next = (slot + 1) % PEER_REPLIES_MAX;
            if (free_slot == PEER_REPLIES_MAX || peer->js ||
                peer->ledger.blocks_sent <= MANY_BLOCKS) {
                return stream;
            }
            struct stream *opened = open_reply(peer, free_slot);
            return opened ? opened : stream;
        }
    }
    return free_slot < PEER_REPLIES_MAX ? open_reply(peer, free_slot) : NULL;
}

bool message_possible(const struct peer *peer) {
    bool opens = peer->swarm->streams.free_count > 0 && !peer->yamux.gone_away &&
                 peer->yamux.streams < peer->yamux.streams_max;
    for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
        const struct stream *stream = peer->replies[i];
        if (!stream ? opens
                    : stream->total != 0 || stream->yamux.send_window >= WINDOW_BEGIN ||
                          is_spent(stream, MESSAGE_SMALL_MAX) || stream->spoken != peer->spoken) {
            return true; /* one in the middle of a block may go on, one that is spent is replaced */
        }
    }
    return false;
}

/* Our tokens, as a frame of their own ahead of the first message. */
static bool propose(struct stream *stream) {
    return stream->proposed || stream_write(stream, NULL, 0);
}

/* ---- small ---------------------------------------------------------------------------------- */

static bool message_open(struct peer *peer, uint32_t item_bytes) {
    struct stream *stream = message_stream(peer, MESSAGE_SMALL_MAX);
    uint32_t first = YAMUX_HEAD_BYTES + LENGTH_ROOM + BITSWAP_EMPTY_LIST_BYTES;
    if (!stream || !propose(stream) ||
        stream->yamux.send_window < LENGTH_ROOM + BITSWAP_EMPTY_LIST_BYTES + item_bytes) {
        return false;
    }
    /* All of its items must follow in this record. */
    if (peer->record && record_left(peer) < first + item_bytes && !record_seal(peer)) {
        return false;
    }
    uint8_t *room = record_room(peer, first + item_bytes, false);
    if (!room) {
        return false;
    }
    record_trim(peer, item_bytes);
    peer->message.stream = stream;
    peer->message.start = peer->record_used - first;
    peer->message.bytes = BITSWAP_EMPTY_LIST_BYTES;
    (void)bitswap_put_empty_list(room + YAMUX_HEAD_BYTES + LENGTH_ROOM);
    return true;
}

/* Room for one more item in the open message, or in a new one. */
static uint8_t *item_room(struct peer *peer, uint32_t bytes) {
    const struct stream *stream = peer->message.stream;
    if (stream && (peer->message.bytes + bytes > MESSAGE_SMALL_MAX ||
                   LENGTH_ROOM + peer->message.bytes + bytes > stream->yamux.send_window ||
                   record_left(peer) < bytes)) {
        message_end(peer);
    }
    if (!peer->message.stream && !message_open(peer, bytes)) {
        return NULL;
    }
    uint8_t *room = record_room(peer, bytes, true);
    must(room != NULL); /* looked at, or just opened with it */
    peer->message.bytes += bytes;
    return room;
}

void message_end(struct peer *peer) {
    struct stream *stream = peer->message.stream;
    if (!stream) {
        return;
    }
    peer->message.stream = NULL;
    uint8_t *head = (uint8_t *)(uintptr_t)peer->record->bytes + SECURE_HEAD + peer->message.start;
    uint8_t *content = head + YAMUX_HEAD_BYTES + LENGTH_ROOM;
    uint8_t length[BITSWAP_LENGTH_MAX];
    uint32_t length_bytes = (uint32_t)bitswap_put_length(peer->message.bytes, length);
    if (length_bytes < LENGTH_ROOM) {
        memmove(content - 1, content, peer->message.bytes);
        record_trim(peer, 1);
    }
    memcpy(head + YAMUX_HEAD_BYTES, length, length_bytes);
    yamux_data_head(&peer->yamux, &stream->yamux, length_bytes + peer->message.bytes, head);
    stream->sent += length_bytes + peer->message.bytes;
    stream->since_ns = peer->swarm->net->core->now_ns;
    counter_add(&peer->swarm->counters.messages_out, 1);
}

bool message_presence(struct peer *peer, const struct ledger_want *want, bool have) {
    uint8_t bytes[BITSWAP_PRESENCE_MAX];
    struct bitswap_form form = ledger_form(want);
    uint32_t count = (uint32_t)bitswap_put_presence(&want->key, &form, have, bytes);
    uint8_t *room = item_room(peer, count);
    if (!room) {
        return false;
    }
    memcpy(room, bytes, count);
    counter_add(have ? &peer->swarm->counters.haves_out : &peer->swarm->counters.dont_haves_out, 1);
    return true;
}

bool message_block(struct peer *peer, const struct ledger_want *want, const uint8_t *body,
                   uint32_t bytes) {
    must(bytes <= MESSAGE_BLOCK_MAX);
    uint8_t head[BITSWAP_BLOCK_HEAD_MAX];
    struct bitswap_form form = ledger_form(want);
    bool bare = bare_blocks(peer->spoken);
    uint32_t head_bytes = (uint32_t)(bare ? bitswap_put_block_head_100(bytes, head)
                                          : bitswap_put_block_head(&want->key, &form, bytes, head));
    uint8_t *room = item_room(peer, head_bytes + bytes);
    if (!room) {
        return false;
    }
    memcpy(room, head, head_bytes);
    memcpy(room + head_bytes, body, bytes);
    counter_add(&peer->swarm->counters.blocks_out, 1);
    counter_add(&peer->swarm->counters.block_bytes_out, bytes);
    return true;
}

/* ---- large ---------------------------------------------------------------------------------- */

static uint32_t large_head(const struct stream *stream, const struct ledger_want *want,
                           uint32_t bytes, uint8_t out[LARGE_HEAD_MAX]) {
    struct bitswap_form form = ledger_form(want);
    bool bare = bare_blocks(stream->spoken);
    size_t field =
        bare ? bitswap_block_size_100(bytes) : bitswap_block_size(&want->key, &form, bytes);
    size_t at = bitswap_put_length((uint32_t)(BITSWAP_EMPTY_LIST_BYTES + field), out);
    at += bitswap_put_empty_list(out + at);
    at += bare ? bitswap_put_block_head_100(bytes, out + at)
               : bitswap_put_block_head(&want->key, &form, bytes, out + at);
    return (uint32_t)at;
}

/* A record with room for a good piece, control frames ahead of it. */
static bool large_record(struct peer *peer) {
    if (peer_output_full(peer)) {
        return false;
    }
    message_end(peer);
    bool roomy =
        peer->record && peer->record->size == OUT_LARGE_BYTES && record_left(peer) >= 32u * KiB;
    if (!roomy && !record_begin_large(peer)) {
        return false;
    }
    peer_owed(peer); /* ahead of what is bulky */
    return peer->record != NULL;
}

uint32_t message_large(struct stream *stream, struct ledger_want *want, const uint8_t *body,
                       uint32_t bytes) {
    struct peer *peer = stream->peer;
    uint32_t before = want->offset;
    if (!propose(stream)) {
        return 0;
    }
    message_end(peer); /* one open on this very stream takes of its window */
    while (want->offset < bytes) {
        uint8_t head[LARGE_HEAD_MAX];
        uint32_t head_bytes = want->offset == 0 ? large_head(stream, want, bytes, head) : 0;
        uint32_t window = stream->yamux.send_window;
        if (window < min_u32(WINDOW_MIN, head_bytes + bytes - want->offset) ||
            !large_record(peer)) {
            break;
        }
        uint32_t piece = min_u32(bytes - want->offset, window - head_bytes);
        piece = min_u32(piece, record_left(peer) - YAMUX_HEAD_BYTES - head_bytes);
        piece = bytes > STREAM_SENT_MAX ? min_u32(piece, CAREFUL_FRAME - head_bytes) : piece;
        uint8_t *room = record_room(peer, YAMUX_HEAD_BYTES + head_bytes, false);
        must(room != NULL && piece > 0);
        yamux_data_head(&peer->yamux, &stream->yamux, head_bytes + piece, room);
        memcpy(room + YAMUX_HEAD_BYTES, head, head_bytes);
        if (!record_seal_with(peer, body + want->offset, piece)) {
            return 0;
        }
        want->offset += piece;
        stream->sent += head_bytes + piece;
    }
    if (before == 0 && want->offset > 0) {
        counter_add(&peer->swarm->counters.messages_out, 1);
    }
    if (want->offset == bytes) {
        counter_add(&peer->swarm->counters.blocks_out, 1);
        counter_add(&peer->swarm->counters.block_bytes_out, bytes);
    }
    stream->since_ns = peer->swarm->net->core->now_ns;
    return want->offset - before;
}
