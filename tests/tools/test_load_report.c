/* SPDX-License-Identifier: MIT */
#include "tools/load/report.h"

#include "tools/load/tally.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The table and JSON are tools/load/report.c, the drawing tools/load/plot.c. */
static struct plan plan;
static struct result result;

static void some_load(void) {
    plan = (struct plan){.wire = &wire_tlv,
                         .conns = 5,
                         .depth = 2,
                         .size = 64,
                         .keys = 10,
                         .seconds = 2,
                         .classed = true,
                         .class_weight = {1, 0, 0, 4}};
    memset(&result, 0, sizeof result);
    result.seconds = 2;
    result.cpu_seconds = 0.5;
    result.server_cpu_seconds = 0.25;
    for (uint64_t us = 1; us <= 1000; us++) {
        hist_record(&result.classes[3].latency, us * 1000, 1);
    }
    tally_count(&result.classes[3].requests, 1000);
    tally_count(&result.classes[3].bytes, 64000);
    tally_count(&result.classes[0].busy, 3);
    tally_merge(&result.total, &result.classes[0]);
    tally_merge(&result.total, &result.classes[3]);
    for (uint32_t i = 0; i < 20; i++) {
        result.samples[i] = (struct sample){.at_s = (i + 1) * 0.1, .span_s = 0.1, .rate = 500};
    }
    result.sample_count = 20;
}

static double number_at(json_t *object, const char *name) {
    json_t *value = json_object_get(object, name);
    cr_assert(json_is_number(value), "%s is missing", name);
    return json_number_value(value);
}

Test(load_report, the_json_object_has_what_checks_rely_on) {
    some_load();
    char *text = report_json(&plan, &result);
    cr_assert_null(strchr(text, '\n'), "one line");
    json_t *out = json_loads(text, 0, NULL);
    cr_assert_not_null(out);
    cr_assert_float_eq(number_at(out, "requests"), 1000, 0);
    cr_assert_float_eq(number_at(out, "rate"), 500, 1e-6);
    cr_assert_float_eq(number_at(out, "bytes"), 64000, 0);
    cr_assert_float_eq(number_at(out, "busy"), 3, 0);
    static const char *const names[] = {
        "errors", "wrong", "not_found", "late",        "seconds",
        "conns",  "depth", "size",      "cpu_seconds", "server_cpu_seconds"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        number_at(out, names[i]);
    }
    /* A quantile never under-reports, and over-reports by a sixteenth at most. */
    static const struct {
        const char *name;
        double us;
    } quantiles[] = {{"p50_us", 500}, {"p95_us", 950}, {"p99_us", 990}, {"p999_us", 999}};
    for (size_t i = 0; i < 4; i++) {
        double us = number_at(out, quantiles[i].name);
        cr_assert(us >= quantiles[i].us && us <= quantiles[i].us * 17 / 16 + 1, "%s %f",
                  quantiles[i].name, us);
    }
    cr_assert_float_eq(number_at(out, "p_max_us"), 1000, 1e-6);
    cr_assert_float_eq(number_at(out, "mean_us"), 500.5, 1e-6);
    json_t *low = json_object_get(json_object_get(out, "classes"), "low");
    cr_assert_float_eq(number_at(low, "requests"), 1000, 0);
    json_decref(out);
    free(text);
}

Test(load_report, a_plot_is_whole_and_holds_no_number_that_is_none) {
    some_load();
    char path[] = "/tmp/millrace-plot-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(plot_write(path, &plan, &result), 0);
    static char text[200000];
    ssize_t got = read(fd, text, sizeof text - 1);
    cr_assert(got > 1000);
    cr_assert_eq(strncmp(text, "<svg ", 5), 0);
    cr_assert_not_null(strstr(text, "</svg>"));
    cr_assert_null(strstr(text, "nan"));
    cr_assert_null(strstr(text, "inf"));
    close(fd);
    unlink(path);
    cr_assert(plot_write("/nonexistent/plot.svg", &plan, &result) < 0);
}

Test(load_report, an_empty_result_can_be_drawn_and_told) {
    some_load();
    memset(&result, 0, sizeof result);
    result.seconds = 1;
    char *text = report_json(&plan, &result);
    cr_assert_not_null(text);
    free(text);
    cr_assert_eq(plot_write("/dev/null", &plan, &result), 0);
}

Test(load_report, wrong_or_failed_replies_are_not_good_and_busy_ones_are) {
    some_load();
    cr_assert(report_good(&result));
    struct result nothing = {.seconds = 1};
    tally_count(&nothing.total.not_found, 5);
    cr_assert_not(report_good(&nothing), "not one block came");
    tally_count(&result.total.wrong, 1);
    cr_assert_not(report_good(&result));
}

Test(load_tally, what_happened_since_is_the_difference) {
    static struct tally before, now;
    memset(&before, 0, sizeof before);
    tally_count(&before.requests, 5);
    hist_record(&before.latency, 1000, 5);
    now = before;
    tally_count(&now.requests, 7);
    hist_record(&now.latency, 50000, 7);
    tally_since(&now, &before);
    cr_assert_eq(now.requests, 7);
    cr_assert_eq(hist_total(&now.latency), 7);
}
