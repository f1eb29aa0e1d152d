/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/attack.h"

#include "base/bits.h"
#include "base/must.h"
#include "tools/load/bitswap/giant.h"

#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

#define CHUNK_BYTES   16384u
#define WANTS_MAX     1000u
#define FEW_WANTS     500u
#define FLOOD_ENTRIES 100000u
#define LIST_ENTRIES  10000u
#define OVERRUN_STEPS 200u

enum { TYPE_DATA, TYPE_WINDOW, TYPE_PING };
enum { FLAG_SYN = 1, FLAG_RST = 8 };

/* ---- pieces ---- */

static struct peer_stream *want_stream(struct node *node) {
    struct peer *peer = &node->peer;
    if (peer->want == NULL && !peer_open(peer, STREAM_WANT, peer_bitswap, &peer->want)) {
        peer_fail(peer, "no stream can be opened");
    }
    return peer->want;
}

/* Asks for `count` blocks that exist. */
static void want_blocks(struct swarm *swarm, struct node *node, uint32_t count) {
    struct peer_stream *stream = want_stream(node);
    count = min_u32(count, swarm->catalog.count);
    for (uint32_t i = 0; stream != NULL && i < count; i++) {
        struct bitswap_want want = {.priority = 1, .send_dont_have = true};
        uint32_t index = (node->walk_at + i) % swarm->catalog.count;
        catalog_name(&swarm->catalog, index, &want.key, &want.form);
        letter_add(&swarm->letter, &want);
    }
    if (stream != NULL) {
        letter_send(&swarm->letter, &node->peer, stream);
    }
}

static struct bitswap_want absent(struct swarm *swarm) {
    struct bitswap_want want = {.priority = 1, .form = {.codec = 0x55, .version = 1}};
    want.key.code = HASH_SHA2_256;
    want.key.digest_bytes = 32;
    for (uint32_t i = 0; i < 32; i += 8) {
        put_le64(want.key.digest + i, draw_bits(&swarm->draw));
    }
    return want;
}

/* A message of entries about blocks that nobody has. */
static void want_absent(struct swarm *swarm, struct node *node, uint32_t count, bool cancel) {
    struct peer_stream *stream = want_stream(node);
    for (uint32_t i = 0; stream != NULL && i < count; i++) {
        struct bitswap_want want = absent(swarm);
        want.cancel = cancel;
        letter_add(&swarm->letter, &want);
        if (swarm->letter.entries.used > BITSWAP_MESSAGE_MAX - 2 * BITSWAP_ENTRY_MAX) {
            break;
        }
    }
    if (stream != NULL) {
        letter_send(&swarm->letter, &node->peer, stream);
    }
}

static void frame(uint8_t *out, uint8_t type, uint16_t flags, uint32_t id, uint32_t length) {
    out[0] = 0;
    out[1] = type;
    put_be16(out + 2, flags);
    put_be32(out + 4, id);
    put_be32(out + 8, length);
}

/* All that was handed over is written: the window, not the socket, may hold it. */
static bool stream_empty(const struct node *node) {
    return node->peer.want == NULL || bytes_left(&node->peer.want->out) == 0;
}

/* ---- those that do not read ---- */

static enum attack_next push_then_deaf(struct swarm *swarm, struct node *node) {
    if (node->step == 0) {
        want_blocks(swarm, node, WANTS_MAX);
    } else if (stream_empty(node)) {
        swarm_deafen(swarm, node);
    }
    node->step++;
    return ATTACK_ON;
}

/* Nothing that comes for this socket gets into it any more, so nothing is acknowledged. */
static void socket_kill(const struct node *node) {
    struct sock_filter drop = {.code = BPF_RET | BPF_K, .k = 0};
    struct sock_fprog program = {.len = 1, .filter = &drop};
    (void)setsockopt(node->fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}

static enum attack_next push_then_dead(struct swarm *swarm, struct node *node) {
    if (node->step == 0) {
        want_blocks(swarm, node, WANTS_MAX);
        swarm_flush(swarm, node);
        socket_kill(node);
        swarm_deafen(swarm, node);
    }
    node->step++;
    return ATTACK_ON;
}

static enum attack_next push_few(struct swarm *swarm, struct node *node) {
    if (node->step++ == 0) {
        want_blocks(swarm, node, FEW_WANTS);
    }
    return ATTACK_ON;
}

static enum attack_next push_and_vanish(struct swarm *swarm, struct node *node) {
    if (node->step++ == 0) {
        want_blocks(swarm, node, FEW_WANTS);
        return ATTACK_ON;
    }
    return ATTACK_LEAVE;
}

/* ---- floods ---- */

static enum attack_next push_streams(struct swarm *swarm, struct node *node) {
    uint8_t bytes[CHUNK_BYTES];
    uint32_t id = node->step > 0 ? (uint32_t)node->step : node->peer.yamux.next_id;
    size_t used = 0;
    (void)swarm;
    for (; used + 2 * YAMUX_HEAD_BYTES <= sizeof bytes && id < UINT32_MAX - 4; id += 2) {
        frame(bytes + used, TYPE_WINDOW, FLAG_SYN, id, 0);
        frame(bytes + used + YAMUX_HEAD_BYTES, TYPE_WINDOW, FLAG_RST, id, 0);
        used += 2 * YAMUX_HEAD_BYTES;
    }
    node->step = id;
    peer_raw(&node->peer, bytes, used);
    return used > 0 ? ATTACK_ON : ATTACK_LEAVE;
}

static enum attack_next push_pings(struct swarm *swarm, struct node *node) {
    uint8_t bytes[CHUNK_BYTES];
    size_t used = 0;
    if (node->number % 2 == 1) {
        swarm_deafen(swarm, node);
    }
    for (; used + YAMUX_HEAD_BYTES <= sizeof bytes; used += YAMUX_HEAD_BYTES) {
        frame(bytes + used, TYPE_PING, FLAG_SYN, 0, (uint32_t)node->step++);
    }
    peer_raw(&node->peer, bytes, used);
    return ATTACK_ON;
}

static enum attack_next push_proposals(struct swarm *swarm, struct node *node) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    struct bytes *out = &node->peer.early;
    if (node->number % 2 == 1) {
        swarm_deafen(swarm, node); /* half of them do not read the answers */
    }
    for (uint32_t i = 0; i < CHUNK_BYTES / 16; i++) {
        bytes_add(out, token, multistream_write("/ipfs/no/such/protocol", token));
    }
    return ATTACK_ON;
}

static enum attack_next push_absent(struct swarm *swarm, struct node *node) {
    if (node->step++ == 0) {
        want_absent(swarm, node, WANTS_MAX, false);
    }
    return ATTACK_ON;
}

static enum attack_next push_absent_storm(struct swarm *swarm, struct node *node) {
    if (stream_empty(node)) {
        want_absent(swarm, node, WANTS_MAX, false);
    }
    return ATTACK_ON;
}

static enum attack_next push_wants(struct swarm *swarm, struct node *node) {
    if (stream_empty(node)) {
        want_absent(swarm, node, FLOOD_ENTRIES, false);
    }
    return ATTACK_ON;
}

static enum attack_next push_cancels(struct swarm *swarm, struct node *node) {
    if (stream_empty(node)) {
        want_absent(swarm, node, LIST_ENTRIES, true);
    }
    return ATTACK_ON;
}

static enum attack_next push_presences(struct swarm *swarm, struct node *node) {
    struct peer_stream *stream = want_stream(node);
    static struct bytes body;
    uint8_t head[BITSWAP_LENGTH_MAX + BITSWAP_EMPTY_LIST_BYTES];
    if (stream == NULL || !stream_empty(node)) {
        return ATTACK_ON;
    }
    body.used = 0;
    for (uint32_t i = 0; i < LIST_ENTRIES; i++) {
        struct bitswap_want want = absent(swarm);
        uint8_t *out = bytes_room(&body, BITSWAP_PRESENCE_MAX);
        body.used += (uint32_t)bitswap_put_presence(&want.key, &want.form, true, out);
    }
    size_t used = bitswap_put_length(body.used + BITSWAP_EMPTY_LIST_BYTES, head);
    used += bitswap_put_empty_list(head + used);
    bytes_add(&stream->out, head, used);
    bytes_add(&stream->out, body.at, body.used);
    peer_queue(&node->peer, stream);
    return ATTACK_ON;
}

/* ---- messages that are too much ---- */

/* A wantlist that promises 4 MiB, and then comes a byte at a time. */
static enum attack_next push_drip(struct swarm *swarm, struct node *node) {
    struct peer_stream *stream = want_stream(node);
    uint8_t head[16];
    (void)swarm;
    if (stream == NULL) {
        return ATTACK_ON;
    }
    if (node->step++ == 0) {
        size_t used = bitswap_put_length(BITSWAP_MESSAGE_MAX, head);
        used += bitswap_put_list_head(BITSWAP_MESSAGE_MAX - 5, false, head + used);
        bytes_add(&stream->out, head, used);
    } else {
        /* an unknown field of the list, as long as the list is: every byte of it is legal */
        static const uint8_t field[] = {0x7a, 0xf0, 0xff, 0xff, 0x01};
        bytes_add(&stream->out, node->step - 2 < sizeof field ? &field[node->step - 2] : field, 1);
    }
    peer_queue(&node->peer, stream);
    return ATTACK_ON;
}

static enum attack_next push_oversized(struct swarm *swarm, struct node *node) {
    static uint8_t zeros[CHUNK_BYTES];
    struct peer_stream *stream = want_stream(node);
    uint8_t head[BITSWAP_LENGTH_MAX + BITSWAP_BLOCK_HEAD_MAX + 4];
    if (stream == NULL || !stream_empty(node)) {
        return ATTACK_ON;
    }
    if (node->step++ == 0) {
        bool message = node->number % 2 == 0;
        uint32_t block = message ? 64u << 20 : (4u << 20) - 256; /* over the block's limit */
        struct bitswap_want want = absent(swarm);
        size_t used = bitswap_put_length(BITSWAP_MESSAGE_MAX, head);
        if (message) {
            static const uint8_t length[] = {0x80, 0x80, 0x80, 0x20}; /* 64 MiB */
            memcpy(head, length, sizeof length);
            used = sizeof length;
        } else {
            used = bitswap_put_length(
                (uint32_t)bitswap_block_size(&want.key, &want.form, block) + 2, head);
        }
        used += bitswap_put_empty_list(head + used);
        used += bitswap_put_block_head(&want.key, &want.form, block, head + used);
        bytes_add(&stream->out, head, used);
    }
    bytes_add(&stream->out, zeros, sizeof zeros);
    peer_queue(&node->peer, stream);
    return ATTACK_ON;
}

/* ---- windows ---- */

/* Windows opened byte by byte, wide and narrow, and now and then overrun. */
static enum attack_next push_windows(struct swarm *swarm, struct node *node) {
    uint8_t bytes[CHUNK_BYTES];
    size_t used = 0;
    if (node->step++ == 0) {
        want_blocks(swarm, node, FEW_WANTS);
        return ATTACK_ON;
    }
    for (struct peer_stream *stream = node->peer.streams; stream; stream = stream->next) {
        for (uint32_t i = 0; i < 64 && used + YAMUX_HEAD_BYTES <= sizeof bytes; i++) {
            frame(bytes + used, TYPE_WINDOW, 0, stream->yamux.id, 1);
            stream->yamux.receive_left++; /* it was given: what comes is no overrun of theirs */
            used += YAMUX_HEAD_BYTES;
        }
    }
    peer_raw(&node->peer, bytes, used);
    if (node->step > OVERRUN_STEPS && node->number % 4 == 0 && node->peer.want != NULL) {
        static uint8_t zeros[CHUNK_BYTES];
        for (uint32_t i = 0; i < 20; i++) { /* 320 KiB where 256 are allowed */
            frame(bytes, TYPE_DATA, 0, node->peer.want->yamux.id, sizeof zeros);
            peer_raw(&node->peer, bytes, YAMUX_HEAD_BYTES);
            peer_raw(&node->peer, zeros, sizeof zeros);
        }
        node->step = 1;
    }
    return ATTACK_ON;
}

/* ---- handshakes ---- */

/* Each stops elsewhere: connected, part of the header, security proposed, key sent, muxer silent.
 */
static void begin_half(struct swarm *swarm, struct node *node) {
    struct bytes *early = &node->peer.early;
    uint8_t message[2 + 32] = {0, 32, 9}; /* Noise's first: a key, and nothing behind it */
    (void)swarm;
    switch (node->number % 5) {
    case 0:
        early->used = 0;
        break;
    case 1:
        early->used = 7;
        break;
    case 2:
        break;
    case 3:
        bytes_add(early, message, sizeof message);
        break;
    default:
        return;
    }
    node->peer.raw = true;
}

static void begin_proposals(struct swarm *swarm, struct node *node) {
    uint8_t token[MULTISTREAM_WRITE_MAX];
    (void)swarm;
    node->peer.raw = true;
    node->peer.early.used = (uint32_t)multistream_write(multistream_header, token);
}

static const struct attack attacks[] = {
    {"slow-readers", "want 1,000 blocks each and never read (use with --size 256KiB)", 100,
     10 * NS_PER_MS, .push = push_then_deaf},
    {"dead-sockets", "the same, from sockets that acknowledge nothing", 20, 10 * NS_PER_MS,
     .push = push_then_dead},
    {"no-reply-stream", "want 500 blocks each and answer no stream, identify included", 50,
     10 * NS_PER_MS, .mute = true, .push = push_few},
    {"vanish", "want 500 blocks each, leave, and come again", 909, 50 * NS_PER_MS,
     .push = push_and_vanish},
    {"stream-flood", "open streams and reset them, as fast as it goes", 10, 0,
     .push = push_streams},
    {"proposal-flood", "propose protocols without end before any security", 50, 0,
     .begin = begin_proposals, .push = push_proposals},
    {"absent-wants", "want 1,000 blocks each that nobody has, and wait", 200, 10 * NS_PER_MS,
     .push = push_absent},
    {"absent-storm", "want blocks that nobody has, 1,000 a message, as fast as it goes", 20, 0,
     .push = push_absent_storm},
    {"drip", "a message of 4 MiB, byte by byte", 50, 10 * NS_PER_MS, .push = push_drip},
    {"want-flood", "messages of as many wants as 4 MiB hold", 4, 0, .push = push_wants},
    {"cancel-flood", "messages of 10,000 cancels of what was never wanted", 10, 0,
     .push = push_cancels},
    {"presence-flood", "messages of 10,000 presences nobody asked for", 10, 0,
     .push = push_presences},
    {"oversized", "messages over 4 MiB, and blocks over their limit", 20, 0,
     .push = push_oversized},
    {"half-handshake", "connections that stop at each stage of the handshake", 1000, 0,
     .begin = begin_half},
    {"giant-key", "handshakes that prove an RSA key of 32,768 bits", 20, 0, .begin = giant_begin},
    {"ping-flood", "pings of the muxer, half of their answers not read", 20, 0, .blind = true,
     .push = push_pings},
    {"window-games", "windows opened by single bytes, and overrun", 20, NS_PER_MS, .stingy = true,
     .push = push_windows},
};

const struct attack *attack_at(uint32_t n) {
    return n < array_count(attacks) ? &attacks[n] : NULL;
}
