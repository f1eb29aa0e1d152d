/* SPDX-License-Identifier: MIT */
#pragma once

/* client — what requests.c and replies.c share: the generator's side of a connection, without I/O.
 */

#include "tools/load/worker.h"

static inline bool in_window(const struct worker *worker, uint64_t intended_ns) {
    return intended_ns >= worker->from_ns && intended_ns < worker->to_ns;
}

static inline struct tally *tally_of(struct worker *worker, const struct conn *conn) {
    return &worker->tally[conn->class];
}

/* The first refusal or break is kept for people. */
void client_fault(struct worker *worker, const char *what, const char *text);
/* A request was answered: its slot may carry another. */
void slot_give_back(struct worker *worker, struct conn *conn, struct slot *slot);
