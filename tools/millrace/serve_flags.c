/* SPDX-License-Identifier: MIT */
#include "tools/millrace/serve_flags.h"

#include "base/option.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The short names. Those of listeners and --set are not among them: they may be
 * repeated. */
static const struct {
    const char *flag, *row;
} short_names[] = {
    {"store", "store.dir"},       {"segment-size", "store.segment_size"},
    {"memory", "store.memory"},   {"net-cores", "cores.net"},
    {"work-cores", "cores.work"}, {"sched-core", "cores.sched"},
    {"ctl-core", "cores.ctl"},    {"overcommit", "cores.overcommit"},
    {"idle", "cores.idle"},
};

static int set_short(struct conf *conf, const struct cli_value *value, char *why,
                     size_t why_bytes) {
    for (size_t i = 0; i < array_count(short_names); i++) {
        if (strcmp(value->flag->name, short_names[i].flag) == 0) {
            char flag[32];
            const char *text = value->text != NULL ? value->text : "on";
            snprintf(flag, sizeof flag, "--%s", short_names[i].flag);
            return conf_set(conf, short_names[i].row, text, flag, why, why_bytes);
        }
    }
    return 0; /* a flag of the command itself */
}

static int set_any(struct conf *conf, const char *text, char *why, size_t why_bytes) {
    char key[64];
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof key) {
        snprintf(why, why_bytes, "--set %.100s: write it as --set section.key=value", text);
        return CONF_BAD;
    }
    snprintf(key, sizeof key, "%.*s", (int)(equals - text), text);
    return conf_set(conf, key, equals + 1, "--set", why, why_bytes);
}

/* "ADDR:99999[,...]": an address whose port is none. */
static bool port_wrong(const char *text) {
    size_t bytes = strcspn(text, ",");
    while (bytes > 0 && text[bytes - 1] >= '0' && text[bytes - 1] <= '9') {
        bytes--;
    }
    return bytes > 1 && text[bytes - 1] == ':' && text[bytes] != '\0' && text[bytes] != ',' &&
           strtoul(text + bytes, NULL, 10) > UINT16_MAX;
}

/* Flags of which all together are one setting: a list of listeners, or of tiers. */
static const struct list_flag {
    const char *name, *flag, *row;
    bool port; /* ends in one */
} list_flags[] = {
    {"tlv", "--tlv", "tlv.listen", true},
    {"bitswap", "--bitswap", "bitswap.listen", true},
    {"ssd", "--ssd", "store.ssd", false},
    {"hdd", "--hdd", "store.hdd", false},
};

static int set_list(const struct cli *cli, const struct list_flag *which, struct conf *conf,
                    char *why, size_t why_bytes) {
    char list[sizeof conf->settings.tlv_listen] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < cli->values_count; i++) {
        if (strcmp(cli->values[i].flag->name, which->name) != 0) {
            continue;
        }
        if (which->port && port_wrong(cli->values[i].text)) {
            snprintf(why, why_bytes, "%s %.100s: a port is 1 to 65535", which->flag,
                     cli->values[i].text);
            return CONF_BAD;
        }
        int got = snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? " " : "",
                           cli->values[i].text);
        used += (size_t)got;
        if (used >= sizeof list) {
            snprintf(why, why_bytes, "%s: more than fit into %zu bytes", which->flag, sizeof list);
            return CONF_BAD;
        }
    }
    return used > 0 ? conf_set(conf, which->row, list, which->flag, why, why_bytes) : 0;
}

int serve_settings(const struct cli *cli, struct conf *conf, char *why, size_t why_bytes) {
    const char *file = cli_value(cli, "config", NULL);
    conf_init(conf);
    if (file != NULL && conf_read_file(conf, file, why, why_bytes) != 0) {
        return CLI_USAGE;
    }
    for (uint32_t i = 0; i < cli->values_count; i++) {
        const struct cli_value *value = &cli->values[i];
        int r = strcmp(value->flag->name, "set") == 0 ? set_any(conf, value->text, why, why_bytes)
                                                      : set_short(conf, value, why, why_bytes);
        if (r != 0) {
            return CLI_USAGE;
        }
    }
    for (size_t i = 0; i < array_count(list_flags); i++) {
        if (set_list(cli, &list_flags[i], conf, why, why_bytes) != 0) {
            return CLI_USAGE;
        }
    }
    return conf_check(conf, why, why_bytes) == 0 ? CLI_DONE : CLI_USAGE;
}

/* Returns: the setting a sentence begins with, or NULL; *ret_bytes of it, without the colon. */
static const struct option *row_named(const char *sentence, size_t *ret_bytes) {
    char name[64];
    size_t bytes = strcspn(sentence, ": ");
    if (bytes == 0 || bytes >= sizeof name) {
        return NULL;
    }
    memcpy(name, sentence, bytes);
    name[bytes] = '\0';
    *ret_bytes = bytes;
    for (size_t i = 0; i < array_count(short_names) && strncmp(name, "--", 2) == 0; i++) {
        if (strcmp(name + 2, short_names[i].flag) == 0) {
            return option_find(settings_table, settings_rows, short_names[i].row);
        }
    }
    for (size_t i = 0; i < array_count(list_flags); i++) {
        if (strcmp(name, list_flags[i].flag) == 0) {
            return option_find(settings_table, settings_rows, list_flags[i].row);
        }
    }
    return option_find(settings_table, settings_rows, name);
}

void serve_place(const struct conf *conf, const char *sentence, char *text, size_t text_bytes) {
    size_t bytes = 0;
    const struct option *row = row_named(sentence, &bytes);
    const struct conf_origin *origin = row != NULL ? &conf->origins[row - settings_table] : NULL;
    if (origin != NULL && origin->kind == CONF_FILE) {
        snprintf(text, text_bytes, "%s:%u: %s%s", origin->file, origin->line, row->name,
                 sentence + bytes);
    } else {
        snprintf(text, text_bytes, "%s", sentence);
    }
}
