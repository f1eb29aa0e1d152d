/* SPDX-License-Identifier: MIT */
#pragma once

/* lender — memory that grows a little at a time, from whoever has it: the core's arena on a tile,
 * the general heap in a test. What is taken goes back with the size it was taken with. */

#include "base/base.h"

struct lender {
    void *(*take)(void *context, size_t bytes); /* NULL: none to be had */
    void (*give)(void *context, void *memory, size_t bytes);
    void *context;
};
