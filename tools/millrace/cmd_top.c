/* SPDX-License-Identifier: MIT */

/* cmd_top — the daemon live: the tables of stat as rates, redrawn on a terminal. */

#include "tools/millrace/commands.h"

#include "tools/millrace/live.h"
#include "tools/millrace/stat_view.h"

static void view(FILE *out, const json_t *now, const json_t *before, double seconds, void *state) {
    const bool *totals = state;
    stat_view(out, now, *totals ? NULL : before, seconds);
}

static void press(int key, void *state) {
    bool *totals = state;
    if (key == 't') {
        *totals = !*totals;
    }
}

static int cmd_top(struct cli *cli) {
    bool totals = false;
    struct live live = {
        .command = "stat",
        .keys = "t totals or rates",
        .view = view,
        .key = press,
        .state = &totals,
    };
    return live_show(cli, &live);
}

static const struct cli_flag flags[] = {
    CLI_FLAG_ADMIN,
    LIVE_FLAG_ONCE,
    LIVE_FLAG_EVERY,
    CLI_FLAG_END,
};

const struct cli_command command_top = {
    .name = "top",
    .args = "",
    .summary = "the daemon live: cores, rings, classes, latencies",
    .flags = flags,
    .more = "Keys: q quits, t switches between rates and totals, + and - change how often.",
    .examples = "  millrace top\n  millrace top --once\n",
    .run = cmd_top,
};
