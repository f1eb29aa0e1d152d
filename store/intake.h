/* SPDX-License-Identifier: MIT */
#pragma once

/* intake — records of a tier that comes back, asked of the owners of their keys in batches.
 *
 *   intake_add ─► batch of a keeper ─► note: its owner looks ─► done
 *                                        │  an operation is under way on the key: asked again
 *                                        └► entries of that hash: whose? the porter reads their
 *                                           headers, and asks again with what it knows
 *
 * A block goes into the catalog where its key is not in there and was not deleted in this start:
 * else the copy in place counts, which by its address is the same, unless it cannot be read. A
 * tombstone takes out what was born before it. Of a key the pin that was born last counts, unless
 * an UNPIN came later.
 *
 * Thread: the porter. */

#include "store/format.h"
#include "store/load.h"
#include "store/peek.h"

#define INTAKE_ITEMS 128u /* a note's */

enum intake_kind { INTAKE_BLOCK, INTAKE_TOMBSTONE, INTAKE_PIN, INTAKE_UNPIN };

struct intake_want {
    enum intake_kind kind;
    const struct footer_entry *entry;
    uint64_t place;              /* of a block */
    const struct store_pin *pin; /* of a pin */
};

/* In words: the owner of a key remembers no more deletes. */
extern const char *const intake_too_many;

struct intake_batch;
struct intake {
    struct store *store;
    struct intake_batch *batches; /* [config.keepers] */
    struct peek peek;
    const char *failed; /* why not to go on, in words; NULL: all is well */
};

/* Returns: 0 or -ENOMEM; close it either way. */
must_check int intake_open(struct intake *intake, struct store *store);
/* Nothing is out, or the keepers' threads are gone. */
void intake_close(struct intake *intake);

/* Returns: false: its owner has enough for now. */
must_check bool intake_add(struct intake *intake, const struct intake_want *want);
/* Takes back what is done. Returns: how many. Blocks: on reads of headers. */
uint32_t intake_collect(struct intake *intake);
/* Sends what there is. */
void intake_post(struct intake *intake);
/* Everything added was settled. */
bool intake_idle(const struct intake *intake);
/* Some owner has a note. */
bool intake_out(const struct intake *intake);
