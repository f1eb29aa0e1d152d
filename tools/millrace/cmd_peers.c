/* SPDX-License-Identifier: MIT */

/* cmd_peers — peers: who is connected over libp2p, what each wants, and who owes whom. */

#include "tools/millrace/commands.h"

#include "tools/millrace/admin.h"
#include "tools/millrace/live.h"
#include "tools/millrace/peers_view.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Of the terminal that is written to; 0: it is none. */
static uint32_t terminal_columns(void) {
    struct winsize window = {0};
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) == 0 ? window.ws_col : 0;
}

static void view(FILE *out, const json_t *now, const json_t *before, double seconds, void *state) {
    struct peers_look look = *(const struct peers_look *)state;
    look.width = terminal_columns();
    peers_view(out, now, before, seconds, &look);
}

/* o, i, w, d, a, l: the first letters of the orders. */
static void press(int key, void *state) {
    struct peers_look *look = state;
    for (size_t i = 0; i < PEERS_ORDER_COUNT; i++) {
        if (key == peers_order_names[i][0]) {
            look->order = (enum peers_order)i;
        }
    }
}

/* Returns: whether the word names an order. */
static bool order_of(const char *word, enum peers_order *ret_order) {
    for (size_t i = 0; i < PEERS_ORDER_COUNT; i++) {
        if (strcmp(word, peers_order_names[i]) == 0) {
            *ret_order = (enum peers_order)i;
            return true;
        }
    }
    return false;
}

static int cmd_peers(struct cli *cli) {
    struct peers_look look = {.order = PEERS_BY_OUT, .full = cli_has(cli, "full")};
    const char *word = cli_value(cli, "sort", "out");
    if (!order_of(word, &look.order)) {
        return cli_misuse(cli, "--sort %s: it takes out, in, wants, debt, age or latency", word);
    }
    if (cli_has(cli, "top") && cli_has(cli, "json")) {
        return cli_misuse(cli, "--top is for people, --json is not: give one of them");
    }
    if (cli_has(cli, "top")) {
        struct live live = {
            .command = "peers",
            .keys = "sort o)ut i)n w)ants d)ebt a)ge l)atency",
            .view = view,
            .key = press,
            .state = &look,
        };
        return live_show(cli, &live);
    }
    int status = CLI_DONE;
    json_t *answer = admin_ask(cli, "peers", &status);
    if (answer == NULL) {
        return status;
    }
    if (cli_has(cli, "json")) {
        admin_print(answer);
    } else {
        look.width = look.full ? 0 : terminal_columns();
        peers_view(stdout, answer, NULL, 0, &look);
    }
    json_decref(answer);
    return CLI_DONE;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"sort", 0, "BY", "out (default), in, wants, debt, age or latency"},
    {"full", 0, NULL, "ids and addresses whole, all columns, however wide"},
    {"top", 0, NULL, "live, bytes as rates, until q"},
    LIVE_FLAG_ONCE,
    LIVE_FLAG_EVERY,
    CLI_FLAG_END,
};

const struct cli_command command_peers = {
    .name = "peers",
    .args = "",
    .summary = "who is connected, what each wants, and who owes whom",
    .flags = flags,
    .more =
        "wants: to be served now; waiting: for blocks we do not have; debt: block bytes it got\n"
        "from us less those we got from it. --once and --every belong to --top, whose keys are\n"
        "q to quit and the first letter of what to sort by. A terminal that is too narrow gets "
        "the\n"
        "columns that matter most; ids are cut to their end but with --full and --json.",
    .examples = "  millrace peers\n  millrace peers --top --sort debt\n"
                "  millrace peers --json | jq -r '.peers[].id'\n",
    .run = cmd_peers,
};
