/* SPDX-License-Identifier: MIT */
#pragma once

/* listen — the sockets the acceptor's ring listens on, with the TCP options every connection
 * inherits: no delay, and keep-alive (a half-open peer is found in about 90 s; one that takes no
 * bytes the net tile finds by itself). Thread: boot. */

#include "base/base.h"

struct engine;

/* Takes the ports; nobody is let in yet. Returns: 0, ENGINE_CONFIG or ENGINE_HOST with a sentence
 * in `why`. Port 0 takes any; the one taken stands in listeners[i].address.port. */
must_check int listen_open(struct engine *engine, char *why, size_t why_bytes);
/* Lets clients in. Returns: 0 or ENGINE_HOST with a sentence. */
must_check int listen_start(struct engine *engine, char *why, size_t why_bytes);
void listen_close(struct engine *engine);
