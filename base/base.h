/* SPDX-License-Identifier: MIT */
#pragma once

/* base — what every file may assume: integer types, cache geometry, a few attributes.
 *
 * The folder base/ is the language Millrace is written in: errors, asserts, clock, memory, tables,
 * names of content. It knows nothing of blocks, sockets or threads of ours, and includes nothing
 * but libc, xxhash and (behind hash.c) libcrypto and libb2. */

#include <assert.h> /* static_assert; assert() itself is banned: see must.h */
#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CACHE_LINE 64u
#define CACHE_PAIR \
    128u /* the neighbour line is prefetched: words of two writers stand this far apart */
#define PAGE_BYTES 4096u

#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)

#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S  UINT64_C(1000000000)

#define must_check  __attribute__((warn_unused_result))
#define hot_path    __attribute__((hot))
#define cold_path   __attribute__((cold, noinline))
#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define BIT(n)                          (1u << (n))
#define array_count(a)                  (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
