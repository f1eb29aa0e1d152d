/* SPDX-License-Identifier: MIT */
/* net — connections and the turn of the net tile. Requests: net_request.c; replies: net_reply.c. */
#include "engine/net.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "engine/engine_private.h"
#include "engine/swarm/client.h"
#include "engine/swarm/swarm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

COUNTER_NAMES(net, NET_COUNTERS);

/* ---- set-up --------------------------------------------------------------------------------- */

struct net_sizes {
    uint32_t conns, jobs, small, large, leased, buffers[IO_GROUPS];
    struct sched_config sched;
};

static struct net_sizes net_sizes(const struct settings *settings,
                                  const struct budget_sizes *budget, uint32_t net_count) {
    struct net_sizes sizes = {
        .conns = (uint32_t)(settings->net_connections_max / net_count + 64),
        .jobs = (uint32_t)settings->net_jobs_max + 1, /* and the parser's */
        .small = budget->out_small,
        .large = budget->out_large,
        .leased = budget->out_leased,
        .sched = sched_config_default,
    };
    for (uint32_t g = 0; g < IO_GROUPS; g++) {
        sizes.buffers[g] = (uint32_t)power_of_two_above(settings->net_buffers);
    }
    /* First frames are short and soon read; a storm of connections touches every buffer there is.
     */
    sizes.buffers[0] = min_u32(sizes.buffers[0], 128);
    sizes.sched.jobs_max = sizes.jobs;
    sizes.sched.shed = settings->sched_shed;
    return sizes;
}

size_t net_footprint(const struct settings *settings, const struct budget_sizes *budget,
                     uint32_t net_count) {
    struct net_sizes sizes = net_sizes(settings, budget, net_count);
    size_t sum = mem_need(0, pool_footprint(sizeof(struct conn), sizes.conns), CACHE_PAIR);
    sum = mem_need(sum, pool_footprint(sizeof(struct job), sizes.jobs), CACHE_PAIR);
    sum = mem_need(sum, pool_footprint(sizeof(struct batch), MESH_NET_BATCHES), CACHE_PAIR);
    sum = mem_need(sum, out_pools_footprint(sizes.small, sizes.large, sizes.leased), CACHE_PAIR);
    sum = mem_need(sum, sched_footprint(&sizes.sched), CACHE_PAIR);
    sum = mem_need(sum, net_send_footprint(), CACHE_PAIR);
    sum = mem_need(sum, swarm_footprint(settings, net_count), CACHE_PAIR);
    for (uint32_t g = 0; g < IO_GROUPS; g++) {
        sum = mem_need(sum, io_group_footprint(sizes.buffers[g]), PAGE_BYTES);
        sum = mem_need(sum, sizes.buffers[g] * sizeof(struct conn_input), CACHE_PAIR);
    }
    return sum;
}

static void carve(struct net *net, const struct net_sizes *sizes) {
    struct mem_region *region = &net->core->region;
    size_t bytes = pool_footprint(sizeof(struct conn), sizes->conns);
    pool_init(&net->conns, mem_carve(region, bytes, CACHE_PAIR), sizeof(struct conn), sizes->conns);
    bytes = pool_footprint(sizeof(struct job), sizes->jobs);
    pool_init(&net->jobs, mem_carve(region, bytes, CACHE_PAIR), sizeof(struct job), sizes->jobs);
    bytes = pool_footprint(sizeof(struct batch), MESH_NET_BATCHES);
    pool_init(&net->batches, mem_carve(region, bytes, CACHE_PAIR), sizeof(struct batch),
              MESH_NET_BATCHES);
    bytes = out_pools_footprint(sizes->small, sizes->large, sizes->leased);
    out_pools_init(&net->outs, mem_carve(region, bytes, CACHE_PAIR), sizes->small, sizes->large,
                   sizes->leased);
    net->light =
        sched_init(mem_carve(region, sched_footprint(&sizes->sched), CACHE_PAIR), &sizes->sched);
    net_send_open(net);
}

int net_open(struct net *net, struct core *core, const struct settings *settings, bool acceptor) {
    struct engine *engine = core->engine;
    net->core = core;
    net->engine = engine;
    net->store = engine->store;
    net->mesh = &engine->mesh;
    net->acceptor = acceptor;
    net->spare_fd = -1;
    struct net_sizes sizes = net_sizes(settings, &engine->sizes, engine->layout.net_count);
    carve(net, &sizes);
    net->jobs_max = sizes.jobs - 1;
    net->spare_job = pool_get(&net->jobs);
    if (getrandom(&net->flow_salt, sizeof net->flow_salt, 0) != sizeof net->flow_salt) {
        return err_raise(-EIO);
    }
    net_apply(net, settings);
    for (uint32_t g = 0; g < IO_GROUPS; g++) {
        void *memory = mem_carve(&core->region, io_group_footprint(sizes.buffers[g]), PAGE_BYTES);
        net->inputs[g] =
            mem_carve(&core->region, sizes.buffers[g] * sizeof(struct conn_input), CACHE_PAIR);
        int r = io_group_open(&core->io, g, memory, sizes.buffers[g]);
        if (r < 0) {
            return err_pass(r);
        }
    }
    if (acceptor) {
        net->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    return err_pass(swarm_open(net, settings, engine->layout.net_count));
}

void net_apply(struct net *net, const struct settings *settings) {
    net->settings = settings;
    net->credits = (uint32_t)settings->net_credits;
    net->output_bytes_max = (uint32_t)settings->net_output_bytes_max;
    net->block_bytes_max = (uint32_t)settings->store_block_bytes_max;
    net->body_bytes_max = settings->net_body_bytes_max;
    net_body_shares(net);
    net->outs.leased_bytes_max = settings->store_memory_bytes / 2 / net->engine->layout.net_count;
    net->loans.bytes_max = net->outs.leased_bytes_max / 2;
    if (net->swarm) { /* not at boot: it reads them when it opens */
        swarm_apply(net->swarm, settings);
    }
}

void net_close(struct net *net) {
    if (net->spare_fd >= 0) {
        close(net->spare_fd);
    }
}

void net_start(struct net *net) {
    if (net->acceptor) {
        for (uint32_t i = 0; i < net->engine->listener_count; i++) {
            io_accept(&net->core->io, net->engine->listeners[i].fd, i);
            net->engine->listeners[i].accepting = true;
        }
    }
}

/* ---- events --------------------------------------------------------------------------------- */

/* A slot is not reused while the kernel holds an operation of it, so the generation must match. */
struct conn *net_conn_of(struct net *net, const struct io_event *event) {
    must(event->slot < net->conns.slots_max);
    must((pool_generation(&net->conns, event->slot) & 0xffffffu) == event->generation);
    return pool_at(&net->conns, event->slot);
}

static void take_buffer(struct net *net, struct conn *conn, const struct io_event *event) {
    (void)io_buffer_take(&net->core->io, conn->group, event->buffer);
    counter_add(&net->counters.bytes_in, (uint64_t)event->result);
    if (conn->state == CONN_CLOSING) {
        conn->lingered += (uint32_t)event->result;
        io_buffer_return(&net->core->io, conn->group, event->buffer);
        return;
    }
    struct conn_input *inputs = net->inputs[conn->group];
    inputs[event->buffer] =
        (struct conn_input){.next = CONN_NO_BUFFER, .bytes = (uint16_t)event->result};
    if (conn->input_count == 0) {
        conn->input_head = event->buffer;
    } else {
        inputs[conn->input_tail].next = event->buffer;
    }
    conn->input_tail = event->buffer;
    conn->input_count++;
}

static void on_receive(struct net *net, const struct io_event *event) {
    struct conn *conn = net_conn_of(net, event);
    conn->receive_out = event->more;
    if (event->result > 0) {
        take_buffer(net, conn, event);
        if (conn->state == CONN_CLOSING) {
            net_conn_wait(net, conn);
            return;
        }
        if (!conn->out_head) {
            conn->progress_ns = net->core->now_ns;
        }
        net_parse(net, conn);
        if (conn->input_count > CONN_INPUT_HELD && conn->receive_out && !conn->cancel_out) {
            conn->slow = true;
            counter_add(&net->counters.slow_stops, 1);
            net_conn_stop_receive(net, conn);
        } else if (unlikely(event->more && net->starved[conn->group])) {
            net_conn_stop_receive(net, conn); /* others have no buffer: it takes its turn, too */
        }
        return;
    }
    if (event->result == -ENOBUFS) {
        counter_add(&net->counters.starved, 1);
        net_conn_starve(net, conn);
        return;
    }
    if (event->result == 0) {
        conn->peer_ended = true;
    } else if (event->result != -ECANCELED && event->result != -ENOBUFS) {
        net_conn_end(net, conn, CONN_END_ERROR);
    }
    net_conn_wait(net, conn);
}

void net_event(struct net *net, const struct io_event *event) {
    switch ((enum io_op)event->op) {
    case IO_ACCEPT:
        net_on_accept(net, event);
        break;
    case IO_ADOPT:
        net_conn_open(net, event->result, event->slot);
        break;
    case IO_RECEIVE:
        on_receive(net, event);
        break;
    case IO_SEND:
        net_on_send(net, event);
        break;
    case IO_ZERO:
        net_on_zero(net, event);
        break;
    case IO_ZERO_DONE:
        net_on_zero_done(net, event);
        break;
    case IO_CANCEL: {
        struct conn *conn = net_conn_of(net, event);
        must(conn->cancel_out);
        conn->cancel_out = false;
        net_conn_wait(net, conn);
        break;
    }
    case IO_CONNECT:
        dial_event(net, event);
        break;
    case IO_NOTHING:
    case IO_BELL:
    case IO_TICK:
    case IO_ADOPTED:
    case IO_DISK:
        never("the core keeps these");
    }
}

/* ---- the turn ------------------------------------------------------------------------------- */

static void retry_deferred(struct net *net, struct conn *conn) {
    if (net_output_full(net, conn)) {
        return;
    }
    struct job_chain chain = conn->deferred; /* those put aside again must not come round in here */
    conn->deferred = (struct job_chain){0};
    while (chain.head) {
        net_push_light(net, job_chain_pop(&chain));
    }
}

/* A libp2p connection has no half-closed state: a peer that ended is gone. */
static void serve_peer(struct net *net, struct conn *conn) {
    swarm_resume(net->swarm, conn);
    if (conn->state != CONN_CLOSING) {
        net_parse(net, conn);
    }
    if (conn->peer_ended && conn->input_count == 0 && conn->state != CONN_CLOSING) {
        net_conn_end(net, conn, CONN_END_PEER);
    }
}

/* Those that were held back look again. */
static void serve_waiting(struct net *net) {
    struct conn *conn = net->waiting_head;
    net->waiting_head = net->waiting_tail = NULL;
    net->wake = false;
    while (conn) {
        struct conn *next = conn->next_waiting;
        conn->waiting = false;
        if (conn->state == CONN_CLOSING) {
            net_conn_try_free(net, conn);
        } else if (conn->peer) {
            serve_peer(net, conn);
        } else {
            retry_deferred(net, conn);
            if (!conn->deferred.head) {
                net_parse(net, conn);
            }
            if (conn->fault && conn->jobs == 0) {
                net_reply_fault(net, conn, conn->fault_id, (enum tlv_code)conn->fault, NULL);
                net_conn_end(net, conn, CONN_END_PROTOCOL);
            } else if (conn->peer_ended && conn->input_count == 0 &&
                       conn->jobs == (conn->upload ? 1u : 0u) && !conn->out_head) {
                net_conn_end(net, conn, CONN_END_PEER);
            }
        }
        conn = next;
    }
}

/* Buffers came back to a group: those that stopped for want of one go on. */
static void serve_starved(struct net *net) {
    for (uint32_t g = 0; g < IO_GROUPS; g++) {
        uint32_t room = net->starved[g] ? io_buffers_free(&net->core->io, g) : 0;
        while (net->starved[g] && room > 0) {
            struct conn *conn = net->starved[g];
            net->starved[g] = conn->next_starved;
            net->starved_tail[g] = net->starved[g] ? net->starved_tail[g] : NULL;
            conn->starved = false;
            room--;
            if (conn->state == CONN_CLOSING) {
                net_conn_wait(net, conn);
            } else if (conn->input_count == 0 && !conn->receive_out && !conn->cancel_out) {
                net_conn_arm(net, conn);
            }
        }
    }
}

/* Runs the policy over the light jobs, for a quantum where classes compete; where one is alone, for
 * four: whoever comes next waits for this turn and its sends. Returns: whether some are left. */
static bool run_light(struct net *net) {
    struct sched_pick picks[NET_LIGHT_GROUP];
    uint64_t quantum_ns = net->settings->sched_quantum_ns;
    uint64_t spent_ns = 0;
    while (sched_backlog(net->light) > 0) {
        if (!net_has_room(net)) {
            return false; /* sends that are out will make room: no reason to spin */
        }
        bool contended = sched_classes_backlogged(net->light) > 1;
        net->contended_ns = contended ? net->core->now_ns : net->contended_ns;
        if (spent_ns >= (contended ? quantum_ns : 4 * quantum_ns)) {
            return true;
        }
        uint64_t left_ns = (contended ? quantum_ns : 4 * quantum_ns) - spent_ns;
        uint32_t count = sched_pick(net->light, picks, NET_LIGHT_GROUP, left_ns, net->core->now_ns);
        must(count > 0);
        for (uint32_t i = 0; i < count; i++) {
            spent_ns += picks[i].cost_ns;
        }
        net_answer_light(net, picks, count);
    }
    return false;
}

bool net_poll(struct net *net) {
    serve_waiting(net);
    bool backlog = swarm_poll(net->swarm);
    if (net->direct_count > 0) {
        net_answer_direct(net);
    }
    net->direct_ns = 0;
    backlog |= run_light(net);
    backlog |= net_flush_heavy(net);
    serve_starved(net);
    return backlog;
}

/* One finished chain. Returns: the job that found no room to be written, and those behind it. */
static struct job *collect_chain(struct net *net, struct job *job, uint32_t work, uint32_t *count) {
    uint64_t now = clock_ns(); /* this turn's is older than the stamps of what was finished in it */
    while (job) {
        struct job *next = job->next;
        if (!net_reply(net, job, work, now)) {
            return job;
        }
        (*count)++;
        job = next;
    }
    return NULL;
}

/* The rings on which jobs of this tile come home: one per work tile, then sched's, then the
 * helper's. */
static struct ring *way_home(const struct net *net, uint32_t from) {
    uint32_t self = net->core->index;
    uint32_t cores = net->mesh->core_count;
    return from < cores    ? net->mesh->done[from][self]
           : from == cores ? net->mesh->shed[self]
                           : net->mesh->helper_done[self];
}

uint32_t net_collect(struct net *net) {
    uint32_t count = 0;
    if (net->unwritten) {
        net->unwritten = collect_chain(net, net->unwritten, net->unwritten_work, &count);
    }
    for (uint32_t from = 0; from < net->mesh->core_count + 2; from++) {
        struct ring *ring = way_home(net, from);
        struct job *chain;
        while (ring && !net->unwritten && (chain = ring_pop_spsc(ring)) != NULL) {
            net->unwritten = collect_chain(net, chain, from, &count);
            net->unwritten_work = from;
        }
    }
    return count;
}

bool net_has_input(const struct net *net) {
    if (swarm_has_input(net->swarm)) {
        return true;
    }
    if (net->unwritten) {
        return false; /* nothing is collected before it is written, and sends make room for it */
    }
    for (uint32_t from = 0; from < net->mesh->core_count + 2; from++) {
        struct ring *ring = way_home(net, from);
        if (ring && ring_count(ring) > 0) {
            return true;
        }
    }
    return false;
}

/* ---- the lazy tick -------------------------------------------------------------------------- */

/* A send completes when all of it fits the socket's buffer; a slow peer may take bytes for long
 * before that. So before it is called stalled the kernel is asked whether what it holds has become
 * less. */
static bool kernel_moves(const struct net *net, struct conn *conn) {
    int queued = 0;
    if (ioctl(conn->fd, SIOCOUTQ, &queued) != 0) {
        return false;
    }
    bool moved = conn->out_queued == 0 || (uint32_t)queued < conn->out_queued;
    conn->out_queued = (uint32_t)queued;
    conn->progress_ns = moved ? net->core->now_ns : conn->progress_ns;
    return moved;
}

/* A body has the stall timeout to begin with, and must come at 64 KiB a second. */
static bool upload_late(const struct net *net, const struct conn *conn) {
    const struct job *job = conn->upload;
    return job && net->core->now_ns - job->arrived_ns >
                      net->settings->net_stall_timeout_ns + job->data_bytes / (64 * KiB) * NS_PER_S;
}

static void sweep_conn(struct net *net, struct conn *conn, bool pressed) {
    uint64_t quiet = net->core->now_ns - conn->progress_ns;
    uint64_t stall = net->settings->net_stall_timeout_ns;
    stall = pressed ? min_u64(stall, NS_PER_S) : stall;
    uint32_t end = conn->peer && conn->state != CONN_CLOSING ? swarm_sweep(net->swarm, conn)
                                                             : (uint32_t)CONN_END_COUNT;
    if (end != CONN_END_COUNT) {
        net_conn_end(net, conn, (enum conn_end)end);
    } else if (conn->state == CONN_CLOSING) {
        if (quiet > NS_PER_S) {
            (void)shutdown(conn->fd, SHUT_RDWR); /* it was given time for our last words */
            conn->peer_ended = true;
        }
    } else if (((conn->out_head || conn->loans > 0) && quiet > stall && !kernel_moves(net, conn)) ||
               upload_late(net, conn)) {
        net_conn_end(net, conn, CONN_END_STALLED);
    } else if (net->draining && !conn->out_head && conn->jobs == (conn->upload ? 1u : 0u) &&
               conn->input_count == 0) {
        net_conn_end(net, conn, CONN_END_DRAIN);
    } else if (!conn->peer && !conn->out_head && conn->jobs == (conn->upload ? 1u : 0u) &&
               net->settings->net_idle_timeout_ns != 0 &&
               quiet > net->settings->net_idle_timeout_ns) {
        net_conn_end(net, conn, CONN_END_IDLE);
    }
    if (conn->state == CONN_CLOSING) {
        net_conn_wait(net, conn);
    }
}

void net_tick(struct net *net) {
    /* Output memory nearly gone: whoever holds some without moving for a second makes room. */
    bool pressed = net->outs.large.free_count < net->outs.large.slots_max / 4 ||
                   net->outs.small.free_count < net->outs.small.slots_max / 4 ||
                   net->outs.leased.free_count < net->outs.leased.slots_max / 4 ||
                   net->outs.leased_bytes > net->outs.leased_bytes_max / 4 * 3;
    uint32_t slots = net->conns.slots_max;
    uint32_t share = net->draining ? slots : slots / 8 + 1; /* all of them in 0.8 s */
    for (uint32_t i = 0; i < share; i++) {
        struct conn *conn = pool_at(&net->conns, net->sweep);
        net->sweep = net->sweep + 1 == slots ? 0 : net->sweep + 1;
        if (conn->state != CONN_FREE) {
            sweep_conn(net, conn, pressed);
        }
    }
    if (net->accept_again && !net->draining) {
        net->accept_again = false;
        for (uint32_t i = 0; i < net->engine->listener_count; i++) {
            if (!net->engine->listeners[i].accepting) {
                io_accept(&net->core->io, net->engine->listeners[i].fd, i);
                net->engine->listeners[i].accepting = true;
            }
        }
    }
    swarm_tick(net->swarm);
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        counter_set(&net->queued[c], sched_backlog_of(net->light, (enum job_class)c));
    }
    counter_set(&net->counters.zero_lent, net->loans.bytes);
    counter_set(&net->counters.jobs_used, pool_used(&net->jobs) - (net->spare_job != NULL));
    counter_set(&net->counters.jobs_peak, net->jobs_max - net->jobs.low_water);
}

void net_drain(struct net *net, bool hard) {
    if (!net->draining && net->acceptor) {
        for (uint32_t i = 0; i < net->engine->listener_count; i++) {
            (void)shutdown(net->engine->listeners[i].fd,
                           SHUT_RDWR); /* ends the accept that is out */
        }
    }
    if (!net->draining) {
        client_drain(net->swarm->client);
    }
    net->draining = true;
    for (uint32_t i = 0; hard && i < net->conns.slots_max; i++) {
        struct conn *conn = pool_at(&net->conns, i);
        if (conn->state == CONN_HELLO || conn->state == CONN_READY) {
            net_conn_end(net, conn, CONN_END_ERROR);
        }
    }
}

bool net_drained(const struct net *net) {
    return net->draining && pool_used(&net->conns) == 0 && client_idle(net->swarm->client);
}
