/* SPDX-License-Identifier: MIT */
#pragma once

/* arena — memory of one core for block frames and request bodies: a jemalloc arena whose extents
 * lie in one slice of a region reserved at boot, so that blocks never mix with the general heap and
 * the bound is a number.
 *
 * Extents are cut off the slice in order and never returned; jemalloc keeps and reuses them, and
 * says which of them have pages: `committed` counts those. The region is
 * anonymous, or a memfd's, out of which sendfile may send. Builds with a sanitizer have no jemalloc
 * and use the general heap, with the same bound by count and no file.
 *
 * Thread: owner (one core) for take and give; any for arena_used. Cost: about 100 ns. */

#include "base/base.h"

#include <stdatomic.h>

struct arena;

/* Reserves address space only; pages are taken when touched. Returns: 0 or -ENOMEM. Thread: boot.
 */
must_check int arena_open(size_t bytes, struct arena **ret_arena);
/* The same over a memfd (where it cannot be had: no arena). For large bodies that start a page. */
must_check int arena_open_file(size_t bytes, struct arena **ret_arena);
void arena_close(struct arena *arena);
/* Returns: the memfd whose first byte lies at *ret_base, or -1 and 0 bytes. Thread: any. */
int arena_file(const struct arena *arena, const uint8_t **ret_base, uint64_t *ret_bytes);
/* Cuts the pages of a body out of the file: whoever was sent them by sendfile keeps the old ones,
 * what is written next goes to new ones. memory starts a page, and is the caller's to its last one.
 * Returns: 0 or -errno: then the body must never be used again. Cost: a system call, and a fault a
 * page when it is used again. */
must_check int arena_punch(struct arena *arena, void *memory, size_t bytes);
/* Gives the pages of what is free back to the kernel. Thread: owner. Cost: a system call a piece.
 */
void arena_trim(struct arena *arena);
/* Bytes that may have pages behind them: handed out, kept for reuse, jemalloc's own. Thread: any.
 */
uint64_t arena_committed(const struct arena *arena);
/* align: a power of two. Returns: NULL when the slice is full. */
void *arena_take(struct arena *arena, size_t bytes, size_t align);
void arena_give(struct arena *arena, void *memory, size_t bytes);
/* The same for an arena that every thread uses, and whose users do not say how much they give back
 * (libcrypto): a cache of each thread, and one atomic add instead of the owner's counter. again: as
 * realloc, old may be NULL; NULL leaves the old as it was. An arena is used in one of the two ways,
 * and a shared one is never closed. Thread: any. */
void *arena_shared_take(struct arena *arena, size_t bytes);
void *arena_shared_again(struct arena *arena, void *old, size_t bytes);
void arena_shared_give(struct arena *arena, void *memory);
/* Bytes handed out now. Thread: any. */
uint64_t arena_used(const struct arena *arena);
