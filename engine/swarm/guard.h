/* SPDX-License-Identifier: MIT */
#pragma once

/* guard — who may connect, and who must go: the policies of prefix.h and trim.h over the peers of
 * one net tile.
 *
 * The limits of the configuration hold for the whole node; connections are spread evenly over net
 * tiles, so each keeps its part of them.
 *
 * Thread: owner. */

#include "base/base.h"
#include "engine/swarm/prefix.h"
#include "engine/swarm/trim.h"

struct mem_region;
struct peer;
struct settings;
struct swarm;

struct guard {
    struct prefix_table prefixes;
    struct trim trim;
    uint32_t net_count;
    uint32_t next;    /* slot of the next peer to be offered */
    uint64_t rest_ns; /* nobody could be closed: no round before this */
};

size_t guard_footprint(const struct settings *settings, uint32_t net_count);
void guard_open(struct guard *guard, struct mem_region *region, const struct settings *settings,
                uint32_t net_count, uint64_t salt);
/* Takes the reloadable settings over. */
void guard_apply(struct guard *guard, const struct settings *settings);
/* A new connection from this address. dialled: by us, and so taken whatever its address has.
 * Returns: false: its address has its most. */
must_check bool guard_take(struct guard *guard, struct peer *peer, const struct sockaddr *address,
                           bool dialled);
void guard_give_back(struct guard *guard, struct peer *peer);
/* A bounded part of a round of trimming. */
void guard_tick(struct swarm *swarm);
/* What a peer did lately, for its worth; once a sweep. */
void guard_sweep(struct peer *peer);
