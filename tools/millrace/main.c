/* SPDX-License-Identifier: MIT */

/* millrace — the daemon and every command that talks to it, in one program. */

#include "tools/millrace/commands.h"

#include "base/hash.h"
#include "build_info.h"
#include "engine/crypto_heap.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

const struct cli_command *const cli_commands[] = {
    &command_serve,   &command_put,
    &command_get,     &command_has,
    &command_rm,      &command_add,
    &command_cat,     &command_ls,
    &command_import,  &command_export,
    &command_pin,     &command_unpin,
    &command_pins,    &command_gc,
    &command_backup,  &command_restore,
    &command_verify,  &command_scrub,
    &command_stat,    &command_top,
    &command_topo,    &command_why,
    &command_id,      &command_peers,
    &command_connect, &command_ping,
    &command_fetch,   &command_config,
    &command_doctor,  &command_segdump,
    &command_decode,  &command_help,
    &command_version, NULL,
};

static int cmd_version(struct cli *cli) {
    (void)cli;
    printf("millrace %s (%s)\n", MILLRACE_VERSION, MILLRACE_BUILD);
    return CLI_DONE;
}

static int cmd_help(struct cli *cli) {
    if (cli_has(cli, "man")) {
        manual_page(stdout);
    } else if (cli_has(cli, "bash")) {
        manual_completion(stdout);
    } else if (cli->args_count == 0) {
        cli_help_all();
    } else {
        const struct cli_command *command = cli_find(cli->args[0]);
        if (command == NULL) {
            return cli_misuse(cli, "there is no command '%s'", cli->args[0]);
        }
        cli_help_command(command);
    }
    return CLI_DONE;
}

static const struct cli_flag no_flags[] = {CLI_FLAG_END};
static const struct cli_flag help_flags[] = {
    {"man", 0, NULL, "print the man page millrace(1)"},
    {"bash", 0, NULL, "print completion for bash"},
    CLI_FLAG_END,
};

const struct cli_command command_version = {
    .name = "version",
    .args = "",
    .summary = "print the version and how it was built",
    .flags = no_flags,
    .examples = "",
    .run = cmd_version,
};
const struct cli_command command_help = {
    .name = "help",
    .args = "[COMMAND]",
    .summary = "explain a command, or list them all",
    .flags = help_flags,
    .args_max = 1,
    .examples = "  millrace help import\n  source <(millrace help --bash)\n",
    .run = cmd_help,
};

static int no_such_command(const char *name) {
    const char *near = cli_nearest_command(name);
    if (near != NULL) {
        fprintf(stderr, "millrace: there is no command '%s' (did you mean '%s'?)\n", name, near);
    } else {
        fprintf(stderr, "millrace: there is no command '%s'; 'millrace help' lists them\n", name);
    }
    return CLI_USAGE;
}

static bool wants_help(char **args, int count) {
    for (int i = 0; i < count && strcmp(args[i], "--") != 0; i++) {
        if (strcmp(args[i], "--help") == 0 || strcmp(args[i], "-h") == 0) {
            return true;
        }
    }
    return false;
}

static int dispatch(int argc, char **argv) {
    static struct cli cli;
    if (argc < 2) {
        cli_help_all();
        return CLI_USAGE;
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        name = "help";
    } else if (strcmp(name, "--version") == 0) {
        name = "version";
    }
    const struct cli_command *command = cli_find(name);
    if (command == NULL) {
        return no_such_command(name);
    }
    if (wants_help(argv + 2, argc - 2)) {
        cli_help_command(command);
        return CLI_DONE;
    }
    int r = cli_parse(&cli, command, argv + 2, (uint32_t)argc - 2);
    return r == CLI_DONE ? command->run(&cli) : r;
}

int main(int argc, char **argv) {
    int r = crypto_heap_open(); /* the daemon's, before the first use of libcrypto */
    if (r == 0) {
        r = hash_open();
    }
    if (r != 0) {
        fprintf(stderr, "millrace: the cryptographic library is not there: %s\n", strerror(-r));
        return CLI_FAILED;
    }
    r = dispatch(argc, argv);
    /* A full disk or a closed pipe shows up only here; a result nobody got is a failure. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "millrace: standard output cannot be written: %s\n", strerror(errno));
        return r != CLI_DONE ? r : CLI_FAILED;
    }
    return r;
}
