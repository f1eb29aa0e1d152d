/* SPDX-License-Identifier: MIT */
#pragma once

/* self — what this node says of itself: its agent, what it speaks, and where it can be reached.
 *
 * The addresses are bitswap.announce, or else those of the Bitswap listeners; one that listens on
 * every address of the host stands for each of them that another peer could dial (link-local ones
 * cannot be said without a zone). They carry no peer id: whoever shows one adds it. Thread: boot,
 * then read by any. */

#include "base/base.h"
#include "proto/libp2p/identify.h"

#include <jansson.h>

struct engine;

#define SELF_ADDRESSES_MAX IDENTIFY_ADDRESSES_MAX

extern const char self_agent[];            /* "millrace/0.1.0" */
extern const char self_protocol_version[]; /* "ipfs/0.1.0" */
extern const char *const self_protocols[]; /* NULL-terminated; what inbound streams may ask for */

/* Fills engine->addresses. After the listeners were opened: they know their ports. */
void self_locate(struct engine *engine);
/* Answer of the admin command `id`: {"id", "addrs" (whole multiaddrs), "agent", "protocols"}. */
json_t *self_json(const struct engine *engine);
