/* SPDX-License-Identifier: MIT */
#include "rings/ring.h"

#include "base/bits.h"
#include "base/must.h"

#include <ck_ring.h>

#include <stdatomic.h>

/* Two queues behind one type.
 *
 * Many to many is ck_ring: writers reserve a slot by compare-and-swap on p_head, fill it, and
 * commit in order by moving p_tail; readers take by compare-and-swap on c_head.
 *
 * One to one is ours. Positions run freely and are masked at use; tail - head is the count, also
 * across the wrap of 2^32. The writer owns `tail`, the reader owns `head`. Each keeps beside its
 * own index what it last saw of the other's (`head_seen`, `tail_seen`): these only ever err towards
 * "fuller" and "emptier", so the other's line is read only when the old look says full or empty.
 * A burst is published by one release store of `tail`, and taken by one release store of `head`. */

enum ring_kind { RING_MPMC = 0x6d706d63, RING_SPSC = 0x73707363 };

struct ring {
    /* set at boot */
    enum ring_kind kind; /* a magic word too */
    uint32_t size;
    uint32_t mask;
    ck_ring_buffer_t *slots;

    /* RING_MPMC: written by every tile that uses it */
    alignas(CACHE_PAIR) ck_ring_t ck;

    /* RING_SPSC: the writer's pair of lines; the reader reads tail */
    alignas(CACHE_PAIR) _Atomic uint32_t tail;
    uint32_t head_seen;

    /* RING_SPSC: the reader's pair of lines; the writer reads head */
    alignas(CACHE_PAIR) _Atomic uint32_t head;
    uint32_t tail_seen;
};

/* ThreadSanitizer cannot see through ck's fences, so the hand-over is told to it per item: what was
 * written before the push happens before what follows the pop. Our own indices need no help. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RING_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__) && !defined(RING_TSAN)
#define RING_TSAN 1
#endif

#ifdef RING_TSAN
#include <sanitizer/tsan_interface.h>
static inline void hand_over(void *item) {
    __tsan_release(item);
}
static inline void take_over(void *item) {
    __tsan_acquire(item);
}
#else
static inline void hand_over(void *item) {
    (void)item;
}
static inline void take_over(void *item) {
    (void)item;
}
#endif

size_t ring_footprint(uint32_t size) {
    return round_up(sizeof(struct ring) + (size_t)size * sizeof(ck_ring_buffer_t), CACHE_PAIR);
}

static struct ring *ring_init(void *memory, uint32_t size, enum ring_kind kind) {
    must(is_power_of_two(size));
    must(size >= 2 && size <= BIT(30));
    must(((uintptr_t)memory & (CACHE_PAIR - 1)) == 0);
    struct ring *ring = memory;
    *ring = (struct ring){.kind = kind, .size = size, .mask = size - 1};
    ring->slots = (ck_ring_buffer_t *)(void *)(ring + 1);
    ck_ring_init(&ring->ck, size);
    return ring;
}

struct ring *ring_init_mpmc(void *memory, uint32_t size) {
    return ring_init(memory, size, RING_MPMC);
}

struct ring *ring_init_spsc(void *memory, uint32_t size) {
    return ring_init(memory, size, RING_SPSC);
}

uint32_t ring_capacity(const struct ring *ring) {
    return ring->mask;
}

uint32_t ring_count(const struct ring *ring) {
    if (ring->kind == RING_MPMC) {
        return ck_ring_size(&ring->ck);
    }
    /* Head first (acquire keeps the order): if both move meanwhile it errs towards more, and is
     * never below zero. Nothing else follows from it. */
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    return min_u32(tail - head, ring->mask);
}

bool ring_push_mpmc(struct ring *ring, void *item) {
    must(ring->kind == RING_MPMC);
    must(item != NULL);
    hand_over(item);
    return ck_ring_enqueue_mpmc(&ring->ck, ring->slots, item);
}

void *ring_pop_mpmc(struct ring *ring) {
    must(ring->kind == RING_MPMC);
    void *item = NULL;
    if (!ck_ring_dequeue_mpmc(&ring->ck, ring->slots, &item)) {
        return NULL;
    }
    take_over(item);
    return item;
}

uint32_t ring_push_many_spsc(struct ring *ring, void *const items[], uint32_t count) {
    must(ring->kind == RING_SPSC);
    /* Relaxed: our own word. */
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    uint32_t space = ring->mask - (tail - ring->head_seen);
    if (space < count) {
        /* Acquire: the reader is done with the slots it freed. Pairs with ring_pop_many_spsc. */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        space = ring->mask - (tail - ring->head_seen);
    }
    uint32_t n = min_u32(space, count);
    for (uint32_t i = 0; i < n; i++) {
        must(items[i] != NULL);
        ring->slots[(tail + i) & ring->mask].value = items[i];
    }
    if (n != 0) {
        /* Release: slots and what they point to. Pairs with the acquire in ring_pop_many_spsc. */
        atomic_store_explicit(&ring->tail, tail + n, memory_order_release);
    }
    return n;
}

uint32_t ring_pop_many_spsc(struct ring *ring, void *items[], uint32_t max) {
    must(ring->kind == RING_SPSC);
    /* Relaxed: our own word. */
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t ready = ring->tail_seen - head;
    if (ready < max) {
        /* Acquire: pairs with the release in ring_push_many_spsc. */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        ready = ring->tail_seen - head;
    }
    uint32_t n = min_u32(ready, max);
    for (uint32_t i = 0; i < n; i++) {
        items[i] = ring->slots[(head + i) & ring->mask].value;
    }
    if (n != 0) {
        /* Release: our reads of the slots are over. Pairs with the acquire in
         * ring_push_many_spsc. */
        atomic_store_explicit(&ring->head, head + n, memory_order_release);
    }
    return n;
}

bool ring_push_spsc(struct ring *ring, void *item) {
    return ring_push_many_spsc(ring, &item, 1) == 1;
}

void *ring_pop_spsc(struct ring *ring) {
    void *item = NULL;
    (void)ring_pop_many_spsc(ring, &item, 1);
    return item;
}
