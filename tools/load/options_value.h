/* SPDX-License-Identifier: MIT */
#pragma once

/* options_value — one word of the command line made into a field of the plan.
 *
 * Apart from options.c because getopt.h and base/option.h both have a struct option. */

#include "tools/load/plan.h"

struct parse {
    struct plan *plan;
    char *why;
    size_t why_bytes;
    const char *path, *body;
    bool depth_given, size_given, fill_given;
};

enum option_id {
    O_TO = 256,
    O_CONNS,
    O_DEPTH,
    O_SIZE,
    O_KEYS,
    O_MIX,
    O_SECONDS,
    O_WARMUP,
    O_DRAIN,
    O_RATE,
    O_POISSON,
    O_CLASS,
    O_DIST,
    O_THREADS,
    O_CPUS,
    O_SPIN,
    O_FILL,
    O_VERIFY,
    O_SOURCES,
    O_RANGES,
    O_HAVE,
    O_SEED,
    O_JSON,
    O_PLOT,
    O_LIVE,
    O_PATH,
    O_BODY,
    O_SERVER_PID,
    O_HELP,
};

/* Writes a sentence into parse->why. Returns: OPTIONS_BAD. */
int options_refuse(const struct parse *parse, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Returns: 0, or OPTIONS_BAD with a sentence in parse->why. */
must_check int options_value(struct parse *parse, int id, const char *value);
