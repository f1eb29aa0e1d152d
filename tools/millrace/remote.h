/* SPDX-License-Identifier: MIT */
#pragma once

/* remote — what the data commands share: a connection to --to, CIDs from arguments or stdin, and
 * one meaning of every result as a sentence and an exit status. */

#include "tools/client/millrace_client.h"
#include "tools/millrace/cli.h"

/* The address to talk to: --to, or MILLRACE_TO, or the default. Lives: as the command line. */
const char *remote_to(const struct cli *cli);
/* Connects to it. Returns: the client, or NULL after saying why on stderr with the exit status in
 * *ret_status. Owns: the caller; mr_free. */
struct mr_client *remote_open(const struct cli *cli, int *ret_status);
/* The same, to an address that is known. */
struct mr_client *remote_open_at(const struct cli *cli, const char *to, int *ret_status);

/* The exit status for a client's result; `fault` as mr_fault or the completion has it. */
int remote_status(int result, uint32_t fault);
/* Says "subject: why" for a blocking call that gave `result`. Returns: the exit status. */
int remote_fail(const struct cli *cli, const struct mr_client *client, int result,
                const char *subject);

/* One CID as the user wrote it. Returns: CLI_DONE; CLI_USAGE, CLI_DAMAGED after saying why. */
must_check int remote_cid(const struct cli *cli, const char *name, struct mr_cid *ret_cid);

struct remote_cids {
    struct mr_cid *cids;
    char **names; /* as the user wrote them */
    size_t count;
};
/* All arguments from the first; "-" alone reads lines of stdin. Returns: CLI_DONE, or another
 * status after saying why. Owns: the caller; remote_cids_free, also after a failure. */
must_check int remote_cids_read(const struct cli *cli, struct remote_cids *ret_cids);
void remote_cids_free(struct remote_cids *cids);
