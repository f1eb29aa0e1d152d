/* SPDX-License-Identifier: MIT */
#include "store/heap.h"

#include "base/bits.h"
#include "base/err.h"
#include "base/must.h"
#include "store/vm.h"

#include <errno.h>

#define CLASSES     256u
#define CLASS_LEAST 64u
#define CHUNK_BYTES (64 * KiB) /* small classes are cut from chunks of this size */

struct heap_free {
    struct heap_free *next;
};

struct heap {
    struct slab slab;
    void *base;
    uint64_t bytes;
    struct heap_free *free[CLASSES];
};

/* Eighths of a power of two: at most 12.5 % is lost to rounding. */
static uint32_t class_of(size_t bytes, size_t *ret_class_bytes) {
    size_t size = bytes < CLASS_LEAST ? CLASS_LEAST : bytes;
    uint32_t power = 63u - (uint32_t)__builtin_clzll(size);
    size_t step = (size_t)1 << (power - 3);
    size_t rounded = round_up(size, step);
    size_t unit = rounded >= 16384 ? PAGE_BYTES : 16;
    *ret_class_bytes = round_up(rounded, unit);
    power = 63u - (uint32_t)__builtin_clzll(rounded);
    return (power - 6) * 8 + (uint32_t)((rounded >> (power - 3)) & 7);
}

static void *heap_take(void *context, size_t bytes, size_t align) {
    struct heap *heap = context;
    size_t size = 0;
    uint32_t class = class_of(bytes, &size);
    must(class < CLASSES);
    must(align <= 16 || size % align == 0);
    if (!heap->free[class]) {
        size_t chunk = size >= CHUNK_BYTES / 4 ? round_up(size, PAGE_BYTES) : CHUNK_BYTES;
        uint8_t *run = slab_take(&heap->slab, chunk / PAGE_BYTES, 1);
        for (size_t at = 0; run && at + size <= chunk; at += size) {
            struct heap_free *body = (struct heap_free *)(void *)(run + at);
            body->next = heap->free[class];
            heap->free[class] = body;
        }
    }
    struct heap_free *body = heap->free[class];
    if (body) {
        heap->free[class] = body->next;
    }
    return body;
}

static void heap_give(void *context, void *body, size_t bytes) {
    struct heap *heap = context;
    size_t size = 0;
    uint32_t class = class_of(bytes, &size);
    struct heap_free *freed = body;
    freed->next = heap->free[class];
    heap->free[class] = freed;
}

int heap_open(struct heap **ret_heap, uint64_t bytes, struct store_memory *ret_memory) {
    struct heap *heap = vm_map(sizeof *heap);
    if (!heap) {
        return err_raise(-ENOMEM);
    }
    *heap = (struct heap){.bytes = round_up(bytes, 2 * MiB)};
    int r = vm_reserve(&heap->base, heap->bytes);
    r = r == 0 ? slab_init(&heap->slab, heap->base, heap->bytes) : r;
    if (r != 0) {
        heap_close(heap);
        return r;
    }
    *ret_heap = heap;
    *ret_memory = (struct store_memory){.take = heap_take, .give = heap_give, .context = heap};
    return 0;
}

void heap_close(struct heap *heap) {
    if (heap) {
        slab_fini(&heap->slab);
        vm_unmap(heap->base, heap->bytes);
        vm_unmap(heap, sizeof *heap);
    }
}
