/* SPDX-License-Identifier: MIT */
#pragma once

/* far — a session and a peer on different cores: what they say to each other.
 *
 *   session's tile                          peer's tile
 *     USE ───────────────────────────────►   remembers who wants its peers
 *     ◄─────────────────────────────── UP    for each peer, and those that come
 *     ◄───────────────────────────── TOLD    these were all for now: until then none is given up
 *     LINKED (slot, epoch) ──────────────►   the peer's link
 *     WORD (want, have, cancel) ─────────►   wants.h
 *     ◄────────── PRESENCE, HEARD, OFFER     a block with a name, its bytes still in that core's
 *     VERDICT (as which want) ───────────►   arena: read here, stored or dropped there
 *     ◄──────────────── STORED, DOWN
 *     LEAVE ─────────────────────────────►
 *
 * A note is memory of its sender's arena; chains of them cross one-to-one rings (mesh.h), at most
 * one chain a turn and pair, and go home the same way. Words, presences and offers may be lost
 * where FAR_NOTES_MAX are out (counted): the fetch asks again. What must not be lost has the rest
 * of the room to itself. Thread: the net tile's. */

#include "base/base.h"
#include "engine/layout.h"
#include "engine/swarm/fetch.h"
#include "engine/swarm/peer_link.h"

struct client;
struct intake;
struct peer;
struct session;

#define FAR_NOTES_MAX 8192u /* out of one tile; those that must not be lost: twice as many */
#define FAR_USERS_MAX 16u   /* sessions elsewhere that use the peers of one tile */
#define FAR_PEERS_MAX 64u   /* peers told to one of them when it comes */

enum note_kind {
    NOTE_USE,
    NOTE_LEAVE,
    NOTE_UP,
    NOTE_TOLD,
    NOTE_LINKED,
    NOTE_WORD,
    NOTE_PRESENCE,
    NOTE_HEARD,
    NOTE_OFFER,
    NOTE_VERDICT,
    NOTE_STORED,
    NOTE_DOWN
};

struct far_note {
    struct far_note *next;
    uint8_t kind;
    uint8_t from; /* core of the sender */
    bool flag;    /* PRESENCE: have; OFFER: nobody else may know it; VERDICT: it is known */
    uint8_t how;  /* STORED: enum fetch_stored */
    uint32_t conn, generation; /* of the peer: UP, LINKED, WORD */
    uint32_t want;             /* OFFER: place in intake->links; VERDICT, STORED: the want */
    uint32_t place;            /* VERDICT: as OFFER's `want` */
    uint32_t codec;            /* VERDICT: of the want */
    struct peer_link link;     /* the session, as the peer knows it */
    uint64_t round_trip_ns;    /* UP */
    struct intake *intake;     /* OFFER, VERDICT */
    union {
        struct fetch_action action; /* WORD */
        struct bitswap_presence presence;
    };
};

struct far_chain {
    struct far_note *head, *tail;
};

struct far {
    struct far_chain out[LAYOUT_CORES_MAX];  /* to be pushed at the end of the turn */
    struct far_chain home[LAYOUT_CORES_MAX]; /* read, and going back to who made them */
    uint32_t notes;                          /* out of this tile */
    struct peer_link users[FAR_USERS_MAX];   /* generation 0: free */
};

/* Takes what came. Once a turn. */
void far_poll(struct client *client);
/* Pushes what is to go. At the end of a turn. Returns: whether some waits for room. */
bool far_flush(struct client *client);
bool far_has_input(const struct client *client);
bool far_idle(const struct client *client);

/* ---- of a session ---- */
void far_use(struct session *session);
void far_leave(struct session *session);
void far_word(struct session *session, const struct fetch_action *action);

/* ---- of a peer ---- */
void far_peer_opened(struct client *client, struct peer *peer);
void far_down(struct client *client, const struct peer_link *link);
void far_presence(struct client *client, const struct peer_link *link,
                  const struct bitswap_presence *presence);
void far_heard(struct client *client, const struct peer_link *link);
/* Returns: false: it could not be said. Else intake_verdict() follows. */
must_check bool far_offer(struct client *client, const struct peer_link *link,
                          struct intake *intake, uint32_t place, bool alone);
void far_stored(struct client *client, const struct peer_link *link, uint32_t want,
                enum fetch_stored how);
