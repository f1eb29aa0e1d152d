/* SPDX-License-Identifier: MIT */
#pragma once

/* flatfs — the blocks of a Kubo repository as they lie on its disk: a file each.
 *
 *   REPO/blocks/SHARDING        "/repo/flatfs/shard/v1/next-to-last/2" or another function
 *   REPO/blocks/SHARD/KEY.data  KEY: the multihash (before repository version 12: a CIDv1) in
 *                               upper-case base32; the file is the block and nothing else
 *
 * Which shard a file lies in does not matter to a reader: all are gone through, so every function
 * will do. A file gets its name when it is whole, so a repository may be read while Kubo runs.
 * Nothing is said of codecs: blocks are taken as raw, and found under any codec.
 * Thread: one. */

#include "base/base.h"
#include "base/cid.h"

#define FLATFS_PATH_MAX 4096
#define FLATFS_NAME_MAX 256 /* "SHARD/KEY.data" */

enum { FLATFS_NOT = 1, FLATFS_REFUSED = 2 };

struct flatfs_file {
    uint64_t inode;
    char name[FLATFS_NAME_MAX]; /* from blocks/ on */
};

struct flatfs {
    char blocks[FLATFS_PATH_MAX];
    char why[512];
    char (*shards)[FLATFS_NAME_MAX]; /* sorted */
    uint32_t shard_count, shards_done;
    struct flatfs_file *files; /* of the shard at hand, in the order they lie on the disk */
    uint32_t file_count, files_room;
    uint64_t strange; /* names that are no block's */
};

/* flatfs_open looks at `dir`, a repository or its blocks folder. Returns: 0; FLATFS_NOT: neither;
 * FLATFS_REFUSED: it is one, but cannot be read as such: flatfs->why; -errno. */
must_check int flatfs_open(struct flatfs *flatfs, const char *dir);
/* flatfs_shard lists the next shard into files. Returns: 1; 0 after the last; -errno with its name
 * in flatfs->why. */
must_check int flatfs_shard(struct flatfs *flatfs);
void flatfs_close(struct flatfs *flatfs);

/* The CID (version 1, raw) of the block in a file of this name, without its folder. Returns: 0 or
 * FLATFS_NOT. */
must_check int flatfs_cid(const char *name, struct cid *ret_cid);
