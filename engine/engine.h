/* SPDX-License-Identifier: MIT */
#pragma once

/* engine — where rings, protocols and store are joined: cores, tiles, the io seam, the policy,
 * control.
 *
 * This folder alone knows io_uring (io.c), threads (core.c) and the order of things in a turn. One
 * process runs one engine: open lays out cores, store and listeners and says in words why it
 * cannot; run serves until SIGTERM has drained it; close gives everything back.
 *
 *   engine_open -> engine_run (blocks) -> engine_close */

#include "base/base.h"
#include "engine/settings.h"

struct engine;

#define ENGINE_FILES_MAX 8u
#define ENGINE_FILE_MAX  256u

/* What `serve` hands the engine beside the settings. */
struct engine_hooks {
    /* SIGHUP: read the configuration again into *ret_settings. Returns: 0, or non-zero with a
     * sentence. */
    int (*reload)(void *context, struct settings *ret_settings, char *why, size_t why_bytes);
    /* The files that the configuration is read from, the main one first, as a backup is to hold
     * them; at most ENGINE_FILES_MAX. Returns: how many. May be NULL. */
    uint32_t (*files)(void *context, char files[][ENGINE_FILE_MAX]);
    void *context;
};

/* Exit bands of the command line (README): configuration 2, anything the host refuses 1. */
enum { ENGINE_CONFIG = 1, ENGINE_HOST = 2, ENGINE_DATA = 3 };

/* Returns: 0; ENGINE_CONFIG, ENGINE_HOST or ENGINE_DATA with a sentence in `why`. Thread: main. */
must_check int engine_open(const struct settings *settings, const struct engine_hooks *hooks,
                           char *why, size_t why_bytes, struct engine **ret_engine);
/* Returns: 0 after a graceful drain, 1 after a hard stop or when the store could not be closed
 * clean. */
must_check int engine_run(struct engine *engine);
void engine_close(struct engine *engine);
