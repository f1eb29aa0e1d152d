/* SPDX-License-Identifier: MIT */
/* net_request — received bytes become jobs: the reading half of the net tile.
 *
 * A connection is read while it has input, a job is free, its output is not full, and nothing of
 * its own is put aside. What stops it leaves the rest of its input on its list, and the connection
 * on the tile's waiting list; backlog beyond that stays in the socket, of a class whose buffers are
 * bounded. */
#include "engine/net.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/many.h"
#include "engine/swarm/swarm.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Estimated cost of light requests, in ns of this core: the work and its share of the socket. */
#define COST_GET_NS      500u
#define COST_DIRECT_NS   150u /* the work alone, until its turn ends */
#define COST_HAVE_NS     300u
#define COST_HAVE_KEY_NS 30u
#define COST_MANY_KEY_NS 150u /* of a GET_MANY, with a small block copied */

#define CONTENDED_NS (10 * NS_PER_MS) /* how long after it classes count as competing */

#define HELPED_MAX 4u /* LIST and STAT that one connection may have in flight */

/* ---- jobs: each class has a share of its own, the rest is for whoever comes ----------------- */

static uint32_t own_share(const struct net *net) {
    return net->jobs_max / 8;
}

static bool class_may_take(const struct net *net, enum job_class class) {
    uint32_t shared_max = net->jobs_max - CLASS_COUNT * own_share(net);
    return net->class_jobs[class] < own_share(net) || net->shared_jobs < shared_max;
}

/* The parser's job becomes a request of this class: from here on it counts, and the parser gets
 * another, which the shares leave free. */
static void job_begin(struct net *net, struct job *job, enum job_class class) {
    must(job == net->spare_job);
    net->spare_job = pool_get(&net->jobs);
    must(net->spare_job != NULL);
    if (net->class_jobs[class]++ >= own_share(net)) {
        net->shared_jobs++;
    }
    if (job->conn != JOB_NOBODY) {
        ((struct conn *)pool_at(&net->conns, job->conn))->jobs++;
    }
    job->class = (uint8_t) class;
}

static void clear_job(const struct net *net, const struct conn *conn, struct job *job) {
    job->next = NULL;
    job->arrived_ns = net->core->now_ns;
    job->data = NULL;
    job->queued_ns = 0;
    job->started_ns = 0;
    job->finished_ns = 0;
    job->conn = conn ? conn->slot : JOB_NOBODY;
    job->data_bytes = 0;
    job->arg = 0;
    job->flow = conn ? conn->flow : 0;
    job->deadline_ms = 0;
    job->net = net->core->index & 0x7f;
    job->scan = 0;
    job->status = JOB_OK;
}

struct job *net_job_take(struct net *net, struct conn *conn, enum job_class class) {
    if (!class_may_take(net, class)) {
        counter_add(&net->counters.no_jobs, 1);
        return NULL;
    }
    struct job *job = net->spare_job;
    clear_job(net, conn, job);
    job_begin(net, job, class);
    return job;
}

void net_job_give(struct net *net, struct job *job) {
    if (likely(job->conn != JOB_NOBODY)) {
        struct conn *conn = pool_at(&net->conns, job->conn);
        must(conn->jobs > 0);
        conn->jobs--;
        if (unlikely(conn->fault && conn->jobs == 0)) {
            net_conn_wait(net, conn); /* the last answer before its FAULT */
        }
    }
    if (--net->class_jobs[job->class] >= own_share(net)) {
        net->shared_jobs--;
    }
    pool_put(&net->jobs, job);
    net->wake |= net->waiting_head != NULL; /* somebody may have waited for one */
}

/* ---- bodies --------------------------------------------------------------------------------- */

/* What a class holds beyond an eighth of all comes out of the half that is for whoever comes. */
static uint64_t beyond_share(const struct net *net, uint64_t bytes) {
    uint64_t own = net->body_bytes_max / 8;
    return bytes > own ? bytes - own : 0;
}

static void body_count(struct net *net, enum job_class class, uint64_t bytes) {
    net->shared_body_bytes -= beyond_share(net, net->body_bytes[class]);
    net->body_bytes[class] = bytes;
    net->shared_body_bytes += beyond_share(net, bytes);
}

void net_body_shares(struct net *net) {
    net->shared_body_bytes = 0;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        net->shared_body_bytes += beyond_share(net, net->body_bytes[c]);
    }
}

/* Returns: false when upload memory of that class is full; an empty body needs none. */
static bool body_take(struct net *net, struct job *job, enum job_class class, uint32_t bytes) {
    job->data = NULL;
    job->data_bytes = bytes;
    if (bytes == 0) {
        return true;
    }
    if (unlikely(store_rung(net->store) >= LADDER_PUTS)) {
        return false;
    }
    uint64_t before = net->body_bytes[class];
    uint64_t more = beyond_share(net, before + bytes) - beyond_share(net, before);
    if (net->shared_body_bytes + more > net->body_bytes_max / 2) {
        return false;
    }
    job->data = arena_take(net->core->arena, bytes, bytes >= 16 * KiB ? PAGE_BYTES : 16);
    if (!job->data) {
        return false;
    }
    body_count(net, class, before + bytes);
    return true;
}

void net_body_free(struct net *net, struct job *job) {
    if (job->data) {
        arena_give(net->core->arena, job->data, job->data_bytes);
        body_count(net, (enum job_class)job->class, net->body_bytes[job->class] - job->data_bytes);
        job->data = NULL;
    }
}

/* ---- heavy: containers of one class --------------------------------------------------------- */

static struct batch *batch_take(struct net *net, enum job_class class) {
    struct batch *batch;
    while ((batch = ring_pop_spsc(net->mesh->batch_home[net->core->index])) != NULL) {
        pool_put(&net->batches, batch);
    }
    batch = pool_get(&net->batches);
    if (batch) {
        *batch = (struct batch){.class = (uint8_t) class, .from = (uint8_t)net->core->index};
    }
    return batch;
}

/* Returns: false when the class ring is full; the container stays open. */
static bool batch_push(struct net *net, enum job_class class) {
    struct batch *batch = net->open[class];
    batch->closed_ns = net->core->now_ns;
    if (!ring_push_mpmc(net->mesh->class_rings[class], batch)) {
        counter_add(&net->ring_full[class], 1);
        return false;
    }
    net->open[class] = NULL;
    core_tell(net->core, net->mesh->sched_core);
    return true;
}

static bool batch_add(struct net *net, struct job *job) {
    enum job_class class = (enum job_class)job->class;
    if (net->open[class] && net->open[class]->count == BATCH_JOBS_MAX && !batch_push(net, class)) {
        return false;
    }
    if (!net->open[class]) {
        net->open[class] = batch_take(net, class);
    }
    struct batch *batch = net->open[class];
    if (!batch) {
        return false;
    }
    batch->jobs[batch->count++] = job;
    return true;
}

void net_push_heavy(struct net *net, struct job *job) {
    job->queued_ns = job_since(job, net->core->now_ns);
    counter_add(&net->counters.heavy, 1);
    if (net->unpushed[job->class].head || !batch_add(net, job)) {
        job_chain_push(&net->unpushed[job->class], job);
    }
}

static void flush_helped(struct net *net) {
    while (net->unhelped.head && ring_count(net->mesh->helper_in) < MESH_HELPER_RING / 2) {
        struct job *job = job_chain_pop(&net->unhelped); /* before it is another thread's */
        if (!ring_push_mpmc(net->mesh->helper_in, job)) {
            job_chain_push(&net->unhelped, job);
            break;
        }
        core_tell(net->core, net->mesh->helper_core);
    }
}

bool net_flush_heavy(struct net *net) {
    bool left = false;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        while (net->unpushed[c].head && batch_add(net, net->unpushed[c].head)) {
            /* batch_add stored the pointer only: popping now leaves the job as it is */
            (void)job_chain_pop(&net->unpushed[c]);
        }
        if (net->open[c] && net->open[c]->count > 0) {
            (void)batch_push(net, (enum job_class)c); /* full: it stays open for the next turn */
        }
        left |= net->open[c] || net->unpushed[c].head;
    }
    flush_helped(net);
    return left;
}

/* ---- requests ------------------------------------------------------------------------------- */

static uint32_t light_cost_ns(const struct net *net, const struct job *job) {
    const struct conn *conn = pool_at(&net->conns, job->conn);
    if (job->kind == JOB_HAVE) {
        return COST_HAVE_NS + COST_HAVE_KEY_NS * job->arg;
    }
    if (job->kind == JOB_GET_MANY) {
        return COST_GET_NS + COST_MANY_KEY_NS * job->arg;
    }
    return conn->peer ? swarm_cost_ns(conn) : COST_GET_NS;
}

static void push_policy(struct net *net, struct job *job) {
    uint32_t cost = light_cost_ns(net, job);
    bool queued = sched_push(net->light, job, cost, net->core->now_ns);
    must(queued); /* the policy has room for every job of this tile */
}

/* The policy has something to decide after all: those held for a direct answer go there first. */
static void direct_to_policy(struct net *net) {
    for (uint32_t i = 0; i < net->direct_count; i++) {
        push_policy(net, net->direct[i]);
    }
    net->direct_count = 0;
}

void net_push_light(struct net *net, struct job *job) {
    /* Classes that competed a moment ago will again: what bypasses the policy is charged to nobody.
     */
    bool alone = sched_backlog(net->light) == 0 &&
                 net->core->now_ns - net->contended_ns > CONTENDED_NS &&
                 (net->direct_count == 0 || net->direct[0]->class == job->class);
    if (unlikely(job->kind != JOB_GET || !alone ||
                 net->direct_ns >= net->settings->sched_quantum_ns || !net_has_room(net))) {
        direct_to_policy(net);
        push_policy(net, job);
        return;
    }
    net->direct[net->direct_count++] = job;
    const struct conn *conn = pool_at(&net->conns, job->conn);
    net->direct_ns += conn->peer ? swarm_cost_ns(conn) : COST_DIRECT_NS;
    if (net->direct_count == NET_LIGHT_GROUP) {
        net_answer_direct(net);
    }
}

static enum job_class request_class(const struct conn *conn, const struct tlv_request *request) {
    uint8_t asked = request->class < CLASS_COUNT ? request->class : conn->class;
    return (enum job_class)(asked > conn->class ? asked
                                                : conn->class); /* only lower, never higher */
}

/* HELLO fixes class and receive group; before any other frame, once. */
static void on_hello(struct net *net, struct conn *conn, const struct tlv_request *request) {
    if (conn->requests > 1) {
        net_reply_fault(net, conn, request->id, TLV_CODE_HELLO_LATE, NULL);
        net_conn_end(net, conn, CONN_END_PROTOCOL);
        return;
    }
    if (request->version != TLV_VERSION) {
        net_reply_fault(net, conn, request->id, TLV_CODE_VERSION, NULL);
        net_conn_end(net, conn, CONN_END_PROTOCOL);
        return;
    }
    uint8_t asked = request->class < CLASS_COUNT ? request->class : CLASS_NORMAL;
    conn->class = asked > conn->ceiling ? asked : conn->ceiling;
    uint8_t *out = conn_room(&net->outs, conn, TLV_REPLY_MAX);
    must(out != NULL); /* net_parse saw room */
    size_t used = tlv_welcome(out, request->id, conn->class, TLV_FEATURE_MANY | TLV_FEATURE_SCAN,
                              net->credits, net->block_bytes_max);
    conn->out_tail->used -= TLV_REPLY_MAX - (uint32_t)used;
    conn->out_bytes -= TLV_REPLY_MAX - (uint32_t)used;
    net_conn_dirty(net, conn);
}

static void fill_job(const struct net *net, const struct conn *conn, struct job *job,
                     const struct tlv_request *request) {
    clear_job(net, conn, job);
    job->id = request->id;
    job->deadline_ms = request->deadline_ms;
}

/* The key cannot be stored here; a hash function we do not have is refused by its name. */
cold_path static void refuse_key(struct net *net, struct conn *conn,
                                 const struct tlv_request *request) {
    char text[64];
    bool unknown = request->key_code == TLV_CODE_UNKNOWN_HASH;
    if (unknown) {
        snprintf(text, sizeof text, "hash function 0x%" PRIx64 " not available",
                 request->refused_hash);
    }
    net_reply_fault(net, conn, request->id, request->key_code, unknown ? text : NULL);
}

/* A request with a body: memory for it, or a refusal and a body that is skipped. */
static void begin_upload(struct net *net, struct conn *conn, struct job *job,
                         const struct tlv_request *request) {
    bool many = request->type == TLV_GET_MANY || request->type == TLV_PUT_MANY;
    uint32_t bytes = many ? many_footprint(request) : request->body_bytes;
    if (request->type == TLV_PUT && request->body_bytes > net->block_bytes_max) {
        net_reply_fault(net, conn, request->id, TLV_CODE_TOO_LARGE, NULL);
    } else if (request->key_refused) {
        refuse_key(net, conn, request);
    } else if (!body_take(net, job, request_class(conn, request), bytes)) {
        counter_add(&net->counters.no_body_memory, 1);
        net_reply_busy(net, conn, request->id, (enum job_class)conn->class);
    } else {
        job_begin(net, job, request_class(conn, request));
        if (many) {
            many_begin(job, request);
        } else {
            job->kind = request->type == TLV_PUT ? JOB_PUT : JOB_HAVE;
            job->arg = request->type == TLV_PUT ? request->codec : request->count;
        }
        conn->upload = job;
        conn->upload_bytes = 0;
        return;
    }
    conn->skipping = request->body_bytes > 0;
}

static void push_helped(struct net *net, struct conn *conn, struct job *job) {
    conn->helped++;
    job->queued_ns = job_since(job, net->core->now_ns);
    counter_add(&net->counters.helped, 1);
    job_chain_push(&net->unhelped, job);
}

/* One request without a body becomes a job, or a refusal. Takes the job or makes it the spare
 * again. */
static void begin_request(struct net *net, struct conn *conn, struct job *job,
                          const struct tlv_request *request) {
    if (unlikely(request->key_refused)) {
        refuse_key(net, conn, request);
        return;
    }
    job_begin(net, job, request_class(conn, request));
    switch (request->type) {
    case TLV_GET:
    case TLV_GET_RANGE:
        job->kind = JOB_GET;
        job->arg = request->offset;
        job->data_bytes = request->length;
        job->scan = (request->flags & TLV_FLAG_SCAN) != 0;
        net_push_light(net, job);
        break;
    case TLV_DELETE:
        job->kind = JOB_DELETE;
        net_push_heavy(net, job);
        break;
    case TLV_VERIFY:
        job->kind = JOB_VERIFY;
        net_push_heavy(net, job);
        break;
    case TLV_STAT:
        job->kind = JOB_STAT;
        push_helped(net, conn, job);
        break;
    case TLV_PIN:
        job->kind = JOB_PIN;
        job->arg = request->codec;
        job->data_bytes = request->mode;
        push_helped(net, conn, job);
        break;
    case TLV_UNPIN:
        job->kind = JOB_UNPIN;
        push_helped(net, conn, job);
        break;
    case TLV_LIST:
        job->kind = JOB_LIST;
        job->arg = request->count;
        memcpy(job->key.digest, &request->cursor, sizeof request->cursor); /* a LIST has no key */
        push_helped(net, conn, job);
        break;
    default:
        never("the reader lets no other type through");
    }
}

static void on_request(struct net *net, struct conn *conn, struct job *job,
                       const struct tlv_request *request) {
    counter_add(&net->counters.requests, 1);
    conn->requests += conn->requests != UINT32_MAX;
    if (request->type == TLV_PING || request->type == TLV_HELLO) {
        if (request->type == TLV_HELLO) {
            conn->skipping = request->body_bytes > 0; /* credentials: this listener asks for none */
            on_hello(net, conn, request);
        } else {
            uint8_t *out = conn_room(&net->outs, conn, 6);
            must(out != NULL); /* net_parse saw room */
            (void)tlv_plain(out, TLV_PONG, request->id);
            net_conn_dirty(net, conn);
        }
        return;
    }
    if (unlikely(conn->jobs >= net->credits)) {
        counter_add(&net->counters.over_credits, 1);
        net_reply_busy(net, conn, request->id, (enum job_class)conn->class);
        conn->skipping = request->body_bytes > 0;
        return;
    }
    enum job_class class = request_class(conn, request);
    /* Its own class had a job, and the lower one it asks for may have none; LIST, STAT and pins
     * wait in one line for all, so a connection has a few of them at most. */
    bool helped = request->type == TLV_LIST || request->type == TLV_STAT ||
                  request->type == TLV_PIN || request->type == TLV_UNPIN;
    bool no_job = !class_may_take(net, class);
    if (unlikely(no_job || (helped && conn->helped >= HELPED_MAX))) {
        counter_add(&net->counters.no_jobs, no_job);
        net_reply_busy(net, conn, request->id, class);
        conn->skipping = request->body_bytes > 0;
        return;
    }
    fill_job(net, conn, job, request);
    if (request->type == TLV_PUT || request->type == TLV_HAVE || request->type == TLV_GET_MANY ||
        request->type == TLV_PUT_MANY) {
        begin_upload(net, conn, job, request);
    } else {
        begin_request(net, conn, job, request);
    }
}

/* The body of conn->upload is complete: only now has the request arrived. How long the peer took to
 * send it is no queue of ours: counted as delay, it would shed slow peers for ever. */
static void upload_done(struct net *net, struct conn *conn) {
    struct job *job = conn->upload;
    conn->upload = NULL;
    job->arrived_ns = net->core->now_ns;
    if (job->kind == JOB_HAVE || job->kind == JOB_GET_MANY) {
        net_push_light(net, job);
    } else if (job->kind == JOB_PUT_MANY && !many_take_puts(job)) {
        net_reply_fault(net, conn, job->id, TLV_CODE_BAD_KEY, NULL);
        net_body_free(net, job);
        net_finish(net, job, net->core->now_ns);
    } else {
        net_push_heavy(net, job);
    }
}

static void on_body(struct net *net, struct conn *conn, const struct tlv_step *step) {
    struct job *job = conn->upload;
    if (job) {
        bool many = job->kind == JOB_GET_MANY || job->kind == JOB_PUT_MANY;
        uint8_t *body = many ? many_body(job) : job->data;
        must(body + conn->upload_bytes + step->body_bytes <=
             (uint8_t *)job->data + job->data_bytes);
        memcpy(body + conn->upload_bytes, step->body, step->body_bytes);
        conn->upload_bytes += step->body_bytes;
        if (conn->reader.body_left == 0) {
            upload_done(net, conn);
        }
    } else {
        must(conn->skipping);
    }
    conn->skipping = conn->skipping && conn->reader.body_left > 0;
}

/* May this connection be read now? Output memory must hold a reply for each frame of one buffer. */
static bool may_read(struct net *net, const struct conn *conn) {
    return conn->state != CONN_CLOSING && !conn->fault && !net_output_full(net, conn) &&
           !conn->deferred.head;
}

/* A job of its class and output memory. The first frame needs no job: it may be the HELLO that says
 * which class that is. */
static bool has_means(struct net *net, const struct conn *conn) {
    if (unlikely(conn->state == CONN_READY && !class_may_take(net, (enum job_class)conn->class))) {
        counter_add(&net->counters.no_jobs, 1);
        return false;
    }
    if (unlikely(out_pools_free(&net->outs) < 2)) {
        counter_add(&net->counters.no_room, 1);
        return false;
    }
    return true;
}

static bool stopped_at(uint32_t used, uint32_t *ret_used) {
    *ret_used = used;
    return false;
}

/* Reads one buffer's bytes. Returns: false if it had to stop; *ret_used says where. */
static bool read_bytes(struct net *net, struct conn *conn, const uint8_t *bytes, uint32_t count,
                       uint32_t *ret_used) {
    uint32_t used = 0;
    bool stopped = false;
    while (used < count && !stopped) {
        if (!may_read(net, conn) || !has_means(net, conn)) {
            return stopped_at(used, ret_used);
        }
        struct job *job = net->spare_job;
        struct tlv_step step;
        enum tlv_event event =
            tlv_reader_step(&conn->reader, bytes + used, count - used, &step, &job->key);
        used += (uint32_t)step.used;
        switch (event) {
        case TLV_EVENT_REQUEST:
            on_request(net, conn, job, &step.request);
            if (conn->upload && conn->reader.body_left == 0) {
                upload_done(net, conn); /* an empty body is complete at once */
            }
            break;
        case TLV_EVENT_BODY:
            on_body(net, conn, &step);
            break;
        case TLV_EVENT_MORE:
            break;
        case TLV_EVENT_BAD:
            counter_add(&net->counters.bad_frames, 1);
            conn->fault = (uint8_t)step.code;
            conn->fault_id = step.request.id;
            net_conn_wait(net, conn);
            stopped = true;
            break;
        }
        stopped |= conn->state == CONN_CLOSING;
    }
    *ret_used = used;
    return !stopped;
}

void net_parse(struct net *net, struct conn *conn) {
    while (conn->input_count > 0 && conn->state != CONN_CLOSING) {
        uint32_t group = conn->group;
        uint16_t buffer = conn->input_head;
        struct conn_input *input = &net->inputs[group][buffer];
        uint32_t used = 0;
        uint32_t count = (uint32_t)(input->bytes - input->offset);
        const uint8_t *bytes = io_buffer(&net->core->io, group, buffer) + input->offset;
        bool all = conn->peer ? swarm_read(net->swarm, conn, bytes, count, &used)
                              : read_bytes(net, conn, bytes, count, &used);
        input->offset = (uint16_t)(input->offset + used);
        if (!all) {
            break;
        }
        conn->input_head = input->next;
        conn->input_count--;
        io_buffer_return(&net->core->io, group, buffer);
    }
    if (conn->state == CONN_CLOSING) {
        return; /* net_conn_end gave its input back */
    }
    if (conn->input_count > 0) {
        if (!conn->peer && may_read(net, conn)) {
            net_conn_stall(
                net, conn); /* for a job or output memory; else its next send brings it back */
        }
        return;
    }
    if (conn->state == CONN_HELLO && conn->requests > 0) {
        conn_goto(conn, CONN_READY);
    }
    net_conn_receive(net, conn);
}
