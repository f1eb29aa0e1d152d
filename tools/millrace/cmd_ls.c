/* SPDX-License-Identifier: MIT */

/* cmd_ls — every stored block, one a line. */

#include "tools/millrace/commands.h"

#include "base/cid.h"
#include "tools/millrace/walk.h"

#include <stdio.h>

static void print_item(const struct mr_item *item, bool json, bool sizes, bool first) {
    char cid[MR_CID_TEXT];
    uint64_t codec = mr_cid_codec(&item->cid);
    const char *name = cid_codec_name(codec);
    mr_cid_format(&item->cid, cid);
    if (json) {
        printf("%s{\"cid\": \"%s\", \"bytes\": %u, \"codec\": ", first ? "" : ",\n ", cid,
               item->size);
        if (name != NULL) {
            printf("\"%s\"}", name);
        } else {
            printf("\"0x%llx\"}", (unsigned long long)codec);
        }
    } else if (sizes) {
        printf("%10u  %s\n", item->size, cid);
    } else {
        printf("%s\n", cid);
    }
}

static int cmd_ls(struct cli *cli) {
    static struct walk walk;
    const struct mr_item *item = NULL;
    bool json = cli_has(cli, "json"), sizes = cli_has(cli, "long");
    int status = CLI_DONE, r;
    uint64_t count = 0;
    struct mr_client *client = remote_open(cli, &status);
    if (client == NULL) {
        return status;
    }
    walk_begin(&walk, client);
    while ((r = walk_next(&walk, &item)) == 0 && item != NULL) {
        if (json && count == 0) {
            printf("[");
        }
        print_item(item, json, sizes, count == 0);
        count++;
    }
    if (json) {
        printf("%s]\n", count == 0 ? "[" : "");
    }
    if (r != 0) {
        status = remote_fail(cli, client, r, "the list broke off");
    }
    mr_free(client);
    return status;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_TO,
    {"long", 'l', NULL, "sizes too: BYTES CID"},
    CLI_FLAG_JSON,
    CLI_FLAG_END,
};

const struct cli_command command_ls = {
    .name = "ls",
    .args = "",
    .summary = "list the stored blocks, in no particular order",
    .flags = flags,
    .examples = "  millrace ls -l\n  millrace ls | millrace rm -\n",
    .run = cmd_ls,
};
