/* SPDX-License-Identifier: MIT */

/* cmd_fetch — fetch: the daemon brings a block, or a whole DAG, here from other peers. */

#include "tools/millrace/commands.h"

#include "tools/millrace/bring.h"
#include "tools/millrace/remote.h"

static int cmd_fetch(struct cli *cli) {
    bool json = cli_has(cli, "json"), quiet = cli_has(cli, "quiet") || json;
    struct bring bring = {.cid = cli->args[0], .dag = cli_has(cli, "dag"), .quiet = quiet};
    json_t *answer = NULL;
    struct mr_cid cid;
    int status = remote_cid(cli, cli->args[0], &cid);
    status = status == CLI_DONE ? bring_read(cli, &bring) : status;
    if (status != CLI_DONE) {
        return status;
    }
    status = bring_follow(cli, &bring, &answer);
    if (answer != NULL && json) {
        admin_print(answer);
    } else if (status == CLI_DONE && !quiet) {
        bring_summary(&bring, answer);
    }
    json_decref(answer);
    bring_end(&bring);
    return status;
}

static const struct cli_flag flags[] = {
    BRING_FLAG_FROM,
    {"dag", 'd', NULL, "everything under it, too: dag-pb, dag-cbor and dag-json are followed"},
    BRING_FLAG_TIMEOUT,
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_fetch = {
    .name = "fetch",
    .args = "CID",
    .summary = "bring a block, or with --dag all under it, here from other peers",
    .flags = flags,
    .args_min = 1,
    .args_max = 1,
    .more =
        "Every block is checked against its CID before it is stored. What is here already is not\n"
        "fetched again, so a fetch that was broken off goes on where it was. Without --timeout it\n"
        "still ends: where no peer is connected for 10 s, or every one was asked 8 times in vain.\n"
        "Exit status 3: nobody who was asked has a block of it; the message names that block.",
    .examples = "  millrace fetch --dag bafybei... --from /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo...\n"
                "  millrace fetch bafkrei... && millrace get bafkrei... > block\n",
    .run = cmd_fetch,
};
