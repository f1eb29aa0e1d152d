/* SPDX-License-Identifier: MIT */
#pragma once

/* stat — what the engine says about itself, as JSON: numbers, topology, and why.
 *
 * Everything is read from counters that their owners write; nothing here stops a tile. The
 * documents are described in docs/operations.md. Thread: control and helper (it uses the general
 * heap). */

#include "base/base.h"

#include <jansson.h>

struct engine;

json_t *stat_json(struct engine *engine);
json_t *stat_topology(struct engine *engine);
json_t *stat_why(struct engine *engine);
/* Returns: bytes written (no zero follows them), 0 if it does not fit. */
size_t stat_text(struct engine *engine, char *text, size_t text_bytes);
/* Keeps a copy of the latency histograms, so that percentiles are of the last 10 s. Thread:
 * control, 1 Hz. */
void stat_sample(struct engine *engine);
