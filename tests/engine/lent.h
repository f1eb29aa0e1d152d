/* SPDX-License-Identifier: MIT */
#pragma once

/* lent — a lender for tests: counts what is out, and can be told to have no more. */

#include "engine/swarm/lender.h"

#include <stdint.h>
#include <stdlib.h>

static size_t lent, lent_max = SIZE_MAX;

static inline void *lent_take(void *context, size_t bytes) {
    (void)context;
    if (lent + bytes > lent_max) {
        return NULL;
    }
    lent += bytes;
    return malloc(bytes);
}

static inline void lent_give(void *context, void *memory, size_t bytes) {
    (void)context;
    lent -= bytes;
    free(memory);
}

static const struct lender lender = {.take = lent_take, .give = lent_give};
