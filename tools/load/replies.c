/* SPDX-License-Identifier: MIT */
#include "tools/load/client.h"

#include "base/must.h"

#include <stdio.h>
#include <string.h>

void client_fault(struct worker *worker, const char *what, const char *text) {
    if (worker->fault[0] == '\0') {
        snprintf(worker->fault, sizeof worker->fault, "%s%s", what, text);
    }
}

void client_dead(struct worker *worker, struct conn *conn, const char *why) {
    if (conn->state == CONN_DEAD) {
        return;
    }
    client_fault(worker, why, "");
    /* A connection that ends is one error, and so is each request it took with it. */
    tally_count(&tally_of(worker, conn)->errors, 1 + (uint64_t)conn->inflight);
    worker->inflight -= conn->inflight;
    conn->inflight = 0;
    if (conn->paused) {
        conn->paused = false;
        worker->paused--;
    }
    conn->state = CONN_DEAD;
    worker->alive--;
}

/* The request this reply answers; NULL: none that we made. */
static struct slot *slot_of(struct worker *worker, struct conn *conn) {
    uint32_t depth = worker->plan->depth;
    if (worker->wire->ordered) {
        return conn->inflight > 0 ? &conn->slots[conn->answered % depth] : NULL;
    }
    uint32_t id = conn->reader.reply.id;
    uint32_t place = id & ((1u << SLOT_BITS) - 1);
    if (place >= depth || !conn->slots[place].busy || conn->slots[place].id != id) {
        return NULL;
    }
    return &conn->slots[place];
}

/* A busy server is left alone for as long as it asks; an open loop has users who do not know. */
static void busy_take(struct worker *worker, struct conn *conn, const struct slot *slot) {
    if (worker->plan->filling) {
        worker->again[worker->again_count++] = slot->index;
    }
    if (worker->plan->rate > 0 && !worker->plan->filling) {
        return;
    }
    uint64_t delay_ns = (uint64_t)conn->reader.reply.retry_ms * NS_PER_MS;
    uint64_t least_ns = NS_PER_MS / 10;
    conn->resume_ns = worker->now_ns + (delay_ns < least_ns ? least_ns : delay_ns);
    if (!conn->paused) {
        conn->paused = true;
        worker->resume_ns = worker->paused == 0 || conn->resume_ns < worker->resume_ns
                                ? conn->resume_ns
                                : worker->resume_ns;
        worker->paused++;
    }
}

static bool answer_fits(const struct worker *worker, const struct slot *slot,
                        const struct wire_reply *reply) {
    if (slot->op == WIRE_PUT) {
        return reply->answer == WIRE_DONE;
    }
    if (slot->op == WIRE_HAVE) {
        return reply->answer == WIRE_HAVES && reply->body_bytes == slot->length;
    }
    uint32_t length = worker->plan->expect != NULL ? worker->plan->expect_bytes : slot->length;
    return reply->answer == WIRE_VALUE && (length == 0 || reply->body_bytes == length);
}

static void success_count(struct worker *worker, struct conn *conn, const struct slot *slot,
                          uint64_t body_bytes) {
    struct tally *tally = tally_of(worker, conn);
    tally_count(&tally->requests, 1);
    tally_count(&tally->bytes, body_bytes);
    tally_count(&tally->writes, slot->op == WIRE_PUT);
    atomic_store_explicit(&tally->last_ns, worker->now_ns, memory_order_relaxed);
    hist_record(&tally->latency, worker->now_ns - slot->intended_ns, 1);
}

static void answer_take(struct worker *worker, struct conn *conn, struct slot *slot,
                        uint8_t answer) {
    struct tally *tally = tally_of(worker, conn);
    const struct wire_reply *reply = &conn->reader.reply;
    bool counts = worker->plan->filling || in_window(worker, slot->intended_ns);
    if (answer == WIRE_BUSY) {
        busy_take(worker, conn, slot);
        tally_count(&tally->busy, counts);
    } else if (answer == WIRE_NOT_FOUND) {
        tally_count(&tally->not_found, counts);
        /* What was acknowledged and is gone is lost. */
        bool lost = worker->plan->fill && worker->wire->keeps;
        tally_count(&tally->wrong, lost);
    } else if (answer == WIRE_FAULT) {
        client_fault(worker, "the server refused: ", reply->text);
        tally_count(&tally->errors, 1);
    } else if (slot->wrong || !answer_fits(worker, slot, reply)) {
        tally_count(&tally->wrong, 1);
    } else if (counts) {
        success_count(worker, conn, slot,
                      slot->op == WIRE_PUT ? worker->plan->size : reply->body_bytes);
    }
    if (worker->plan->filling && slot->op == WIRE_PUT && answer != WIRE_BUSY) {
        worker->fill_left--;
    }
    conn->run_over = slot->last;
    slot_give_back(worker, conn, slot);
    client_able(worker, conn);
}

/* memcache leaves out what it does not have: the oldest reads up to the named one are absent. */
static void absent_skip(struct worker *worker, struct conn *conn) {
    while (conn->inflight > 0) {
        struct slot *slot = slot_of(worker, conn);
        if (slot->index == conn->reader.reply.index) {
            return;
        }
        answer_take(worker, conn, slot, WIRE_NOT_FOUND);
    }
}

static void run_end_take(struct worker *worker, struct conn *conn) {
    while (!conn->run_over && conn->inflight > 0) {
        answer_take(worker, conn, slot_of(worker, conn), WIRE_NOT_FOUND);
    }
    conn->run_over = false;
}

static void body_check(struct worker *worker, struct conn *conn, const struct wire_run *run) {
    const struct plan *plan = worker->plan;
    const struct wire_reply *reply = &conn->reader.reply;
    if (reply->keyed) {
        absent_skip(worker, conn);
    }
    struct slot *slot = slot_of(worker, conn);
    if (slot == NULL || !plan->verify) {
        return;
    }
    if (reply->answer == WIRE_HAVES) {
        for (uint32_t i = 0; i < run->body_bytes; i++) {
            slot->wrong |= run->body[i] != 1 && plan->fill;
        }
    } else if (plan->expect != NULL) {
        slot->wrong |= run->body_at + run->body_bytes > plan->expect_bytes ||
                       memcmp(plan->expect + run->body_at, run->body, run->body_bytes) != 0;
    } else if (worker->wire->verifies && reply->answer == WIRE_VALUE) {
        slot->wrong |= !content_equal(worker->content, slot->index, slot->offset + run->body_at,
                                      run->body, run->body_bytes);
    }
}

static void welcome_take(struct worker *worker, struct conn *conn) {
    const struct wire_reply *reply = &conn->reader.reply;
    if (reply->answer != WIRE_WELCOME) {
        client_dead(worker, conn,
                    reply->answer == WIRE_FAULT ? reply->text
                                                : "HELLO was not answered by WELCOME");
        return;
    }
    if (reply->credits > 0 && reply->credits < conn->limit) {
        conn->limit = reply->credits;
    }
    if (worker->plan->classed && reply->class > conn->class) {
        client_fault(worker, "the server admitted a connection to a lower class than asked", "");
    }
    conn->state = CONN_READY;
}

static void reply_take(struct worker *worker, struct conn *conn) {
    const struct wire_reply *reply = &conn->reader.reply;
    if (unlikely(conn->state == CONN_HELLO)) {
        welcome_take(worker, conn);
        return;
    }
    if (reply->answer == WIRE_END) {
        run_end_take(worker, conn);
        return;
    }
    if (reply->keyed) {
        absent_skip(worker, conn);
    }
    struct slot *slot = slot_of(worker, conn);
    if (slot == NULL) {
        bool fault = reply->answer == WIRE_FAULT;
        client_dead(worker, conn, fault ? reply->text : "a reply that answers no request");
        return;
    }
    answer_take(worker, conn, slot, reply->answer);
}

void client_bytes(struct worker *worker, struct conn *conn, const uint8_t *bytes, size_t count) {
    while (conn->state != CONN_DEAD) {
        struct wire_run run;
        switch (wire_reader_step(worker->wire, &conn->reader, bytes, count, &run)) {
        case WIRE_EVENT_MORE:
            return;
        case WIRE_EVENT_BODY:
            body_check(worker, conn, &run);
            break;
        case WIRE_EVENT_REPLY:
            reply_take(worker, conn);
            break;
        case WIRE_EVENT_BAD:
            client_dead(worker, conn, "bytes that are no reply of this protocol");
            return;
        default:
            never("an event the reader does not have");
        }
        bytes += run.used;
        count -= run.used;
    }
}

void client_finish(struct worker *worker) {
    uint64_t unanswered = 0;
    for (uint32_t i = 0; i < worker->conn_count; i++) {
        struct conn *conn = &worker->conns[i];
        for (uint32_t s = 0; conn->inflight > 0 && s < worker->plan->depth; s++) {
            const struct slot *slot = &conn->slots[s];
            if (slot->busy && in_window(worker, slot->intended_ns)) {
                tally_count(&tally_of(worker, conn)->errors, 1);
                unanswered++;
            }
        }
    }
    if (unanswered > 0) {
        client_fault(worker, "requests were never answered", "");
    }
    atomic_store_explicit(&worker->unanswered, unanswered, memory_order_relaxed);
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        struct backlog *backlog = &worker->backlog[class];
        for (; backlog->head != backlog->tail; backlog->head++) {
            bool counts = in_window(worker, backlog->due[backlog->head & backlog->mask]);
            tally_count(&worker->tally[class].late, counts);
        }
    }
}
