/* SPDX-License-Identifier: MIT */

/* cmd_connect — connect: have the daemon dial a peer, or hang up on one. */

#include "tools/millrace/commands.h"

#include "tools/millrace/admin.h"
#include "tools/millrace/dial.h"

#include <stdio.h>

static int disconnect(const struct cli *cli, const struct dial_target *target) {
    int status = CLI_DONE;
    if (target->id[0] == '\0') {
        return cli_misuse(cli, "--disconnect needs a peer id, or an address that ends in one");
    }
    json_t *request = json_pack("{s:s, s:s}", "command", "disconnect", "peer", target->id);
    json_t *answer = admin_request(cli, request, &status);
    if (answer == NULL) {
        return status;
    }
    json_decref(answer);
    if (cli_has(cli, "json")) {
        printf("{\"state\": \"disconnected\", \"id\": \"%s\"}\n", target->id);
    } else {
        printf("disconnected %s\n", target->id);
    }
    return CLI_DONE;
}

static int cmd_connect(struct cli *cli) {
    struct dial_target target;
    int status = dial_target(cli, cli->args[0], &target);
    if (status != CLI_DONE) {
        return status;
    }
    if (cli_has(cli, "disconnect")) {
        return disconnect(cli, &target);
    }
    status = dial_connect(cli, &target);
    if (status != CLI_DONE) {
        if (cli_has(cli, "json")) {
            printf("{\"state\": \"failed\"}\n"); /* why: on stderr, as ever */
        }
        return status;
    }
    if (cli_has(cli, "json")) {
        printf("{\"state\": \"connected\", \"id\": \"%s\"}\n", target.id);
    } else {
        printf("connected %s\n", target.id);
    }
    return CLI_DONE;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"disconnect", 0, NULL, "close every connection to this peer instead"},
    DIAL_FLAG_TIMEOUT,
    CLI_FLAG_END,
};

const struct cli_command command_connect = {
    .name = "connect",
    .args = "MULTIADDR|PEERID",
    .summary = "connect the daemon to a peer, or --disconnect it",
    .flags = flags,
    .args_min = 1,
    .args_max = 1,
    .more =
        "Waits until the peer is connected, or says why it is not. An address that ends in\n"
        "/p2p/ID is refused when somebody else answers there. A peer id alone tells whether that\n"
        "peer is connected, and is enough for --disconnect.",
    .examples = "  millrace connect /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW...\n"
                "  millrace connect --disconnect 12D3KooW...\n",
    .run = cmd_connect,
};
