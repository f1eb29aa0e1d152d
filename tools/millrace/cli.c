/* SPDX-License-Identifier: MIT */
#include "tools/millrace/cli.h"

#include "base/log.h"
#include "base/must.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_MAX 64

const struct cli_command *cli_find(const char *name) {
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0) {
            return cli_commands[i];
        }
    }
    return NULL;
}

const char *cli_nearest_command(const char *name) {
    const char *words[WORD_MAX] = {NULL};
    for (size_t i = 0; cli_commands[i] != NULL && i + 1 < array_count(words); i++) {
        words[i] = cli_commands[i]->name;
    }
    return cli_nearest(words, name);
}

const char *cli_quote(const char *text, struct cli_quoted *quoted) {
    (void)log_escape(quoted->text, sizeof quoted->text, text, strlen(text));
    return quoted->text;
}

char *cli_tame(char *text) {
    for (char *at = text; *at != '\0'; at++) {
        bool wild = ((unsigned char)*at < ' ' && *at != '\n') || *at == 127;
        *at = wild ? '?' : *at;
    }
    return text;
}

int cli_fail(const struct cli *cli, int status, const char *format, ...) {
    char sentence[8192];
    va_list args;
    fflush(stdout);
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    fprintf(stderr, "millrace %s: %s\n", cli->command->name, cli_tame(sentence));
    return status;
}

int cli_misuse(const struct cli *cli, const char *format, ...) {
    va_list args;
    fflush(stdout);
    fprintf(stderr, "millrace %s: ", cli->command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nSee 'millrace %s --help'.\n", cli->command->name);
    return CLI_USAGE;
}

static int unknown_flag(const struct cli *cli, const char *name, size_t bytes) {
    const char *words[WORD_MAX] = {NULL};
    char word[WORD_MAX + 1];
    size_t count = 0;
    snprintf(word, sizeof word, "%.*s", (int)(bytes < WORD_MAX ? bytes : WORD_MAX), name);
    for (const struct cli_flag *flag = cli->command->flags; flag->name != NULL; flag++) {
        must(count + 1 < array_count(words));
        words[count++] = flag->name;
    }
    const char *near = cli_nearest(words, word);
    if (near != NULL) {
        return cli_misuse(cli, "unknown flag --%s (did you mean --%s?)", word, near);
    }
    return cli_misuse(cli, "unknown flag --%s", word);
}

/* One flag at args[*at]; moves *at past its value. */
static int parse_flag(struct cli *cli, char **args, uint32_t args_count, uint32_t *at) {
    const char *text = args[*at];
    bool spelled = text[1] == '-';
    const char *name = spelled ? text + 2 : text + 1;
    const char *value = spelled ? strchr(name, '=') : (name[1] != '\0' ? name + 1 : NULL);
    size_t bytes = !spelled ? 1 : value != NULL ? (size_t)(value - name) : strlen(name);
    const struct cli_flag *flag = cli->command->flags;
    for (; flag->name != NULL; flag++) {
        if (spelled ? strlen(flag->name) == bytes && strncmp(flag->name, name, bytes) == 0
                    : flag->letter == *name) {
            break;
        }
    }
    if (flag->name == NULL) {
        return spelled ? unknown_flag(cli, name, bytes)
                       : cli_misuse(cli, "unknown flag -%c", *name);
    }
    if (flag->value == NULL && value != NULL) {
        return cli_misuse(cli, "--%s takes no value", flag->name);
    }
    if (flag->value != NULL && value == NULL) {
        if (*at + 1 == args_count) {
            return cli_misuse(cli, "--%s needs a value: --%s %s", flag->name, flag->name,
                              flag->value);
        }
        value = args[++*at];
    } else if (spelled && value != NULL) {
        value++;
    }
    if (cli->values_count == CLI_VALUES_MAX) {
        return cli_misuse(cli, "more than %d flags", CLI_VALUES_MAX);
    }
    cli->values[cli->values_count++] = (struct cli_value){flag, value};
    return CLI_DONE;
}

int cli_parse(struct cli *cli, const struct cli_command *command, char **args,
              uint32_t args_count) {
    bool only_args = false;
    cli->command = command;
    cli->values_count = 0;
    cli->args = args;
    cli->args_count = 0;
    for (uint32_t i = 0; i < args_count; i++) {
        if (only_args || args[i][0] != '-' || args[i][1] == '\0') {
            args[cli->args_count++] = args[i];
        } else if (strcmp(args[i], "--") == 0) {
            only_args = true;
        } else {
            int r = parse_flag(cli, args, args_count, &i);
            if (r != CLI_DONE) {
                return r;
            }
        }
    }
    if (cli->args_count < command->args_min) {
        return cli_misuse(cli, "%s is missing", command->args);
    }
    if (cli->args_count > command->args_max) {
        return cli_misuse(cli, "'%s' is one argument too many", cli->args[command->args_max]);
    }
    return CLI_DONE;
}

const char *cli_value(const struct cli *cli, const char *name, const char *fallback) {
    for (uint32_t i = cli->values_count; i-- > 0;) {
        if (strcmp(cli->values[i].flag->name, name) == 0) {
            return cli->values[i].text;
        }
    }
    return fallback;
}

const char *cli_environment(const char *variable, const char *fallback) {
    const char *text = getenv(variable);
    return text != NULL && text[0] != '\0' ? text : fallback;
}

bool cli_has(const struct cli *cli, const char *name) {
    for (uint32_t i = 0; i < cli->values_count; i++) {
        if (strcmp(cli->values[i].flag->name, name) == 0) {
            return true;
        }
    }
    return false;
}

void cli_help_all(void) {
    printf(
        "Millrace serves content-addressed blocks.\n\nusage: millrace COMMAND [flags] [args]\n\n");
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        printf("  %-8s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    printf("\n'millrace COMMAND --help' explains each with examples. To begin:\n"
           "  millrace serve --store ./run &\n"
           "  echo hello | millrace put -\n");
}

void cli_help_command(const struct cli_command *command) {
    printf("millrace %s: %s\n\nusage: millrace %s%s%s%s\n", command->name, command->summary,
           command->name, command->flags->name != NULL ? " [flags]" : "",
           command->args[0] != '\0' ? " " : "", command->args);
    if (command->more != NULL) {
        printf("\n%s\n", command->more);
    }
    if (command->flags->name != NULL) {
        printf("\nflags:\n");
    }
    for (const struct cli_flag *flag = command->flags; flag->name != NULL; flag++) {
        char left[64];
        char letter[5] = {'-', flag->letter, ',', ' ', '\0'};
        snprintf(left, sizeof left, "%s--%s%s%s", flag->letter != 0 ? letter : "", flag->name,
                 flag->value != NULL ? " " : "", flag->value != NULL ? flag->value : "");
        printf("  %-24s %s\n", left, flag->help);
    }
    if (command->examples[0] != '\0') {
        printf("\nexamples:\n%s", command->examples);
    }
}
