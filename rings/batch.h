/* SPDX-License-Identifier: MIT */
#pragma once

/* batch — the container that rides the class rings and inboxes: up to BATCH_JOBS_MAX jobs.
 *
 * A net tile fills one per class and pushes it when it is full or the turn ends; the scheduler
 * takes jobs out of those, orders them by policy, and fills others for work tiles, which mix
 * classes. Containers come from a pool of the pusher's and travel home on the pusher's return ring,
 * so nobody frees another's memory. */

#include "rings/job.h"

#define BATCH_JOBS_MAX 64

struct batch {
    struct batch *next;
    uint32_t count;
    uint8_t class;
    uint8_t from; /* core that owns the container */
    uint16_t zero;
    uint64_t closed_ns;
    uint64_t cost_ns; /* the policy's estimate of the whole */
    struct job *jobs[BATCH_JOBS_MAX];
};
