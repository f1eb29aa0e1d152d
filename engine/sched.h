/* SPDX-License-Identifier: MIT */
#pragma once

/* sched — which job next: the one policy, run by every core over its light jobs and by the
 * scheduler tile over heavy ones.
 *
 *   class (virtual time, shares 25/25/33/17)  ->  flow (deficit round robin)  ->  job (arrival
 * order)
 *
 * Between classes: each class's virtual time grows by cost/share when it is served; the backlogged
 * class with the least goes next. A class that wakes is pulled up to the running minimum, so an
 * idle spell earns nothing. Work conserving. Deadline boost: the class whose OLDEST job (kept in a
 * per-class arrival list, because round robin's head is not the oldest) is past half its target
 * goes next, at most 10 % of dispatches, charged to it as usual, so long-run shares hold. Within a
 * class: SCHED_FLOWS hashed flows, deficit round robin with a quantum of cost. Shedding: folly's
 * CoDel rule per class on delay at dequeue: if the least delay over an interval of 100 ms exceeded
 * the target, the class is overloaded, and jobs older than twice the target are shed. Target: the
 * larger of 20 % of the class target and 5 x the class's p50 service time. Delay is counted from
 * job.arrived_ns, so what a job waited before it came here counts too. A job past its deadline
 * comes out as EXPIRED.
 *
 * Pure: no clock, no threads, no memory but what sched_init got; time comes in as now_ns. A queued
 * job is pointed to by a 32-byte node of the policy's own; job.next is left alone.
 * Sources: Shreedhar & Varghese 1996 (DRR); Seastar fair_queue; folly/executors/Codel.cpp; Nichols
 * & Jacobson (CoDel). Thread: owner. */

#include "base/base.h"
#include "rings/job.h"

#define SCHED_FLOWS 256u /* per class; job.flow is taken modulo this */

struct sched_config {
    uint32_t shares[CLASS_COUNT];    /* 25, 25, 33, 17; each 1 .. 100 */
    uint64_t target_ns[CLASS_COUNT]; /* 10, 50, 200, 1,000 ms */
    uint64_t codel_interval_ns;      /* 100 ms */
    uint32_t jobs_max;               /* most jobs queued at once: sizes the nodes */
    uint32_t flow_quantum;           /* ns of cost a flow may spend per round; rounded up to 2^n */
    uint32_t boost_percent;          /* 10 */
    bool shed;                       /* CoDel on */
};
extern const struct sched_config sched_config_default;

struct sched;

size_t sched_footprint(const struct sched_config *config);
struct sched *sched_init(void *memory, const struct sched_config *config);

/* sched_push queues a job of job->class and job->flow with its estimated cost (ns of service).
 * Returns: false when jobs_max are queued: the caller keeps the job. */
must_check bool sched_push(struct sched *sched, struct job *job, uint32_t cost_ns, uint64_t now_ns);

/* What sched_pick says of each job it hands out. */
enum sched_fate { SCHED_RUN, SCHED_SHED, SCHED_EXPIRED };
struct sched_pick {
    struct job *job;
    uint32_t cost_ns;
    enum sched_fate fate; /* SHED and EXPIRED cost nothing and are not charged to the class */
};
/* sched_pick takes up to `max` jobs in policy order and stops early once their cost reaches
 * `budget_ns` (0: no bound). Returns: how many. Cost: push and pick together 11 ns a job
 * while one class is backlogged, 25 to 35 while four are. */
uint32_t sched_pick(struct sched *sched, struct sched_pick picks[], uint32_t max,
                    uint64_t budget_ns, uint64_t now_ns);
/* As sched_pick, of one class only, charged to it: for filling that class's batch. */
uint32_t sched_pick_class(struct sched *sched, enum job_class class, struct sched_pick picks[],
                          uint32_t max, uint64_t budget_ns, uint64_t now_ns);
/* sched_next says which class sched_pick would serve now; CLASS_COUNT if nothing is queued. */
enum job_class sched_next(const struct sched *sched, uint64_t now_ns);

/* sched_served tells the policy that `jobs` jobs of a class took service_ns together: moves the
 * class's p50 estimate, and with it CoDel's target. */
void sched_served(struct sched *sched, enum job_class class, uint64_t service_ns, uint32_t jobs);

uint32_t sched_backlog(const struct sched *sched); /* jobs queued */
uint32_t sched_backlog_of(const struct sched *sched, enum job_class class);
uint32_t sched_classes_backlogged(const struct sched *sched);              /* 0 .. 4 */
uint64_t sched_oldest_ns(const struct sched *sched, enum job_class class); /* arrival; 0 = none */

/* Counters, for the admin socket. */
struct sched_stats {
    uint64_t picked[CLASS_COUNT];
    uint64_t cost_ns[CLASS_COUNT];
    uint64_t shed[CLASS_COUNT];
    uint64_t expired[CLASS_COUNT];
    uint64_t boosted[CLASS_COUNT];
    uint64_t overloaded[CLASS_COUNT]; /* intervals that ended overloaded */
};
const struct sched_stats *sched_stats(const struct sched *sched);

/* --- batch closing, for the scheduler tile ---------------------------------------------------- */

#define BATCH_SIZE_MIN    50u
#define BATCH_SIZE_MAX    1000u
#define BATCH_BYTES_MAX   (256 * KiB)
#define BATCH_COST_MAX_NS (500 * NS_PER_US)

/* A work tile's waiting batch closes when the tile is idle, at the adaptive size, at the byte or
 * cost limit, or by the class's age (1/5/20/100 ms). */
enum close_reason {
    CLOSE_NOT_YET,
    CLOSE_IDLE,
    CLOSE_SIZE,
    CLOSE_BYTES,
    CLOSE_COST,
    CLOSE_AGE,
    CLOSE_REASON_COUNT
};
extern const uint64_t batch_age_ns[CLASS_COUNT];
struct batch_rules {
    uint32_t size;      /* 50 .. 1000, moved by batch_rules_adapt */
    uint32_t full_runs; /* closes by size in a row */
    uint32_t late_runs; /* closes by age in a row */
};
struct batch_state {
    uint32_t jobs;
    uint64_t bytes;
    uint64_t cost_ns;
    uint64_t first_ns; /* when its first job was added */
    enum job_class class;
    bool consumer_idle;
};
/* Starts at BATCH_SIZE_MIN. */
void batch_rules_init(struct batch_rules *rules);
/* Returns: the first reason that holds, of size, bytes, cost, idle, age; NOT_YET for an empty
 * batch.
 */
enum close_reason batch_close(const struct batch_rules *rules, const struct batch_state *state,
                              uint64_t now_ns);
/* Once per closed batch. Two closes by size in a row: x 1.25; two by age: x 0.8; clamp 50 .. 1000.
 */
void batch_rules_adapt(struct batch_rules *rules, enum close_reason reason);
