/* SPDX-License-Identifier: MIT */
#pragma once

/* dag — every block under a root out of a daemon: depth first, links in the order they stand, each
 * CID once. That is the order in which Kubo writes the archive of a DAG.
 *
 *   waiting, a stack   [ ... ggg | fff | ee | d c b a ]    a is next; what it links to goes on top
 *                                 <------ looked ahead ->  asked for before their turn
 *
 * Blocks near the top are asked for early, so that the daemon is never waited for one by one; those
 * that came early are held, at most DAG_HELD_MAX bytes and DAG_SLOTS of them: beyond that, the ones
 * whose turn is farthest away are dropped and asked for again in time. Two CIDs of one hash are two
 * (archives name blocks by CID); an identity CID is its own block and never asked for.
 * Memory: that, 16 bytes for each CID seen (in a table at most three quarters full), and about 60
 * for each that waits, of which there may be DAG_WAITING_MAX. Thread: one. */

#include "tools/millrace/flight.h"

#include "base/base.h"

#define DAG_SLOTS       256u
#define DAG_LOOK        96u /* how far from the top blocks are asked for */
#define DAG_HELD_MAX    (64u << 20)
#define DAG_WAITING_MAX (16u << 20)
#define DAG_TAG_BYTES   16u

enum dag_fault {
    DAG_NOT_HAD,   /* the daemon did not give the block: `result` and `code` say why */
    DAG_MALFORMED, /* the block is whole, and not what its codec says */
    DAG_STRANGE,   /* the block is whole, but where links stand in its codec is not known here */
    DAG_TOO_WIDE   /* more links wait than are kept */
};

struct dag_trouble {
    const struct mr_cid *cid;
    enum dag_fault fault;
    int result;    /* NOT_HAD: a client's */
    uint32_t code; /* NOT_HAD with MR_REFUSED: the daemon's */
};

/* Both return 0 to go on (after a trouble: without the block, or without what it links to);
 * anything else ends the walk and is what dag_walk returns. Of a block that is malformed or
 * strange, on_block has been told before. */
struct dag_calls {
    int (*on_block)(void *context, const struct mr_cid *cid, const void *data, uint32_t bytes);
    int (*on_trouble)(void *context, const struct dag_trouble *trouble);
    void *context;
};

/* A CID that waits for its turn. */
struct dag_link {
    uint8_t tag[DAG_TAG_BYTES]; /* of the whole CID */
    uint64_t name;              /* where its bytes begin in `names`; they end where the next's do */
    bool looked;                /* asked for, or found not to need it */
};
/* A block asked for. */
struct dag_slot {
    uint8_t tag[DAG_TAG_BYTES];
    bool used, here;
    uint64_t link; /* index of the link it was asked for */
    int result;
    uint32_t code;
    uint32_t bytes;
    void *data; /* malloc'd */
};
struct dag {
    struct dag_calls calls;
    struct flight flight;
    struct dag_link *links; /* the stack */
    uint64_t count, room;
    uint8_t *names;
    uint64_t names_used, names_room;
    uint8_t (*seen)[DAG_TAG_BYTES]; /* hash table; a power of two; all zero: free */
    uint64_t seen_count, seen_room;
    uint64_t held;    /* bytes in slots */
    uint32_t largest; /* block so far: what one that is asked for may come to */
    struct dag_slot slots[DAG_SLOTS];
};

/* dag_walk tells everything under `root`. Returns: 0; what a call returned; -ENOMEM; or a client's
 * result that ended the connection. `dag` needs no preparation and is given back whole. */
must_check int dag_walk(struct dag *dag, struct mr_client *client, const struct mr_cid *root,
                        const struct dag_calls *calls);
