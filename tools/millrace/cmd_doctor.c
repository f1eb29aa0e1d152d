/* SPDX-License-Identifier: MIT */
#include "tools/millrace/commands.h"

#include "tools/millrace/admin.h"
#include "tools/millrace/doctor.h"
#include "tools/millrace/serve_flags.h"

#include <stdio.h>
#include <unistd.h>

static void print_json(const struct doctor *doctor) {
    json_t *all = json_array();
    for (uint32_t i = 0; i < doctor->count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];
        json_array_append_new(all,
                              json_pack("{s:s, s:s, s:s, s:s, s:s}", "what", finding->what, "level",
                                        doctor_level_name(finding->level), "found", finding->found,
                                        "costs", finding->costs, "mend", finding->mend));
    }
    json_t *document =
        json_pack("{s:s, s:o}", "worst", doctor_level_name(doctor->worst), "findings", all);
    admin_print(document);
    json_decref(document);
}

static void print_text(const struct doctor *doctor) {
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    bool terminal = isatty(STDOUT_FILENO) == 1;
    uint32_t counts[3] = {0};
    for (uint32_t i = 0; i < doctor->count; i++) {
        const struct doctor_finding *finding = &doctor->findings[i];
        counts[finding->level]++;
        printf("%s%-4s%s  %-15s  %s\n", terminal ? colours[finding->level] : "",
               doctor_level_name(finding->level), terminal ? "\033[0m" : "", finding->what,
               finding->found);
        if (finding->level != DOCTOR_OK) {
            printf("      %-15s  costs: %s\n      %-15s  mend:  %s\n", "", finding->costs, "",
                   finding->mend);
        }
    }
    printf("\n%u ok, %u to mend when convenient, %u that serve cannot run with\n",
           counts[DOCTOR_OK], counts[DOCTOR_WARN], counts[DOCTOR_BAD]);
}

static int cmd_doctor(struct cli *cli) {
    static struct doctor doctor;
    static struct conf conf;
    char why[CONF_WHY_MAX];
    if (serve_settings(cli, &conf, why, sizeof why) != CLI_DONE) {
        return cli_fail(cli, CLI_USAGE, "%s", why);
    }
    doctor_examine(&doctor, &conf.settings);
    if (cli_has(cli, "json")) {
        print_json(&doctor);
    } else {
        print_text(&doctor);
    }
    return doctor.worst == DOCTOR_BAD ? CLI_FAILED : CLI_DONE;
}

static const struct cli_flag flags[] = {SERVE_FLAGS, CLI_FLAG_JSON, CLI_FLAG_END};

const struct cli_command command_doctor = {
    .name = "doctor",
    .args = "",
    .summary = "say what of this host is wrong and how to mend it",
    .flags = flags,
    .more =
        "It takes the flags of serve, to look at the directory and the limits serve would use.\n"
        "Exit status 1 when something is missing that serve cannot run without.",
    .examples = "  millrace doctor\n  millrace doctor --store /srv/blocks --json\n",
    .run = cmd_doctor,
};
