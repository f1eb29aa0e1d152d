/* SPDX-License-Identifier: MIT */
#pragma once

/* vm — address space that becomes memory when it is touched: frame headers, catalog slabs, windows
 * over files. Nothing here comes from or goes to the heap.
 *
 * A slab is one keeper's part of the catalog's address space, handed out in runs of pages, each
 * from the smallest hole that holds it, so that tables of many sizes lie densely in huge pages. Its
 * memory is made usable in big steps. Thread: owner. */

#include "base/base.h"

/* Zeroed memory that counts only once touched. NULL: none. */
void *vm_map(size_t bytes);
/* The same, in huge pages where there are any: for what is looked up at random. */
void *vm_map_huge(size_t bytes);
void vm_unmap(void *at, size_t bytes);
/* Its bytes are zero again and cost nothing until they are touched. at: the start of a page. */
void vm_drop(void *at, size_t bytes);

struct slab {
    uint8_t *base;
    uint64_t *used; /* a bit a page */
    uint64_t pages_max;
    uint64_t pages_usable; /* made readable and writable so far */
    uint64_t pages_top;    /* pages ever handed out: what it costs in memory */
    uint64_t pages_used;
    uint64_t first_free; /* no page below it is free */
};

/* Address space only. Returns: 0 or -ENOMEM. Thread: boot. */
must_check int vm_reserve(void **ret_base, size_t bytes);
/* Makes whole pages of it readable and writable. Returns: 0 or -ENOMEM. */
must_check int vm_commit(void *from, size_t bytes);

must_check int slab_init(struct slab *slab, void *base, uint64_t bytes);
void slab_fini(struct slab *slab);
/* A run of pages at a multiple of `unit` pages (at most 64, a power of two) from the base, its
 * bytes undefined: the smallest hole that holds it. NULL: no memory. */
void *slab_take(struct slab *slab, uint64_t pages, uint64_t unit);
void slab_give(struct slab *slab, void *run, uint64_t pages);
