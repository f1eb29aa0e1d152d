/* SPDX-License-Identifier: MIT */
#pragma once

/* reader — the content of a UnixFS file out of a daemon, from any offset, in order.
 *
 *   waiting, a stack   [ ... | gggg ffff | eeee dddd cccc ]   c is next; a node's parts go on top
 *                            <------- looked ahead ------->   asked for before their turn
 *
 * Sizes in the nodes say where an offset lies, so that what is before it is never fetched; a node
 * or leaf that holds another number of bytes than the node above it says is damage. Every block is
 * checked against its CID by the client library. Blocks near the top are asked for early, within
 * READER_SLOTS and READER_HELD_MAX; a node is taken apart as soon as it is here, and nothing behind
 * it is asked for before. Parts of no bytes are passed over.
 * Memory: that, and 184 bytes for each part that waits, of which there may be READER_WAITING_MAX.
 * Thread: one. */

#include "tools/millrace/flight.h"

#include "base/cid.h"
#include "proto/ipld/unixfs.h"

#define READER_SLOTS       96u
#define READER_HELD_MAX    (32u << 20)
#define READER_WAITING_MAX (256u << 10)
#define READER_DEPTH_MAX   64u

enum reader_fault {
    READER_NOT_HAD,   /* the daemon did not give the block: `result` and `code` say why */
    READER_MALFORMED, /* the block is whole, and not what its codec says */
    READER_UNEVEN,    /* it holds another number of bytes than the node above it says */
    READER_NO_FILE,   /* a directory, a symbolic link or another kind, by `type` */
    READER_STRANGE,   /* a codec that has no file content */
    READER_TOO_DEEP,  /* more nodes above each other, or more parts waiting, than are followed */
};
struct reader_trouble {
    enum reader_fault fault;
    struct mr_cid cid;
    int result;            /* NOT_HAD: a client's */
    uint32_t code;         /* NOT_HAD with MR_REFUSED: the daemon's */
    enum unixfs_type type; /* NO_FILE */
    char target[256];      /* NO_FILE, of a symbolic link: where it leads, escaped */
};

/* Gets the content piece by piece. Returns: 0 to go on; anything else ends it. */
typedef int (*reader_give)(void *context, const uint8_t *bytes, size_t count);

enum { READER_TROUBLE = -20000 }; /* reader->trouble says what */

/* A part that waits for its turn. */
struct reader_part {
    uint64_t bytes; /* of content, as the node above says; UINT64_MAX: the root, not known */
    uint32_t slot;  /* READER_SLOTS: not asked for */
    uint32_t depth;
    struct mr_cid cid;
};
/* A block asked for. */
struct reader_slot {
    bool used, here;
    uint64_t part; /* index of who asked */
    int result;
    uint32_t code, bytes;
    void *data; /* malloc'd */
};
struct reader {
    reader_give give;
    void *context;
    struct flight flight;
    struct reader_part *parts; /* the stack */
    uint64_t count, room;
    uint64_t skip, left; /* content to pass over, and to give */
    uint64_t given;
    uint64_t size;       /* of the whole file, once the root is read */
    uint64_t held;       /* bytes in slots */
    uint32_t leaf_depth; /* of the last leaf that was given */
    uint32_t largest;    /* block so far: what one that is asked for may come to */
    struct reader_slot slots[READER_SLOTS];
    struct reader_trouble trouble;
};

/* reader_file gives `length` bytes of the file under `root` from `offset` on, fewer where it ends
 * before. Returns: 0; READER_TROUBLE; what `give` returned; -ENOMEM; or a client's result that
 * ended the connection. `reader` needs no preparation and is given back whole. */
must_check int reader_file(struct reader *reader, struct mr_client *client,
                           const struct mr_cid *root, uint64_t offset, uint64_t length,
                           reader_give give, void *context);
