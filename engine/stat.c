/* SPDX-License-Identifier: MIT */
#include "engine/stat.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/hist.h"
#include "build_info.h"
#include "engine/crypto_heap.h"
#include "engine/dispatch.h"
#include "engine/engine_private.h"
#include "engine/net.h"
#include "engine/swarm/client.h"
#include "engine/swarm/swarm.h"
#include "engine/work.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WINDOW_SAMPLES 10

/* Control and helper both ask; neither is a tile, so a lock between them is allowed. */
static pthread_mutex_t window_lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct hist taken[WINDOW_SAMPLES][CLASS_COUNT]; /* one a second, a ring */
    uint32_t next;
    uint32_t count;
} window;

static void put(json_t *object, const char *name, uint64_t value) {
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *counters_json(const counter_t *values, const struct counter_info *info,
                             size_t count) {
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        put(object, info[i].name, counter_get(&values[i]));
    }
    return object;
}

/* ---- classes -------------------------------------------------------------------------------- */

static void sum_latency(const struct engine *engine, enum job_class class, struct hist *sum) {
    memset(sum, 0, sizeof *sum);
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        if (engine->cores[i].net) {
            hist_add(sum, &engine->cores[i].net->latency[class]);
        }
    }
}

void stat_sample(struct engine *engine) {
    pthread_mutex_lock(&window_lock);
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        sum_latency(engine, (enum job_class)c, &window.taken[window.next][c]);
    }
    window.next = (window.next + 1) % WINDOW_SAMPLES;
    window.count += window.count < WINDOW_SAMPLES;
    pthread_mutex_unlock(&window_lock);
}

static double microseconds(uint64_t ns) {
    return (double)ns / 1000.0;
}

static json_t *class_json(const struct engine *engine, enum job_class class) {
    static struct hist now; /* guarded by window_lock, which stat_json holds */
    sum_latency(engine, class, &now);
    uint64_t done = 0, busy = 0, expired = 0, misses = 0, light = 0, heavy = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct net *net = engine->cores[i].net;
        if (net) {
            done += counter_get(&net->done[class]);
            busy += counter_get(&net->shed[class]);
            expired += counter_get(&net->expired[class]);
            misses += counter_get(&net->sla_misses[class]);
            light += counter_get(&net->queued[class]);
        }
        if (engine->cores[i].dispatch) {
            heavy = counter_get(&engine->cores[i].dispatch->queued[class]);
        }
    }
    json_t *object = json_object();
    json_object_set_new(object, "class", json_string(job_class_names[class]));
    put(object, "requests", done + busy + expired);
    put(object, "done", done);
    put(object, "busy", busy);
    put(object, "expired", expired);
    put(object, "queued_light", light);
    put(object, "queued_heavy", heavy);
    put(object, "share", sched_config_default.shares[class]);
    put(object, "sla_misses", misses);
    if (window.count > 0) {
        uint32_t oldest = window.count < WINDOW_SAMPLES ? 0 : window.next;
        hist_since(&now, &window.taken[oldest][class]);
    }
    json_object_set_new(object, "p50_us", json_real(microseconds(hist_quantile_ns(&now, 0.50))));
    json_object_set_new(object, "p95_us", json_real(microseconds(hist_quantile_ns(&now, 0.95))));
    json_object_set_new(object, "p99_us", json_real(microseconds(hist_quantile_ns(&now, 0.99))));
    json_object_set_new(object, "p999_us", json_real(microseconds(hist_quantile_ns(&now, 0.999))));
    return object;
}

/* ---- parts ---------------------------------------------------------------------------------- */

/* Where the standing scrubs are, by kind of tier. */
static json_t *scrub_json(const struct engine *engine) {
    const uint64_t cycles[] = {[TIER_SSD] = engine->settings.store_scrub_ssd_ns,
                               [TIER_HDD] = engine->settings.store_scrub_hdd_ns};
    json_t *list = json_array();
    for (uint32_t kind = 0; kind < array_count(cycles); kind++) {
        const struct store_scrub *scrub = store_scrub(engine->store, (enum tier_kind)kind);
        json_t *object = json_object();
        json_object_set_new(object, "kind", json_string(tier_kind_name((enum tier_kind)kind)));
        put(object, "cycle_s", cycles[kind] / NS_PER_S);
        put(object, "elapsed_s", counter_get(&scrub->elapsed_ns) / NS_PER_S);
        put(object, "bytes", counter_get(&scrub->bytes));
        put(object, "total_bytes", counter_get(&scrub->total_bytes));
        put(object, "last_full_us", counter_get(&scrub->ended_us));
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *store_json(const struct engine *engine) {
    uint64_t sums[store_counter_count] = {0};
    for (uint32_t k = 0; k < engine->layout.work_count; k++) {
        const counter_t *values =
            (const counter_t *)keeper_counters(store_keeper(engine->store, k));
        for (size_t i = 0; i < store_counter_count; i++) {
            sums[i] += counter_get(&values[i]);
        }
    }
    json_t *object = json_object();
    for (size_t i = 0; i < store_counter_count; i++) {
        put(object, store_counter_info[i].name, sums[i]);
    }
    json_object_set_new(object, "upkeep",
                        counters_json((const counter_t *)store_upkeep(engine->store),
                                      upkeep_counter_info, upkeep_counter_count));
    json_object_set_new(object, "scrub", scrub_json(engine));
    struct store_usage usage;
    store_usage(engine->store, &usage);
    put(object, "segments", usage.segments);
    put(object, "spare_segments", usage.spare_segments);
    put(object, "bytes_on_disk", usage.bytes_on_disk);
    put(object, "live_bytes", usage.live_bytes);
    put(object, "free_bytes", usage.free_bytes);
    put(object, "catalog_bytes", usage.catalog_bytes);
    json_object_set_new(object, "read_only", json_boolean(usage.read_only));
    json_object_set_new(object, "formatted", json_boolean(engine->report.formatted));
    json_object_set_new(object, "clean", json_boolean(engine->report.clean));
    put(object, "open_ms", engine->report.open_ns / NS_PER_MS);
    put(object, "open_snapshot_shards", engine->report.snapshot_shards);
    put(object, "open_snapshots_refused", engine->report.snapshots_bad);
    put(object, "open_segments_footer", engine->report.segments_footer);
    put(object, "open_segments_scanned", engine->report.segments_scanned);
    put(object, "snapshots_written", usage.snapshots_written);
    put(object, "snapshots_failed", usage.snapshots_failed);
    put(object, "snapshot_blocks", usage.snapshot_blocks);
    put(object, "snapshot_bytes", usage.snapshot_bytes);
    put(object, "torn_batches", engine->report.torn_batches);
    put(object, "corrupt_ranges", engine->report.corrupt_ranges);
    put(object, "segments_gone", engine->report.segments_gone);
    put(object, "segments_unread", engine->report.segments_unread);
    return object;
}

static json_t *tiles_json(const struct core *core) {
    json_t *tiles = json_array();
    if (core->net) {
        json_array_append_new(tiles, json_string("net"));
    }
    if (core->dispatch) {
        json_array_append_new(tiles, json_string("sched"));
    }
    if (core->work) {
        json_array_append_new(tiles, json_string("work"));
    }
    if (core->helper) {
        json_array_append_new(tiles, json_string("helper"));
    }
    if (core->porter) {
        json_array_append_new(tiles, json_string("porter"));
    }
    return tiles;
}

static json_t *core_json(const struct engine *engine, const struct core *core) {
    json_t *object =
        counters_json((const counter_t *)&core->counters, core_counter_info, core_counter_count);
    put(object, "core", core->place.name);
    if (!core->helper && !core->porter) {
        put(object, "cpu", core->place.cpu);
    }
    json_object_set_new(object, "tiles", tiles_json(core));
    uint64_t up = clock_ns() - engine->started_ns;
    double busy = up ? (double)counter_get(&core->counters.busy_ns) / (double)up : 0;
    json_object_set_new(object, "busy_ratio", json_real(busy > 1 ? 1 : busy));
    if (core->net) {
        json_t *net = counters_json((const counter_t *)&core->net->counters, net_counter_info,
                                    net_counter_count);
        put(net, "jobs_max", core->net->jobs_max);
        json_object_set_new(object, "net", net);
        json_object_set_new(object, "swarm",
                            counters_json((const counter_t *)&core->net->swarm->counters,
                                          swarm_counter_info, swarm_counter_count));
        json_object_set_new(object, "ledger",
                            counters_json((const counter_t *)&core->net->swarm->ledger.counters,
                                          ledger_counter_info, ledger_counter_count));
        json_object_set_new(object, "client",
                            counters_json((const counter_t *)&core->net->swarm->client->counters,
                                          client_counter_info, client_counter_count));
    }
    if (core->work) {
        json_t *work = counters_json((const counter_t *)&core->work->counters, work_counter_info,
                                     work_counter_count);
        put(work, "inbox", ring_count(engine->mesh.inbox[core->index]));
        json_object_set_new(object, "work", work);
    }
    if (core->dispatch) {
        json_object_set_new(object, "sched",
                            counters_json((const counter_t *)&core->dispatch->counters,
                                          dispatch_counter_info, dispatch_counter_count));
    }
    return object;
}

/* full: how often a push found no room; those sized for everything at once are never full. */
static void add_ring(json_t *rings, const char *name, const struct ring *ring, uint64_t full) {
    if (ring) {
        json_t *object = json_object();
        json_object_set_new(object, "ring", json_string(name));
        put(object, "size", ring_capacity(ring));
        put(object, "count", ring_count(ring));
        put(object, "full", full);
        json_array_append_new(rings, object);
    }
}

static json_t *rings_json(const struct engine *engine) {
    json_t *rings = json_array();
    char name[64];
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        (void)snprintf(name, sizeof name, "class %s", job_class_names[c]);
        uint64_t full = 0;
        for (uint32_t i = 0; i < engine->layout.count; i++) {
            full += engine->cores[i].net ? counter_get(&engine->cores[i].net->ring_full[c]) : 0;
        }
        add_ring(rings, name, engine->mesh.class_rings[c], full);
    }
    for (uint32_t w = 0; w < engine->layout.count; w++) {
        (void)snprintf(name, sizeof name, "inbox of core %u", engine->cores[w].place.name);
        add_ring(rings, name, engine->mesh.inbox[w], 0);
        for (uint32_t n = 0; n < engine->layout.count; n++) {
            (void)snprintf(name, sizeof name, "done, core %u to %u", engine->cores[w].place.name,
                           engine->cores[n].place.name);
            const struct ring *done = engine->mesh.done[w][n];
            if (engine->layout.count <= 4 || (done && ring_count(done) > 0)) { /* they are n * n */
                add_ring(rings, name, done, 0);
            }
        }
    }
    add_ring(rings, "helper", engine->mesh.helper_in, 0);
    return rings;
}

static json_t *batches_json(const struct engine *engine) {
    json_t *object = json_object();
    const struct dispatch *dispatch = engine->cores[engine->mesh.sched_core].dispatch;
    put(object, "closed_idle", counter_get(&dispatch->counters.closed_idle));
    put(object, "closed_size", counter_get(&dispatch->counters.closed_size));
    put(object, "closed_bytes", counter_get(&dispatch->counters.closed_bytes));
    put(object, "closed_cost", counter_get(&dispatch->counters.closed_cost));
    put(object, "closed_age", counter_get(&dispatch->counters.closed_age));
    return object;
}

static uint64_t resident_bytes(void) {
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%*u %lu", &pages) != 1) {
            pages = 0;
        }
        (void)fclose(file);
    }
    return (uint64_t)pages * PAGE_BYTES;
}

static json_t *tier_json(const char *name, const char *kind, const char *state) {
    json_t *object = json_object();
    json_object_set_new(object, "name", json_string(name));
    json_object_set_new(object, "kind", json_string(kind));
    json_object_set_new(object, "state", json_string(state));
    return object;
}

/* Memory first: its hits are lookups that a frame answered, its misses reads that went to a disk.
 */
static json_t *memory_tier_json(const struct engine *engine) {
    json_t *object = tier_json("memory", "memory", "online");
    uint64_t frames = 0, bytes = 0, misses = 0, fills = 0, evictions = 0;
    for (uint32_t k = 0; k < store_keepers(engine->store); k++) {
        const struct store_counters *counters = keeper_counters(store_keeper(engine->store, k));
        frames += counter_get(&counters->frames);
        bytes += counter_get(&counters->frame_bytes);
        misses += counter_get(&counters->reads);
        fills += counter_get(&counters->fills);
        evictions += counter_get(&counters->evictions);
    }
    put(object, "size", engine->settings.store_memory_bytes);
    put(object, "blocks", frames);
    put(object, "bytes", bytes);
    put(object, "hits", store_frame_hits(engine->store));
    put(object, "misses", misses);
    put(object, "moved_in", fills);
    put(object, "moved_out", evictions);
    return object;
}

static json_t *tiers_json(const struct engine *engine) {
    json_t *list = json_array();
    struct store_tier_usage usages[TIERS_MAX];
    uint32_t count = store_tiers(engine->store, usages, TIERS_MAX);
    json_array_append_new(list, memory_tier_json(engine));
    for (uint32_t i = 0; i < count; i++) {
        const struct store_tier_usage *usage = &usages[i];
        json_t *object =
            tier_json(usage->dir, tier_kind_name(usage->kind), tier_state_name(usage->state));
        if (usage->waits) {
            json_object_set_new(object, "waits", json_string(usage->waits));
        }
        put(object, "size", usage->size_bytes);
        put(object, "blocks", usage->blocks);
        put(object, "bytes", usage->live_bytes);
        put(object, "bytes_on_disk", usage->bytes_on_disk);
        put(object, "hits", usage->hits);
        put(object, "misses", usage->misses);
        put(object, "moved_in", usage->moved_in);
        put(object, "moved_out", usage->moved_out);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *memory_json(const struct engine *engine) {
    json_t *object = json_object();
    struct budget_view view;
    budget_look(engine, &view);
    uint64_t arenas = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct core *core = &engine->cores[i];
        arenas += arena_used(core->arena) + (core->frames ? arena_used(core->frames) : 0);
    }
    put(object, "rss_bytes", resident_bytes());
    put(object, "frames_bytes", arenas);
    put(object, "budget_bytes", engine->settings.store_memory_bytes);
    put(object, "whole_budget_bytes", view.ladder.budget_bytes);
    put(object, "held_bytes", view.ladder.resident_bytes);
    put(object, "frames_limit_bytes", view.frames_limit);
    put(object, "frames_held_bytes", view.ladder.frames_bytes);
    put(object, "index_bytes", view.ladder.index_bytes);
    put(object, "buffers_bytes", view.ladder.buffers_bytes);
    put(object, "bodies_bytes", view.bodies_bytes);
    put(object, "lent_bytes", view.ladder.lent_bytes);
    put(object, "rung", view.rung);
    json_object_set_new(object, "ladder", json_string(ladder_names[view.rung]));
    json_object_set_new(object, "ladder_why", json_string(ladder_reasons[view.rung]));
    return object;
}

static json_t *paths_json(const struct engine *engine) {
    uint64_t light = 0, heavy = 0, helped = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct net *net = engine->cores[i].net;
        if (net) {
            light += counter_get(&net->counters.light);
            heavy += counter_get(&net->counters.heavy);
            helped += counter_get(&net->counters.helped);
        }
    }
    json_t *object = json_object();
    put(object, "light", light);
    put(object, "heavy", heavy);
    put(object, "helper", helped);
    return object;
}

static const char *state_name(const struct engine *engine) {
    switch ((enum engine_state)atomic_load_explicit(&engine->state, memory_order_relaxed)) {
    case ENGINE_SERVING:
        return "serving";
    case ENGINE_DRAINING:
        return "draining";
    case ENGINE_STOPPING:
        break;
    }
    return "stopping";
}

json_t *stat_json(struct engine *engine) {
    json_t *root = json_object();
    json_object_set_new(root, "version", json_string(MILLRACE_VERSION));
    json_object_set_new(root, "build", json_string(MILLRACE_BUILD));
    put(root, "pid", (uint64_t)getpid());
    json_object_set_new(root, "uptime_s",
                        json_real((double)(clock_ns() - engine->started_ns) / (double)NS_PER_S));
    json_object_set_new(root, "state", json_string(state_name(engine)));
    json_object_set_new(root, "heap_watched", json_boolean(engine->counts_heap));
    put(root, "crypto_heap_bytes", crypto_heap_used());
    json_object_set_new(root, "store", store_json(engine));
    json_object_set_new(root, "tiers", tiers_json(engine));
    json_t *cores = json_array();
    for (uint32_t i = 0; i < engine_threads(engine); i++) {
        json_array_append_new(cores, core_json(engine, &engine->cores[i]));
    }
    json_object_set_new(root, "cores", cores);
    json_object_set_new(root, "rings", rings_json(engine));
    json_t *classes = json_array();
    pthread_mutex_lock(&window_lock);
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        json_array_append_new(classes, class_json(engine, (enum job_class)c));
    }
    pthread_mutex_unlock(&window_lock);
    json_object_set_new(root, "classes", classes);
    json_object_set_new(root, "paths", paths_json(engine));
    json_object_set_new(root, "batches", batches_json(engine));
    json_object_set_new(root, "memory", memory_json(engine));
    return root;
}

json_t *stat_topology(struct engine *engine) {
    static const char *const idle_names[] = {"spin", "adaptive", "sleep"};
    json_t *root = json_object();
    json_object_set_new(root, "auto", json_boolean(engine->layout.automatic));
    put(root, "cpus_allowed", engine->host.count);
    json_t *cores = json_array();
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        json_t *object = json_object();
        put(object, "core", engine->cores[i].place.name);
        put(object, "cpu", engine->cores[i].place.cpu);
        put(object, "numa", engine->cores[i].place.node);
        json_object_set_new(object, "alone", json_boolean(engine->cores[i].place.alone));
        json_object_set_new(object, "tiles", tiles_json(&engine->cores[i]));
        json_t *homes = json_array();
        for (uint32_t k = 0; engine->cores[i].work && k < engine->layout.work_count; k++) {
            uint32_t mask =
                engine->keeper_core[k] == i ? dispatch_homes(k, engine->layout.work_count) : 0;
            for (uint32_t c = 0; c < CLASS_COUNT; c++) {
                if (mask & BIT(c)) {
                    json_array_append_new(homes, json_string(job_class_names[c]));
                }
            }
        }
        json_object_set_new(object, "home_of", homes);
        json_array_append_new(cores, object);
    }
    json_object_set_new(root, "cores", cores);
    put(root, "sched_core", engine->cores[engine->mesh.sched_core].place.name);
    json_object_set_new(root, "ctl_core",
                        engine->layout.ctl_cpu < 0 ? json_string("any")
                                                   : json_integer(engine->layout.ctl_cpu));
    json_t *listeners = json_array();
    for (uint32_t i = 0; i < engine->listener_count; i++) {
        char address[96];
        const struct listener_address *at = &engine->listeners[i].address;
        bool six = strchr(at->host, ':') != NULL;
        (void)snprintf(address, sizeof address, six ? "[%s]:%u" : "%s:%u", at->host, at->port);
        json_t *object = json_object();
        json_object_set_new(object, "address", json_string(address));
        json_object_set_new(object, "protocol", json_string(listener_protocol_names[at->protocol]));
        json_object_set_new(object, "ceiling", json_string(job_class_names[at->ceiling]));
        json_array_append_new(listeners, object);
    }
    json_object_set_new(root, "listeners", listeners);
    json_object_set_new(root, "idle", json_string(idle_names[engine->settings.cores_idle]));
    json_object_set_new(root, "park_cost_us", json_real(microseconds(engine->park_cost_ns)));
    return root;
}

/* Renders to text; jansson's dumps would take twice the memory. */
size_t stat_text(struct engine *engine, char *text, size_t text_bytes) {
    json_t *root = stat_json(engine);
    size_t used = json_dumpb(root, text, text_bytes, JSON_COMPACT);
    json_decref(root);
    return used <= text_bytes ? used : 0;
}
