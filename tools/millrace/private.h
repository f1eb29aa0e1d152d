/* SPDX-License-Identifier: MIT */
#pragma once

/* private — a daemon of a command's own: `millrace serve` on a store that no daemon runs on, for as
 * long as the command lasts. So work on a store that is off goes through the same code as on one
 * that is on.
 *
 * It listens on a port of 127.0.0.1 that the system picks, and ends with the command, also when
 * that is killed. Thread: one. */

#include "tools/millrace/cli.h"

#include <sys/types.h>

struct private {
    pid_t pid;
    char to[32]; /* ADDR:PORT */
};

/* private_start makes the store where there is none. Returns: CLI_DONE once it serves, or another
 * status after saying why. */
must_check int private_start(struct private *private, const struct cli *cli, const char *store);
/* Ends it in order. Returns: CLI_DONE, or CLI_FAILED after saying that it did not end well. */
must_check int private_end(struct private *private, const struct cli *cli);
