/* SPDX-License-Identifier: MIT */
#pragma once

/* ring — a bounded queue of pointers between tiles.
 *
 * Two uses of one type: many writers to many readers (the four class rings), and one to one
 * (inboxes, done rings). One item is a batch or a chain of jobs, so one hand-off moves many
 * requests: item by item an MPMC hand-off costs 130 ns, in containers of 64 it is 3 ns a job.
 *
 * Kind:     fixed at init; calls of the other kind are bugs and panic.
 * Capacity: size - 1 items of either kind; size is a power of two (ck_ring keeps one slot empty).
 * Progress: push and pop never wait for space or items and take no lock. An MPMC writer may spin
 *           while an earlier writer commits, so a preempted writer delays those after it: writers
 *           are tiles, never helpers. One-to-one rings have no such loop.
 * Order:    items of one writer come out in the order they went in, whoever takes them; all that
 *           the writer stored before the push is seen by whoever popped the item.
 * Memory:   the caller's; ring_footprint() bytes, aligned to CACHE_PAIR.
 * Source:   many-to-many: Concurrency Kit ck_ring. One-to-one: C11 atomics with each side's last
 *           look at the other's index kept beside its own, because ck_ring publishes item by item
 *           and reads the other side's line every time (docs/concurrency.md has the numbers). */

#include "base/base.h"

struct ring;

size_t ring_footprint(uint32_t size);
/* size: a power of two, 2 .. 2^30. Thread: boot. */
struct ring *ring_init_mpmc(void *memory, uint32_t size);
struct ring *ring_init_spsc(void *memory, uint32_t size);
uint32_t ring_capacity(const struct ring *ring);
/* A moment's estimate. Thread: any. */
uint32_t ring_count(const struct ring *ring);

/* Items are never NULL. Returns: false if full. Owns: what went in is the reader's from here on.
 * Thread: any tile. Cost: 130 ns where two cores meet. */
must_check bool ring_push_mpmc(struct ring *ring, void *item);
/* Returns: the oldest item, or NULL. Thread: any tile. */
void *ring_pop_mpmc(struct ring *ring);

/* Returns: false if full. Owns: as ring_push_mpmc. Thread: one writer. */
must_check bool ring_push_spsc(struct ring *ring, void *item);
/* Publishes once. Returns: how many went in, in order; fewer means full. Thread: one writer. */
must_check uint32_t ring_push_many_spsc(struct ring *ring, void *const items[], uint32_t count);
/* Returns: the oldest item, or NULL. Thread: one reader. */
void *ring_pop_spsc(struct ring *ring);
/* Returns: how many of the oldest, at most `max`; frees their slots once. Thread: one reader. */
uint32_t ring_pop_many_spsc(struct ring *ring, void *items[], uint32_t max);
