/* SPDX-License-Identifier: MIT */
#pragma once

/* tree — files and directories of a disk, in the order of their names, into an adder.
 *
 * A directory is walked to its end before it is added itself, so that no more of it is in memory
 * than the names and links of the directories on the way down. Symbolic links below an argument are
 * added as links and never followed; names that begin with a dot are left out unless asked for;
 * devices, sockets and pipes below a directory are refused. Thread: one. */

#include "tools/millrace/adder.h"

#define TREE_DEPTH_MAX 256u

struct tree_folder {
    char *path; /* as it is printed */
    int fd;
    uint32_t count, at;
    char **names; /* sorted */
    struct unixfs_entry *entries;
    uint32_t entries_count;
};
struct tree {
    struct adder *adder;
    bool hidden; /* take names that begin with a dot */
    uint32_t depth;
    struct tree_folder folders[TREE_DEPTH_MAX];
};

/* tree_add adds one argument, printed as `name` (and what is below it as name/...). Returns: the
 * exit status, CLI_DONE with the link. */
must_check int tree_add(struct tree *tree, const char *path, const char *name,
                        struct unixfs_link *ret_link);
