/* SPDX-License-Identifier: MIT */
#include "engine/budget.h"

#include "base/bits.h"
#include "build_info.h"
#include "engine/engine_private.h"
#include "engine/net.h"

#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#define WATCH_NS       (25 * NS_PER_MS)
#define HUGE_FROM      GiB /* below it huge pages would waste a noticeable part */
#define DEFAULT_SMALL  4096u
#define DEFAULT_LARGE  512u
#define DEFAULT_LEASED 16384u
#define BATCHES_MAX    6u

static void at_most(uint64_t *setting, uint64_t share, uint64_t least) {
    *setting = min_u64(*setting, max_u64(share, least));
}

static uint32_t between(uint64_t wanted, uint64_t least, uint64_t most) {
    return (uint32_t)min_u64(max_u64(wanted, least), most);
}

/* Shares of the whole; those of tiles are divided by their number. Together they come to less than
 * half of it; the other half is for the index and for frames, of which the index takes first. */
struct budget_sizes budget_fit(struct settings *settings, uint32_t net_count, uint32_t work_count) {
    uint64_t budget = settings->memory_budget_bytes;
    uint64_t small = settings->net_connections_max / net_count + 1024;
    struct budget_sizes sizes = {.out_small = (uint32_t)max_u64(DEFAULT_SMALL, small),
                                 .out_large = DEFAULT_LARGE,
                                 .out_leased = DEFAULT_LEASED};
    if (budget == 0) {
        return sizes;
    }
    uint64_t tile = budget / net_count, keeper = budget / work_count;
    uint64_t block = settings->store_block_bytes_max;
    at_most(&settings->store_memory_bytes, budget / 8 * 3, MiB);
    uint64_t buffers = tile / 16 / (IO_GROUPS * IO_BUFFER_BYTES);
    at_most(&settings->net_buffers, power_of_two_above(buffers + 1) / 2, 16);
    at_most(&settings->net_jobs_max, tile / (16 * KiB), 256);
    at_most(&settings->net_connections_max, budget / (16 * KiB), 64);
    at_most(&settings->net_output_bytes_max, budget / 64, 64 * KiB);
    at_most(&settings->net_body_bytes_max, tile / 8, 2 * block);
    at_most(&settings->gc_memory_bytes, budget / 16, MiB);
    at_most(&settings->bitswap_peers_max, budget / (64 * KiB), 16);
    at_most(&settings->bitswap_wants_max, tile / (2 * KiB), 1024);
    at_most(&settings->bitswap_fetch_window_bytes, budget / 16, 4 * MiB);
    sizes.out_small = between(tile / 64 / OUT_SMALL_BYTES, 512, sizes.out_small);
    sizes.out_large = between(tile / 32 / OUT_LARGE_BYTES, 16, DEFAULT_LARGE);
    sizes.out_leased = between(tile / (16 * KiB), 1024, DEFAULT_LEASED);
    sizes.batches = between(keeper / 8 / (block + 64 * KiB), 2, BATCHES_MAX);
    sizes.fetches[0] = between(keeper / 64 / (16 * KiB), 8, 60);
    sizes.fetches[1] = between(keeper / 32 / (256 * KiB), 2, 20);
    sizes.fetches[2] = between(keeper / 16 / block, 1, 4);
    return sizes;
}

void budget_open(const struct settings *settings) {
    if (settings->memory_budget_bytes != 0 && settings->memory_budget_bytes < HUGE_FROM) {
        (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* where it is refused more is wasted */
    }
}

/* Pages that no file has: anonymous ones and the memfd's. */
static uint64_t resident_bytes(void) {
    char line[128];
    uint64_t sum = 0;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        unsigned long kib = 0;
        if (sscanf(line, "RssAnon: %lu kB", &kib) == 1 ||
            sscanf(line, "RssShmem: %lu kB", &kib) == 1) {
            sum += kib * KiB;
        }
    }
    if (file) {
        (void)fclose(file);
    }
    return sum;
}

static uint64_t buffers_bytes(const struct engine *engine) {
    const struct settings *settings = &engine->settings;
    const struct budget_sizes *sizes = &engine->sizes;
    uint64_t tile = settings->net_buffers * IO_BUFFER_BYTES * IO_GROUPS +
                    (uint64_t)sizes->out_small * OUT_SMALL_BYTES +
                    (uint64_t)sizes->out_large * OUT_LARGE_BYTES;
    return tile * engine->layout.net_count + store_buffers_bytes(engine->store);
}

void budget_look(const struct engine *engine, struct budget_view *view) {
    memset(view, 0, sizeof *view);
    uint64_t used = 0, kept = 0, frames = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct core *core = &engine->cores[i];
        kept += arena_committed(core->arena) + (core->frames ? arena_committed(core->frames) : 0);
        used += arena_used(core->arena) + (core->frames ? arena_used(core->frames) : 0);
        view->ladder.lent_bytes += core->net ? counter_get(&core->net->counters.zero_lent) : 0;
    }
    for (uint32_t k = 0; k < engine->layout.work_count; k++) {
        frames += counter_get(&keeper_counters(store_keeper(engine->store, k))->frame_bytes);
    }
    view->bodies_bytes = used - min_u64(used, frames);
    view->ladder.budget_bytes = engine->settings.memory_budget_bytes;
    /* A sanitizer's own memory would climb the ladder by itself. */
    view->ladder.resident_bytes = HAVE_JEMALLOC ? resident_bytes() : kept;
    /* What is free in the arenas is frames' to use, or goes back when they are trimmed. */
    view->ladder.frames_bytes = max_u64(kept, frames) - min_u64(view->bodies_bytes, kept);
    view->ladder.index_bytes = store_index_bytes(engine->store);
    view->ladder.buffers_bytes = buffers_bytes(engine) + view->bodies_bytes;
    view->ladder.frames_max = engine->settings.store_memory_bytes;
    view->rung = store_rung(engine->store);
    view->frames_limit = atomic_load_explicit(&engine->frames_limit, memory_order_relaxed);
}

void budget_watch(struct engine *engine, uint64_t now_ns) {
    if (engine->settings.memory_budget_bytes == 0 || now_ns < engine->budget_ns) {
        return;
    }
    engine->budget_ns = now_ns + WATCH_NS;
    struct budget_view view;
    budget_look(engine, &view);
    struct ladder_step step = ladder_step(&view.ladder, view.rung);
    /* relaxed: numbers that may be seen late */
    atomic_store_explicit(&engine->frames_limit, step.frames_bytes, memory_order_relaxed);
    store_press(engine->store, &step);
}
