/* SPDX-License-Identifier: MIT */
#pragma once

/* client — the fetching half of a net tile's swarm: sessions that bring blocks here from peers.
 *
 *   client_begin ─► fetch.h decides ─► local look-ups, dials, words to peers (wants.h)
 *                        ▲                                     │
 *                        └── presences, blocks (intake.h) ◄────┘
 *
 * A session lives on one tile, with the peers it dials. Where it names none it uses all that are
 * connected, on every core,
 * and those that come. A peer that is lost is dialled again, after ever longer rests, until it
 * was lost CLIENT_LOSSES_MAX times with no wanted block between; a
 * session ends when it is done, has failed, or is cancelled, and then says so once.
 *
 * Bounds: CLIENT_SESSIONS at once on a tile, CLIENT_FROM_MAX addresses each; blocks in memory
 * body_bytes_max, what sessions remember CLIENT_LENT_MAX; what a session may have in flight is
 * fetch.h's to bound. Thread: the net tile's. Files: client.c (the tile), session.c (one session).
 */

#include "base/base.h"
#include "base/counter.h"
#include "base/pool.h"
#include "engine/swarm/dial.h"
#include "engine/swarm/far.h"
#include "engine/swarm/fetch.h"
#include "engine/swarm/peer_link.h"
#include "rings/job.h"

struct intake;
struct net;
struct peer;
struct settings;
struct swarm;

#define CLIENT_SESSIONS   16u
#define CLIENT_FROM_MAX   16u
#define CLIENT_LOSSES_MAX 8u /* streams or connections lost in a row without a wanted block */
#define CLIENT_LENT_MAX   (128 * MiB) /* what sessions remember of their DAGs, all of a tile */
#define CLIENT_CLASS      CLASS_NORMAL
#define CLIENT_PAUSE_NS   (20 * NS_PER_MS) /* after a job was shed */

#define CLIENT_COUNTERS(X)                                                            \
    X(sessions, "sessions", "under way")                                              \
    X(begun, "sessions", "begun")                                                     \
    X(done, "sessions", "that brought all they were asked for")                       \
    X(failed, "sessions", "that did not, or were cancelled")                          \
    X(dials, "connections", "tried")                                                  \
    X(dials_failed, "connections", "that came to nothing")                            \
    X(wants_out, "entries", "want-blocks sent")                                       \
    X(haves_out, "entries", "want-haves sent")                                        \
    X(cancels_out, "entries", "cancels sent")                                         \
    X(blocks_in, "blocks", "received and hashed, wanted or not")                      \
    X(block_bytes_in, "bytes", "of those")                                            \
    X(stored, "blocks", "stored")                                                     \
    X(duplicates, "blocks", "that came more than once")                               \
    X(lies, "blocks", "that hashed to nothing we asked for")                          \
    X(unknown_hashes, "blocks", "under a hash function we do not have")               \
    X(presences_in, "presences", "HAVE and DONT_HAVE read")                           \
    X(streams_lost, "streams", "of wants, ended by their peer")                       \
    X(no_intake, "blocks", "passed over: too many are coming at once")                \
    X(no_link, "peers", "not used by a fetch: they, or it, have as many as can be")   \
    X(no_share, "blocks", "passed over: their peer had begun as much as it may")      \
    X(intakes_stuck, "blocks", "given up: they came too slowly, or not at all")       \
    X(notes_lost, "notes", "to other cores that found no room: the fetch asks again") \
    X(no_body_memory, "blocks", "passed over: no memory for them")
COUNTER_STRUCT(client, CLIENT_COUNTERS);

enum from_state { FROM_DIALING, FROM_UP, FROM_RESTING, FROM_DEAD };

/* Somebody a session was told to fetch from. */
struct session_from {
    struct dial_target target;
    uint8_t state;
    uint8_t failures; /* in a row, with no wanted block between them */
    bool was_up;
    uint64_t next_ns; /* RESTING: dialled again then */
    struct dial *dial;
};

/* A peer, as its session knows it; by the fetch's slot. */
struct session_peer {
    bool used;
    uint8_t core;
    uint8_t from; /* CLIENT_FROM_MAX: none of those */
    uint32_t conn, generation;
    uint32_t epoch;
};

struct session;
struct session_spec {
    struct cid root;
    bool dag;
    uint32_t from_count; /* 0: all peers */
    const struct dial_target *from;
    /* Called at each tick while it runs, and once at its end (session_over()). */
    void (*changed)(void *context, const struct session *session);
    void *context;
};

/* A local answer that waits for a job. */
struct session_read {
    uint32_t want;
    bool ask; /* is it here at all? */
};
#define SESSION_READS_MAX 512u

struct session {
    struct client *client;
    uint32_t generation; /* 0: free */
    bool all;            /* every peer there is */
    bool ending;         /* nothing more is pulled from it but its cancels */
    bool dirty;          /* something happened */
    struct session_spec spec;
    struct fetch fetch;
    uint32_t untold; /* cores that have not told of their peers yet; expected by the fetch */
    uint64_t untold_ns;
    void *wants;
    uint32_t wants_bytes;
    uint32_t jobs_out;    /* local reads */
    uint32_t intakes_out; /* blocks being stored for it */
    uint32_t from_count;
    struct session_from from[CLIENT_FROM_MAX];
    struct session_peer peers[FETCH_PEERS_MAX];
    struct session_read reads[SESSION_READS_MAX]; /* a ring */
    uint32_t reads_head, reads_count;
    char dial_why[DIAL_WHY_MAX]; /* why the last dial came to nothing; "": none did */
};

struct client {
    struct swarm *swarm;
    struct net *net;
    uint64_t body_bytes, body_bytes_max;
    uint64_t window_bytes;
    uint64_t lent_bytes; /* to sessions */
    struct pool intakes;
    struct intake *waiting_head, *waiting_tail; /* for a job */
    uint64_t pause_ns;
    uint32_t generation;
    struct far far;           /* sessions and peers of other cores */
    struct session *sessions; /* [CLIENT_SESSIONS] */
    struct client_counters counters;
};

size_t client_footprint(void);
/* Memory a tile's arena must hold for it. */
size_t client_arena_bytes(const struct settings *settings);
void client_open(struct client *client, struct swarm *swarm, const struct settings *settings);

/* Begins to fetch. Returns: NULL: too many at once, no memory, or draining. */
must_check struct session *client_begin(struct client *client, const struct session_spec *spec);
void session_cancel(struct session *session);
bool session_over(const struct session *session);
/* How it ended, in a sentence. Returns: characters; 0 where it is done. */
#define SESSION_SAY_MAX (FETCH_SAY_MAX + DIAL_WHY_MAX + 64)
size_t session_say(const struct session *session, char text[SESSION_SAY_MAX]);

/* Once a turn, and at the tick. Returns: whether more could be done at once. */
bool client_poll(struct client *client);
/* The end of a turn: what is said to other cores leaves. Returns: whether another turn has work. */
bool client_flush(struct client *client);
void client_tick(struct client *client);
/* Ends all sessions. */
void client_drain(struct client *client);
bool client_idle(const struct client *client);
/* A job of nobody's came home. Takes it. */
void client_home(struct client *client, struct job *job, uint64_t now_ns);

/* ---- peers ---- */

/* A connection to this peer that the tile has already; NULL: none, or the id is empty. */
struct peer *client_find(const struct client *client, const struct peer_id *id);
/* The channel is open. */
void client_peer_opened(struct client *client, struct peer *peer);
void client_peer_gone(struct client *client, struct peer *peer);
/* The stream of our wants broke: all that was asked of the peer is asked again. */
void client_stream_lost(struct client *client, struct peer *peer);
void client_presence(struct client *client, struct peer *peer,
                     const struct bitswap_presence *presence);
/* Bytes of a block are coming. */
void client_heard(struct client *client, struct peer *peer);
/* How many answers sessions expect of it. */
uint32_t client_owed(struct client *client, const struct peer *peer);

/* ---- intake ---- */

/* Does the session of this link know the block? */
bool client_knows(struct client *client, const struct peer_link *link, const struct intake *intake);
/* A block with a name. Returns: the want it is, with that one's codec, or INTAKE_NOBODY. */
uint32_t client_offer(struct client *client, const struct peer_link *link,
                      const struct intake *intake, uint32_t *ret_codec);
void client_stored(struct client *client, const struct peer_link *link, uint32_t want,
                   enum fetch_stored how);
