/* SPDX-License-Identifier: MIT */
#pragma once

/* conf — settings out of a file and flags, and where each came from.
 *
 *   defaults  <  file (libconfig: sections with keys)  <  flags
 *
 * Every error is one sentence that begins with its place: "millrace.conf:12: ..." or "--memory:
 * ...". An unknown key names the nearest one. Thread: main, and the control thread on reload. */

#include "base/base.h"
#include "engine/settings.h"

#define CONF_ROWS_MAX 64
#define CONF_WHY_MAX  1024

enum conf_origin_kind { CONF_DEFAULT, CONF_FILE, CONF_FLAG };
struct conf_origin {
    enum conf_origin_kind kind;
    uint32_t line;  /* CONF_FILE */
    char flag[32];  /* CONF_FLAG: as the user spelled it */
    char file[256]; /* CONF_FILE: an included file has a name of its own */
};

struct conf {
    struct settings settings;
    struct conf_origin origins[CONF_ROWS_MAX]; /* as settings_table */
};

enum { CONF_BAD = 1 };

void conf_init(struct conf *conf);
/* conf_read_file reads a whole file; conf_read_text the same from a string, called `name` in
 * messages. Returns: 0 or CONF_BAD with a sentence; settings before the error may be set. */
must_check int conf_read_file(struct conf *conf, const char *path, char *why, size_t why_bytes);
must_check int conf_read_text(struct conf *conf, const char *text, const char *name, char *why,
                              size_t why_bytes);
/* conf_set is one flag: `row` the setting's name, `flag` how the user called it. */
must_check int conf_set(struct conf *conf, const char *row, const char *text, const char *flag,
                        char *why, size_t why_bytes);
/* conf_check looks at the whole and names the place of what is wrong. */
must_check int conf_check(const struct conf *conf, char *why, size_t why_bytes);
