/* SPDX-License-Identifier: MIT */

/* cmd_fetch — fetch: the daemon brings a block, or a whole DAG, here from other peers. */

#include "tools/millrace/commands.h"

#include "base/bits.h"
#include "base/cid.h"
#include "base/clock.h"
#include "tools/millrace/admin.h"
#include "tools/millrace/dial.h"
#include "tools/millrace/human.h"
#include "tools/millrace/progress.h"

#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Between two questions: short at first, for a block that is there at once. */
#define POLL_FIRST_MS 5u
#define POLL_MOST_MS  200u

#define WORDS_MAX (HUMAN_MAX + 16)
#define NOTE_MAX  (CID_TEXT_MAX + 2 * WORDS_MAX + 16)

static _Atomic bool interrupted; /* lock-free: a handler may set it */

static void on_interrupt(int signal_number) {
    (void)signal_number;
    interrupted = true;
}

/* Ctrl-C asks once; a second one ends this command as ever. */
static void mind_interrupt(void) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
}

/* The addresses of --from, in order. Returns: NULL after saying what is wrong with one. */
static json_t *read_from(const struct cli *cli) {
    json_t *from = json_array();
    for (uint32_t i = 0; i < cli->values_count; i++) {
        struct dial_target target;
        const char *text = cli->values[i].text;
        if (strcmp(cli->values[i].flag->name, "from") != 0) {
            continue;
        }
        if (dial_target(cli, text, &target) != CLI_DONE) {
            json_decref(from);
            return NULL;
        }
        json_array_append_new(from, json_string(text));
    }
    return from;
}

static json_t *ask(const struct cli *cli, const char *command, json_int_t session, int *status) {
    return admin_request(cli, json_pack("{s:s, s:I}", "command", command, "session", session),
                         status);
}

static void cancel(const struct cli *cli, json_int_t session) {
    int status = CLI_DONE;
    json_decref(ask(cli, "fetch_cancel", session, &status));
}

/* "1 block", "2 blocks" */
static const char *counted(double count, const char *one, const char *many, char text[WORDS_MAX]) {
    char number[HUMAN_MAX];
    snprintf(text, WORDS_MAX, "%s %s", human_count((uint64_t)count, number),
             count == 1 ? one : many);
    return text;
}

/* What it waits for. Returns: text. */
static const char *waits_for(const struct cli *cli, const json_t *answer, char text[NOTE_MAX]) {
    char peers[WORDS_MAX];
    double live = admin_number(answer, "peers"), dialing = admin_number(answer, "dialing");
    double asked = admin_number(answer, "in_flight"), seeking = admin_number(answer, "seeking");
    bool first = admin_number(answer, "blocks") + admin_number(answer, "here_blocks") == 0;
    if (json_is_true(admin_at(answer, "resolving"))) {
        snprintf(text, NOTE_MAX, "looking up the names of --from");
    } else if (live == 0 && dialing > 0) {
        snprintf(text, NOTE_MAX, "dialing %s", counted(dialing, "peer", "peers", peers));
    } else if (live == 0 && seeking > 0) {
        snprintf(text, NOTE_MAX, "no peer is connected yet");
    } else if (asked + seeking > 0 && first) {
        snprintf(text, NOTE_MAX, "%s asked for %s", counted(live, "peer", "peers", peers),
                 cli->args[0]);
    } else if (asked + seeking > 0) {
        char blocks[WORDS_MAX];
        snprintf(text, NOTE_MAX, "%s asked, %s to come", counted(live, "peer", "peers", peers),
                 counted(asked + seeking, "block", "blocks", blocks));
    } else {
        snprintf(text, NOTE_MAX, "looking at what is here");
    }
    return text;
}

static void show(const struct cli *cli, struct progress *progress, const json_t *answer) {
    char note[NOTE_MAX];
    progress->waiting = admin_number(answer, "blocks") == 0;
    progress->note = waits_for(cli, answer, note);
    progress_show(progress, (uint64_t)admin_number(answer, "bytes"),
                  (uint64_t)admin_number(answer, "blocks"));
    progress->note = NULL;
}

static void summary(const json_t *answer, const struct progress *progress) {
    char count[WORDS_MAX], bytes[HUMAN_MAX], rate[HUMAN_MAX], here[HUMAN_MAX], twice[HUMAN_MAX];
    double seconds = progress_seconds(progress);
    double got = admin_number(answer, "bytes"), blocks = admin_number(answer, "blocks");
    double was_here = admin_number(answer, "here_blocks");
    if (blocks == 0) {
        fprintf(stderr, "already here: %s\n", counted(was_here, "block", "blocks", count));
        return;
    }
    human_bytes((uint64_t)got, bytes);
    human_bytes((uint64_t)(got / (seconds > 0 ? seconds : 1)), rate);
    fprintf(stderr, "fetched %s, %s in %.2f s (%s/s)", counted(blocks, "block", "blocks", count),
            bytes, seconds, rate);
    if (was_here > 0) {
        human_count((uint64_t)was_here, here);
        fprintf(stderr, "; %s %s here", here, was_here == 1 ? "was" : "were");
    }
    if (admin_number(answer, "duplicates") > 0) {
        human_count((uint64_t)admin_number(answer, "duplicates"), twice);
        fprintf(stderr, "; %s came twice", twice);
    }
    fprintf(stderr, "\n");
}

/* Who ended it, where that was not the fetch itself. */
enum ended { ENDED_ITSELF, ENDED_LATE, ENDED_INTERRUPTED };

static int conclude(const struct cli *cli, const json_t *answer, const struct progress *progress,
                    enum ended ended) {
    char count[WORDS_MAX];
    if (strcmp(admin_text(answer, "state"), "done") == 0) {
        if (!cli_has(cli, "quiet") && !cli_has(cli, "json")) {
            summary(answer, progress);
        }
        return CLI_DONE;
    }
    const char *why = admin_text(answer, "why");
    if (strcmp(why, "canceled") == 0) {
        why = ended == ENDED_LATE          ? "not done within --timeout: given up"
              : ended == ENDED_INTERRUPTED ? "interrupted"
                                           : "canceled by another command";
    }
    int status = json_is_true(admin_at(answer, "absent")) ? CLI_ABSENT : CLI_FAILED;
    why = why[0] != '\0' ? why : "it ended without a word";
    double blocks = admin_number(answer, "blocks");
    if (blocks > 0) {
        return cli_fail(cli, status, "%s; the %s that came %s kept, and the next fetch goes on",
                        why, counted(blocks, "block", "blocks", count), blocks == 1 ? "is" : "are");
    }
    return cli_fail(cli, status, "%s%s", why, ended != ENDED_ITSELF ? "; nothing had come" : "");
}

/* The daemon's words, or its silence, have been said. */
static int lost(const struct cli *cli, int status) {
    return cli_fail(cli, status,
                    "the daemon stopped while it fetched; what came is kept, and the "
                    "next fetch goes on");
}

/* Looks on until it ends. */
static int follow(const struct cli *cli, json_int_t session, uint64_t timeout_ns) {
    struct progress progress;
    int status = CLI_DONE;
    bool quiet = cli_has(cli, "quiet") || cli_has(cli, "json");
    enum ended ended = ENDED_ITSELF;
    progress_begin(&progress, "fetch", 0, true);
    for (uint32_t wait_ms = POLL_FIRST_MS;; wait_ms = min_u32(2 * wait_ms, POLL_MOST_MS)) {
        json_t *answer = ask(cli, "fetch_status", session, &status);
        if (answer == NULL) {
            progress_clear(&progress);
            return lost(cli, status);
        }
        bool running = strcmp(admin_text(answer, "state"), "running") == 0;
        if (!quiet && running) {
            show(cli, &progress, answer);
        }
        if (!running) {
            progress_clear(&progress);
            if (cli_has(cli, "json")) {
                json_dumpf(answer, stdout, JSON_INDENT(2));
                printf("\n");
            }
            status = conclude(cli, answer, &progress, ended);
            json_decref(answer);
            return status;
        }
        json_decref(answer);
        bool late = timeout_ns != 0 && clock_ns() - progress.begin_ns > timeout_ns;
        if (ended == ENDED_ITSELF && (late || interrupted)) {
            ended = interrupted ? ENDED_INTERRUPTED : ENDED_LATE;
            cancel(cli, session);
        }
        poll(NULL, 0, (int)wait_ms);
    }
}

static int cmd_fetch(struct cli *cli) {
    struct cid cid;
    char why[160] = "";
    uint64_t timeout_ns = 0;
    int status = CLI_DONE;
    if (cid_parse(cli->args[0], &cid, why, sizeof why) != 0) {
        struct cli_quoted quoted;
        return cli_misuse(cli, "'%s' is not a CID: %s", cli_quote(cli->args[0], &quoted),
                          strncmp(why, "not a CID: ", 11) == 0 ? why + 11 : why);
    }
    if (cli_has(cli, "timeout")) {
        status = dial_duration(cli, "timeout", "0", &timeout_ns);
        if (status != CLI_DONE) {
            return status;
        }
    }
    json_t *from = read_from(cli);
    if (from == NULL) {
        return CLI_USAGE;
    }
    mind_interrupt();
    json_t *request = json_pack("{s:s, s:s, s:o, s:b}", "command", "fetch", "cid", cli->args[0],
                                "from", from, "dag", cli_has(cli, "dag"));
    json_t *answer = admin_request(cli, request, &status);
    if (answer == NULL) {
        return status;
    }
    json_int_t session = json_integer_value(json_object_get(answer, "session"));
    json_decref(answer);
    return follow(cli, session, timeout_ns);
}

static const struct cli_flag flags[] = {
    {"from", 'f', "MULTIADDR",
     "a peer that has it, or its id; may be given often (default: all connected)"},
    {"dag", 'd', NULL, "everything under it, too: dag-pb, dag-cbor and dag-json are followed"},
    {"timeout", 't', "TIME", "give up after so long, up to 1h, as 30s or 10m (default 0: never)"},
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
