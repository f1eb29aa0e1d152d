/* SPDX-License-Identifier: MIT */
#include "perf/demand.h"

#include <math.h>

#define SKEW         0.9
#define SCAN_SHARE   30u /* of 100 requests */
#define SCAN_RUN     50u /* a scan is this part of the objects long */
#define LOOP_SHARE   15u /* objects of the loop, for 100 popular ones */
#define DRIFT_TURNS  12u /* stretches of the whole load, popularity moves between them */
#define DRIFT_LENGTH 50u /* by this part of the objects */

const char *const demand_names[DEMAND_KINDS] = {"plain", "scans", "drift", "loop"};

void demand_open(struct demand *demand, enum demand_kind kind, uint32_t objects, uint32_t requests,
                 double *share) {
    double sum = 0;
    *demand = (struct demand){.kind = kind,
                              .objects = objects,
                              .requests = requests,
                              .loop_objects = objects / 100 * LOOP_SHARE,
                              .share = share};
    for (uint32_t i = 0; i < objects; i++) {
        sum += pow(i + 1.0, -SKEW);
        share[i] = sum;
    }
    for (uint32_t i = 0; i < objects; i++) {
        share[i] /= sum;
    }
}

void demand_start(struct demand *demand, uint64_t seed) {
    demand->random = (struct kit_random){.state = seed};
    demand->asked = demand->others = 0;
}

/* The rank of a request for a popular object: by bisection, exactly as the shares say. */
static uint32_t draw_rank(struct demand *demand) {
    double at = (double)(kit_random(&demand->random) >> 11) * 0x1p-53;
    uint32_t low = 0, high = demand->objects - 1;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (demand->share[middle] < at) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool is_scan(const struct demand *demand) {
    uint32_t run = demand->objects / SCAN_RUN;
    uint32_t period = run * 100 / SCAN_SHARE;
    return demand->asked % period < run;
}

static uint32_t moved(const struct demand *demand, uint32_t rank) {
    uint64_t turn = (uint64_t)demand->asked * DRIFT_TURNS / demand->requests;
    return (uint32_t)((rank + turn * (demand->objects / DRIFT_LENGTH)) % demand->objects);
}

uint32_t demand_next(struct demand *demand) {
    uint32_t object = 0;
    if (demand->kind == DEMAND_SCANS && is_scan(demand)) {
        object = demand->objects + demand->others++;
    } else if (demand->kind == DEMAND_LOOP && kit_random(&demand->random) >> 63) {
        object = demand->objects + demand->others++ % demand->loop_objects;
    } else {
        object = draw_rank(demand);
        object = demand->kind == DEMAND_DRIFT ? moved(demand, object) : object;
    }
    demand->asked++;
    return object;
}

uint32_t demand_objects(const struct demand *demand) {
    uint32_t others = demand->kind == DEMAND_SCANS
                          ? demand->requests / 100 * SCAN_SHARE + demand->objects
                      : demand->kind == DEMAND_LOOP ? demand->loop_objects
                                                    : 0;
    return demand->objects + others;
}
