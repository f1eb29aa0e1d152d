/* SPDX-License-Identifier: MIT */

/* cmd_ping — ping: round trips to a peer over libp2p, as the daemon's connection sees them. */

#include "tools/millrace/commands.h"

#include "base/bits.h"
#include "base/clock.h"
#include "base/option.h"
#include "tools/millrace/admin.h"
#include "tools/millrace/dial.h"
#include "tools/millrace/human.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

#define PING_PATIENCE_NS (10 * NS_PER_S)

static const char *const pending[] = {"pending", NULL};

struct tally {
    uint64_t sent, answered;
    double least_us, most_us, sum_us;
    json_t *rtts; /* microseconds; null for one that was lost */
};

/* One round trip. Returns: CLI_DONE, also when it was lost; another status after saying why. */
static int ping_once(const struct cli *cli, const char *id, struct tally *tally) {
    char text[HUMAN_MAX];
    bool json = cli_has(cli, "json");
    int status = CLI_DONE;
    json_t *answer =
        admin_request(cli, json_pack("{s:s, s:s}", "command", "ping", "peer", id), &status);
    if (answer == NULL) {
        return status;
    }
    json_int_t number = json_integer_value(json_object_get(answer, "ping"));
    json_decref(answer);
    answer = dial_wait(cli, "ping_result", "ping", number, pending, clock_ns() + PING_PATIENCE_NS,
                       &status);
    if (answer == NULL) {
        return status;
    }
    tally->sent++;
    const char *state = admin_text(answer, "state");
    if (strcmp(state, "done") != 0) {
        const char *why = admin_text(answer, "why");
        json_array_append_new(tally->rtts, json_null());
        if (!json) {
            printf("%llu  lost: %s\n", (unsigned long long)tally->sent,
                   why[0] != '\0'                  ? why
                   : strcmp(state, "pending") == 0 ? "no answer within 10 s"
                                                   : state);
        }
    } else {
        double us = admin_number(answer, "rtt_us");
        json_array_append_new(tally->rtts, json_real(us));
        tally->least_us = tally->answered == 0 || us < tally->least_us ? us : tally->least_us;
        tally->most_us = us > tally->most_us ? us : tally->most_us;
        tally->sum_us += us;
        tally->answered++;
        if (!json) {
            printf("%llu  %s\n", (unsigned long long)tally->sent, human_us(us, text));
        }
    }
    fflush(stdout);
    json_decref(answer);
    return CLI_DONE;
}

static void report(const struct cli *cli, const char *id, const struct tally *tally) {
    char least[HUMAN_MAX], mean[HUMAN_MAX], most[HUMAN_MAX];
    double mean_us = tally->answered > 0 ? tally->sum_us / (double)tally->answered : 0;
    if (cli_has(cli, "json")) {
        json_t *all = json_pack("{s:s, s:I, s:I, s:f, s:f, s:f, s:O}", "peer", id, "sent",
                                (json_int_t)tally->sent, "answered", (json_int_t)tally->answered,
                                "least_us", tally->least_us, "mean_us", mean_us, "most_us",
                                tally->most_us, "rtt_us", tally->rtts);
        json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        printf("\n");
        json_decref(all);
        return;
    }
    printf("%llu sent, %llu answered", (unsigned long long)tally->sent,
           (unsigned long long)tally->answered);
    if (tally->answered > 0) {
        printf("; least %s, mean %s, most %s", human_us(tally->least_us, least),
               human_us(mean_us, mean), human_us(tally->most_us, most));
    }
    printf("\n");
}

static int cmd_ping(struct cli *cli) {
    struct dial_target target;
    uint64_t count = 0, every_ns = 0;
    const char *text = cli_value(cli, "count", "4");
    if (option_count(text, &count) != 0 || count < 1 || count > 1000000) {
        return cli_misuse(cli, "--count %s: it takes a number, 1 to 1000000", text);
    }
    int status = dial_duration(cli, "every", "1s", &every_ns);
    if (status == CLI_DONE) {
        status = dial_target(cli, cli->args[0], &target);
    }
    if (status == CLI_DONE && target.multiaddr != NULL) {
        status = dial_connect(cli, &target);
    }
    if (status != CLI_DONE) {
        return status;
    }
    struct tally tally = {.rtts = json_array()};
    uint64_t next_ns = clock_ns();
    while (status == CLI_DONE && tally.sent < count) {
        uint64_t now_ns = clock_ns();
        if (now_ns < next_ns) {
            poll(NULL, 0, (int)((next_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS));
        }
        next_ns = max_u64(now_ns, next_ns) + every_ns;
        status = ping_once(cli, target.id, &tally);
    }
    if (tally.sent > 0) {
        report(cli, target.id, &tally);
    }
    json_decref(tally.rtts);
    return status != CLI_DONE ? status : tally.answered > 0 ? CLI_DONE : CLI_FAILED;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"count", 'c', "N", "how many (default 4)"},
    {"every", 'i', "TIME", "from one to the next (default 1s)"},
    DIAL_FLAG_TIMEOUT,
    CLI_FLAG_END,
};

const struct cli_command command_ping = {
    .name = "ping",
    .args = "MULTIADDR|PEERID",
    .summary = "round trips to a peer, over libp2p",
    .flags = flags,
    .args_min = 1,
    .args_max = 1,
    .more =
        "An address is connected to first; a peer id must be connected already. Ends with 1 when\n"
        "no ping was answered.",
    .examples = "  millrace ping -c 10 /ip4/192.0.2.7/tcp/4001\n"
                "  millrace ping --json 12D3KooW... | jq .mean_us\n",
    .run = cmd_ping,
};
