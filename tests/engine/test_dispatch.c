/* SPDX-License-Identifier: MIT */
#include "engine/dispatch.h"

#include "base/bits.h"

#include <criterion/criterion.h>

static const uint32_t shares[CLASS_COUNT] = {25, 25, 33, 17};

static uint32_t homes_of(uint32_t class, uint32_t count) {
    uint32_t tiles = 0;
    for (uint32_t i = 0; i < count; i++) {
        tiles += (dispatch_homes(i, count) & BIT(class)) != 0;
    }
    return tiles;
}

Test(dispatch_homes, every_class_has_a_home_and_every_tile_a_class) {
    for (uint32_t count = 1; count <= LAYOUT_CORES_MAX; count++) {
        for (uint32_t c = 0; c < CLASS_COUNT; c++) {
            cr_assert_geq(homes_of(c, count), 1, "class %u on %u tiles", c, count);
        }
        for (uint32_t i = 0; i < count; i++) {
            cr_assert_neq(dispatch_homes(i, count), 0, "tile %u of %u", i, count);
            cr_assert_lt(dispatch_homes(i, count), BIT(CLASS_COUNT));
        }
    }
}

Test(dispatch_homes, one_tile_is_home_to_all) {
    cr_assert_eq(dispatch_homes(0, 1), BIT(CLASS_COUNT) - 1);
}

Test(dispatch_homes, two_tiles_part_the_urgent_from_the_rest) {
    cr_assert_eq(dispatch_homes(0, 2), BIT(CLASS_CRITICAL) | BIT(CLASS_HIGH));
    cr_assert_eq(dispatch_homes(1, 2), BIT(CLASS_NORMAL) | BIT(CLASS_LOW));
}

Test(dispatch_homes, four_tiles_are_one_for_each) {
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        cr_assert_eq(dispatch_homes(c, 4), BIT(c));
    }
}

/* From four on, a class has its share of the tiles, within the one that rounding costs. */
Test(dispatch_homes, shares_are_kept_within_rounding) {
    for (uint32_t count = 4; count <= 16; count++) {
        for (uint32_t c = 0; c < CLASS_COUNT; c++) {
            double wanted = shares[c] * count / 100.0;
            double have = homes_of(c, count);
            cr_assert(have > wanted - 1 && have < wanted + 1, "class %u on %u tiles: %.0f of %.2f",
                      c, count, have, wanted);
        }
    }
    static const uint32_t hundred[] = {15, 15, 20, 10};
    for (uint32_t c = 0; c < CLASS_COUNT; c++) {
        cr_assert_leq(homes_of(c, 60), hundred[c] + 1);
        cr_assert_geq(homes_of(c, 60), hundred[c] - 1);
    }
}

Test(dispatch_homes, homes_of_a_class_lie_side_by_side) {
    for (uint32_t count = 1; count <= LAYOUT_CORES_MAX; count++) {
        for (uint32_t c = 0; c < CLASS_COUNT; c++) {
            uint32_t runs = 0;
            for (uint32_t i = 0; i < count; i++) {
                bool here = (dispatch_homes(i, count) & BIT(c)) != 0;
                bool before = i > 0 && (dispatch_homes(i - 1, count) & BIT(c)) != 0;
                runs += here && !before;
            }
            cr_assert_eq(runs, 1, "class %u on %u tiles", c, count);
        }
    }
}
