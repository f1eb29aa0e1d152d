/* SPDX-License-Identifier: MIT */
#pragma once

/* swarm_plan — what `millrace-load bitswap` does, as its command line said it. */

#include "proto/libp2p/peer_id.h"
#include "proto/libp2p/secure.h"
#include "tools/load/plan.h"

#define SWARM_PRIORITIES_MAX 16u

struct attack;

struct swarm_plan {
    struct plan plan;        /* what all protocols share; reads and writes weigh blocks and haves */
    struct peer_id expected; /* count 0: anybody */
    enum secure_kind security;
    uint32_t active;  /* peers that want something; the others are connected and answer */
    uint32_t dialing; /* handshakes at once */
    uint32_t verify_percent;
    double cancels; /* share of the wants that is taken back at once */
    int32_t priorities[SWARM_PRIORITIES_MAX];
    uint32_t priority_count;
    struct sockaddr_storage fill_to; /* where the blocks are put over TLV */
    socklen_t fill_to_bytes;         /* 0: nowhere */
    char fill_to_text[80];
    const char *cids, *car;
    const struct attack *attack; /* NULL: an honest run */
};

/* Returns: 0, OPTIONS_HELP, or OPTIONS_BAD with a sentence in `why`. */
must_check int swarm_options(int count, char *const words[], struct swarm_plan *ret_plan, char *why,
                             size_t why_bytes);
void swarm_help(void);
/* The whole of `millrace-load bitswap ...`. Returns: the exit status. */
int swarm_main(int count, char *const words[]);
/* `millrace-load sink`: takes connections and bytes, and says nothing. Returns: the exit status. */
int sink_main(int count, char *const words[]);
