/* SPDX-License-Identifier: MIT */
/* why — the answer to `millrace why`: where the last light and heavy requests spent their time, how
 * near each limit is, and which one limits now. Declared in stat.h. */
#include "base/bits.h"
#include "base/clock.h"
#include "engine/dispatch.h"
#include "engine/engine_private.h"
#include "engine/net.h"
#include "engine/stat.h"
#include "engine/work.h"

#include <stdio.h>

struct trace {
    uint64_t arrived_ns, replied_ns;
    uint32_t queued_ns, started_ns, finished_ns, kind, class, work, net;
};

/* The newest trace of all net tiles; relaxed reads: a sample for people. */
static bool newest(const struct engine *engine, bool heavy, struct trace *ret_trace) {
    bool found = false;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct net *net = engine->cores[i].net;
        const struct net_trace *from = net ? (heavy ? &net->last_heavy : &net->last_light) : NULL;
        uint64_t replied = from ? atomic_load_explicit(&from->replied_ns, memory_order_relaxed) : 0;
        if (replied == 0 || (found && replied <= ret_trace->replied_ns)) {
            continue;
        }
        found = true;
        *ret_trace = (struct trace){
            .arrived_ns = atomic_load_explicit(&from->arrived_ns, memory_order_relaxed),
            .replied_ns = replied,
            .queued_ns = atomic_load_explicit(&from->queued_ns, memory_order_relaxed),
            .started_ns = atomic_load_explicit(&from->started_ns, memory_order_relaxed),
            .finished_ns = atomic_load_explicit(&from->finished_ns, memory_order_relaxed),
            .kind = atomic_load_explicit(&from->kind, memory_order_relaxed),
            .class = atomic_load_explicit(&from->class, memory_order_relaxed),
            .work = atomic_load_explicit(&from->work, memory_order_relaxed),
            .net = i,
        };
    }
    /* A tile's clock stands for a turn, a helper's does not. */
    ret_trace->replied_ns =
        max_u64(ret_trace->replied_ns, ret_trace->arrived_ns + ret_trace->finished_ns);
    return found;
}

static void append_place(json_t *path, const char *place) {
    json_array_append_new(path, json_string(place));
}

static void append_tile(json_t *path, const char *tile, uint32_t core) {
    char text[48];
    (void)snprintf(text, sizeof text, "%s %u", tile, core);
    append_place(path, text);
}

static json_t *path_json(const struct engine *engine, const struct trace *trace, bool heavy) {
    json_t *path = json_array();
    uint32_t net = engine->cores[trace->net].place.name;
    append_tile(path, "net", net);
    if (!heavy) {
        append_tile(path, "light policy", net);
    } else if (trace->work == engine->mesh.core_count + 1) {
        append_place(path, "helper ring");
        append_place(path, "helper");
        append_place(path, "done ring");
    } else {
        append_place(path, "class ring");
        append_tile(path, "sched", engine->cores[engine->mesh.sched_core].place.name);
        if (trace->work < engine->mesh.core_count) {
            append_tile(path, "work", engine->cores[trace->work].place.name);
        }
        append_place(path, "done ring");
    }
    append_tile(path, "net", net);
    return path;
}

static json_t *trace_json(const struct engine *engine, bool heavy) {
    struct trace trace = {0};
    if (!newest(engine, heavy, &trace)) {
        return json_null();
    }
    json_t *object = json_object();
    json_object_set_new(
        object, "kind",
        json_string(trace.kind < JOB_KIND_COUNT ? job_kind_names[trace.kind] : "?"));
    json_object_set_new(
        object, "class",
        json_string(trace.class < CLASS_COUNT ? job_class_names[trace.class] : "?"));
    json_object_set_new(object, "path", path_json(engine, &trace, heavy));
    json_object_set_new(object, "arrived_us", json_real(0));
    json_object_set_new(object, "queued_us", json_real(trace.queued_ns / 1000.0));
    json_object_set_new(object, "started_us", json_real(trace.started_ns / 1000.0));
    json_object_set_new(object, "finished_us", json_real(trace.finished_ns / 1000.0));
    json_object_set_new(object, "replied_us",
                        json_real((double)(trace.replied_ns - trace.arrived_ns) / 1000.0));
    return object;
}

/* ---- limits --------------------------------------------------------------------------------- */

struct limit {
    const char *what;
    uint64_t value, max;
    const char *advice;
};

static void add_limit(json_t *limits, const struct limit *limit, struct limit *nearest) {
    json_t *object = json_object();
    json_object_set_new(object, "what", json_string(limit->what));
    json_object_set_new(object, "value", json_integer((json_int_t)limit->value));
    json_object_set_new(object, "max", json_integer((json_int_t)limit->max));
    json_array_append_new(limits, object);
    if (limit->max &&
        (!nearest->max || limit->value * nearest->max > nearest->value * limit->max)) {
        *nearest = *limit;
    }
}

static void collect_limits(struct engine *engine, json_t *limits, struct limit *nearest) {
    uint64_t conns = 0, jobs = 0, jobs_max = 0, flight = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        const struct net *net = engine->cores[i].net;
        if (net) {
            conns += counter_get(&net->counters.connections);
            jobs += counter_get(&net->counters.jobs_used);
            jobs_max += net->jobs_max;
        }
        flight +=
            engine->cores[i].work ? counter_get(&engine->cores[i].work->counters.in_flight) : 0;
    }
    uint64_t frames = 0;
    for (uint32_t k = 0; k < engine->layout.work_count; k++) {
        frames += counter_get(&keeper_counters(store_keeper(engine->store, k))->frame_bytes);
    }
    const struct limit all[] = {
        {"connections", conns, engine->settings.net_connections_max, "raise net.connections_max"},
        {"requests in flight", jobs, jobs_max,
         "raise net.jobs_max, or add cores: work is slower than its arrival"},
        {"jobs in the store", flight, (uint64_t)WORK_OPS_MAX * engine->layout.work_count,
         "the disk is slower than what is asked of it: more memory, more work cores or a faster "
         "disk"},
    };
    for (size_t i = 0; i < array_count(all); i++) {
        add_limit(limits, &all[i], nearest);
    }
    /* A full memory tier is its normal state, so it never counts as what limits. */
    struct limit ignored = {0};
    const struct limit memory = {"memory tier bytes", frames, engine->settings.store_memory_bytes,
                                 ""};
    add_limit(limits, &memory, &ignored);
}

/* The share of each core's time that was busy since the last question. */
static double busiest(struct engine *engine, uint32_t *ret_core) {
    static uint64_t seen_busy[LAYOUT_CORES_MAX], seen_at;
    uint64_t now = clock_ns();
    double most = 0;
    for (uint32_t i = 0; i < engine->layout.count; i++) {
        uint64_t busy = counter_get(&engine->cores[i].counters.busy_ns);
        uint64_t since = now - (seen_at ? seen_at : engine->started_ns);
        double ratio = since ? (double)(busy - seen_busy[i]) / (double)since : 0;
        seen_busy[i] = busy;
        if (ratio > most) {
            most = ratio;
            *ret_core = engine->cores[i].place.name;
        }
    }
    seen_at = now;
    return most > 1 ? 1 : most;
}

json_t *stat_why(struct engine *engine) {
    json_t *root = json_object();
    json_object_set_new(root, "last_light", trace_json(engine, false));
    json_object_set_new(root, "last_heavy", trace_json(engine, true));
    json_t *limits = json_array();
    struct limit nearest = {0};
    collect_limits(engine, limits, &nearest);
    json_object_set_new(root, "limits", limits);
    uint32_t core = 0;
    double busy = busiest(engine, &core);
    char text[256];
    if (nearest.max && nearest.value * 10 >= nearest.max * 9) {
        (void)snprintf(text, sizeof text, "%s: %llu of %llu; %s", nearest.what,
                       (unsigned long long)nearest.value, (unsigned long long)nearest.max,
                       nearest.advice);
    } else if (busy > 0.9) {
        (void)snprintf(text, sizeof text,
                       "CPU: core %u was %.0f %% busy since the last question; add cores", core,
                       busy * 100);
    } else {
        (void)snprintf(text, sizeof text,
                       "nothing: the busiest core, %u, was %.0f %% busy since the last question",
                       core, busy * 100);
    }
    json_object_set_new(root, "limiting", json_string(text));
    return root;
}
