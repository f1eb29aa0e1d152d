/* SPDX-License-Identifier: MIT */
#pragma once

/* bring — the daemon fetches a block, or all under it, from IPFS peers; a command looks on until it
 * is over, shows how far it is, and has it ended when interrupted or late. Thread: main. */

#include "tools/millrace/admin.h"

#define BRING_FLAG_FROM                                                               \
    {                                                                                 \
        "from", 'f', "MULTIADDR",                                                     \
            "a peer that has it, or its id; may be repeated (default: all connected)" \
    }
#define BRING_FLAG_TIMEOUT \
    { "timeout", 't', "TIME", "give up after so long, up to 1h, as 30s or 10m (default 0: never)" }

struct bring {
    const char *cid;
    bool dag;            /* all under it */
    bool quiet;          /* no progress */
    json_t *from;        /* multiaddrs; of bring_read */
    uint64_t timeout_ns; /* 0: never */
    double seconds;      /* that it took; out */
};

/* Reads --from and --timeout. Returns: CLI_DONE, or CLI_USAGE after saying why. Owns: the caller
 * calls bring_end. */
must_check int bring_read(const struct cli *cli, struct bring *bring);
void bring_end(struct bring *bring);

/* bring_follow fetches bring->cid and waits for it. Returns: CLI_DONE; CLI_ABSENT: nobody has a
 * block of it; CLI_FAILED; after saying why. *ret_answer is the daemon's last answer, the caller's
 * to release; NULL where there is none. */
must_check int bring_follow(const struct cli *cli, struct bring *bring, json_t **ret_answer);
/* What came, in a line on stderr. */
void bring_summary(const struct bring *bring, const json_t *answer);
