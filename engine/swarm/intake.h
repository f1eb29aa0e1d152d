/* SPDX-License-Identifier: MIT */
#pragma once

/* intake — a block that is coming from a peer: its bytes, what it hashes to, who takes it.
 *
 *   FILLING ──► HASHING ──► JUDGED ──► STORING ──► over
 *   (stream)    here, or     sessions   a heavy     sessions hear how it went
 *               a heavy job  say        job
 *
 * A body is copied once, out of the record it was opened in, and hashed once: here where it is
 * small, else on a work tile; the store takes the caller's word for it. A block that no session
 * takes is dropped as soon as its name is known. Bytes of a block nobody is owed are not even kept.
 *
 * Bounds: the pool, and client->body_bytes_max of bodies; what one peer has begun and not ended,
 * beside its first, weighs at most a quarter of what is left of that. What finds no room is passed
 * over, and asked for again by its session. A block must go on by INTAKE_STEP_BYTES, or end, in
 * INTAKE_STEP_NS, and is kept as long as a session of those it may be for. Thread: the net tile's.
 */

#include "base/base.h"
#include "engine/swarm/peer_link.h"
#include "proto/bitswap/bitswap.h"

struct client;
struct job;
struct peer;

enum intake_phase {
    INTAKE_FILLING,
    INTAKE_HASHING, /* a job is out, or waits to be */
    INTAKE_JUDGED,  /* sessions on other cores look at it */
    INTAKE_STORING
};

struct intake {
    struct intake *next; /* of those that wait for a job */
    uint8_t *body;
    uint32_t bytes, filled;
    uint8_t phase;
    uint8_t link_count;
    uint8_t awaited;           /* verdicts of sessions on other cores */
    uint32_t conn, generation; /* the peer's */
    uint32_t moved_bytes;      /* FILLING: `filled` when it last went on by INTAKE_STEP_BYTES, */
    uint64_t moved_ns;         /* and when that was */
    struct key key;
    struct bitswap_form form;               /* as its sender has it */
    uint32_t codec;                         /* of the want it is */
    struct peer_link links[PEER_LINKS_MAX]; /* who was connected with the peer when it came */
    uint32_t wants[PEER_LINKS_MAX]; /* who takes it, and as which want; else INTAKE_NOBODY */
};
#define INTAKE_NOBODY UINT32_MAX

/* A block of so many bytes begins to come from this peer. Returns: NULL: nobody is owed one, or
 * there is no room: its bytes are to be passed over. A peer has no more of them coming than it
 * owes. */
struct intake *intake_begin(struct client *client, struct peer *peer, uint32_t bytes);
void intake_data(struct intake *intake, const uint8_t *bytes, uint32_t count);
/* All bytes are there. Takes it. */
void intake_end(struct client *client, struct peer *peer, struct intake *intake,
                const struct bitswap_prefix *prefix);
/* Its stream broke off. Takes it. */
void intake_drop(struct client *client, struct peer *peer, struct intake *intake);
/* How it comes along; asked at each sweep. */
enum intake_pace { INTAKE_MOVES, INTAKE_STUCK, INTAKE_ORPHANED /* all its sessions ended */ };
#define INTAKE_STEP_BYTES (16u * 1024)
#define INTAKE_STEP_NS    (10 * NS_PER_S)
enum intake_pace intake_pace(const struct peer *peer, struct intake *intake, uint64_t now_ns);
/* The empty block, made here for one want. Returns: false: no room now. */
must_check bool intake_empty(struct client *client, const struct peer_link *link, uint32_t want,
                             const struct key *key, uint32_t codec);

/* What a session on another core says of it: its want, or INTAKE_NOBODY. known: it is no stranger
 * there, so it is an answer to what was asked. */
void intake_verdict(struct client *client, struct intake *intake, uint32_t place, uint32_t want,
                    uint32_t codec, bool known);

/* One of its jobs came home. Takes the job. */
void intake_home(struct client *client, struct job *job, uint64_t now_ns);
/* Those that waited for a job try again. Returns: whether some still wait. */
bool intake_retry(struct client *client);
