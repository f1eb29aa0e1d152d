/* SPDX-License-Identifier: MIT */
#pragma once

/* ahead — whole small files read before their turn, by threads that wait for the disk so that the
 * caller does not; they come out in the order they were asked for.
 *
 * Memory: AHEAD_FILES files of up to `bytes_max`. Thread: one, beside those of its own. */

#include "base/base.h"

#define AHEAD_FILES    32u
#define AHEAD_THREADS  8u
#define AHEAD_PATH_MAX 4400u

struct ahead;

struct ahead_file {
    char path[AHEAD_PATH_MAX];
    uint64_t tag;  /* the caller's */
    uint8_t *data; /* valid until the next call */
    uint32_t bytes;
    int error; /* -errno; -EFBIG: more than bytes_max */
};

/* Returns: NULL without memory or threads. */
struct ahead *ahead_open(uint32_t bytes_max);
bool ahead_full(const struct ahead *ahead);
bool ahead_waiting(const struct ahead *ahead); /* some were asked for and not taken yet */
/* One more file; not when full. */
void ahead_ask(struct ahead *ahead, const char *path, uint64_t tag);
/* Waits for the oldest. Returns: NULL: none was asked for. */
const struct ahead_file *ahead_next(struct ahead *ahead);
void ahead_close(struct ahead *ahead);
