/* SPDX-License-Identifier: MIT */
#pragma once

/* porter — background work of the store, one bounded step at a time: what takes long, may block on
 * a disk, and must not hold up a tile.
 *
 *   duties   standing work, each a file with a step function in the table of porter.c
 *   tasks    what people asked for (struct store_task), one step after another, oldest first
 *
 * A step does some milliseconds of work and returns how much it did; 0 everywhere lets the thread
 * rest. What only the owner of a shard may do is asked of its keeper by a note (store/note.h), and
 * looked at in a later step. Only files of this folder include this one.
 *
 * Thread: all of it the porter's, but for the task queue (any thread pushes). */

#include "store/note.h"
#include "store/store.h"

#define PORTER_TASKS_MAX 64u /* under way at once; what comes beyond is refused */

struct gc;
struct pinning;

struct porter {
    struct store *store;
    uint32_t reader; /* its place in store->turns */
    uint64_t now_ns;
    uint64_t rings;                        /* keepers that got a note */
    _Atomic(struct store_task *) incoming; /* a pile: any thread pushes */
    struct store_task *tasks;              /* taken, oldest first */
    _Atomic uint32_t task_count;           /* incoming and taken */
    struct gc *gc;                         /* store/gc.h */
    struct pinning *pinning;               /* store/pinning.h */
    struct upkeep_counters counters;
    struct store_scrub scrubs[2]; /* by enum tier_kind */
    struct rejoin *rejoin;        /* store/rejoin.c */
    struct arrival *arrival;      /* store/arrival.c */
    uint64_t unread_ns;           /* what the start could not read is tried again then */
    uint32_t unread_tries;
    bool unread_waited;          /* a moment, before the first */
    struct graves *carried;      /* tombstones that moves carried; as those of the keepers */
    struct scrub *scrub;         /* store/scrub.c */
    struct compactor *compactor; /* store/compact.c */
    struct promoter *promoter;   /* store/promote.c */
    _Atomic bool stopping;       /* the porter sets it; store_task_begin looks */
};

/* A task is over: says so to whoever asked. `why` may be NULL. */
void porter_finish(struct porter *porter, struct store_task *task, int32_t result, const char *why);

/* A block is damaged and has no other copy here: counts it, and tells who asked to be told. key may
 * be NULL: what lay there is not known. */
void porter_lost(struct porter *porter, const struct key *key, uint32_t codec);

/* Is the task to end as soon as it can? Relaxed: seen at one of its next steps. */
static inline bool porter_canceled(const struct porter *porter, const struct store_task *task) {
    return atomic_load_explicit(&task->cancel, memory_order_relaxed) ||
           atomic_load_explicit(&porter->stopping, memory_order_relaxed);
}

/* Returns: 0 or -ENOMEM. Thread: boot. */
must_check int porter_open(struct store *store);
/* Every task ends with STORE_RETRY; duties let go of what they hold. The keepers' threads are
 * gone. */
void porter_close(struct store *store);
