/* SPDX-License-Identifier: MIT */
#pragma once

/* toy_swarm — a small Bitswap server over loopback, in a thread: it has every block of one content,
 * answers what it is asked, and stops when told. */

#include "tools/load/content.h"

#include <stdatomic.h>

struct toy_swarm {
    const struct content *content;
    uint16_t port; /* where it listens */
    _Atomic uint32_t accepted, wants, closed;
    _Atomic bool stop;
    int listener;
    unsigned long thread; /* pthread_t */
};

/* Binds a free port and starts. Returns: false where it could not. */
bool toy_swarm_start(struct toy_swarm *toy, const struct content *content);
void toy_swarm_stop(struct toy_swarm *toy);
