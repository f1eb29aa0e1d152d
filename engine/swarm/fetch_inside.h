/* SPDX-License-Identifier: MIT */
#pragma once

/* fetch inside — what the files of a fetch session share. */

#include "engine/swarm/fetch.h"

#define FETCH_NONE UINT32_MAX
#define FETCH_UNIT 1024u /* bytes that a peer's speed is measured in */
#define FETCH_BLOCK_UNITS \
    4u /* what a block costs beside its bytes, in those: peers also count in blocks */

enum want_state {
    WANT_FREE,
    WANT_ASKING,  /* the owner looks whether it is here */
    WANT_READING, /* it is; the owner reads it for its links */
    WANT_SEEKING, /* in `seeking` */
    WANT_ASKED,   /* in the list of `peer` */
    WANT_STORING, /* it came; the owner stores it */
    WANT_TELLING  /* stored; in `telling` until its cancels are out */
};

/* Sets of peers are bits by slot. */
struct fetch_want {
    struct key key;
    uint32_t codec;
    uint8_t version;
    uint8_t state;
    uint8_t peer; /* ASKED: of whom */
    uint8_t round;
    bool last_look; /* all peers failed; asked once more whether it is here by now */
    bool listed;    /* in `telling` */
    bool idle_ask;  /* its peer had nothing else to do when asked: the answer's time is a latency */
    uint32_t next, prev; /* of the list it is in; next: the free list, too */
    uint32_t next_key;
    uint32_t order;
    uint32_t bytes; /* expected, then known */
    uint64_t sent_ns;
    uint64_t have;      /* said HAVE */
    uint64_t dont_have; /* said DONT_HAVE */
    uint64_t late;      /* did not answer in this round */
    uint64_t asked;     /* has a want-block of it, not taken back */
    uint64_t told;      /* its list may hold this want: to be cancelled */
};

static inline uint64_t peer_bit(uint8_t peer) {
    return UINT64_C(1) << peer;
}
static inline struct fetch_want *want_at(const struct fetch *fetch, uint32_t index) {
    return &fetch->wants[index];
}
static inline uint32_t want_index(const struct fetch *fetch, const struct fetch_want *want) {
    return (uint32_t)(want - fetch->wants);
}
static inline bool want_is_leaf(const struct fetch_want *want) {
    return want->codec == CID_RAW;
}

/* ---- fetch.c ---- */
/* The want of this key, of this codec if there are several. */
struct fetch_want *fetch_find(const struct fetch *fetch, const struct key *key, uint32_t codec);
void fetch_fail(struct fetch *fetch, enum fetch_why why, const struct cid *culprit);
void fetch_fail_want(struct fetch *fetch, enum fetch_why why, const struct fetch_want *want);
void list_push(struct fetch *fetch, struct fetch_list *list, struct fetch_want *want, bool front);
void list_remove(struct fetch *fetch, struct fetch_list *list, struct fetch_want *want);
/* Writes one action for `peer`. */
void fetch_act(const struct fetch *fetch, const struct fetch_want *want, enum fetch_kind kind,
               uint8_t peer, struct fetch_action *action);

/* ---- fetch_ask.c ---- */
/* The want is in nobody's list any more. */
void ask_end(struct fetch *fetch, struct fetch_want *want);
/* It must be asked for (again): first in line if it was before. */
void ask_seek(struct fetch *fetch, struct fetch_want *want, bool front);
/* The peer is asked no more; what it was asked for is sought elsewhere. */
void ask_leave(struct fetch *fetch, uint8_t slot);
/* Some peer can take another want. */
bool ask_has_room(const struct fetch *fetch);
/* Asks for what is in `seeking`, as far as peers and actions go. Returns: actions. */
uint32_t ask_all(struct fetch *fetch, uint64_t now_ns, struct fetch_action actions[], uint32_t max);
/* Moves wants whose answer is late. */
void ask_late(struct fetch *fetch, uint64_t now_ns);
/* Learns from an answer. bytes: of a block. */
void ask_learn(struct fetch *fetch, struct fetch_peer *peer, const struct fetch_want *want,
               uint32_t bytes, uint64_t now_ns);
