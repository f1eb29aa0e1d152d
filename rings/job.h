/* SPDX-License-Identifier: MIT */
#pragma once

/* job — one request on its way through the engine, in one cache-line pair.
 *
 *   net tile: takes it from its pool, fills it, decides light or heavy
 *      light -> answered on this core, given back in the same turn
 *      heavy -> batch -> class ring -> scheduler -> work tile -> done ring -> net tile, given back
 *
 * Ownership: whoever popped it last; only the net tile that made it (job.net) gives it back to the
 * pool. Drop, cancel and deadline are statuses on the way home, never a free elsewhere.
 *
 * Stamps: arrived_ns is absolute; the others are nanoseconds after it (saturating at 4.29 s),
 * written once per batch: queued (handed to a queue), started (work began), finished (work done).
 */

#include "base/base.h"
#include "base/key.h"

enum job_class { CLASS_CRITICAL, CLASS_HIGH, CLASS_NORMAL, CLASS_LOW, CLASS_COUNT };

extern const char *const job_class_names[CLASS_COUNT]; /* "critical", "high", "normal", "low" */

enum job_kind {
    JOB_GET,       /* key -> frame lease and range */
    JOB_HAVE,      /* data: keys as multihashes, count in `arg` */
    JOB_PUT,       /* key, data: the block, codec in `arg` */
    JOB_DELETE,    /* key */
    JOB_LIST,      /* at most `arg` keys after the cursor in the key's bytes -> data: helper_page */
    JOB_VERIFY,    /* re-read from disk and check the hash: key */
    JOB_STAT,      /* the numbers of the daemon, as JSON -> data: helper_page */
    JOB_HASH,      /* data: bytes to be hashed, by the key's code and length, into its digest */
    JOB_STORE,     /* a PUT whose bytes have just been hashed to its key */
    JOB_HANDSHAKE, /* data: a struct handshake, one step of it */
    JOB_GET_MANY,  /* data: keys and what became of them (engine/many.h), count in `arg` */
    JOB_PUT_MANY,  /* data: blocks and what became of them, count in `arg` */
    JOB_PIN,       /* key, codec in `arg`, mode in `data_bytes`: the porter's, by the helper */
    JOB_UNPIN,     /* key */
    JOB_KIND_COUNT,
};

/* What happened, as every protocol's refusal table knows it (docs/protocol.md). */
enum job_status {
    JOB_OK,
    JOB_ABSENT,   /* no such block */
    JOB_BUSY,     /* shed: overload or a limit; try later */
    JOB_RETRY,    /* its tier is missing or loading */
    JOB_CORRUPT,  /* the block is damaged here; never served */
    JOB_REFUSED,  /* hash mismatch, unknown hash, too large: see `arg` */
    JOB_EXPIRED,  /* its deadline passed before work began */
    JOB_CANCELED, /* its connection went away */
    JOB_FULL,     /* no space */
    JOB_READONLY, /* writes failed; the store takes no more */
    JOB_FAILED,   /* an I/O error */
    JOB_STATUS_COUNT,
};
enum job_refusal { REFUSED_NONE, REFUSED_MISMATCH, REFUSED_HASH, REFUSED_SIZE, REFUSED_POLICY };

extern const char *const job_kind_names[JOB_KIND_COUNT];
extern const char *const job_status_names[JOB_STATUS_COUNT];

#define JOB_NOBODY UINT32_MAX /* as `conn`: the net tile's own work */

struct job {
    struct job *next; /* chain: in a queue, a batch or on the way home */
    uint64_t arrived_ns;
    void *data; /* PUT, HAVE: the body buffer (net tile's); replies: GET a struct frame, leased;
                   LIST and STAT a struct helper_page */
    uint32_t queued_ns;
    uint32_t started_ns;
    uint32_t finished_ns;
    uint32_t conn;       /* index of the connection in the net tile's pool, or JOB_NOBODY */
    uint32_t id;         /* the peer's request id */
    uint32_t data_bytes; /* of the body; GET: range length wanted, 0 = to the end */
    uint32_t arg;        /* PUT: codec; GET: range offset; HAVE: count; refused: enum job_refusal */
    uint16_t flow;       /* hashed flow, the policy's */
    uint16_t deadline_ms; /* after arrival; 0 = none */
    uint8_t net : 7;      /* net tile that owns it */
    uint8_t scan : 1;     /* GET: what is read from disk for it stays out of memory */
    uint8_t kind;
    uint8_t class;
    uint8_t status;
    struct key key;
};
static_assert(sizeof(struct job) == CACHE_PAIR, "a job is one cache-line pair");

/* A chain: jobs linked by next, in order, with its end for O(1) append. */
struct job_chain {
    struct job *head;
    struct job *tail;
    uint32_t count;
};
static inline void job_chain_push(struct job_chain *chain, struct job *job) {
    job->next = NULL;
    if (chain->tail) {
        chain->tail->next = job;
    } else {
        chain->head = job;
    }
    chain->tail = job;
    chain->count++;
}
static inline struct job *job_chain_pop(struct job_chain *chain) {
    struct job *job = chain->head;
    if (job) {
        chain->head = job->next;
        if (!chain->head) {
            chain->tail = NULL;
        }
        chain->count--;
    }
    return job;
}

/* A stamp: nanoseconds since arrival, saturating. A core's clock is that of its turn's beginning:
 * what came from another core meanwhile may bear a later time, and then it is 0. */
static inline uint32_t job_since(const struct job *job, uint64_t now_ns) {
    uint64_t d = now_ns > job->arrived_ns ? now_ns - job->arrived_ns : 0;
    return d > UINT32_MAX ? UINT32_MAX : (uint32_t)d;
}

/* Work on it begins: not before it was queued, whatever the clock of this core's turn says. */
static inline void job_start(struct job *job, uint64_t now_ns) {
    uint32_t since = job_since(job, now_ns);
    job->started_ns = since > job->queued_ns ? since : job->queued_ns;
}

/* ... and it ends, not before it began. */
static inline void job_finish(struct job *job, uint64_t now_ns) {
    uint32_t since = job_since(job, now_ns);
    job->finished_ns = since > job->started_ns ? since : job->started_ns;
}

/* It is answered where it arrived. Whatever way it took before, a queue's stamp is none of this
 * answer's. */
static inline void job_answer_light(struct job *job, uint64_t begun_ns, uint64_t done_ns) {
    job->queued_ns = 0;
    job_start(job, begun_ns);
    job_finish(job, done_ns);
}
