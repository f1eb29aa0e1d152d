/* SPDX-License-Identifier: MIT */
#pragma once

/* serve_flags — which flag is which setting, and settings out of a whole command line.
 *
 * serve, config and doctor take the same flags, so that each speaks of the same daemon. */

#include "tools/millrace/cli.h"
#include "tools/millrace/conf.h"

#define SERVE_FLAGS                                                                            \
    {"config", 'c', "FILE", "read settings from FILE (see 'millrace config reference')"},      \
        {"store", 0, "DIR", "directory of the store (default ./run)"},                         \
        {"segment-size", 0, "SIZE", "size of segment files, when the store is made"},          \
        {"tlv", 0, "ADDR:PORT", "listen here, [,ceiling=CLASS] may follow; may be repeated"},  \
        {"bitswap", 0, "ADDR:PORT", "let IPFS peers connect here, as --tlv; may be repeated"}, \
        {"memory", 0, "SIZE", "memory for blocks that are read often"},                        \
        {"ssd", 0, "PATH[:SIZE]", "a fast directory for blocks; may be repeated"},             \
        {"hdd", 0, "PATH[:SIZE]", "a slow one, for when those are full; may be repeated"},     \
        {"net-cores", 0, "LIST", "cores that serve connections (0-3,8 or auto)"},              \
        {"work-cores", 0, "LIST", "cores that read, write and verify"},                        \
        {"sched-core", 0, "N", "core of the scheduler"},                                       \
        {"ctl-core", 0, "N", "core of the control thread"},                                    \
        {"overcommit", 0, NULL, "allow a core to be named twice"},                             \
        {"idle", 0, "POLICY", "spin, adaptive or sleep"}, {                                    \
        "set", 0, "KEY=VALUE", "any setting, as --set net.backlog=1024; may be repeated"       \
    }

/* serve_settings reads defaults, file and flags. Returns: CLI_DONE, or CLI_USAGE with a sentence in
 * `why` that begins with its place. Thread: main, and the control thread on reload. */
must_check int serve_settings(const struct cli *cli, struct conf *conf, char *why,
                              size_t why_bytes);

/* serve_place puts the file and line in front of a sentence of the engine that begins with a
 * setting ("cores.net: ...") or its flag ("--net-cores: ...") and came from a file. */
void serve_place(const struct conf *conf, const char *sentence, char *text, size_t text_bytes);
