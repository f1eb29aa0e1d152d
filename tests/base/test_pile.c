/* SPDX-License-Identifier: MIT */
#include "base/pile.h"

#include "base/base.h"

#include <criterion/criterion.h>
#include <pthread.h>

struct item {
    struct item *next;
    uint32_t thread, number;
};

#define THREADS 3u
#define ITEMS   20000u

static _Atomic(struct item *) pile;
static struct item items[THREADS][ITEMS];

Test(pile, what_is_taken_comes_in_the_order_it_was_pushed) {
    struct item three[3];
    cr_assert_null(pile_take(&pile));
    for (uint32_t i = 0; i < 3; i++) {
        pile_push(&pile, &three[i]);
    }
    struct item *at = pile_take(&pile);
    for (uint32_t i = 0; i < 3; i++, at = at->next) {
        cr_assert_eq(at, &three[i]);
    }
    cr_assert_null(at, "the last ends the list");
    cr_assert_null(pile_take(&pile), "it was taken whole");
    pile_push(&pile, &three[1]); /* it carries nothing of its last time along */
    at = pile_take(&pile);
    cr_assert_eq(at, &three[1]);
    cr_assert_null(at->next);
}

static void *push_all(void *arg) {
    struct item *mine = arg;
    for (uint32_t i = 0; i < ITEMS; i++) {
        mine[i].thread = (uint32_t)(mine - items[0]) / ITEMS;
        mine[i].number = i;
        pile_push(&pile, &mine[i]);
    }
    return NULL;
}

Test(pile, beside_pushers_nothing_is_lost_and_each_ones_order_is_kept) {
    pthread_t threads[THREADS];
    uint32_t next[THREADS] = {0}, left = THREADS * ITEMS;
    for (uint32_t t = 0; t < THREADS; t++) {
        cr_assert_eq(pthread_create(&threads[t], NULL, push_all, items[t]), 0);
    }
    while (left > 0) {
        for (struct item *at = pile_take(&pile); at; at = at->next) {
            cr_assert(at->thread < THREADS && at->number == next[at->thread],
                      "item %u of thread %u", at->number, at->thread);
            next[at->thread]++;
            left--;
        }
    }
    for (uint32_t t = 0; t < THREADS; t++) {
        cr_assert_eq(pthread_join(threads[t], NULL), 0);
    }
    cr_assert_null(pile_take(&pile));
}
