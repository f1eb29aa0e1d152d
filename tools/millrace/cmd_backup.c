/* SPDX-License-Identifier: MIT */

/* cmd_backup — backup: a running daemon copies its store into a directory. */

#include "tools/millrace/commands.h"

#include "store/text.h"
#include "tools/millrace/human.h"
#include "tools/millrace/task.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 512

static void note_backup(const json_t *answer, char text[TASK_NOTE_MAX]) {
    char bytes[HUMAN_MAX];
    (void)snprintf(text, TASK_NOTE_MAX, "%.0f of %.0f segments, %s copied",
                   admin_number(answer, "seen"), admin_number(answer, "total"),
                   human_bytes((uint64_t)admin_number(answer, "bytes"), bytes));
}

/* By name: nobody is told of an identity that is not in it. */
static void print_files(const json_t *files) {
    size_t count = json_array_size(files);
    for (size_t i = 0; i < count; i++) {
        const char *name = json_string_value(json_array_get(files, i));
        printf("%s%s", i == 0 ? "" : i + 1 == count ? " and " : ", ", name ? name : "?");
    }
    printf("%s\n", count == 0 ? "no file beside them" : "");
}

static void print_result(const json_t *answer) {
    char bytes[HUMAN_MAX];
    double segments = admin_number(answer, "segments"), copied = admin_number(answer, "copied");
    const json_t *config = admin_at(answer, "configuration");
    double files = admin_number(answer, "configuration_copied");
    printf("backed up %.0f segment%s: %.0f copied, %.0f there already; %s written, with ", segments,
           segments == 1 ? "" : "s", copied, segments - copied,
           human_bytes((uint64_t)admin_number(answer, "bytes"), bytes));
    print_files(admin_at(answer, "files"));
    if (files < (double)json_array_size(config)) {
        fprintf(stderr,
                "millrace backup: of the %zu files of the configuration (%s) %.0f could "
                "be read and are in it\n",
                json_array_size(config), json_string_value(json_array_get(config, 0)), files);
    }
}

/* The daemon's working directory need not be ours. */
static int absolute(const struct cli *cli, const char *given, char path[PATH_BYTES]) {
    struct text text = {path, PATH_BYTES, 0};
    char here[PATH_BYTES] = "";
    if (given[0] != '/' && !getcwd(here, sizeof here)) {
        return cli_fail(cli, CLI_FAILED, "the working directory: %s", strerror(errno));
    }
    if (strlen(here) + 1 + strlen(given) >= PATH_BYTES) {
        return cli_misuse(cli, "%s: too long a path", given);
    }
    text_add(&text, here);
    text_add(&text, here[0] != '\0' ? "/" : "");
    text_add(&text, given);
    return CLI_DONE;
}

static int cmd_backup(struct cli *cli) {
    char path[PATH_BYTES];
    int status = absolute(cli, cli->args[0], path);
    if (status != CLI_DONE) {
        return status;
    }
    return task_run(cli, json_pack("{s:s, s:s}", "command", "backup", "path", path), path,
                    note_backup, print_result);
}

static const struct cli_flag flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_backup = {
    .name = "backup",
    .args = "DIR",
    .summary = "copy the store of a running daemon into a directory of its host",
    .flags = flags,
    .args_min = 1,
    .args_max = 1,
    .more =
        "Everything that was acknowledged before the command began is in it, the identity of the\n"
        "node, so keep it as you keep a key, and the configuration file with those it includes. A\n"
        "second backup into the same directory copies only segments that are new or were still\n"
        "written to. What breaks off leaves the last backup as it was.",
    .examples = "  millrace backup ./backup\n",
    .run = cmd_backup,
};
