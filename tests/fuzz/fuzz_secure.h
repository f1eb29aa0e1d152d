/* SPDX-License-Identifier: MIT */
#pragma once

/* fuzz_secure — memory for secure channels under fuzzing: the heap, so that a sanitizer sees it. */

#include "proto/libp2p/secure.h"

#include <stdlib.h>

static uint8_t scratch[SECURE_SCRATCH_BYTES];

static inline void *heap_take(void *context, size_t bytes) {
    (void)context;
    return malloc(bytes);
}

static inline void heap_give(void *context, void *memory, size_t bytes) {
    (void)context, (void)bytes;
    free(memory);
}

static const struct secure_memory memory = {
    .take = heap_take, .give = heap_give, .scratch = scratch};
