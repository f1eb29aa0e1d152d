/* SPDX-License-Identifier: MIT */
#pragma once

/* scrub — every live block is read again from time to time, to find rot while a copy may still be
 * about: the porter's standing work, and a task for who does not want to wait.
 *
 *   segment by segment, oldest id first: footer ─► each live record ─► CRC, XXH3, multihash
 *     ─► sound: counted
 *     ─► not:   another copy (memory, elsewhere)? written anew and its entry moved: repaired
 *               none: its entry stays and answers STORE_CORRUPT; a put of the block heals it
 *
 * Standing work is so slow that a pass takes config.scrub_cycle_ns; a task reads at
 * config.scrub_rate. Nothing that is read comes to memory. Logs that
 * are open and segments not yet sealed have their turn in the next pass. Thread: porter. */

#include "store/porter.h"

must_check int scrub_open(struct porter *porter);
uint32_t scrub_step(struct porter *porter);
void scrub_close(struct porter *porter);
uint32_t scrub_task(struct porter *porter, struct store_task *task);
