/* SPDX-License-Identifier: MIT */
#include "engine/dispatch.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/engine_private.h"
#include "engine/work.h"

#include <string.h>

COUNTER_NAMES(dispatch, DISPATCH_COUNTERS);

/* Estimated service of heavy jobs, ns of a work tile: a disk read costs little CPU, a put its hash.
 */
#define COST_READ_NS         5000u
#define COST_DELETE_NS       3000u
#define COST_PUT_NS          4000u
#define COST_PUT_BYTE_NS_X16 12u /* 0.75 ns a byte: SHA-256 and the copy into the batch */
#define COST_VERIFY_NS       20000u
#define COST_HANDSHAKE_NS    250000u /* a step: three or four operations on curves */

/* Tile i covers the span [i, i+1)/count of the line on which classes lie by their shares. A class
 * is at home on every tile that its span covers by at least half a tile, and, where it covers none
 * so far, on the tile under its middle. */
uint32_t dispatch_homes(uint32_t index, uint32_t count) {
    uint32_t homes = 0;
    uint32_t start = 0;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        uint32_t end = start + sched_config_default.shares[c];
        uint32_t middle = (start + end) * count / 200;
        uint32_t from = max_u32(start * count, index * 100);
        uint32_t to = min_u32(end * count, (index + 1) * 100);
        bool covers = to > from && (to - from) * 2 >= 100;
        homes |= covers || middle == index ? BIT(c) : 0;
        start = end;
    }
    return homes;
}

static struct sched_config heavy_config(const struct settings *settings, uint32_t net_count) {
    struct sched_config config = sched_config_default;
    config.jobs_max = (uint32_t)settings->net_jobs_max * net_count; /* it never refuses a job */
    config.shed = settings->sched_shed;
    return config;
}

size_t dispatch_footprint(const struct settings *settings, uint32_t net_count,
                          uint32_t work_count) {
    struct sched_config config = heavy_config(settings, net_count);
    size_t sum = mem_need(0, sched_footprint(&config), CACHE_PAIR);
    return mem_need(sum, pool_footprint(sizeof(struct batch), MESH_ORDER_BATCHES * work_count),
                    CACHE_PAIR);
}

void dispatch_open(struct dispatch *dispatch, struct core *core, const struct settings *settings) {
    struct engine *engine = core->engine;
    dispatch->core = core;
    dispatch->mesh = &engine->mesh;
    dispatch->store = engine->store;
    struct sched_config config = heavy_config(settings, engine->layout.net_count);
    dispatch->heavy =
        sched_init(mem_carve(&core->region, sched_footprint(&config), CACHE_PAIR), &config);
    uint32_t batches = MESH_ORDER_BATCHES * engine->layout.work_count;
    pool_init(&dispatch->batches,
              mem_carve(&core->region, pool_footprint(sizeof(struct batch), batches), CACHE_PAIR),
              sizeof(struct batch), batches);
    for (uint32_t k = 0; k < engine->layout.work_count; k++) {
        struct dispatch_tile *tile = &dispatch->tiles[dispatch->tile_count];
        *tile = (struct dispatch_tile){.core = engine->keeper_core[k],
                                       .keeper = k,
                                       .homes = dispatch_homes(k, engine->layout.work_count)};
        batch_rules_init(&tile->rules);
        dispatch->tile_of_keeper[k] = dispatch->tile_count++;
    }
}

static uint32_t cost_of(const struct job *job) {
    switch ((enum job_kind)job->kind) {
    case JOB_PUT:
    case JOB_HASH:
        return COST_PUT_NS + (uint32_t)((uint64_t)job->data_bytes * COST_PUT_BYTE_NS_X16 / 16);
    case JOB_GET_MANY:
        return COST_READ_NS * job->arg;
    case JOB_PUT_MANY:
        return COST_PUT_NS * job->arg +
               (uint32_t)((uint64_t)job->data_bytes * COST_PUT_BYTE_NS_X16 / 16);
    case JOB_DELETE:
        return COST_DELETE_NS;
    case JOB_VERIFY:
        return COST_VERIFY_NS;
    case JOB_HANDSHAKE:
        return COST_HANDSHAKE_NS;
    case JOB_STORE: /* not hashed again: two thirds of a put's cost */
        return COST_PUT_NS + (uint32_t)((uint64_t)job->data_bytes * COST_PUT_BYTE_NS_X16 / 48);
    case JOB_GET:
    case JOB_HAVE:
    case JOB_LIST:
    case JOB_STAT:
    case JOB_PIN:
    case JOB_UNPIN:
    case JOB_KIND_COUNT:
        break;
    }
    return COST_READ_NS;
}

/* ---- in: class rings to the policy ---------------------------------------------------------- */

static void take_batch(struct dispatch *dispatch, struct batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        if (i + 4 < batch->count) {
            __builtin_prefetch(batch->jobs[i + 4]);
        }
        struct job *job = batch->jobs[i];
        bool queued = sched_push(dispatch->heavy, job, cost_of(job), dispatch->core->now_ns);
        must(queued); /* the policy holds every job there is */
    }
    counter_add(&dispatch->counters.jobs, batch->count);
    uint32_t home = batch->from;
    bool pushed = ring_push_spsc(dispatch->mesh->batch_home[home], batch);
    must(pushed); /* the ring holds every container of that tile */
}

static void take_input(struct dispatch *dispatch) {
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        struct batch *batch;
        while ((batch = ring_pop_mpmc(dispatch->mesh->class_rings[c])) != NULL) {
            take_batch(dispatch, batch);
        }
    }
    for (uint32_t t = 0; t < dispatch->tile_count; t++) {
        struct dispatch_tile *tile = &dispatch->tiles[t];
        struct batch *batch;
        while ((batch = ring_pop_spsc(dispatch->mesh->order_home[tile->core])) != NULL) {
            must(tile->outstanding > 0);
            tile->outstanding--;
            while (batch) {
                struct batch *next = batch->next;
                pool_put(&dispatch->batches, batch);
                batch = next;
            }
        }
    }
}

/* ---- out: batches to work tiles ------------------------------------------------------------- */

static bool tile_can_take(const struct dispatch_tile *tile) {
    /* Full in every way: two batches out and a third that may not grow. */
    return tile->outstanding < 2 || tile->state.jobs < tile->rules.size;
}

static struct dispatch_tile *tile_for(struct dispatch *dispatch, const struct job *job) {
    if (job->kind == JOB_PUT || job->kind == JOB_STORE || job->kind == JOB_DELETE) {
        return &dispatch
                    ->tiles[dispatch->tile_of_keeper[store_keeper_of(dispatch->store, &job->key)]];
    }
    struct dispatch_tile *home = NULL;
    struct dispatch_tile *idle = NULL;
    for (uint32_t t = 0; t < dispatch->tile_count; t++) {
        struct dispatch_tile *tile = &dispatch->tiles[t];
        bool at_home = (tile->homes & BIT(job->class)) != 0;
        bool is_idle = tile->outstanding == 0 && tile->state.jobs < tile->rules.size;
        if (at_home && is_idle) {
            counter_add(&dispatch->counters.home, 1);
            return tile;
        }
        if (at_home && (!home || tile->state.cost_ns < home->state.cost_ns)) {
            home = tile;
        }
        if (is_idle && !idle) {
            idle = tile;
        }
    }
    must(home != NULL); /* every class has one */
    counter_add(idle ? &dispatch->counters.borrowed : &dispatch->counters.home, 1);
    return idle ? idle : home;
}

/* Returns: false when no container is free; the job was not taken. */
static bool tile_add(struct dispatch *dispatch, struct dispatch_tile *tile, struct job *job,
                     uint32_t cost_ns) {
    struct batch *last = tile->open_tail;
    if (!last || last->count == BATCH_JOBS_MAX) {
        struct batch *batch = pool_get(&dispatch->batches);
        if (!batch) {
            return false;
        }
        batch->next = NULL;
        batch->count = 0;
        batch->from = (uint8_t)dispatch->core->index;
        if (last) {
            last->next = batch;
        } else {
            tile->open = batch;
            tile->state =
                (struct batch_state){.first_ns = dispatch->core->now_ns, .class = CLASS_LOW};
        }
        tile->open_tail = last = batch;
    }
    last->jobs[last->count++] = job;
    tile->state.jobs++;
    bool carries = job->kind == JOB_PUT || job->kind == JOB_STORE || job->kind == JOB_PUT_MANY;
    tile->state.bytes += carries ? job->data_bytes : 0;
    tile->state.cost_ns += cost_ns;
    if (job->class < tile->state.class) {
        tile->state.class = (enum job_class)job->class; /* the most urgent one in it sets its age */
    }
    return true;
}

static void count_close(struct dispatch *dispatch, enum close_reason reason) {
    struct dispatch_counters *counters = &dispatch->counters;
    counter_t *counts[CLOSE_REASON_COUNT] = {
        [CLOSE_NOT_YET] = NULL,
        [CLOSE_IDLE] = &counters->closed_idle,
        [CLOSE_SIZE] = &counters->closed_size,
        [CLOSE_BYTES] = &counters->closed_bytes,
        [CLOSE_COST] = &counters->closed_cost,
        [CLOSE_AGE] = &counters->closed_age,
    };
    counter_add(counts[reason], 1);
}

/* Hands the open batch over if a rule closes it and the tile has room. */
static void tile_close(struct dispatch *dispatch, struct dispatch_tile *tile) {
    if (!tile->open || tile->outstanding >= 2) {
        return;
    }
    tile->state.consumer_idle = tile->outstanding == 0;
    enum close_reason reason = batch_close(&tile->rules, &tile->state, dispatch->core->now_ns);
    if (reason == CLOSE_NOT_YET) {
        return;
    }
    batch_rules_adapt(&tile->rules, reason);
    count_close(dispatch, reason);
    counter_add(&dispatch->counters.batches, 1);
    counter_add(&dispatch->counters.assigned, tile->state.jobs);
    tile->open->closed_ns = dispatch->core->now_ns;
    tile->open->cost_ns = tile->state.cost_ns;
    bool pushed = ring_push_spsc(dispatch->mesh->inbox[tile->core], tile->open);
    must(pushed); /* at most two are out */
    tile->open = tile->open_tail = NULL;
    tile->state = (struct batch_state){0};
    tile->outstanding++;
    core_tell(dispatch->core, tile->core);
}

/* A job that is not worth work goes home at once, over the scheduler's own way home. */
static void send_home(struct dispatch *dispatch, struct job *job, enum job_status status) {
    job->status = (uint8_t)status;
    job_chain_push(&dispatch->shed[job->net], job);
}

static void flush_home(struct dispatch *dispatch) {
    for (uint32_t n = 0; n < dispatch->mesh->core_count; n++) {
        struct job_chain *chain = &dispatch->shed[n];
        if (chain->head) {
            bool pushed = ring_push_spsc(dispatch->mesh->shed[n], chain->head);
            must(pushed); /* as large as all jobs of that tile */
            *chain = (struct job_chain){0};
            core_tell(dispatch->core, n);
        }
    }
}

static bool any_can_take(const struct dispatch *dispatch) {
    bool some_hungry = false;
    for (uint32_t t = 0; t < dispatch->tile_count; t++) {
        if (!tile_can_take(&dispatch->tiles[t])) {
            return false; /* the next job might be its: what cannot be placed must not be picked */
        }
        some_hungry |= dispatch->tiles[t].outstanding < 2;
    }
    return some_hungry && dispatch->batches.free_count > dispatch->tile_count;
}

static void assign(struct dispatch *dispatch) {
    struct sched_pick picks[16];
    while (sched_backlog(dispatch->heavy) > 0 && any_can_take(dispatch)) {
        uint32_t count =
            sched_pick(dispatch->heavy, picks, array_count(picks), 0, dispatch->core->now_ns);
        for (uint32_t i = 0; i < count; i++) {
            struct job *job = picks[i].job;
            if (picks[i].fate != SCHED_RUN) {
                bool shed = picks[i].fate == SCHED_SHED;
                counter_add(shed ? &dispatch->counters.shed : &dispatch->counters.expired, 1);
                send_home(dispatch, job, shed ? JOB_BUSY : JOB_EXPIRED);
                continue;
            }
            bool added = tile_add(dispatch, tile_for(dispatch, job), job, picks[i].cost_ns);
            must(added); /* any_can_take saw containers for 16 more */
        }
        for (uint32_t t = 0; t < dispatch->tile_count; t++) {
            tile_close(dispatch, &dispatch->tiles[t]);
        }
    }
    for (uint32_t t = 0; t < dispatch->tile_count; t++) {
        tile_close(dispatch, &dispatch->tiles[t]);
    }
}

bool dispatch_poll(struct dispatch *dispatch) {
    take_input(dispatch);
    assign(dispatch);
    flush_home(dispatch);
    return false; /* what is left waits for a tile, and its coming home is input */
}

bool dispatch_has_input(const struct dispatch *dispatch) {
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        if (ring_count(dispatch->mesh->class_rings[c]) > 0) {
            return true;
        }
    }
    for (uint32_t t = 0; t < dispatch->tile_count; t++) {
        if (ring_count(dispatch->mesh->order_home[dispatch->tiles[t].core]) > 0) {
            return true;
        }
    }
    return false;
}

uint64_t dispatch_due_ns(const struct dispatch *dispatch) {
    uint64_t due = UINT64_MAX;
    for (uint32_t t = 0; t < dispatch->tile_count; t++) {
        const struct dispatch_tile *tile = &dispatch->tiles[t];
        if (tile->open && tile->outstanding < 2) {
            due = min_u64(due, tile->state.first_ns + batch_age_ns[tile->state.class]);
        }
    }
    return due;
}

/* What service really took, as the work tiles count it: on a slow disk CoDel's target must be
 * longer. */
static void learn_service(struct dispatch *dispatch, struct dispatch_tile *tile) {
    const struct work *work = dispatch->core->engine->cores[tile->core].work;
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        uint64_t served = counter_get(&work->served[c]);
        uint64_t service_ns = counter_get(&work->service_ns[c]);
        uint64_t jobs = served - tile->served[c];
        if (jobs > 0) {
            sched_served(dispatch->heavy, (enum job_class)c, service_ns - tile->service_ns[c],
                         (uint32_t)min_u64(jobs, UINT32_MAX));
        }
        tile->served[c] = served;
        tile->service_ns[c] = service_ns;
    }
}

void dispatch_tick(struct dispatch *dispatch) {
    for (uint32_t t = 0; t < dispatch->tile_count; t++) {
        learn_service(dispatch, &dispatch->tiles[t]);
    }
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        counter_set(&dispatch->queued[c], sched_backlog_of(dispatch->heavy, (enum job_class)c));
    }
}
