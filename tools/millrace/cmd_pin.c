/* SPDX-License-Identifier: MIT */

/* cmd_pin — pin, unpin, pins: what a collection of garbage keeps. */

#include "tools/millrace/commands.h"

#include "base/cid.h"
#include "tools/millrace/human.h"
#include "tools/millrace/task.h"

#include <stdio.h>
#include <string.h>

static int check_cids(const struct cli *cli) {
    for (uint32_t i = 0; i < cli->args_count; i++) {
        struct cid cid;
        struct cli_quoted quoted;
        char why[160] = "";
        if (cid_parse(cli->args[i], &cid, why, sizeof why) != 0) {
            return cli_misuse(cli, "'%s' is not a CID: %s", cli_quote(cli->args[i], &quoted),
                              strncmp(why, "not a CID: ", 11) == 0 ? why + 11 : why);
        }
    }
    return CLI_DONE;
}

static void note_walk(const json_t *answer, char text[TASK_NOTE_MAX]) {
    char count[HUMAN_MAX];
    human_count((uint64_t)admin_number(answer, "seen"), count);
    (void)snprintf(text, TASK_NOTE_MAX, "%s blocks are here", count);
}

/* Each argument in turn. Returns: the first status that is not CLI_DONE; the others are tried. */
static int each(const struct cli *cli, json_t *(*request)(const struct cli *cli, const char *cid),
                void (*done)(const struct cli *cli, const char *cid, const json_t *answer)) {
    int status = check_cids(cli);
    bool usage = status != CLI_DONE;
    for (uint32_t i = 0; i < cli->args_count && !usage; i++) {
        struct task_view view = {.what = cli->command->name,
                                 .note = note_walk,
                                 .quiet = cli_has(cli, "quiet") || cli_has(cli, "json")};
        json_t *answer = NULL;
        int one = task_follow(cli, request(cli, cli->args[i]), &view, &answer);
        if (one == CLI_DONE) {
            done(cli, cli->args[i], answer);
            json_decref(answer);
        }
        status = status == CLI_DONE ? one : status;
    }
    return status;
}

/* ---- pin ------------------------------------------------------------------------------------ */

static json_t *pin_request(const struct cli *cli, const char *cid) {
    return json_pack("{s:s, s:s, s:s, s:b}", "command", "pin", "cid", cid, "name",
                     cli_value(cli, "name", ""), "direct", cli_has(cli, "direct"));
}

static void print_json(json_t *line) {
    json_dumpf(line, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(line);
}

static void pin_done(const struct cli *cli, const char *cid, const json_t *answer) {
    char count[HUMAN_MAX];
    uint64_t blocks = (uint64_t)admin_number(answer, "blocks");
    bool direct = cli_has(cli, "direct");
    if (cli_has(cli, "json")) {
        print_json(json_pack("{s:s, s:s, s:I}", "pinned", cid, "mode",
                             direct ? "direct" : "recursive", "blocks", (json_int_t)blocks));
    } else if (!cli_has(cli, "quiet")) {
        printf("pinned %s %s (%s block%s)\n", cid, direct ? "directly" : "recursively",
               human_count(blocks, count), blocks == 1 ? "" : "s");
    }
}

static int cmd_pin(struct cli *cli) {
    if (strlen(cli_value(cli, "name", "")) > 255) {
        return cli_misuse(cli, "--name: at most 255 bytes");
    }
    return each(cli, pin_request, pin_done);
}

static const struct cli_flag pin_flags[] = {
    {"name", 'n', "NAME", "what the pin is called in the list; up to 255 bytes"},
    {"direct", 'd', NULL, "the block alone, not what is under it"},
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_pin = {
    .name = "pin",
    .args = "CID...",
    .summary = "keep a block and all under it from being collected",
    .flags = pin_flags,
    .args_min = 1,
    .args_max = CLI_ARGS_ANY,
    .more =
        "All of the DAG must be here: dag-pb, dag-cbor and dag-json are followed, and a block "
        "that\n"
        "is missing is named (exit status 3); 'millrace fetch --dag CID' brings it from peers. A\n"
        "second pin of the same CID gives it another name, or makes a direct pin recursive. It is\n"
        "on disk when the command is over.",
    .examples = "  millrace pin bafybei... --name site-2026\n  millrace pin --direct bafkrei...\n",
    .run = cmd_pin,
};

/* ---- unpin ---------------------------------------------------------------------------------- */

static json_t *unpin_request(const struct cli *cli, const char *cid) {
    (void)cli;
    return json_pack("{s:s, s:s}", "command", "unpin", "cid", cid);
}

static void unpin_done(const struct cli *cli, const char *cid, const json_t *answer) {
    (void)answer;
    if (cli_has(cli, "json")) {
        print_json(json_pack("{s:s}", "unpinned", cid));
    } else if (!cli_has(cli, "quiet")) {
        printf("unpinned %s\n", cid);
    }
}

static int cmd_unpin(struct cli *cli) {
    return each(cli, unpin_request, unpin_done);
}

static const struct cli_flag unpin_flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_unpin = {
    .name = "unpin",
    .args = "CID...",
    .summary = "take a pin back; nothing is deleted before 'millrace gc'",
    .flags = unpin_flags,
    .args_min = 1,
    .args_max = CLI_ARGS_ANY,
    .more = "What other pins reach stays. Exit status 3: it is not pinned.",
    .examples = "  millrace unpin bafybei...\n",
    .run = cmd_unpin,
};

/* ---- pins ----------------------------------------------------------------------------------- */

static void print_pin(const json_t *pin) {
    const char *name = admin_text(pin, "name");
    printf("%s %s%s", admin_text(pin, "cid"), admin_text(pin, "mode"), name[0] ? " " : "");
    for (const char *at = name; *at != '\0'; at++) { /* a name is anybody's: no terminal codes */
        putchar((unsigned char)*at < 0x20 || *at == 0x7f ? '?' : *at);
    }
    printf("\n");
}

static int cmd_pins(struct cli *cli) {
    int status = CLI_DONE;
    json_int_t cursor = 0;
    json_t *all = json_array();
    do {
        json_t *request = json_pack("{s:s, s:I}", "command", "pins", "cursor", cursor);
        json_t *answer = admin_request(cli, request, &status);
        const json_t *pins = json_object_get(answer, "pins");
        for (size_t i = 0; i < json_array_size(pins); i++) {
            if (cli_has(cli, "json")) {
                json_array_append(all, json_array_get(pins, i));
            } else {
                print_pin(json_array_get(pins, i));
            }
        }
        cursor = json_integer_value(json_object_get(answer, "cursor"));
        json_decref(answer);
    } while (status == CLI_DONE && cursor != 0);
    if (status == CLI_DONE && cli_has(cli, "json")) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        printf("\n");
    }
    json_decref(all);
    return status;
}

static const struct cli_flag pins_flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    CLI_FLAG_END,
};

const struct cli_command command_pins = {
    .name = "pins",
    .args = "",
    .summary = "list what is pinned: CID, mode, name",
    .flags = pins_flags,
    .args_max = 0,
    .examples = "  millrace pins\n  millrace pins --json | jq -r '.[].cid'\n",
    .run = cmd_pins,
};
