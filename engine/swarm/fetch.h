/* SPDX-License-Identifier: MIT */
#pragma once

/* fetch — one session that brings a block, or a whole DAG, here from other peers.
 *
 *             ASK_LOCAL        absent          WANT_BLOCK       the block       stored
 *   frontier ──────────► ASKING ────► SEEKING ──────────► ASKED ────────► STORING ────► over
 *      ▲                  │ present      ▲                  │                │
 *      └── links ── READING ◄┘           └── DONT_HAVE, late, peer gone      └── links ──► frontier
 *
 * What is here is not fetched again, but its links are followed: a fetch broken off goes on where
 * it was. A wanted block is asked of one peer at a time, the one expected to finish first (its
 * backlog at its measured speed, then its latency); a few others are asked whether they have it,
 * and holders come first when it must be asked again. A late answer moves the want elsewhere, takes
 * it back from whom it was asked of, and halves that peer's window; arrivals open it again. A block
 * that nobody asked for counts against its peer, and one that was asked for makes up for
 * it; after FETCH_BAD_MAX that nothing made up for the peer is asked no more: the bytes are hashed
 * before they come here, so a lie is a block of another name.
 *
 * Empty blocks are made here (Go peers never send them), identity CIDs carry their own.
 *
 * Events in, actions out: nothing here does I/O, reads a clock or takes memory but the caller's and
 * the lender's. Every call is O(1) in the wants in flight but for fetch_next (bounded by what it
 * hands out and, when a peer was late, wants_max), fetch_peer_down (wants_max) and the links of one
 * block.
 * Bounds: wants_max wants in flight, window_bytes of them, per peer FETCH_PEER_WANTS and
 * FETCH_PEER_BYTES, blocks_max blocks in a DAG, frontier_bytes of links: what is beyond the last
 * two fails the session with a sentence that names the CID.
 * Thread: owner. Files: fetch.c (the life of a want), fetch_ask.c (whom to ask, and when again),
 * fetch_inside.h. */

#include "base/base.h"
#include "base/cid.h"
#include "base/key.h"
#include "engine/swarm/frontier.h"
#include "engine/swarm/lender.h"
#include "engine/swarm/visited.h"
#include "proto/bitswap/bitswap.h"

#define FETCH_PEERS_MAX  64u
#define FETCH_PEER_NONE  UINT8_MAX
#define FETCH_PEER_WANTS 256u              /* want-blocks in flight at one peer, at most */
#define FETCH_PEER_BYTES (16 * MiB)        /* and what they are expected to weigh */
#define FETCH_BAD_MAX    3u                /* blocks nobody asked for, and the peer is out */
#define FETCH_HAVES      3u                /* peers asked for a HAVE beside each want-block */
#define FETCH_ROUNDS_MAX 4u                /* times all peers were asked in vain for one block */
#define FETCH_LATE_MIN   (500 * NS_PER_MS) /* an answer is late after 2 x the usual time, */
#define FETCH_LATE_MAX   (30 * NS_PER_S)   /* within these */
#define FETCH_LATE_FIRST (3 * NS_PER_S)    /* before the first answer */

enum fetch_state { FETCH_RUNNING, FETCH_DONE, FETCH_FAILED };
enum fetch_why {
    FETCH_WHY_NONE,
    FETCH_WHY_ABSENT,   /* every peer said it does not have it, or never answered */
    FETCH_WHY_NO_PEER,  /* none connected for patience_ns */
    FETCH_WHY_HASH,     /* a hash function we do not have */
    FETCH_WHY_CODEC,    /* whose links cannot be read here */
    FETCH_WHY_LINKS,    /* the block is not what its codec says */
    FETCH_WHY_BLOCKS,   /* more than blocks_max */
    FETCH_WHY_FRONTIER, /* more links than frontier_bytes hold */
    FETCH_WHY_MEMORY,   /* the lender has none left */
    FETCH_WHY_FULL,     /* the store takes no more */
    FETCH_WHY_STORE,    /* the store failed */
    FETCH_WHY_CANCELED,
    FETCH_WHY_COUNT
};

struct fetch_config {
    uint64_t seed; /* secret */
    uint32_t wants_max;
    uint64_t window_bytes;
    uint64_t blocks_max;
    size_t frontier_bytes;
    uint64_t patience_ns;
};

enum fetch_kind { FETCH_ASK_LOCAL, FETCH_WANT_BLOCK, FETCH_WANT_HAVE, FETCH_CANCEL };
/* What the owner is to do. ASK_LOCAL is answered by fetch_local with `want`, once; the others are
 * words for `peer`. */
struct fetch_action {
    struct key key;
    struct bitswap_form form;
    int32_t priority;
    uint32_t want;
    uint8_t kind;
    uint8_t peer;
};

/* What a local answer leads to. */
enum fetch_order {
    FETCH_ORDER_NONE,
    FETCH_ORDER_READ,       /* read the block, then fetch_read() */
    FETCH_ORDER_STORE_EMPTY /* store the empty block, then fetch_stored() */
};

/* Whose is a block that came. */
enum fetch_verdict {
    FETCH_TAKE,      /* store it, then fetch_stored() */
    FETCH_DUPLICATE, /* was wanted, and is here or on its way into the store */
    FETCH_UNWANTED   /* never asked for */
};

enum fetch_stored { FETCH_STORED, FETCH_STORE_FULL, FETCH_STORE_FAILED };

struct fetch_numbers {
    uint64_t blocks, bytes;                     /* fetched and stored */
    uint64_t here_blocks;                       /* found here */
    uint64_t duplicate_blocks, duplicate_bytes; /* came more than once */
    uint64_t unwanted_blocks;
    uint64_t asked, dont_haves, late; /* want-blocks sent; DONT_HAVE that came; answers overdue */
    uint64_t known;                   /* blocks of the DAG seen so far */
    uint64_t frontier;                /* links still to be followed */
    uint64_t held_bytes;              /* asked for or being stored, as expected */
    uint32_t in_flight;               /* asked for */
    uint32_t storing;
};

struct fetch_want;
struct fetch_list {
    uint32_t head, tail, count;
};

/* One peer of the session; slots are named by their place. */
struct fetch_peer {
    bool up;
    bool out;       /* FETCH_BAD_MAX */
    uint8_t bad;    /* blocks nobody asked for, less those that were */
    uint32_t wants; /* want-blocks in flight */
    uint64_t bytes; /* expected of them */
    uint32_t owed;  /* answers that may still come, also to wants taken back */
    uint32_t window_wants;
    uint64_t window_bytes;
    uint64_t latency_ns;    /* the least that an answer took, drifting up */
    uint64_t response_ns;   /* moving average; 0: none yet */
    uint64_t cost_ns;       /* of FETCH_UNIT bytes, moving average; 0: not known */
    uint64_t heard_ns;      /* last byte of a block */
    uint64_t arrived_ns;    /* last block */
    struct fetch_list list; /* its wants, longest asked first */
    uint64_t blocks, block_bytes, duplicates, dont_haves, late;
};

struct fetch {
    struct fetch_config config;
    enum fetch_state state;
    enum fetch_why why;
    struct cid culprit; /* of `why`, where it has one */
    bool dag;
    bool culprit_known;
    struct fetch_want *wants;
    uint32_t *heads; /* wants by key */
    uint32_t heads_mask;
    uint32_t free;
    uint32_t used;
    uint32_t order;                /* wants made so far */
    struct fetch_list seeking;     /* to be asked for */
    struct fetch_list telling;     /* over, but peers are still to be told */
    uint32_t tell_cursor;          /* ended: next want whose peers are told */
    uint64_t due_ns;               /* no answer is late before */
    uint64_t lonely_ns;            /* since when no peer is live nor expected; 0: one is */
    uint64_t size_raw, size_other; /* moving averages of block sizes: leaves, and nodes */
    uint64_t live;                 /* peers that may be asked, bits by slot */
    uint32_t expected;             /* peers being dialled: nothing is given up while one may come */
    uint32_t local;                /* wants whose local answer is out */
    struct visited visited;
    struct frontier frontier;
    struct fetch_peer peers[FETCH_PEERS_MAX];
    struct fetch_numbers numbers;
};

/* wants_max: 16 .. 65,536. The memory is the caller's, aligned to CACHE_LINE. */
size_t fetch_wants_footprint(uint32_t wants_max);
void fetch_init(struct fetch *fetch, void *memory, const struct fetch_config *config,
                const struct lender *lender, const struct cid *root, bool dag, uint64_t now_ns);
/* Gives the lender's memory back. Local answers still out must not be delivered any more. */
void fetch_fini(struct fetch *fetch);

/* Fills up to `max` (at least FETCH_ACTIONS_MIN) actions. Returns: how many; fewer than max - MIN:
 * nothing more to do until an event or fetch_due_ns. Also where timeouts are noticed and the end is
 * seen. After the end it hands out the cancels still owed. */
#define FETCH_ACTIONS_MIN (2u + FETCH_HAVES + FETCH_PEERS_MAX)
uint32_t fetch_next(struct fetch *fetch, uint64_t now_ns, struct fetch_action actions[],
                    uint32_t max);
uint64_t fetch_due_ns(const struct fetch *fetch);
void fetch_cancel(struct fetch *fetch);
/* No peer will come any more: fails if none is there. */
void fetch_abandon(struct fetch *fetch);
const struct key *fetch_key(const struct fetch *fetch, uint32_t want);
uint32_t fetch_codec(const struct fetch *fetch, uint32_t want);

/* ---- local events ---- */

enum fetch_order fetch_local(struct fetch *fetch, uint32_t want, bool present);
/* A read that FETCH_ORDER_READ asked for. block NULL: it could not be read: it is fetched anew. */
void fetch_read(struct fetch *fetch, uint32_t want, const uint8_t *block, size_t bytes);
void fetch_stored(struct fetch *fetch, uint32_t want, enum fetch_stored how);

/* ---- peers' events ---- */

/* round_trip_ns: 0 where it is not known. Returns: its slot, or FETCH_PEER_NONE: all are taken. */
must_check uint8_t fetch_peer_up(struct fetch *fetch, uint64_t round_trip_ns, uint64_t now_ns);
/* That many more (or fewer) peers are being dialled. */
void fetch_expect(struct fetch *fetch, int32_t more);
/* It is gone, or all that was asked of it is lost (its stream was reset: then up again). */
void fetch_peer_down(struct fetch *fetch, uint8_t peer);
void fetch_presence(struct fetch *fetch, uint8_t peer, const struct key *key,
                    const struct bitswap_form *form, bool have);
/* Bytes of a block are coming: what was asked of it is not late yet. */
void fetch_heard(struct fetch *fetch, uint8_t peer, uint64_t now_ns);
/* How many blocks of this peer may be hashed to see whether they are wanted? */
uint32_t fetch_owes(const struct fetch *fetch, uint8_t peer);
/* Was this block ever a part of what is fetched? Where sessions share a peer, its blocks are for
 * those that know them. */
bool fetch_knows(const struct fetch *fetch, const struct key *key, uint32_t codec);
/* A block that hashes to `key` came; peer: FETCH_PEER_NONE where it has gone since. TAKE: its links
 * were followed and *ret_want names it. */
enum fetch_verdict fetch_block(struct fetch *fetch, uint8_t peer, const struct key *key,
                               const struct bitswap_form *form, const uint8_t *block,
                               uint32_t bytes, uint64_t now_ns, uint32_t *ret_want);

/* A sentence for people: how it ended, with the CID. Returns: characters. */
#define FETCH_SAY_MAX (CID_TEXT_MAX + 128)
size_t fetch_say(const struct fetch *fetch, char text[FETCH_SAY_MAX]);
void fetch_count(const struct fetch *fetch, struct fetch_numbers *ret_numbers);
