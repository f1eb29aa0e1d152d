/* SPDX-License-Identifier: MIT */
#pragma once

/* scrub — every live block is read again from time to time, to find rot while a copy may still be
 * about: the porter's standing work, and a task for who does not want to wait.
 *
 *   lanes   standing work: one pass (store/pass.h) over the fast tiers and one over the slow ones,
 *           each so slow that it takes the cycle of its kind (config.scrub_cycle_ns)
 *   task    a pass over all tiers at config.scrub_rate; the lanes rest meanwhile, and begin their
 *           cycles anew when it is through
 *
 *   damaged ─► another copy (memory, elsewhere)? written anew and its entry moved: repaired
 *              one, and no room to write it: waits, and is no damage
 *              none: its entry stays and answers STORE_CORRUPT; a put of the block heals it
 *
 * The speed of a lane is what it has left to read over what its cycle has left, looked at again and
 * again: what a busy disk or a late start cost is caught up with, at most at RUSH times the usual
 * speed. Where the lanes stand is kept over a start (store/standing.h). Thread: porter. */

#include "store/porter.h"

must_check int scrub_open(struct porter *porter);
uint32_t scrub_step(struct porter *porter);
void scrub_close(struct porter *porter);
uint32_t scrub_task(struct porter *porter, struct store_task *task);
