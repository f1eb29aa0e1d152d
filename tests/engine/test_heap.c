/* SPDX-License-Identifier: MIT */
#include "engine/heap.h"

#include "base/mem.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Keeps the compiler from leaving out calls whose result it sees through. */
static void *launder(void *memory) {
    __asm__("" : "+r"(memory) : : "memory");
    return memory;
}

static uint64_t calls;

static void count_from(void) {
    mem_seal();
    calls = heap_sealed_calls();
}

static uint64_t counted(void) {
    uint64_t count = heap_sealed_calls() - calls;
    mem_unseal();
    return count;
}

/* 0 where a sanitizer keeps the allocator for itself. */
static uint64_t expected(uint64_t count) {
    return heap_watch() ? count : 0;
}

#ifndef MILLRACE_SLOW_CHECKS
Test(heap, calls_of_a_sealed_thread_are_counted) {
    void *old = launder(malloc(10));
    count_from();
    void *a = launder(malloc(100));
    void *b = launder(calloc(10, 10));
    old = launder(realloc(old, 1000));
    void *c = NULL;
    cr_assert_eq(posix_memalign(&c, 64, 100), 0);
    void *d = launder(aligned_alloc(64, 128));
    uint64_t after_takes = heap_sealed_calls() - calls;
    free(a);
    free(b);
    free(c);
    free(d);
    free(old);
    uint64_t all = counted();
    cr_assert_eq(after_takes, expected(5));
    cr_assert_eq(all, expected(10));
}

Test(heap, each_thread_counts_its_own) {
    count_from();
    void *a = launder(malloc(10));
    cr_assert_eq(counted(), expected(1));
    free(a);
}

static void *on_a_thread(void *argument) {
    (void)argument;
    free(launder(malloc(100)));
    return (void *)(uintptr_t)heap_sealed_calls();
}

Test(heap, a_sealed_thread_says_nothing_of_others) {
    pthread_t thread;
    void *seen;
    cr_assert_eq(pthread_create(&thread, NULL, on_a_thread, NULL), 0);
    mem_seal();
    cr_assert_eq(pthread_join(thread, &seen), 0);
    mem_unseal();
    cr_assert_null(seen);
}
#endif

Test(heap, an_unsealed_thread_counts_nothing) {
    uint64_t before = heap_sealed_calls();
    free(launder(malloc(100)));
    cr_assert_eq(heap_sealed_calls(), before);
}

/* It is everybody's malloc: it must be a good one. */
Test(heap, behaves_as_the_c_library_promises) {
    for (size_t align = sizeof(void *); align <= 65536; align *= 2) {
        void *memory = NULL;
        cr_assert_eq(posix_memalign(&memory, align, 10), 0);
        cr_assert_eq((uintptr_t)memory % align, 0);
        free(memory);
        memory = launder(aligned_alloc(align, align));
        cr_assert_eq((uintptr_t)memory % align, 0);
        free(memory);
        memory = launder(memalign(align, 3));
        cr_assert_eq((uintptr_t)memory % align, 0);
        free(memory);
    }
    uint8_t *zeroed = launder(calloc(100, 100));
    for (int i = 0; i < 10000; i++) {
        cr_assert_eq(zeroed[i], 0);
    }
    zeroed[9999] = 7;
    zeroed = launder(realloc(zeroed, 1000000));
    cr_assert_eq(zeroed[9999], 7);
    cr_assert_geq(malloc_usable_size(zeroed), 1000000);
    free(zeroed);
    free(NULL);
    cr_assert_eq(malloc_usable_size(NULL), 0);
    void *none = launder(malloc(0));
    cr_assert_not_null(none);
    free(none);
    size_t huge = (size_t)launder((void *)(SIZE_MAX / 2));
    if (heap_watch()) { /* a sanitizer would call it a mistake of the caller */
        cr_assert_null(launder(calloc(huge, 3)), "the product overflows");
    }
}
