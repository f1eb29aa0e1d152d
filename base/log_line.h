/* SPDX-License-Identifier: MIT */
#pragma once

/* log_line — one log event as the bytes of a terminal line, a JSON line or a journal datagram.
 *
 * A line has a bounded size. A field that no longer fits is left out whole and the line says that
 * it was cut, so JSON stays JSON. Pure: no clock, no I/O (the text form asks for the local zone).
 */

#include "base/base.h"
#include "base/log.h"

#define LOG_LINE_BYTES  4096 /* PIPE_BUF: a line of this size is written to a pipe in one piece */
#define LOG_VALUE_BYTES 1024 /* longest value, escaped; the rest is cut and marked with "..." */

struct log_event {
    enum log_level level;
    int line;
    uint32_t dropped; /* lines of this site that were suppressed before this one */
    uint64_t wall_us;
    const char *file;
    const char *message;
    const struct log_field *fields;
};

struct log_line {
    size_t used;
    bool cut;
    char text[LOG_LINE_BYTES];
};

void log_line_text(struct log_line *line, const struct log_event *event);
void log_line_json(struct log_line *line, const struct log_event *event);
void log_line_journal(struct log_line *line, const struct log_event *event);
