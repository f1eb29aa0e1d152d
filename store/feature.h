/* SPDX-License-Identifier: MIT */
#pragma once

/* feature — bits in SUPER that say which kinds of records a store may hold that older programs do
 * not know, so that they refuse it instead of serving it wrongly.
 *
 *   PINS     ro-compat: who seals or collects without knowing pins loses them; reading is harmless
 *   COMMITS  incompat: who does not know them takes half a bundle for blocks
 *   ZSTD     incompat: who does not know it hands out compressed bytes
 *
 * A bit is durable before the first record of its kind is written, and stays; a store that never
 * holds one stays open to all. Keepers wait for the helper, which writes SUPER: the first pin or
 * bundle of a store takes that long, those after it look at one word.
 *
 *   keeper: feature_append, feature_gate ─► wanted ─► helper: SUPER ─► durable, or refused
 *           feature_poll ◄───────────────────────────────────────────────────┘
 *
 * Thread: as each says. */

#include "base/base.h"

#include <stdatomic.h>

struct keeper;
struct store;
struct store_bundle;
struct store_op;

enum feature { FEATURE_PINS = 1, FEATURE_COMMITS = 2, FEATURE_ZSTD = 4 };

struct features {
    _Atomic uint32_t durable; /* SUPER says them */
    _Atomic uint32_t wanted;
    _Atomic uint32_t refused; /* SUPER could not be written when they were wanted last */
    uint32_t found;           /* boot: records of these kinds there are */
};

/* What waits at a keeper. */
struct feature_gate {
    struct store_op *pins, *pins_last; /* by op->next */
    struct store_bundle *bundles;      /* by bundle->next */
};

/* Thread: any. */
bool feature_has(const struct store *store, enum feature feature);
/* What SUPER says, and what recovery found, goes into the slot that is written next. Boot. */
void feature_begin(struct store *store);
/* Makes a feature durable. page: PAGE_BYTES of aligned scratch. Returns: 0 or -errno. Blocks.
 * Thread: boot, helper, porter. */
must_check int feature_set(struct store *store, uint32_t features, void *page);
/* What keepers want. Returns: how much was done. Thread: helper. */
uint32_t feature_step(struct store *store);

/* Appends the record of a PIN or UNPIN to the log, now or when it may be. */
void feature_append(struct keeper *keeper, struct store_op *op);
/* The bundle goes on by bundle_granted, now or when it may. */
void feature_gate(struct keeper *keeper, struct store_bundle *bundle);
/* Returns: how many went on. */
uint32_t feature_poll(struct keeper *keeper);
static inline bool feature_waits(const struct feature_gate *gate) {
    return gate->pins != NULL || gate->bundles != NULL;
}
