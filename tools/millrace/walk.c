/* SPDX-License-Identifier: MIT */
#include "tools/millrace/walk.h"

void walk_begin(struct walk *walk, struct mr_client *client) {
    walk->client = client;
    walk->cursor = 0;
    walk->count = walk->next = 0;
    walk->last = false;
}

int walk_next(struct walk *walk, const struct mr_item **ret_item) {
    while (walk->next == walk->count && !walk->last) {
        uint64_t asked = walk->cursor;
        int r = mr_list(walk->client, &walk->cursor, walk->items, WALK_PAGE, &walk->count);
        if (r != 0) {
            walk->count = walk->next = 0;
            return r;
        }
        walk->next = 0;
        /* A page that neither brings a block nor moves on would be the same one for ever. */
        walk->last = walk->cursor == 0 || (walk->count == 0 && walk->cursor == asked);
    }
    *ret_item = walk->next < walk->count ? &walk->items[walk->next++] : NULL;
    return 0;
}
