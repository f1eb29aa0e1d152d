/* SPDX-License-Identifier: MIT */
#include "engine/helper.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "engine/engine_private.h"
#include "engine/stat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HELPER_REST_NS (20 * NS_PER_MS) /* between looks at the store's spare segments */

/* A pin on its way through the porter. */
struct helper_pin {
    struct store_task task;
    struct helper *helper;
    struct job *job;         /* NULL: free */
    struct helper_pin *next; /* in the stack of those that are over */
};

struct helper {
    struct core *core;
    struct helper_pin pins[HELPER_PINS];
    _Atomic(struct helper_pin *) pinned; /* over: pushed to by the porter, taken by the helper */
    struct job_chain home[LAYOUT_CORES_MAX];
    struct helper_page pages[HELPER_PAGES];
};

int helper_open(struct core *core, struct helper **ret_helper) {
    struct helper *helper = calloc(1, sizeof *helper);
    if (!helper) {
        return err_raise(-ENOMEM);
    }
    helper->core = core;
    *ret_helper = helper;
    return 0;
}

void helper_close(struct helper *helper) {
    free(helper);
}

void helper_page_done(struct helper_page *page) {
    if (page) {
        atomic_store_explicit(&page->taken, 0, memory_order_release); /* pairs with take_page */
    }
}

static struct helper_page *take_page(struct helper *helper) {
    for (uint32_t i = 0; i < HELPER_PAGES; i++) {
        struct helper_page *page = &helper->pages[i];
        if (atomic_load_explicit(&page->taken, memory_order_acquire) == 0) {
            atomic_store_explicit(&page->taken, 1,
                                  memory_order_relaxed); /* only this thread takes */
            return page;
        }
    }
    return NULL;
}

/* A page of the catalog, as LIST's wire items: codec u32, bytes u32, multihash. */
static void fill_list(struct helper *helper, struct job *job, struct helper_page *page) {
    static struct store_item items[1024]; /* one helper, one thread */
    uint32_t max = min_u32(max_u32(job->arg, 1), array_count(items));
    uint32_t count = 0;
    memcpy(&page->cursor, job->key.digest, sizeof page->cursor);
    int r = store_page(helper->core->engine->store, &page->cursor, items, max, &count);
    if (page->cursor == UINT64_MAX) {
        page->cursor = 0; /* the store's word for the end, then the wire's (docs/protocol.md) */
    }
    page->bytes = 0;
    page->count = count;
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *at = page->body + page->bytes;
        put_be32(at, (uint32_t)items[i].codec);
        put_be32(at + 4, items[i].bytes);
        page->bytes += 8 + (uint32_t)key_write(&items[i].key, at + 8);
    }
    job->status = r == 0 ? JOB_OK : r == STORE_RETRY ? JOB_RETRY : JOB_FAILED;
}

static void send_home(struct helper *helper, struct job *job) {
    job_finish(job, clock_ns());
    job_chain_push(&helper->home[job->net], job);
}

/* ---- pins: the porter's work, begun and ended here ------------------------------------------ */

/* Thread: the porter. */
static void pin_over(struct store_task *task) {
    struct helper_pin *pin = container_of(task, struct helper_pin, task);
    struct helper *helper = pin->helper;
    struct engine *engine = helper->core->engine;
    struct helper_pin *head = atomic_load_explicit(&helper->pinned, memory_order_relaxed);
    do {
        pin->next = head;
    } while (!atomic_compare_exchange_weak_explicit(
        &helper->pinned, &head, pin, memory_order_release, /* pairs with take_pinned */
        memory_order_relaxed));
    core_tell(&engine->cores[engine->layout.count + 1], engine->layout.count);
}

static void set_status(struct job *job, int32_t result) {
    static const uint8_t statuses[] = {
        [0] = JOB_OK,
        [STORE_ABSENT] = JOB_ABSENT,
        [STORE_RETRY] = JOB_RETRY,
        [STORE_CORRUPT] = JOB_CORRUPT,
        [STORE_FULL] = JOB_FULL,
        [STORE_READONLY] = JOB_READONLY,
        [STORE_PINNED] = JOB_REFUSED,
    };
    bool refused = result == STORE_PINNED || result == -ENOTSUP;
    bool known = result >= 0 && (size_t)result < array_count(statuses);
    job->status = refused ? JOB_REFUSED : known ? statuses[result] : JOB_FAILED;
    job->arg = refused ? REFUSED_POLICY : REFUSED_NONE;
}

static void begin_pin(struct helper *helper, struct job *job) {
    struct helper_pin *pin = NULL;
    job->data = NULL;
    for (uint32_t i = 0; i < HELPER_PINS && !pin; i++) {
        pin = helper->pins[i].job ? NULL : &helper->pins[i];
    }
    int r = STORE_RETRY;
    if (pin) {
        pin->helper = helper;
        pin->job = job;
        pin->task = (struct store_task){
            .finished = pin_over, .kind = job->kind == JOB_PIN ? STORE_TASK_PIN : STORE_TASK_UNPIN};
        pin->task.ask.pin = (struct store_pin){
            .key = job->key, .codec = job->arg, .mode = (uint8_t)job->data_bytes};
        r = store_task_begin(helper->core->engine->store, &pin->task);
    }
    if (r == 0) {
        core_tell(helper->core, helper->core->engine->layout.count + 1); /* the porter may rest */
        return;
    }
    if (pin) {
        pin->job = NULL;
    }
    job->status = r == STORE_READONLY ? JOB_READONLY : JOB_BUSY;
    send_home(helper, job);
}

/* Returns: how many came. */
static uint32_t take_pinned(struct helper *helper) {
    struct helper_pin *pin = atomic_exchange_explicit(&helper->pinned, NULL, memory_order_acquire);
    uint32_t count = 0;
    while (pin) {
        struct helper_pin *next = pin->next;
        set_status(pin->job, pin->task.result);
        send_home(helper, pin->job);
        pin->job = NULL;
        pin = next;
        count++;
    }
    return count;
}

/* ---- one job -------------------------------------------------------------------------------- */

static void serve(struct helper *helper, struct job *job) {
    job_start(job, clock_ns());
    bool late = job->deadline_ms != 0 && job->started_ns > (uint64_t)job->deadline_ms * NS_PER_MS;
    bool pins = job->kind == JOB_PIN || job->kind == JOB_UNPIN;
    if (pins && !late) {
        begin_pin(helper, job);
        return;
    }
    struct helper_page *page = late ? NULL : take_page(helper);
    job->data = page;
    if (late) {
        job->status = JOB_EXPIRED;
    } else if (!page) {
        job->status = JOB_BUSY;
    } else if (job->kind == JOB_LIST) {
        fill_list(helper, job, page);
    } else {
        page->bytes =
            (uint32_t)stat_text(helper->core->engine, (char *)page->body, sizeof page->body);
        job->status = page->bytes > 0 ? JOB_OK : JOB_FAILED;
    }
    send_home(helper, job);
}

static void flush_home(struct helper *helper) {
    struct mesh *mesh = &helper->core->engine->mesh;
    for (uint32_t n = 0; n < mesh->core_count; n++) {
        if (helper->home[n].head) {
            bool pushed = ring_push_spsc(mesh->helper_done[n], helper->home[n].head);
            must(pushed); /* as large as all jobs of that tile */
            helper->home[n] = (struct job_chain){0};
            core_tell(helper->core, n);
        }
    }
    if (core_ring_bells(helper->core) > 0) {
        int r = io_enter(&helper->core->io, false, 0);
        must(r == 0);
    }
}

/* Waits a little, unless something came: its input and control's word are looked at once more after
 * the bell was armed. */
static void rest(struct core *core) {
    bell_arm(&core->bell);
    if (ring_count(core->engine->mesh.helper_in) == 0 &&
        !atomic_load_explicit(&core->helper->pinned, memory_order_acquire) &&
        atomic_load_explicit(&core->wish, memory_order_relaxed) != WISH_HALT) {
        counter_add(&core->counters.parks, 1);
        int r = io_enter(&core->io, true, HELPER_REST_NS);
        must(r == 0);
    }
    bell_disarm(&core->bell);
}

void helper_run(struct core *core) {
    struct engine *engine = core->engine;
    struct io_event events[16];
    while (atomic_load_explicit(&core->wish, memory_order_acquire) != WISH_HALT) {
        core->now_ns = clock_ns();
        counter_add(&core->counters.turns, 1);
        struct job *job;
        uint32_t served = 0;
        while (served < 16 && (job = ring_pop_mpmc(engine->mesh.helper_in)) != NULL) {
            serve(core->helper, job);
            served++;
        }
        served += take_pinned(core->helper);
        flush_home(core->helper);
        uint32_t kept = store_housekeep(engine->store);
        budget_watch(engine, core->now_ns);
        counter_add(&core->counters.busy_ns, clock_ns() - core->now_ns);
        if (served + kept == 0) {
            rest(core);
        }
        (void)io_reap(&core->io, events, array_count(events));
    }
}
