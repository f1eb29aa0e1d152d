/* SPDX-License-Identifier: MIT */
#include "tools/millrace/commands.h"

#include "base/option.h"
#include "engine/layout.h"
#include "tools/millrace/admin.h"
#include "tools/millrace/serve_flags.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define VALUE_MAX 1200

static void section_of(const struct option *row, char section[64]) {
    snprintf(section, 64, "%.*s", (int)strcspn(row->name, "."), row->name);
}

/* A value as libconfig takes it: digits stand bare, all else in quotes. */
static void print_value(const char *value) {
    if (value[0] != '\0' && strspn(value, "0123456789") == strlen(value)) {
        printf("%s", value);
        return;
    }
    putchar('"');
    for (; *value != '\0'; value++) {
        if (*value == '"' || *value == '\\') {
            putchar('\\');
        }
        putchar(*value);
    }
    putchar('"');
}

static void print_origin(const struct conf_origin *origin) {
    if (origin->kind == CONF_FILE) {
        printf("  # %s:%u", origin->file, origin->line);
    } else if (origin->kind == CONF_FLAG) {
        printf("  # %s", origin->flag);
    }
}

/* What is in force, as a file that could be read back. */
static void show(const struct conf *conf, bool only_changed) {
    char open[64] = "", section[64], value[VALUE_MAX];
    for (size_t i = 0; i < settings_rows; i++) {
        const struct option *row = &settings_table[i];
        if (only_changed && conf->origins[i].kind == CONF_DEFAULT) {
            continue;
        }
        section_of(row, section);
        if (strcmp(section, open) != 0) {
            printf("%s%s = {\n", open[0] != '\0' ? "};\n" : "", section);
            memcpy(open, section, sizeof open);
        }
        option_format(row, &conf->settings, value, sizeof value);
        printf("    %s = ", row->name + strlen(section) + 1);
        print_value(value);
        printf(";");
        print_origin(&conf->origins[i]);
        printf("\n");
    }
    if (open[0] != '\0') {
        printf("};\n");
    }
}

static void show_json(const struct conf *conf, bool only_changed) {
    static const char *const kinds[] = {"default", "file", "flag"};
    char value[VALUE_MAX];
    json_t *all = json_object();
    for (size_t i = 0; i < settings_rows; i++) {
        const struct conf_origin *origin = &conf->origins[i];
        if (only_changed && origin->kind == CONF_DEFAULT) {
            continue;
        }
        option_format(&settings_table[i], &conf->settings, value, sizeof value);
        json_t *row = json_pack("{s:s, s:s, s:b}", "value", value, "from", kinds[origin->kind],
                                "reloadable", (int)settings_table[i].reloadable);
        json_object_set_new(all, settings_table[i].name, row);
    }
    admin_print(all);
    json_decref(all);
}

/* A file to begin with: every key with its default, as a comment to change. */
static void template(void) {
    char open[64] = "", section[64];
    printf("# Millrace. Every key, with its default; take away the # of what you change.\n"
           "# 'millrace config check FILE' says whether the daemon would take it.\n");
    for (size_t i = 0; i < settings_rows; i++) {
        const struct option *row = &settings_table[i];
        section_of(row, section);
        if (strcmp(section, open) != 0) {
            printf("%s\n%s = {\n", open[0] != '\0' ? "};\n" : "", section);
            memcpy(open, section, sizeof open);
        }
        printf("    # %s\n    # %s = ", row->help, row->name + strlen(section) + 1);
        print_value(row->fallback);
        printf(";\n");
    }
    printf("};\n");
}

/* Two listeners of one address and port: the second could not be bound. */
static bool listeners_apart(const struct settings *settings, char *why, size_t why_bytes) {
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    const char *row;
    uint32_t count = 0;
    if (settings_listeners(settings, list, &count, &row, why, why_bytes) != 0) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (list[i].port == list[j].port && list[i].port != 0 &&
                strcmp(list[i].host, list[j].host) == 0) {
                snprintf(why, why_bytes, "%s.listen: %s port %u is named twice",
                         listener_protocol_names[list[i].protocol], list[i].host, list[i].port);
                return false;
            }
        }
    }
    return true;
}

/* What serve would find out next, as far as it can be told without starting. */
static int check_start(const struct cli *cli, const struct conf *conf) {
    static struct layout_host host;
    static struct layout layout;
    char why[CONF_WHY_MAX] = "", placed[CONF_WHY_MAX + sizeof conf->origins[0].file + 64];
    int r = layout_host_read(&host);
    if (r != 0) {
        return cli_fail(cli, CLI_FAILED, "the cores of this host cannot be read: %s", strerror(-r));
    }
    if (!listeners_apart(&conf->settings, why, sizeof why) ||
        layout_make(&conf->settings, &host, &layout, why, sizeof why) != 0) {
        serve_place(conf, why, placed, sizeof placed);
        return cli_fail(cli, CLI_USAGE, "%s", placed);
    }
    printf("%s: ok\n", cli_value(cli, "config", "the settings"));
    return CLI_DONE;
}

static int show_or_check(struct cli *cli, bool check) {
    static struct conf conf;
    char why[CONF_WHY_MAX];
    if (cli->args_count == 2) {
        if (cli_has(cli, "config") || cli->values_count == CLI_VALUES_MAX) {
            return cli_misuse(cli, "the file is named twice");
        }
        const struct cli_flag *file = cli->command->flags; /* --config is the first */
        cli->values[cli->values_count++] = (struct cli_value){file, cli->args[1]};
    }
    if (serve_settings(cli, &conf, why, sizeof why) != CLI_DONE) {
        return cli_fail(cli, CLI_USAGE, "%s", why);
    }
    if (check) {
        return check_start(cli, &conf);
    }
    if (cli_has(cli, "json")) {
        show_json(&conf, cli_has(cli, "changed"));
    } else {
        show(&conf, cli_has(cli, "changed"));
    }
    return CLI_DONE;
}

static int cmd_config(struct cli *cli) {
    static const char *const words[] = {"show", "check", "reference", "template", "manpage", NULL};
    const char *what = cli->args[0];
    if (strcmp(what, "show") == 0 || strcmp(what, "check") == 0) {
        return show_or_check(cli, what[0] == 'c');
    }
    if (cli->args_count > 1) {
        return cli_misuse(cli, "%s takes no file", what);
    }
    if (strcmp(what, "reference") == 0) {
        manual_reference(stdout);
    } else if (strcmp(what, "template") == 0) {
        template();
    } else if (strcmp(what, "manpage") == 0) {
        manual_conf_page(stdout);
    } else {
        const char *near = cli_nearest(words, what);
        return cli_misuse(cli, "'%s' is none of show, check, reference, template, manpage%s%s%s",
                          what, near != NULL ? " (did you mean " : "", near != NULL ? near : "",
                          near != NULL ? "?)" : "");
    }
    return CLI_DONE;
}

static const struct cli_flag flags[] = {
    SERVE_FLAGS,
    {"changed", 0, NULL, "show: only what departs from the defaults"},
    {"json", 0, NULL, "show: as JSON, with where each value came from"},
    CLI_FLAG_END,
};

const struct cli_command command_config = {
    .name = "config",
    .args = "show|check|reference|template|manpage [FILE]",
    .summary = "show or check settings, or print their reference",
    .flags = flags,
    .args_min = 1,
    .args_max = 2,
    .more =
        "show prints what serve would use, with where each value came from; check only says\n"
        "whether it would start here (keys, listeners, core lists against the allowed CPUs; the\n"
        "store and the ports are not touched). Both take the flags of serve.",
    .examples = "  millrace config check /etc/millrace.conf\n"
                "  millrace config show --config millrace.conf --changed\n"
                "  millrace config template > millrace.conf\n",
    .run = cmd_config,
};
