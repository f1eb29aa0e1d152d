/* SPDX-License-Identifier: MIT */
#include "tools/millrace/cli.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <string.h>

static int run_nothing(struct cli *cli) {
    (void)cli;
    return CLI_DONE;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_TO,
    {"output", 'o', "FILE", "where to"},
    {"long", 'l', NULL, "more of it"},
    CLI_FLAG_END,
};
static const struct cli_command fetch = {
    .name = "fetch",
    .args = "CID",
    .summary = "fetch it",
    .flags = flags,
    .args_min = 1,
    .args_max = 2,
    .examples = "",
    .run = run_nothing,
};
static const struct cli_command store = {
    .name = "store",
    .args = "",
    .summary = "store it",
    .flags = flags,
    .examples = "",
    .run = run_nothing,
};
const struct cli_command *const cli_commands[] = {&fetch, &store, NULL};

static struct cli cli;

static int parse(const char *first, const char *second, const char *third, const char *fourth) {
    static char words[4][64];
    static char *args[4];
    const char *given[] = {first, second, third, fourth};
    uint32_t count = 0;
    for (; count < 4 && given[count] != NULL; count++) {
        snprintf(words[count], sizeof words[count], "%s", given[count]);
        args[count] = words[count];
    }
    return cli_parse(&cli, &fetch, args, count);
}

Test(cli, flags_stand_anywhere_and_the_last_one_counts) {
    cr_assert_eq(parse("--to", "a:1", "cid", "--to=b:2"), CLI_DONE);
    cr_assert_eq(cli.args_count, 1);
    cr_assert_str_eq(cli.args[0], "cid");
    cr_assert_str_eq(cli_value(&cli, "to", "none"), "b:2");
    cr_assert_str_eq(cli_value(&cli, "output", "none"), "none");
    cr_assert_not(cli_has(&cli, "long"));
}

Test(cli, short_forms_take_their_value_apart_or_attached) {
    cr_assert_eq(parse("-l", "-o", "x", "cid"), CLI_DONE);
    cr_assert(cli_has(&cli, "long"));
    cr_assert_str_eq(cli_value(&cli, "output", ""), "x");
    cr_assert_eq(parse("-oy", "cid", NULL, NULL), CLI_DONE);
    cr_assert_str_eq(cli_value(&cli, "output", ""), "y");
}

Test(cli, a_dash_and_what_follows_two_are_arguments) {
    cr_assert_eq(parse("-", "--", "--to", NULL), CLI_DONE);
    cr_assert_eq(cli.args_count, 2);
    cr_assert_str_eq(cli.args[0], "-");
    cr_assert_str_eq(cli.args[1], "--to");
}

Test(cli, nonsense_is_misuse_with_a_hint, .init = cr_redirect_stderr) {
    cr_assert_eq(parse("--otput", "x", "cid", NULL), CLI_USAGE);
    cr_assert_eq(parse("--long=yes", "cid", NULL, NULL), CLI_USAGE);
    cr_assert_eq(parse("cid", "--output", NULL, NULL), CLI_USAGE);
    cr_assert_eq(parse("-x", "cid", NULL, NULL), CLI_USAGE);
    cr_assert_eq(parse(NULL, NULL, NULL, NULL), CLI_USAGE);
    cr_assert_eq(parse("a", "b", "c", NULL), CLI_USAGE);
    fflush(stderr);
    cr_assert_stderr_eq_str(
        "millrace fetch: unknown flag --otput (did you mean --output?)\n"
        "See 'millrace fetch --help'.\n"
        "millrace fetch: --long takes no value\nSee 'millrace fetch --help'.\n"
        "millrace fetch: --output needs a value: --output FILE\nSee 'millrace fetch --help'.\n"
        "millrace fetch: unknown flag -x\nSee 'millrace fetch --help'.\n"
        "millrace fetch: CID is missing\nSee 'millrace fetch --help'.\n"
        "millrace fetch: 'c' is one argument too many\nSee 'millrace fetch --help'.\n");
}

/* tools/millrace/near.c */
Test(cli, the_nearest_word_is_close_or_none) {
    const char *words[] = {"serve", "import", "export", NULL};
    cr_assert_str_eq(cli_nearest(words, "sevre"), "serve");
    cr_assert_str_eq(cli_nearest(words, "imp"), "import");
    cr_assert_str_eq(cli_nearest(words, "exprot"), "export");
    cr_assert_null(cli_nearest(words, "frobnicate"));
    cr_assert_null(cli_nearest(words, ""));
    cr_assert_str_eq(cli_nearest_command("fetsch"), "fetch");
    cr_assert_eq(cli_find("store"), &store);
    cr_assert_null(cli_find("stor"));
}
