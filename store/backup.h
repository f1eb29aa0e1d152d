/* SPDX-License-Identifier: MIT */
#pragma once

/* backup — the task that copies a store in use into a directory (store/archive.h).
 *
 *   cut ─► copy what is not there yet, a piece a step ─► files beside the store ─► sync ─► manifest
 *       ─► what no manifest names any more goes
 *
 * The cut is every segment with its bytes that count, taken when two looks in a row saw the same,
 * so it is how the store was at one moment: all that was acknowledged before is in it, and of an
 * atomic bundle all or nothing. A sealed segment never changes; of an open one what counts is
 * copied, and the next backup copies it again. Each segment of the cut is pinned until it is
 * copied, so compaction takes none away. GONE is taken with them: what is let go of later is
 * nothing to the copy. Of the files beside the store one that is there and cannot be read ends the
 * task.
 *
 * The manifest of the last backup stays until the new one is whole, and so do its files. One backup
 * at a time. Of the task: seen and total are segments, blocks are segments copied, bytes what was
 * written. Thread: porter. */

#include "base/base.h"

struct porter;
struct store_task;

uint32_t backup_step(struct porter *porter, struct store_task *task);
/* Lets go of what an unfinished one holds. */
void backup_close(struct porter *porter);
