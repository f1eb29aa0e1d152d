/* SPDX-License-Identifier: MIT */

/* cmd_pin — pin, unpin, pins: what a collection of garbage keeps. */

#include "tools/millrace/commands.h"

#include "base/cid.h"
#include "tools/millrace/bring.h"
#include "tools/millrace/human.h"
#include "tools/millrace/interrupt.h"
#include "tools/millrace/remote.h"
#include "tools/millrace/task.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A collection may take what a fetch brought before the pin is there: then all once more. */
#define FETCHES_MAX 3u

static bool is_quiet(const struct cli *cli) {
    return cli_has(cli, "quiet") || cli_has(cli, "json");
}

static void print_json(json_t *line) {
    json_dumpf(line, stdout, JSON_COMPACT);
    printf("\n");
    json_decref(line);
}

/* Each CID in turn. Returns: the first status that is not CLI_DONE; the others are tried. */
static int each(const struct cli *cli, int (*one)(const struct cli *cli, const char *cid)) {
    struct remote_cids cids;
    int status = remote_cids_read(cli, &cids);
    bool usage = status != CLI_DONE;
    for (size_t i = 0; i < cids.count && !usage && !interrupt_came(); i++) {
        int r = one(cli, cids.names[i]);
        status = status == CLI_DONE ? r : status;
    }
    remote_cids_free(&cids);
    return status;
}

/* ---- pin ------------------------------------------------------------------------------------ */

static void note_walk(const json_t *answer, char text[TASK_NOTE_MAX]) {
    char count[HUMAN_MAX];
    human_count((uint64_t)admin_number(answer, "seen"), count);
    (void)snprintf(text, TASK_NOTE_MAX, "%s blocks are here", count);
}

static void pin_done(const struct cli *cli, const char *cid, const json_t *answer,
                     uint64_t fetched) {
    char count[HUMAN_MAX];
    uint64_t blocks = (uint64_t)admin_number(answer, "blocks");
    bool direct = cli_has(cli, "direct");
    if (cli_has(cli, "json")) {
        print_json(json_pack("{s:s, s:s, s:I, s:I}", "pinned", cid, "mode",
                             direct ? "direct" : "recursive", "blocks", (json_int_t)blocks,
                             "fetched", (json_int_t)fetched));
    } else if (!cli_has(cli, "quiet")) {
        printf("pinned %s %s (%s block%s)\n", cid, direct ? "directly" : "recursively",
               human_count(blocks, count), blocks == 1 ? "" : "s");
    }
}

/* Would nobody be asked? No peer is named, and none is connected. */
static bool is_alone(const struct cli *cli, const struct bring *bring) {
    int status = CLI_DONE;
    if (json_array_size(bring->from) > 0) {
        return false;
    }
    json_t *peers = admin_ask(cli, "peers", &status);
    bool alone = peers != NULL && json_array_size(admin_at(peers, "peers")) == 0;
    json_decref(peers);
    return alone;
}

/* What is missing comes from peers, where it may. `why` names the first block that is not here. */
static int fetch_rest(const struct cli *cli, struct bring *bring, const char *why,
                      uint64_t *fetched) {
    json_t *answer = NULL;
    if (cli_has(cli, "offline")) {
        return cli_fail(cli, CLI_ABSENT, "%s; without --offline it is fetched from peers", why);
    }
    if (is_alone(cli, bring)) {
        return cli_fail(cli, CLI_ABSENT,
                        "%s, and there is no peer to fetch it from: name one with --from, or see "
                        "'millrace connect'",
                        why);
    }
    int status = bring_follow(cli, bring, &answer);
    *fetched += (uint64_t)admin_number(answer, "blocks");
    if (status == CLI_DONE && !is_quiet(cli)) {
        bring_summary(bring, answer);
    }
    json_decref(answer);
    return status;
}

static int pin_try(const struct cli *cli, const char *cid, json_t **ret_answer) {
    struct task_view view = {
        .what = "pin", .subject = cid, .note = note_walk, .quiet = is_quiet(cli), .mild = true};
    json_t *request = json_pack("{s:s, s:s, s:s, s:b}", "command", "pin", "cid", cid, "name",
                                cli_value(cli, "name", ""), "direct", cli_has(cli, "direct"));
    return task_follow(cli, request, &view, ret_answer);
}

static int pin_one(const struct cli *cli, const char *cid) {
    struct bring bring = {.cid = cid, .dag = !cli_has(cli, "direct"), .quiet = is_quiet(cli)};
    uint64_t fetched = 0;
    json_t *answer = NULL;
    int status = bring_read(cli, &bring);
    if (status != CLI_DONE) {
        return status;
    }
    status = pin_try(cli, cid, &answer);
    for (uint32_t i = 0; i < FETCHES_MAX && status == CLI_ABSENT; i++) {
        int r = fetch_rest(cli, &bring, admin_text(answer, "why"), &fetched);
        json_decref(answer);
        answer = NULL;
        if (r != CLI_DONE) {
            bring_end(&bring);
            return r;
        }
        status = pin_try(cli, cid, &answer);
    }
    if (status == CLI_DONE) {
        pin_done(cli, cid, answer, fetched);
    } else if (status == CLI_ABSENT) {
        status = cli_fail(cli, status, "%s", admin_text(answer, "why"));
    }
    json_decref(answer);
    bring_end(&bring);
    return status;
}

static int cmd_pin(struct cli *cli) {
    if (strlen(cli_value(cli, "name", "")) > 255) {
        return cli_misuse(cli, "--name: at most 255 bytes");
    }
    return each(cli, pin_one);
}

static const struct cli_flag pin_flags[] = {
    {"name", 'n', "NAME", "what the pin is called in the list; up to 255 bytes"},
    {"direct", 'd', NULL, "the block alone, not what is under it"},
    {"offline", 0, NULL, "fetch nothing: refuse where a block is missing"},
    BRING_FLAG_FROM,
    BRING_FLAG_TIMEOUT,
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_pin = {
    .name = "pin",
    .args = "CID...|-",
    .summary = "keep a block and all under it from being collected",
    .flags = pin_flags,
    .args_min = 1,
    .args_max = CLI_ARGS_ANY,
    .more =
        "What of the DAG is not here is fetched from IPFS peers, as 'millrace fetch --dag' does:\n"
        "of those that are connected, or of --from; where there is neither it is refused at once.\n"
        "Where nobody has a block it is named (exit status 3), and what came is kept for the next\n"
        "try. Raw blocks are only seen to be there, not read: verify does that. Links are "
        "followed\n"
        "in dag-pb, dag-cbor and dag-json. A second pin of the same CID gives it another name, or\n"
        "makes a direct pin recursive. It is on disk when the command is over. '-' reads CIDs "
        "from\n"
        "standard input, one a line.",
    .examples = "  millrace pin bafybei... --name site-2026\n"
                "  millrace pin --direct bafkrei...\n"
                "  millrace pin bafybei... --from /ip4/192.0.2.7/tcp/4001/p2p/12D3Koo...\n"
                "  ipfs pin ls -q --type=recursive | millrace pin -\n",
    .run = cmd_pin,
};

/* ---- unpin ---------------------------------------------------------------------------------- */

static int unpin_one(const struct cli *cli, const char *cid) {
    struct task_view view = {.what = "unpin", .subject = cid, .quiet = is_quiet(cli)};
    json_t *answer = NULL;
    int status =
        task_follow(cli, json_pack("{s:s, s:s}", "command", "unpin", "cid", cid), &view, &answer);
    json_decref(answer);
    if (status == CLI_DONE && cli_has(cli, "json")) {
        print_json(json_pack("{s:s}", "unpinned", cid));
    } else if (status == CLI_DONE && !cli_has(cli, "quiet")) {
        printf("unpinned %s\n", cid);
    }
    return status;
}

static int cmd_unpin(struct cli *cli) {
    return each(cli, unpin_one);
}

static const struct cli_flag unpin_flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "say nothing but errors"},
    CLI_FLAG_END,
};

const struct cli_command command_unpin = {
    .name = "unpin",
    .args = "CID...|-",
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

/* The CIDs that were asked for: which of them are pinned? */
struct wanted {
    struct remote_cids cids;
    bool *found;
};

/* By hash: a block is one and the same by whatever CID it is called. */
static bool wants(struct wanted *wanted, const json_t *pin) {
    struct mr_cid cid;
    struct cid a, b;
    size_t used = 0;
    bool wants = wanted->cids.count == 0;
    if (wants || mr_cid_parse(admin_text(pin, "cid"), &cid) != 0 ||
        cid_read(cid.bytes, cid.size, &a, &used) != 0) {
        return wants;
    }
    for (size_t i = 0; i < wanted->cids.count; i++) {
        const struct mr_cid *asked = &wanted->cids.cids[i];
        if (cid_read(asked->bytes, asked->size, &b, &used) == 0 && a.hash == b.hash &&
            a.digest_bytes == b.digest_bytes && memcmp(a.digest, b.digest, a.digest_bytes) == 0) {
            wanted->found[i] = wants = true;
        }
    }
    return wants;
}

/* Every page. Returns: CLI_DONE, or another status after saying why. */
static int list_pins(const struct cli *cli, struct wanted *wanted, json_t *all) {
    int status = CLI_DONE;
    json_int_t cursor = 0;
    do {
        json_t *request = json_pack("{s:s, s:I}", "command", "pins", "cursor", cursor);
        json_t *answer = admin_request(cli, request, &status), *pin = NULL;
        size_t i = 0;
        json_array_foreach(json_object_get(answer, "pins"), i, pin) {
            if (!wants(wanted, pin)) {
                continue;
            }
            if (cli_has(cli, "json")) {
                json_array_append(all, pin);
            } else if (cli_has(cli, "quiet")) {
                printf("%s\n", admin_text(pin, "cid"));
            } else {
                print_pin(pin);
            }
        }
        cursor = json_integer_value(json_object_get(answer, "cursor"));
        json_decref(answer);
    } while (status == CLI_DONE && cursor != 0);
    return status;
}

static int cmd_pins(struct cli *cli) {
    struct wanted wanted = {.found = NULL};
    json_t *all = json_array();
    int status = remote_cids_read(cli, &wanted.cids);
    wanted.found = calloc(wanted.cids.count + 1, sizeof *wanted.found);
    if (status == CLI_DONE && wanted.found == NULL) {
        status = cli_fail(cli, CLI_FAILED, "out of memory");
    }
    status = status == CLI_DONE ? list_pins(cli, &wanted, all) : status;
    if (status == CLI_DONE && cli_has(cli, "json")) {
        admin_print(all);
    }
    for (size_t i = 0; i < wanted.cids.count && (status == CLI_DONE || status == CLI_ABSENT); i++) {
        if (!wanted.found[i]) {
            status = cli_fail(cli, CLI_ABSENT, "%s is not pinned itself", wanted.cids.names[i]);
        }
    }
    json_decref(all);
    free(wanted.found);
    remote_cids_free(&wanted.cids);
    return status;
}

static const struct cli_flag pins_flags[] = {
    CLI_FLAG_ADMIN,
    CLI_FLAG_JSON,
    {"quiet", 'q', NULL, "CIDs only"},
    CLI_FLAG_END,
};

const struct cli_command command_pins = {
    .name = "pins",
    .args = "[CID...|-]",
    .summary = "list what is pinned: CID, mode, name",
    .flags = pins_flags,
    .args_max = CLI_ARGS_ANY,
    .more = "Those of the CIDs only, where any are named; exit status 3: one has no pin of its\n"
            "own. That a pin above it keeps a block (Kubo's 'indirect') is not told.",
    .examples = "  millrace pins\n  millrace pins bafybei...\n"
                "  millrace pins --json | jq -r '.[].cid'\n",
    .run = cmd_pins,
};
