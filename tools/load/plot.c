/* SPDX-License-Identifier: MIT */
#include "tools/load/report.h"

#include "base/err.h"
#include "tools/load/options.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

/* Two panels of one width: what was answered over time, and how long it took by percentile. */
#define WIDTH  920.0
#define LEFT   84.0
#define RIGHT  28.0
#define TOP_1  112.0
#define TALL   220.0
#define TOP_2  424.0
#define HEIGHT 690.0
#define NINES  5.0 /* the right edge is 99.999 % */
#define INK    "#1f2430"
#define QUIET  "#6b7280"
#define RULE   "#e5e7eb"

static const char *const colours[TALLY_CLASSES + 1] = {"#d1495b", "#edae49", "#00798c", "#66a182",
                                                       "#30638e"};

static double across(double part) {
    return LEFT + part * (WIDTH - LEFT - RIGHT);
}

/* The least of 1, 2, 5 times a power of ten that is not below x. */
static double round_above(double x) {
    double power = pow(10, floor(log10(x > 0 ? x : 1)));
    double part = x / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

static void amount_print(FILE *out, double amount) {
    if (amount >= 1e6) {
        fprintf(out, "%.3gM", amount / 1e6);
    } else if (amount >= 1e3) {
        fprintf(out, "%.3gk", amount / 1e3);
    } else {
        fprintf(out, "%.3g", amount);
    }
}

static void text_begin(FILE *out, double x, double y, const char *anchor, const char *colour,
                       int size) {
    fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" fill=\"%s\" font-size=\"%d\">", x,
            y, anchor, colour, size);
}

static void label(FILE *out, double x, double y, const char *anchor, const char *text) {
    text_begin(out, x, y, anchor, QUIET, 12);
    fprintf(out, "%s</text>\n", text);
}

static void rule(FILE *out, double x1, double y1, double x2, double y2) {
    fprintf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" stroke=\"" RULE "\"/>\n",
            x1, y1, x2, y2);
}

/* ---- throughput -------------------------------------------------------------------------------
 */

static double rate_top(const struct result *result) {
    double top = 1;
    for (uint32_t i = 0; i < result->sample_count; i++) {
        top = result->samples[i].rate > top ? result->samples[i].rate : top;
    }
    double step = round_above(top / 4);
    return ceil(top / step) * step;
}

static void rate_axes(FILE *out, double top, double seconds) {
    double step = round_above(top / 4);
    for (double rate = 0; rate <= top * 1.001; rate += step) {
        double y = TOP_1 + TALL - rate / top * TALL;
        rule(out, LEFT, y, WIDTH - RIGHT, y);
        text_begin(out, LEFT - 10, y + 4, "end", QUIET, 12);
        amount_print(out, rate);
        fputs("</text>\n", out);
    }
    double tick = round_above(seconds / 8);
    for (double at = 0; at <= seconds * 1.001; at += tick) {
        text_begin(out, across(at / seconds), TOP_1 + TALL + 20, "middle", QUIET, 12);
        fprintf(out, "%.3g s</text>\n", at);
    }
}

static void rate_line(FILE *out, const struct result *result, double top, double seconds) {
    for (int closed = 1; closed >= 0; closed--) {
        fprintf(out,
                closed ? "<polygon fill=\"url(#wash)\" points=\""
                       : "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" "
                         "stroke-linejoin=\"round\" points=\"",
                colours[TALLY_CLASSES]);
        double last = 0;
        for (uint32_t i = 0; i < result->sample_count; i++) {
            const struct sample *sample = &result->samples[i];
            double x = across((sample->at_s - sample->span_s / 2) / seconds);
            if (closed && i == 0) {
                fprintf(out, "%.1f,%.1f ", x, TOP_1 + TALL);
            }
            fprintf(out, "%.1f,%.1f ", x, TOP_1 + TALL - sample->rate / top * TALL);
            last = x;
        }
        if (closed) {
            fprintf(out, "%.1f,%.1f", last, TOP_1 + TALL);
        }
        fputs("\"/>\n", out);
    }
}

/* ---- latency ----------------------------------------------------------------------------------
 */

/* The place of a quantile: each nine is as wide as the one before. */
static double nines_of(double q) {
    double nines = -log10(1 - q);
    return nines > NINES ? NINES : nines;
}

static double depth_of(double ns, double low, double high) {
    double part = (log10(ns) - low) / (high - low);
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    return TOP_2 + TALL - part * TALL;
}

static void latency_axes(FILE *out, double low, double high) {
    static const char *const names[] = {"0", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"};
    static const char *const decades[] = {"1 ns", "10 ns", "100 ns", "1 us", "10 us", "100 us",
                                          "1 ms", "10 ms", "100 ms", "1 s",  "10 s",  "100 s"};
    for (int decade = (int)low; decade <= (int)high; decade++) {
        double y = depth_of(pow(10, decade), low, high);
        rule(out, LEFT, y, WIDTH - RIGHT, y);
        label(out, LEFT - 10, y + 4, "end", decade < 12 ? decades[decade] : "");
    }
    for (int nines = 0; nines <= (int)NINES; nines++) {
        double x = across(nines / NINES);
        rule(out, x, TOP_2, x, TOP_2 + TALL);
        label(out, x, TOP_2 + TALL + 20, nines == (int)NINES ? "end" : "middle", names[nines]);
    }
    double half = across(nines_of(0.5) / NINES);
    rule(out, half, TOP_2, half, TOP_2 + TALL);
    label(out, half, TOP_2 + TALL + 20, "middle", "50 %");
}

static void latency_line(FILE *out, const struct tally *tally, const char *colour, double low,
                         double high) {
    uint64_t total = hist_total(&tally->latency);
    if (total == 0) {
        return;
    }
    fprintf(out,
            "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-linejoin=\"round\" "
            "points=\"",
            colour);
    double most = nines_of(1 - 1 / ((double)total + 1)); /* no more nines than were measured */
    for (int step = 0; step <= 200; step++) {
        double nines = most * step / 200;
        double ns = (double)hist_quantile_ns(&tally->latency, 1 - pow(10, -nines));
        double max = (double)tally->latency.max_ns;
        fprintf(out, "%.1f,%.1f ", across(nines / NINES), depth_of(ns < max ? ns : max, low, high));
    }
    fputs("\"/>\n", out);
}

/* The percentiles people ask for, with their values. */
static void latency_marks(FILE *out, const struct tally *tally, double low, double high) {
    static const double at[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
    uint64_t total = hist_total(&tally->latency);
    for (size_t i = 0; i < array_count(at) && (double)total * (1 - at[i]) >= 1; i++) {
        uint64_t ns = hist_quantile_ns(&tally->latency, at[i]);
        double x = across(nines_of(at[i]) / NINES), y = depth_of((double)ns, low, high);
        char text[TIME_TEXT_BYTES];
        fprintf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x, y,
                colours[TALLY_CLASSES]);
        text_begin(out, x + 7, y + 16, "start", INK, 12);
        fprintf(out, "%s</text>\n", time_text(ns, text));
    }
}

static void legend(FILE *out, const struct plan *plan) {
    double x = WIDTH - RIGHT;
    for (uint32_t class = TALLY_CLASSES; plan->classed && class -- > 0;) {
        if (plan->class_weight[class] == 0) {
            continue;
        }
        x -= 76;
        fprintf(out,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"10\" height=\"10\" rx=\"2\" fill=\"%s\"/>", x,
                TOP_2 - 26, colours[class]);
        text_begin(out, x + 16, TOP_2 - 16, "start", INK, 12);
        fprintf(out, "%s</text>\n", class_names[class]);
    }
}

static void latency_panel(FILE *out, const struct plan *plan, const struct result *result) {
    double least = (double)hist_quantile_ns(&result->total.latency, 0);
    double most = (double)result->total.latency.max_ns;
    double low = floor(log10(least > 100 ? least : 100));
    double high = ceil(log10(most > 1000 ? most : 1000));
    high = high > low ? high : low + 1;
    text_begin(out, LEFT, TOP_2 - 16, "start", INK, 15);
    fputs("latency by percentile</text>\n", out);
    latency_axes(out, low, high);
    for (uint32_t class = 0; plan->classed && class < TALLY_CLASSES; class ++) {
        latency_line(out, &result->classes[class], colours[class], low, high);
    }
    if (!plan->classed) {
        latency_line(out, &result->total, colours[TALLY_CLASSES], low, high);
        latency_marks(out, &result->total, low, high);
    }
    legend(out, plan);
}

int plot_write(const char *path, const struct plan *plan, const struct result *result) {
    FILE *out = fopen(path, "w");
    if (out == NULL) {
        return err_raise(-errno);
    }
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" "
            "font-family=\"system-ui, sans-serif\">\n<defs><linearGradient id=\"wash\" x1=\"0\" "
            "y1=\"0\" x2=\"0\" y2=\"1\"><stop offset=\"0\" stop-color=\"#30638e\" "
            "stop-opacity=\"0.28\"/><stop offset=\"1\" stop-color=\"#30638e\" "
            "stop-opacity=\"0.03\"/></linearGradient></defs>\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
            WIDTH, HEIGHT);
    text_begin(out, LEFT, 34, "start", INK, 20);
    fprintf(out, "%s: %.0f requests a second</text>\n", plan->wire->name,
            (double)result->total.requests / result->seconds);
    text_begin(out, LEFT, 56, "start", QUIET, 13);
    fprintf(out,
            "%u connections, depth %u, %u-byte blocks, %s · errors %" PRIu64 ", wrong %" PRIu64
            ", busy %" PRIu64 "</text>\n",
            plan->conns, plan->depth, plan->size, plan->rate > 0 ? "open loop" : "closed loop",
            (uint64_t)result->total.errors, (uint64_t)result->total.wrong,
            (uint64_t)result->total.busy);
    text_begin(out, LEFT, TOP_1 - 14, "start", INK, 15);
    fputs("requests a second over time</text>\n", out);
    double top = rate_top(result), seconds = plan->seconds > 0 ? plan->seconds : 1;
    rate_axes(out, top, seconds);
    rate_line(out, result, top, seconds);
    latency_panel(out, plan, result);
    fputs("</svg>\n", out);
    bool bad = ferror(out) != 0;
    return fclose(out) != 0 || bad ? err_raise(-EIO) : 0;
}
