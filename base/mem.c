/* SPDX-License-Identifier: MIT */
#include "base/mem.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"

#include <errno.h>
#include <sys/mman.h>

#define HUGE_BYTES (UINT64_C(2) * MiB)

static _Thread_local bool mem_sealed_here;

int mem_open(struct mem_region *region, size_t bytes) {
    must(bytes > 0);
    if (bytes > SIZE_MAX / 2) {
        return err_raise(-ENOMEM);
    }
    bool large = bytes >= HUGE_BYTES;
    size_t unit = large ? HUGE_BYTES : PAGE_BYTES;
    size_t whole = round_up(bytes, unit);
    /* The kernel aligns to pages only; huge pages need the start at 2 MiB: ask for more, trim. */
    size_t asked = large ? whole + unit : whole;
    uint8_t *got = mmap(NULL, asked, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (got == MAP_FAILED) {
        return err_raise(-ENOMEM);
    }
    uint8_t *base = got;
    if (large) {
        base = (uint8_t *)round_up((uintptr_t)got, unit);
        size_t before = (size_t)(base - got);
        if (before > 0) {
            munmap(got, before);
        }
        munmap(base + whole, asked - whole - before);
    }
    *region = (struct mem_region){.base = base, .bytes = whole};
    region->huge = large && madvise(base, whole, MADV_HUGEPAGE) == 0;
    return 0;
}

void mem_close(struct mem_region *region) {
    if (region->base) {
        munmap(region->base, region->bytes);
    }
    *region = (struct mem_region){0};
}

void *mem_carve(struct mem_region *region, size_t bytes, size_t align) {
    must(is_power_of_two(align));
    uintptr_t start = (uintptr_t)region->base;
    size_t at = round_up(start + region->used, align) - start;
    must(at <= region->bytes);
    must(bytes <= region->bytes - at);
    region->used = at + bytes;
    return region->base + at;
}

size_t mem_need(size_t sum, size_t bytes, size_t align) {
    must(is_power_of_two(align));
    /* A sum that no machine has stays one that no machine has: mem_open then says -ENOMEM. */
    size_t with_padding, total;
    if (__builtin_add_overflow(bytes, align - 1, &with_padding) ||
        __builtin_add_overflow(sum, with_padding, &total)) {
        return SIZE_MAX;
    }
    return total;
}

void mem_seal(void) {
    mem_sealed_here = true;
}

void mem_unseal(void) {
    mem_sealed_here = false;
}

bool mem_sealed(void) {
    return mem_sealed_here;
}
