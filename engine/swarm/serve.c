/* SPDX-License-Identifier: MIT */
#include "engine/swarm/serve.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/net.h"
#include "engine/swarm/message.h"
#include "engine/swarm/peer.h"
#include "store/store.h"

#include <string.h>

/* A want-have of a block this small is answered with the block. */
#define HAVE_AS_BLOCK_BYTES 1024u
#define SERVED_EARNS        4u /* its want, its cancel, and something over */
#define RESUME_WINDOW       4096u
#define PAUSE_NS            (20 * NS_PER_MS)

/* ---- wants come in -------------------------------------------------------------------------- */

/* Priorities rank a peer's own wants; below zero they also say "when nothing else is to be done".
 */
static enum job_class want_class(const struct peer *peer, const struct bitswap_want *want) {
    uint32_t class = peer->conn->class;
    return (enum job_class)(want->priority < 0 ? min_u32(class + 1, CLASS_LOW) : class);
}

void serve_want(struct stream *stream, const struct bitswap_want *want) {
    struct peer *peer = stream->peer;
    struct swarm *swarm = peer->swarm;
    if (want->cancel) {
        counter_add(&swarm->counters.cancels_in, 1);
        if (!ledger_cancel(&swarm->ledger, &peer->ledger, want)) {
            peer_charge(peer, 1);
        }
        return;
    }
    counter_add(&swarm->counters.wants_in, 1);
    uint64_t evicted = counter_get(&swarm->ledger.counters.evicted);
    int r = ledger_add(&swarm->ledger, &peer->ledger, want, want_class(peer, want),
                       swarm->net->core->now_ns);
    if (unlikely(r != 0 || counter_get(&swarm->ledger.counters.evicted) != evicted)) {
        peer_charge(peer, 1); /* what is held is served on */
    }
}

void serve_message_end(struct stream *stream) {
    struct peer *peer = stream->peer;
    peer->useful_ns = peer->swarm->net->core->now_ns;
    if (stream->full) {
        (void)ledger_message_full(&peer->swarm->ledger, &peer->ledger, stream->mark);
    }
    serve_poll(peer);
}

/* ---- wants become jobs ---------------------------------------------------------------------- */

static bool begin_job(struct peer *peer, const struct ledger_want *want) {
    struct net *net = peer->swarm->net;
    struct ledger_handle handle = ledger_handle(&peer->swarm->ledger, want);
    struct job *job = net_job_take(net, peer->conn, (enum job_class)want->class);
    if (!job) {
        return false;
    }
    job->kind = JOB_GET;
    job->key = want->key;
    job->id = handle.slot;
    job->arg = handle.generation;
    peer->jobs_out++;
    net_push_light(net, job);
    return true;
}

/* How many more wants may go out. Large blocks need a stream each: no more look-ups than those. */
static uint32_t jobs_room(const struct peer *peer) {
    uint32_t most = SERVE_JOBS_MAX;
    if (peer->block_bytes > MESSAGE_BLOCK_MAX) {
        most = PEER_REPLIES_MAX;
        for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
            most -= peer->replies[i] && peer->replies[i]->total != 0 && !peer->replies[i]->job_out;
        }
    }
    return most > peer->jobs_out ? most - peer->jobs_out : 0;
}

/* No more can be said now, by its own fault or for want of chunks: looking wants up would only put
 * them back. */
/* Blocks that stopped in the middle for want of window or output go on. */
static void resume_large(struct peer *peer) {
    const struct pool *chunks = &peer->swarm->net->outs.large;
    for (uint32_t i = 0; i < PEER_REPLIES_MAX && !peer_output_full(peer) && chunks->free_count > 0;
         i++) {
        struct stream *stream = peer->replies[i];
        if (!stream || stream->total == 0 || stream->job_out) {
            continue;
        }
        struct ledger_want *want = ledger_find(&peer->swarm->ledger, stream->sending);
        must(want != NULL); /* a want in service is dropped by nothing but its peer's end */
        if (stream->yamux.send_window < min_u32(RESUME_WINDOW, stream->total - want->offset)) {
            continue;
        }
        stream->job_out = true;
        if (!begin_job(peer, want)) {
            stream->job_out = false;
            net_conn_stall(peer->swarm->net, peer->conn);
            return;
        }
    }
}

/* Is a want to be looked up that could be answered? */
static bool may_serve(const struct peer *peer) {
    return peer->state == PEER_OPEN && peer->conn->state != CONN_CLOSING &&
           !peer_output_full(peer) && message_possible(peer);
}

/* It has wants, and nothing of its own is on its way out that would bring it back. */
static bool waits_for_others(const struct peer *peer) {
    return peer->state == PEER_OPEN && peer->conn->state != CONN_CLOSING && !peer->conn->out_head &&
           peer->ledger.queued + peer->ledger.serving > 0;
}

static bool paused(const struct peer *peer) {
    return peer->swarm->net->core->now_ns < peer->pause_ns;
}

void serve_poll(struct peer *peer) {
    struct swarm *swarm = peer->swarm;
    if (peer->polling) {
        return;
    }
    if (unlikely(paused(peer) || !may_serve(peer))) {
        if (waits_for_others(peer)) {
            net_conn_stall(swarm->net, peer->conn);
        }
        return;
    }
    peer->polling = true;
    if (!peer->blocked) {
        resume_large(peer);
    }
    while (may_serve(peer) && !paused(peer) && !peer->blocked && jobs_room(peer) > 0) {
        struct ledger_want *want = ledger_next(&swarm->ledger, &peer->ledger);
        if (!want) {
            break;
        }
        if (!begin_job(peer, want)) {
            (void)ledger_put_back(&swarm->ledger, want);
            net_conn_stall(swarm->net, peer->conn); /* for a job of its class */
            break;
        }
    }
    peer->polling = false;
}

/* ---- what the store says becomes answers ---------------------------------------------------- */

static struct ledger_want *want_of(const struct swarm *swarm, const struct job *job) {
    return ledger_find(&swarm->ledger, (struct ledger_handle){job->id, job->arg});
}

/* The reply stream that is in the middle of this want's block. */
static struct stream *stream_of(const struct peer *peer, const struct job *job) {
    for (uint32_t i = 0; i < PEER_REPLIES_MAX; i++) {
        struct stream *stream = peer->replies[i];
        if (stream && stream->total != 0 && stream->sending.slot == job->id &&
            stream->sending.generation == job->arg) {
            return stream;
        }
    }
    return NULL;
}

/* Nothing can leave now. Until a send, a window, a stream that frees, or the sweep, it is not even
 * looked up again: a disk would be read for nothing, over and over. */
static void put_back(struct peer *peer, struct ledger_want *want) {
    peer->blocked = true;
    (void)ledger_put_back(&peer->swarm->ledger, want);
}

static void served(struct peer *peer, struct ledger_want *want, enum ledger_answer answer,
                   uint32_t bytes) {
    peer_earn(peer, SERVED_EARNS);
    ledger_done(&peer->swarm->ledger, want, answer, bytes);
}

static void answer_presence(struct peer *peer, struct ledger_want *want) {
    struct ledger *ledger = &peer->swarm->ledger;
    if (want->canceled) {
        ledger_done(ledger, want, LEDGER_NOTHING, 0);
    } else if (!peer_has_presences(peer)) {
        ledger_done(ledger, want, LEDGER_NOTHING, 0); /* it could not read the answer */
    } else if (message_presence(peer, want, true)) {
        served(peer, want, LEDGER_HAVE, 0);
    } else {
        put_back(peer, want);
    }
}

static void answer_absent(struct peer *peer, struct ledger_want *want, struct stream *stream) {
    struct ledger *ledger = &peer->swarm->ledger;
    if (stream) { /* deleted in the middle: what was sent of it is worth nothing */
        stream->total = 0;
        want->offset = 0;
        stream_reset(stream);
        if (peer->state != PEER_OPEN) {
            return;
        }
    }
    bool tells = want->send_dont_have && !want->told && !want->canceled && peer_has_presences(peer);
    if (tells && !message_presence(peer, want, false)) {
        put_back(peer, want);
        return;
    }
    peer_charge(peer, 1);
    int r = ledger_absent(ledger, want);
    must(r != LEDGER_TELL || tells || !peer_has_presences(peer));
}

static void average_bytes(struct peer *peer, uint32_t bytes) {
    peer->block_bytes = peer->block_bytes == 0 ? bytes : (3 * peer->block_bytes + bytes) / 4;
}

static void answer_large(struct peer *peer, struct ledger_want *want, struct stream *stream,
                         const struct job *job, const uint8_t *body, uint32_t bytes) {
    struct ledger *ledger = &peer->swarm->ledger;
    if (!stream) {
        if (want->canceled) {
            ledger_done(ledger, want, LEDGER_NOTHING, 0);
            return;
        }
        stream = message_stream(peer, bytes);
        if (!stream) {
            put_back(peer, want);
            return;
        }
        stream->sending = (struct ledger_handle){job->id, job->arg};
        stream->total = bytes;
    }
    stream->job_out = false;
    if (message_large(stream, want, body, bytes) == 0) {
        peer->blocked = true; /* no output memory: asking again at once would not make some */
    }
    if (peer->state != PEER_OPEN) {
        return;
    }
    if (want->offset == bytes) {
        stream->total = 0;
        served(peer, want, LEDGER_BLOCK, bytes);
    } else if (want->offset == 0) {
        stream->total = 0;
        put_back(peer, want);
    }
}

static void answer_frame(struct peer *peer, struct ledger_want *want, const struct job *job,
                         struct frame *frame) {
    struct ledger *ledger = &peer->swarm->ledger;
    struct stream *stream = stream_of(peer, job);
    uint32_t bytes = frame_bytes(frame);
    if (stream) {
        answer_large(peer, want, stream, job, frame_body(frame), bytes);
    } else if (want->have && bytes > HAVE_AS_BLOCK_BYTES) {
        answer_presence(peer, want);
    } else if (bytes > MESSAGE_BLOCK_MAX) {
        average_bytes(peer, bytes);
        answer_large(peer, want, NULL, job, frame_body(frame), bytes);
    } else if (want->canceled) {
        ledger_done(ledger, want, LEDGER_NOTHING, 0);
    } else if (message_block(peer, want, frame_body(frame), bytes)) {
        average_bytes(peer, bytes);
        served(peer, want, LEDGER_BLOCK, bytes);
    } else {
        put_back(peer, want);
    }
}

/* The job is done with; more may be served. */
static void job_over(struct swarm *swarm, struct peer *peer, struct job *job, uint64_t now_ns) {
    peer->jobs_out--;
    net_finish(swarm->net, job, now_ns);
    net_conn_dirty(swarm->net, peer->conn);
    if (peer->ledger.queued > 0 && peer->jobs_out == 0 && !peer->blocked && !peer->polling) {
        net_conn_wait(swarm->net, peer->conn);
    }
}

void swarm_answer(struct swarm *swarm, struct job *job, struct find *find, uint64_t now_ns) {
    struct peer *peer = ((struct conn *)pool_at(&swarm->net->conns, job->conn))->peer;
    struct ledger_want *want = want_of(swarm, job);
    if (want && peer->state == PEER_OPEN) {
        switch (find->state) {
        case FIND_FRAME:
            answer_frame(peer, want, job, find->frame);
            break;
        case FIND_DISK:
            if ((!want->have && !want->canceled) || stream_of(peer, job)) { /* begun: to be ended */
                net_push_heavy(swarm->net, job); /* comes home with a frame */
                return;
            }
            answer_presence(peer, want);
            break;
        case FIND_ABSENT:
            job->status = JOB_ABSENT;
            answer_absent(peer, want, stream_of(peer, job));
            break;
        case FIND_RETRY:
            swarm_postpone(swarm, job, true);
            return;
        }
    }
    if (find->state == FIND_FRAME) {
        frame_give_back(find->frame);
    }
    job_over(swarm, peer, job, now_ns);
}

void swarm_postpone(struct swarm *swarm, struct job *job, bool pause) {
    struct peer *peer = ((struct conn *)pool_at(&swarm->net->conns, job->conn))->peer;
    struct ledger_want *want = want_of(swarm, job);
    struct stream *stream = stream_of(peer, job);
    if (stream) {
        stream->job_out = false; /* it stays in the middle of its block */
    } else if (want) {
        (void)ledger_put_back(&swarm->ledger, want);
        peer->blocked |= !pause;
    }
    if (pause) {
        peer->pause_ns = swarm->net->core->now_ns + PAUSE_NS;
        counter_add(&swarm->counters.pauses, 1);
        net_conn_stall(swarm->net, peer->conn);
    }
    job_over(swarm, peer, job, swarm->net->core->now_ns);
}

/* A disk read came home. */
static void home_read(struct swarm *swarm, struct job *job, uint64_t now_ns) {
    struct find find = {.key = &job->key, .state = FIND_ABSENT};
    switch ((enum job_status)job->status) {
    case JOB_OK:
        find.state = FIND_FRAME;
        find.frame = job->data;
        job->data = NULL;
        break;
    case JOB_BUSY:
    case JOB_RETRY:
    case JOB_EXPIRED:
    case JOB_CANCELED:
    case JOB_FULL:
    case JOB_READONLY:
    case JOB_FAILED:
        swarm_postpone(swarm, job, true);
        return;
    case JOB_ABSENT:
    case JOB_CORRUPT: /* damaged bytes are as good as none */
    case JOB_REFUSED:
    case JOB_STATUS_COUNT:
        break;
    }
    swarm_answer(swarm, job, &find, now_ns);
}

void swarm_home(struct swarm *swarm, struct job *job, uint64_t now_ns) {
    if (job->kind == JOB_HANDSHAKE) {
        peer_step_home(swarm, job, now_ns);
    } else {
        must(job->kind == JOB_GET);
        home_read(swarm, job, now_ns);
    }
}

void serve_stream_lost(struct stream *stream) {
    struct peer *peer = stream->peer;
    if (stream->total == 0) {
        return;
    }
    struct ledger_want *want = ledger_find(&peer->swarm->ledger, stream->sending);
    stream->total = 0;
    if (want) {
        want->offset = 0;
        if (!stream->job_out) { /* else the job that comes home begins it again elsewhere */
            put_back(peer, want);
        }
    }
}
