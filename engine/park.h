/* SPDX-License-Identifier: MIT */
#pragma once

/* park — what it costs to put a thread to sleep and wake it again, measured at boot: the bound of
 * spinning. Karlin's rule: who spins for as long as a park costs is never worse than twice the
 * best. Source: Karlin, Manasse, McGeoch, Owicki, "Competitive randomized algorithms for nonuniform
 * problems", 1990. Thread: boot. Cost: about 2 ms. */

#include "base/base.h"

uint64_t park_cost_ns(void);
