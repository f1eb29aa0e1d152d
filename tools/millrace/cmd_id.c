/* SPDX-License-Identifier: MIT */

/* cmd_id — id: who the daemon is to its peers, and where they can dial it. */

#include "tools/millrace/commands.h"

#include "tools/millrace/admin.h"

#include <stdio.h>

static void list(const char *label, const json_t *words, const char *none) {
    size_t i;
    const json_t *word;
    if (json_array_size(words) == 0) {
        printf("%-10s %s\n", label, none);
    }
    json_array_foreach(words, i, word) {
        printf("%-10s %s\n", i == 0 ? label : "", json_string_value(word));
    }
}

static int cmd_id(struct cli *cli) {
    int status = CLI_DONE;
    json_t *answer = admin_ask(cli, "id", &status);
    if (answer == NULL) {
        return status;
    }
    if (cli_has(cli, "json")) {
        admin_print(answer);
    } else {
        printf("%-10s %s\n", "id", admin_text(answer, "id"));
        list("addresses", admin_at(answer, "addrs"), "none: 'serve --bitswap ADDR:PORT' listens");
        printf("%-10s %s\n", "agent", admin_text(answer, "agent"));
        list("protocols", admin_at(answer, "protocols"), "none");
    }
    json_decref(answer);
    return CLI_DONE;
}

static const struct cli_flag flags[] = {CLI_FLAG_ADMIN, CLI_FLAG_JSON, CLI_FLAG_END};

const struct cli_command command_id = {
    .name = "id",
    .args = "",
    .summary = "who the daemon is to IPFS peers, and where they can dial it",
    .flags = flags,
    .more = "An address is what 'ipfs swarm connect' takes, and 'millrace fetch --from'.",
    .examples = "  millrace id\n  ipfs swarm connect $(millrace id --json | jq -r '.addrs[0]')\n",
    .run = cmd_id,
};
