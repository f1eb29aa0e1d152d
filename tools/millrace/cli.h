/* SPDX-License-Identifier: MIT */
#pragma once

/* cli — the command line as data: one table of commands and flags makes parsing, --help, the man
 * page and shell completion.
 *
 * A command is a row with a function; its flags are rows of their own. Flags may stand anywhere
 * before "--", as "--flag value", "--flag=value" or "-f value". What is wrong with a command line
 * is said in one sentence with the nearest name. Results go to stdout, all else to stderr.
 * Thread: main. */

#include "base/base.h"

/* The exit status of every command. */
enum cli_exit {
    CLI_DONE = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,   /* command line or configuration */
    CLI_ABSENT = 3,  /* no such block */
    CLI_DAMAGED = 4, /* data damaged or refused */
};

struct cli_flag {
    const char *name;  /* without dashes; NULL ends a list */
    char letter;       /* short form, or 0 */
    const char *value; /* what its value is called; NULL: it takes none */
    const char *help;
};

struct cli;
struct cli_command {
    const char *name;
    const char *args; /* for the usage line: "CID..." */
    const char *summary;
    const struct cli_flag *flags;
    uint32_t args_min, args_max;
    const char *more;     /* NULL, or a paragraph of what --help should also say */
    const char *examples; /* lines, each a whole command */
    int (*run)(struct cli *cli);
};
extern const struct cli_command *const cli_commands[]; /* NULL ends it */

#define CLI_VALUES_MAX 256 /* flags given in one command line */

struct cli_value {
    const struct cli_flag *flag;
    const char *text; /* NULL for a flag without value */
};
struct cli {
    const struct cli_command *command;
    struct cli_value values[CLI_VALUES_MAX];
    uint32_t values_count;
    uint32_t args_count;
    char **args; /* what is not a flag, in order */
};

/* Common flags, so that every command spells them alike. */
#define CLI_FLAG_TO                                                                    \
    {                                                                                  \
        "to", 0, "ADDR:PORT",                                                          \
            "the daemon's binary listener (default $MILLRACE_TO, else 127.0.0.1:7411)" \
    }
#define CLI_FLAG_ADMIN \
    { "admin", 0, "PATH", "its admin socket (default $MILLRACE_ADMIN, else ./run/admin.sock)" }
#define CLI_FLAG_JSON \
    { "json", 0, NULL, "print JSON" }
#define CLI_FLAG_END \
    { NULL, 0, NULL, NULL }
#define CLI_ARGS_ANY UINT32_MAX

/* cli_parse reads what follows the command's name. `args` is reordered in place.
 * Returns: CLI_DONE, or CLI_USAGE after saying why on stderr. */
must_check int cli_parse(struct cli *cli, const struct cli_command *command, char **args,
                         uint32_t args_count);

/* The last value of a flag, or `fallback` when it was not given. */
const char *cli_value(const struct cli *cli, const char *name, const char *fallback);
/* A variable of the environment, or `fallback` where it is missing or empty. */
const char *cli_environment(const char *variable, const char *fallback);
bool cli_has(const struct cli *cli, const char *name);

/* What stood on the command line, as it may stand in a sentence: printable, and not too long.
 * Returns: quoted->text. */
struct cli_quoted {
    char text[256];
};
const char *cli_quote(const char *text, struct cli_quoted *quoted);
/* Names of files are other people's words: what would move a terminal's cursor, or colour it,
 * becomes '?'. Lines and UTF-8 stay. Returns: text. */
char *cli_tame(char *text);
/* cli_fail says "millrace COMMAND: sentence", tamed, on stderr and returns `status`. */
int cli_fail(const struct cli *cli, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* As cli_fail for a command line that makes no sense: adds where to read more; CLI_USAGE. */
int cli_misuse(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Returns: the command, or NULL. */
const struct cli_command *cli_find(const char *name);
/* The closest of a NULL-terminated list of words, or NULL when none is close. */
const char *cli_nearest(const char *const words[], const char *word);
const char *cli_nearest_command(const char *name);

void cli_help_all(void);                                  /* to stdout */
void cli_help_command(const struct cli_command *command); /* to stdout */
