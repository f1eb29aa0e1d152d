/* SPDX-License-Identifier: MIT */
#include "engine/porter.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "engine/engine_private.h"

/* Between looks when a step found nothing to do; a note's answer is seen at most so late. */
#define PORTER_REST_NS    (2 * NS_PER_MS)
#define PORTER_IDLE_NS    (20 * NS_PER_MS) /* after PORTER_IDLE_RESTS rests in a row */
#define PORTER_IDLE_RESTS 50u

static void ring_keepers(struct core *core) {
    uint64_t told = store_take_rings(core->engine->store);
    while (told) {
        uint32_t keeper = (uint32_t)__builtin_ctzll(told);
        told &= told - 1;
        core_tell(core, core->engine->keeper_core[keeper]);
    }
    core_ring_now(core);
}

/* The daemon drains: what is under way for people ends, and with it what keepers do for it. */
static void drain(struct core *core) {
    bool drained = store_tasks_stop(core->engine->store);
    atomic_store_explicit(&core->drained, drained, memory_order_release); /* read by control */
}

static void rest(struct core *core, uint64_t ns) {
    bell_arm(&core->bell);
    if (atomic_load_explicit(&core->wish, memory_order_relaxed) != WISH_HALT) {
        counter_add(&core->counters.parks, 1);
        int r = io_enter(&core->io, true, ns);
        must(r == 0);
    }
    bell_disarm(&core->bell);
}

/* What people should know of tiers is said when it changes. */
static void say_tiers(const struct store *store, struct store_tier_word said[TIERS_MAX]) {
    struct store_tier_word now;
    for (uint32_t i = 0; i < TIERS_MAX && store_tier_word(store, i, &now); i++) {
        bool away = now.state >= TIER_LOADING, was_away = said[i].state >= TIER_LOADING;
        if (now.waits && now.waits != said[i].waits) {
            log_warn("a tier is not all there", log_str("tier", now.dir),
                     log_str("why", now.waits));
        } else if (away != was_away || (!now.waits && said[i].waits)) {
            log_info("a tier changed", log_str("tier", now.dir),
                     log_str("state", tier_state_name(now.state)));
        }
        said[i] = now;
    }
}

void porter_run(struct core *core) {
    struct io_event events[16];
    struct store_tier_word said[TIERS_MAX] = {{NULL, NULL, TIER_ONLINE}};
    uint32_t rests = 0;
    while (atomic_load_explicit(&core->wish, memory_order_acquire) != WISH_HALT) {
        core->now_ns = clock_ns();
        counter_add(&core->counters.turns, 1);
        uint32_t work = store_maintain(core->engine->store, core->now_ns);
        say_tiers(core->engine->store, said);
        if (atomic_load_explicit(&core->wish, memory_order_relaxed) != WISH_RUN) {
            drain(core);
        }
        ring_keepers(core);
        counter_add(&core->counters.busy_ns, clock_ns() - core->now_ns);
        if (work == 0) {
            rest(core, rests < PORTER_IDLE_RESTS ? PORTER_REST_NS : PORTER_IDLE_NS);
            rests += rests < PORTER_IDLE_RESTS;
        } else {
            rests = 0;
        }
        (void)io_reap(&core->io, events, array_count(events));
    }
}
