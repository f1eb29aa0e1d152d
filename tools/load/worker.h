/* SPDX-License-Identifier: MIT */
#pragma once

/* worker — one thread of the generator: its connections, its io_uring, its share of the load.
 *
 *   turn: completions -> replies checked and counted -> due or permitted requests written into the
 *         outboxes -> one send a connection -> the kernel is entered once
 *
 * requests.c and replies.c know what is said and do no I/O; worker.c moves the bytes. */

#include "tools/load/draw.h"
#include "tools/load/outbox.h"
#include "tools/load/pace.h"
#include "tools/load/plan.h"

#include <liburing.h>
#include <pthread.h>

#define INLINE_BODY_MAX 2048u /* a longer body is pointed at, not copied */
#define SLOT_BITS       12u   /* of a request id; the rest counts uses */
static_assert(PLAN_DEPTH_MAX <= 1u << SLOT_BITS, "ids hold a slot");

struct slot {
    uint64_t intended_ns;
    uint64_t index; /* of the block */
    uint32_t id;
    uint32_t offset, length; /* of the bytes asked for */
    uint8_t op;
    bool busy;  /* a request is out */
    bool last;  /* of its run of reads */
    bool wrong; /* some byte differed */
};

enum conn_state { CONN_HELLO, CONN_READY, CONN_DEAD };

struct conn {
    uint8_t state;
    uint8_t class;
    bool send_out, recv_out; /* the kernel holds an op */
    bool able_listed, unsent_listed, paused;
    bool run_open; /* a run of reads lacks its end */
    bool run_over; /* the last read of a run was answered; its END is to come */
    uint16_t last_slot;
    uint32_t limit; /* in flight: the depth, or the server's credits if fewer */
    uint32_t inflight;
    uint32_t free_head, free_tail; /* slots are used in turn, so ordered replies need no ids */
    uint64_t answered;
    uint64_t resume_ns; /* asked to come back then */
    uint16_t *free;
    struct slot *slots;
    struct outbox outbox;
    struct wire_reader reader;
    struct conn *able_next, *unsent_next;
    int fd;
};

struct conn_list {
    struct conn *head, *tail;
};

/* Times at which requests were due that no connection had room for. */
struct backlog {
    uint64_t *due;
    uint32_t head, tail, mask;
};

struct worker {
    const struct plan *plan;
    const struct content *content;
    const struct wire *wire;
    uint32_t index; /* of the thread */
    struct conn *conns;
    uint32_t conn_count;
    uint32_t request_room; /* outbox bytes that any one request may take */
    uint32_t free_mask;
    void *memory; /* slots, free rings, outboxes of all connections */
    uint8_t *scratch;
    const uint8_t **digests; /* HAVE */
    struct draw draw;
    struct zipf zipf;

    struct io_uring ring;
    bool ring_open, files_registered;
    struct io_uring_buf_ring *buffers;
    uint8_t *buffer_bytes;
    size_t buffer_ring_bytes;
    uint32_t buffer_size, buffer_count;

    struct conn_list able[TALLY_CLASSES]; /* have room for a request */
    struct conn *unsent;
    uint32_t paused;
    uint64_t resume_ns; /* of the paused one that is due first */
    struct pace pace[TALLY_CLASSES];
    bool paced[TALLY_CLASSES];
    struct backlog backlog[TALLY_CLASSES];

    uint64_t now_ns;          /* of this turn */
    uint64_t from_ns, to_ns;  /* requests intended in between count */
    bool stopping;            /* no new requests */
    uint32_t alive, inflight; /* connections, requests */
    uint64_t fresh;           /* index of the next new block */
    uint64_t fill_next, fill_end, fill_left;
    uint64_t *again; /* filling: blocks to put once more */
    uint32_t again_count;

    struct tally tally[TALLY_CLASSES];
    _Atomic uint64_t unanswered;
    char failure[320]; /* why the worker gave up; empty: it did not */
    char fault[160];   /* the first refusal or break, for people */
    uint64_t cpu_ns;   /* its own, in the window */
    pthread_t thread;
    pthread_barrier_t *barrier;
    const uint64_t *start_ns;
};

/* ---- requests.c and replies.c: what is said, no I/O -------------------------------------------
 */

/* Bytes came for a connection. */
void client_bytes(struct worker *worker, struct conn *conn, const uint8_t *bytes, size_t count);
/* The connection is gone; requests in flight on it are errors. */
void client_dead(struct worker *worker, struct conn *conn, const char *why);
/* Writes what is due or permitted into outboxes; connections with something to send are listed in
 * worker->unsent. */
void client_write(struct worker *worker);
/* The connection may have room again. */
void client_able(struct worker *worker, struct conn *conn);
/* When client_write has something to do again without a completion; UINT64_MAX: never. */
uint64_t client_due_ns(const struct worker *worker);
/* A run of reads is ended before it is sent. */
void client_run_close(struct worker *worker, struct conn *conn);
/* Counts what is still in flight as unanswered, what is still due as late. */
void client_finish(struct worker *worker);
void client_hello(struct worker *worker, struct conn *conn);

/* ---- setup.c: memory and connections ----------------------------------------------------------
 */

/* Returns: 0, or -errno with a sentence in worker->failure. */
must_check int worker_open(struct worker *worker);
void worker_close(struct worker *worker);

/* ---- worker.c ---------------------------------------------------------------------------------
 */

/* The thread: opens, waits at the barrier, runs, waits again. */
void *worker_main(void *worker);
