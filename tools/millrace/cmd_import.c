/* SPDX-License-Identifier: MIT */

/* cmd_import — files into the daemon, with a progress bar and a summary. */

#include "tools/millrace/commands.h"

#include "proto/tlv/tlv.h"
#include "tools/millrace/admin.h"
#include "tools/millrace/human.h"
#include "tools/millrace/import.h"
#include "tools/millrace/import_dir.h"
#include "tools/millrace/import_roots.h"
#include "tools/millrace/private.h"
#include "tools/millrace/remote.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t bytes_of(const struct cli *cli) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < cli->args_count; i++) {
        struct stat stat_out;
        if (strcmp(cli->args[i], "-") == 0 || stat(cli->args[i], &stat_out) != 0 ||
            !S_ISREG(stat_out.st_mode)) {
            return 0; /* not known: no percentage is better than a wrong one */
        }
        bytes += (uint64_t)stat_out.st_size;
    }
    return bytes;
}

static bool is_folder(const char *name) {
    struct stat stat_out;
    return strcmp(name, "-") != 0 && stat(name, &stat_out) == 0 && S_ISDIR(stat_out.st_mode);
}

/* Says why a file ended early. Returns: the exit status so far. */
static int told(const struct cli *cli, struct import *import, uint32_t index, enum import_end end,
                const char *why, int status) {
    const char *name = cli->args[index];
    bool more = index + 1 < cli->args_count; /* files after this one */
    progress_clear(&import->progress);
    switch (end) {
    case IMPORT_WENT_ON:
        return status;
    case IMPORT_STOPPED:
        return cli_fail(cli, CLI_DAMAGED, "stopped there%s",
                        import->lost && !more ? "" : "; --on-error continue goes on");
    case IMPORT_UNREAD:
        return cli_fail(cli, CLI_FAILED, "%s: %s%s", name,
                        why != NULL ? why : strerror(-import->error),
                        more && import->stop_on_error
                            ? "; the files after it were not tried (--on-error continue does)"
                            : "");
    case IMPORT_REFUSING:
        return cli_fail(cli, CLI_FAILED, "%s: the daemon takes no more: %s", name,
                        tlv_code_text((enum tlv_code)import->error));
    case IMPORT_LOST:
        return cli_fail(cli, CLI_FAILED, "%s: import broke off: %s", name,
                        mr_result_text(import->error));
    default:
        return status;
    }
}

static void summary_json(const struct import *import, double seconds) {
    const struct import_totals *totals = &import->totals;
    json_t *document =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:O}", "blocks", (json_int_t)totals->blocks,
                  "bytes", (json_int_t)totals->bytes, "inline", (json_int_t)totals->inlined,
                  "known", (json_int_t)totals->known, "bad", (json_int_t)totals->bad, "seconds",
                  seconds, "bytes_per_second", seconds > 0 ? (double)totals->bytes / seconds : 0.0,
                  "files", import->files);
    if (import->pins != NULL) {
        json_object_set(document, "roots", import->pins);
    }
    admin_print(document);
    json_decref(document);
}

static void summary_text(const struct import *import, double seconds) {
    char blocks[HUMAN_MAX], bytes[HUMAN_MAX], time[HUMAN_MAX], rate[HUMAN_MAX];
    const struct import_totals *totals = &import->totals;
    printf("imported %s block%s, %s in %s (%s/s)", human_count(totals->blocks, blocks),
           totals->blocks == 1 ? "" : "s", human_bytes(totals->bytes, bytes),
           human_time(seconds, time),
           human_bytes(seconds > 0 ? (uint64_t)((double)totals->bytes / seconds) : 0, rate));
    if (totals->inlined > 0) {
        printf(", %llu inline", (unsigned long long)totals->inlined);
    }
    if (totals->known > 0) {
        printf(", %s already here", human_count(totals->known, blocks));
    }
    printf(", %llu bad section%s", (unsigned long long)totals->bad, totals->bad == 1 ? "" : "s");
    uint64_t pinned = import_roots_pinned(import);
    if (pinned > 0) {
        printf(", %s root%s pinned", human_count(pinned, blocks), pinned == 1 ? "" : "s");
    }
    printf("\n");
}

static int import_all(const struct cli *cli, struct import *import, struct mr_client *client) {
    int status = CLI_DONE;
    if (import_begin(import, client) != 0) {
        return cli_fail(cli, CLI_FAILED, "out of memory");
    }
    progress_begin(&import->progress, "import", bytes_of(cli), true);
    for (uint32_t i = 0; i < cli->args_count; i++) {
        bool wish = import->stop_on_error;
        const char *why = NULL;
        bool folder = is_folder(cli->args[i]);
        /* One damaged block must not keep a whole repository out, unless that was asked for. */
        import->stop_on_error = folder ? cli_value(cli, "on-error", "continue")[0] == 's' : wish;
        enum import_end end =
            folder ? import_dir(import, cli->args[i], &why) : import_file(import, cli->args[i]);
        status = told(cli, import, i, end, why, status);
        import->stop_on_error = wish;
        bool fatal = end == IMPORT_LOST || end == IMPORT_REFUSING || end == IMPORT_STOPPED;
        if (fatal || (end == IMPORT_UNREAD && import->stop_on_error)) {
            break;
        }
    }
    double seconds = progress_seconds(&import->progress);
    int pinned = mr_connected(client) ? import_roots_pin(cli, import) : CLI_DONE;
    status = status == CLI_DONE ? pinned : status;
    if (import->files != NULL) {
        summary_json(import, seconds);
    } else {
        summary_text(import, seconds);
    }
    import_end(import);
    return import->totals.bad > 0 ? CLI_DAMAGED : status;
}

static bool pin_roots(const struct cli *cli) {
    return strcmp(cli_value(cli, "pin-roots", "true"), "false") != 0;
}

/* With both connections. Directories need the second. */
static int import_over(const struct cli *cli, struct import *import, const char *to) {
    int status = CLI_DONE;
    struct mr_client *client = remote_open_at(cli, to, &status);
    import->asker = client != NULL ? remote_open_at(cli, to, &status) : NULL;
    if (import->asker != NULL) {
        struct mr_server server;
        mr_server(client, &server);
        import->block_max = server.block_max;
        import->to = to;
        import->files = import->quiet ? json_array() : NULL;
        import->pins = pin_roots(cli) ? json_object() : NULL;
        status = import_all(cli, import, client);
        json_decref(import->files);
        json_decref(import->pins);
    }
    mr_free(import->asker);
    mr_free(client);
    return status;
}

static int cmd_import(struct cli *cli) {
    static struct import import;
    struct private private = {.pid = 0};
    const char *on_error = cli_value(cli, "on-error", "stop");
    const char *store = cli_value(cli, "store", NULL);
    if (strcmp(on_error, "stop") != 0 && strcmp(on_error, "continue") != 0) {
        return cli_misuse(cli, "--on-error %s: it takes stop or continue", on_error);
    }
    const char *pinned = cli_value(cli, "pin-roots", "true");
    if (strcmp(pinned, "true") != 0 && strcmp(pinned, "false") != 0) {
        return cli_misuse(cli, "--pin-roots %s: it takes true or false", pinned);
    }
    if (store != NULL && cli_has(cli, "to")) {
        return cli_misuse(cli, "--store is for a store that no daemon runs on, --to for one that "
                               "does: one of them");
    }
    import.stop_on_error = on_error[0] == 's';
    import.padded = cli_has(cli, "padded");
    import.quiet = cli_has(cli, "json");
    import.verbose = cli_has(cli, "verbose") && !import.quiet;
    int status = store != NULL ? private_start(&private, cli, store) : CLI_DONE;
    if (status == CLI_DONE) {
        status = import_over(cli, &import, store != NULL ? private.to : remote_to(cli));
    }
    int ended = private_end(&private, cli);
    return status == CLI_DONE ? ended : status;
}

static const struct cli_flag flags[] = {
    CLI_FLAG_TO,
    {"store", 0, "DIR", "into a store that no daemon runs on; made where there is none"},
    {"on-error", 0, "stop|continue",
     "at a bad block or file: stop, or go on (default of a directory)"},
    {"pin-roots", 0, "true|false", "pin the archives' roots, so that gc keeps them (default true)"},
    {"padded", 0, NULL, "zeros behind the last section end an archive"},
    {"verbose", 'v', NULL, "print the CID of every block that was stored"},
    {"json", 0, NULL, "print the summary as JSON"},
    CLI_FLAG_END,
};

const struct cli_command command_import = {
    .name = "import",
    .args = "FILE.car|FILE|DIR|-...",
    .summary = "store the blocks of CAR archives, plain files, or a Kubo repository",
    .flags = flags,
    .args_min = 1,
    .args_max = CLI_ARGS_ANY,
    .more =
        "CARv1 and CARv2 are known by their first bytes; other files are cut into raw leaves of\n"
        "256 KiB. import makes no root over the leaves, so that a file of several has no CID of "
        "its\n"
        "own: 'millrace add' makes one.\n"
        "Every block is checked against its CID. Bad sections are named by offset and CID, sound\n"
        "ones are kept, and the exit status is 4. Where the first ends the import, some blocks\n"
        "behind it may be stored: those that were under way.\n"
        "A directory is a Kubo repository that keeps its blocks in flatfs, or a folder of .car\n"
        "files. Of it, what the daemon has already is skipped, so that the same command goes on\n"
        "where it was cut off; damaged files are named and left out. Its pins are not taken over:\n"
        "'ipfs pin ls' lists them.\n"
        "The roots of archives are pinned when everything is stored, each with all under it\n"
        "('millrace unpin CID' takes that back). Where a block under one is missing, as in a part\n"
        "of an archive, a line says which; that is no failure.",
    .examples = "  millrace import blocks.car\n  millrace import --on-error continue *.car --json\n"
                "  curl -s URL | millrace import -\n  millrace import ~/.ipfs\n"
                "  millrace import --store ./run ~/.ipfs\n",
    .run = cmd_import,
};
