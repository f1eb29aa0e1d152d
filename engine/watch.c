/* SPDX-License-Identifier: MIT */
#include "engine/watch.h"

#include "base/log.h"
#include "engine/engine_private.h"
#include "engine/stall.h"
#include "engine/work.h"

/* Counters of the store, summed over its keepers, that are news when they move. */
struct watched {
    uint64_t corrupt, io_errors, full;
};

static struct watched sums(const struct engine *engine) {
    struct watched now = {0};
    for (uint32_t k = 0; k < engine->layout.work_count; k++) {
        const struct store_counters *counters = keeper_counters(store_keeper(engine->store, k));
        now.corrupt += counter_get(&counters->corrupt);
        now.io_errors += counter_get(&counters->io_errors);
        now.full += counter_get(&counters->full);
    }
    return now;
}

static void watch_store(const struct engine *engine) {
    static struct watched seen;
    struct watched now = sums(engine);
    if (now.corrupt > seen.corrupt) {
        log_error("a stored block is damaged; it is not served (millrace verify names it)",
                  log_u64("reads", now.corrupt - seen.corrupt), log_u64("in_all", now.corrupt));
    }
    if (now.io_errors > seen.io_errors) {
        log_error("disk operations failed", log_u64("operations", now.io_errors - seen.io_errors),
                  log_u64("in_all", now.io_errors));
    }
    if (now.full > seen.full) {
        log_warn("the store is full: puts are refused, reads and deletes go on",
                 log_u64("refused", now.full - seen.full));
    }
    seen = now;
}

/* A write failed twice in a row: the core that owns those keys takes no more of them. */
static void watch_stopped(const struct engine *engine) {
    static uint64_t said;
    struct store_usage usage;
    store_usage(engine->store, &usage);
    uint32_t count = engine->layout.work_count;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct core *core = &engine->cores[i];
        for (uint32_t k = 0; core->work && k < count; k++) {
            bool its = core->work->keeper == store_keeper(engine->store, k);
            if (its && (usage.stopped & ~said) >> k & 1) {
                log_error("writing failed for good: this core takes no puts and deletes until a "
                          "restart, for its share of the keys; reads go on",
                          log_u64("core", core->place.name), log_u64("percent", 100 / count));
            }
        }
    }
    said = usage.stopped;
}

static void watch_heap(const struct engine *engine) {
    static uint64_t seen;
    uint64_t calls = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        calls += counter_get(&engine->cores[i].counters.heap_calls);
    }
    if (calls > seen) {
        log_warn("a tile used the general heap; a library on its path does what it should not",
                 log_u64("calls", calls - seen));
    }
    seen = calls;
}

/* Operations are in a keeper and none ends: says what it waits for. */
static void watch_keepers(const struct engine *engine) {
    static struct stall stalls[LAYOUT_CORES_MAX];
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct core *core = &engine->cores[i];
        if (!core->work) {
            continue;
        }
        struct keeper_flight flight; /* its own count: bundles and pins are no jobs in the pool */
        keeper_flight(core->work->keeper, &flight);
        uint64_t seconds = stall_look(&stalls[i], flight.now > 0, flight.ended);
        if (seconds > 0) {
            enum keeper_wait wait = keeper_waits(core->work->keeper);
            log_warn("nothing was acknowledged or read for a while",
                     log_u64("core", core->place.name), log_u64("seconds", seconds),
                     log_str("waits_for", keeper_wait_name(wait)), log_u64("in_flight", flight.now),
                     log_str("memory", ladder_names[store_rung(engine->store)]));
        }
    }
}

/* Clients that are told to come again wait for us, too. */
static void watch_memory(const struct engine *engine) {
    static struct stall stall;
    uint64_t seconds = stall_look(&stall, store_rung(engine->store) >= LADDER_PUTS, 0);
    if (seconds > 0) {
        log_warn("memory is short: puts have been refused for a while",
                 log_u64("seconds", seconds));
    }
}

void watch_counters(struct engine *engine) {
    watch_store(engine);
    watch_stopped(engine);
    watch_heap(engine);
    watch_keepers(engine);
    watch_memory(engine);
}
