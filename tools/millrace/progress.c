/* SPDX-License-Identifier: MIT */
#include "tools/millrace/progress.h"

#include "base/clock.h"
#include "tools/millrace/human.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define BAR_MAX     40u
#define TERMINAL_NS (100 * NS_PER_MS)
#define PLAIN_NS    (5 * NS_PER_S)

void progress_begin(struct progress *progress, const char *what, uint64_t total, bool in_bytes) {
    *progress = (struct progress){.what = what, .total = total, .in_bytes = in_bytes};
    progress->terminal = isatty(STDERR_FILENO) == 1;
    progress->begin_ns = progress->shown_ns = clock_ns();
}

double progress_seconds(const struct progress *progress) {
    return (double)(clock_ns() - progress->begin_ns) / (double)NS_PER_S;
}

void progress_clear(struct progress *progress) {
    if (progress->shown) {
        fprintf(stderr, "\r\033[K");
        progress->shown = false;
    }
}

static void amount_text(const struct progress *progress, uint64_t amount, char text[HUMAN_MAX]) {
    if (progress->in_bytes) {
        human_bytes(amount, text);
    } else {
        human_count(amount, text);
    }
}

static void bar(const struct progress *progress, uint64_t done, char text[BAR_MAX + 1]) {
    struct winsize window = {0};
    uint32_t width = BAR_MAX;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0 &&
        window.ws_col < 75 + BAR_MAX) {
        width = window.ws_col > 85 ? window.ws_col - 75u : 10;
    }
    uint32_t full = (uint32_t)((double)done / (double)progress->total * width);
    for (uint32_t i = 0; i < width; i++) {
        text[i] = i < full ? '#' : '.';
    }
    text[width] = '\0';
}

void progress_show(struct progress *progress, uint64_t done, uint64_t blocks) {
    char amount[HUMAN_MAX], rate[HUMAN_MAX], left[HUMAN_MAX], count[HUMAN_MAX], line[BAR_MAX + 1];
    uint64_t now = clock_ns();
    if (now - progress->shown_ns < (progress->terminal ? TERMINAL_NS : PLAIN_NS)) {
        return;
    }
    progress->shown_ns = now;
    double seconds = (double)(now - progress->begin_ns) / (double)NS_PER_S;
    double speed = (double)done / seconds;
    amount_text(progress, done, amount);
    amount_text(progress, (uint64_t)speed, rate);
    human_count(blocks, count);
    bool words = progress->waiting && progress->note != NULL && progress->total == 0;
    fprintf(stderr, "%s%s%s ", progress->terminal ? "\r\033[K" : "", progress->what,
            words ? ":" : "");
    if (progress->total > 0) {
        done = done < progress->total ? done : progress->total;
        if (progress->terminal) {
            bar(progress, done, line);
            fprintf(stderr, "[%s] ", line);
        }
        fprintf(stderr, "%3.0f%% ", 100.0 * (double)done / (double)progress->total);
    }
    if (progress->waiting && progress->note != NULL) {
        fprintf(stderr, "%s", progress->note);
    } else {
        fprintf(stderr, "%s  ", amount);
        if (blocks > 0) {
            const char *unit = progress->unit != NULL ? progress->unit : "block";
            fprintf(stderr, "%s %s%s  ", count, unit, blocks == 1 ? "" : "s");
        }
        fprintf(stderr, "%s/s", rate);
        fprintf(stderr, "%s%s", progress->note != NULL ? "  " : "",
                progress->note != NULL ? progress->note : "");
    }
    if (progress->total > 0 && speed > 0) {
        human_time((double)(progress->total - done) / speed, left);
        fprintf(stderr, "  %s left", left);
    }
    fprintf(stderr, "%s", progress->terminal ? "" : "\n");
    progress->shown = progress->terminal;
    fflush(stderr);
}
