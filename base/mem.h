/* SPDX-License-Identifier: MIT */
#pragma once

/* mem — regions of memory taken once at boot and carved in order.
 *
 * A core adds up what its parts need (their footprint functions), opens one region of that size,
 * and carves it in the same order; mem_close or the end of the process gives it back. Regions are
 * anonymous, zeroed, and asked to be huge pages where they are 2 MiB or more.
 *
 *   mem_open(&region, bytes) -> mem_carve(&region, n, align) ... -> mem_close(&region)
 *
 * Progress: after mem_seal() a tile takes no memory from the general heap; the daemon's heap hooks
 * (engine/heap.h) count or refuse what breaks the rule. */

#include "base/base.h"

struct mem_region {
    uint8_t *base;
    size_t bytes; /* whole region */
    size_t used;  /* carved so far */
    bool huge;    /* MADV_HUGEPAGE was accepted */
};

/* Returns: 0 or -ENOMEM. Thread: boot. */
must_check int mem_open(struct mem_region *region, size_t bytes);
void mem_close(struct mem_region *region);

/* mem_carve cuts `bytes` at `align` (a power of two); it panics past the end: the sum was wrong. */
void *mem_carve(struct mem_region *region, size_t bytes, size_t align);

/* mem_need adds one carve to a running sum, with the padding that its alignment may cost. */
size_t mem_need(size_t sum, size_t bytes, size_t align);

/* The calling thread becomes (or stops being) a sealed tile: heap calls on it are mistakes.
 * mem_sealed is read by the heap hooks. Thread: any, for itself. */
void mem_seal(void);
void mem_unseal(void);
bool mem_sealed(void);
