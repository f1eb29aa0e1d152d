/* SPDX-License-Identifier: MIT */
#pragma once

/* adder — content into a daemon as UnixFS: chunks, leaves, the nodes over them, directories.
 *
 *   bytes -> chunker -> leaf, hashed here -> flight -> daemon, which hashes and writes meanwhile
 *                        |
 *                        +-> unixfs_file -> nodes -> flight
 *
 * A line "added CID name" is printed when everything sent before it is on the daemon's disk, which
 * is when the name is true. Memory: the flight, one chunk and a node a level, whatever the length.
 * What goes wrong is said once, on stderr; every call returns the exit status, CLI_DONE to go on.
 * Thread: one. */

#include "tools/millrace/cli.h"
#include "tools/millrace/flight.h"
#include "tools/millrace/progress.h"

#include "base/cid.h"
#include "proto/ipld/chunk.h"
#include "proto/ipld/unixfs_file.h"
#include "proto/ipld/unixfs_shard.h"

struct adder_line;
struct adder {
    const struct cli *cli; /* set by the caller, as the rest of this group */
    struct chunk_plan plan;
    uint32_t cid_version;
    bool raw_leaves;
    bool quiet;      /* no lines */
    bool bare;       /* lines of CIDs alone */
    uint64_t expect; /* bytes to come, for the progress; 0: not known */

    struct mr_client *client;
    uint32_t block_max;
    int status;          /* of what was said, from within the flight */
    uint64_t asked;      /* blocks; each is known by its number */
    uint64_t read_bytes; /* of content */
    uint64_t blocks;     /* acknowledged */
    uint8_t *buffer;     /* content: the chunk in progress and what was read behind it */
    uint8_t *node;       /* a leaf that is a node */
    struct adder_line *first, **last; /* lines that are not true yet */
    struct progress progress;
    struct flight flight;
    struct chunker chunker;
    struct unixfs_file file;
    struct unixfs_shard shard;
};

/* Returns: CLI_DONE, or CLI_FAILED after saying that there is no memory. */
must_check int adder_begin(struct adder *adder, struct mr_client *client);
/* All that can be read from `fd`, as a file called `name` in messages. */
must_check int adder_content(struct adder *adder, int fd, const char *name,
                             struct unixfs_link *ret_link);
must_check int adder_symlink(struct adder *adder, const char *target, size_t target_bytes,
                             struct unixfs_link *ret_link);
/* A directory of these entries, which it sorts; spread over many blocks where one would be too
 * large. */
must_check int adder_directory(struct adder *adder, struct unixfs_entry entries[], uint32_t count,
                               const char *name, struct unixfs_link *ret_link);
/* The line for what was added last. */
must_check int adder_line(struct adder *adder, const struct unixfs_link *link, const char *name);
/* Waits until everything is on disk; all lines are printed then. */
must_check int adder_drain(struct adder *adder);
void adder_end(struct adder *adder);

/* Text of a link's CID. Returns `text`. */
const char *adder_cid_text(const struct unixfs_link *link, char text[CID_TEXT_MAX]);
