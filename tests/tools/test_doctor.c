/* SPDX-License-Identifier: MIT */
#include "tools/millrace/doctor.h"

#include "base/option.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Covers tools/millrace/doctor.c, tools/millrace/doctor_disk.c and tools/millrace/doctor_uring.c.
 */

static struct settings defaults(const char *dir) {
    struct settings settings;
    memset(&settings, 0, sizeof settings);
    option_defaults(settings_table, settings_rows, &settings);
    snprintf(settings.store_dir, sizeof settings.store_dir, "%s", dir);
    return settings;
}

static const struct doctor_finding *found(const struct doctor *doctor, const char *what) {
    for (uint32_t i = 0; i < doctor->count; i++) {
        if (strcmp(doctor->findings[i].what, what) == 0) {
            return &doctor->findings[i];
        }
    }
    return NULL;
}

Test(doctor, what_is_not_ok_says_what_it_costs_and_how_to_mend_it) {
    struct doctor doctor;
    struct settings settings = defaults(".");
    settings.net_connections_max = 4000000; /* more than any limit on files */
    settings.store_memory_bytes = UINT64_C(1) << 50;
    doctor_examine(&doctor, &settings);
    cr_assert_geq(doctor.count, 8);
    for (uint32_t i = 0; i < doctor.count; i++) {
        const struct doctor_finding *finding = &doctor.findings[i];
        bool ok = finding->level == DOCTOR_OK;
        cr_assert_gt(strlen(finding->found), 0, "%s", finding->what);
        cr_assert_eq(strlen(finding->costs) == 0, ok, "%s", finding->what);
        cr_assert_eq(strlen(finding->mend) == 0, ok, "%s", finding->what);
        cr_assert_leq(finding->level, doctor.worst);
    }
    cr_assert_neq(found(&doctor, "memory")->level, DOCTOR_OK);
    cr_assert_not_null(found(&doctor, "kernel"));
    cr_assert_not_null(found(&doctor, "io_uring"));
}

Test(doctor, a_directory_to_be_made_is_examined_by_its_parent) {
    struct doctor doctor = {0};
    char dir[] = "/tmp/millrace-doctor-XXXXXX", deep[128];
    cr_assert_not_null(mkdtemp(dir));
    snprintf(deep, sizeof deep, "%s/not/yet/there", dir);
    struct settings settings = defaults(deep);
    doctor_look_disk(&doctor, &settings);
    const struct doctor_finding *finding = found(&doctor, "store directory");
    cr_assert_not_null(finding);
    cr_assert(strstr(finding->found, dir) != NULL, "%s", finding->found);
    cr_assert_eq(rmdir(dir), 0, "nothing was left behind");
}

Test(doctor, a_directory_that_cannot_be_written_is_bad) {
    struct doctor doctor = {0};
    struct settings settings = defaults("/proc/sys");
    doctor_look_disk(&doctor, &settings);
    const struct doctor_finding *finding = found(&doctor, "store directory");
    cr_assert_eq(finding->level, DOCTOR_BAD, "%s", finding->found);
    cr_assert_eq(doctor.worst, DOCTOR_BAD);
}

Test(doctor, a_line_is_read_without_its_newline) {
    char text[64];
    cr_assert(doctor_line("/proc/sys/kernel/ostype", text, sizeof text));
    cr_assert_str_eq(text, "Linux");
    cr_assert_not(doctor_line("/proc/there/is/no/such", text, sizeof text));
}
