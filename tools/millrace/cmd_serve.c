/* SPDX-License-Identifier: MIT */
#include "tools/millrace/commands.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"
#include "tools/millrace/doctor.h"
#include "tools/millrace/serve_flags.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* SIGHUP: the same file and the same flags again. Thread: control. */
static int reload(void *context, struct settings *ret_settings, char *why, size_t why_bytes) {
    struct conf conf;
    int r = serve_settings(context, &conf, why, why_bytes);
    if (r == CLI_DONE) {
        *ret_settings = conf.settings;
    }
    return r;
}

/* An included file has the name that was written, its place is beside the main one. */
static bool place_of(const char *main_file, const char *name, char place[ENGINE_FILE_MAX]) {
    const char *slash = strrchr(main_file, '/');
    bool whole = name[0] == '/' || strcmp(name, main_file) == 0 || slash == NULL;
    int bytes = snprintf(place, ENGINE_FILE_MAX, "%.*s%s", whole ? 0 : (int)(slash - main_file + 1),
                         main_file, name);
    return bytes < (int)ENGINE_FILE_MAX;
}

/* What a backup is to hold: the file of --config and those it includes, as far as they set
 * anything now. Thread: control. */
static uint32_t config_files(void *context, char files[][ENGINE_FILE_MAX]) {
    struct conf conf;
    char why[CONF_WHY_MAX];
    uint32_t count = 0;
    const char *main_file = cli_value(context, "config", NULL);
    if (main_file == NULL || strlen(main_file) >= ENGINE_FILE_MAX) {
        return 0;
    }
    memcpy(files[count++], main_file, strlen(main_file) + 1);
    if (serve_settings(context, &conf, why, sizeof why) != CLI_DONE) {
        struct log_site site = {0};
        log_write(&site, LOG_LEVEL_WARN, __FILE__, __LINE__,
                  "the configuration cannot be read again: a backup may lack what it includes",
                  (const struct log_field[]){log_str("why", why), {.kind = LOG_FIELD_END}});
    }
    for (size_t i = 0; i < array_count(conf.origins) && count < ENGINE_FILES_MAX; i++) {
        const struct conf_origin *origin = &conf.origins[i];
        if (origin->kind == CONF_FILE && place_of(main_file, origin->file, files[count])) {
            bool known = false;
            for (uint32_t j = 0; j < count; j++) {
                known = known || strcmp(files[j], files[count]) == 0;
            }
            count += !known;
        }
    }
    return count;
}

/* The soft limit on open files is a default for programs that use select(2); we do not. */
static void raise_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* the old limit serves too, only fewer */
    }
}

/* Says what of the host is wrong, once. Returns false when serve cannot run on it: then that alone
 * is said. */
static bool host_examined(const struct cli *cli, const struct settings *settings) {
    static struct doctor doctor;
    doctor_examine(&doctor, settings);
    for (uint32_t i = 0; i < doctor.count; i++) {
        const struct doctor_finding *finding = &doctor.findings[i];
        struct log_site site = {0};
        if (finding->level == DOCTOR_WARN && doctor.worst != DOCTOR_BAD) {
            char sentence[256];
            snprintf(sentence, sizeof sentence, "%s: %s", finding->what, finding->found);
            log_write(&site, LOG_LEVEL_WARN, __FILE__, __LINE__, sentence,
                      (const struct log_field[]){log_str("costs", finding->costs),
                                                 log_str("mend", finding->mend),
                                                 {.kind = LOG_FIELD_END}});
        } else if (finding->level == DOCTOR_BAD) {
            (void)cli_fail(cli, CLI_FAILED, "%s: %s\n  costs: %s\n  mend:  %s", finding->what,
                           finding->found, finding->costs, finding->mend);
        }
    }
    return doctor.worst != DOCTOR_BAD;
}

static int cmd_serve(struct cli *cli) {
    static struct conf conf;
    struct engine_hooks hooks = {.reload = reload, .files = config_files, .context = cli};
    struct engine *engine = NULL;
    char why[CONF_WHY_MAX] = "", placed[CONF_WHY_MAX + sizeof conf.origins[0].file + 64];
    if (serve_settings(cli, &conf, why, sizeof why) != CLI_DONE) {
        return cli_fail(cli, CLI_USAGE, "%s", why);
    }
    log_setup((enum log_level)conf.settings.log_level, (enum log_form)conf.settings.log_form);
    raise_files();
    if (!host_examined(cli, &conf.settings)) {
        return CLI_FAILED;
    }
    switch (engine_open(&conf.settings, &hooks, why, sizeof why, &engine)) {
    case 0:
        break;
    case ENGINE_CONFIG:
        serve_place(&conf, why, placed, sizeof placed);
        return cli_fail(cli, CLI_USAGE, "%s", placed);
    case ENGINE_DATA:
        return cli_fail(cli, CLI_DAMAGED, "%s", why);
    default:
        return cli_fail(cli, CLI_FAILED, "%s", why);
    }
    int r = engine_run(engine);
    engine_close(engine);
    return r == 0 ? CLI_DONE : CLI_FAILED;
}

static const struct cli_flag flags[] = {SERVE_FLAGS, CLI_FLAG_END};

const struct cli_command command_serve = {
    .name = "serve",
    .args = "",
    .summary = "run the daemon until SIGTERM (drains) or a second one (stops hard)",
    .flags = flags,
    .more = "Settings come from defaults, then the file, then flags. SIGHUP reads the file again.\n"
            "The store directory also holds identity.key, millrace.pid and admin.sock.",
    .examples = "  millrace serve --store ./run\n"
                "  millrace serve --config /etc/millrace.conf --set log.level=debug\n"
                "  millrace serve --store /srv/blocks --tlv 127.0.0.1:7411 --bitswap "
                "0.0.0.0:4001,ceiling=normal\n",
    .run = cmd_serve,
};
