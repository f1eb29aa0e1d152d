/* SPDX-License-Identifier: MIT */
#pragma once

/* ledger — what peers want of us: the wants of every peer of one net tile.
 *
 *              ledger_next                    ledger_absent
 *   QUEUED ──────────────────► SERVING ─────────────────────► WAITING
 *     ▲  ▲                      │  │                             │
 *     │  └── ledger_put_back ───┘  └─► ledger_done: freed        │
 *     └────────── ledger_arrived, ledger_rescan ────────────────┘
 *
 * A want is one CID of one peer: the same hash in another form (version, codec) is another want,
 * since Go peers match answers by the whole CID. Naming a CID again merges: want-block beats
 * want-have, send_dont_have stays, priority, class and age are the latest.
 *
 * Bounds: wants_max wants in all; one peer holds at most peer_wants_max, and at most a quarter of
 * what is left for all, so that any number of greedy peers leaves room. A peer at its bound loses
 * its own least WAITING want (lowest class and priority, oldest), else its last QUEUED one if that
 * stands behind the new one, else the new one is refused. No want of another peer is ever touched.
 *
 * Cost: every call is O(log n) in the peer's own wants (a treap whose shape a secret salt decides,
 * so no order of priorities makes it deep), the tables O(1) under a salted hash; calls that move
 * many wants take a bound and say when more is left. No list is ever walked past what is moved or
 * dropped, whatever a peer sends.
 *
 * Measured (one core, 32-byte digests): add, next and done together 150 ns with up to 256 wants of
 * one peer, 220 with 1,024, 500 over 8,000 peers of 20; an entry refused at the bound 65 ns; an
 * arrival 45 ns for each who waits.
 *
 * Pure: no clock, no I/O; now_ns comes in. Thread: owner. Memory: the caller's, ledger_footprint()
 * bytes aligned to CACHE_PAIR. Files: ledger.c (wants), ledger_index.c (the tables and the treap).
 */

#include "base/base.h"
#include "base/counter.h"
#include "base/key.h"
#include "base/pool.h"
#include "proto/bitswap/bitswap.h"
#include "rings/job.h"

#define LEDGER_COUNTERS(X)                                                                \
    X(wants, "wants", "held now")                                                         \
    X(waiting, "wants", "of those, for blocks we do not have")                            \
    X(wants_peak, "wants", "most held ever")                                              \
    X(added, "wants", "taken, not held before or withdrawn before")                       \
    X(merged, "wants", "named again while held")                                          \
    X(cancelled, "wants", "withdrawn by their peer")                                      \
    X(replaced, "wants", "dropped: a full list without them came")                        \
    X(evicted, "wants", "dropped for a better one of the same peer, at its bound")        \
    X(refused_peer_full, "wants", "refused: the peer holds its most, and none is lesser") \
    X(refused_pool, "wants", "refused: the peer holds its part of what is left for all")  \
    X(expired, "wants", "dropped: the block did not come in time")                        \
    X(gone, "wants", "dropped with their peer")                                           \
    X(served, "wants", "answered and done")                                               \
    X(unanswered, "wants", "done without an answer: refused, and not asked to say so")    \
    X(arrivals, "calls", "word of a block that somebody waited for")                      \
    X(arrived, "wants", "queued because their block arrived")                             \
    X(rescanned, "wants", "queued to be looked up again: arrivals may have been missed")
COUNTER_STRUCT(ledger, LEDGER_COUNTERS);

#define LEDGER_NONE UINT32_MAX

enum ledger_state {
    LEDGER_FREE,
    LEDGER_QUEUED,  /* to be served */
    LEDGER_SERVING, /* ledger_next gave it out: a job is out for it, or part of it is written */
    LEDGER_WAITING, /* we lack the block; answered when it comes */
};

struct ledger_peer;

struct ledger_want {
    struct key key;
    uint32_t codec; /* with `version`: how the peer said it */
    struct ledger_peer *peer;
    uint64_t named_ns; /* when last named; unique, grows from one want to the next */
    int32_t priority;
    union {
        uint32_t offset;     /* QUEUED, SERVING: the server's: bytes of the block already sent; 0 at
                                first, kept by put_back */
        uint32_t group_next; /* WAITING; private, as is all from here on but the flags */
    };
    union {
        struct {
            uint32_t left, right; /* the peer's treap of QUEUED, or of WAITING */
        };
        uint64_t served_at; /* SERVING: arrivals counted before it was given out */
    };
    uint32_t group_prev;
    uint32_t list_next, list_prev; /* the peer's wants in the order they were named */
    uint32_t peer_chain;           /* table of (peer, key, form) */
    uint32_t key_chain;            /* table of keys waited for: only the first of a group */
    uint8_t version;
    uint8_t state; /* enum ledger_state */
    uint8_t class; /* enum job_class */
    bool have : 1; /* want-have, else want-block. Read it again when a job is back: it may merge */
    bool send_dont_have : 1;
    bool canceled : 1; /* SERVING: withdrawn meanwhile; no answer is due */
    bool told : 1;     /* DONT_HAVE was sent since it was last named */
    bool group_first : 1;
};
static_assert(sizeof(struct ledger_want) == 128, "a want is one cache-line pair");

/* One peer's side; lies in the peer's own struct and keeps its address. */
struct ledger_peer {
    uint32_t wants; /* in every state */
    uint32_t queued, serving, waiting;
    uint32_t queued_root, waiting_root; /* private, to `salt` */
    uint32_t list_head, list_tail;      /* in the order they were named */
    uint32_t canceled_head;             /* SERVING and canceled: out of the list above */
    uint32_t salt;

    /* Totals. Those of sending are counted by ledger_done and ledger_absent, those of receiving by
     * the owner, wants and cancels by ledger_add and ledger_cancel. */
    uint64_t blocks_sent, bytes_sent, haves_sent, dont_haves_sent;
    uint64_t blocks_received, bytes_received;
    uint64_t wants_received, cancels_received;
};
/* What the peer owes us: block bytes sent less received. */
static inline int64_t ledger_debt(const struct ledger_peer *peer) {
    return (int64_t)(peer->bytes_sent - peer->bytes_received);
}

struct ledger_config {
    uint32_t wants_max;      /* 1 .. 2^24 */
    uint32_t peer_wants_max; /* 1,024 */
    uint64_t salt;           /* random */
};

struct ledger {
    struct ledger_config config;
    struct pool wants;
    uint32_t *peer_table, *key_table;
    uint32_t table_mask;
    uint32_t waiting;
    uint32_t peers_made;  /* ever: salts them */
    uint64_t *arrived_at; /* by hash of key: the last arrival, counted in sequence */
    uint64_t sequence, missed_at;
    uint32_t rescan_at, expire_at; /* slots */
    uint64_t named_ns;             /* the last one given */
    struct ledger_counters counters;
};

size_t ledger_footprint(const struct ledger_config *config);
void ledger_init(struct ledger *ledger, void *memory, const struct ledger_config *config);
void ledger_peer_init(struct ledger *ledger, struct ledger_peer *peer);

/* ledger_peer_gone drops every want of the peer, those that are SERVING too (their handles name
 * nothing from then on). Cost: at most peer_wants_max steps. Totals stay readable. */
void ledger_peer_gone(struct ledger *ledger, struct ledger_peer *peer);

/* --- messages --------------------------------------------------------------------------------- */

/* ledger_mark begins a message: wants named later are newer than what it returns. Messages of one
 * peer may interleave, each with its mark. */
must_check uint64_t ledger_mark(struct ledger *ledger, uint64_t now_ns);

enum { LEDGER_MERGED = 1, LEDGER_REFUSED = 2 };
/* Takes one entry that is not a cancel. Returns: 0: new and QUEUED; LEDGER_MERGED (QUEUED again if
 * it was WAITING, as it was if SERVING); LEDGER_REFUSED: counted, nothing changed. */
must_check int ledger_add(struct ledger *ledger, struct ledger_peer *peer,
                          const struct bitswap_want *want, enum job_class class, uint64_t now_ns);
/* Withdraws a want; one that is SERVING is marked canceled. Returns: whether it was held. */
bool ledger_cancel(struct ledger *ledger, struct ledger_peer *peer,
                   const struct bitswap_want *want);
/* At the end of a message that said FULL: drops what was not named since `mark`, as ledger_cancel
 * does. Returns: how many. Cost: as many steps. */
uint32_t ledger_message_full(struct ledger *ledger, struct ledger_peer *peer, uint64_t mark);

/* --- serving ---------------------------------------------------------------------------------- */

/* The want that ledger_next would give: best class, highest priority, named first. NULL: none. */
const struct ledger_want *ledger_peek(const struct ledger *ledger, const struct ledger_peer *peer);
/* Takes it: SERVING from here on, until done, put_back or absent. NULL: none QUEUED. */
struct ledger_want *ledger_next(struct ledger *ledger, struct ledger_peer *peer);

/* Handles outlive wants: keep one with a job, not the pointer. */
struct ledger_handle {
    uint32_t slot, generation; /* 24 bits each */
};
struct ledger_handle ledger_handle(const struct ledger *ledger, const struct ledger_want *want);
/* Returns: NULL if that want is gone (its peer is; a SERVING want is dropped by nothing else). */
struct ledger_want *ledger_find(const struct ledger *ledger, struct ledger_handle handle);

static inline struct bitswap_form ledger_form(const struct ledger_want *want) {
    return (struct bitswap_form){.codec = want->codec, .version = want->version};
}

/* The four ways out of SERVING. All but done free a want that was canceled meanwhile. */
enum ledger_answer { LEDGER_BLOCK, LEDGER_HAVE, LEDGER_DONT_HAVE, LEDGER_NOTHING };
/* Answered for good; freed. bytes: of the block, with LEDGER_BLOCK. */
void ledger_done(struct ledger *ledger, struct ledger_want *want, enum ledger_answer answer,
                 uint32_t bytes);
/* Not now: QUEUED again at its old place, its offset kept. A QUEUED want may be withdrawn or
 * evicted by the next entry its peer sends: a block whose head is on a stream stays SERVING until
 * its last byte, or its stream is reset. Returns: false: it was canceled and is freed. */
bool ledger_put_back(struct ledger *ledger, struct ledger_want *want);

enum { LEDGER_TELL = 1, LEDGER_GONE = 2, LEDGER_AGAIN = 3 };
/* We lack the block: WAITING for it, whether or not the peer is told. Have room for a DONT_HAVE
 * before calling. Returns: 0; LEDGER_TELL: send the peer a DONT_HAVE now (it asks for them, and got
 * none since it named this last; counted as sent); LEDGER_GONE: canceled, freed; LEDGER_AGAIN: the
 * block may have arrived after the lookup that missed it (seldom wrong, never misses one): QUEUED
 * again, the want's pointer is no longer the caller's. */
must_check int ledger_absent(struct ledger *ledger, struct ledger_want *want);

/* --- blocks and time -------------------------------------------------------------------------- */

/* Call it for every block that becomes readable, whoever stored it: it queues up to `max` wants
 * that wait for `key` and writes their peers, to be woken, to woken[] (a peer twice if it named two
 * forms). Returns: how many; `max`: call again with the same key, in this turn or another. */
uint32_t ledger_arrived(struct ledger *ledger, const struct key *key, struct ledger_peer *woken[],
                        uint32_t max);
/* Blocks came that nobody waited for and ledger_arrived was not told of: a look-up that is under
 * way may have missed one of them. */
static inline void ledger_passed_over(struct ledger *ledger) {
    ledger->missed_at = ++ledger->sequence;
}
/* ledger_rescan_begin, when word of arrivals may have been lost: from then on ledger_rescan queues
 * every WAITING want again, so that it is looked up. One call looks at up to `max` slots and writes
 * up to as many peers to woken[]. Returns: how many peers. */
void ledger_rescan_begin(struct ledger *ledger);
static inline bool ledger_rescanning(const struct ledger *ledger) {
    return ledger->rescan_at != LEDGER_NONE;
}
uint32_t ledger_rescan(struct ledger *ledger, struct ledger_peer *woken[], uint32_t max);
/* ledger_expire looks at the next `slots` slots, round and round, and drops what WAITING wants were
 * last named before `before_ns`. Returns: how many. Cost: 7 ns a slot (memory); nothing when none
 * wait. */
uint32_t ledger_expire(struct ledger *ledger, uint64_t before_ns, uint32_t slots);
