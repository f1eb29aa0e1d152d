/* SPDX-License-Identifier: MIT */

/* cmd_add — files and directories into the daemon as UnixFS, under the CIDs that Kubo gives them.
 */

#include "tools/millrace/commands.h"

#include "tools/millrace/remote.h"
#include "tools/millrace/tree.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_CHUNKER "size-262144"

struct root {
    struct unixfs_link link;
    char *name; /* malloc'd */
};

static bool is_stdin(const char *path) {
    return strcmp(path, "-") == 0;
}

static uint64_t bytes_of(const struct cli *cli) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < cli->args_count; i++) {
        struct stat about;
        if (is_stdin(cli->args[i]) || lstat(cli->args[i], &about) != 0 || !S_ISREG(about.st_mode)) {
            return 0; /* not known: no percentage is better than a wrong one */
        }
        bytes += (uint64_t)about.st_size;
    }
    return bytes;
}

/* The last part of a path, of what it leads to where it ends in dots; malloc'd, NULL for none. */
static char *base_of(const char *path) {
    char *whole = strdup(path), *real = NULL;
    if (whole == NULL) {
        return NULL;
    }
    size_t bytes = strlen(whole);
    while (bytes > 1 && whole[bytes - 1] == '/') {
        whole[--bytes] = '\0';
    }
    const char *slash = strrchr(whole, '/');
    const char *last = slash != NULL ? slash + 1 : whole;
    if (*last == '\0' || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
        real = realpath(path, NULL);
        slash = real != NULL ? strrchr(real, '/') : NULL;
        last = slash != NULL && slash[1] != '\0' ? slash + 1 : "root";
    }
    char *name = strdup(last);
    free(whole);
    free(real);
    return name;
}

static int add_stdin(struct adder *adder, struct root *root) {
    char cid[CID_TEXT_MAX];
    int status = adder_content(adder, STDIN_FILENO, "stdin", &root->link);
    if (status != CLI_DONE) {
        return status;
    }
    root->name = strdup(adder_cid_text(&root->link, cid)); /* what has no name is called so */
    return root->name != NULL ? adder_line(adder, &root->link, root->name)
                              : cli_fail(adder->cli, CLI_FAILED, "out of memory");
}

static int add_path(struct tree *tree, const char *path, struct root *root) {
    root->name = base_of(path);
    if (root->name == NULL) {
        return cli_fail(tree->adder->cli, CLI_FAILED, "out of memory");
    }
    return tree_add(tree, path, root->name, &root->link);
}

static bool same_link(const struct unixfs_link *a, const struct unixfs_link *b) {
    return a->cid_bytes == b->cid_bytes && memcmp(a->cid, b->cid, a->cid_bytes) == 0;
}

/* A directory over the arguments; one that was named twice stands in it once. */
static int wrap(struct adder *adder, const struct root roots[], uint32_t count,
                struct unixfs_link *ret_link) {
    struct unixfs_entry *entries = calloc(count, sizeof *entries);
    uint32_t entries_count = 0;
    int status = CLI_DONE;
    if (entries == NULL) {
        return cli_fail(adder->cli, CLI_FAILED, "out of memory");
    }
    for (uint32_t i = 0; i < count && status == CLI_DONE; i++) {
        uint32_t same = 0;
        while (same < i && strcmp(roots[same].name, roots[i].name) != 0) {
            same++;
        }
        if (same == i) {
            entries[entries_count++] =
                (struct unixfs_entry){.link = roots[i].link,
                                      .name = roots[i].name,
                                      .name_bytes = (uint32_t)strlen(roots[i].name)};
        } else if (!same_link(&roots[same].link, &roots[i].link)) {
            status = cli_misuse(adder->cli, "two arguments with different content are called %s",
                                roots[i].name);
        }
    }
    if (status == CLI_DONE) {
        status = adder_directory(adder, entries, entries_count, "-w", ret_link);
    }
    free(entries);
    return status == CLI_DONE ? adder_line(adder, ret_link, "") : status;
}

/* What was added is kept: each root and all under it. */
static int pin(struct adder *adder, const struct unixfs_link *link) {
    struct mr_cid cid = {.size = (uint32_t)link->cid_bytes};
    char text[CID_TEXT_MAX];
    memcpy(cid.bytes, link->cid, link->cid_bytes);
    int r = mr_pin(adder->client, &cid, false);
    if (r == 0) {
        return CLI_DONE;
    }
    return cli_fail(adder->cli, remote_status(r, mr_fault(adder->client)),
                    "%s is stored, but not pinned: %s (--pin=false adds without a pin)",
                    adder_cid_text(link, text),
                    r == MR_NOT_FOUND ? "a block of it has been deleted meanwhile"
                                      : mr_error(adder->client));
}

static bool wants_pin(const struct cli *cli) {
    return strcmp(cli_value(cli, "pin", "true"), "false") != 0;
}

/* Adds all arguments. The roots' CIDs are printed when everything is on disk. */
static int add_all(struct tree *tree, const struct cli *cli, struct root roots[]) {
    struct adder *adder = tree->adder;
    struct unixfs_link whole;
    char cid[CID_TEXT_MAX];
    bool wrapped = cli_has(cli, "wrap-with-directory");
    int status = CLI_DONE;
    for (uint32_t i = 0; i < cli->args_count && status == CLI_DONE; i++) {
        status = is_stdin(cli->args[i]) ? add_stdin(adder, &roots[i])
                                        : add_path(tree, cli->args[i], &roots[i]);
    }
    if (status == CLI_DONE && wrapped) {
        status = wrap(adder, roots, cli->args_count, &whole);
    }
    if (status == CLI_DONE) {
        status = adder_drain(adder);
    }
    progress_clear(&adder->progress);
    for (uint32_t i = 0; i < cli->args_count && status == CLI_DONE && !wrapped; i++) {
        status = wants_pin(cli) ? pin(adder, &roots[i].link) : CLI_DONE;
    }
    if (status == CLI_DONE && wrapped && wants_pin(cli)) {
        status = pin(adder, &whole);
    }
    if (adder->bare) {
        return status; /* each root had its line: the last is the root's */
    }
    for (uint32_t i = 0; i < cli->args_count && status == CLI_DONE && !wrapped; i++) {
        printf("%s\n", adder_cid_text(&roots[i].link, cid));
    }
    if (status == CLI_DONE && wrapped) {
        printf("%s\n", adder_cid_text(&whole, cid));
    }
    return status;
}

/* Reads what the flags wish. */
static int wishes(const struct cli *cli, struct adder *adder) {
    const char *chunks = cli_value(cli, "chunker", DEFAULT_CHUNKER);
    const char *version = cli_value(cli, "cid-version", "1");
    char why[128];
    if (chunk_plan_read(chunks, &adder->plan, why, sizeof why) != 0) {
        return cli_misuse(cli, "--chunker %s: %s", chunks, why);
    }
    if (strcmp(version, "0") != 0 && strcmp(version, "1") != 0) {
        return cli_misuse(cli, "--cid-version %s: it takes 0 or 1", version);
    }
    const char *pinned = cli_value(cli, "pin", "true");
    if (strcmp(pinned, "true") != 0 && strcmp(pinned, "false") != 0) {
        return cli_misuse(cli, "--pin %s: it takes true or false", pinned);
    }
    adder->cli = cli;
    adder->cid_version = version[0] == '1';
    adder->raw_leaves = adder->cid_version == 1 || cli_has(cli, "raw-leaves");
    adder->quiet = cli_has(cli, "quieter");
    adder->bare = cli_has(cli, "quiet");
    adder->expect = bytes_of(cli);
    return CLI_DONE;
}

static int cmd_add(struct cli *cli) {
    static struct adder adder;
    static struct tree tree;
    struct mr_server server;
    int status = wishes(cli, &adder);
    if (status != CLI_DONE) {
        return status;
    }
    struct root *roots = calloc(cli->args_count, sizeof *roots);
    struct mr_client *client = roots != NULL ? remote_open(cli, &status) : NULL;
    if (roots == NULL) {
        return cli_fail(cli, CLI_FAILED, "out of memory");
    }
    tree = (struct tree){.adder = &adder, .hidden = cli_has(cli, "hidden")};
    if (client != NULL) {
        mr_server(client, &server);
        uint32_t largest = adder.plan.max + (adder.raw_leaves ? 0 : UNIXFS_LEAF_MORE);
        if (largest > server.block_max) {
            status =
                cli_misuse(cli,
                           "--chunker %s: it makes blocks of up to %u bytes, and the daemon "
                           "takes %u",
                           cli_value(cli, "chunker", DEFAULT_CHUNKER), largest, server.block_max);
        } else {
            status = adder_begin(&adder, client);
            status = status == CLI_DONE ? add_all(&tree, cli, roots) : status;
            adder_end(&adder);
        }
    }
    mr_free(client);
    for (uint32_t i = 0; i < cli->args_count; i++) {
        free(roots[i].name);
    }
    free(roots);
    return status;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_TO,
    {"chunker", 's', "PLAN", "size-N (default size-262144), buzhash, rabin-MIN-AVERAGE-MAX"},
    {"cid-version", 0, "0|1", "1 (default): bafy..., raw leaves; 0: Qm..., leaves are nodes"},
    {"raw-leaves", 0, NULL, "raw leaves with version 0 too"},
    {"wrap-with-directory", 'w', NULL, "one directory over all arguments is the root"},
    {"hidden", 'H', NULL, "also what begins with a dot, below a directory"},
    {"pin", 0, "true|false", "pin the roots, so that gc keeps them (default true)"},
    {"quiet", 'q', NULL, "print CIDs alone"},
    {"quieter", 'Q', NULL, "print the root's CID alone"},
    {"recursive", 'r', NULL, "as 'ipfs add' has it; directories are walked without it too"},
    CLI_FLAG_END,
};

const struct cli_command command_add = {
    .name = "add",
    .args = "FILE|DIR|-...",
    .summary = "store files and directories as UnixFS; the root's CID is printed last",
    .flags = flags,
    .args_min = 1,
    .args_max = CLI_ARGS_ANY,
    .more =
        "CIDs are those that 'ipfs add' gives with the same --chunker, --cid-version and\n"
        "--raw-leaves: balanced files of 174 links a node, directories sorted by name and, where\n"
        "names and CIDs come to more than 256 KiB, spread over many blocks (HAMT, fanout 256).\n"
        "Symbolic links are stored as such; mode and time of files are not kept.\n"
        "Content is streamed: memory does not grow with the file. A line 'added CID name' is\n"
        "printed when all of it is on the daemon's disk. Several roots are printed one a line,\n"
        "in the order of the arguments, and pinned ('millrace unpin CID' takes that back). When "
        "it\n"
        "fails, blocks that were stored stay until 'millrace gc' collects them.",
    .examples = "  millrace add video.mp4\n  millrace add -Q site/\n"
                "  tar c . | millrace add --chunker buzhash -\n  millrace add -w a.txt b.txt\n",
    .run = cmd_add,
};
