/* SPDX-License-Identifier: MIT */
#include "tools/millrace/stat_view.h"

#include "tools/millrace/admin.h"
#include "tools/millrace/human.h"

#include <string.h>

#define CELL HUMAN_MAX

/* Two answers of the daemon, and how far apart. */
struct span {
    const json_t *now, *before; /* before: NULL for totals since the start */
    double seconds;
};

/* A counter's growth a second, or its total. */
static double grown(const struct span *span, const char *path) {
    double value = admin_number(span->now, path);
    if (span->before == NULL || span->seconds <= 0) {
        return value;
    }
    double growth = value - admin_number(span->before, path);
    return growth > 0 ? growth / span->seconds : 0;
}

static const char *count(double value, char text[CELL]) {
    return human_count(value > 0 ? (uint64_t)(value + 0.5) : 0, text);
}

static const char *bytes(double value, char text[CELL]) {
    return human_bytes(value > 0 ? (uint64_t)value : 0, text);
}

/* The same row of an older answer, found by its place. */
static struct span row_of(const struct span *span, const char *table, size_t index) {
    return (struct span){json_array_get(admin_at(span->now, table), index),
                         span->before != NULL ? json_array_get(admin_at(span->before, table), index)
                                              : NULL,
                         span->seconds};
}

static double sum_cores(const struct span *span, const char *path) {
    double sum = 0;
    for (size_t i = 0; i < json_array_size(admin_at(span->now, "cores")); i++) {
        struct span row = row_of(span, "cores", i);
        sum += grown(&row, path);
    }
    return sum;
}

/* Of a daemon that has one for all of its memory. */
static void budget(FILE *out, const json_t *now) {
    char a[CELL], b[CELL], c[CELL], d[CELL], e[CELL], f[CELL];
    if (admin_number(now, "memory.whole_budget_bytes") == 0) {
        return;
    }
    fprintf(out, "budget   %s of %s held: index %s, buffers %s, lent %s; frames may take %s: %s\n",
            bytes(admin_number(now, "memory.held_bytes"), a),
            bytes(admin_number(now, "memory.whole_budget_bytes"), b),
            bytes(admin_number(now, "memory.index_bytes"), c),
            bytes(admin_number(now, "memory.buffers_bytes"), d),
            bytes(admin_number(now, "memory.lent_bytes"), e),
            bytes(admin_number(now, "memory.frames_limit_bytes"), f),
            admin_text(now, "memory.ladder_why"));
}

static void head(FILE *out, const struct span *span) {
    char a[CELL], b[CELL], c[CELL], d[CELL], e[CELL];
    const json_t *now = span->now;
    const char *per = span->before != NULL ? "/s" : "";
    struct span total = {now, NULL, 0};
    fprintf(out, "millrace %s  %s  process %.0f  up %s\n", admin_text(now, "version"),
            admin_text(now, "state"), admin_number(now, "pid"),
            human_time(admin_number(now, "uptime_s"), a));
    fprintf(out, "store    %s blocks, %s; on disk %s in %s segments (%.0f spare), %s free%s\n",
            count(admin_number(now, "store.blocks"), a), bytes(admin_number(now, "store.bytes"), b),
            bytes(admin_number(now, "store.bytes_on_disk"), c),
            count(admin_number(now, "store.segments"), d),
            admin_number(now, "store.spare_segments"),
            bytes(admin_number(now, "store.free_bytes"), e),
            json_is_true(admin_at(now, "store.read_only")) ? "; READ ONLY" : "");
    fprintf(out, "disk     puts%s %s  reads%s %s  read%s %s  written%s %s  commits%s %s\n", per,
            count(grown(span, "store.puts"), a), per, count(grown(span, "store.reads"), b), per,
            bytes(grown(span, "store.read_bytes"), c), per,
            bytes(grown(span, "store.write_bytes"), d), per,
            count(grown(span, "store.batches"), e));
    fprintf(out, "memory   resident %s, %s blocks in %s of frames, catalog %s\n",
            bytes(admin_number(now, "memory.rss_bytes"), a),
            count(admin_number(now, "store.frames"), b),
            bytes(admin_number(now, "memory.frames_bytes"), c),
            bytes(admin_number(now, "store.catalog_bytes"), d));
    budget(out, now);
    fprintf(out, "traffic  %s connections  light%s %s  heavy%s %s  in%s %s",
            count(sum_cores(&total, "net.connections"), a), per,
            count(sum_cores(span, "net.light"), b), per, count(sum_cores(span, "net.heavy"), c),
            per, bytes(sum_cores(span, "net.bytes_in"), d));
    fprintf(out, "  out%s %s\n", per, bytes(sum_cores(span, "net.bytes_out"), e));
}

/* A line a tier; memory has one of its own. */
static void tiers(FILE *out, const json_t *now) {
    const json_t *list = admin_at(now, "tiers");
    for (size_t i = 1; i < json_array_size(list); i++) {
        char a[32], b[32], c[32], d[32], e[32], limit[40] = "";
        const json_t *tier = json_array_get(list, i);
        double size = admin_number(tier, "size");
        if (size > 0) {
            snprintf(limit, sizeof limit, " of %s", bytes(size, e));
        }
        fprintf(out, "%-8s %s %s: %s blocks, %s; on disk %s%s  hits %s\n", admin_text(tier, "kind"),
                admin_text(tier, "name"), admin_text(tier, "state"),
                count(admin_number(tier, "blocks"), a), bytes(admin_number(tier, "bytes"), b),
                bytes(admin_number(tier, "bytes_on_disk"), c), limit,
                count(admin_number(tier, "hits"), d));
        if (json_object_get(tier, "waits") != NULL) {
            fprintf(out, "TROUBLE  %s: %s\n", admin_text(tier, "name"), admin_text(tier, "waits"));
        }
    }
}

/* What went wrong, named only where there is something. */
static void troubles(FILE *out, const json_t *now) {
    static const struct {
        const char *path, *words;
    } rows[] = {
        {"store.io_errors", "disk operations failed since the start"},
        {"store.corrupt",
         "reads did not verify since the start: 'millrace scrub' says what is so now"},
        {"store.corrupt_ranges", "damaged ranges found when the store was opened"},
    };
    char text[CELL], free_text[CELL];
    for (size_t i = 0; i < array_count(rows); i++) {
        if (admin_number(now, rows[i].path) > 0) {
            fprintf(out, "TROUBLE  %s %s\n", count(admin_number(now, rows[i].path), text),
                    rows[i].words);
        }
    }
    if (admin_number(now, "store.full") > 0) {
        fprintf(out, "TROUBLE  %s puts were refused since the start: no space; %s free now\n",
                count(admin_number(now, "store.full"), text),
                bytes(admin_number(now, "store.free_bytes"), free_text));
    }
}

static double sum_classes(const struct span *span, const char *path) {
    double sum = 0;
    for (size_t i = 0; i < json_array_size(admin_at(span->now, "classes")); i++) {
        struct span row = row_of(span, "classes", i);
        sum += grown(&row, path);
    }
    return sum;
}

/* Share is what a class got of all that was served, beside what it is owed when all are waiting. */
static void classes(FILE *out, const struct span *span) {
    char a[CELL], b[CELL], c[CELL], d[CELL], e[CELL], f[CELL], g[CELL], h[CELL], i[CELL];
    double all = sum_classes(span, "done");
    /* What is looked for first stands first: 80 columns end behind "waiting". */
    fprintf(out, "\n%-9s %9s %9s %9s %12s %9s %8s %8s %9s %9s %8s\n", "class", "p50", "p99",
            "share", span->before != NULL ? "requests/s" : "requests", "busy", "waiting", "late",
            "p95", "p99.9", "expired");
    for (size_t at = 0; at < json_array_size(admin_at(span->now, "classes")); at++) {
        struct span row = row_of(span, "classes", at);
        double queued =
            admin_number(row.now, "queued_light") + admin_number(row.now, "queued_heavy");
        fprintf(out, "%-9s %9s %9s %5.0f/%-2.0f%% %12s %9s %8s %8s %9s %9s %8s\n",
                admin_text(row.now, "class"), human_us(admin_number(row.now, "p50_us"), a),
                human_us(admin_number(row.now, "p99_us"), b),
                all > 0 ? 100 * grown(&row, "done") / all : 0, admin_number(row.now, "share"),
                count(grown(&row, "requests"), c), count(grown(&row, "busy"), d), count(queued, e),
                count(grown(&row, "sla_misses"), f), human_us(admin_number(row.now, "p95_us"), g),
                human_us(admin_number(row.now, "p999_us"), h), count(grown(&row, "expired"), i));
    }
}

static void batches(FILE *out, const struct span *span) {
    static const struct {
        const char *path, *name;
    } reasons[] = {{"batches.closed_idle", "idle"},
                   {"batches.closed_size", "size"},
                   {"batches.closed_bytes", "bytes"},
                   {"batches.closed_cost", "cost"},
                   {"batches.closed_age", "age"}};
    char text[CELL];
    fprintf(out, "batches  closed%s by", span->before != NULL ? "/s" : "");
    for (size_t i = 0; i < array_count(reasons); i++) {
        fprintf(out, "  %s %s", reasons[i].name, count(grown(span, reasons[i].path), text));
    }
    fprintf(out, "\n");
}

static void tiles_text(const json_t *core, char text[64]) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(json_object_get(core, "tiles")) && used < 64; i++) {
        const char *tile = json_string_value(json_array_get(json_object_get(core, "tiles"), i));
        used += (size_t)snprintf(text + used, 64 - used, "%s%s", i > 0 ? "+" : "",
                                 tile != NULL ? tile : "?");
    }
}

/* Busy since the start, or since the older answer. */
static double busy_percent(const struct span *row) {
    if (row->before == NULL) {
        return 100 * admin_number(row->now, "busy_ratio");
    }
    double busy = (grown(row, "busy_ns") - grown(row, "spin_ns")) / (double)NS_PER_S;
    return 100 * (busy < 1 ? busy > 0 ? busy : 0 : 1);
}

static void cores(FILE *out, const struct span *span) {
    char a[CELL], b[CELL], c[CELL], d[CELL], e[CELL], f[CELL], cpu[CELL], tiles[64];
    const char *per = span->before != NULL ? "/s" : "";
    fprintf(out, "\n%-4s %4s %-15s %6s %8s %9s%-2s %9s%-2s %9s%-2s %9s%-2s %7s%-2s\n", "core",
            "cpu", "tiles", "busy", "conns", "light", per, "heavy", per, "in", per, "out", per,
            "parks", per);
    for (size_t at = 0; at < json_array_size(admin_at(span->now, "cores")); at++) {
        struct span row = row_of(span, "cores", at);
        bool pinned = admin_at(row.now, "cpu") != NULL;
        tiles_text(row.now, tiles);
        snprintf(cpu, sizeof cpu, pinned ? "%.0f" : "any", admin_number(row.now, "cpu"));
        fprintf(out, "%-4.0f %4s %-15s %5.1f%% %8s %11s %11s %11s %11s %9s\n",
                admin_number(row.now, "core"), cpu, tiles, busy_percent(&row),
                count(admin_number(row.now, "net.connections"), a),
                count(grown(&row, "net.light"), b), count(grown(&row, "net.heavy"), c),
                bytes(grown(&row, "net.bytes_in"), d), bytes(grown(&row, "net.bytes_out"), e),
                count(grown(&row, "parks"), f));
    }
}

/* Done rings come in pairs of cores: only those that hold something are worth a place. */
static void rings(FILE *out, const struct span *span) {
    uint32_t shown = 0;
    for (size_t at = 0; at < json_array_size(admin_at(span->now, "rings")); at++) {
        struct span row = row_of(span, "rings", at);
        const char *name = admin_text(row.now, "ring");
        double held = admin_number(row.now, "count");
        if (held == 0 && strncmp(name, "done", 4) == 0) {
            continue;
        }
        fprintf(out, "%s%-18s %5.0f of %-7.0f",
                shown == 0       ? "\nrings\n"
                : shown % 3 == 0 ? "\n"
                                 : "  ",
                name, held, admin_number(row.now, "size"));
        shown++;
    }
    fprintf(out, "%s", shown > 0 ? "\n" : "");
}

void stat_view(FILE *out, const json_t *now, const json_t *before, double seconds) {
    struct span span = {now, before, seconds};
    head(out, &span);
    tiers(out, now);
    troubles(out, now);
    batches(out, &span);
    classes(out, &span);
    cores(out, &span);
    rings(out, &span);
}

void stat_line_heading(FILE *out) {
    fprintf(out, "%11s %11s %9s %9s %9s %9s %9s %8s %10s\n", "light/s", "heavy/s", "puts/s", "in/s",
            "out/s", "conns", "p50", "p99", "busy");
}

void stat_line(FILE *out, const json_t *now, const json_t *before, double seconds) {
    char a[CELL], b[CELL], c[CELL], d[CELL], e[CELL], f[CELL], g[CELL], h[CELL], i[CELL];
    struct span span = {now, before, seconds}, total = {now, NULL, 0};
    double p50 = 0, p99 = 0, busy = 0;
    for (size_t at = 0; at < json_array_size(admin_at(now, "classes")); at++) {
        struct span row = row_of(&span, "classes", at);
        double one = admin_number(row.now, "p99_us");
        p50 = one > p99 ? admin_number(row.now, "p50_us") : p50; /* of the class that is worst */
        p99 = one > p99 ? one : p99;
        busy += grown(&row, "busy");
    }
    fprintf(out, "%11s %11s %9s %9s %9s %9s %9s %8s %10s\n",
            count(sum_cores(&span, "net.light"), a), count(sum_cores(&span, "net.heavy"), b),
            count(grown(&span, "store.puts"), c), bytes(sum_cores(&span, "net.bytes_in"), d),
            bytes(sum_cores(&span, "net.bytes_out"), e),
            count(sum_cores(&total, "net.connections"), f), human_us(p50, g), human_us(p99, h),
            count(busy, i));
    fflush(out);
}

static void join_text(const json_t *words, char text[64]) {
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < json_array_size(words) && used < 64; i++) {
        const char *word = json_string_value(json_array_get(words, i));
        used += (size_t)snprintf(text + used, 64 - used, "%s%s", i > 0 ? ", " : "",
                                 word != NULL ? word : "?");
    }
}

void topo_view(FILE *out, const json_t *topo) {
    char tiles[64], homes[64], ctl[CELL];
    const json_t *ctl_core = admin_at(topo, "ctl_core");
    snprintf(ctl, sizeof ctl, json_is_string(ctl_core) ? "any" : "%.0f",
             json_number_value(ctl_core));
    fprintf(out, "layout   %s, of %.0f CPUs that may be used; idle: %s\n",
            json_is_true(admin_at(topo, "auto")) ? "auto" : "as set",
            admin_number(topo, "cpus_allowed"), admin_text(topo, "idle"));
    fprintf(out, "others   scheduler on core %.0f, control on CPU %s\n",
            admin_number(topo, "sched_core"), ctl);
    for (size_t i = 0; i < json_array_size(admin_at(topo, "listeners")); i++) {
        const json_t *listener = json_array_get(admin_at(topo, "listeners"), i);
        fprintf(out, "listens  %s (%s), ceiling %s\n", admin_text(listener, "address"),
                admin_text(listener, "protocol"), admin_text(listener, "ceiling"));
    }
    fprintf(out, "\n%-5s %5s %5s  %-16s %s\n", "core", "cpu", "numa", "tiles", "home of");
    for (size_t i = 0; i < json_array_size(admin_at(topo, "cores")); i++) {
        const json_t *core = json_array_get(admin_at(topo, "cores"), i);
        tiles_text(core, tiles);
        join_text(json_object_get(core, "home_of"), homes);
        fprintf(out, "%-5.0f %5.0f %5.0f  %-16s %s\n", admin_number(core, "core"),
                admin_number(core, "cpu"), admin_number(core, "numa"), tiles, homes);
    }
}

/* Each stamp is told as the time since the request arrived. */
static void trace_view(FILE *out, const char *name, const json_t *trace) {
    static const char *const stamps[] = {"queued_us", "started_us", "finished_us", "replied_us"};
    const json_t *path = json_object_get(trace, "path");
    if (json_array_size(path) == 0) {
        fprintf(out, "%s: none yet\n", name);
        return;
    }
    fprintf(out, "%s: %s, class %s\n  ", name, admin_text(trace, "kind"),
            admin_text(trace, "class"));
    for (size_t i = 0; i < json_array_size(path); i++) {
        const char *step = json_string_value(json_array_get(path, i));
        fprintf(out, "%s%s", i > 0 ? " -> " : "", step != NULL ? step : "?");
    }
    fprintf(out, "\n  after it arrived:");
    for (size_t i = 0; i < array_count(stamps); i++) {
        if (admin_number(trace, stamps[i]) > 0) {
            fprintf(out, " %.*s +%.1f us", (int)(strlen(stamps[i]) - 3), stamps[i],
                    admin_number(trace, stamps[i]) - admin_number(trace, "arrived_us"));
        }
    }
    fprintf(out, "\n");
}

void why_view(FILE *out, const json_t *why) {
    char a[CELL], b[CELL];
    const json_t *limits = admin_at(why, "limits");
    trace_view(out, "last light request", json_object_get(why, "last_light"));
    trace_view(out, "last heavy request", json_object_get(why, "last_heavy"));
    if (json_array_size(limits) > 0) {
        fprintf(out, "\n%-28s %14s %14s %6s\n", "limit", "now", "most", "full");
    }
    for (size_t i = 0; i < json_array_size(limits); i++) {
        const json_t *limit = json_array_get(limits, i);
        double value = admin_number(limit, "value"), most = admin_number(limit, "max");
        fprintf(out, "%-28s %14s %14s %5.1f%%\n", admin_text(limit, "what"), count(value, a),
                count(most, b), most > 0 ? 100 * value / most : 0);
    }
    fprintf(out, "\nlimiting: %s\n", admin_text(why, "limiting"));
}
