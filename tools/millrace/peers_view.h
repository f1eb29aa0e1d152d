/* SPDX-License-Identifier: MIT */
#pragma once

/* peers_view — the answer to "peers" as a table for people, sorted.
 *
 * What a peer says of itself (its agent) is shown with every byte that is not printable ASCII as
 * '?': it must not be able to move a cursor. */

#include "base/base.h"

#include <jansson.h>
#include <stdio.h>

enum peers_order {
    PEERS_BY_OUT, /* bytes sent to it; most first, as all but PEERS_BY_LATENCY */
    PEERS_BY_IN,
    PEERS_BY_WANTS,
    PEERS_BY_DEBT,
    PEERS_BY_AGE,
    PEERS_BY_LATENCY, /* least first; unmeasured last */
    PEERS_ORDER_COUNT,
};
extern const char *const peers_order_names[PEERS_ORDER_COUNT + 1]; /* "out", ...; NULL ends it */

struct peers_look {
    enum peers_order order;
    uint32_t width; /* columns there are: what matters least is left out; 0: any number */
    bool full;      /* ids and addresses whole, as commands take them */
};

/* With an older answer of `seconds` ago the bytes become rates, and so does what sorts by them. */
void peers_view(FILE *out, const json_t *now, const json_t *before, double seconds,
                const struct peers_look *look);
