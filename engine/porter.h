/* SPDX-License-Identifier: MIT */
#pragma once

/* porter — the second unpinned thread: background work of the store (store_maintain), step after
 * step, with a rest where there was none. It has a ring of its own for bells only: keepers that got
 * a note are woken.
 *
 * Thread: its own, not sealed. It ends between two steps when control asks for WISH_HALT. */

struct core;

void porter_run(struct core *core);
