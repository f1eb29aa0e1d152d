/* SPDX-License-Identifier: MIT */
#pragma once

/* guest — a libp2p peer that comes to a rig's engine over loopback: dials, shakes hands, opens
 * streams, wants blocks, and says on request what no decent peer would.
 *
 * It acts on what it reads by itself: pongs, window updates, its identify message, the tokens of
 * streams that are opened to it. All that Bitswap brings is kept in the order it came, each block
 * under the hash of its bytes, so finding a block by its key proves it whole. `manners` say what it
 * does not do, or does oddly.
 *
 * Whatever waits has the rig's PATIENCE; `turn` (NULL: the engine has a thread) is called instead
 * of waiting in the kernel. Memory: the general heap. */

#include "proto/bitswap/bitswap.h"
#include "proto/libp2p/identify.h"
#include "proto/libp2p/multistream.h"
#include "proto/libp2p/secure.h"
#include "proto/libp2p/yamux.h"
#include "tests/engine/rig.h"

struct guest_manners {
    enum secure_kind kind;
    uint8_t seed;          /* of its key; 0: 1 */
    uint32_t write_bytes;  /* into the socket at once; 0: all there is */
    const char *agent;     /* NULL: "guest/1" */
    const char *speaks;    /* the one Bitswap protocol it has; NULL: 1.2.0 */
    bool keeps_identify;   /* never answers who it is */
    bool keeps_tokens;     /* never answers a proposal for Bitswap */
    bool holds_windows;    /* never opens a window again */
    bool ends_at_once;     /* its side of a reply stream ends when it is opened, as in js */
    uint32_t refuses;      /* so many proposals of Bitswap are answered "na" */
    uint32_t resets_after; /* bytes of a reply stream, of the first one only; 0: never */
};

struct guest_stream {
    struct yamux_stream yamux;
    struct guest_stream *next;
    struct multistream select;
    bool theirs, bitswap, identify;
    bool agreed;       /* both tokens were read */
    bool told;         /* its BITSWAP messages are read */
    bool ended, reset; /* FIN, RST came */
    uint32_t id;
    uint32_t taken; /* payload bytes, tokens included */
    uint8_t *bytes; /* ours: what came behind the header's token */
    uint32_t used, room;
    struct bitswap_reader reader;
    uint8_t *block;
    uint32_t block_used, block_bytes;
    uint32_t messages;
};

enum guest_kind { GUEST_BLOCK, GUEST_HAVE, GUEST_DONT_HAVE };
struct guest_answer {
    enum guest_kind kind;
    struct key key;
    struct bitswap_form form; /* CIDv0 for a block without prefix */
    uint32_t bytes;
    uint32_t stream, message; /* id, and which one on that stream */
};

struct guest {
    struct guest_manners manners;
    void (*turn)(void *context);
    void *context;
    int fd;
    bool ended; /* the connection */
    struct secure_self *self;
    struct secure_memory *memory;
    struct secure *secure;
    struct yamux yamux;
    bool open;   /* yamux speaks */
    uint8_t *in; /* received, not opened yet */
    size_t in_used, in_room;
    struct guest_stream *streams; /* all there ever were, newest first */
    struct guest_answer *answers;
    uint32_t answer_count;
    struct bitswap_want *wanted; /* what the engine wants of it, cancels too, as they came */
    uint32_t wanted_count;
    struct guest_stream *want_stream; /* on which the last of them came */
    uint32_t pongs, resets, opened;   /* opened: streams by the other side */
    uint32_t goaway;                  /* code + 1 */
};

/* ---- coming and going ---- */

/* TCP alone, to the first Bitswap listener. */
struct guest guest_call(struct rig *rig, const struct guest_manners *manners);
/* Up to a yamux session. */
void guest_enter(struct guest *guest);
/* Both. manners: NULL for good ones. */
struct guest guest_open(struct rig *rig, const struct guest_manners *manners);
/* Frees everything; rudely: with a reset of the connection. */
void guest_close(struct guest *guest);
void guest_abort(struct guest *guest);

/* ---- what it says ---- */

/* In the clear. */
void guest_write(struct guest *guest, const void *bytes, size_t count);
/* In one record. */
void guest_say(struct guest *guest, const void *bytes, size_t count);
struct guest_frame {
    uint8_t type;   /* 0 data, 1 window, 2 ping, 3 go-away */
    uint16_t flags; /* 1 SYN, 2 ACK, 4 FIN, 8 RST */
    uint32_t id, length;
};
/* A yamux frame as it is, with `count` bytes behind its head. */
void guest_frame(struct guest *guest, struct guest_frame frame, const void *bytes, size_t count);

/* A stream of its own, with the header and a proposal. */
struct guest_stream *guest_stream(struct guest *guest, const char *protocol);
void guest_send(struct guest *guest, struct guest_stream *stream, const void *bytes, size_t count);
void guest_finish(struct guest *guest, struct guest_stream *stream);
void guest_reset(struct guest *guest, struct guest_stream *stream);

/* One Bitswap message of wants. */
void guest_wants(struct guest *guest, struct guest_stream *stream, const struct bitswap_want *wants,
                 uint32_t count, bool full);
struct bitswap_want guest_want(const struct block *block); /* want-block, CIDv1 raw, priority 1 */
/* One want on one stream. */
void guest_ask(struct guest *guest, struct guest_stream *stream, const struct block *block);

/* ---- what it hears ---- */

/* Reads what is there, waiting a little if nothing is. */
void guest_step(struct guest *guest);
#define guest_until(guest, cond)                                                     \
    do {                                                                             \
        uint64_t until_ns = clock_ns() + PATIENCE_NS;                                \
        while (!(cond)) {                                                            \
            cr_assert_lt(clock_ns(), until_ns, "it never came: %s", #cond);          \
            cr_assert_not((guest)->ended, "the connection ended before: %s", #cond); \
            guest_step(guest);                                                       \
        }                                                                            \
    } while (0)
/* Both sides have nothing in flight: a ping went there and came back. */
void guest_settle(struct guest *guest);
/* The connection ends. */
void guest_expect_end(struct guest *guest);
/* How many answers of one kind for a key. */
uint32_t guest_count(const struct guest *guest, enum guest_kind kind, const struct key *key);
uint32_t guest_count_all(const struct guest *guest, enum guest_kind kind);
const struct guest_answer *guest_find(const struct guest *guest, const struct key *key);
/* The block comes, whole. */
const struct guest_answer *guest_expect_block(struct guest *guest, const struct block *block);
/* How many wants or cancels of this key came. */
uint32_t guest_wanted(const struct guest *guest, const struct key *key, bool cancel);

/* ---- what it gives ---- */

/* A message with this block (CIDv1), on a stream of its own. */
void guest_give(struct guest *guest, const struct block *block, uint64_t codec);
void guest_presence(struct guest *guest, const struct block *block, bool have);
/* Reply streams that are open on both sides. */
uint32_t guest_replies(const struct guest *guest);
