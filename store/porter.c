/* SPDX-License-Identifier: MIT */
#include "store/porter.h"

#include "base/err.h"
#include "base/must.h"
#include "base/pile.h"
#include "store/backup.h"
#include "store/compact.h"
#include "store/gc.h"
#include "store/inside.h"
#include "store/pinning.h"
#include "store/promote.h"
#include "store/rejoin.h"
#include "store/scrub.h"
#include "store/snapshot.h"
#include "store/text.h"

#include <errno.h>

COUNTER_NAMES(upkeep, UPKEEP_COUNTERS);

const struct upkeep_counters *store_upkeep(const struct store *store) {
    return &store->porter->counters;
}

const struct store_scrub *store_scrub(const struct store *store, enum tier_kind kind) {
    return &store->porter->scrubs[kind];
}

void porter_lost(struct porter *porter, const struct key *key, uint32_t codec) {
    const struct store_config *config = &porter->store->config;
    counter_add(&porter->counters.quarantined, 1);
    if (config->lost) {
        config->lost(config->lost_context, key, codec);
    }
}

/* --- duties ----------------------------------------------------------------------------------- */

struct duty {
    const char *name;
    int (*open)(struct porter *porter);      /* NULL: nothing to open; 0 or -errno */
    uint32_t (*step)(struct porter *porter); /* returns: how much it did */
    void (*close)(struct porter *porter);    /* NULL: nothing to let go of */
};

static const struct duty duties[] = {
    {"tiers", rejoin_open, rejoin_step, rejoin_close},
    {"promotions", promote_open, promote_step, promote_close}, /* before it: it takes turns */
    {"moves", compact_open, compact_step, compact_close},
    {"scrub", scrub_open, scrub_step, scrub_close},
    {"snapshot", NULL, snapshot_step, snapshot_abandon},
    {"pinning", pinning_open, NULL, pinning_close},
    {"collection", gc_open, gc_duty, gc_close},
    {"backup", NULL, NULL, backup_close}, /* its steps are those of the task */
};

/* --- tasks ------------------------------------------------------------------------------------ */

/* One step of each kind of task. Returns: how much it did; the task is over once the step has
 * called porter_finish. */
static uint32_t (*const task_steps[STORE_TASK_KINDS])(struct porter *, struct store_task *) = {
    [STORE_TASK_PIN] = pinning_step_pin,   [STORE_TASK_UNPIN] = pinning_step_unpin,
    [STORE_TASK_PINS] = pinning_step_list, [STORE_TASK_GC] = gc_step,
    [STORE_TASK_SCRUB] = scrub_task,       [STORE_TASK_BACKUP] = backup_step,
};

int store_task_begin(struct store *store, struct store_task *task) {
    struct porter *porter = store->porter;
    if (task->kind >= STORE_TASK_KINDS || !task_steps[task->kind] || store->config.read_only) {
        return STORE_READONLY;
    }
    /* relaxed: one that slips in is ended with the others */
    if (atomic_load_explicit(&porter->stopping, memory_order_relaxed)) {
        return STORE_RETRY;
    }
    if (atomic_fetch_add_explicit(&porter->task_count, 1, memory_order_relaxed) >=
        PORTER_TASKS_MAX) {
        atomic_fetch_sub_explicit(&porter->task_count, 1, memory_order_relaxed);
        return STORE_RETRY;
    }
    atomic_store_explicit(&task->state, STORE_TASK_WAITING, memory_order_relaxed);
    pile_push(&porter->incoming, task);
    return 0;
}

static void tasks_take(struct porter *porter) {
    struct store_task **tail = &porter->tasks;
    while (*tail) {
        tail = &(*tail)->next;
    }
    *tail = pile_take(&porter->incoming);
}

void porter_finish(struct porter *porter, struct store_task *task, int32_t result,
                   const char *why) {
    struct store_task **at = &porter->tasks;
    while (*at != task) {
        must(*at != NULL);
        at = &(*at)->next;
    }
    *at = task->next;
    task->result = result;
    if (why) {
        struct text text = {task->why, sizeof task->why, 0};
        text_add(&text, why);
    }
    atomic_fetch_sub_explicit(&porter->task_count, 1, memory_order_relaxed);
    void (*finished)(struct store_task *) = task->finished;
    /* release: result and why come before; without `finished` the task is its asker's from here */
    atomic_store_explicit(&task->state, STORE_TASK_DONE, memory_order_release);
    if (finished) {
        finished(task);
    }
}

/* Every task gets one step a round, so that a pin does not wait for a collection to end. */
static uint32_t tasks_step(struct porter *porter) {
    uint32_t work = 0;
    struct store_task *next;
    tasks_take(porter);
    for (struct store_task *task = porter->tasks; task; task = next) {
        next = task->next; /* a step ends no task but its own */
        atomic_store_explicit(&task->state, STORE_TASK_RUNNING, memory_order_relaxed);
        work += task_steps[task->kind](porter, task);
    }
    return work;
}

/* --- the thread's step ------------------------------------------------------------------------ */

uint32_t store_maintain(struct store *store, uint64_t now_ns) {
    struct porter *porter = store->porter;
    uint32_t work = 0;
    if (store->config.read_only) {
        return 0;
    }
    porter->now_ns = now_ns;
    for (size_t i = 0; i < array_count(duties); i++) {
        work += duties[i].step ? duties[i].step(porter) : 0;
    }
    return work + tasks_step(porter);
}

bool store_tasks_stop(struct store *store) {
    struct porter *porter = store->porter;
    atomic_store_explicit(&porter->stopping, true, memory_order_relaxed);
    return !porter->tasks && !atomic_load_explicit(&porter->incoming, memory_order_relaxed);
}

uint64_t store_take_rings(struct store *store) {
    uint64_t rings = store->porter->rings;
    store->porter->rings = 0;
    return rings;
}

int porter_open(struct store *store) {
    struct porter *porter = vm_map(sizeof *porter);
    if (!porter) {
        return err_raise(-ENOMEM);
    }
    porter->store = store;
    porter->reader = store->helper + 1;
    store->porter = porter;
    int r = 0;
    for (size_t i = 0; i < array_count(duties) && r == 0; i++) {
        r = duties[i].open ? duties[i].open(porter) : 0;
    }
    return r;
}

void porter_close(struct store *store) {
    struct porter *porter = store->porter;
    if (!porter) {
        return;
    }
    tasks_take(porter);
    while (porter->tasks) {
        porter_finish(porter, porter->tasks, STORE_RETRY, "the store is closing");
    }
    for (size_t i = array_count(duties); i-- > 0;) {
        if (duties[i].close) {
            duties[i].close(porter);
        }
    }
    vm_unmap(porter, sizeof *porter);
    store->porter = NULL;
}
