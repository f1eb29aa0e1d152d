/* SPDX-License-Identifier: MIT */
#pragma once

/* doctor — what of this host helps or hinders a daemon: kernel, limits, disk, memory, processors.
 *
 * Each finding is a level, what was found, what it costs, and how to mend it, in words that
 * `millrace doctor` and `millrace serve` share. BAD is only what serve cannot run without.
 * Thread: main. Blocks: for some disk writes of one page in the store's directory. */

#include "base/base.h"
#include "engine/settings.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARN, DOCTOR_BAD };

struct doctor_finding {
    enum doctor_level level;
    const char *what; /* "io_uring" */
    char found[192];
    char costs[192]; /* empty when OK */
    char mend[320];  /* empty when OK */
};

#define DOCTOR_FINDINGS_MAX 48
struct doctor {
    struct doctor_finding findings[DOCTOR_FINDINGS_MAX];
    uint32_t count;
    enum doctor_level worst;
};

void doctor_examine(struct doctor *doctor, const struct settings *settings);
const char *doctor_level_name(enum doctor_level level); /* "ok", "warn", "bad" */

/* Parts of the examination, for doctor.c and its tests. */
struct doctor_finding *doctor_add(struct doctor *doctor, const char *what, enum doctor_level level);
void doctor_look_uring(struct doctor *doctor);
void doctor_look_disk(struct doctor *doctor, const struct settings *settings);

/* The first line of a small file of /proc or /sys, without its newline. Returns false if it is not
 * there. */
bool doctor_line(const char *path, char *text, size_t text_bytes);
