/* SPDX-License-Identifier: MIT */
#pragma once

/* report — what the generator says: a live line, the table, JSON, an SVG. */

#include "tools/load/run.h"

/* Live lines go to stderr, where that is a terminal or --live was given. */
void report_fill(const struct plan *plan, uint64_t done);
void report_live(const struct plan *plan, const struct tally *total, const struct sample *sample);
void report_live_end(const struct plan *plan);

void report_table(const struct plan *plan, const struct result *result);
/* One JSON object on one line; times in microseconds. cpu_seconds is the generator's,
 * server_cpu_seconds that of --server-pid, both over the measured window. */
char *report_json(const struct plan *plan, const struct result *result); /* the caller frees */

/* Returns: 0 or -errno of writing the file. */
must_check int plot_write(const char *path, const struct plan *plan, const struct result *result);

/* "1.2 ms": three digits of a time, whatever its size. Returns: `text`. */
#define TIME_TEXT_BYTES 24
const char *time_text(uint64_t ns, char text[TIME_TEXT_BYTES]);

/* Something was answered with what was asked for, no reply was wrong and none failed. */
bool report_good(const struct result *result);
