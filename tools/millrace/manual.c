/* SPDX-License-Identifier: MIT */

/* manual — documentation made from the tables of commands and settings. */

#include "tools/millrace/commands.h"

#include "base/option.h"
#include "build_info.h"
#include "engine/settings.h"

#include <stdio.h>
#include <string.h>

/* "4MiB": a bound in the unit its row is written in. */
static void bound_text(const struct option *row, uint64_t value, char *text, size_t text_bytes) {
    static const struct {
        uint64_t unit;
        const char *name;
    } sizes[] = {{UINT64_C(1) << 40, "TiB"}, {GiB, "GiB"}, {MiB, "MiB"}, {KiB, "KiB"}, {1, ""}},
      times[] = {{24 * 3600 * NS_PER_S, "d"}, {3600 * NS_PER_S, "h"}, {NS_PER_S, "s"},
                 {NS_PER_MS, "ms"},           {NS_PER_US, "us"},      {1, "ns"}};
    bool size = row->kind == OPTION_SIZE;
    size_t count = size ? array_count(sizes) : array_count(times);
    if (value == 0 || row->kind == OPTION_COUNT) {
        snprintf(text, text_bytes, "%llu", (unsigned long long)value);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t unit = size ? sizes[i].unit : times[i].unit;
        if (value % unit == 0) {
            snprintf(text, text_bytes, "%llu%s", (unsigned long long)(value / unit),
                     size ? sizes[i].name : times[i].name);
            return;
        }
    }
}

static void range_text(const struct option *row, char *text, size_t text_bytes) {
    char low[32] = "", high[32] = "";
    size_t used = 0;
    text[0] = '\0';
    switch (row->kind) {
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        bound_text(row, row->min, low, sizeof low);
        bound_text(row, row->max, high, sizeof high);
        snprintf(text, text_bytes, "%s to %s", low, high);
        break;
    case OPTION_CHOICE:
        for (size_t i = 0; row->choices[i] != NULL && used < text_bytes; i++) {
            used += (size_t)snprintf(text + used, text_bytes - used, "%s%s", i > 0 ? ", " : "",
                                     row->choices[i]);
        }
        break;
    case OPTION_BOOL:
        snprintf(text, text_bytes, "on, off");
        break;
    case OPTION_RATIO:
        snprintf(text, text_bytes, "0 to 1");
        break;
    case OPTION_TEXT:
        snprintf(text, text_bytes, "%s", row->unit);
        break;
    default:
        break;
    }
}

void manual_reference(FILE *out) {
    char range[128];
    fprintf(
        out,
        "# Configuration\n\n"
        "Settings come from the defaults below, then from one file (`millrace serve --config "
        "FILE`), then from\nflags (`--set section.key=value`, or the short names of `millrace "
        "serve "
        "--help`). A file has sections with\nkeys, in libconfig's syntax; `@include "
        "\"other.conf\"` "
        "takes in a file beside it:\n\n"
        "    store = { dir = \"/srv/blocks\"; memory = \"4GiB\"; };\n"
        "    tlv = { listen = [\"127.0.0.1:7411\", \"0.0.0.0:7413,ceiling=normal\"]; };\n\n"
        "Sizes take B, K, M, G, T (powers of 1024, also as KiB, MiB ...), times ns, us, ms, s, m, "
        "h, d. An unknown key,\na bad unit or a value out of range is refused with its file and "
        "line, "
        "exit status 2.\n`millrace config check FILE` looks without starting; `millrace config "
        "show` "
        "prints what is in force and\nwhere it came from; `millrace config template` prints a file "
        "to begin with. SIGHUP reads the file again:\nthe keys marked reloadable take effect, a "
        "change of any other is refused with its name and nothing changes.\n\n"
        "This page is made by `millrace config reference`.\n\n"
        "| key | default | range | reloadable | what it does |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < settings_rows; i++) {
        const struct option *row = &settings_table[i];
        range_text(row, range, sizeof range);
        const char *tick = row->fallback[0] != '\0' ? "`" : "";
        fprintf(out, "| `%s` | %s%s%s | %s | %s | %s |\n", row->name, tick,
                tick[0] != '\0' ? row->fallback : "none", tick, range,
                row->reloadable ? "yes" : "no", row->help);
    }
}

/* Text for troff: a leading dot or quote would be a request, a backslash an escape. */
static void troff(FILE *out, const char *text) {
    bool line_start = true;
    for (; *text != '\0'; text++) {
        if (line_start && (*text == '.' || *text == '\'')) {
            fprintf(out, "\\&");
        }
        if (*text == '\\') {
            fprintf(out, "\\e");
        } else if (*text == '-') {
            fprintf(out, "\\-");
        } else {
            fputc(*text, out);
        }
        line_start = *text == '\n';
    }
}

void manual_conf_page(FILE *out) {
    char range[128];
    fprintf(
        out,
        ".TH MILLRACE.CONF 5 \"\" \"millrace %s\" \"Millrace\"\n.SH NAME\nmillrace.conf \\- "
        "settings of the Millrace daemon\n.SH DESCRIPTION\nSections with keys, in libconfig's "
        "syntax:\n.PP\n.nf\n    store = { dir = \"/srv/blocks\"; memory = \"4GiB\"; };\n    tlv "
        "= { listen = \"127.0.0.1:7411\"; };\n.fi\n.PP\nFlags of\n.BR \"millrace serve\"\n"
        "overrule the file; SIGHUP reads it again.\n.SH KEYS\n",
        MILLRACE_VERSION);
    for (size_t i = 0; i < settings_rows; i++) {
        const struct option *row = &settings_table[i];
        range_text(row, range, sizeof range);
        fprintf(out, ".TP\n.B %s\n", row->name);
        troff(out, row->help);
        fprintf(out, "\nDefault: %s. Range: ", row->fallback[0] != '\0' ? row->fallback : "none");
        troff(out, range);
        fprintf(out, ". %s\n", row->reloadable ? "Reloadable." : "Needs a restart.");
    }
    fprintf(out, ".SH SEE ALSO\n.BR millrace (1)\n");
}

static void page_command(FILE *out, const struct cli_command *command) {
    fprintf(out, ".SS \"millrace %s%s%s\"\n", command->name, command->args[0] != '\0' ? " " : "",
            command->args);
    troff(out, command->summary);
    fprintf(out, ".\n");
    if (command->more != NULL) {
        fprintf(out, ".PP\n");
        troff(out, command->more);
        fprintf(out, "\n");
    }
    for (const struct cli_flag *flag = command->flags; flag->name != NULL; flag++) {
        fprintf(out, ".TP\n.BR \\-\\-");
        troff(out, flag->name);
        fprintf(out, "%s%s\n", flag->value != NULL ? " \" \" " : "",
                flag->value != NULL ? flag->value : "");
        troff(out, flag->help);
        fprintf(out, "\n");
    }
    if (command->examples[0] != '\0') {
        fprintf(out, ".PP\n.nf\n");
        troff(out, command->examples);
        fprintf(out, ".fi\n");
    }
}

void manual_page(FILE *out) {
    fprintf(out,
            ".TH MILLRACE 1 \"\" \"millrace %s\" \"Millrace\"\n.SH NAME\nmillrace \\- serve "
            "content-addressed blocks, and talk to the daemon that does\n.SH SYNOPSIS\n.B "
            "millrace\n.I COMMAND\n[flags] [args]\n.SH COMMANDS\n",
            MILLRACE_VERSION);
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        page_command(out, cli_commands[i]);
    }
    fprintf(out,
            ".SH EXIT STATUS\n0 done; 1 failed; 2 usage or configuration; 3 not found; 4 data "
            "damaged or refused.\nResults go to standard output, all else to standard error.\n.SH "
            "SEE ALSO\n.BR millrace.conf (5)\n");
}

void manual_completion(FILE *out) {
    fprintf(out, "# bash completion for millrace; made by 'millrace help --bash'\n"
                 "_millrace() {\n"
                 "    local word=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=\n"
                 "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        words='");
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        fprintf(out, "%s%s", i > 0 ? " " : "", cli_commands[i]->name);
    }
    fprintf(out, "'\n    elif [[ $word == -* ]]; then\n        case $command in\n");
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        fprintf(out, "        %s) words='--help", cli_commands[i]->name);
        for (const struct cli_flag *flag = cli_commands[i]->flags; flag->name != NULL; flag++) {
            fprintf(out, " --%s", flag->name);
        }
        fprintf(out, "' ;;\n");
    }
    fprintf(out,
            "        esac\n    elif [ \"$command\" = config ] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
            "        words='show check reference template manpage'\n"
            "    elif [ \"$command\" = help ]; then\n        words='");
    for (size_t i = 0; cli_commands[i] != NULL; i++) {
        fprintf(out, "%s%s", i > 0 ? " " : "", cli_commands[i]->name);
    }
    fprintf(out, "'\n    fi\n    if [ -n \"$words\" ]; then\n"
                 "        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
                 "    else\n        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n    fi\n}\n"
                 "complete -o filenames -F _millrace millrace\n");
}
