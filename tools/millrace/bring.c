/* SPDX-License-Identifier: MIT */
#include "tools/millrace/bring.h"

#include "base/bits.h"
#include "base/cid.h"
#include "base/clock.h"
#include "tools/millrace/dial.h"
#include "tools/millrace/human.h"
#include "tools/millrace/interrupt.h"
#include "tools/millrace/progress.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>

/* Between two questions: short at first, for a block that is there at once. */
#define POLL_FIRST_MS 5u
#define POLL_MOST_MS  200u

#define WORDS_MAX (HUMAN_MAX + 16)
#define NOTE_MAX  (CID_TEXT_MAX + 2 * WORDS_MAX + 16)

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

int bring_read(const struct cli *cli, struct bring *bring) {
    bring->from = NULL;
    if (cli_has(cli, "timeout")) {
        int status = dial_duration(cli, "timeout", "0", &bring->timeout_ns);
        if (status != CLI_DONE) {
            return status;
        }
    }
    bring->from = read_from(cli);
    return bring->from != NULL ? CLI_DONE : CLI_USAGE;
}

void bring_end(struct bring *bring) {
    json_decref(bring->from);
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
static const char *waits_for(const struct bring *bring, const json_t *answer, char text[NOTE_MAX]) {
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
                 bring->cid);
    } else if (asked + seeking > 0) {
        char blocks[WORDS_MAX];
        snprintf(text, NOTE_MAX, "%s asked, %s to come", counted(live, "peer", "peers", peers),
                 counted(asked + seeking, "block", "blocks", blocks));
    } else {
        snprintf(text, NOTE_MAX, "looking at what is here");
    }
    return text;
}

static void show(const struct bring *bring, struct progress *progress, const json_t *answer) {
    char note[NOTE_MAX];
    progress->waiting = admin_number(answer, "blocks") == 0;
    progress->note = waits_for(bring, answer, note);
    progress_show(progress, (uint64_t)admin_number(answer, "bytes"),
                  (uint64_t)admin_number(answer, "blocks"));
    progress->note = NULL;
}

void bring_summary(const struct bring *bring, const json_t *answer) {
    char count[WORDS_MAX], bytes[HUMAN_MAX], rate[HUMAN_MAX], here[HUMAN_MAX], twice[HUMAN_MAX];
    double seconds = bring->seconds;
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

static int conclude(const struct cli *cli, const json_t *answer, enum ended ended) {
    char count[WORDS_MAX];
    if (strcmp(admin_text(answer, "state"), "done") == 0) {
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
        return cli_fail(cli, status, "%s; the %s that came %s kept, and the next %s goes on", why,
                        counted(blocks, "block", "blocks", count), blocks == 1 ? "is" : "are",
                        cli->command->name);
    }
    return cli_fail(cli, status, "%s%s", why, ended != ENDED_ITSELF ? "; nothing had come" : "");
}

/* The daemon's words, or its silence, have been said. */
static int lost(const struct cli *cli, int status) {
    return cli_fail(cli, status,
                    "the daemon stopped while it fetched; what came is kept, and the "
                    "next %s goes on",
                    cli->command->name);
}

/* Looks on until it ends. Returns: the last answer; NULL after saying that there is none. */
static json_t *look_on(const struct cli *cli, struct bring *bring, json_int_t session,
                       enum ended *ret_ended, int *ret_status) {
    struct progress progress;
    json_t *answer = NULL;
    progress_begin(&progress, "fetch", 0, true);
    for (uint32_t wait_ms = POLL_FIRST_MS;; wait_ms = min_u32(2 * wait_ms, POLL_MOST_MS)) {
        answer = ask(cli, "fetch_status", session, ret_status);
        if (answer == NULL || strcmp(admin_text(answer, "state"), "running") != 0) {
            break;
        }
        if (!bring->quiet) {
            show(bring, &progress, answer);
        }
        json_decref(answer);
        bool late = bring->timeout_ns != 0 && clock_ns() - progress.begin_ns > bring->timeout_ns;
        if (*ret_ended == ENDED_ITSELF && (late || interrupt_came())) {
            *ret_ended = interrupt_came() ? ENDED_INTERRUPTED : ENDED_LATE;
            cancel(cli, session);
        }
        poll(NULL, 0, (int)wait_ms);
    }
    progress_clear(&progress);
    bring->seconds = progress_seconds(&progress);
    return answer;
}

int bring_follow(const struct cli *cli, struct bring *bring, json_t **ret_answer) {
    int status = CLI_DONE;
    enum ended ended = ENDED_ITSELF;
    *ret_answer = NULL;
    interrupt_mind();
    json_t *request = json_pack("{s:s, s:s, s:O, s:b}", "command", "fetch", "cid", bring->cid,
                                "from", bring->from, "dag", bring->dag);
    json_t *answer = admin_request(cli, request, &status);
    if (answer == NULL) {
        return status;
    }
    json_int_t session = json_integer_value(json_object_get(answer, "session"));
    json_decref(answer);
    *ret_answer = look_on(cli, bring, session, &ended, &status);
    return *ret_answer != NULL ? conclude(cli, *ret_answer, ended) : lost(cli, status);
}
