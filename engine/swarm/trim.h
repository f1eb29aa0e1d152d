/* SPDX-License-Identifier: MIT */
#pragma once

/* trim — which connections to peers to close when there are too many.
 *
 *   trim_begin ─► trim_offer for every peer, over as many turns as it takes ─► trim_end: close
 * these
 *
 * Above `high` connections rounds begin, and go on until `low` are left. A round is shown every
 * peer once and keeps the TRIM_BATCH least worth keeping, so its memory and the work of one offer
 * are fixed however many peers there are. Never chosen: protected peers, those in use by a fetch of
 * ours, those younger than the grace. What is offered may change before the round ends: name peers
 * by handles, and look again before closing.
 *
 * Worth: blocks we got from a peer count most, then blocks it got from us (both lately), wants that
 * can be served now, that we chose to dial it; what counts against it is being idle and, since
 * identities are free but addresses are not, how many others share its address. Wants for blocks we
 * lack count nothing: naming them costs nothing. Pure. Thread: owner. */

#include "base/base.h"

#define TRIM_BATCH 64u

struct trim_config {
    uint32_t high, low; /* connections; low < high */
    uint64_t grace_ns;  /* younger connections are left alone: 20 s */
};

struct trim_candidate {
    uint64_t id; /* the owner's handle */
    uint64_t age_ns;
    uint64_t idle_ns;                    /* since it last sent or took anything of substance */
    uint64_t bytes_received, bytes_sent; /* of blocks, lately; the owner lets them fade */
    uint32_t wants_queued;               /* to be served; not those that wait for a block */
    uint32_t neighbours;                 /* other connections from its address prefix */
    bool outbound;                       /* we dialled it */
    bool protected;                      /* configured, or asked for by a command */
    bool in_use;                         /* a fetch of ours counts on it */
};

struct trim {
    struct trim_config config;
    bool trimming; /* from `high` down to `low` */
    bool open;     /* a round is on */
    uint32_t quota, count;
    struct {
        int32_t worth;
        uint64_t idle_ns, id;
    } worst[TRIM_BATCH];     /* a heap: the best of the worst is on top */
    uint64_t rounds, chosen; /* totals */
};

void trim_init(struct trim *trim, const struct trim_config *config);

/* Returns: whether a round is on, begun now or before: offer peers. Call once a tick. */
must_check bool trim_begin(struct trim *trim, uint32_t connections);
void trim_offer(struct trim *trim, const struct trim_candidate *candidate);
/* All peers were offered. Writes the ids to close, the least worth first. Returns: how many; 0 when
 * nobody may be closed, and then more only comes with new peers: wait a while. */
uint32_t trim_end(struct trim *trim, uint64_t ids[TRIM_BATCH]);

/* The worth of a candidate, for tests and `millrace peers`. */
int32_t trim_worth(const struct trim_candidate *candidate);
