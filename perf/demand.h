/* SPDX-License-Identifier: MIT */
#pragma once

/* demand — streams of requests that memory policies are judged by, drawn from a seed.
 *
 * Popularity is Zipf: object of rank r is asked for in proportion to 1 / r^0.9. Sizes are equal.
 *
 *   plain   objects by popularity, nothing else
 *   scans   30 of 100 requests are for objects that are asked for once ever, in runs of a fiftieth
 *           of the objects (a backup, a verification)
 *   drift   popularity moves on: eleven times each object takes the rank of the one a fiftieth of
 *           the objects before it, and those that were most popular are it no more
 *   loop    every second request, drawn, is the next of a loop over objects of its own, 15 for
 *           each 100 popular ones unless told otherwise
 *
 * Objects are numbered 0 .. demand_objects() - 1: the popular ones first, then scans or loop. */

#include "perf/kit.h"

enum demand_kind { DEMAND_PLAIN, DEMAND_SCANS, DEMAND_DRIFT, DEMAND_LOOP, DEMAND_KINDS };

struct demand {
    enum demand_kind kind;
    uint32_t objects, requests; /* popular objects; requests in all */
    uint32_t loop_objects;      /* of the loop; may be set between open and start */
    double *share;              /* [objects]: of all requests, those up to this rank */
    struct kit_random random;
    uint32_t asked; /* so far */
    uint32_t others;
};

extern const char *const demand_names[DEMAND_KINDS];

/* demand_open draws nothing yet. share: memory of `objects` doubles, the caller's. */
void demand_open(struct demand *demand, enum demand_kind kind, uint32_t objects, uint32_t requests,
                 double *share);
/* From the first request again. */
void demand_start(struct demand *demand, uint64_t seed);
uint32_t demand_next(struct demand *demand);
/* How many objects there are at most, with scans and loop. */
uint32_t demand_objects(const struct demand *demand);
