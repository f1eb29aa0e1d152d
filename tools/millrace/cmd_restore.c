/* SPDX-License-Identifier: MIT */

/* cmd_restore — restore: a new store from a backup, offline. */

#include "tools/millrace/commands.h"

#include "store/restore.h"
#include "store/store.h"
#include "tools/millrace/admin.h"
#include "tools/millrace/human.h"
#include "tools/millrace/progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

struct shown {
    struct progress progress;
    bool quiet;
};

static void on_progress(void *context, const struct restore *restore) {
    struct shown *shown = context;
    if (!shown->quiet) {
        shown->progress.total = restore->bytes_all;
        progress_show(&shown->progress, restore->bytes, restore->segments);
    }
}

/* What was made can be opened. Returns: 0 with *ret_report, or what store_open says. */
static int look(const char *dir, const struct disk *disk, struct store_report *ret_report) {
    struct store *store = NULL;
    struct store_config config = {.dir = dir,
                                  .keepers = 1,
                                  .readers = 1,
                                  .memory_bytes = 16 * MiB,
                                  .read_only = true,
                                  .disk = *disk};
    int r = store_open(&config, ret_report, &store);
    return r == 0 ? store_close(store) : r;
}

/* What stands in a line to be copied into a shell must be a word to it: the names in a backup are
 * whatever its maker chose. */
static bool is_word(const char *text) {
    const char *plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+@%:=,-";
    return strspn(text, plain) == strlen(text);
}

static void print_result(const struct cli *cli, const struct restore *restore,
                         const struct store_report *report) {
    char bytes[HUMAN_MAX], blocks[HUMAN_MAX], when[32] = "";
    time_t seconds = (time_t)(restore->created_us / 1000000);
    struct tm local;
    if (localtime_r(&seconds, &local)) {
        (void)strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S", &local);
    }
    if (cli_has(cli, "json")) {
        json_t *document = json_pack(
            "{s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:s}", "segments", (json_int_t)restore->segments,
            "files", (json_int_t)restore->files, "bytes", (json_int_t)restore->bytes, "blocks",
            (json_int_t)report->blocks, "backup", (json_int_t)restore->number, "taken", when,
            "store", restore->to, "configuration", restore->config);
        admin_print(document);
        json_decref(document);
        return;
    }
    printf("restored backup %llu of %s into %s: %s blocks in %llu segments, %s\n",
           (unsigned long long)restore->number, when, restore->to,
           human_count(report->blocks, blocks), (unsigned long long)restore->segments,
           human_bytes(restore->bytes, bytes));
    if (is_word(restore->to) && is_word(restore->config)) {
        printf("start it: millrace serve --store %s%s%s\n", restore->to,
               restore->config[0] != '\0' ? " --config " : "", restore->config);
    } else {
        struct cli_quoted to, config;
        printf("start it with 'millrace serve'; its --store is \"%s\"%s%s%s\n",
               cli_quote(restore->to, &to), restore->config[0] != '\0' ? ", its --config \"" : "",
               cli_quote(restore->config, &config), restore->config[0] != '\0' ? "\"" : "");
    }
    if (restore->config[0] != '\0') {
        printf("that configuration is the one of the node that was backed up: see that its tiers "
               "and addresses are right for this one\n");
    }
}

static int cmd_restore(struct cli *cli) {
    struct shown shown = {.quiet = cli_has(cli, "quiet") || cli_has(cli, "json")};
    const char *to = cli_value(cli, "store", NULL);
    struct disk_sync *sync = NULL;
    struct disk disk;
    if (!to) {
        return cli_misuse(cli, "--store DIR: where the store is to be made");
    }
    int r = disk_sync_open(&sync, &disk);
    if (r != 0) {
        return cli_fail(cli, CLI_FAILED, "%s: %s", to, strerror(-r));
    }
    struct restore restore = {
        .disk = &disk, .from = cli->args[0], .to = to, .progress = on_progress, .context = &shown};
    struct store_report report = {0};
    progress_begin(&shown.progress, "restore", 0, true);
    shown.progress.unit = "segment";
    r = store_restore(&restore);
    const char *why = restore.why;
    if (r == 0) {
        r = look(to, &disk, &report);
        why = report.why;
    }
    progress_clear(&shown.progress);
    disk_sync_close(sync);
    if (r != 0) {
        return cli_fail(cli,
                        r == STORE_CORRUPT  ? CLI_DAMAGED
                        : r == STORE_FORMAT ? CLI_USAGE
                                            : CLI_FAILED,
                        "%s", why);
    }
    if (!cli_has(cli, "quiet")) {
        print_result(cli, &restore, &report);
    }
    return CLI_DONE;
}

static const struct cli_flag flags[] = {
    {"store", 0, "DIR", "where the store is made: a new or empty directory"},
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_restore = {
    .name = "restore",
    .args = "DIR --store NEW",
    .summary = "make a new store of a backup",
    .flags = flags,
    .args_min = 1,
    .args_max = 1,
    .more =
        "Every file is checked against the backup's list; exit status 4 names one that is damaged\n"
        "or missing. All segments go below NEW, whatever paths they lay on, and so does the\n"
        "configuration file, which is not put in force: the command to start with is printed. The\n"
        "node keeps its identity, so the old one and the restored one must not run at the same\n"
        "time.",
    .examples = "  millrace restore ./backup --store ./run\n",
    .run = cmd_restore,
};
