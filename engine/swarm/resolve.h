/* SPDX-License-Identifier: MIT */
#pragma once

/* resolve — where a multiaddr's host is: addresses at once, names by libc's own threads
 * (getaddrinfo_a), so that neither a tile nor control waits for a name server.
 * Thread: control. */

#include "base/base.h"
#include "engine/swarm/dial.h"
#include "proto/libp2p/multiaddr.h"

struct resolve;

/* Fills target from an address, or begins to look a name up. Returns: NULL: target is whole, or
 * (*ret_failed) no memory; else a look-up for resolve_poll. */
struct resolve *resolve_begin(const struct multiaddr *address, struct dial_target *target,
                              bool *ret_failed);
enum { RESOLVE_WAIT = 1, RESOLVE_FAILED = 2 };
/* Returns: 0: target is whole and the look-up gone; WAIT; FAILED with a sentence: it is gone. */
must_check int resolve_poll(struct resolve *resolve, struct dial_target *target, char *why,
                            size_t why_bytes);
