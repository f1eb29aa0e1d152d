/* SPDX-License-Identifier: MIT */

/* cmd_cat — the content of a UnixFS file, each block checked against its CID on the way. */

#include "tools/millrace/commands.h"

#include "base/cid.h"
#include "base/must.h"
#include "base/option.h"
#include "proto/tlv/tlv.h"
#include "tools/millrace/output.h"
#include "tools/millrace/progress.h"
#include "tools/millrace/reader.h"
#include "tools/millrace/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SAID (-10000) /* what ends the reading when words were already said */

struct cat {
    const struct cli *cli;
    struct output output;
    int status;
    uint64_t offset, length;
    struct progress progress;
    struct reader reader;
};

static int give(void *context, const uint8_t *bytes, size_t count) {
    struct cat *cat = context;
    if (fwrite(bytes, 1, count, cat->output.file) != count) {
        int error = errno;
        progress_clear(&cat->progress);
        errno = error;
        cat->status = output_fail(&cat->output);
        return SAID;
    }
    uint64_t there = cat->reader.size - cat->offset; /* it was given some: so it is no less */
    cat->progress.total = there < cat->length ? there : cat->length;
    progress_show(&cat->progress, cat->reader.given, 0);
    return 0;
}

static int no_file(const struct cat *cat, const char *cid) {
    const struct reader_trouble *trouble = &cat->reader.trouble;
    switch (trouble->type) {
    case UNIXFS_DIRECTORY:
    case UNIXFS_SHARD:
        return cli_fail(cat->cli, CLI_USAGE,
                        "%s is a directory: name a file in it by its own CID ('millrace export "
                        "--dag' takes all of it)",
                        cid);
    case UNIXFS_SYMLINK:
        return cli_fail(cat->cli, CLI_USAGE, "%s is a symbolic link to '%s', not a file", cid,
                        trouble->target);
    case UNIXFS_METADATA:
    case UNIXFS_RAW:
    case UNIXFS_FILE:
    case UNIXFS_TYPE_COUNT:
    default:
        return cli_fail(cat->cli, CLI_USAGE, "%s is not a file", cid);
    }
}

static int tell(const struct cat *cat) {
    const struct reader_trouble *trouble = &cat->reader.trouble;
    char cid[MR_CID_TEXT];
    mr_cid_format(&trouble->cid, cid);
    switch (trouble->fault) {
    case READER_NOT_HAD: {
        bool refused = trouble->result == MR_REFUSED;
        return cli_fail(cat->cli, remote_status(trouble->result, trouble->code), "%s: %s", cid,
                        refused ? tlv_code_text((enum tlv_code)trouble->code)
                                : mr_result_text(trouble->result));
    }
    case READER_MALFORMED:
        return cli_fail(cat->cli, CLI_DAMAGED, "%s: its bytes are not a UnixFS node", cid);
    case READER_UNEVEN:
        return cli_fail(cat->cli, CLI_DAMAGED,
                        "%s: it holds another number of bytes than the node above it says", cid);
    case READER_NO_FILE:
        return no_file(cat, cid);
    case READER_STRANGE: {
        const char *codec = cid_codec_name(mr_cid_codec(&trouble->cid));
        return cli_fail(cat->cli, CLI_USAGE,
                        "%s is %s, not a file: 'millrace get' fetches the block", cid,
                        codec != NULL ? codec : "of an unknown codec");
    }
    case READER_TOO_DEEP:
        return cli_fail(cat->cli, CLI_DAMAGED,
                        "%s: more nodes above each other, or side by side, than a file has", cid);
    default:
        never("a fault that does not exist");
    }
}

static int fetch(struct cat *cat, struct mr_client *client, const struct mr_cid *root) {
    progress_begin(&cat->progress, "cat", 0, true);
    int r = reader_file(&cat->reader, client, root, cat->offset, cat->length, give, cat);
    progress_clear(&cat->progress);
    if (r == READER_TROUBLE) {
        return tell(cat);
    }
    if (r != 0) {
        return cat->status != CLI_DONE ? cat->status
                                       : remote_fail(cat->cli, client, r, "cat broke off");
    }
    if (cat->offset > cat->reader.size) {
        return cli_misuse(cat->cli, "--offset %llu: the file ends before: it has %llu bytes",
                          (unsigned long long)cat->offset, (unsigned long long)cat->reader.size);
    }
    return CLI_DONE;
}

static int cat_to(struct cat *cat, struct mr_client *client, const struct mr_cid *root,
                  const char *name) {
    int status = output_open(&cat->output, cat->cli, name);
    return status == CLI_DONE ? output_close(&cat->output, fetch(cat, client, root)) : status;
}

/* A flag's number of bytes. Returns: CLI_DONE, also where the flag is not there. */
static int number(const struct cli *cli, const char *flag, uint64_t *ret_value) {
    const char *text = cli_value(cli, flag, NULL);
    uint64_t value = 0;
    if (text == NULL) {
        return CLI_DONE;
    }
    if (option_size(text, &value) != 0 || value > INT64_MAX) {
        return cli_misuse(cli, "--%s %s: it takes a number of bytes, as 4096 or 1MiB", flag, text);
    }
    *ret_value = value;
    return CLI_DONE;
}

static int cmd_cat(struct cli *cli) {
    static struct cat cat;
    struct remote_cids cids;
    struct mr_client *client = NULL;
    cat.cli = cli;
    cat.length = UINT64_MAX;
    int status = number(cli, "offset", &cat.offset);
    status = status == CLI_DONE ? number(cli, "length", &cat.length) : status;
    if (status != CLI_DONE) {
        return status;
    }
    status = remote_cids_read(cli, &cids);
    if (status == CLI_DONE && cids.count != 1) {
        status = cli_misuse(cli, "one CID at a time");
    }
    if (status == CLI_DONE) {
        client = remote_open(cli, &status);
    }
    if (client != NULL) {
        status = cat_to(&cat, client, &cids.cids[0], cli_value(cli, "output", "-"));
    }
    mr_free(client);
    remote_cids_free(&cids);
    return status;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_TO,
    {"output", 'o', "FILE", "write there instead of standard output"},
    {"offset", 0, "SIZE", "begin there, as 4096 or 1MiB; what lies before is not fetched"},
    {"length", 0, "SIZE", "so many at most"},
    CLI_FLAG_END,
};

const struct cli_command command_cat = {
    .name = "cat",
    .args = "CID",
    .summary = "write out the content of a UnixFS file, or of a raw block",
    .flags = flags,
    .args_min = 1,
    .args_max = 1,
    .more =
        "Blocks are fetched ahead of their turn, checked against their CIDs, and written in "
        "order;\n"
        "memory does not grow with the file. With -o the file gets its name when it is whole. A\n"
        "missing block ends it with exit status 3, a damaged one with 4; directories and symbolic\n"
        "links are refused.",
    .examples = "  millrace cat bafybei... -o video.mp4\n"
                "  millrace cat bafybei... --offset 1000000 --length 100 | xxd\n",
    .run = cmd_cat,
};
