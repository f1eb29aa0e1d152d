/* SPDX-License-Identifier: MIT */
#include "store/pinning.h"

#include "base/err.h"
#include "base/must.h"
#include "store/dag.h"
#include "store/gc.h"
#include "store/inside.h"
#include "store/text.h"

#include <errno.h>
#include <string.h>

enum pin_phase { PIN_WAITS, PIN_WALKS_ON, PIN_WRITES };

/* One task's work. */
struct pin_work {
    struct store_task *task; /* NULL: free */
    enum pin_phase phase;
    uint64_t round; /* of collections, when the walk began */
    bool walks;     /* dag and seen are open */
    struct dag dag;
    struct mark seen;
    struct note note; /* begins the operation at its keeper */
    struct store_op op;
    _Atomic bool ended; /* release by the keeper, acquire by the porter */
    uint8_t payload[PIN_PAYLOAD_MAX];
    struct pin_page page;
};

struct pinning {
    struct pin_work works[PORTER_TASKS_MAX]; /* touched as far as there are tasks */
    uint32_t walks;
    uint32_t writes; /* PIN records under way */
    struct peek peek;
};

int pinning_open(struct porter *porter) {
    porter->pinning = vm_map(sizeof *porter->pinning);
    return porter->pinning ? peek_open(&porter->pinning->peek, porter->store) : err_raise(-ENOMEM);
}

static void walk_end(struct pinning *pinning, struct pin_work *work) {
    if (work->walks) {
        dag_close(&work->dag);
        mark_fini(&work->seen);
        work->walks = false;
        pinning->walks--;
    }
}

void pinning_close(struct porter *porter) {
    struct pinning *pinning = porter->pinning;
    if (!pinning) {
        return;
    }
    for (uint32_t i = 0; i < PORTER_TASKS_MAX; i++) {
        walk_end(pinning, &pinning->works[i]);
    }
    peek_close(&pinning->peek);
    vm_unmap(pinning, sizeof *pinning);
    porter->pinning = NULL;
}

uint32_t pinning_writes(const struct porter *porter) {
    return porter->pinning->writes;
}

uint32_t pinning_walks(const struct porter *porter) {
    return porter->pinning->walks;
}

static struct pin_work *work_of(struct pinning *pinning, struct store_task *task) {
    struct pin_work *free_one = NULL;
    for (uint32_t i = 0; i < PORTER_TASKS_MAX; i++) {
        struct pin_work *work = &pinning->works[i];
        if (work->task == task) {
            return work;
        }
        free_one = free_one || work->task ? free_one : work;
    }
    must(free_one != NULL); /* no more tasks than works */
    free_one->task = task;
    free_one->phase = PIN_WAITS;
    return free_one;
}

static void end(struct porter *porter, struct pin_work *work, int32_t result, const char *why) {
    struct store_task *task = work->task;
    walk_end(porter->pinning, work);
    work->task = NULL;
    porter_finish(porter, task, result, why);
}

/* --- the record ------------------------------------------------------------------------------- */

static void write_ended(struct store_op *op) {
    struct pin_work *work = op->user;
    atomic_store_explicit(&work->ended, true, memory_order_release); /* pairs with written */
}

static void write_begin_note(struct keeper *keeper, struct note *note) {
    struct pin_work *work = container_of(note, struct pin_work, note);
    keeper_begin(keeper, &work->op);
}

static void write_begin(struct porter *porter, struct pin_work *work, uint8_t kind) {
    const struct store_pin *pin = &work->task->ask.pin;
    work->phase = PIN_WRITES;
    work->op = (struct store_op){.user = work,
                                 .key = pin->key,
                                 .kind = kind,
                                 .codec = pin->codec,
                                 .data = work->payload,
                                 .done = write_ended};
    if (kind == STORE_PIN) {
        work->op.bytes = pin_write(pin, work->payload);
        porter->pinning->writes++;
    }
    atomic_store_explicit(&work->ended, false, memory_order_relaxed); /* the note publishes it */
    work->note.run = write_begin_note;
    note_post(porter->store, store_keeper_of(porter->store, &pin->key), &work->note);
}

static bool written(const struct pin_work *work) {
    return note_done(&work->note) && atomic_load_explicit(&work->ended, memory_order_acquire);
}

static const char *write_why(const struct store_op *op) {
    switch (op->result) {
    case 0:
        return NULL;
    case STORE_ABSENT:
        return "it is not pinned";
    case STORE_PINNED:
        return "it is pinned recursively already; unpin it first to pin the block alone";
    case STORE_FULL:
        return "no space for the record of a pin, or as many pins as there may be";
    case STORE_READONLY:
        return "the store takes no writes";
    default:
        return op->result < 0 ? err_text(op->result) : "the record was not written";
    }
}

/* --- PIN -------------------------------------------------------------------------------------- */

static void walk_begin(struct porter *porter, struct pin_work *work) {
    const struct store_pin *pin = &work->task->ask.pin;
    struct pinning *pinning = porter->pinning;
    work->phase = PIN_WALKS_ON;
    work->round = gc_round(porter);
    if (!work->walks) {
        mark_init(&work->seen, porter->store->config.gc_memory_bytes);
        int r = dag_open(&work->dag, porter->store, &work->seen);
        if (r != 0) {
            end(porter, work, r, "no memory for a walk");
            return;
        }
        work->walks = true;
        pinning->walks++;
    }
    mark_fini(&work->seen);
    work->dag.marks = gc_marks(porter);
    work->dag.blocks = 0;
    /* Alone, a block is a leaf whatever its codec. */
    dag_begin(&work->dag, &pin->key, pin->mode == STORE_PIN_DIRECT ? CID_RAW : pin->codec);
}

static uint32_t walk_step(struct porter *porter, struct pin_work *work) {
    struct store_task *task = work->task;
    if (gc_round(porter) != work->round) {
        walk_begin(porter, work); /* a collection began, or ended: it is marked from the start */
        return 1;
    }
    work->dag.peek = &porter->pinning->peek;
    int r = dag_step(&work->dag);
    counter_set(&task->seen, work->dag.blocks);
    counter_set(&task->blocks, work->dag.blocks);
    if (r == DAG_MORE) {
        return 1;
    }
    if (r != 0) {
        char why[sizeof task->why] = "";
        dag_why(&work->dag, r, why, sizeof why);
        end(porter, work, r, why);
        return 1;
    }
    if (gc_waits(porter)) {
        return 0; /* it begins in a moment, and this walk anew */
    }
    walk_end(porter->pinning, work);
    write_begin(porter, work, STORE_PIN);
    return 1;
}

uint32_t pinning_step_pin(struct porter *porter, struct store_task *task) {
    struct pin_work *work = work_of(porter->pinning, task);
    if (work->phase == PIN_WRITES) {
        if (!written(work)) {
            return 0;
        }
        porter->pinning->writes--;
        end(porter, work, work->op.result, write_why(&work->op));
        return 1;
    }
    if (porter_canceled(porter, task)) {
        end(porter, work, STORE_RETRY, "canceled");
        return 1;
    }
    if (gc_sweeps(porter)) {
        return 0;
    }
    if (work->phase == PIN_WALKS_ON) {
        return walk_step(porter, work);
    }
    if (porter->pinning->walks < PIN_WALKS && !gc_settles(porter)) {
        walk_begin(porter, work);
        return 1;
    }
    return 0;
}

/* --- UNPIN ------------------------------------------------------------------------------------ */

uint32_t pinning_step_unpin(struct porter *porter, struct store_task *task) {
    struct pin_work *work = work_of(porter->pinning, task);
    if (work->phase == PIN_WAITS) {
        write_begin(porter, work, STORE_UNPIN);
        return 1;
    }
    if (!written(work)) {
        return 0;
    }
    end(porter, work, work->op.result, write_why(&work->op));
    return 1;
}

/* --- PINS ------------------------------------------------------------------------------------- */

static void page_copy(struct keeper *keeper, struct note *note) {
    struct pin_page *page = container_of(note, struct pin_page, note);
    page->count = pins_page(&keeper->pins, &page->cursor, page->pins, page->max);
}

void pin_page_ask(struct store *store, uint32_t keeper, struct pin_page *page) {
    must(page->max <= PIN_PAGE);
    page->note.run = page_copy;
    note_post(store, keeper, &page->note);
}

/* The cursor is keeper << 32 | slot, UINT64_MAX at the end. */
static void page_take(struct store_pins *list, struct pin_page *page) {
    memcpy(list->pins + list->count, page->pins, page->count * sizeof *page->pins);
    list->count += page->count;
    uint64_t keeper = list->cursor >> 32;
    list->cursor = page->cursor != PINS_NONE ? keeper << 32 | page->cursor : (keeper + 1) << 32;
}

uint32_t pinning_step_list(struct porter *porter, struct store_task *task) {
    struct pin_work *work = work_of(porter->pinning, task);
    struct store_pins *list = &task->ask.pins;
    struct pin_page *page = &work->page;
    if (work->phase == PIN_WRITES) { /* a page is out */
        if (!note_done(&page->note)) {
            return 0;
        }
        page_take(list, page);
        work->phase = PIN_WAITS;
    }
    if (list->cursor >> 32 >= porter->store->config.keepers) {
        list->cursor = UINT64_MAX;
    }
    if (list->cursor == UINT64_MAX || list->count == list->max) {
        end(porter, work, 0, NULL);
        return 1;
    }
    page->cursor = (uint32_t)list->cursor;
    uint32_t room = list->max - list->count;
    page->max = room < PIN_PAGE ? room : PIN_PAGE;
    work->phase = PIN_WRITES;
    pin_page_ask(porter->store, (uint32_t)(list->cursor >> 32), page);
    return 1;
}
