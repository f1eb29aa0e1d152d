/* SPDX-License-Identifier: MIT */
#pragma once

/* dag — a walk over a DAG that is stored here, some blocks a step: is all of it there?
 *
 * Depth first, each block once (store/mark.h). Blocks that can have links are read and proven to
 * their multihash, others only looked up. Nothing is admitted to memory. A root is named with the
 * codec of its CID, links bring theirs; an identity CID is its own block.
 *
 * Bounds: DAG_STACK_MAX blocks known and not yet read; the memory of `seen`.
 * Thread: the porter's. Blocks: on the disk. */

#include "base/cid.h"
#include "store/mark.h"
#include "store/peek.h"
#include "store/store.h"

#define DAG_STACK_MAX (256u * 1024)
#define DAG_LEAVES    64u
#define DAG_STEP      64u /* blocks read in a step */

enum { DAG_MORE = -1000000 }; /* no errno: the walk goes on in another step */

struct dag {
    struct store *store;
    struct peek *peek;  /* whoever walks lends it for the length of a step */
    struct mark *seen;  /* where a walk has been: it goes nowhere twice */
    struct mark *marks; /* of a collection under way: also told, may be NULL */
    bool shared;        /* seen is the collection's own set: blocks are in it under their hash */
    struct cid *stack;
    uint32_t depth;
    struct cid leaves[DAG_LEAVES];
    uint32_t leaf_count;
    uint64_t blocks; /* reached, each once */
    int32_t failed;
    struct cid missing; /* the block that stopped it */
    const char *reason; /* or words, where no block did */
};

/* Returns: 0 or -ENOMEM. */
must_check int dag_open(struct dag *dag, struct store *store, struct mark *seen);
void dag_close(struct dag *dag);
/* Begins at a root; what was seen before is not gone into again. */
void dag_begin(struct dag *dag, const struct key *root, uint64_t codec);
/* Returns: 0: all of it is here; DAG_MORE; STORE_ABSENT, STORE_CORRUPT, STORE_RETRY: of
 * dag->missing; STORE_FULL: it takes more memory than there is for a walk; -errno. */
must_check int dag_step(struct dag *dag);
/* Why it ended, as a sentence's end. */
void dag_why(const struct dag *dag, int result, char *why, size_t why_bytes);
