/* SPDX-License-Identifier: MIT */
#pragma once

/* front — admin commands about peers and fetches: JSON in, requests at the desk, JSON out.
 *
 *   {"command":"peers"}                             -> {"peers":[{...}],"total":N}
 *   {"command":"connect","to":MULTIADDR}            -> {"dial":N}
 *   {"command":"dial","dial":N}                     ->
 * {"state":"dialing|handshake|connected|failed", "why","id"}
 *   {"command":"disconnect","peer":ID}              -> {"disconnected":N}
 *   {"command":"ping","peer":ID}                    -> {"ping":N}
 *   {"command":"ping_result","ping":N}              ->
 * {"state":"pending|done|failed","why","rtt_us"}
 *   {"command":"fetch","cid":CID,"from":[MULTIADDR...],"dag":BOOL} -> {"session":N}
 *   {"command":"fetch_status","session":N}          ->
 * {"state":"running|done|failed","why",numbers}
 *   {"command":"fetch_cancel","session":N}          -> {"canceled":true}
 *
 * What is wrong is {"error": a sentence}. Names in multiaddrs are resolved by libc's own threads,
 * never on a tile. Thread: control. Blocks: peers, disconnect and ping wait for tiles, a second
 * each at most. */

#include "base/base.h"

#include <jansson.h>

struct engine;

/* Returns: the answer, or NULL: it is no command of this file. */
json_t *front_answer(struct engine *engine, const char *command, const json_t *request);
/* Requests whose names are resolved by now go to their tiles. Call often. */
void front_poll(struct engine *engine);
