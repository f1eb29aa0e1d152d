/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/asks.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <stdlib.h>

static uint32_t home_of(const struct asks *asks, uint32_t index) {
    return (index * UINT32_C(0x9e3779b1) >> 7) & asks->mask;
}

int asks_open(struct asks *asks, uint32_t most) {
    uint64_t places = power_of_two_above((uint64_t)most * 2);
    *asks =
        (struct asks){.table = calloc(places, sizeof(struct ask)), .mask = (uint32_t)places - 1};
    if (asks->table == NULL) {
        return err_raise(-ENOMEM);
    }
    for (uint64_t i = 0; i < places; i++) {
        asks->table[i].index = ASKS_NONE;
    }
    return 0;
}

void asks_close(struct asks *asks) {
    free(asks->table);
    *asks = (struct asks){0};
}

struct ask *asks_find(const struct asks *asks, uint32_t index) {
    for (uint32_t at = home_of(asks, index);; at = (at + 1) & asks->mask) {
        struct ask *ask = &asks->table[at];
        if (ask->index == index) {
            return ask;
        }
        if (ask->index == ASKS_NONE) {
            return NULL;
        }
    }
}

void asks_add(struct asks *asks, const struct ask *ask) {
    must(asks->count < asks->mask);
    must(ask->index != ASKS_NONE);
    uint32_t at = home_of(asks, ask->index);
    while (asks->table[at].index != ASKS_NONE) {
        must(asks->table[at].index != ask->index);
        at = (at + 1) & asks->mask;
    }
    asks->table[at] = *ask;
    asks->count++;
}

void asks_remove(struct asks *asks, struct ask *ask) {
    uint32_t hole = (uint32_t)(ask - asks->table);
    must(ask->index != ASKS_NONE && hole <= asks->mask);
    for (uint32_t at = (hole + 1) & asks->mask; asks->table[at].index != ASKS_NONE;
         at = (at + 1) & asks->mask) {
        uint32_t home = home_of(asks, asks->table[at].index);
        /* It may move back to the hole unless its home lies behind the hole. */
        if (((at - home) & asks->mask) >= ((at - hole) & asks->mask)) {
            asks->table[hole] = asks->table[at];
            hole = at;
        }
    }
    asks->table[hole].index = ASKS_NONE;
    asks->count--;
}
