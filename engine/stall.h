/* SPDX-License-Identifier: MIT */
#pragma once

/* stall — whether something that ought to go on stands still, looked at once a second, and when to
 * say so: after STALL_FIRST_S, then each time it has taken twice as long. Pure; no thread. */

#include "base/base.h"

#define STALL_FIRST_S 3u

struct stall {
    uint64_t done;  /* seen last */
    uint64_t still; /* looks in a row at which there was something to do and nothing was done */
    uint64_t said;  /* the last value of still that was said; 0: none */
};

/* waiting: there is something to do now; done: how much was done so far. Returns: seconds to say,
 * or 0. */
uint64_t stall_look(struct stall *stall, bool waiting, uint64_t done);
