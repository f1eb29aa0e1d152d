/* SPDX-License-Identifier: MIT */
#pragma once

/* pinning — the porter's tasks about pins: PIN, UNPIN, PINS.
 *
 *   PIN     walk the DAG (store/dag.h) ─► the record at the key's keeper ─► durable ─► done
 *   UNPIN   the record ─► durable ─► done
 *   PINS    pages of keeper after keeper, by notes
 *
 * Beside a collection (store/gc.h): walks mark what they reach, and take no step while deletes of a
 * sweep are out, so that no block goes between being reached and being marked. A walk that began
 * before the marks did is done again. No record is written while a collection waits to begin, so
 * that it sees every pin that was acknowledged.
 *
 * Bounds: PIN_WALKS walks at once, others wait. Thread: the porter's. */

#include "store/porter.h"

#define PIN_WALKS 4u

struct pinning;

must_check int pinning_open(struct porter *porter);
void pinning_close(struct porter *porter);
/* PIN records that are on their way to the disk. */
uint32_t pinning_writes(const struct porter *porter);
/* Walks under way. */
uint32_t pinning_walks(const struct porter *porter);

uint32_t pinning_step_pin(struct porter *porter, struct store_task *task);
uint32_t pinning_step_unpin(struct porter *porter, struct store_task *task);
uint32_t pinning_step_list(struct porter *porter, struct store_task *task);

/* A page of one keeper's pins: what a note copies. */
#define PIN_PAGE 64u
struct pin_page {
    struct note note;
    uint32_t cursor; /* in: where to begin; out: PINS_NONE at the end */
    uint32_t count;
    uint32_t max; /* at most PIN_PAGE */
    struct store_pin pins[PIN_PAGE];
};
void pin_page_ask(struct store *store, uint32_t keeper, struct pin_page *page);
