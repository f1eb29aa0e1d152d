/* SPDX-License-Identifier: MIT */
#include "engine/heap.h"

#include "base/mem.h"
#include "base/must.h"
#include "build_info.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local uint64_t sealed_calls;

uint64_t heap_sealed_calls(void) {
    return sealed_calls;
}

bool heap_watch(void) {
    return HAVE_JEMALLOC;
}

#if HAVE_JEMALLOC
#include <jemalloc/jemalloc.h>
#include <malloc.h>

static void note_call(void) {
    if (unlikely(mem_sealed())) {
        sealed_calls++;
#ifdef MILLRACE_SLOW_CHECKS
        mem_unseal(); /* the panic itself may allocate */
        never("a sealed tile called the general heap");
#endif
    }
}

/* The names the C library and every other library call. */
#define EXPORTED __attribute__((visibility("default")))

static int align_flag(size_t align) {
    return (int)MALLOCX_ALIGN(align);
}

EXPORTED void *malloc(size_t bytes) {
    note_call();
    void *memory = mallocx(bytes ? bytes : 1, 0);
    if (!memory) {
        errno = ENOMEM;
    }
    return memory;
}

EXPORTED void *calloc(size_t count, size_t bytes) {
    note_call();
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    void *memory = mallocx(total ? total : 1, MALLOCX_ZERO);
    if (!memory) {
        errno = ENOMEM;
    }
    return memory;
}

EXPORTED void *realloc(void *old, size_t bytes) {
    note_call();
    void *memory = old ? rallocx(old, bytes ? bytes : 1, 0) : mallocx(bytes ? bytes : 1, 0);
    if (!memory) {
        errno = ENOMEM;
    }
    return memory;
}

EXPORTED void free(void *memory) {
    if (memory) {
        note_call();
        dallocx(memory, 0);
    }
}

EXPORTED int posix_memalign(void **ret_memory, size_t align, size_t bytes) {
    note_call();
    void *memory = mallocx(bytes ? bytes : 1, align_flag(align));
    if (!memory) {
        return ENOMEM;
    }
    *ret_memory = memory;
    return 0;
}

EXPORTED void *aligned_alloc(size_t align, size_t bytes) {
    note_call();
    void *memory = mallocx(bytes ? bytes : 1, align_flag(align));
    if (!memory) {
        errno = ENOMEM;
    }
    return memory;
}

EXPORTED void *memalign(size_t align, size_t bytes) {
    return aligned_alloc(align, bytes);
}

EXPORTED size_t malloc_usable_size(void *memory) {
    return memory ? sallocx(memory, 0) : 0;
}
#endif
