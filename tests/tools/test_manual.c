/* SPDX-License-Identifier: MIT */
#include "tools/millrace/commands.h"

#include "engine/settings.h"

#include "base/option.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* tools/millrace/manual.c reads the table of commands; one command is enough for it. */
static const struct cli_flag flags[] = {CLI_FLAG_JSON, CLI_FLAG_END};
static const struct cli_command only = {
    .name = "only", .args = ".dot", .summary = "it's one", .flags = flags, .examples = ".x\n"};
const struct cli_command *const cli_commands[] = {&only, NULL};

static char *written(void (*manual)(FILE *)) {
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    manual(out);
    fclose(out);
    return text;
}

Test(manual, the_committed_reference_is_what_the_table_says) {
    char *now = written(manual_reference), committed[65536] = "";
    FILE *file = fopen(DOCS "/configuration.md", "re");
    cr_assert_not_null(file, "docs/configuration.md is missing");
    committed[fread(committed, 1, sizeof committed - 1, file)] = '\0';
    fclose(file);
    cr_assert_str_eq(now, committed,
                     "run: build/tools/millrace config reference > docs/configuration.md");
    free(now);
}

Test(manual, pages_name_every_setting_and_no_line_is_a_request_by_accident) {
    char *page = written(manual_conf_page), *commands = written(manual_page);
    for (size_t i = 0; i < settings_rows; i++) {
        cr_assert(strstr(page, settings_table[i].name) != NULL, "%s", settings_table[i].name);
    }
    cr_assert(strstr(commands, "\n\\&.x\n") != NULL, "a leading dot is escaped");
    cr_assert(strstr(commands, "\\-\\-json") != NULL);
    free(page);
    free(commands);
}

Test(manual, completion_is_sound_bash) {
    char *script = written(manual_completion);
    cr_assert(strstr(script, "only) words='--help --json'") != NULL, "%s", script);
    FILE *bash = popen("bash -n", "we");
    cr_assert_not_null(bash);
    fputs(script, bash);
    cr_assert_eq(pclose(bash), 0);
    free(script);
}
