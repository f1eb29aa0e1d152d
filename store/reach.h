/* SPDX-License-Identifier: MIT */
#pragma once

/* reach — the marking half of a collection: lists every pin, walks every recursive one, and marks
 * what they reach (store/mark.h).
 *
 *   reach_begin: the set is there, walks of pins mark in it too ─► reach_pins: from the first pin
 * on ─► reach_step until it is over ─► the set serves the sweep ─► reach_end
 *
 * A pin's walk that does not get to its end stops it: what that pin reaches is not known, so
 * nothing may be deleted.
 *
 * Thread: the porter's; pages of pins are copied by notes, see reach_lent. */

#include "store/dag.h"
#include "store/mark.h"
#include "store/peek.h"
#include "store/pinning.h"

struct reach {
    struct porter *porter;
    struct store_task *task; /* is shown how far it is */
    struct mark marks;
    struct dag dag;
    bool walks; /* dag is open */
    struct peek peek;
    uint32_t keeper; /* whose pins are listed */
    struct pin_page page;
    uint32_t at; /* in the page */
    bool listing;
    bool walking;
    int32_t result; /* once it is over: 0, or why it stopped */
    char why[512];  /* as a sentence, where it is not 0 */
};

/* Returns: 0 or -ENOMEM; reach_close after either. */
must_check int reach_open(struct reach *reach, struct porter *porter);
void reach_close(struct reach *reach);

/* An empty set. Returns: 0 or -ENOMEM; reach_end after either. */
must_check int reach_begin(struct reach *reach, struct store_task *task);
void reach_pins(struct reach *reach);
/* Returns: how much it did. *ret_over: reach->result says how it ended. */
uint32_t reach_step(struct reach *reach, bool *ret_over);
/* A page of pins is a keeper's to fill: not to be broken off now. */
bool reach_lent(const struct reach *reach);
void reach_end(struct reach *reach);
