/* SPDX-License-Identifier: MIT */
#pragma once

/* unixfs_file — leaves of a file become a tree, the one that Kubo makes: balanced, every leaf at
 * the same depth, UNIXFS_FILE_LINKS links a node, filled from the left.
 *
 *   init -> (add, then node and named until node gives 0)* -> end, then the same -> root
 *
 * A node is handed out as soon as it is full, or at the end; the caller hashes and stores it, and
 * says what it is called. A file of one leaf is that leaf. No leaf at all is the caller's to
 * avoid: an empty file is one empty leaf.
 * Memory: a full node a level, whatever the file's length. Thread: one per file. */

#include "proto/ipld/unixfs.h"

#define UNIXFS_FILE_LINKS    174u
#define UNIXFS_FILE_LEVELS   9u /* 174 to the ninth is more leaves than a length has bytes */
#define UNIXFS_FILE_NODE_MAX 16384u

struct unixfs_level {
    uint32_t count;
    struct unixfs_link links[UNIXFS_FILE_LINKS];
};
struct unixfs_file {
    bool ended;
    bool waiting;                                   /* a node was handed out and has no name yet */
    uint32_t due;                                   /* the level it was made from */
    uint32_t made;                                  /* its bytes */
    struct unixfs_level levels[UNIXFS_FILE_LEVELS]; /* [0]: leaves */
};

void unixfs_file_init(struct unixfs_file *file);
void unixfs_file_add(struct unixfs_file *file, const struct unixfs_link *leaf);
void unixfs_file_end(struct unixfs_file *file);
/* Returns: the bytes of a node that is due, written to `out`; 0: none is. */
size_t unixfs_file_node(struct unixfs_file *file, uint8_t out[UNIXFS_FILE_NODE_MAX]);
/* What the node handed out last is called. */
void unixfs_file_named(struct unixfs_file *file, const struct cid *cid);
/* After the end, when no node is due. Lives: as the file. */
const struct unixfs_link *unixfs_file_root(const struct unixfs_file *file);
