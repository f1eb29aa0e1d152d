/* SPDX-License-Identifier: MIT */
#pragma once

/* work — the tile that hosts a keeper: takes batches from the scheduler, runs their jobs as store
 * operations, and sends finished jobs home in chains, one per net tile and turn.
 *
 * A batch's containers go home to the scheduler once all its jobs have begun; jobs in flight are
 * bounded by WORK_OPS_MAX, and a turn begins at most WORK_TURN_NS of estimated work, so that a
 * fused core returns to its sockets. Thread: its core's. */

#include "base/base.h"
#include "base/counter.h"
#include "base/hist.h"
#include "base/pool.h"
#include "engine/core.h"
#include "engine/mesh.h"
#include "store/store.h"

struct arrivals;

#define WORK_OPS_MAX 2048u
#define WORK_TURN_NS (200 * NS_PER_US)

#define WORK_COUNTERS(X)                                          \
    X(jobs, "jobs", "begun")                                      \
    X(batches, "batches", "taken")                                \
    X(finished, "jobs", "sent home")                              \
    X(in_flight, "jobs", "in the store now")                      \
    X(handshakes, "steps", "of handshakes done")                  \
    X(hashes, "blocks", "hashed for net tiles that fetch them")   \
    X(expired, "jobs", "whose deadline passed before they began") \
    X(long_turns, "turns", "cut short by estimated cost")
COUNTER_STRUCT(work, WORK_COUNTERS);

struct work {
    /* set at boot */
    struct core *core;
    struct mesh *mesh;
    struct store *store;
    struct keeper *keeper;
    uint32_t keeper_index;
    struct arrivals *arrivals; /* keys of blocks that were put: written here, read by net tiles */
    /* owner only */
    struct pool ops;     /* struct store_op */
    struct batch *batch; /* being begun; its chain of containers goes home whole */
    struct batch *container;
    uint32_t next;   /* job of `container` to begin next */
    uint32_t ahead;  /* how many of its next jobs were looked at together */
    uint32_t proven; /* a bit each, from the next on: its block is what its key says */
    struct job_chain home[LAYOUT_CORES_MAX];
    bool arrived; /* a block was put in this turn */
    /* written here, read elsewhere */
    struct work_counters counters;
    counter_t served[CLASS_COUNT]; /* jobs finished, for the scheduler's estimate of service time */
    counter_t service_ns[CLASS_COUNT]; /* from begun to finished, summed */
};

size_t work_footprint(void);
void work_open(struct work *work, struct core *core, uint32_t keeper_index);
/* Returns: whether backlog is left for another turn. */
bool work_poll(struct work *work);
bool work_has_input(const struct work *work);
/* Something is to be begun that takes long (a hash): bells should leave first. */
bool work_is_long(const struct work *work);
uint64_t work_due_ns(const struct work *work);
bool work_idle(const struct work *work);
