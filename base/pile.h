/* SPDX-License-Identifier: MIT */
#pragma once

/* pile — many threads lay items on it, one takes all of them at once, in the order they came.
 *
 *   _Atomic(struct item *) pile;          struct item has a `next` of this type
 *   pile_push(&pile, item);               any thread
 *   struct item *oldest = pile_take(&pile);   by `next`; NULL: nothing lies there
 *
 * An item lies on one pile at a time, and its `next` is the pile's meanwhile. What a pusher did
 * before its push the taker sees. As it is taken whole, no item comes back under a
 * compare-and-swap that is under way with another behind it.
 *
 * Thread: push any, take any. Cost: one compare-and-swap; one exchange and a turn of the list: who
 * looks often looks first whether there is anything. Nobody waits for anybody. */

#include "base/base.h"

#include <stdatomic.h>

/* release: pairs with pile_take */
#define pile_push(pile, item)                                                              \
    do {                                                                                   \
        __auto_type pile_item_ = (item);                                                   \
        __auto_type pile_head_ = atomic_load_explicit((pile), memory_order_relaxed);       \
        do {                                                                               \
            pile_item_->next = pile_head_;                                                 \
        } while (!atomic_compare_exchange_weak_explicit(                                   \
            (pile), &pile_head_, pile_item_, memory_order_release, memory_order_relaxed)); \
    } while (0)

/* The newest lies on top: the list is turned round. acquire: pairs with pile_push */
#define pile_take(pile)                                                                      \
    ({                                                                                       \
        __auto_type pile_at_ = atomic_exchange_explicit((pile), NULL, memory_order_acquire); \
        __typeof__(pile_at_) pile_turned_ = NULL;                                            \
        while (pile_at_) {                                                                   \
            __typeof__(pile_at_) pile_next_ = pile_at_->next;                                \
            pile_at_->next = pile_turned_;                                                   \
            pile_turned_ = pile_at_;                                                         \
            pile_at_ = pile_next_;                                                           \
        }                                                                                    \
        pile_turned_;                                                                        \
    })
