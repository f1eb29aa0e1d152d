/* SPDX-License-Identifier: MIT */
#include "tools/load/report.h"

#include "base/must.h"
#include "tools/load/options.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool live(const struct plan *plan) {
    return plan->live || isatty(STDERR_FILENO);
}

static const char *line_start(void) {
    return isatty(STDERR_FILENO) ? "\r\033[K" : "";
}

static const char *line_end(void) {
    return isatty(STDERR_FILENO) ? "" : "\n";
}

void report_fill(const struct plan *plan, uint64_t done) {
    if (live(plan)) {
        fprintf(stderr, "%sfilling  %" PRIu64 " of %" PRIu64 " blocks%s", line_start(), done,
                plan->keys, line_end());
        fflush(stderr);
    }
}

const char *time_text(uint64_t ns, char text[TIME_TEXT_BYTES]) {
    double us = (double)ns / 1000.0;
    if (us < 1000) {
        snprintf(text, TIME_TEXT_BYTES, "%.*f us", us < 10 ? 2 : us < 100 ? 1 : 0, us);
    } else if (us < 1e6) {
        snprintf(text, TIME_TEXT_BYTES, "%.*f ms", us < 1e4 ? 2 : us < 1e5 ? 1 : 0, us / 1e3);
    } else {
        snprintf(text, TIME_TEXT_BYTES, "%.2f s", us / 1e6);
    }
    return text;
}

void report_live(const struct plan *plan, const struct tally *total, const struct sample *sample) {
    if (!live(plan)) {
        return;
    }
    char p50[TIME_TEXT_BYTES], p99[TIME_TEXT_BYTES];
    fprintf(stderr,
            "%s%6.1f s  %10.0f req/s  p50 %9s  p99 %9s  errors %" PRIu64 "  wrong %" PRIu64
            "  busy %" PRIu64 "%s",
            line_start(), sample->at_s, sample->rate, time_text(sample->p50_ns, p50),
            time_text(sample->p99_ns, p99), (uint64_t)total->errors, (uint64_t)total->wrong,
            (uint64_t)total->busy, line_end());
    fflush(stderr);
}

void report_live_end(const struct plan *plan) {
    if (live(plan)) {
        fputs(line_start(), stderr);
    }
}

bool report_good(const struct result *result) {
    return result->total.requests > 0 && result->total.errors == 0 && result->total.wrong == 0;
}

static void row_print(const char *name, const struct tally *tally, double seconds) {
    static const double at[] = {0.5, 0.95, 0.99, 0.999};
    printf("%-9s %12" PRIu64 " %11.0f", name, (uint64_t)tally->requests,
           (double)tally->requests / seconds);
    char text[TIME_TEXT_BYTES];
    for (size_t i = 0; i < array_count(at); i++) {
        printf(" %9s", time_text(hist_quantile_ns(&tally->latency, at[i]), text));
    }
    printf(" %9s\n", time_text(tally->latency.max_ns, text));
}

void report_table(const struct plan *plan, const struct result *result) {
    const struct tally *total = &result->total;
    printf("%s %s, %u connections, depth %u, %u-byte blocks, %" PRIu64 " keys, %.2f s, ",
           plan->wire->name, plan->to_text, plan->conns, plan->depth, plan->size, plan->keys,
           result->seconds);
    if (plan->rate > 0) {
        printf("open loop %.0f/s\n\n", plan->rate);
    } else {
        printf("closed loop\n\n");
    }
    printf("%-9s %12s %11s %9s %9s %9s %9s %9s\n", "class", "requests", "per second", "p50", "p95",
           "p99", "p99.9", "max");
    for (uint32_t class = 0; plan->classed && class < TALLY_CLASSES; class ++) {
        if (plan->class_weight[class] > 0) {
            row_print(class_names[class], &result->classes[class], result->seconds);
        }
    }
    row_print("all", total, result->seconds);
    printf("\nbodies %.1f MB/s · errors %" PRIu64 " · wrong %" PRIu64 " · busy %" PRIu64
           " · not found %" PRIu64,
           (double)total->bytes / result->seconds / 1e6, (uint64_t)total->errors,
           (uint64_t)total->wrong, (uint64_t)total->busy, (uint64_t)total->not_found);
    if (plan->rate > 0) {
        printf(" · never sent %" PRIu64, (uint64_t)total->late);
    }
    printf("\n");
    if (total->requests > 0) {
        double requests = (double)total->requests;
        printf("CPU a request: generator %.2f us", result->cpu_seconds / requests * 1e6);
        if (result->server_cpu_seconds >= 0) {
            printf(" · server %.2f us", result->server_cpu_seconds / requests * 1e6);
        }
        printf("\n");
    }
    for (uint32_t i = 0; i < result->extra_count; i++) {
        printf("%s%s %" PRIu64 "%s", i > 0 ? " · " : "", result->extras[i].name,
               result->extras[i].count, i + 1 == result->extra_count ? "\n" : "");
    }
    if (result->fault[0] != '\0') {
        printf("first fault: %s\n", result->fault);
    }
}

static json_t *micros(const struct tally *tally, double q) {
    return json_real((double)hist_quantile_ns(&tally->latency, q) / 1000.0);
}

static json_t *tally_json(const struct tally *tally, double seconds) {
    json_t *out = json_object();
    json_object_set_new(out, "requests", json_integer((json_int_t)tally->requests));
    json_object_set_new(out, "rate", json_real((double)tally->requests / seconds));
    double count = tally->requests > 0 ? (double)tally->requests : 1;
    json_object_set_new(out, "mean_us", json_real((double)tally->latency.sum_ns / count / 1000.0));
    json_object_set_new(out, "p50_us", micros(tally, 0.5));
    json_object_set_new(out, "p95_us", micros(tally, 0.95));
    json_object_set_new(out, "p99_us", micros(tally, 0.99));
    json_object_set_new(out, "p999_us", micros(tally, 0.999));
    json_object_set_new(out, "p_max_us", json_real((double)tally->latency.max_ns / 1000.0));
    json_object_set_new(out, "errors", json_integer((json_int_t)tally->errors));
    json_object_set_new(out, "wrong", json_integer((json_int_t)tally->wrong));
    json_object_set_new(out, "busy", json_integer((json_int_t)tally->busy));
    json_object_set_new(out, "not_found", json_integer((json_int_t)tally->not_found));
    json_object_set_new(out, "late", json_integer((json_int_t)tally->late));
    json_object_set_new(out, "writes", json_integer((json_int_t)tally->writes));
    json_object_set_new(out, "bytes", json_integer((json_int_t)tally->bytes));
    return out;
}

char *report_json(const struct plan *plan, const struct result *result) {
    json_t *out = tally_json(&result->total, result->seconds);
    json_object_set_new(out, "unanswered", json_integer((json_int_t)result->unanswered));
    json_object_set_new(out, "protocol", json_string(plan->wire->name));
    json_object_set_new(out, "to", json_string(plan->to_text));
    json_object_set_new(out, "seconds", json_real(result->seconds));
    json_object_set_new(out, "conns", json_integer(plan->conns));
    json_object_set_new(out, "depth", json_integer(plan->depth));
    json_object_set_new(out, "size", json_integer(plan->size));
    json_object_set_new(out, "keys", json_integer((json_int_t)plan->keys));
    json_object_set_new(out, "rate_offered", json_real(plan->rate));
    json_object_set_new(out, "cpu_seconds", json_real(result->cpu_seconds));
    if (result->server_cpu_seconds >= 0) {
        json_object_set_new(out, "server_cpu_seconds", json_real(result->server_cpu_seconds));
    }
    for (uint32_t i = 0; i < result->extra_count; i++) {
        json_object_set_new(out, result->extras[i].name,
                            json_integer((json_int_t)result->extras[i].count));
    }
    if (plan->classed) {
        json_t *classes = json_object();
        for (uint32_t class = 0; class < TALLY_CLASSES; class ++) {
            if (plan->class_weight[class] > 0) {
                json_object_set_new(classes, class_names[class],
                                    tally_json(&result->classes[class], result->seconds));
            }
        }
        json_object_set_new(out, "classes", classes);
    }
    if (result->fault[0] != '\0') {
        json_t *fault = json_string(result->fault);
        json_object_set_new(out, "fault", fault != NULL ? fault : json_string("not text"));
    }
    char *text = json_dumps(out, JSON_REAL_PRECISION(9));
    json_decref(out);
    return text;
}
