/* SPDX-License-Identifier: MIT */
#include "engine/core.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/must.h"
#include "engine/dispatch.h"
#include "engine/engine_private.h"
#include "engine/heap.h"
#include "engine/helper.h"
#include "engine/net.h"
#include "engine/porter.h"
#include "engine/work.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>

COUNTER_NAMES(core, CORE_COUNTERS);

#define CORE_ENTRIES 4096u /* submissions of one turn */
#define CORE_EVENTS  256u  /* completions handled in one turn */

int core_open(struct core *core, struct engine *engine, uint32_t index,
              const struct layout_core *place) {
    core->engine = engine;
    core->index = index;
    core->place = *place;
    atomic_store_explicit(&core->settings, &engine->published[0], memory_order_relaxed); /* boot */
    bool serves = place->net || place->work;
    int r = io_open(&core->io, serves ? CORE_ENTRIES : 256);
    if (r < 0) {
        return err_pass(r);
    }
    core->bell.ring_fd = io_fd(&core->io);
    return 0;
}

void core_close(struct core *core) {
    if (core->bell.ring_fd > 0) {
        io_close(&core->io);
    }
    arena_close(core->arena);
    arena_close(core->frames);
    mem_close(&core->region);
}

uint32_t core_ring_bells(struct core *core) {
    uint32_t rung = 0;
    uint64_t told = core->bells & ~(UINT64_C(1) << core->index); /* this core is awake */
    core->bells = 0;
    while (told) {
        uint32_t target = (uint32_t)__builtin_ctzll(told);
        told &= told - 1;
        struct bell *bell = &core->engine->cores[target].bell;
        if (bell_must_ring(bell)) {
            io_bell(&core->io, bell->ring_fd);
            rung++;
        }
    }
    if (rung) {
        counter_add(&core->counters.rings_sent, rung);
    }
    return rung;
}

void core_ring_now(struct core *core) {
    if (core_ring_bells(core) > 0) {
        int r = io_enter(&core->io, false, 0);
        must(r == 0);
    }
}

void core_ask(struct core *core, enum core_wish wish, struct io *control_io) {
    atomic_store_explicit(&core->wish, wish, memory_order_release); /* pairs with take_wish */
    if (bell_must_ring(&core->bell) && control_io) {
        io_bell(control_io, core->bell.ring_fd);
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

#define CORE_FREE_BYTES (1 * MiB) /* of an arena, that may stay for its next bodies */

static void trim(struct arena *arena) {
    if (arena && arena_committed(arena) > arena_used(arena) + CORE_FREE_BYTES) {
        arena_trim(arena);
    }
}

void core_trim(struct core *core) {
    if (core->engine->settings.memory_budget_bytes != 0) {
        trim(core->arena);
        trim(core->frames);
    }
}

static void tick(struct core *core) {
    uint32_t wish = atomic_load_explicit(&core->wish, memory_order_relaxed);
    uint64_t period_ns =
        wish == WISH_RUN ? CORE_TICK_NS : CORE_TICK_NS / 10; /* draining: look often */
    core->tick_ns = core->now_ns + period_ns;
    io_tick(&core->io, period_ns);
    /* Acquire: pairs with control's release after the new settings were written. */
    struct settings *settings = atomic_load_explicit(&core->engine->current, memory_order_acquire);
    if (core->net) {
        if (core->net->settings != settings) {
            net_apply(core->net, settings);
        }
        net_tick(core->net);
    }
    /* Release: pairs with control, which overwrites the block this core has let go. */
    atomic_store_explicit(&core->settings, settings, memory_order_release);
    if (core->dispatch) {
        dispatch_tick(core->dispatch);
    }
    core_trim(core);
    counter_set(&core->counters.enters, core->io.enters);
    counter_set(&core->counters.heap_calls, heap_sealed_calls());
}

/* Returns: false when the core is to end. */
static bool take_wish(struct core *core) {
    enum core_wish wish = (enum core_wish)atomic_load_explicit(&core->wish, memory_order_acquire);
    core->wish_seen = wish;
    if (wish == WISH_RUN) {
        return true;
    }
    if (core->net) {
        net_drain(core->net, wish >= WISH_DRAIN_HARD);
    }
    bool drained = (!core->net || net_drained(core->net)) && (!core->work || work_idle(core->work));
    atomic_store_explicit(&core->drained, drained, memory_order_release); /* read by control */
    return wish != WISH_HALT;
}

/* The connection that another core should have had ends here; its place is free again. */
static void adopt_failed(struct core *core, const struct io_event *event) {
    const struct engine *engine = core->engine;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        if (((uint32_t)io_fd(&engine->cores[i].io) & 0xffffffu) == event->generation) {
            must(core->net->assigned[i] > 0);
            core->net->assigned[i]--;
        }
    }
    io_close_fd(&core->io, (int)event->slot);
    counter_add(&core->counters.adopts_failed, 1);
}

static uint32_t reap(struct core *core) {
    struct io_event events[CORE_EVENTS];
    core->rung = false;
    uint32_t count = io_reap(&core->io, events, CORE_EVENTS);
    for (uint32_t i = 0; i < count; i++) {
        if (events[i].op == IO_BELL) {
            core->rung = true;
        } else if (events[i].op == IO_TICK) {
            tick(core);
        } else if (events[i].op == IO_ADOPTED) {
            adopt_failed(core, &events[i]);
        } else {
            must(core->net != NULL); /* only net tiles have sockets */
            net_event(core->net, &events[i]);
        }
    }
    return count;
}

/* What others gave this core: the rings of its tiles, and control's word. */
static bool was_given(const struct core *core) {
    return (core->net && net_has_input(core->net)) ||
           (core->dispatch && dispatch_has_input(core->dispatch)) ||
           (core->work && work_has_input(core->work)) ||
           atomic_load_explicit(&core->wish, memory_order_relaxed) != core->wish_seen;
}

/* Every input once more, after the bell was armed: what came before the arming rings no bell. */
static bool has_input(struct core *core) {
    return io_pending(&core->io) || was_given(core);
}

/* How long a wait may last. Returns: 0 when nothing is due before the standing tick. */
static uint64_t wait_limit(const struct core *core) {
    uint64_t due = UINT64_MAX;
    if (core->dispatch) {
        due = min_u64(due, dispatch_due_ns(core->dispatch));
    }
    if (core->work) {
        due = min_u64(due, work_due_ns(core->work));
    }
    if (due >= core->tick_ns) {
        return 0;
    }
    return due > core->now_ns + 1000 ? due - core->now_ns : 1000;
}

/* A core that is ours alone looks on a little before it parks: at most what a park would cost. */
static bool spin(struct core *core) {
    if (core->spin_ns_max == 0) {
        return false;
    }
    uint64_t due_ns = wait_limit(core); /* 0: nothing is due while we may spin */
    uint64_t limit_ns = due_ns ? min_u64(due_ns, core->spin_ns_max) : core->spin_ns_max;
    uint64_t start = clock_ns();
    uint64_t now = start;
    bool found = false;
    while (!found && now - start < limit_ns) {
        int r = io_enter(&core->io, false, 0);
        must(r == 0);
        found = has_input(core);
        now = clock_ns();
    }
    counter_add(&core->counters.spin_ns, now - start);
    return found || limit_ns == due_ns;
}

/* Enters the kernel once: to wait if nothing is left to do, else to submit and look. */
static void core_enter(struct core *core, bool backlog) {
    int r;
    if (backlog || spin(core)) {
        r = io_enter(&core->io, false, 0);
        must(r == 0);
        return;
    }
    bell_arm(&core->bell);
    if (has_input(core)) {
        bell_disarm(&core->bell);
        r = io_enter(&core->io, false, 0);
        must(r == 0);
        return;
    }
    uint64_t before = clock_ns();
    counter_add(&core->counters.busy_ns, before - core->now_ns);
    counter_add(&core->counters.parks, 1);
    store_park(core->engine->store, core->index);
    r = io_enter(&core->io, true, wait_limit(core));
    must(r == 0);
    bell_disarm(&core->bell);
    core->now_ns = clock_ns();
}

/* One turn: every tile works a bounded amount, then the kernel is entered once. */
static void turn(struct core *core) {
    bool backlog = reap(core) == CORE_EVENTS;
    if (core->rung && !was_given(core)) {
        counter_add(&core->counters.rings_spurious, 1);
    }
    if (core->net) {
        backlog |= net_poll(core->net);
    }
    if (core->dispatch) {
        backlog |= dispatch_poll(core->dispatch);
    }
    if (core->work) {
        if (work_is_long(core->work)) {
            core_ring_now(core); /* what others wait for must not wait for a hash */
        }
        backlog |= work_poll(core->work);
    }
    if (core->dispatch && dispatch_has_input(core->dispatch)) {
        backlog = true; /* this core's own work tile sent containers home: a batch may close */
    }
    if (core->net) {
        (void)net_collect(core->net);
        backlog |= net_flush(core->net);
    }
    (void)core_ring_bells(core);
    core_enter(core, backlog);
}

static void pin(const struct core *core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core->place.cpu, &set);
    (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set); /* the layout checked the CPU */
}

/* No core takes a connection before every ring is enabled: one that is not refuses what is handed
 * to it. Returns: false where the boot was given up. */
static bool await_go(struct core *core) {
    while (!atomic_load_explicit(&core->engine->go, memory_order_acquire)) { /* pairs with launch */
        if (atomic_load_explicit(&core->wish, memory_order_acquire) == WISH_HALT) {
            return false;
        }
        sched_yield();
    }
    return true;
}

static void run(struct core *core) {
    if (!await_go(core)) {
        return;
    }
    core->now_ns = clock_ns();
    tick(core);
    if (core->net) {
        net_start(core->net);
    }
    bool going = true;
    while (going) {
        uint64_t before = core->now_ns;
        store_turn(core->engine->store, core->index);
        turn(core);
        uint64_t now = clock_ns();
        counter_add(&core->counters.turns, 1);
        counter_add(&core->counters.busy_ns, now - max_u64(before, core->now_ns));
        core->now_ns = now;
        if (unlikely(atomic_load_explicit(&core->wish, memory_order_relaxed) != WISH_RUN)) {
            going = take_wish(core);
        }
    }
    store_park(core->engine->store, core->index);
}

static void *core_main(void *argument) {
    struct core *core = argument;
    char name[16];
    bool tiles = !core->helper && !core->porter;
    if (tiles) {
        (void)snprintf(name, sizeof name, "core %u", core->place.name);
    } else {
        (void)snprintf(name, sizeof name, "%s", core->porter ? "porter" : "helper");
    }
    (void)pthread_setname_np(pthread_self(), name);
    if (tiles) {
        pin(core);
    }
    int r = io_start(&core->io);
    if (r < 0) {
        core->failure = r;
        atomic_store_explicit(&core->life, CORE_FAIL, memory_order_release);
        return NULL;
    }
    atomic_store_explicit(&core->life, CORE_RUN,
                          memory_order_release); /* pairs with the wait of engine.c */
    if (core->helper) {
        helper_run(core);
    } else if (core->porter) {
        porter_run(core);
    } else {
        mem_seal();
        run(core);
        mem_unseal();
    }
    atomic_store_explicit(&core->life, CORE_DONE, memory_order_release);
    return NULL;
}

int core_launch(struct core *core) {
    int r = pthread_create(&core->thread, NULL, core_main, core);
    core->launched = r == 0;
    return err_raise(-r);
}

void core_join(struct core *core) {
    if (core->launched) {
        pthread_join(core->thread, NULL);
        core->launched = false;
    }
}
