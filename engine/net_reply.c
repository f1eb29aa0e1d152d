/* SPDX-License-Identifier: MIT */
/* net_reply — results become bytes: the writing half of the net tile.
 *
 * Bodies below REPLY_COPY_MAX are copied behind their head (one node, one send); larger ones leave
 * as a lease on their frame. Every job passes exactly one of the functions here and is given back.
 */
#include "engine/net.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/must.h"
#include "engine/helper.h"
#include "engine/many.h"
#include "engine/swarm/client.h"
#include "engine/swarm/swarm.h"

#include <string.h>

#define REPLY_COPY_MAX (OUT_SMALL_BYTES - TLV_VALUE_HEAD)

/* What "try later" means: about the time a class's backlog needs to pass its target again, spread
 * by the request id so that those turned away together do not come back together. */
static uint32_t busy_delay_ms(enum job_class class, uint32_t id) {
    static const uint32_t base_ms[CLASS_COUNT] = {2, 10, 40, 200};
    return base_ms[class] + (id * 2654435761u >> 24) * base_ms[class] / 256;
}

void net_reply_busy(struct net *net, struct conn *conn, uint32_t id, enum job_class class) {
    counter_add(&net->counters.busy, 1);
    uint8_t *out = conn_room(&net->outs, conn, 14);
    if (out) { /* without room for 14 bytes the connection is about to be stopped anyway */
        size_t used = tlv_busy(out, id, busy_delay_ms(class, id), net->credits);
        must(used == 14);
        net_conn_dirty(net, conn);
    }
}

void net_reply_fault(struct net *net, struct conn *conn, uint32_t id, enum tlv_code code,
                     const char *text) {
    uint8_t frame[TLV_REPLY_MAX];
    size_t used = tlv_fault(frame, id, code, text);
    uint8_t *out = conn_room(&net->outs, conn, (uint32_t)used);
    if (out) {
        memcpy(out, frame, used);
        net_conn_dirty(net, conn);
    }
}

void net_finish(struct net *net, struct job *job, uint64_t replied_ns) {
    enum job_class class = (enum job_class)job->class;
    const uint64_t *target_ns = sched_config_default.target_ns;
    uint64_t took = replied_ns > job->arrived_ns ? replied_ns - job->arrived_ns : 0;
    if (likely(job->status == JOB_OK || job->status == JOB_ABSENT)) {
        hist_record(&net->latency[class], took, 1);
        counter_add(&net->done[class], 1);
        if (unlikely(took > target_ns[class])) {
            counter_add(&net->sla_misses[class], 1);
        }
    } else if (job->status == JOB_BUSY) {
        counter_add(&net->shed[class], 1);
    } else if (job->status == JOB_EXPIRED) {
        counter_add(&net->expired[class], 1);
    }
    net_job_give(net, job);
}

/* Relaxed: a reader may see halves of two requests; it is a sample for people. */
static void keep_trace(struct net_trace *trace, const struct job *job, uint32_t work,
                       uint64_t replied_ns) {
    atomic_store_explicit(&trace->arrived_ns, job->arrived_ns, memory_order_relaxed);
    atomic_store_explicit(&trace->replied_ns, replied_ns, memory_order_relaxed);
    atomic_store_explicit(&trace->queued_ns, job->queued_ns, memory_order_relaxed);
    atomic_store_explicit(&trace->started_ns, job->started_ns, memory_order_relaxed);
    atomic_store_explicit(&trace->finished_ns, job->finished_ns, memory_order_relaxed);
    atomic_store_explicit(&trace->kind, job->kind, memory_order_relaxed);
    atomic_store_explicit(&trace->class, job->class, memory_order_relaxed);
    atomic_store_explicit(&trace->work, work, memory_order_relaxed);
}

/* ---- the bytes of each answer ---- */

/* A GET's block, whole or in part. Takes the lease over, also when it returns false for want of
 * room: then the caller still holds it. */
static bool write_value(struct net *net, struct conn *conn, struct job *job, struct frame *frame) {
    uint32_t total = frame_bytes(frame);
    uint32_t offset = job->arg;
    if (unlikely(offset > total)) {
        if (out_pools_free(&net->outs) == 0) {
            return false;
        }
        net_reply_fault(net, conn, job->id, TLV_CODE_RANGE, NULL);
        frame_give_back(frame);
        return true;
    }
    uint32_t length = total - offset;
    if (job->data_bytes != 0) {
        length = min_u32(length, job->data_bytes);
    }
    const uint8_t *body = frame_body(frame) + offset;
    if (length <= REPLY_COPY_MAX) {
        uint8_t *out = conn_room(&net->outs, conn, TLV_VALUE_HEAD + length);
        if (unlikely(!out)) {
            return false;
        }
        (void)tlv_value_head(out, job->id, (uint32_t)frame_codec(frame), total, offset, length);
        memcpy(out + TLV_VALUE_HEAD, body, length);
        frame_give_back(frame);
        return true;
    }
    if (!out_lease_fits(&net->outs, length)) {
        return false;
    }
    uint8_t *out = conn_room(&net->outs, conn, TLV_VALUE_HEAD);
    if (unlikely(!out)) {
        return false;
    }
    (void)tlv_value_head(out, job->id, (uint32_t)frame_codec(frame), total, offset, length);
    enum out_way way = net_way(net, conn, frame, length);
    bool leased = conn_append_frame(&net->outs, conn, frame, body, length, way);
    must(leased); /* a node was free */
    counter_add(&net->counters.leased_sends, 1);
    return true;
}

static enum tlv_code refusal_code(const struct job *job) {
    switch ((enum job_refusal)job->arg) {
    case REFUSED_MISMATCH:
        return TLV_CODE_MISMATCH;
    case REFUSED_HASH:
        return TLV_CODE_UNKNOWN_HASH;
    case REFUSED_SIZE:
        return TLV_CODE_TOO_LARGE;
    case REFUSED_NONE:
    case REFUSED_POLICY:
        break;
    }
    return TLV_CODE_POLICY;
}

/* Every status but OK. Returns: false for want of room. */
static bool write_refusal(struct net *net, struct conn *conn, const struct job *job) {
    uint8_t frame[TLV_REPLY_MAX];
    size_t used = 0;
    switch ((enum job_status)job->status) {
    case JOB_OK:
    case JOB_CANCELED:
    case JOB_STATUS_COUNT:
        never("not a refusal");
    case JOB_ABSENT:
        used = tlv_plain(frame, TLV_NOT_FOUND, job->id);
        break;
    case JOB_BUSY:
        counter_add(&net->counters.busy, 1);
        used = tlv_busy(frame, job->id, busy_delay_ms((enum job_class)job->class, job->id),
                        net->credits);
        break;
    case JOB_RETRY:
        used = tlv_retry(frame, job->id, 100);
        break;
    case JOB_CORRUPT:
        used = tlv_fault(frame, job->id, TLV_CODE_CORRUPT, NULL);
        break;
    case JOB_REFUSED:
        used = tlv_fault(frame, job->id, refusal_code(job), NULL);
        break;
    case JOB_EXPIRED:
        used = tlv_fault(frame, job->id, TLV_CODE_EXPIRED, NULL);
        break;
    case JOB_FULL:
        used = tlv_fault(frame, job->id, TLV_CODE_FULL, NULL);
        break;
    case JOB_READONLY:
        used = tlv_fault(frame, job->id, TLV_CODE_READONLY, NULL);
        break;
    case JOB_FAILED:
        used = tlv_fault(frame, job->id, TLV_CODE_IO, NULL);
        break;
    }
    uint8_t *out = conn_room(&net->outs, conn, (uint32_t)used);
    if (!out) {
        return false;
    }
    memcpy(out, frame, used);
    return true;
}

/* LIST and STAT: what the helper wrote. */
static bool write_document(struct net *net, struct conn *conn, struct job *job) {
    const struct helper_page *page = job->data;
    uint32_t chunks = page->bytes / OUT_SMALL_BYTES + 3;
    if (out_pools_free(&net->outs) < chunks) {
        return false;
    }
    uint8_t head[TLV_REPLY_MAX];
    size_t used = job->kind == JOB_STAT ? tlv_stats_head(head, job->id, page->bytes)
                                        : tlv_items_head(head, job->id, page->cursor,
                                                         (uint16_t)page->count, page->bytes);
    bool all = conn_append(&net->outs, conn, head, (uint32_t)used) &&
               conn_append(&net->outs, conn, page->body, page->bytes);
    must(all); /* there was room */
    return true;
}

static bool write_ok(struct net *net, struct conn *conn, struct job *job) {
    switch ((enum job_kind)job->kind) {
    case JOB_GET:
        return write_value(net, conn, job, job->data);
    case JOB_PUT:
    case JOB_DELETE:
    case JOB_PIN:
    case JOB_UNPIN:
    case JOB_VERIFY: {
        uint8_t *out = conn_room(&net->outs, conn, 6);
        if (out) {
            (void)tlv_plain(out, TLV_DONE, job->id);
        }
        return out != NULL;
    }
    case JOB_LIST:
    case JOB_STAT:
        return write_document(net, conn, job);
    case JOB_GET_MANY:
    case JOB_PUT_MANY:
        return many_write(net, conn, job);
    case JOB_HAVE:
    case JOB_HASH:
    case JOB_STORE:
    case JOB_HANDSHAKE:
    case JOB_KIND_COUNT:
        break;
    }
    never("no such job comes home");
}

/* Memory a finished job holds besides its result. */
static void drop_data(struct net *net, struct job *job) {
    switch ((enum job_kind)job->kind) {
    case JOB_GET:
        if (job->status == JOB_OK && job->data) {
            frame_give_back(job->data);
        }
        break;
    case JOB_GET_MANY:
    case JOB_PUT_MANY:
        many_drop(job);
        net_body_free(net, job);
        break;
    case JOB_PUT:
    case JOB_HAVE:
        net_body_free(net, job);
        break;
    case JOB_LIST:
    case JOB_STAT:
    case JOB_PIN:
    case JOB_UNPIN:
        helper_page_done(job->data); /* pins have none */
        ((struct conn *)pool_at(&net->conns, job->conn))->helped--;
        break;
    case JOB_DELETE:
    case JOB_VERIFY:
    case JOB_HASH:
    case JOB_STORE:
    case JOB_HANDSHAKE:
    case JOB_KIND_COUNT:
        break;
    }
    job->data = NULL;
}

/* Puts a request aside whose connection does not take its replies. */
static void defer(struct net *net, struct conn *conn, struct job *job) {
    counter_add(&net->counters.deferred, 1);
    job_chain_push(&conn->deferred, job);
    if (!conn->out_head) {
        net_conn_stall(net, conn); /* no send of its own will bring it back */
    }
}

/* A finished job of a libp2p peer. */
static void peer_reply(struct net *net, struct conn *conn, struct job *job, uint32_t work,
                       uint64_t now_ns) {
    keep_trace(&net->last_heavy, job, work, now_ns);
    if (conn->state == CONN_CLOSING) {
        swarm_drop(net->swarm, job);
        job->status = JOB_CANCELED;
        net_finish(net, job, now_ns);
    } else {
        swarm_home(net->swarm, job, now_ns);
    }
    net_conn_wait(net, conn);
}

bool net_reply(struct net *net, struct job *job, uint32_t work, uint64_t now_ns) {
    if (unlikely(job->conn == JOB_NOBODY)) {
        keep_trace(&net->last_heavy, job, work, now_ns);
        client_home(net->swarm->client, job, now_ns);
        return true;
    }
    struct conn *conn = pool_at(&net->conns, job->conn);
    if (conn->peer) {
        peer_reply(net, conn, job, work, now_ns);
        return true;
    }
    bool got = job->kind == JOB_GET && job->status == JOB_OK;
    if (unlikely(
            got && conn->state != CONN_CLOSING &&
            (net_output_full(net, conn) || !out_lease_fits(&net->outs, frame_bytes(job->data))))) {
        frame_give_back(job->data); /* a slow peer keeps its place in line, not a frame */
        job->data = NULL;
        defer(net, conn, job);
        return true;
    }
    if (unlikely(job->kind == JOB_GET_MANY && job->status == JOB_OK &&
                 conn->state != CONN_CLOSING && net_output_full(net, conn))) {
        many_drop(job);
        defer(net, conn, job);
        return true;
    }
    if (conn->state == CONN_CLOSING) {
        drop_data(net, job);
        job->status = JOB_CANCELED;
    } else {
        bool written =
            job->status == JOB_OK ? write_ok(net, conn, job) : write_refusal(net, conn, job);
        if (!written) {
            return false;
        }
        if (job->kind == JOB_GET && job->status == JOB_OK) {
            job->data = NULL; /* the lease went to the output or back */
        }
        drop_data(net, job);
        net_conn_dirty(net, conn);
    }
    keep_trace(&net->last_heavy, job, work, now_ns);
    net_finish(net, job, now_ns);
    net_conn_wait(net, conn); /* it may go on reading, or be closed at last */
    return true;
}

/* ---- light ---- */

/* One key of a HAVE's body. A hash function we do not have is no error: nothing is stored under it,
 * and nothing is under an empty digest, which stands for it. */
static int have_key(const uint8_t **at, const uint8_t *end, struct key *ret_key) {
    size_t used = 0;
    int r = key_read(*at, (size_t)(end - *at), ret_key, &used);
    if (r == KEY_UNKNOWN_HASH) {
        *ret_key = (struct key){0};
        r = 0;
    }
    *at += used;
    return r;
}

/* Every key must be whole before the first answer is written: a reply cannot be taken back. */
static bool have_keys_sound(const struct job *job) {
    struct key key;
    const uint8_t *at = job->data;
    const uint8_t *end = at + job->data_bytes;
    for (uint32_t i = 0; i < job->arg; i++) {
        if (have_key(&at, end, &key) != 0) {
            return false;
        }
    }
    return at == end;
}

/* HAVE: the keys are in the body, the answers go straight to the output. */
static bool answer_have(struct net *net, struct conn *conn, struct job *job) {
    uint32_t count = job->arg;
    if (out_pools_free(&net->outs) < count / OUT_SMALL_BYTES + 3) {
        return false;
    }
    if (!have_keys_sound(job)) {
        net_reply_fault(net, conn, job->id, TLV_CODE_BAD_KEY, NULL);
        return true;
    }
    uint8_t head[TLV_REPLY_MAX];
    uint8_t present[64];
    struct key keys[64];
    const uint8_t *at = job->data;
    const uint8_t *end = at + job->data_bytes;
    size_t head_bytes = tlv_haves_head(head, job->id, (uint16_t)count);
    bool room = conn_append(&net->outs, conn, head, (uint32_t)head_bytes);
    must(room);
    while (count > 0) {
        uint32_t group = min_u32(count, array_count(keys));
        for (uint32_t i = 0; i < group; i++) {
            int r = have_key(&at, end, &keys[i]);
            must(r == 0); /* have_keys_sound read the same bytes */
        }
        store_have(net->store, net->core->index, keys, present, group);
        room = conn_append(&net->outs, conn, present, group);
        must(room);
        count -= group;
    }
    return true;
}

static void answer_simple(struct net *net, struct conn *conn, struct job *job) {
    bool written =
        job->status == JOB_OK ? answer_have(net, conn, job) : write_refusal(net, conn, job);
    if (!written) {
        counter_add(&net->counters.no_room, 1);
        job->status = JOB_OK;
        defer(net, conn, job);
        return;
    }
    net_body_free(net, job);
    net_conn_dirty(net, conn);
    counter_add(&net->counters.light, 1);
    net_finish(net, job, net->core->now_ns);
}

/* GET_MANY: answered here unless some of it lies on disk. */
static void answer_many(struct net *net, struct conn *conn, struct job *job) {
    enum many_way way = many_look_up(net, job);
    if (way == MANY_READ) {
        net_push_heavy(net, job);
        return;
    }
    if (way == MANY_BAD) {
        net_reply_fault(net, conn, job->id, TLV_CODE_BAD_KEY, NULL);
    } else if (!many_write(net, conn, job)) {
        counter_add(&net->counters.no_room, 1);
        many_drop(job);
        defer(net, conn, job);
        return;
    }
    net_body_free(net, job);
    net_conn_dirty(net, conn);
    counter_add(&net->counters.light, 1);
    net_finish(net, job, net->core->now_ns);
}

/* A GET whose look-up is done. */
static void answer_get(struct net *net, struct job *job, struct find *find, uint64_t replied_ns) {
    struct conn *conn = pool_at(&net->conns, job->conn);
    if (conn->peer) {
        counter_add(&net->counters.light, find->state != FIND_DISK);
        swarm_answer(net->swarm, job, find, replied_ns);
        return;
    }
    bool written = true;
    switch (find->state) {
    case FIND_FRAME:
        if (unlikely(conn->deferred.head || net_output_full(net, conn))) {
            frame_give_back(find->frame); /* those before it in this group filled the output */
            defer(net, conn, job);
            return;
        }
        written = write_value(net, conn, job, find->frame);
        if (!written) {
            frame_give_back(find->frame);
        }
        break;
    case FIND_DISK:
        net_push_heavy(net, job);
        return;
    case FIND_ABSENT:
        job->status = JOB_ABSENT;
        written = write_refusal(net, conn, job);
        break;
    case FIND_RETRY:
        job->status = JOB_RETRY;
        written = write_refusal(net, conn, job);
        break;
    }
    if (unlikely(!written)) {
        counter_add(&net->counters.no_room, 1);
        job->status = JOB_OK;
        defer(net, conn, job);
        return;
    }
    net_conn_dirty(net, conn);
    counter_add(&net->counters.light, 1);
    net_finish(net, job, replied_ns);
}

/* Looks GETs up together and answers them. */
static void answer_gets(struct net *net, struct job *gets[], uint32_t count) {
    struct find finds[NET_LIGHT_GROUP];
    if (count == 0) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        finds[i].key = &gets[i]->key;
    }
    store_find(net->store, net->core->index, finds, count);
    uint64_t now = clock_ns();
    struct job sample = *gets[0]; /* gets[0] itself may be given back below */
    bool light = finds[0].state == FIND_FRAME;
    for (uint32_t i = 0; i < count; i++) {
        answer_get(net, gets[i], &finds[i], now);
    }
    if (light) {
        job_answer_light(&sample, net->core->now_ns, now);
        keep_trace(&net->last_light, &sample, UINT32_MAX, now);
    }
}

/* Whether a light job is to be worked on now; else it is on its way already. */
static bool still_wanted(struct net *net, struct conn *conn, struct job *job) {
    if (unlikely(conn->state == CONN_CLOSING)) {
        job->status = JOB_CANCELED;
        if (job->kind == JOB_HAVE || job->kind == JOB_GET_MANY) {
            net_body_free(net, job);
        }
        net_finish(net, job, net->core->now_ns);
        net_conn_wait(net, conn);
        return false;
    }
    if (unlikely(conn->deferred.head || net_output_full(net, conn))) {
        if (conn->peer) {
            swarm_postpone(net->swarm, job, false);
        } else {
            defer(net, conn, job);
        }
        return false;
    }
    return true;
}

void net_answer_light(struct net *net, struct sched_pick picks[], uint32_t count) {
    struct job *gets[NET_LIGHT_GROUP];
    uint32_t get_count = 0;
    must(count <= NET_LIGHT_GROUP);
    for (uint32_t i = 0; i < count; i++) {
        struct job *job = picks[i].job;
        struct conn *conn = pool_at(&net->conns, job->conn);
        if (!still_wanted(net, conn, job)) {
            continue;
        }
        if (unlikely(picks[i].fate != SCHED_RUN)) {
            job->status = picks[i].fate == SCHED_SHED ? JOB_BUSY : JOB_EXPIRED;
            if (conn->peer) {
                swarm_postpone(net->swarm, job, true); /* overload is silence: its wants wait */
            } else {
                answer_simple(net, conn, job);
            }
        } else if (job->kind == JOB_HAVE) {
            answer_simple(net, conn, job);
        } else if (job->kind == JOB_GET_MANY) {
            answer_many(net, conn, job);
        } else {
            gets[get_count++] = job;
        }
    }
    answer_gets(net, gets, get_count);
}

void net_answer_direct(struct net *net) {
    struct job *gets[NET_LIGHT_GROUP];
    uint32_t get_count = 0;
    uint32_t count = net->direct_count;
    net->direct_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct job *job = net->direct[i];
        if (still_wanted(net, pool_at(&net->conns, job->conn), job)) {
            gets[get_count++] = job;
        }
    }
    counter_add(&net->counters.direct, get_count);
    answer_gets(net, gets, get_count);
}

bool net_has_room(struct net *net) {
    if (out_pools_free(&net->outs) < 2 * NET_LIGHT_GROUP ||
        net->outs.leased.free_count < NET_LIGHT_GROUP) {
        counter_add(&net->counters.no_room, 1);
        return false;
    }
    return true;
}
