/* SPDX-License-Identifier: MIT */
#pragma once

/* control — the thread beside the tiles: signals, reload, drain, the admin socket, the service
 * manager.
 *
 *   TERM, INT  drain: stop accepting, finish what came, flush, exit 0; a second one stops hard
 *   HUP        read the configuration again; all of it or none of it
 *
 * It owns no request and holds up no tile: if it died, the cores would serve on. Thread: main. */

#include "base/base.h"

struct engine;

/* control_run serves until the engine has stopped. Returns: 0 drained, 1 hard. */
must_check int control_run(struct engine *engine);
/* Blocks the signals control will read, for every thread made from here on. Thread: main, at boot.
 */
must_check int control_block_signals(void);
/* Returns: 0, or OPTION_BAD with a sentence in `why`; nothing changed then. Thread: control. */
must_check int control_reload(struct engine *engine, char *why, size_t why_bytes);
void control_drain(struct engine *engine);
