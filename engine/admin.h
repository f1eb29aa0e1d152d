/* SPDX-License-Identifier: MIT */
#pragma once

/* admin — the unix socket in the store directory: one JSON line in, one JSON document out, then
 * closed.
 *
 * Commands: stat, topo, why, id, reload, drain, those of swarm/front.h and tasks.h. Mode 0600:
 * whoever may open it is the operator. A client has 5 s and 4 KiB; at most ADMIN_CLIENTS_MAX at
 * once. Thread: control. */

#include "base/base.h"

#include <poll.h>

struct engine;
struct admin;

#define ADMIN_CLIENTS_MAX 16

/* Returns: 0 or -errno. A socket left behind by a dead daemon is replaced (the store's lock is
 * ours). */
must_check int admin_open(struct engine *engine, const char *path, struct admin **ret_admin);
void admin_close(struct admin *admin);
/* Fills what poll(2) should watch. Returns: how many, at most ADMIN_CLIENTS_MAX + 1. */
uint32_t admin_poll_fds(struct admin *admin, struct pollfd fds[ADMIN_CLIENTS_MAX + 1]);
/* Serves what poll(2) found. */
void admin_serve(struct admin *admin, const struct pollfd fds[], uint32_t count, uint64_t now_ns);
