/* SPDX-License-Identifier: MIT */

/* cmd_scrub — scrub: the daemon reads every stored block again, now and at once. */

#include "tools/millrace/commands.h"

#include "tools/millrace/human.h"
#include "tools/millrace/task.h"

#include <stdio.h>

static void note_scrub(const json_t *answer, char text[TASK_NOTE_MAX]) {
    char seen[HUMAN_MAX], total[HUMAN_MAX], bytes[HUMAN_MAX];
    (void)snprintf(text, TASK_NOTE_MAX, "%s of %s blocks, %s, %.0f written anew, %.0f damaged",
                   human_count((uint64_t)admin_number(answer, "seen"), seen),
                   human_count((uint64_t)admin_number(answer, "total"), total),
                   human_bytes((uint64_t)admin_number(answer, "bytes"), bytes),
                   admin_number(answer, "repaired"), admin_number(answer, "damaged"));
}

int scrub_follow(const struct cli *cli, bool quiet, json_t **ret_answer) {
    struct task_view view = {.what = "scrub", .note = note_scrub, .quiet = quiet};
    return task_follow(cli, json_pack("{s:s}", "command", "scrub"), &view, ret_answer);
}

static void print_result(const json_t *answer) {
    char seen[HUMAN_MAX], bytes[HUMAN_MAX], rest[HUMAN_MAX];
    double left = admin_number(answer, "total") - admin_number(answer, "seen");
    printf("%s blocks, %s are what their names say; %.0f were written anew from another copy\n",
           human_count((uint64_t)admin_number(answer, "seen"), seen),
           human_bytes((uint64_t)admin_number(answer, "bytes"), bytes),
           admin_number(answer, "repaired"));
    if (left > 0) {
        printf("about %s more lie in segments that are not full yet: their turn comes then\n",
               human_count((uint64_t)left, rest));
    }
}

static int cmd_scrub(struct cli *cli) {
    return task_run(cli, json_pack("{s:s}", "command", "scrub"), NULL, note_scrub, print_result);
}

static const struct cli_flag flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_scrub = {
    .name = "scrub",
    .args = "",
    .summary = "read every stored block again, in the daemon; repair what can be",
    .flags = flags,
    .args_max = 0,
    .more =
        "The daemon does the same slowly on its own (store.scrub_cycle_ssd, _hdd). A damaged\n"
        "block of which there is another sound copy, in memory or on disk, is written anew; one\n"
        "without stays damaged, is never served, and a put of it heals it: verify names it.\n"
        "What is in segments not yet full has its turn when they are.\n",
    .examples = "  millrace scrub\n  millrace scrub --json\n",
    .run = cmd_scrub,
};
