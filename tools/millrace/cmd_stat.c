/* SPDX-License-Identifier: MIT */

/* cmd_stat — stat, topo, why: what the daemon says of itself. */

#include "tools/millrace/commands.h"

#include "base/clock.h"
#include "base/option.h"
#include "tools/millrace/admin.h"
#include "tools/millrace/stat_view.h"

#include <poll.h>
#include <stdio.h>

static void print_json(const json_t *document, size_t flags) {
    json_dumpf(document, stdout, flags);
    printf("\n");
    fflush(stdout);
}

/* Asks once and shows the answer as JSON or by `view`. */
static int ask_and_show(const struct cli *cli, const char *command,
                        void (*view)(FILE *out, const json_t *answer)) {
    int status = CLI_DONE;
    json_t *answer = admin_ask(cli, command, &status);
    if (answer == NULL) {
        return status;
    }
    if (cli_has(cli, "json")) {
        print_json(answer, JSON_INDENT(2));
    } else {
        view(stdout, answer);
    }
    json_decref(answer);
    return CLI_DONE;
}

/* A line every `seconds`, until the daemon or the user ends it. */
static int watch(const struct cli *cli, uint64_t seconds) {
    int status = CLI_DONE;
    json_t *before = admin_ask(cli, "stat", &status);
    uint64_t then = clock_ns();
    bool json = cli_has(cli, "json");
    for (uint64_t lines = 0; before != NULL; lines++) {
        if (!json && lines % 20 == 0) {
            stat_line_heading(stdout);
        }
        poll(NULL, 0, (int)(seconds * 1000));
        json_t *now = admin_ask(cli, "stat", &status);
        uint64_t now_ns = clock_ns();
        if (now != NULL && json) {
            print_json(now, JSON_COMPACT);
        } else if (now != NULL) {
            stat_line(stdout, now, before, (double)(now_ns - then) / (double)NS_PER_S);
        }
        json_decref(before);
        before = now;
        then = now_ns;
    }
    return status;
}

static void view_once(FILE *out, const json_t *answer) {
    stat_view(out, answer, NULL, 0);
}

static int cmd_stat(struct cli *cli) {
    const char *every = cli_value(cli, "watch", NULL);
    uint64_t seconds = 0;
    if (every == NULL) {
        return ask_and_show(cli, "stat", view_once);
    }
    if (option_count(every, &seconds) != 0 || seconds < 1 || seconds > 3600) {
        return cli_misuse(cli, "--watch %s: it takes seconds, 1 to 3600", every);
    }
    return watch(cli, seconds);
}

static int cmd_topo(struct cli *cli) {
    return ask_and_show(cli, "topo", topo_view);
}

static int cmd_why(struct cli *cli) {
    return ask_and_show(cli, "why", why_view);
}

static const struct cli_flag stat_flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"watch", 'w', "N", "print a line of rates every N seconds"},
    CLI_FLAG_END,
};
static const struct cli_flag flags[] = {CLI_FLAG_ADMIN, CLI_FLAG_JSON, CLI_FLAG_END};

const struct cli_command command_stat = {
    .name = "stat",
    .args = "",
    .summary = "counters of the daemon: store, classes, cores, rings",
    .flags = stat_flags,
    .more = "Counters are since the start, latencies of the last 10 seconds.",
    .examples = "  millrace stat\n  millrace stat --watch 1\n"
                "  millrace stat --json | jq .store.blocks\n",
    .run = cmd_stat,
};
const struct cli_command command_topo = {
    .name = "topo",
    .args = "",
    .summary = "which part of the daemon runs on which core",
    .flags = flags,
    .examples = "  millrace topo --admin ./run/admin.sock\n",
    .run = cmd_topo,
};
const struct cli_command command_why = {
    .name = "why",
    .args = "",
    .summary = "the path of the last requests, and what limits throughput now",
    .flags = flags,
    .more =
        "A light request is answered on the core that received it; a heavy one goes through the\n"
        "class ring, the scheduler and a work tile.",
    .examples = "  millrace why\n  millrace why --json\n",
    .run = cmd_why,
};
