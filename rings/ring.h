/* SPDX-License-Identifier: MIT */
#pragma once

/* ring — a bounded queue of pointers between tiles.
 *
 * Two uses of one type: many writers to many readers (the four class rings), and one to one
 * (inboxes, done rings). One item is a batch or a chain of jobs, so one hand-off moves many
 * requests: item by item an MPMC hand-off costs 130 ns, in containers of 64 it is 3 ns a job.
 *
 * Capacity: size - 1 items; size is a power of two (ck_ring keeps one slot empty).
 * Progress: push and pop never wait for space or items and take no lock. An MPMC writer may spin
 *           while an earlier writer commits, so a preempted writer delays those after it: writers
 *           are tiles, never helpers. One-to-one rings have no such loop.
 * Memory:   the caller's; ring_footprint() bytes, aligned to CACHE_PAIR.
 * Source:   Concurrency Kit ck_ring (ck_ring_{enqueue,dequeue}_{spsc,mpmc}). */

#include "base/base.h"

struct ring;

size_t ring_footprint(uint32_t size);
struct ring *ring_init(void *memory, uint32_t size);
uint32_t ring_capacity(const struct ring *ring);
/* A moment's estimate. Thread: any. */
uint32_t ring_count(const struct ring *ring);

/* Returns: false if full. Owns: what went in is the reader's from here on. Thread: any tile. */
must_check bool ring_push_mpmc(struct ring *ring, void *item);
/* Returns: the oldest item, or NULL. Thread: any tile. */
void *ring_pop_mpmc(struct ring *ring);

/* Thread: one writer. */
must_check bool ring_push_spsc(struct ring *ring, void *item);
/* Returns: how many went in, in order; fewer means full. Thread: one writer. */
uint32_t ring_push_many_spsc(struct ring *ring, void *const items[], uint32_t count);
/* Thread: one reader. */
void *ring_pop_spsc(struct ring *ring);
uint32_t ring_pop_many_spsc(struct ring *ring, void *items[], uint32_t max);
