/* SPDX-License-Identifier: MIT */
#include "tools/millrace/known.h"

#include <string.h>

bool known_add(struct known *known, const struct known_item *item) {
    uint32_t bytes = item->data != NULL ? item->bytes : 0;
    if (known->count == KNOWN_ITEMS || bytes > KNOWN_BYTES - known->used) {
        return false;
    }
    struct known_item *place = &known->items[known->count++];
    *place = *item;
    if (item->data != NULL) {
        place->data = known->bytes + known->used;
        memcpy(known->bytes + known->used, item->data, bytes);
        known->used += bytes;
    }
    return true;
}

int known_ask(struct known *known, struct mr_client *client) {
    static struct mr_cid cids[KNOWN_ITEMS];
    static uint8_t answers[KNOWN_ITEMS];
    uint32_t asked[KNOWN_ITEMS], count = 0;
    memset(known->present, 0, sizeof known->present);
    for (uint32_t i = 0; i < known->count; i++) {
        uint8_t binary[CID_BYTES_MAX];
        size_t size = cid_write(&known->items[i].cid, binary);
        if (mr_cid_read(binary, size, &cids[count]) == 0) { /* others are nobody's: not stored */
            asked[count++] = i;
        }
    }
    int r = count > 0 ? mr_have(client, cids, count, answers) : 0;
    for (uint32_t i = 0; r == 0 && i < count; i++) {
        known->present[asked[i]] = answers[i];
    }
    return r;
}

void known_clear(struct known *known) {
    known->count = known->used = 0;
}
