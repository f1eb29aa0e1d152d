/* SPDX-License-Identifier: MIT */
#pragma once

/* task — a long request to the daemon's store, from its beginning to its end: asks, shows how far
 * it is, and cancels it when the command is interrupted. Thread: main. */

#include "tools/millrace/admin.h"
#include "tools/millrace/progress.h"

#define TASK_NOTE_MAX 160

struct task_view {
    const char *what;    /* in front of the progress: "gc" */
    const char *subject; /* in front of why it failed: a CID, a path; NULL: nothing */
    /* What it is at, for the progress line; NULL: its numbers alone. */
    void (*note)(const json_t *answer, char text[TASK_NOTE_MAX]);
    bool quiet; /* no progress */
    bool mild;  /* CLI_ABSENT is the caller's to say, who gets the answer then too */
};

/* task_follow sends `request`, which it takes over, and waits until what that began is over.
 * Returns: CLI_DONE with the last answer in *ret_answer (the caller's to release) where it went
 * well; else the exit status, after saying why: CLI_ABSENT, CLI_DAMAGED, CLI_FAILED. */
must_check int task_follow(const struct cli *cli, json_t *request, const struct task_view *view,
                           json_t **ret_answer);

/* task_run is a whole command: follows `request`, and prints its last answer as JSON (--json), by
 * `print`, or not at all (--quiet). Returns: as task_follow. */
must_check int task_run(const struct cli *cli, json_t *request, const char *subject,
                        void (*note)(const json_t *answer, char text[TASK_NOTE_MAX]),
                        void (*print)(const json_t *answer));

/* A scrub (cmd_scrub.c), as task_follow. */
must_check int scrub_follow(const struct cli *cli, bool quiet, json_t **ret_answer);
