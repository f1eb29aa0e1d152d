/* SPDX-License-Identifier: MIT */
#include "store/gc.h"

#include "base/err.h"
#include "base/must.h"
#include "store/ages.h"
#include "store/compact.h"
#include "store/inside.h"
#include "store/pinning.h"
#include "store/reach.h"
#include "store/sweep.h"

#include <errno.h>

enum gc_phase { GC_QUIET, GC_AGE, GC_MARK, GC_SETTLE, GC_SWEEP };

struct gc {
    struct ages ages;
    struct reach reach;
    struct sweep sweep;
    struct store_task *task; /* the collection under way, or NULL */
    enum gc_phase phase;
    uint64_t round;
    bool marking;
    uint64_t limit[STORE_KEEPERS_MAX]; /* M */
    struct store_task own;             /* begun by the watermark */
    bool own_busy;
    uint64_t own_ended_ns; /* 0: never */
};

int gc_open(struct porter *porter) {
    struct gc *gc = vm_map(sizeof *gc);
    porter->gc = gc;
    if (!gc) {
        return err_raise(-ENOMEM);
    }
    int r = sweep_open(&gc->sweep, porter);
    int reach = reach_open(&gc->reach, porter);
    return r == 0 ? reach : r;
}

void gc_close(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (!gc) {
        return;
    }
    reach_close(&gc->reach);
    sweep_close(&gc->sweep);
    vm_unmap(gc, sizeof *gc);
    porter->gc = NULL;
}

uint64_t gc_round(const struct porter *porter) {
    return porter->gc->round;
}

struct mark *gc_marks(const struct porter *porter) {
    return porter->gc->marking ? &porter->gc->reach.marks : NULL;
}

bool gc_waits(const struct porter *porter) {
    return porter->gc->task && porter->gc->phase == GC_QUIET;
}

bool gc_settles(const struct porter *porter) {
    return porter->gc->task && porter->gc->phase == GC_SETTLE;
}

bool gc_sweeps(struct porter *porter) {
    return sweep_busy(&porter->gc->sweep);
}

/* --- the phases ------------------------------------------------------------------------------- */

static void finish(struct porter *porter, int32_t result, const char *why) {
    struct gc *gc = porter->gc;
    struct store_task *task = gc->task;
    gc->marking = false;
    gc->round++;
    reach_end(&gc->reach);
    gc->task = NULL;
    compact_soon(porter);
    porter_finish(porter, task, result, why);
}

static uint32_t quiet_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (pinning_writes(porter) > 0 || gc->ages.sampling) {
        return 0;
    }
    int r = reach_begin(&gc->reach, gc->task);
    if (r != 0) {
        finish(porter, r, "no memory for a walk");
        return 1;
    }
    gc->marking = true;
    gc->round++;
    gc->phase = GC_AGE;
    ages_ask(&gc->ages, porter);
    return 1;
}

static uint32_t age_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    uint64_t grace_ns = gc->task->ask.gc.grace_ns;
    grace_ns = grace_ns == GC_GRACE_NONE ? porter->store->config.gc_grace_ns : grace_ns;
    if (gc->ages.sampling) {
        return 0; /* the duty takes them */
    }
    ages_limit(&gc->ages, porter->now_ns, grace_ns, gc->limit);
    reach_pins(&gc->reach);
    gc->phase = GC_MARK;
    counter_set(&gc->task->phase, GC_MARK);
    return 1;
}

static uint32_t mark_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    bool over;
    uint32_t work = reach_step(&gc->reach, &over);
    if (over && gc->reach.result != 0) {
        finish(porter, gc->reach.result, gc->reach.why);
    } else if (over) {
        gc->phase = GC_SETTLE;
    }
    return work;
}

/* Walks that began by now end before anything is deleted: what they have not reached yet is not
 * marked yet. */
static uint32_t settle_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (pinning_walks(porter) > 0) {
        return 0;
    }
    gc->phase = GC_SWEEP;
    sweep_begin(&gc->sweep, &(struct sweep_order){gc->task, &gc->reach.marks, gc->limit});
    counter_set(&gc->task->seen, 0);
    counter_set(&gc->task->pinned, 0);
    counter_set(&gc->task->young, 0);
    counter_set(&gc->task->again, 0);
    counter_set(&gc->task->total, catalog_entries(&porter->store->catalog));
    counter_set(&gc->task->phase, GC_SWEEP);
    return 1;
}

static uint32_t sweeping_step(struct porter *porter) {
    struct sweep *sweep = &porter->gc->sweep;
    bool over;
    uint32_t work = sweep_step(sweep, &over);
    if (over) {
        finish(porter, sweep->result, sweep->why);
    }
    return work;
}

/* --- the task --------------------------------------------------------------------------------- */

uint32_t gc_step(struct porter *porter, struct store_task *task) {
    struct gc *gc = porter->gc;
    if (gc->task != task) {
        if (gc->task) {
            porter_finish(porter, task, STORE_RETRY, "a collection is under way already");
            return 1;
        }
        if (tiers_unknown(&porter->store->tiers)) {
            porter_finish(porter, task, STORE_RETRY,
                          "nothing was collected: a tier is away, and what is pinned on it is not "
                          "known; try again when it is back");
            return 1;
        }
        if (porter->store->tiers.given_up) {
            porter_finish(porter, task, STORE_RETRY,
                          "nothing was collected: some segments cannot be read, and what is pinned "
                          "in them is not known; see 'millrace stat'");
            return 1;
        }
        if (pins_unclear(porter->store)) {
            porter_finish(
                porter, task, STORE_CORRUPT,
                "nothing was collected: a record of a pin is damaged, and with it what it "
                "pinned; 'millrace verify' says where");
            return 1;
        }
        gc->task = task;
        gc->phase = GC_QUIET;
    }
    if (gc->phase != GC_SWEEP && porter_canceled(porter, task)) {
        if (reach_lent(&gc->reach)) {
            return 0; /* the page is the keeper's still */
        }
        finish(porter, STORE_RETRY, "canceled: nothing was collected");
        return 1;
    }
    switch (gc->phase) {
    case GC_QUIET:
        return quiet_step(porter);
    case GC_AGE:
        return age_step(porter);
    case GC_MARK:
        return mark_step(porter);
    case GC_SETTLE:
        return settle_step(porter);
    case GC_SWEEP:
        return sweeping_step(porter);
    }
    never("a phase of no collection");
}

/* --- the duty --------------------------------------------------------------------------------- */

static void own_ended(struct store_task *task) {
    struct porter *porter = task->user;
    porter->gc->own_busy = false;
    porter->gc->own_ended_ns = porter->now_ns;
}

static bool over_watermark(const struct store *store) {
    struct store_usage usage;
    store_usage(store, &usage);
    uint64_t limit = tiers_limit(&store->tiers);
    uint64_t room = limit ? limit : usage.bytes_on_disk + usage.free_bytes;
    return usage.bytes_on_disk >= room / 100 * store->config.gc_watermark_percent;
}

static void watermark(struct porter *porter) {
    struct gc *gc = porter->gc;
    bool lately = gc->own_ended_ns != 0 && porter->now_ns < gc->own_ended_ns + GC_AGAIN_NS;
    if (gc->own_busy || gc->task || lately || !over_watermark(porter->store)) {
        return;
    }
    gc->own = (struct store_task){.user = porter, .finished = own_ended, .kind = STORE_TASK_GC};
    gc->own.ask.gc.grace_ns = GC_GRACE_NONE;
    gc->own_busy = store_task_begin(porter->store, &gc->own) == 0;
}

uint32_t gc_duty(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (gc->ages.sampling) {
        return ages_take(&gc->ages, porter);
    }
    if (gc->ages.count == 0 || porter->now_ns >= gc->ages.sampled_ns + GC_SAMPLE_NS) {
        ages_ask(&gc->ages, porter);
        if (porter->store->config.gc_watermark_percent > 0) {
            watermark(porter);
        }
    }
    return 0;
}
