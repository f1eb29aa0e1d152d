/* SPDX-License-Identifier: MIT */
#pragma once

/* live — one question of the admin socket asked again and again, its answer redrawn on a terminal.
 *
 * Keys that every such screen has: q quits, + and - change how often, space asks now; others are
 * the view's. Thread: main. Blocks: until q, or until the daemon no longer answers. */

#include "tools/millrace/cli.h"

#include <jansson.h>
#include <stdio.h>

struct live {
    const char *command; /* for the admin socket */
    const char *keys;    /* the view's own, for the bottom line: "t totals"; or "" */
    /* Writes one screen; `before` is an answer of `seconds` ago, or NULL. */
    void (*view)(FILE *out, const json_t *now, const json_t *before, double seconds, void *state);
    /* A key that is none of the common ones; NULL: none counts. */
    void (*key)(int key, void *state);
    void *state;
};

/* Returns: the exit status of the last question. */
int live_run(const struct cli *cli, const struct live *live, uint64_t seconds);
/* Asks twice, a second apart, and writes the view once to stdout. */
int live_once(const struct cli *cli, const struct live *live);
/* live_run on a terminal, live_once without one or with --once; --every N seconds. */
int live_show(const struct cli *cli, const struct live *live);

#define LIVE_FLAG_ONCE \
    { "once", 0, NULL, "print one second of rates and end (so without a terminal, too)" }
#define LIVE_FLAG_EVERY \
    { "every", 'n', "N", "seconds between two looks (default 1)" }
