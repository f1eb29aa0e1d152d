/* SPDX-License-Identifier: MIT */
#include "perf/crowd.h"

#include "perf/kit.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

struct member {
    alignas(CACHE_PAIR) const struct crowd *crowd;
    pthread_t thread;
    uint32_t number;
    uint64_t items, sum, worst_ns;
    uint64_t stop_ns;
};

static struct {
    alignas(CACHE_PAIR) _Atomic uint32_t go;  /* main says start */
    alignas(CACHE_PAIR) _Atomic uint32_t end; /* main says enough */
    alignas(CACHE_PAIR) _Atomic uint32_t writers;
} control;

/* With a CPU each a thread spins; where they share, it gives way to the one it waits for. */
static void give_way(const struct crowd *crowd) {
    if (crowd->pairs > 1) {
        sched_yield();
    } else {
        kit_relax();
    }
}

static void enter(const struct member *member) {
    kit_pin(member->number % 2);
    while (!atomic_load_explicit(&control.go, memory_order_acquire)) {
        sched_yield();
    }
}

static void *writer(void *argument) {
    struct member *me = argument;
    const struct crowd *crowd = me->crowd;
    enter(me);
    do {
        void *item = (void *)(uintptr_t)(me->items + 1);
        uint64_t from = (me->items & 63) == 0 ? kit_ns() : 0;
        while (!crowd->push(crowd->queue, item)) {
            from = from ? from : kit_ns();
            give_way(crowd);
        }
        if (from) {
            uint64_t wait = kit_ns() - from;
            me->worst_ns = wait > me->worst_ns ? wait : me->worst_ns;
        }
        me->items++;
        me->sum += (uintptr_t)item;
    } while (!atomic_load_explicit(&control.end, memory_order_relaxed));  /* late is harmless */
    atomic_fetch_sub_explicit(&control.writers, 1, memory_order_release); /* pairs with reader */
    return NULL;
}

static void *reader(void *argument) {
    struct member *me = argument;
    const struct crowd *crowd = me->crowd;
    enter(me);
    for (;;) {
        bool over = atomic_load_explicit(&control.writers, memory_order_acquire) == 0;
        void *item = crowd->pop(crowd->queue);
        if (item) {
            me->items++;
            me->sum += (uintptr_t)item;
        } else if (over) {
            break;
        } else {
            give_way(crowd);
        }
    }
    me->stop_ns = kit_ns();
    return NULL;
}

void crowd_run(const struct crowd *crowd, struct crowd_result *ret_result) {
    static struct member members[2 * CROWD_PAIRS_MAX];
    if (crowd->pairs < 1 || crowd->pairs > CROWD_PAIRS_MAX) {
        kit_skip("--pairs must be 1..8");
    }
    if (kit_cpus() < 2) {
        kit_skip("a hand-off between cores needs two");
    }
    uint32_t count = 2 * crowd->pairs;
    atomic_store(&control.writers, crowd->pairs);
    atomic_store(&control.end, 0);
    atomic_store(&control.go, 0);
    for (uint32_t i = 0; i < count; i++) {
        /* Readers of one pair stand on the other CPU; with more, both kinds are on both. */
        bool writes = i % 2 == 0;
        members[i] =
            (struct member){.crowd = crowd, .number = crowd->pairs == 1 ? i : (i / 2 + i) % 2};
        if (pthread_create(&members[i].thread, NULL, writes ? writer : reader, &members[i]) != 0) {
            kit_fail("thread");
        }
    }
    uint64_t start = kit_ns();
    atomic_store_explicit(&control.go, 1, memory_order_release);
    struct timespec pause = {.tv_sec = (time_t)(crowd->millis / 1000),
                             .tv_nsec = (long)(crowd->millis % 1000 * NS_PER_MS)};
    nanosleep(&pause, NULL);
    atomic_store(&control.end, 1);
    uint64_t sent = 0, got = 0, balance = 0, stop = 0, worst = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct member *member = &members[i];
        pthread_join(member->thread, NULL);
        bool writes = i % 2 == 0;
        sent += writes ? member->items : 0;
        got += writes ? 0 : member->items;
        balance += writes ? member->sum : -member->sum;
        stop = member->stop_ns > stop ? member->stop_ns : stop;
        worst = member->worst_ns > worst ? member->worst_ns : worst;
    }
    if (sent != got || balance != 0) {
        kit_fail("items were lost or came twice");
    }
    sent *= crowd->weight;
    double ns = (double)(stop - start);
    *ret_result = (struct crowd_result){.ns_per_item = ns / (double)sent,
                                        .rate = (double)sent / ns * 1e9,
                                        .worst_push_us = (double)worst / 1e3,
                                        .items = sent};
}

struct echo {
    const struct crowd *there, *back;
    uint64_t rounds;
};

static void *answer(void *argument) {
    const struct echo *echo = argument;
    kit_pin(1);
    for (uint64_t i = 0; i < echo->rounds; i++) {
        void *item;
        while ((item = echo->there->pop(echo->there->queue)) == NULL) {
            kit_relax();
        }
        while (!echo->back->push(echo->back->queue, item)) {
            kit_relax();
        }
    }
    return NULL;
}

double crowd_rtt_ns(const struct crowd *there, const struct crowd *back, uint64_t rounds) {
    struct echo echo = {.there = there, .back = back, .rounds = rounds};
    pthread_t thread;
    if (pthread_create(&thread, NULL, answer, &echo) != 0) {
        kit_fail("thread");
    }
    kit_pin(0);
    uint64_t start = kit_ns();
    for (uint64_t i = 0; i < rounds; i++) {
        while (!there->push(there->queue, (void *)(uintptr_t)(i + 1))) {
            kit_relax();
        }
        while (back->pop(back->queue) == NULL) {
            kit_relax();
        }
    }
    uint64_t ns = kit_ns() - start;
    pthread_join(thread, NULL);
    return (double)ns / (double)rounds;
}

void crowd_print(const struct crowd *crowd, const struct crowd_result *result) {
    kit_number("pairs", (double)crowd->pairs, "writers and as many readers");
    kit_number("ns_per_item", result->ns_per_item, "ns");
    kit_number("rate", result->rate, "items/s");
    kit_number("worst_push_us", result->worst_push_us, "us");
}
