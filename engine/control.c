/* SPDX-License-Identifier: MIT */
#include "engine/control.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/must.h"
#include "engine/admin.h"
#include "engine/engine_private.h"
#include "engine/io.h"
#include "engine/stat.h"
#include "engine/swarm/desk.h"
#include "engine/swarm/front.h"
#include "engine/watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define CONTROL_PERIOD_MS 100
#define HARD_STOP_NS      (2 * NS_PER_S)  /* what a hard stop gives the cores to let go */
#define HALT_NS           (10 * NS_PER_S) /* what they, and the helper's last write, have to end */
#define HELPER_STILL_S    10
#define RELOAD_NS         (2 * NS_PER_S) /* what a reload gives the cores to leave old settings */
#define TEXT_MAX          sizeof((struct settings *)0)->tlv_listen /* the longest setting */

static void fill_signals(sigset_t *set) {
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
}

int control_block_signals(void) {
    sigset_t set;
    fill_signals(&set);
    (void)signal(SIGPIPE, SIG_IGN);
    return err_raise(-pthread_sigmask(SIG_BLOCK, &set, NULL));
}

/* ---- reload --------------------------------------------------------------------------------- */

/* A setting that may not change while running, and did. */
static const struct option *fixed_change(const struct settings *now,
                                         const struct settings *wanted) {
    for (size_t i = 0; i < settings_rows; i++) {
        char before[TEXT_MAX + 1], after[TEXT_MAX + 1];
        (void)option_format(&settings_table[i], now, before, sizeof before);
        (void)option_format(&settings_table[i], wanted, after, sizeof after);
        if (!settings_table[i].reloadable && strcmp(before, after) != 0) {
            return &settings_table[i];
        }
    }
    return NULL;
}

static bool in_use(const struct engine *engine, const struct settings *settings) {
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        if (atomic_load_explicit(&engine->cores[i].settings, memory_order_acquire) == settings) {
            return true; /* acquire: what that core read of the block came before it let go */
        }
    }
    return false;
}

/* The block that is not current may still be read by a core that has not ticked since it was. */
static bool await_unused(const struct engine *engine, const struct settings *settings) {
    uint64_t give_up = clock_ns() + RELOAD_NS;
    while (in_use(engine, settings)) {
        if (clock_ns() > give_up) {
            return false;
        }
        (void)poll(NULL, 0, 5);
    }
    return true;
}

int control_reload(struct engine *engine, char *why, size_t why_bytes) {
    struct settings *now =
        atomic_load_explicit(&engine->current, memory_order_relaxed); /* control's own word */
    struct settings *next =
        now == &engine->published[0] ? &engine->published[1] : &engine->published[0];
    struct settings wanted;
    if (!engine->hooks.reload) {
        (void)snprintf(why, why_bytes,
                       "this daemon was started without a configuration it could read again");
        return OPTION_BAD;
    }
    if (engine->hooks.reload(engine->hooks.context, &wanted, why, why_bytes) != 0) {
        return OPTION_BAD;
    }
    (void)budget_fit(&wanted, engine->layout.net_count, engine->layout.work_count);
    const struct option *fixed = fixed_change(now, &wanted);
    if (fixed) {
        (void)snprintf(why, why_bytes,
                       "%s cannot change while running; restart for it (nothing was changed)",
                       fixed->name);
        return OPTION_BAD;
    }
    if (!await_unused(engine, next)) {
        (void)snprintf(why, why_bytes,
                       "a core has not taken over the settings before these; try again "
                       "(nothing was changed)");
        return OPTION_BAD;
    }
    *next = wanted;
    atomic_store_explicit(&engine->current, next,
                          memory_order_release); /* pairs with tick() in core.c */
    log_setup((enum log_level)wanted.log_level, (enum log_form)wanted.log_form);
    return 0;
}

static void on_hangup(struct engine *engine) {
    char why[512];
    (void)sd_notify(0, "RELOADING=1");
    if (control_reload(engine, why, sizeof why) == 0) {
        log_info("configuration reloaded");
    } else {
        log_error("reload refused", log_str("why", why));
    }
    (void)sd_notify(0, "READY=1");
}

/* ---- stopping ------------------------------------------------------------------------------- */

struct stopping {
    struct io bells; /* a ring of control's own: only for waking cores */
    uint64_t since_ns;
    enum core_wish wish;
};

static void ask_all(struct engine *engine, struct stopping *stopping, enum core_wish wish) {
    stopping->wish = wish;
    stopping->since_ns = clock_ns();
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        if (i != engine->layout.count || wish == WISH_HALT) { /* the helper works to the end */
            core_ask(&engine->cores[i], wish, &stopping->bells);
        }
    }
    int r = io_enter(&stopping->bells, false, 0);
    must(r == 0);
}

void control_drain(struct engine *engine) {
    enum engine_state serving = ENGINE_SERVING;
    /* Relaxed: a word by itself; what follows from it goes by core.wish. */
    (void)atomic_compare_exchange_strong_explicit(&engine->state, &serving, ENGINE_DRAINING,
                                                  memory_order_relaxed, memory_order_relaxed);
}

static bool all_drained(const struct engine *engine) {
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        bool helper = i == engine->layout.count; /* has nothing that must end first */
        if (!helper && !atomic_load_explicit(&engine->cores[i].drained, memory_order_acquire)) {
            return false;
        }
    }
    return true;
}

static bool all_ended(const struct engine *engine) {
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        if (atomic_load_explicit(&engine->cores[i].life, memory_order_acquire) != CORE_DONE) {
            return false;
        }
    }
    return true;
}

/* Moves the stop along: drain, then hard, then halt. Returns: true when every core has ended,
 * or no longer has time to: engine_run tells the two apart. */
static bool step_stop(struct engine *engine, struct stopping *stopping) {
    if (atomic_load_explicit(&engine->state, memory_order_relaxed) == ENGINE_SERVING) {
        return false;
    }
    uint64_t waited = clock_ns() - stopping->since_ns;
    struct settings *settings = atomic_load_explicit(&engine->current, memory_order_relaxed);
    if (stopping->wish == WISH_RUN) {
        log_info("draining: no new connections; finishing what came");
        (void)sd_notify(0, "STOPPING=1\nSTATUS=draining");
        ask_all(engine, stopping, WISH_DRAIN);
    } else if (stopping->wish < WISH_HALT && all_drained(engine)) {
        ask_all(engine, stopping, WISH_HALT);
    } else if (stopping->wish == WISH_DRAIN && waited > settings->drain_timeout_ns) {
        log_warn("drain timeout: closing what is left",
                 log_u64("timeout_ms", settings->drain_timeout_ns / NS_PER_MS));
        ask_all(engine, stopping, WISH_DRAIN_HARD);
    } else if (stopping->wish == WISH_DRAIN_HARD && waited > HARD_STOP_NS) {
        atomic_store_explicit(&engine->state, ENGINE_STOPPING, memory_order_relaxed);
        return true; /* something holds on: the store will be recovered at the next start */
    }
    if (stopping->wish != WISH_HALT) {
        return false;
    }
    bool ended = all_ended(engine);
    if (!ended && clock_ns() - stopping->since_ns > HALT_NS) {
        log_error("a thread does not end: the disk may be stuck");
        atomic_store_explicit(&engine->state, ENGINE_STOPPING, memory_order_relaxed);
        return true;
    }
    return ended;
}

static void on_terminate(struct engine *engine, struct stopping *stopping) {
    /* The state, not the wish: the wish follows a turn later, and two signals can come in one read.
     */
    if (atomic_load_explicit(&engine->state, memory_order_relaxed) == ENGINE_SERVING) {
        control_drain(engine);
        return;
    }
    log_warn("second signal: stopping hard");
    atomic_store_explicit(&engine->state, ENGINE_STOPPING, memory_order_relaxed);
    if (stopping->wish < WISH_DRAIN_HARD) {
        ask_all(engine, stopping, WISH_DRAIN_HARD);
    }
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void read_signals(struct engine *engine, struct stopping *stopping, int fd) {
    struct signalfd_siginfo info;
    while (read(fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            on_hangup(engine);
        } else {
            on_terminate(engine, stopping);
        }
    }
}

/* It may work on a slow disk for seconds, and nobody's reply waits for the disk: a word, no more.
 */
static void watch_helper(const struct engine *engine) {
    static uint64_t seen, still_s;
    uint64_t turns = counter_get(&engine->cores[engine->layout.count].counters.turns);
    still_s = turns == seen ? still_s + 1 : 0;
    seen = turns;
    if (still_s == HELPER_STILL_S) {
        log_warn("the helper has not turned for a while: the disk may be stuck",
                 log_u64("seconds", still_s));
    }
}

/* Every core turned or parked lately: the service manager may trust us for another period. */
static void each_second(struct engine *engine) {
    static uint64_t seen[LAYOUT_CORES_MAX];
    stat_sample(engine);
    watch_helper(engine);
    watch_counters(engine);
    bool alive = true;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        uint64_t turns = counter_get(&engine->cores[i].counters.turns);
        bool asleep =
            atomic_load_explicit(&engine->cores[i].bell.asleep, memory_order_relaxed) != 0;
        alive &= turns != seen[i] || asleep;
        seen[i] = turns;
    }
    if (alive) {
        (void)sd_notify(0, "WATCHDOG=1");
    } else {
        log_warn("a core has not turned for a second");
    }
}

static int serve(struct engine *engine, struct stopping *stopping, int signals) {
    struct pollfd fds[ADMIN_CLIENTS_MAX + 2];
    uint64_t second_ns = clock_ns() + NS_PER_S; /* no core has had a second to turn in before */
    while (!step_stop(engine, stopping)) {
        uint32_t count = admin_poll_fds(engine->admin, fds);
        fds[count] = (struct pollfd){.fd = signals, .events = POLLIN};
        bool stopping_now = stopping->wish != WISH_RUN;
        if (poll(fds, count + 1, stopping_now ? 5 : CONTROL_PERIOD_MS) < 0 && errno != EINTR) {
            return err_raise(-errno);
        }
        uint64_t now = clock_ns();
        if (fds[count].revents) {
            read_signals(engine, stopping, signals);
        }
        admin_serve(engine->admin, fds, count, now);
        front_poll(engine);
        if (now >= second_ns) {
            second_ns = now + NS_PER_S;
            each_second(engine);
        }
    }
    return atomic_load_explicit(&engine->state, memory_order_relaxed) == ENGINE_STOPPING ? 1 : 0;
}

int control_run(struct engine *engine) {
    sigset_t set;
    fill_signals(&set);
    struct stopping stopping = {.wish = WISH_RUN};
    int r = io_open(&stopping.bells, 128);
    if (r < 0) {
        return err_pass(r);
    }
    r = io_start(&stopping.bells);
    if (r < 0) {
        goto undo_bells;
    }
    int signals = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals < 0) {
        r = err_raise(-errno);
        goto undo_bells;
    }
    (void)sd_notifyf(0, "READY=1\nMAINPID=%d", (int)getpid());
    engine->desk->bells = &stopping.bells;
    r = serve(engine, &stopping, signals);
    engine->desk->bells = NULL;
    close(signals);
undo_bells:
    io_close(&stopping.bells);
    return r;
}
