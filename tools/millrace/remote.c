/* SPDX-License-Identifier: MIT */
#include "tools/millrace/remote.h"

#include "base/cid.h"
#include "proto/tlv/tlv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#define TO_DEFAULT "127.0.0.1:7411"

const char *remote_to(const struct cli *cli) {
    return cli_value(cli, "to", cli_environment("MILLRACE_TO", TO_DEFAULT));
}

/* "ADDR:99999" is an address with a port that is none. */
static bool port_wrong(const char *to) {
    const char *colon = strrchr(to, ':');
    size_t digits = colon != NULL ? strspn(colon + 1, "0123456789") : 0;
    if (colon == NULL || colon == to || digits == 0 || colon[1 + digits] != '\0') {
        return false;
    }
    return digits > 5 || strtoul(colon + 1, NULL, 10) < 1 || strtoul(colon + 1, NULL, 10) > 65535;
}

struct mr_client *remote_open(const struct cli *cli, int *ret_status) {
    return remote_open_at(cli, remote_to(cli), ret_status);
}

struct mr_client *remote_open_at(const struct cli *cli, const char *to, int *ret_status) {
    struct mr_client *client = mr_new();
    if (client == NULL) {
        *ret_status = cli_fail(cli, CLI_FAILED, "out of memory");
        return NULL;
    }
    int r = port_wrong(to) ? MR_BAD_ARGUMENT : mr_connect(client, to, NULL);
    if (r == 0) {
        return client;
    }
    if (r == MR_BAD_ARGUMENT) {
        *ret_status = cli_misuse(
            cli, port_wrong(to) ? "--to %s: a port is 1 to 65535" : "--to %s: it is not ADDR:PORT",
            to);
    } else if (r == -ECONNREFUSED) {
        *ret_status = cli_fail(cli, CLI_FAILED,
                               "nothing listens on %s; start a daemon with 'millrace serve' or "
                               "tools/up, or name another with --to ADDR:PORT",
                               to);
    } else if (r == MR_TIMEOUT) {
        struct mr_options options;
        mr_options_default(&options);
        *ret_status = cli_fail(cli, CLI_FAILED,
                               "%s: no answer within %u s; is it the port of a Millrace listener?",
                               to, options.connect_timeout_ms / 1000);
    } else {
        const char *why = mr_error(client);
        why = why[0] != '\0' ? why : mr_result_text(r);
        size_t bytes = strlen(to); /* the client may have named the address already */
        bool named = strncmp(why, to, bytes) == 0 && strncmp(why + bytes, ": ", 2) == 0;
        *ret_status = cli_fail(cli, CLI_FAILED, "%s: %s", to, named ? why + bytes + 2 : why);
    }
    mr_free(client);
    return NULL;
}

int remote_status(int result, uint32_t fault) {
    switch (result) {
    case 0:
        return CLI_DONE;
    case MR_NOT_FOUND:
        return CLI_ABSENT;
    case MR_CORRUPT:
    case MR_TOO_LARGE:
    case MR_BAD_CID:
        return CLI_DAMAGED;
    case MR_BAD_ARGUMENT:
        return CLI_USAGE;
    case MR_REFUSED:
        switch (fault) {
        case TLV_CODE_BAD_KEY:
        case TLV_CODE_UNKNOWN_HASH:
        case TLV_CODE_MISMATCH:
        case TLV_CODE_TOO_LARGE:
        case TLV_CODE_CORRUPT:
        case TLV_CODE_POLICY:
            return CLI_DAMAGED;
        case TLV_CODE_RANGE:
            return CLI_USAGE;
        default:
            return CLI_FAILED;
        }
    default:
        return CLI_FAILED;
    }
}

int remote_fail(const struct cli *cli, const struct mr_client *client, int result,
                const char *subject) {
    const char *why = mr_error(client);
    return cli_fail(cli, remote_status(result, mr_fault(client)), "%s: %s", subject,
                    why[0] != '\0' && result != MR_NOT_FOUND ? why : mr_result_text(result));
}

int remote_cid(const struct cli *cli, const char *name, struct mr_cid *ret_cid) {
    char why[160] = "";
    struct cid cid;
    struct cli_quoted quoted;
    if (cid_parse(name, &cid, why, sizeof why) != 0) {
        const char *more = strncmp(why, "not a CID: ", 11) == 0 ? why + 11 : why;
        return cli_fail(cli, CLI_USAGE, "'%s' is not a CID: %s", cli_quote(name, &quoted), more);
    }
    if (mr_cid_parse(name, ret_cid) != 0) {
        return cli_fail(cli, CLI_DAMAGED, "%s: its hash function 0x%llx is not known here", name,
                        (unsigned long long)cid.hash);
    }
    return CLI_DONE;
}

static int add(const struct cli *cli, struct remote_cids *cids, const char *name, size_t *room) {
    if (cids->count == *room) {
        *room = *room == 0 ? 64 : *room * 2;
        struct mr_cid *more = realloc(cids->cids, *room * sizeof *more);
        cids->cids = more != NULL ? more : cids->cids;
        char **names = realloc(cids->names, *room * sizeof *names);
        cids->names = names != NULL ? names : cids->names;
        if (more == NULL || names == NULL) {
            return cli_fail(cli, CLI_FAILED, "out of memory");
        }
    }
    int r = remote_cid(cli, name, &cids->cids[cids->count]);
    if (r != CLI_DONE) {
        return r;
    }
    cids->names[cids->count] = strdup(name);
    if (cids->names[cids->count] == NULL) {
        return cli_fail(cli, CLI_FAILED, "out of memory");
    }
    cids->count++;
    return CLI_DONE;
}

static int add_lines(const struct cli *cli, struct remote_cids *cids, size_t *room) {
    char *line = NULL;
    size_t line_room = 0;
    ssize_t got;
    int r = CLI_DONE;
    while (r == CLI_DONE && (got = getline(&line, &line_room, stdin)) >= 0) {
        line[strcspn(line, " \t\r\n")] = '\0'; /* what follows the CID is not ours */
        if (line[0] != '\0') {
            r = add(cli, cids, line, room);
        }
    }
    free(line);
    return r;
}

int remote_cids_read(const struct cli *cli, struct remote_cids *ret_cids) {
    size_t room = 0;
    *ret_cids = (struct remote_cids){0};
    if (cli->args_count == 1 && strcmp(cli->args[0], "-") == 0) {
        return add_lines(cli, ret_cids, &room);
    }
    for (uint32_t i = 0; i < cli->args_count; i++) {
        int r = add(cli, ret_cids, cli->args[i], &room);
        if (r != CLI_DONE) {
            return r;
        }
    }
    return CLI_DONE;
}

void remote_cids_free(struct remote_cids *cids) {
    for (size_t i = 0; i < cids->count; i++) {
        free(cids->names[i]);
    }
    free(cids->names);
    free(cids->cids);
}
