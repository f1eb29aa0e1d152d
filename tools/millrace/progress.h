/* SPDX-License-Identifier: MIT */
#pragma once

/* progress — how far a long command has come, on stderr: a bar with rate and time left on a
 * terminal, a plain line every few seconds elsewhere, nothing for what is done at once. */

#include "base/base.h"

struct progress {
    const char *what; /* "import" */
    const char *note; /* shown behind the numbers; NULL: none */
    bool waiting;     /* nothing has come: the note is all there is to say */
    const char *unit; /* what is counted beside the bytes; NULL: block */
    uint64_t total;   /* bytes or items to come; 0: not known */
    bool in_bytes;    /* total and done are bytes */
    bool terminal;
    bool shown; /* a bar stands on the terminal's last line */
    uint64_t begin_ns;
    uint64_t shown_ns;
};

void progress_begin(struct progress *progress, const char *what, uint64_t total, bool in_bytes);
/* Cheap to call often: it draws at most ten times a second. */
void progress_show(struct progress *progress, uint64_t done, uint64_t blocks);
/* Takes the bar away, so that other words can be printed. */
void progress_clear(struct progress *progress);
double progress_seconds(const struct progress *progress);
