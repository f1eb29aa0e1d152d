/* SPDX-License-Identifier: MIT */
#pragma once

/* attack — what peers that mean harm do to a server; bounded in count and time.
 *
 * Each runs for --seconds with --conns connections, dials again what the server closes, and says
 * how much it came to. It never measures: the honest client beside it does (perf/hostile.py).
 *
 *   begin (may change what is said first) -> dial -> READY, or raw -> push, again and again
 *
 * push is called while all that was given to a connection is with the kernel, at most once each
 * `gap_ns`; it says whether the connection goes on. A connection of which the server reads nothing
 * therefore costs nothing. */

#include "tools/load/bitswap/swarm.h"

enum attack_next { ATTACK_ON, ATTACK_LEAVE /* close it hard, and dial anew */ };

struct attack {
    const char *name;
    const char *about;
    uint32_t conns; /* where the command line does not say */
    uint64_t gap_ns;
    bool mute, stingy, blind;
    /* Either may be NULL. */
    void (*begin)(struct swarm *swarm, struct node *node); /* nothing is sent yet */
    enum attack_next (*push)(struct swarm *swarm, struct node *node);
};

/* The n-th attack, NULL past the last. */
const struct attack *attack_at(uint32_t n);
/* Returns: the attack of that name or NULL. */
const struct attack *attack_find(const char *name);
void attack_list(void);
/* Returns: the exit status: 0 where a connection was made at all. */
int attack_run(struct swarm *swarm, const struct attack *attack);
