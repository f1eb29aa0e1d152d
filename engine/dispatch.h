/* SPDX-License-Identifier: MIT */
#pragma once

/* dispatch — the scheduler tile: takes heavy jobs off the class rings, orders them by the policy
 * (sched.h), and hands them to work tiles in batches.
 *
 *   class rings ─► policy (flows, shares, CoDel) ─► open batch of a work tile ─► its inbox
 *
 * Where: a put or delete goes to the keeper that owns its shard; a read goes to an idle tile whose
 * home is its class, else any idle tile, else its home. When: always the policy's order. A work
 * tile has at most two batches, one running and one waiting; a third is collected here and closes
 * by the rules of sched.h. Jobs leave the policy only when some tile can take them, so backlog
 * stays where shares and shedding see it. Thread: its core's. */

#include "base/base.h"
#include "base/counter.h"
#include "base/pool.h"
#include "engine/core.h"
#include "engine/mesh.h"
#include "engine/sched.h"
#include "store/store.h"

#define DISPATCH_COUNTERS(X)                                                \
    X(jobs, "jobs", "taken off the class rings")                            \
    X(assigned, "jobs", "handed to work tiles")                             \
    X(batches, "batches", "handed to work tiles")                           \
    X(home, "jobs", "reads that went to a tile of their class")             \
    X(borrowed, "jobs", "reads that went to an idle tile of another class") \
    X(shed, "jobs", "sent home BUSY by CoDel")                              \
    X(expired, "jobs", "sent home because their deadline passed")           \
    X(closed_idle, "batches", "closed because the tile was idle")           \
    X(closed_size, "batches", "closed at the adaptive size")                \
    X(closed_bytes, "batches", "closed at the byte limit")                  \
    X(closed_cost, "batches", "closed at the cost limit")                   \
    X(closed_age, "batches", "closed by age")
COUNTER_STRUCT(dispatch, DISPATCH_COUNTERS);

/* The scheduler's view of one work tile. */
struct dispatch_tile {
    uint32_t core;
    uint32_t keeper;
    uint32_t homes;       /* bit per class */
    uint32_t outstanding; /* batches not come home */
    struct batch *open, *open_tail;
    struct batch_state state;
    struct batch_rules rules;
    uint64_t served[CLASS_COUNT], service_ns[CLASS_COUNT]; /* as last read from the tile */
};

struct dispatch {
    /* set at boot */
    struct core *core;
    struct mesh *mesh;
    struct store *store;
    struct dispatch_tile tiles[LAYOUT_CORES_MAX];
    uint32_t tile_count;
    uint32_t tile_of_keeper[LAYOUT_CORES_MAX];
    /* owner only */
    struct sched *heavy;
    struct pool batches;
    struct job_chain shed[LAYOUT_CORES_MAX]; /* on the way home, by net core */
    /* written here, read elsewhere */
    struct dispatch_counters counters;
    counter_t queued[CLASS_COUNT];
};

size_t dispatch_footprint(const struct settings *settings, uint32_t net_count, uint32_t work_count);
void dispatch_open(struct dispatch *dispatch, struct core *core, const struct settings *settings);
/* Returns: whether backlog is left that can move without new input. */
bool dispatch_poll(struct dispatch *dispatch);
bool dispatch_has_input(const struct dispatch *dispatch);
/* When an open batch closes by age; UINT64_MAX: none is open. */
uint64_t dispatch_due_ns(const struct dispatch *dispatch);
void dispatch_tick(struct dispatch *dispatch);

/* Which classes are at home on tile `index` of `count`: shared out 25/25/33/17. Pure. */
uint32_t dispatch_homes(uint32_t index, uint32_t count);
