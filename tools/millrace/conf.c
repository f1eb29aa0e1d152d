/* SPDX-License-Identifier: MIT */
#include "tools/millrace/conf.h"

#include "base/must.h"
#include "base/option.h"
#include "tools/millrace/cli.h"

#include <libconfig.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define NAME_MAX_BYTES    128
#define CONF_FILE_MAX     (1 << 20)
#define CONF_INCLUDES_MAX 64u
#define CONF_DEPTH_MAX    10u /* the parser's own */

/* What one reading needs: where to put things, and what to call the file. */
struct reading {
    struct conf *conf;
    const char *name;
    char *why;
    size_t why_bytes;
};

void conf_init(struct conf *conf) {
    must(settings_rows <= CONF_ROWS_MAX);
    memset(conf, 0, sizeof *conf);
    option_defaults(settings_table, settings_rows, &conf->settings);
}

static const char *file_of(const struct reading *reading, const config_setting_t *setting) {
    const char *file = config_setting_source_file(setting);
    return file != NULL ? file : reading->name;
}

cold_path static int bad(const struct reading *reading, const config_setting_t *setting,
                         const char *sentence) {
    snprintf(reading->why, reading->why_bytes, "%s:%u: %s", file_of(reading, setting),
             (unsigned)config_setting_source_line(setting), sentence);
    return CONF_BAD;
}

/* A scalar as the text option_parse takes. Returns false for what is not a scalar. */
static bool scalar_text(const config_setting_t *setting, char *text, size_t text_bytes) {
    switch (config_setting_type(setting)) {
    case CONFIG_TYPE_STRING:
        return (size_t)snprintf(text, text_bytes, "%s", config_setting_get_string(setting)) <
               text_bytes;
    case CONFIG_TYPE_INT:
    case CONFIG_TYPE_INT64:
        snprintf(text, text_bytes, "%lld", config_setting_get_int64(setting));
        return true;
    case CONFIG_TYPE_FLOAT:
        snprintf(text, text_bytes, "%g", config_setting_get_float(setting));
        return true;
    case CONFIG_TYPE_BOOL:
        snprintf(text, text_bytes, "%s", config_setting_get_bool(setting) ? "on" : "off");
        return true;
    default:
        return false;
    }
}

/* A list of strings is its items with spaces between. */
static bool value_text(const config_setting_t *setting, char *text, size_t text_bytes) {
    size_t used = 0;
    if (!config_setting_is_array(setting) && !config_setting_is_list(setting)) {
        return scalar_text(setting, text, text_bytes);
    }
    text[0] = '\0';
    for (unsigned i = 0; i < (unsigned)config_setting_length(setting); i++) {
        if (used + 2 > text_bytes) {
            return false;
        }
        if (i > 0) {
            text[used++] = ' ';
        }
        if (!scalar_text(config_setting_get_elem(setting, i), text + used, text_bytes - used)) {
            return false;
        }
        used += strlen(text + used);
    }
    return true;
}

/* The sentence for a key that there is not. */
static void unknown_key(const char *name, char *why, size_t why_bytes) {
    const char *instead = settings_replaced(name);
    if (instead != NULL) {
        snprintf(why, why_bytes, "there is no '%s' any more: set %s", name, instead);
        return;
    }
    const char *near = option_nearest(settings_table, settings_rows, name);
    snprintf(why, why_bytes, "unknown key '%.100s'%s%s%s", name,
             near != NULL ? " (did you mean '" : "", near != NULL ? near : "",
             near != NULL ? "'?)" : "");
}

static int read_key(const struct reading *reading, const config_setting_t *setting,
                    const char *name) {
    struct conf *conf = reading->conf;
    char text[2048], why[CONF_WHY_MAX / 2];
    const struct option *row = option_find(settings_table, settings_rows, name);
    if (row == NULL) {
        unknown_key(name, why, sizeof why);
        return bad(reading, setting, why);
    }
    if (!value_text(setting, text, sizeof text)) {
        snprintf(why, sizeof why, "%s: a %s is expected here", name, row->unit);
        return bad(reading, setting, why);
    }
    if (option_parse(row, &conf->settings, text, why, sizeof why) != 0) {
        return bad(reading, setting, why);
    }
    struct conf_origin *origin = &conf->origins[row - settings_table];
    origin->kind = CONF_FILE;
    origin->line = config_setting_source_line(setting);
    snprintf(origin->file, sizeof origin->file, "%s", file_of(reading, setting));
    return 0;
}

/* The section of the table that a misspelt one may have meant, or "". */
static void section_near(const char *section, char near[64]) {
    char sections[CONF_ROWS_MAX][64];
    const char *words[CONF_ROWS_MAX + 1];
    for (size_t i = 0; i < settings_rows; i++) {
        snprintf(sections[i], sizeof sections[i], "%.*s", (int)strcspn(settings_table[i].name, "."),
                 settings_table[i].name);
        words[i] = sections[i];
    }
    words[settings_rows] = NULL;
    const char *word = cli_nearest(words, section);
    snprintf(near, 64, "%s", word != NULL ? word : "");
}

/* A section that no key belongs to is named as such, not key by key. */
static bool section_known(const char *section) {
    size_t bytes = strlen(section);
    for (size_t i = 0; i < settings_rows; i++) {
        if (strncmp(settings_table[i].name, section, bytes) == 0 &&
            settings_table[i].name[bytes] == '.') {
            return true;
        }
    }
    return false;
}

static int read_section(const struct reading *reading, const config_setting_t *section) {
    const char *name = config_setting_name(section);
    char why[CONF_WHY_MAX / 2], full[NAME_MAX_BYTES];
    if (!config_setting_is_group(section)) {
        snprintf(why, sizeof why,
                 "'%.64s' stands outside a section; write it as section = { key = value; };", name);
        return bad(reading, section, why);
    }
    if (!section_known(name)) {
        char near[64];
        section_near(name, near);
        snprintf(why, sizeof why, "unknown section '%.64s'%s%s%s", name,
                 near[0] != '\0' ? " (did you mean '" : "", near, near[0] != '\0' ? "'?)" : "");
        return bad(reading, section, why);
    }
    for (unsigned i = 0; i < (unsigned)config_setting_length(section); i++) {
        const config_setting_t *key = config_setting_get_elem(section, i);
        snprintf(full, sizeof full, "%.60s.%.60s", name, config_setting_name(key));
        int r = read_key(reading, key, full);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

/* Opening a pipe waits for whoever writes to it, a device has no end, and the parser's time grows
 * faster than its text: none of these may hold the control thread up.
 * Returns: NULL, or why it is not read. */
static const char *unfit(const struct stat *about) {
    if (S_ISDIR(about->st_mode)) {
        return strerror(EISDIR);
    }
    if (!S_ISREG(about->st_mode)) {
        return "not a regular file";
    }
    return about->st_size > CONF_FILE_MAX ? "larger than 1 MiB" : NULL;
}

struct look {
    const char *dir;
    uint32_t files, depth;
    char *why;
    size_t why_bytes;
};

/* Looks at a file and at all that it includes before the parser opens any of them. One that is not
 * there is left to the parser, which says so. */
static bool look_at(struct look *look, const char *path) {
    struct stat about;
    if (stat(path, &about) != 0) {
        return true;
    }
    const char *words = unfit(&about);
    words = words == NULL && look->files++ >= CONF_INCLUDES_MAX ? "too many files" : words;
    FILE *file = words == NULL ? fopen(path, "re") : NULL;
    if (file == NULL) {
        snprintf(look->why, look->why_bytes, "%s: cannot be read: %s", path,
                 words != NULL ? words : strerror(errno));
        return false;
    }
    char *line = NULL;
    size_t room = 0;
    bool fits = true;
    look->depth++;
    while (fits && look->depth <= CONF_DEPTH_MAX && getline(&line, &room, file) > 0) {
        char name[256], whole[sizeof name + 512];
        if (sscanf(line, " @include \"%255[^\"\n]", name) == 1) {
            snprintf(whole, sizeof whole, "%s/%s", look->dir, name);
            fits = look_at(look, whole);
        }
    }
    look->depth--;
    free(line);
    fclose(file);
    return fits;
}

/* One line of a file, without what surrounds it; "" where there is none. */
static void line_read(const char *name, int number, char text[160]) {
    FILE *file = fopen(name, "re");
    char *line = NULL;
    size_t room = 0;
    text[0] = '\0';
    for (int i = 0; file != NULL && getline(&line, &room, file) > 0;) {
        if (++i == number) {
            char *begin = line + strspn(line, " \t");
            begin[strcspn(begin, "\r\n")] = '\0';
            snprintf(text, 160, "%s", begin);
            break;
        }
    }
    free(line);
    if (file != NULL) {
        fclose(file);
    }
}

/* What the parser of the file did not like. */
cold_path static int bad_syntax(const struct reading *reading, const config_t *file) {
    const char *name = config_error_file(file), *what = config_error_text(file);
    char line[160];
    name = name != NULL ? name : reading->name;
    line_read(name, config_error_line(file), line);
    if (what != NULL && line[0] != '\0' && strstr(what, "include") != NULL) {
        snprintf(reading->why, reading->why_bytes,
                 "%s:%d: cannot be read: %s (its place is beside this file)", name,
                 config_error_line(file), line);
        return CONF_BAD;
    }
    if (what != NULL && line[0] != '\0' && strstr(what, "duplicate") != NULL) {
        snprintf(reading->why, reading->why_bytes, "%s:%d: '%.*s' is set a second time", name,
                 config_error_line(file), (int)strcspn(line, " \t=:{"), line);
        return CONF_BAD;
    }
    snprintf(reading->why, reading->why_bytes,
             "%s:%d: %s (sections look like: store = { memory = \"1GiB\"; };)", name,
             config_error_line(file), what != NULL ? what : "unreadable");
    return CONF_BAD;
}

static int read_all(const struct reading *reading, config_t *file) {
    const config_setting_t *top = config_root_setting(file);
    for (unsigned i = 0; i < (unsigned)config_setting_length(top); i++) {
        int r = read_section(reading, config_setting_get_elem(top, i));
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

/* `parsed` is what the parser said; reads what it made, and ends it. */
static int finish(const struct reading *reading, config_t *file, int parsed) {
    int r = parsed == CONFIG_TRUE ? read_all(reading, file) : bad_syntax(reading, file);
    config_destroy(file);
    return r;
}

int conf_read_text(struct conf *conf, const char *text, const char *name, char *why,
                   size_t why_bytes) {
    struct reading reading = {conf, name, why, why_bytes};
    config_t file;
    config_init(&file);
    return finish(&reading, &file, config_read_string(&file, text));
}

int conf_read_file(struct conf *conf, const char *path, char *why, size_t why_bytes) {
    struct reading reading = {conf, path, why, why_bytes};
    char dir[512];
    config_t file;
    /* Included files stand beside the one that names them. */
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash != NULL ? (int)(slash - path) : 1,
             slash != NULL ? path : ".");
    struct look look = {.dir = dir, .why = why, .why_bytes = why_bytes};
    if (!look_at(&look, path)) {
        return CONF_BAD;
    }
    FILE *stream = fopen(path, "re");
    if (stream == NULL) {
        snprintf(why, why_bytes, "%s: cannot be read: %s", path, strerror(errno));
        return CONF_BAD;
    }
    config_init(&file);
    config_set_include_dir(&file, dir);
    int r = finish(&reading, &file, config_read(&file, stream));
    fclose(stream);
    return r;
}

int conf_set(struct conf *conf, const char *row, const char *text, const char *flag, char *why,
             size_t why_bytes) {
    char detail[CONF_WHY_MAX / 2];
    const struct option *option = option_find(settings_table, settings_rows, row);
    if (option == NULL) {
        unknown_key(row, detail, sizeof detail);
        snprintf(why, why_bytes, "%s: %s", flag, detail);
        return CONF_BAD;
    }
    if (option_parse(option, &conf->settings, text, detail, sizeof detail) != 0) {
        snprintf(why, why_bytes, "%s: %s", flag, detail);
        return CONF_BAD;
    }
    struct conf_origin *origin = &conf->origins[option - settings_table];
    origin->kind = CONF_FLAG;
    snprintf(origin->flag, sizeof origin->flag, "%s", flag);
    return 0;
}

int conf_check(const struct conf *conf, char *why, size_t why_bytes) {
    char detail[CONF_WHY_MAX / 2];
    const char *name = NULL;
    if (settings_check(&conf->settings, &name, detail, sizeof detail) == 0) {
        return 0;
    }
    const struct option *row = option_find(settings_table, settings_rows, name);
    must(row != NULL);
    const struct conf_origin *origin = &conf->origins[row - settings_table];
    switch (origin->kind) {
    case CONF_FILE:
        snprintf(why, why_bytes, "%s:%u: %s", origin->file, origin->line, detail);
        break;
    case CONF_FLAG:
        snprintf(why, why_bytes, "%s: %s", origin->flag, detail);
        break;
    case CONF_DEFAULT:
        snprintf(why, why_bytes, "%s", detail);
        break;
    default:
        never("an origin is one of three");
    }
    return CONF_BAD;
}
