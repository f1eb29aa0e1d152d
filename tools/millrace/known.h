/* SPDX-License-Identifier: MIT */
#pragma once

/* known — blocks that wait until the daemon has said which of them it holds: hundreds in one
 * question, so that what is there already costs next to nothing.
 *
 * Memory: KNOWN_BYTES beside the items. Thread: one. */

#include "base/cid.h"
#include "tools/client/millrace_client.h"

#define KNOWN_ITEMS 512u
#define KNOWN_BYTES (8u << 20)

struct known_item {
    struct cid cid;
    const uint8_t *data; /* NULL: none is kept */
    uint32_t bytes;
    uint64_t tag, place; /* the caller's */
};
struct known {
    uint32_t count;
    uint32_t used; /* of bytes */
    struct known_item items[KNOWN_ITEMS];
    uint8_t present[KNOWN_ITEMS]; /* after known_ask: 1 stored, 0 not, 2 cannot be told now */
    uint8_t bytes[KNOWN_BYTES];
};

/* Adds one and copies its data. Returns: false when it does not fit beside the others. */
bool known_add(struct known *known, const struct known_item *item);
/* Returns: 0, or what mr_have gave. Blocks: for one answer. */
must_check int known_ask(struct known *known, struct mr_client *client);
void known_clear(struct known *known);
