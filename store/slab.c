/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/vm.h"

#include <errno.h>

#define SLAB_STEP_PAGES (8 * MiB / PAGE_BYTES)

int slab_init(struct slab *slab, void *base, uint64_t bytes) {
    *slab = (struct slab){.base = base, .pages_max = bytes / PAGE_BYTES};
    slab->used = vm_map(slab->pages_max / 8 + 8);
    return slab->used ? 0 : err_raise(-ENOMEM);
}

void slab_fini(struct slab *slab) {
    vm_unmap(slab->used, slab->pages_max / 8 + 8);
    slab->used = NULL;
}

static bool page_used(const struct slab *slab, uint64_t page) {
    return (slab->used[page / 64] >> (page % 64)) & 1;
}

/* The next free page at or after `page`; whole words of used pages are stepped over at once. */
static uint64_t next_free(const struct slab *slab, uint64_t page) {
    while (page < slab->pages_max) {
        uint64_t free_bits = ~slab->used[page / 64] >> (page % 64);
        if (free_bits) {
            return page + (uint64_t)__builtin_ctzll(free_bits);
        }
        page = (page / 64 + 1) * 64;
    }
    return slab->pages_max;
}

static uint64_t next_used(const struct slab *slab, uint64_t page) {
    while (page < slab->pages_top) {
        uint64_t used_bits = slab->used[page / 64] >> (page % 64);
        if (used_bits) {
            return page + (uint64_t)__builtin_ctzll(used_bits);
        }
        page = (page / 64 + 1) * 64;
    }
    return slab->pages_max;
}

static uint64_t find_run(const struct slab *slab, uint64_t pages, uint64_t unit) {
    uint64_t best = UINT64_MAX;
    uint64_t best_pages = UINT64_MAX;
    uint64_t hole = next_free(slab, slab->first_free);
    while (hole < slab->pages_max && best_pages > pages) {
        uint64_t end = next_used(slab, hole);
        uint64_t start = round_up(hole, unit);
        if (start + pages <= end && end - start < best_pages) {
            best = start;
            best_pages = end - start;
        }
        hole = next_free(slab, end);
    }
    return best;
}

void *slab_take(struct slab *slab, uint64_t pages, uint64_t unit) {
    uint64_t start = find_run(slab, pages, unit);
    if (start == UINT64_MAX) {
        return NULL;
    }
    uint64_t end = start + pages;
    if (end > slab->pages_usable) {
        uint64_t usable = min_u64(round_up(end, SLAB_STEP_PAGES), slab->pages_max);
        uint8_t *from = slab->base + slab->pages_usable * PAGE_BYTES;
        size_t bytes = (usable - slab->pages_usable) * PAGE_BYTES;
        if (vm_commit(from, bytes) != 0) {
            return NULL;
        }
        slab->pages_usable = usable;
    }
    for (uint64_t page = start; page < end; page++) {
        slab->used[page / 64] |= UINT64_C(1) << (page % 64);
    }
    slab->pages_top = max_u64(slab->pages_top, end);
    slab->pages_used += pages;
    if (start == slab->first_free) {
        slab->first_free = end;
    }
    return slab->base + start * PAGE_BYTES;
}

void slab_give(struct slab *slab, void *run, uint64_t pages) {
    uint64_t start = (uint64_t)((uint8_t *)run - slab->base) / PAGE_BYTES;
    must(start + pages <= slab->pages_top);
    for (uint64_t page = start; page < start + pages; page++) {
        must(page_used(slab, page));
        slab->used[page / 64] &= ~(UINT64_C(1) << (page % 64));
    }
    slab->pages_used -= pages;
    slab->first_free = min_u64(slab->first_free, start);
}
