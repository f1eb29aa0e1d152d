/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/asks.h"

#include "tools/load/draw.h"

#include <criterion/criterion.h>

#define MOST  100u
#define RANGE 600u

Test(asks, what_was_added_is_found_until_it_is_removed) {
    struct asks asks;
    bool there[RANGE] = {false};
    struct draw draw = {.state = 9};
    cr_assert_eq(asks_open(&asks, MOST), 0);
    for (uint32_t step = 0; step < 200000; step++) {
        uint32_t index = (uint32_t)draw_below(&draw, RANGE);
        struct ask *ask = asks_find(&asks, index);
        cr_assert_eq(ask != NULL, there[index], "step %u block %u", step, index);
        if (ask != NULL) {
            cr_assert_eq(ask->intended_ns, index * 3u);
            asks_remove(&asks, ask);
            there[index] = false;
        } else if (asks.count < MOST) {
            asks_add(&asks, &(struct ask){.index = index, .intended_ns = index * 3u});
            there[index] = true;
        }
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < RANGE; i++) {
        count += there[i];
        cr_assert_eq(asks_find(&asks, i) != NULL, there[i]);
    }
    cr_assert_eq(asks.count, count);
    asks_close(&asks);
}
