/* SPDX-License-Identifier: MIT */

/* cmd_gc — gc: deletes blocks that no pin reaches. */

#include "tools/millrace/commands.h"

#include "base/option.h"
#include "tools/millrace/human.h"
#include "tools/millrace/task.h"

#include <stdio.h>
#include <string.h>

static void note_gc(const json_t *answer, char text[TASK_NOTE_MAX]) {
    char seen[HUMAN_MAX], blocks[HUMAN_MAX], bytes[HUMAN_MAX];
    human_count((uint64_t)admin_number(answer, "seen"), seen);
    if (strcmp(admin_text(answer, "phase"), "mark") == 0) {
        (void)snprintf(text, TASK_NOTE_MAX, "%s blocks are pinned so far", seen);
        return;
    }
    (void)snprintf(text, TASK_NOTE_MAX, "%s blocks looked at, %s (%s) %s", seen,
                   human_count((uint64_t)admin_number(answer, "blocks"), blocks),
                   human_bytes((uint64_t)admin_number(answer, "bytes"), bytes),
                   json_is_true(admin_at(answer, "dry_run")) ? "would go" : "deleted");
}

/* What stays, and why. */
static void print_rest(const json_t *answer) {
    char pinned[HUMAN_MAX], young[HUMAN_MAX], again[HUMAN_MAX];
    uint64_t put_again = (uint64_t)admin_number(answer, "put_again");
    printf("%s pinned, %s younger than the grace",
           human_count((uint64_t)admin_number(answer, "pinned"), pinned),
           human_count((uint64_t)admin_number(answer, "young"), young));
    if (put_again > 0) {
        printf(", %s put again since the last collection", human_count(put_again, again));
    }
    printf("\n");
}

static void print_result(const json_t *answer) {
    char count[HUMAN_MAX], bytes[HUMAN_MAX];
    uint64_t blocks = (uint64_t)admin_number(answer, "blocks");
    bool dry = json_is_true(admin_at(answer, "dry_run"));
    if (blocks == 0) {
        printf("nothing to collect: ");
        print_rest(answer);
        return;
    }
    printf("%s %s block%s, %s; stay: ", dry ? "would collect" : "collected",
           human_count(blocks, count), blocks == 1 ? "" : "s",
           human_bytes((uint64_t)admin_number(answer, "bytes"), bytes));
    print_rest(answer);
}

static int cmd_gc(struct cli *cli) {
    json_t *request = json_pack("{s:s, s:b}", "command", "gc", "dry_run", cli_has(cli, "dry-run"));
    if (cli_has(cli, "grace")) {
        const char *text = cli_value(cli, "grace", "");
        uint64_t grace_ns = 0;
        if (option_duration(text, &grace_ns) != 0 || grace_ns > INT64_MAX) {
            json_decref(request);
            return cli_misuse(cli, "--grace %s: it takes a time, as 0, 30m or 2h", text);
        }
        json_object_set_new(request, "grace_ns", json_integer((json_int_t)grace_ns));
    }
    return task_run(cli, request, NULL, note_gc, print_result);
}

static const struct cli_flag flags[] = {
    {"dry-run", 'n', NULL, "only say what would go"},
    {"grace", 'g', "TIME", "spare what is younger, as 0, 30m or 2h (default: gc.grace)"},
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_gc = {
    .name = "gc",
    .args = "",
    .summary = "delete blocks that no pin reaches",
    .flags = flags,
    .args_max = 0,
    .more =
        "Puts and reads go on meanwhile. Blocks younger than the grace stay, and one that was put\n"
        "again since the last collection stays until the next. Blocks of before the daemon's "
        "start\n"
        "count as no older than the start. A block that is missing in a pinned DAG, or a damaged\n"
        "one with links, stops it before anything is deleted, and is named (exit status 3 or 4). "
        "Raw\n"
        "blocks are only seen to be there: scrub and verify read them. Space on disk comes back "
        "as\n"
        "segments are compacted. An interrupted collection keeps what it did.",
    .examples = "  millrace gc --dry-run\n  millrace gc --grace 0\n",
    .run = cmd_gc,
};
