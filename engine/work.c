/* SPDX-License-Identifier: MIT */
#include "engine/work.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/must.h"
#include "engine/engine_private.h"
#include "engine/many.h"
#include "engine/net.h"
#include "engine/swarm/arrivals.h"
#include "engine/swarm/swarm.h"

#include <errno.h>
#include <string.h>

COUNTER_NAMES(work, WORK_COUNTERS);

size_t work_footprint(void) {
    size_t sum = mem_need(0, pool_footprint(sizeof(struct store_op), WORK_OPS_MAX), CACHE_PAIR);
    return mem_need(sum, sizeof(struct arrivals), CACHE_PAIR);
}

void work_open(struct work *work, struct core *core, uint32_t keeper_index) {
    work->core = core;
    work->mesh = &core->engine->mesh;
    work->store = core->engine->store;
    work->keeper_index = keeper_index;
    work->keeper = store_keeper(work->store, keeper_index);
    size_t bytes = pool_footprint(sizeof(struct store_op), WORK_OPS_MAX);
    pool_init(&work->ops, mem_carve(&core->region, bytes, CACHE_PAIR), sizeof(struct store_op),
              WORK_OPS_MAX);
    work->arrivals = mem_carve(&core->region, sizeof(struct arrivals), CACHE_PAIR);
    arrivals_init(work->arrivals);
}

/* ---- home ----------------------------------------------------------------------------------- */

static void send_home(struct work *work, struct job *job, uint64_t now_ns) {
    job_finish(job, now_ns);
    job_chain_push(&work->home[job->net], job);
}

static void flush_home(struct work *work) {
    for (uint32_t n = 0; n < work->mesh->core_count; n++) {
        struct job_chain *chain = &work->home[n];
        if (chain->head) {
            counter_add(&work->counters.finished, chain->count);
            bool pushed = ring_push_spsc(work->mesh->done[work->core->index][n], chain->head);
            must(pushed); /* as large as all jobs of that tile */
            *chain = (struct job_chain){0};
            core_tell(work->core, n);
        }
    }
}

/* A request of many items: its results stand with it. */
static void bundle_over(struct work *work, struct store_bundle *bundle, uint64_t now_ns) {
    struct job *job = bundle->user;
    for (uint32_t i = 0; i < bundle->count; i++) {
        const struct store_op *op = &bundle->ops[i];
        if (op->kind == STORE_PUT && op->result == 0) {
            arrivals_push(work->arrivals, &op->key);
            work->arrived = true;
        }
    }
    job->status = JOB_OK;
    send_home(work, job, now_ns);
    counter_add(&work->served[job->class], 1);
    counter_add(&work->service_ns[job->class], job->finished_ns - job->started_ns);
}

/* What the store says, as a job's status. */
static void set_status(struct job *job, const struct store_op *op) {
    if (op->result < 0) {
        job->status = op->result == -ENOSPC ? JOB_FULL : JOB_FAILED;
        return;
    }
    if (op->result == 0) {
        job->status = JOB_OK;
        if (job->kind == JOB_GET) {
            job->data = op->frame; /* the lease travels with the job */
        }
        return;
    }
    static const struct {
        uint8_t status, refusal;
    } outcomes[] = {
        [STORE_ABSENT] = {JOB_ABSENT, REFUSED_NONE},
        [STORE_RETRY] = {JOB_RETRY, REFUSED_NONE},
        [STORE_CORRUPT] = {JOB_CORRUPT, REFUSED_NONE},
        [STORE_MISMATCH] = {JOB_REFUSED, REFUSED_MISMATCH},
        [STORE_HASH] = {JOB_REFUSED, REFUSED_HASH},
        [STORE_SIZE] = {JOB_REFUSED, REFUSED_SIZE},
        [STORE_FULL] = {JOB_FULL, REFUSED_NONE},
        [STORE_LOCKED] = {JOB_FAILED, REFUSED_NONE},
        [STORE_FORMAT] = {JOB_FAILED, REFUSED_NONE},
        [STORE_READONLY] = {JOB_READONLY, REFUSED_NONE},
        [STORE_PINNED] = {JOB_REFUSED, REFUSED_NONE},
    };
    must((size_t)op->result < array_count(outcomes));
    job->status = outcomes[op->result].status;
    if (job->kind != JOB_GET) {
        job->arg = outcomes[op->result].refusal;
    }
}

/* Tiles with peers that wait for a block are told once for all that came in this turn. */
static void tell_arrivals(struct work *work) {
    if (!work->arrived) {
        return;
    }
    work->arrived = false;
    const struct engine *engine = work->core->engine;
    wake_fence(); /* pairs with the fence of a sleeper's bell: see engine/swarm/arrivals.h */
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct net *net = engine->cores[i].net;
        if (net && atomic_load_explicit(&net->swarm->waiting, memory_order_relaxed) > 0) {
            core_tell(work->core, i);
        }
    }
}

static void take_finished(struct work *work) {
    struct store_bundle *bundle = keeper_bundle_done(work->keeper);
    for (; bundle; bundle = keeper_bundle_done(work->keeper)) {
        bundle_over(work, bundle, clock_ns());
    }
    struct store_op *op = keeper_done(work->keeper);
    if (!op) {
        return;
    }
    uint64_t now = clock_ns();
    while (op) {
        struct job *job = op->user;
        set_status(job, op);
        if (op->kind == STORE_PUT && op->result == 0) {
            arrivals_push(work->arrivals, &op->key);
            work->arrived = true;
        }
        pool_put(&work->ops, op);
        send_home(work, job, now);
        counter_add(&work->served[job->class], 1);
        counter_add(&work->service_ns[job->class], job->finished_ns - job->started_ns);
        op = keeper_done(work->keeper);
    }
}

/* ---- begin ---------------------------------------------------------------------------------- */

static uint8_t op_kind(const struct job *job) {
    switch ((enum job_kind)job->kind) {
    case JOB_GET:
        return STORE_READ;
    case JOB_PUT:
    case JOB_STORE:
        return STORE_PUT;
    case JOB_DELETE:
        return STORE_DELETE;
    case JOB_VERIFY:
        return STORE_VERIFY;
    case JOB_HAVE:
    case JOB_LIST:
    case JOB_STAT:
    case JOB_HASH:
    case JOB_HANDSHAKE:
    case JOB_GET_MANY:
    case JOB_PUT_MANY:
    case JOB_PIN:
    case JOB_UNPIN:
    case JOB_KIND_COUNT:
        break;
    }
    never("no such job is heavy");
}

/* Runs a step of a handshake or a hash, here and now. */
static uint64_t compute(struct work *work, struct job *job, uint64_t now_ns) {
    job->status = JOB_OK;
    if (job->kind == JOB_HANDSHAKE) {
        handshake_run(job->data);
        counter_add(&work->counters.handshakes, 1);
    } else {
        int r = hash_compute(job->key.code, job->data, job->data_bytes, job->key.digest,
                             job->key.digest_bytes);
        job->status = r == 0 ? JOB_OK : JOB_FAILED;
        counter_add(&work->counters.hashes, 1);
    }
    uint64_t done_ns = clock_ns();
    counter_add(&work->served[job->class], 1);
    counter_add(&work->service_ns[job->class], done_ns - now_ns);
    send_home(work, job, done_ns);
    return done_ns > now_ns ? done_ns - now_ns : 0;
}

static struct hash_claim claim_of(const struct job *job) {
    return (struct hash_claim){job->data, job->data_bytes, job->key.code, job->key.digest,
                               job->key.digest_bytes};
}

static bool is_expired(const struct job *job, uint64_t now_ns) {
    uint64_t waited_ns = max_u64(job_since(job, now_ns), job->queued_ns);
    return job->deadline_ms != 0 && waited_ns > (uint64_t)job->deadline_ms * NS_PER_MS;
}

/* A put whose block may be hashed: for one that came too late it would be work for nothing, just
 * when there is too much of it. */
static bool is_put(const struct job *job, uint64_t now_ns) {
    return job->kind == JOB_PUT && !is_expired(job, now_ns);
}

/* Two puts that follow each other are hashed side by side. Returns: whether the next job's block is
 * proven by now. */
static bool prove_next(struct work *work, uint64_t now_ns) {
    const struct batch *container = work->container;
    if (work->ahead == 0 && work->next + 1 < container->count) {
        const struct job *first = container->jobs[work->next];
        const struct job *second = container->jobs[work->next + 1];
        if (is_put(first, now_ns) && is_put(second, now_ns)) {
            struct hash_claim a = claim_of(first), b = claim_of(second);
            work->proven = hash_prove_two(&a, &b);
            work->ahead = 2;
        }
    }
    bool proven = (work->proven & 1) != 0;
    work->proven >>= 1;
    work->ahead -= work->ahead > 0;
    return proven;
}

/* proven: its block is known to be what its key says. Returns: the estimated cost of what was
 * begun, ns. */
static uint64_t begin(struct work *work, struct job *job, bool proven, uint64_t now_ns) {
    job_start(job, now_ns);
    if (is_expired(job, now_ns)) {
        counter_add(&work->counters.expired, 1);
        job->status = JOB_EXPIRED;
        send_home(work, job, now_ns);
        return 0;
    }
    if (job->kind == JOB_HANDSHAKE || job->kind == JOB_HASH) {
        return compute(work, job, now_ns);
    }
    if (job->kind == JOB_GET_MANY || job->kind == JOB_PUT_MANY) {
        counter_add(&work->counters.jobs, 1);
        keeper_bundle(work->keeper, many_bundle(job));
        return 1000 + 100 * job->arg; /* the operations are charged where they run */
    }
    struct store_op *op = pool_get(&work->ops);
    must(op != NULL); /* begin_some saw one free */
    *op = (struct store_op){.user = job, .key = job->key, .kind = op_kind(job)};
    if (op->kind == STORE_PUT) {
        op->hashed = proven || job->kind == JOB_STORE;
        op->data = job->data;
        op->bytes = job->data_bytes;
        op->codec = job->arg;
    } else if (op->kind == STORE_READ) {
        op->no_admit = job->scan;
    }
    counter_add(&work->counters.jobs, 1);
    keeper_begin(work->keeper, op);
    uint64_t bytes = job->kind == JOB_PUT || job->kind == JOB_STORE ? job->data_bytes : 0;
    return 2000 + (job->kind == JOB_STORE ? bytes / 4 : proven ? bytes * 3 / 8 : bytes * 3 / 4);
}

/* All jobs of the batch have begun: its containers go home. */
static void batch_over(struct work *work) {
    bool pushed = ring_push_spsc(work->mesh->order_home[work->core->index], work->batch);
    must(pushed); /* at most two are ever out */
    work->batch = work->container = NULL;
    core_tell(work->core, work->mesh->sched_core);
}

/* Begins jobs until the turn's cost is spent. Returns: whether more could have been begun. */
static bool begin_some(struct work *work) {
    uint64_t spent_ns = 0;
    uint64_t now = work->core->now_ns;
    for (;;) {
        if (!work->container) {
            work->batch = work->container = ring_pop_spsc(work->mesh->inbox[work->core->index]);
            work->next = 0;
            if (!work->batch) {
                return false;
            }
            counter_add(&work->counters.batches, 1);
        }
        while (work->next < work->container->count) {
            if (work->ops.free_count == 0) {
                return false; /* finishing ones make room */
            }
            if (spent_ns >= WORK_TURN_NS) {
                counter_add(&work->counters.long_turns, 1);
                return true;
            }
            bool proven = prove_next(work, now);
            spent_ns += begin(work, work->container->jobs[work->next++], proven, now);
        }
        work->next = 0;
        work->container = work->container->next;
        if (!work->container) {
            batch_over(work);
        }
    }
}

static void tell_keepers(struct work *work) {
    uint64_t told = keeper_take_rings(work->keeper);
    while (told) {
        uint32_t keeper = (uint32_t)__builtin_ctzll(told);
        told &= told - 1;
        core_tell(work->core, work->core->engine->keeper_core[keeper]);
    }
}

bool work_poll(struct work *work) {
    bool backlog = begin_some(work);
    (void)keeper_poll(work->keeper, work->core->now_ns);
    take_finished(work);
    backlog |= work->container && work->ops.free_count > 0;
    flush_home(work);
    tell_arrivals(work);
    tell_keepers(work);
    counter_set(&work->counters.in_flight, pool_used(&work->ops));
    return backlog;
}

bool work_has_input(const struct work *work) {
    return ring_count(work->mesh->inbox[work->core->index]) > 0 ||
           keeper_has_messages(work->keeper);
}

bool work_is_long(const struct work *work) {
    return work->container || ring_count(work->mesh->inbox[work->core->index]) > 0;
}

uint64_t work_due_ns(const struct work *work) {
    return keeper_due_ns(work->keeper);
}

bool work_idle(const struct work *work) {
    return pool_used(&work->ops) == 0 && !work->batch && keeper_idle(work->keeper);
}
