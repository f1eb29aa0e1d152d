/* SPDX-License-Identifier: MIT */
#pragma once

/* dag — a made-up DAG for tests of fetching: dag-pb nodes over raw leaves, some named twice, with
 * an empty leaf and an identity leaf among them. */

#include "base/cid.h"
#include "base/key.h"

#define DAG_BLOCKS_MAX 4096u

struct dag_block {
    struct cid cid;
    struct key key;
    uint8_t *bytes;
    uint32_t count;
};

struct dag {
    struct dag_block blocks[DAG_BLOCKS_MAX]; /* distinct; children before parents, the root last */
    uint32_t count;
    uint64_t bytes;
};

/* leaves: raw blocks of up to leaf_max bytes; fanout: links of a node. */
void dag_make(struct dag *dag, uint64_t *random, uint32_t leaves, uint32_t leaf_max,
              uint32_t fanout);
void dag_free(struct dag *dag);
static inline const struct dag_block *dag_root(const struct dag *dag) {
    return &dag->blocks[dag->count - 1];
}
/* Returns: its place, or UINT32_MAX. */
uint32_t dag_find(const struct dag *dag, const struct key *key);
uint64_t dag_random(uint64_t *state);
