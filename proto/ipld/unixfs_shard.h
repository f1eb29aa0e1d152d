/* SPDX-License-Identifier: MIT */
#pragma once

/* unixfs_shard — a directory too large for one block, spread over many: a trie over the hashes of
 * its names (HAMT), the one that Kubo makes with its fanout of 256.
 *
 *   entries, sorted by hash     [ 0a.. | 0b1f.. 0b1f.. 0b22.. | c4.. ]
 *   root                         0Aname   0B -> node           C4name
 *                                            1F -> node   22name
 *
 * A byte of the hash, from the highest, chooses the place in a node: an entry alone in its place
 * stands there with its name behind two hexadecimal digits, several become a node of their own.
 * Nodes come from the bottom up; the caller hashes and stores each, and says what it is called.
 *
 *   init -> (node, then named)* until node gives 0 -> root
 *
 * Memory: a node a byte of the hash, 200 KiB. Thread: one per directory. Source: the UnixFS
 * specification; MurmurHash3 x64-128, of which the first half counts. */

#include "proto/ipld/unixfs.h"

#define UNIXFS_SHARD_FANOUT 256u
#define UNIXFS_SHARD_LEVELS 8u /* bytes of a hash */
#define UNIXFS_SHARD_ROOM   (128u << 10)
/* A directory whose names and CIDs have more bytes together is spread. */
#define UNIXFS_SHARD_ABOVE (256u << 10)

enum { UNIXFS_SHARD_CLASH = 1 };

struct unixfs_shard_level {
    uint32_t at, end; /* entries that are not in a place yet, and what ends them */
    uint32_t count;   /* places taken */
    uint64_t below;   /* bytes of blocks under the places */
    uint8_t places[UNIXFS_SHARD_FANOUT];
    uint32_t entry[UNIXFS_SHARD_FANOUT]; /* index, or the entries' count for a node below */
    struct unixfs_link nodes[UNIXFS_SHARD_FANOUT];
};
struct unixfs_shard {
    const struct unixfs_entry *entries;
    uint32_t entries_count;
    uint32_t depth; /* levels in progress; 0: done */
    bool waiting;   /* a node was handed out and has no name yet */
    uint64_t made;  /* its bytes */
    struct unixfs_link root;
    struct unixfs_shard_level levels[UNIXFS_SHARD_LEVELS];
};

uint64_t unixfs_shard_hash(const char *name, uint32_t name_bytes);
/* The entries have their hash, are sorted by it, and stay the caller's, unchanged until the root.
 * Returns: 0; UNIXFS_SHARD_CLASH: two names have one hash, which this form cannot hold. */
must_check int unixfs_shard_init(struct unixfs_shard *shard, const struct unixfs_entry entries[],
                                 uint32_t count);
/* Returns: the bytes of the next node, written to `out`; 0: the root was the last. */
size_t unixfs_shard_node(struct unixfs_shard *shard, uint8_t out[UNIXFS_SHARD_ROOM]);
/* What the node handed out last is called. */
void unixfs_shard_named(struct unixfs_shard *shard, const struct cid *cid);
