/* SPDX-License-Identifier: MIT */
#pragma once

/* heap — bodies of frames where the caller of store_open gave no memory: tools and tests.
 *
 * Size classes of an eighth of a power of two over one slab, each with a list of free bodies; a
 * freed body is used again for its class alone. Thread: owner. */

#include "store/store.h"

struct heap;

/* bytes: most it may ever hold. Returns: 0 or -ENOMEM. */
must_check int heap_open(struct heap **ret_heap, uint64_t bytes, struct store_memory *ret_memory);
void heap_close(struct heap *heap);
