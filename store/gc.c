/* SPDX-License-Identifier: MIT */
#include "store/gc.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/dag.h"
#include "store/inside.h"
#include "store/pinning.h"
#include "store/text.h"

#include <errno.h>
#include <string.h>

enum gc_phase { GC_QUIET, GC_AGE, GC_MARK, GC_SETTLE, GC_SWEEP };

/* What was acknowledged at a time: the time was read after the words. */
struct sample {
    uint64_t at_ns;
    uint64_t lsn[STORE_KEEPERS_MAX];
};

struct ask_lsn {
    struct note note;
    uint64_t lsn;
};

/* Deletes under way at one keeper. */
struct sweep {
    struct note note;
    uint32_t count;
    _Atomic uint32_t left; /* release by the keeper, acquire by the porter */
    struct sweep_item items[GC_BATCH];
};

struct gc {
    struct sample samples[GC_SAMPLES];
    uint32_t sample_count;
    uint64_t sampled_ns;
    bool sampling; /* the notes are out */
    struct ask_lsn asks[STORE_KEEPERS_MAX];

    struct store_task *task; /* the collection under way, or NULL */
    enum gc_phase phase;
    uint64_t round;
    bool marking;
    uint64_t limit[STORE_KEEPERS_MAX]; /* M */
    struct mark marks;
    struct dag dag;
    bool walks; /* dag is open */
    struct peek peek;

    uint32_t keeper; /* whose pins are listed */
    struct pin_page page;
    uint32_t at; /* in the page */
    bool listing;
    bool walking;

    uint64_t cursor; /* of the sweep */
    struct store_item items[GC_BATCH];
    void *window;         /* WALK_BYTES */
    struct sweep *sweeps; /* [keepers] */
    bool out;             /* deletes are under way */
    bool walk_waits;      /* and a pin's walk waits for them */
    int32_t failed;       /* first of the sweep's results that was none of the expected */

    struct store_task own; /* begun by the watermark */
    bool own_busy;
    uint64_t own_ended_ns; /* 0: never */
};

int gc_open(struct porter *porter) {
    struct store *store = porter->store;
    struct gc *gc = vm_map(sizeof *gc);
    porter->gc = gc;
    if (!gc) {
        return err_raise(-ENOMEM);
    }
    gc->window = vm_map(WALK_BYTES);
    gc->sweeps = vm_map(store->config.keepers * sizeof *gc->sweeps);
    if (!gc->window || !gc->sweeps) {
        return err_raise(-ENOMEM);
    }
    return peek_open(&gc->peek, store);
}

static void marks_end(struct gc *gc) {
    gc->marking = false;
    gc->round++;
    mark_fini(&gc->marks);
    if (gc->walks) {
        dag_close(&gc->dag);
        gc->walks = false;
    }
}

void gc_close(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (!gc) {
        return;
    }
    marks_end(gc);
    peek_close(&gc->peek);
    vm_unmap(gc->window, WALK_BYTES);
    vm_unmap(gc->sweeps, porter->store->config.keepers * sizeof *gc->sweeps);
    vm_unmap(gc, sizeof *gc);
    porter->gc = NULL;
}

uint64_t gc_round(const struct porter *porter) {
    return porter->gc->round;
}

struct mark *gc_marks(const struct porter *porter) {
    return porter->gc->marking ? &porter->gc->marks : NULL;
}

bool gc_waits(const struct porter *porter) {
    return porter->gc->task && porter->gc->phase == GC_QUIET;
}

bool gc_settles(const struct porter *porter) {
    return porter->gc->task && porter->gc->phase == GC_SETTLE;
}

bool gc_sweeps(struct porter *porter) {
    porter->gc->walk_waits |= porter->gc->out;
    return porter->gc->out;
}

/* --- age -------------------------------------------------------------------------------------- */

static void lsn_note(struct keeper *keeper, struct note *note) {
    container_of(note, struct ask_lsn, note)->lsn = keeper->log.durable_lsn;
}

static void lsn_ask(struct porter *porter) {
    for (uint32_t k = 0; k < porter->store->config.keepers; k++) {
        porter->gc->asks[k].note.run = lsn_note;
        note_post(porter->store, k, &porter->gc->asks[k].note);
    }
    porter->gc->sampling = true;
}

/* Of the older half every second one goes: the further back, the coarser. */
static void samples_thin(struct gc *gc) {
    uint32_t kept = 1; /* the first tells this start from those before */
    for (uint32_t i = 1; i < gc->sample_count; i++) {
        if (i >= GC_SAMPLES / 2 || i % 2 == 0) {
            gc->samples[kept++] = gc->samples[i];
        }
    }
    gc->sample_count = kept;
}

/* Returns: true when all have answered. */
static bool lsn_take(struct porter *porter) {
    struct gc *gc = porter->gc;
    for (uint32_t k = 0; k < porter->store->config.keepers; k++) {
        if (!note_done(&gc->asks[k].note)) {
            return false;
        }
    }
    if (gc->sample_count == GC_SAMPLES) {
        samples_thin(gc);
    }
    struct sample *sample = &gc->samples[gc->sample_count++];
    sample->at_ns = porter->now_ns;
    for (uint32_t k = 0; k < porter->store->config.keepers; k++) {
        sample->lsn[k] = gc->asks[k].lsn;
    }
    gc->sampled_ns = porter->now_ns;
    gc->sampling = false;
    return true;
}

/* M for this grace: of the latest sample that is as old, or nothing. */
static void limit_set(struct porter *porter, uint64_t grace_ns) {
    struct gc *gc = porter->gc;
    memset(gc->limit, 0, sizeof gc->limit);
    for (uint32_t i = gc->sample_count; i-- > 0;) {
        if (gc->samples[i].at_ns + grace_ns <= porter->now_ns) {
            memcpy(gc->limit, gc->samples[i].lsn, sizeof gc->limit);
            return;
        }
    }
}

/* --- the end ---------------------------------------------------------------------------------- */

static void finish(struct porter *porter, int32_t result, const char *why) {
    struct gc *gc = porter->gc;
    struct store_task *task = gc->task;
    marks_end(gc);
    gc->task = NULL;
    porter_finish(porter, task, result, why);
}

/* --- mark ------------------------------------------------------------------------------------- */

static void stop_at(struct porter *porter, int32_t result) {
    struct gc *gc = porter->gc;
    char why[sizeof gc->task->why] = "nothing was collected: of the DAG pinned as ";
    struct text text = {why, sizeof why, strlen(why)};
    char name[CID_TEXT_MAX];
    struct cid cid;
    const struct store_pin *pin = &gc->page.pins[gc->at];
    cid_of_key(&pin->key, pin->codec, &cid);
    (void)cid_format(&cid, name);
    text_add(&text, name);
    text_add(&text, ", ");
    dag_why(&gc->dag, result, why, sizeof why);
    text.used = strlen(why);
    text_add(&text, "; bring it back (millrace fetch --dag, or add it again), or unpin that DAG");
    finish(porter, result, why);
}

static void pin_mark(struct porter *porter) {
    struct gc *gc = porter->gc;
    const struct store_pin *pin = &gc->page.pins[gc->at];
    if (pin->mode == STORE_PIN_RECURSIVE) {
        dag_begin(&gc->dag, &pin->key, pin->codec);
        gc->walking = true;
        return;
    }
    int r = mark_add(&gc->marks, store_hash(porter->store, &pin->key));
    if (r < 0 || r == MARK_FULL) {
        finish(porter, r < 0 ? r : STORE_FULL, "the mark set has no room for all that is pinned");
        return;
    }
    gc->at++;
}

static void mark_walk(struct porter *porter) {
    struct gc *gc = porter->gc;
    gc->dag.peek = &gc->peek;
    int r = dag_step(&gc->dag);
    counter_set(&gc->task->seen, gc->dag.blocks);
    if (r == DAG_MORE) {
        return;
    }
    gc->walking = false;
    if (r != 0) {
        stop_at(porter, r);
        return;
    }
    gc->at++;
}

static uint32_t mark_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (gc->walking) {
        mark_walk(porter);
        return 1;
    }
    if (!gc->listing && gc->at < gc->page.count) {
        pin_mark(porter);
        return 1;
    }
    if (gc->listing) {
        if (!note_done(&gc->page.note)) {
            return 0;
        }
        gc->listing = false;
        gc->at = 0;
        return 1;
    }
    if (gc->page.cursor == PINS_NONE) {
        gc->keeper++;
        gc->page.cursor = 0;
    }
    if (gc->keeper < porter->store->config.keepers) {
        gc->page.max = PIN_PAGE;
        gc->listing = true;
        pin_page_ask(porter->store, gc->keeper, &gc->page);
        return 1;
    }
    gc->phase = GC_SETTLE;
    return 1;
}

/* Walks that began by now end before anything is deleted: what they have not reached yet is not
 * marked yet. */
static uint32_t settle_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (pinning_walks(porter) > 0) {
        return 0;
    }
    gc->phase = GC_SWEEP;
    gc->cursor = 0;
    gc->failed = 0;
    counter_set(&gc->task->seen, 0);
    counter_set(&gc->task->total, catalog_entries(&porter->store->catalog));
    counter_set(&gc->task->phase, GC_SWEEP);
    return 1;
}

/* --- sweep, at the keeper --------------------------------------------------------------------- */

bool gc_touch(struct keeper *keeper, uint64_t hash, uint64_t place, bool touched) {
    struct entry entry = store_entry(keeper->store, hash, place);
    if (!entry.bucket) {
        return false;
    }
    uint64_t word = entry_place(&entry);
    uint64_t next = touched ? word | PLACE_PINNED : word & ~PLACE_PINNED;
    bool was = (word & PLACE_PINNED) != 0;
    if (place_resident(word)) { /* what the entry is given back when the frame goes */
        struct frame *frame = store_frame(keeper->store, word);
        uint64_t kept = atomic_load_explicit(&frame->place, memory_order_relaxed);
        kept = touched ? kept | PLACE_PINNED : kept & ~PLACE_PINNED;
        atomic_store_explicit(&frame->place, kept, memory_order_relaxed); /* the owner's word */
    }
    if (next != word) {
        entry_set(&entry, next);
    }
    return was;
}

void gc_resolve(struct keeper *keeper, struct store_op *op) {
    struct sweep_item *item = container_of(op, struct sweep_item, op);
    struct op_state *state = op_state(op);
    if (!store_entry(keeper->store, state->hash, item->place).bucket) {
        order_fail(keeper, op, STORE_ABSENT);
    } else if (gc_touch(keeper, state->hash, item->place, false)) {
        order_fail(keeper, op, STORE_RETRY);
    } else if (pins_has(&keeper->pins, state->hash)) {
        order_fail(keeper, op, STORE_PINNED);
    } else {
        state->place = item->place;
        log_append(keeper, op);
    }
}

static void swept(struct store_op *op) {
    struct sweep *sweep = op->user;
    atomic_fetch_sub_explicit(&sweep->left, 1, memory_order_release); /* pairs with sweep_in */
}

static void sweep_note(struct keeper *keeper, struct note *note) {
    struct sweep *sweep = container_of(note, struct sweep, note);
    for (uint32_t i = 0; i < sweep->count; i++) {
        keeper_begin(keeper, &sweep->items[i].op);
    }
}

/* --- sweep, at the porter --------------------------------------------------------------------- */

static bool sweep_in(const struct sweep *sweep) {
    return sweep->count == 0 || (note_done(&sweep->note) &&
                                 atomic_load_explicit(&sweep->left, memory_order_acquire) == 0);
}

/* Returns: true when no delete is out any more; their results are counted. */
static bool sweeps_in(struct porter *porter) {
    struct gc *gc = porter->gc;
    uint32_t keepers = porter->store->config.keepers;
    for (uint32_t k = 0; k < keepers; k++) {
        if (!sweep_in(&gc->sweeps[k])) {
            return false;
        }
    }
    for (uint32_t k = 0; k < keepers; k++) {
        struct sweep *sweep = &gc->sweeps[k];
        for (uint32_t i = 0; i < sweep->count; i++) {
            const struct store_op *op = &sweep->items[i].op;
            if (op->result == 0) {
                counter_add(&gc->task->blocks, 1);
                counter_add(&gc->task->bytes, op->bytes);
            } else if (op->result < 0 || op->result == STORE_FULL || op->result == STORE_READONLY) {
                gc->failed = gc->failed ? gc->failed : op->result;
            }
        }
        sweep->count = 0;
    }
    gc->out = false;
    return true;
}

static bool is_touched(struct porter *porter, const struct store_item *item) {
    struct store *store = porter->store;
    turn_begin(&store->turns, porter->reader);
    struct entry entry = store_entry(store, item->hash, item->place.word);
    bool touched = entry.bucket && (entry_place(&entry) & PLACE_PINNED) != 0;
    turn_park(&store->turns, porter->reader);
    return touched;
}

static void sweep_take(struct porter *porter, const struct store_item *item) {
    struct gc *gc = porter->gc;
    uint32_t keeper = hash_keeper(porter->store, item->hash);
    if (item->birth_lsn > gc->limit[keeper] || mark_has(&gc->marks, item->hash)) {
        return;
    }
    if (gc->task->ask.gc.dry_run) {
        if (!is_touched(porter, item)) {
            counter_add(&gc->task->blocks, 1);
            counter_add(&gc->task->bytes, item->bytes);
        }
        return;
    }
    struct sweep *sweep = &gc->sweeps[keeper];
    struct sweep_item *to = &sweep->items[sweep->count++];
    *to = (struct sweep_item){.op = {.user = sweep,
                                     .key = item->key,
                                     .kind = STORE_SWEEP,
                                     .bytes = item->bytes,
                                     .done = swept},
                              .place = item->place.word};
}

static void sweeps_out(struct porter *porter) {
    struct gc *gc = porter->gc;
    for (uint32_t k = 0; k < porter->store->config.keepers; k++) {
        struct sweep *sweep = &gc->sweeps[k];
        if (sweep->count > 0) {
            atomic_store_explicit(&sweep->left, sweep->count, memory_order_relaxed);
            sweep->note.run = sweep_note;
            note_post(porter->store, k, &sweep->note);
            gc->out = true;
        }
    }
}

static void sweep_end(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (gc->failed != 0) {
        finish(porter, gc->failed,
               gc->failed == STORE_FULL
                   ? "there is no space for more tombstones; what was deleted stays deleted"
                   : "the store takes no writes");
    } else {
        finish(porter, 0, NULL);
    }
}

static uint32_t sweep_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (gc->out && !sweeps_in(porter)) {
        return 0;
    }
    if (porter_canceled(porter, gc->task)) {
        finish(porter, STORE_RETRY, "canceled; what was deleted stays deleted");
        return 1;
    }
    if (gc->walk_waits) { /* a pin's walk has this round */
        gc->walk_waits = false;
        return 1;
    }
    if (gc->failed != 0 || gc->cursor == UINT64_MAX) {
        sweep_end(porter);
        return 1;
    }
    uint32_t count = 0;
    struct page_view view = {gc->window, porter->reader, .stored = true};
    int r = page_read(porter->store, &view, &gc->cursor, gc->items, GC_BATCH, &count);
    if (r != 0) {
        finish(porter, r, "the list of blocks cannot be read");
        return 1;
    }
    for (uint32_t i = 0; i < count; i++) {
        sweep_take(porter, &gc->items[i]);
    }
    counter_add(&gc->task->seen, count);
    sweeps_out(porter);
    return 1;
}

/* --- the task --------------------------------------------------------------------------------- */

static uint32_t quiet_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    if (pinning_writes(porter) > 0 || gc->sampling) {
        return 0;
    }
    int r = dag_open(&gc->dag, porter->store, &gc->marks);
    if (r != 0) {
        finish(porter, r, "no memory for a walk");
        return 1;
    }
    gc->walks = true;
    gc->dag.shared = true;
    mark_init(&gc->marks, porter->store->config.gc_memory_bytes);
    gc->marking = true;
    gc->round++;
    gc->phase = GC_AGE;
    lsn_ask(porter);
    return 1;
}

static uint32_t age_step(struct porter *porter) {
    struct gc *gc = porter->gc;
    uint64_t grace_ns = gc->task->ask.gc.grace_ns;
    grace_ns = grace_ns == GC_GRACE_NONE ? porter->store->config.gc_grace_ns : grace_ns;
    if (gc->sampling) {
        return 0; /* the duty takes them */
    }
    limit_set(porter, grace_ns);
    gc->keeper = 0;
    gc->page.cursor = 0;
    gc->page.count = gc->at = 0;
    gc->listing = gc->walking = false;
    gc->phase = GC_MARK;
    counter_set(&gc->task->phase, GC_MARK);
    return 1;
}

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
        gc->out = gc->walk_waits = false;
    }
    if (gc->phase != GC_SWEEP && porter_canceled(porter, task)) {
        if (gc->listing && !note_done(&gc->page.note)) {
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
        return sweep_step(porter);
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
    if (gc->sampling) {
        return lsn_take(porter);
    }
    if (gc->sample_count == 0 || porter->now_ns >= gc->sampled_ns + GC_SAMPLE_NS) {
        lsn_ask(porter);
        if (porter->store->config.gc_watermark_percent > 0) {
            watermark(porter);
        }
    }
    return 0;
}
