/* SPDX-License-Identifier: MIT */
#pragma once

/* output — the file of -o: written beside its place, as NAME.part, and given its name only when it
 * is whole; '-' is standard output. What fails leaves nothing behind. Thread: main. */

#include "tools/millrace/cli.h"

#include <stdio.h>

struct output {
    const struct cli *cli;
    const char *name; /* as the user wrote it */
    FILE *file;
    bool standard;
    char part[4096];
};

/* Returns: CLI_DONE, or another status after saying why. */
must_check int output_open(struct output *output, const struct cli *cli, const char *name);
/* `status` is how the writing went. Returns: it, or what became of the file's end, after saying
 * why. */
must_check int output_close(struct output *output, int status);
/* Says why a write failed. Returns: CLI_FAILED. */
int output_fail(const struct output *output);
