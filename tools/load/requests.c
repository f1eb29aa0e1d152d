/* SPDX-License-Identifier: MIT */
#include "tools/load/client.h"

#include "base/must.h"

#include <string.h>

static void list_push(struct conn_list *list, struct conn *conn) {
    conn->able_next = NULL;
    if (list->tail == NULL) {
        list->head = conn;
    } else {
        list->tail->able_next = conn;
    }
    list->tail = conn;
    conn->able_listed = true;
}

static struct conn *list_pop(struct conn_list *list) {
    struct conn *conn = list->head;
    if (conn != NULL) {
        list->head = conn->able_next;
        if (list->head == NULL) {
            list->tail = NULL;
        }
        conn->able_listed = false;
    }
    return conn;
}

void client_able(struct worker *worker, struct conn *conn) {
    if (conn->state == CONN_READY && !conn->able_listed && !conn->paused) {
        list_push(&worker->able[conn->class], conn);
    }
}

static bool can_take(const struct worker *worker, const struct conn *conn) {
    return conn->state == CONN_READY && !conn->send_out && conn->inflight < conn->limit &&
           outbox_room(&conn->outbox) >= worker->request_room &&
           (conn->outbox.iov == NULL || outbox_pointable(&conn->outbox));
}

static struct slot *slot_take(struct worker *worker, struct conn *conn) {
    uint16_t place = conn->free[conn->free_head++ & worker->free_mask];
    struct slot *slot = &conn->slots[place];
    must(!slot->busy);
    slot->busy = true;
    slot->last = false;
    slot->wrong = false;
    slot->id += 1u << SLOT_BITS;
    conn->last_slot = place;
    conn->inflight++;
    worker->inflight++;
    return slot;
}

void slot_give_back(struct worker *worker, struct conn *conn, struct slot *slot) {
    must(slot->busy);
    slot->busy = false;
    conn->free[conn->free_tail++ & worker->free_mask] = (uint16_t)(slot - conn->slots);
    conn->inflight--;
    conn->answered++;
    worker->inflight--;
}

static const uint8_t *digest_of(struct worker *worker, uint64_t index) {
    if (worker->content->digests != NULL && index < worker->content->keys) {
        return content_digest(worker->content, index);
    }
    /* Content that was never hashed at boot: new blocks are, names without content need not be. */
    uint8_t *digest = worker->scratch + worker->content->bytes;
    if (!worker->wire->hashed) {
        memset(digest, 0, CONTENT_DIGEST_BYTES);
        memcpy(digest, &index, sizeof index);
    } else if (content_hash(worker->content, index, worker->scratch, digest) != 0) {
        never("sha2-256 worked at boot");
    }
    return digest;
}

static uint64_t key_draw(struct worker *worker) {
    return worker->plan->zipf_s > 0 ? zipf_draw(&worker->zipf, &worker->draw)
                                    : draw_below(&worker->draw, worker->plan->keys);
}

static void body_write(struct worker *worker, struct conn *conn, uint64_t index) {
    const struct content *content = worker->content;
    struct outbox *outbox = &conn->outbox;
    uint32_t stamp = content_stamp(content, index, outbox_at(outbox));
    outbox_add(outbox, stamp);
    uint32_t rest = content->bytes - stamp;
    if (content->bytes <= INLINE_BODY_MAX) {
        memcpy(outbox_at(outbox), content_tail(content, index), rest);
        outbox_add(outbox, rest);
    } else {
        outbox_point(outbox, content_tail(content, index), rest);
    }
    if (worker->wire->trailer != NULL) {
        memcpy(outbox_at(outbox), worker->wire->trailer, 2);
        outbox_add(outbox, 2);
    }
}

void client_run_close(struct worker *worker, struct conn *conn) {
    if (conn->run_open) {
        memcpy(outbox_at(&conn->outbox), worker->wire->run_end, 2);
        outbox_add(&conn->outbox, 2);
        conn->slots[conn->last_slot].last = true;
        conn->run_open = false;
    }
}

static void unsent_add(struct worker *worker, struct conn *conn) {
    if (!conn->unsent_listed) {
        conn->unsent_listed = true;
        conn->unsent_next = worker->unsent;
        worker->unsent = conn;
    }
}

static void request_write(struct worker *worker, struct conn *conn, uint8_t op, uint64_t index,
                          uint64_t intended_ns) {
    const struct plan *plan = worker->plan;
    if (op == WIRE_PUT) {
        client_run_close(worker, conn);
    }
    struct slot *slot = slot_take(worker, conn);
    slot->op = op;
    slot->index = index;
    slot->intended_ns = intended_ns;
    slot->offset = 0;
    slot->length = plan->size;
    if (op == WIRE_RANGE) {
        slot->offset = (uint32_t)draw_below(&worker->draw, plan->size);
        slot->length = 1 + (uint32_t)draw_below(&worker->draw, plan->size - slot->offset);
    }
    struct wire_request request = {
        .op = op,
        .first = !conn->run_open,
        .id = slot->id,
        .index = index,
        .offset = slot->offset,
        .length = slot->length,
        .text = plan->request_text,
        .text_bytes = plan->request_text_bytes,
    };
    if (op == WIRE_HAVE) {
        slot->length = plan->have;
        for (uint32_t i = 0; i < plan->have; i++) {
            worker->digests[i] = digest_of(worker, key_draw(worker));
        }
        request.digests = worker->digests;
        request.count = plan->have;
    } else {
        request.digest = digest_of(worker, index);
    }
    request.body_bytes = op == WIRE_PUT ? plan->size : 0;
    outbox_add(&conn->outbox, worker->wire->write(&request, outbox_at(&conn->outbox)));
    if (op == WIRE_PUT) {
        body_write(worker, conn, index);
    } else {
        conn->run_open = worker->wire->run_end != NULL;
    }
    unsent_add(worker, conn);
}

static void request_draw(struct worker *worker, struct conn *conn, uint64_t intended_ns) {
    const struct plan *plan = worker->plan;
    bool write =
        plan->writes > 0 && draw_below(&worker->draw, plan->reads + plan->writes) < plan->writes;
    if (!write) {
        uint8_t op = plan->have > 0 ? WIRE_HAVE : plan->ranges ? WIRE_RANGE : WIRE_GET;
        request_write(worker, conn, op, op == WIRE_HAVE ? 0 : key_draw(worker), intended_ns);
        return;
    }
    /* Where content names itself a second put of it is no work; elsewhere a key is rewritten. */
    uint64_t index = worker->wire->hashed ? worker->fresh++ : key_draw(worker);
    request_write(worker, conn, WIRE_PUT, index, intended_ns);
}

static bool fill_write(struct worker *worker, struct conn *conn) {
    uint64_t index;
    if (worker->again_count > 0) {
        index = worker->again[--worker->again_count];
    } else if (worker->fill_next < worker->fill_end) {
        index = worker->fill_next++;
    } else {
        return false;
    }
    request_write(worker, conn, WIRE_PUT, index, worker->now_ns);
    return true;
}

static void paused_resume(struct worker *worker) {
    if (worker->paused == 0 || worker->now_ns < worker->resume_ns) {
        return;
    }
    worker->resume_ns = UINT64_MAX;
    for (uint32_t i = 0; i < worker->conn_count; i++) {
        struct conn *conn = &worker->conns[i];
        if (!conn->paused) {
            continue;
        }
        if (conn->resume_ns <= worker->now_ns) {
            conn->paused = false;
            worker->paused--;
            client_able(worker, conn);
        } else if (conn->resume_ns < worker->resume_ns) {
            worker->resume_ns = conn->resume_ns;
        }
    }
}

static void closed_write(struct worker *worker) {
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        for (struct conn *conn; (conn = list_pop(&worker->able[class])) != NULL;) {
            while (can_take(worker, conn)) {
                if (!worker->plan->filling) {
                    request_draw(worker, conn, worker->now_ns);
                } else if (!fill_write(worker, conn)) {
                    break;
                }
            }
        }
    }
}

static void due_collect(struct worker *worker, uint32_t class) {
    struct backlog *backlog = &worker->backlog[class];
    struct pace *pace = &worker->pace[class];
    while (pace_peek(pace) <= worker->now_ns) {
        uint64_t intended_ns = pace_take(pace);
        if (backlog->tail - backlog->head <= backlog->mask) {
            backlog->due[backlog->tail++ & backlog->mask] = intended_ns;
        } else if (in_window(worker, intended_ns)) {
            tally_count(&worker->tally[class].late, 1);
        }
    }
}

static void open_write(struct worker *worker) {
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        if (!worker->paced[class]) {
            continue;
        }
        due_collect(worker, class);
        struct backlog *backlog = &worker->backlog[class];
        while (backlog->head != backlog->tail) {
            struct conn *conn = list_pop(&worker->able[class]);
            if (conn == NULL) {
                break;
            }
            if (!can_take(worker, conn)) {
                continue; /* it comes back with its next reply or finished send */
            }
            request_draw(worker, conn, backlog->due[backlog->head++ & backlog->mask]);
            client_able(worker, conn); /* at the end of the line: connections take turns */
        }
    }
}

void client_write(struct worker *worker) {
    if (worker->stopping) {
        return;
    }
    paused_resume(worker);
    if (worker->plan->rate > 0 && !worker->plan->filling) {
        open_write(worker);
    } else {
        closed_write(worker);
    }
}

uint64_t client_due_ns(const struct worker *worker) {
    uint64_t due_ns = worker->paused > 0 ? worker->resume_ns : UINT64_MAX;
    if (worker->stopping) {
        return UINT64_MAX;
    }
    for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
        if (worker->paced[class] && pace_peek(&worker->pace[class]) < due_ns) {
            due_ns = pace_peek(&worker->pace[class]);
        }
    }
    return due_ns;
}

void client_hello(struct worker *worker, struct conn *conn) {
    if (worker->wire->hello == NULL) {
        conn->state = CONN_READY;
        return;
    }
    conn->state = CONN_HELLO;
    outbox_add(&conn->outbox, worker->wire->hello(worker->plan->classed ? conn->class : 255,
                                                  outbox_at(&conn->outbox)));
    unsent_add(worker, conn);
}
