/* SPDX-License-Identifier: MIT */
#include "tools/millrace/task.h"

#include "base/bits.h"
#include "tools/millrace/interrupt.h"

#include <poll.h>
#include <string.h>

/* Between two questions: short at first, for what is over at once. */
#define POLL_FIRST_MS 2u
#define POLL_MOST_MS  200u

static json_t *ask(const struct cli *cli, const char *command, json_int_t task, int *status) {
    return admin_request(cli, json_pack("{s:s, s:I}", "command", command, "task", task), status);
}

static void show(struct progress *progress, const struct task_view *view, const json_t *answer) {
    char note[TASK_NOTE_MAX] = "";
    if (view->note) {
        view->note(answer, note);
        progress->note = note;
        progress->waiting = true;
    }
    uint64_t seen = (uint64_t)admin_number(answer, "seen");
    progress->total = (uint64_t)admin_number(answer, "total");
    progress_show(progress, seen, seen);
    progress->note = NULL;
}

static int conclude(const struct cli *cli, const struct task_view *view, const json_t *answer) {
    if (strcmp(admin_text(answer, "state"), "done") == 0) {
        return CLI_DONE;
    }
    const char *outcome = admin_text(answer, "outcome");
    int status = strcmp(outcome, "absent") == 0    ? CLI_ABSENT
                 : strcmp(outcome, "corrupt") == 0 ? CLI_DAMAGED
                                                   : CLI_FAILED;
    if (status == CLI_ABSENT && view->mild) {
        return status;
    }
    const char *why = admin_text(answer, "why");
    const char *subject = view->subject ? view->subject : "";
    return cli_fail(cli, status, "%s%s%s", subject, subject[0] ? ": " : "",
                    why[0] ? why : "it ended without a word");
}

int task_follow(const struct cli *cli, json_t *request, const struct task_view *view,
                json_t **ret_answer) {
    struct progress progress;
    int status = CLI_DONE;
    bool canceled = false;
    json_t *answer = admin_request(cli, request, &status);
    if (answer == NULL) {
        return status;
    }
    json_int_t task = json_integer_value(json_object_get(answer, "task"));
    json_decref(answer);
    interrupt_mind();
    progress_begin(&progress, view->what, 0, false);
    for (uint32_t wait_ms = POLL_FIRST_MS;; wait_ms = min_u32(2 * wait_ms, POLL_MOST_MS)) {
        answer = ask(cli, "task", task, &status);
        if (answer == NULL) {
            progress_clear(&progress);
            return status;
        }
        const char *state = admin_text(answer, "state");
        if (strcmp(state, "waiting") != 0 && strcmp(state, "running") != 0) {
            break;
        }
        if (!view->quiet) {
            show(&progress, view, answer);
        }
        json_decref(answer);
        if (interrupt_came() && !canceled) {
            canceled = true;
            json_decref(ask(cli, "cancel", task, &status));
        }
        poll(NULL, 0, (int)wait_ms);
    }
    progress_clear(&progress);
    status = conclude(cli, view, answer);
    if (status == CLI_DONE || (status == CLI_ABSENT && view->mild)) {
        *ret_answer = answer;
    } else {
        json_decref(answer);
    }
    return status;
}

int task_run(const struct cli *cli, json_t *request, const char *subject,
             void (*note)(const json_t *answer, char text[TASK_NOTE_MAX]),
             void (*print)(const json_t *answer)) {
    bool json = cli_has(cli, "json"), quiet = cli_has(cli, "quiet");
    struct task_view view = {
        .what = cli->command->name, .subject = subject, .note = note, .quiet = quiet || json};
    json_t *answer = NULL;
    int status = task_follow(cli, request, &view, &answer);
    if (status == CLI_DONE && json) {
        admin_print(answer);
    } else if (status == CLI_DONE && !quiet) {
        print(answer);
    }
    json_decref(answer);
    return status;
}
