/* SPDX-License-Identifier: MIT */
#pragma once

/* visited — which blocks of a DAG have been seen: a set of 64-bit salted hashes.
 *
 * The set lies in VISITED_PARTS open-addressed tables, chosen by the hash's top bits, each of which
 * doubles by itself: so a set of a million never moves more than a few thousand entries at once.
 * Nine to eighteen bytes an entry. Two different blocks take each other's place with a chance of
 * n^2 / 2^65 among n; the salt keeps peers from arranging it.
 *
 * Bounds: entries_max, then VISITED_FULL. Thread: owner. Memory: the lender's, as it grows. */

#include "base/base.h"
#include "engine/swarm/lender.h"

#define VISITED_PARTS 256u

enum { VISITED_SEEN = 1, VISITED_FULL = 2 };

struct visited {
    struct lender lender;
    uint64_t entries, entries_max;
    uint64_t bytes; /* taken from the lender */
    struct {
        uint64_t *slots; /* 0: empty */
        uint32_t room;   /* a power of two, or 0 */
        uint32_t used;
    } parts[VISITED_PARTS];
};

void visited_init(struct visited *visited, const struct lender *lender, uint64_t entries_max);
/* Gives all memory back. */
void visited_fini(struct visited *visited);
/* Returns: 0: it is new and from now on in the set; VISITED_SEEN; VISITED_FULL; -ENOMEM. */
must_check int visited_add(struct visited *visited, uint64_t hash);
bool visited_has(const struct visited *visited, uint64_t hash);
