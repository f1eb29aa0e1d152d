/* SPDX-License-Identifier: MIT */
#pragma once

/* report — what the generator says: a live line, the table, JSON, an SVG. */

#include "tools/load/run.h"

/* Live lines go to stderr, where that is a terminal or --live was given. */
void report_fill(const struct plan *plan, uint64_t done);
void report_live(const struct plan *plan, const struct tally *total, const struct sample *sample);
void report_live_end(const struct plan *plan);

void report_table(const struct plan *plan, const struct result *result);
/* One JSON object on one line; times in microseconds, keys as docs say. */
struct json_t;
char *report_json(const struct plan *plan, const struct result *result); /* the caller frees */

/* Returns: 0 or -errno of writing the file. */
must_check int plot_write(const char *path, const struct plan *plan, const struct result *result);

/* No reply was wrong and none failed. */
bool report_good(const struct result *result);
