/* SPDX-License-Identifier: MIT */
#pragma once

/* ledger_index — how the ledger finds wants: private to ledger.c and its tests.
 *
 *   names   (peer, key, form) -> the want        chained table
 *   groups  key -> everyone who waits for it     chained table of groups, a group is a ring
 *   trees   a peer's QUEUED or WAITING in order  treap: split to insert, join to remove, no
 * recursion
 *
 * Wants are named by their slot, LEDGER_NONE is no want. Neither table is ever walked past the
 * wants of one bucket, and a group is one entry of its bucket however many wait in it. The rank
 * that shapes a treap is a salted mix of the slot: nobody outside can choose it. Thread: owner. */

#include "base/base.h"
#include "engine/swarm/ledger.h"

static inline struct ledger_want *ledger_at(const struct ledger *ledger, uint32_t slot) {
    return pool_at(&ledger->wants, slot);
}

uint64_t ledger_hash(const struct ledger *ledger, const struct key *key);

/* Returns: the slot or LEDGER_NONE. */
uint32_t ledger_name_find(const struct ledger *ledger, const struct ledger_peer *peer,
                          const struct key *key, const struct bitswap_form *form);
void ledger_name_add(struct ledger *ledger, uint32_t slot);
void ledger_name_remove(struct ledger *ledger, uint32_t slot);

/* Returns: who waited first, or LEDGER_NONE. hash: ledger_hash of the key. */
uint32_t ledger_group_find(const struct ledger *ledger, const struct key *key, uint64_t hash);
void ledger_group_add(struct ledger *ledger, uint32_t slot);
void ledger_group_remove(struct ledger *ledger, uint32_t slot);

/* The order of a tree: class, then priority (higher first), then name (older first; among WAITING
 * newer first, so that the last is the one to lose). All in one tree are in one state. */
void ledger_tree_add(struct ledger *ledger, uint32_t *root, uint32_t slot);
void ledger_tree_remove(struct ledger *ledger, uint32_t *root, uint32_t slot);
uint32_t ledger_tree_pop(struct ledger *ledger, uint32_t *root); /* the first; there is one */
uint32_t ledger_tree_first(const struct ledger *ledger, uint32_t root);
uint32_t ledger_tree_last(const struct ledger *ledger, uint32_t root);
