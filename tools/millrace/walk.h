/* SPDX-License-Identifier: MIT */
#pragma once

/* walk — every block a daemon holds, page by page. */

#include "tools/millrace/remote.h"

#define WALK_PAGE 1024

struct walk {
    struct mr_client *client;
    uint64_t cursor;
    uint32_t count, next; /* of items */
    bool last;            /* the page in items is the last */
    struct mr_item items[WALK_PAGE];
};

void walk_begin(struct walk *walk, struct mr_client *client);
/* walk_next gives the next block in *ret_item (valid until the next call), or NULL at the end.
 * Returns: 0 or what mr_list gave. */
must_check int walk_next(struct walk *walk, const struct mr_item **ret_item);
