/* SPDX-License-Identifier: MIT */
#include "perf/cache.h"

#include "base/must.h"

#include <math.h>
#include <stdlib.h>

/* Policies as their papers say, without approximation and without care for speed or memory. Lists
 * are by object number; NONE ends them.
 *
 *   LRU      Source: folklore.
 *   S3-FIFO  small a tenth, ghosts as many as nine tenths, two uses lead to main. Source: Yang et
 *            al., SOSP 2023.
 *   LFU      fewest uses since it came in; among equals the longest unused
 *   LRFU     each use weighs 1 and half as much every `frames` requests; least weight first.
 *            Weights are kept as logarithms at one common time, so that they only change on use.
 *            Source: Lee et al., IEEE ToC 2001. */

#define NONE UINT32_MAX

const char *const exact_names[EXACT_POLICIES] = {"LRU", "S3-FIFO", "LFU", "LRFU"};

struct list {
    uint32_t head, tail, count;
};

struct exact {
    uint32_t frames;
    uint32_t *prev, *next;
    uint8_t *where; /* 0 outside, 1 small (or the only list), 2 main */
    uint8_t *uses;
    uint32_t *ghost; /* number of its eviction from small, from 1 on; 0 none */
    uint32_t ghosts;
    struct list small, main;
    /* LFU and LRFU: a heap of objects, least weight on top */
    double *weight;
    uint32_t *heap, *heap_at, heap_count;
    uint32_t now;
};

static void push(struct exact *exact, struct list *list, uint32_t object) {
    exact->prev[object] = NONE;
    exact->next[object] = list->head;
    if (list->head != NONE) {
        exact->prev[list->head] = object;
    } else {
        list->tail = object;
    }
    list->head = object;
    list->count++;
}

static void take_out(struct exact *exact, struct list *list, uint32_t object) {
    uint32_t prev = exact->prev[object], next = exact->next[object];
    *(prev != NONE ? &exact->next[prev] : &list->head) = next;
    *(next != NONE ? &exact->prev[next] : &list->tail) = prev;
    list->count--;
}

/* --- LRU -------------------------------------------------------------------------------------- */

static void lru_hit(struct exact *exact, uint32_t object) {
    take_out(exact, &exact->main, object);
    push(exact, &exact->main, object);
}

static void lru_miss(struct exact *exact, uint32_t object) {
    if (exact->main.count == exact->frames) {
        exact->where[exact->main.tail] = 0;
        take_out(exact, &exact->main, exact->main.tail);
    }
    exact->where[object] = 1;
    push(exact, &exact->main, object);
}

/* --- S3-FIFO ---------------------------------------------------------------------------------- */

static void s3_hit(struct exact *exact, uint32_t object) {
    exact->uses[object] = (uint8_t)(exact->uses[object] + (exact->uses[object] < 3));
}

static void s3_leave_main(struct exact *exact) {
    uint32_t object = exact->main.tail;
    take_out(exact, &exact->main, object);
    if (exact->uses[object] > 0) {
        exact->uses[object]--;
        push(exact, &exact->main, object);
    } else {
        exact->where[object] = 0;
    }
}

static void s3_leave_small(struct exact *exact) {
    uint32_t object = exact->small.tail;
    take_out(exact, &exact->small, object);
    if (exact->uses[object] >= 2) {
        exact->uses[object] = 0;
        exact->where[object] = 2;
        push(exact, &exact->main, object);
    } else {
        exact->where[object] = 0;
        exact->ghost[object] = ++exact->ghosts;
    }
}

static void s3_miss(struct exact *exact, uint32_t object) {
    uint32_t main_frames = exact->frames - exact->frames / 10;
    uint32_t age = exact->ghosts - exact->ghost[object];
    bool ghost = exact->ghost[object] != 0 && age < main_frames;
    exact->ghost[object] = 0;
    while (exact->small.count + exact->main.count >= exact->frames) {
        if (exact->small.count == 0 || exact->main.count > main_frames) {
            s3_leave_main(exact);
        } else {
            s3_leave_small(exact);
        }
    }
    exact->uses[object] = 0;
    exact->where[object] = ghost ? 2 : 1;
    push(exact, ghost ? &exact->main : &exact->small, object);
}

/* --- LFU and LRFU: a heap by weight ----------------------------------------------------------- */

static void heap_set(struct exact *exact, uint32_t at, uint32_t object) {
    exact->heap[at] = object;
    exact->heap_at[object] = at;
}

static void heap_down(struct exact *exact, uint32_t at) {
    uint32_t object = exact->heap[at];
    for (;;) {
        uint32_t child = at * 2 + 1;
        if (child >= exact->heap_count) {
            break;
        }
        bool right = child + 1 < exact->heap_count &&
                     exact->weight[exact->heap[child + 1]] < exact->weight[exact->heap[child]];
        child += right;
        if (exact->weight[exact->heap[child]] >= exact->weight[object]) {
            break;
        }
        heap_set(exact, at, exact->heap[child]);
        at = child;
    }
    heap_set(exact, at, object);
}

static void heap_up(struct exact *exact, uint32_t at) {
    uint32_t object = exact->heap[at];
    while (at > 0 && exact->weight[exact->heap[(at - 1) / 2]] > exact->weight[object]) {
        heap_set(exact, at, exact->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_set(exact, at, object);
}

static void heap_enter(struct exact *exact, uint32_t object, double weight) {
    if (exact->heap_count == exact->frames) {
        exact->where[exact->heap[0]] = 0;
        heap_set(exact, 0, exact->heap[--exact->heap_count]);
        heap_down(exact, 0);
    }
    exact->weight[object] = weight;
    exact->where[object] = 1;
    heap_set(exact, exact->heap_count++, object);
    heap_up(exact, exact->heap_count - 1);
}

/* Equal counts: the part behind the point is when it was last used, always below a half. */
static double lfu_age(const struct exact *exact) {
    return exact->now * 0x1p-33;
}

static void lfu_hit(struct exact *exact, uint32_t object) {
    exact->weight[object] = floor(exact->weight[object]) + 1 + lfu_age(exact);
    heap_down(exact, exact->heap_at[object]);
}

static void lfu_miss(struct exact *exact, uint32_t object) {
    heap_enter(exact, object, 1 + lfu_age(exact));
}

static double lrfu_now(const struct exact *exact) {
    return (double)exact->now / exact->frames;
}

static void lrfu_hit(struct exact *exact, uint32_t object) {
    double now = lrfu_now(exact), before = exact->weight[object];
    exact->weight[object] = fmax(now, before) + log2(1 + exp2(-fabs(now - before)));
    heap_down(exact, exact->heap_at[object]);
}

static void lrfu_miss(struct exact *exact, uint32_t object) {
    heap_enter(exact, object, lrfu_now(exact));
}

/* --- all -------------------------------------------------------------------------------------- */

static const struct {
    void (*hit)(struct exact *exact, uint32_t object);
    void (*miss)(struct exact *exact, uint32_t object);
} policies[EXACT_POLICIES] = {[EXACT_LRU] = {lru_hit, lru_miss},
                              [EXACT_S3FIFO] = {s3_hit, s3_miss},
                              [EXACT_LFU] = {lfu_hit, lfu_miss},
                              [EXACT_LRFU] = {lrfu_hit, lrfu_miss}};

static void *array(uint32_t count, size_t bytes) {
    void *memory = calloc(count, bytes);
    must(memory != NULL);
    return memory;
}

uint32_t exact_misses(enum exact_policy policy, uint32_t frames, struct demand *demand,
                      uint64_t seed) {
    uint32_t objects = demand_objects(demand), misses = 0;
    struct exact exact = {.frames = frames,
                          .prev = array(objects, 4),
                          .next = array(objects, 4),
                          .where = array(objects, 1),
                          .uses = array(objects, 1),
                          .ghost = array(objects, 4),
                          .weight = array(objects, 8),
                          .heap = array(frames, 4),
                          .heap_at = array(objects, 4),
                          .small = {NONE, NONE, 0},
                          .main = {NONE, NONE, 0}};
    for (demand_start(demand, seed); demand->asked < demand->requests; exact.now++) {
        uint32_t object = demand_next(demand);
        if (exact.where[object]) {
            policies[policy].hit(&exact, object);
        } else {
            policies[policy].miss(&exact, object);
            misses++;
        }
    }
    void *const all[] = {exact.prev,  exact.next,   exact.where, exact.uses,
                         exact.ghost, exact.weight, exact.heap,  exact.heap_at};
    for (size_t i = 0; i < array_count(all); i++) {
        free(all[i]);
    }
    return misses;
}
