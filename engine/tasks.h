/* SPDX-License-Identifier: MIT */
#pragma once

/* tasks — long requests of people to the store, begun by the admin socket and polled by number.
 *
 *   {"command":"pin","cid":CID,"name":TEXT,"direct":BOOL}        -> {"task":N}
 *   {"command":"unpin","cid":CID}                                -> {"task":N}
 *   {"command":"gc","dry_run":BOOL,"grace_ns":N}                 -> {"task":N}
 *   {"command":"pins","cursor":N}    -> {"pins":[{"cid","mode","name"}...],"cursor":N where there
 *                                        are more}         (control waits, 2 s at most)
 *   {"command":"task","task":N}      -> {"task","command","state":"waiting|running|done|failed",
 *                                        "outcome","why","seen","total","blocks","bytes", ...}
 *   {"command":"cancel","task":N}    -> {"canceled":true}  the task ends soon after
 *   {"command":"tasks"}              -> {"tasks":[as by "task" ...]}
 *
 * The porter steps a task, its progress is words to look at. A table of TASKS_MAX: one that is over
 * is kept until its place is needed, oldest first; where all are under way, a new one is refused.
 * What is wrong is {"error": a sentence}. Thread: control. */

#include "base/base.h"

#include <jansson.h>

#define TASKS_MAX 32u

struct engine;
struct tasks;

/* Returns: 0 or -ENOMEM. Thread: boot. */
must_check int tasks_open(struct engine *engine, struct tasks **ret_tasks);
/* The store is closed: nothing is under way any more. */
void tasks_close(struct tasks *tasks);
/* Returns: the answer, or NULL: it is no command of this file. */
json_t *tasks_answer(struct engine *engine, const char *command, const json_t *request);
