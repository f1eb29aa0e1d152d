/* SPDX-License-Identifier: MIT */
#pragma once

/* unixfs — files, directories and symbolic links as dag-pb nodes, read and written byte for byte as
 * Kubo writes them.
 *
 *   PBNode { Links = 2: PBLink { Hash = 1, Name = 2, Tsize = 3 } ..., Data = 1: what follows }
 *   Data { Type = 1, Data = 2, filesize = 3, blocksizes = 4 ..., hashType = 5, fanout = 6 }
 *
 * Links are written before the data and always have a name, an empty one too: that is the form
 * whose hashes people compare. Both orders are read, and block sizes one by one or packed. Mode and
 * time of a file are not written, and passed over by the reader.
 * How leaves become a tree is unixfs_file's, how a large directory is spread is unixfs_shard's.
 * Thread: any. Source: the UnixFS specification; boxo ipld/unixfs for the form. */

#include "base/base.h"
#include "base/cid.h"

#define UNIXFS_CID_MAX    40u  /* binary, of the links written here: digests of 32 bytes */
#define UNIXFS_NAME_MAX   255u /* bytes of a name in a directory written here */
#define UNIXFS_TARGET_MAX 4096u
#define UNIXFS_LEAF_MORE                                                    \
    32u /* a leaf that is a node of its own has so much more than its bytes \
         */
/* A link's bytes in a node, without its name. */
#define UNIXFS_LINK_MAX (UNIXFS_CID_MAX + 24u)

enum unixfs_type {
    UNIXFS_RAW,
    UNIXFS_DIRECTORY,
    UNIXFS_FILE,
    UNIXFS_METADATA,
    UNIXFS_SYMLINK,
    UNIXFS_SHARD, /* part of a directory spread over many blocks */
    UNIXFS_TYPE_COUNT
};
enum { UNIXFS_END = 1, UNIXFS_BAD = 2 };

/* ---- writing ---- */

/* What a node says of another. */
struct unixfs_link {
    uint64_t total_bytes; /* of the blocks under it and its own: Tsize */
    uint64_t file_bytes;  /* of the file's content under it */
    uint32_t cid_bytes;
    uint8_t cid[UNIXFS_CID_MAX];
};
/* In a directory. */
struct unixfs_entry {
    struct unixfs_link link;
    const char *name; /* name_bytes of it, UNIXFS_NAME_MAX at most */
    uint32_t name_bytes;
    uint64_t hash; /* of the name; unixfs_shard's */
};

/* A link to a block of `bytes` without links of its own and without content. A CID written here has
 * UNIXFS_CID_MAX bytes at most. */
void unixfs_link_init(struct unixfs_link *link, const struct cid *cid, uint64_t bytes);

/* Each returns the bytes written to `out`, which has room. */

/* A leaf as a node: `count` + UNIXFS_LEAF_MORE bytes at most. */
size_t unixfs_leaf_write(const uint8_t *data, uint32_t count, uint8_t *out);
/* A file's node over parts of it, in order. Room: unixfs_file_room(count). */
size_t unixfs_file_write(const struct unixfs_link links[], uint32_t count, uint8_t *out);
size_t unixfs_file_room(uint32_t count);
/* A directory. The entries stand in the order of unixfs_entry_compare. */
size_t unixfs_directory_write(const struct unixfs_entry entries[], uint32_t count, uint8_t *out);
size_t unixfs_directory_room(const struct unixfs_entry entries[], uint32_t count);
/* By the names' bytes, unsigned; a name before those it begins. Returns: as memcmp. */
int unixfs_entry_compare(const struct unixfs_entry *a, const struct unixfs_entry *b);
/* A symbolic link to `count` bytes of path, UNIXFS_TARGET_MAX at most, so many + 16 written. */
size_t unixfs_symlink_write(const char *target, uint32_t count, uint8_t *out);
/* One PBLink inside its PBNode; the name is `prefix` (at most two bytes) and then `name`. For
 * unixfs_shard. */
size_t unixfs_link_write(const struct unixfs_link *link, const char *prefix, const char *name,
                         uint32_t name_bytes, uint8_t *out);

/* ---- reading ---- */

struct unixfs_node {
    enum unixfs_type type;
    const uint8_t *data; /* what the node itself holds: content, a link's target, a shard's map */
    size_t data_bytes;
    uint64_t file_bytes; /* FILE, RAW: data and all parts, by their sizes */
    uint32_t links;
    /* private */
    const uint8_t *at, *end;             /* in the PBNode */
    const uint8_t *sizes_at, *sizes_end; /* in Data */
    const uint8_t *packed_at, *packed_end;
};
struct unixfs_child {
    struct cid cid;
    const char *name; /* name_bytes of it; as it stands, any bytes */
    size_t name_bytes;
    uint64_t total_bytes; /* as the link says; 0 where it says nothing */
    uint64_t file_bytes;  /* in a FILE or RAW node; else 0 */
};

/* unixfs_read looks through a whole dag-pb block. In a FILE or RAW node every link has its size.
 * Returns: 0; UNIXFS_BAD for what is not dag-pb with UnixFS inside. */
must_check int unixfs_read(const uint8_t *block, size_t bytes, struct unixfs_node *ret_node);
/* Returns: 0 with the next link; UNIXFS_END; UNIXFS_BAD for one without a CID. */
must_check int unixfs_next(struct unixfs_node *node, struct unixfs_child *ret_child);
