/* SPDX-License-Identifier: MIT */
#pragma once

/* dial — what the commands of peers share: asking the daemon to connect, and waiting for what it
 * began. Thread: main. */

#include "proto/libp2p/peer_id.h"
#include "tools/millrace/cli.h"

#include <jansson.h>

#define DIAL_FLAG_TIMEOUT \
    { "timeout", 0, "TIME", "how long to wait for a connection (default 15s)" }

/* Reads a flag that is a duration. Returns: CLI_DONE, or CLI_USAGE after saying why. */
must_check int dial_duration(const struct cli *cli, const char *flag, const char *fallback,
                             uint64_t *ret_ns);

/* Whom an argument names: a peer id (/p2p/ may stand before it), or a multiaddr, which may end in
 * one. */
struct dial_target {
    const char *multiaddr;     /* NULL for a bare peer id */
    char id[PEER_ID_TEXT_MAX]; /* "" if the multiaddr names none */
};
/* Returns: CLI_DONE, or CLI_USAGE after saying why. */
must_check int dial_target(const struct cli *cli, const char *text, struct dial_target *ret_target);

/* Asks {"command":command, key:number} until "state" is none of the NULL-terminated `pending`
 * words, at most until `deadline_ns`. Returns: the last answer, whatever its state; NULL after
 * saying why. Owns: the caller. */
json_t *dial_wait(const struct cli *cli, const char *command, const char *key, json_int_t number,
                  const char *const pending[], uint64_t deadline_ns, int *ret_status);

/* Has the daemon connect and waits up to --timeout; a bare id must be connected already. Fills in
 * target->id.
 * Returns: CLI_DONE, or another status after saying why. */
must_check int dial_connect(const struct cli *cli, struct dial_target *target);
