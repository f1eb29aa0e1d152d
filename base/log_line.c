/* SPDX-License-Identifier: MIT */
#include "base/log_line.h"

#include "base/must.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Kept free for what must close a line: the mark of a cut, the count of dropped lines, the end. */
#define LOG_TAIL_BYTES 96

struct log_level_name {
    const char *json, *text;
    int priority; /* of syslog */
};

static const struct log_level_name log_levels[] = {
    [LOG_LEVEL_DEBUG] = {"debug", "DEBUG", 7},
    [LOG_LEVEL_INFO] = {"info", "INFO ", 6},
    [LOG_LEVEL_WARN] = {"warn", "WARN ", 4},
    [LOG_LEVEL_ERROR] = {"error", "ERROR", 3},
};

/* As log_escape, and says how many bytes of the data found room. */
static size_t log_escape_some(char *text, size_t text_bytes, const void *data, size_t bytes,
                              size_t *ret_taken) {
    static const char hex[] = "0123456789abcdef";
    must(text_bytes > 0);
    const uint8_t *from = data;
    size_t used = 0, i = 0;
    for (; i < bytes; i++) {
        /* The backslash too: an escape in the text is always ours. */
        bool plain = from[i] >= ' ' && from[i] <= '~' && from[i] != '\\';
        size_t need = plain ? 1 : 4;
        if (used + need >= text_bytes) {
            break;
        }
        if (plain) {
            text[used++] = (char)from[i];
            continue;
        }
        text[used++] = '\\';
        text[used++] = 'x';
        text[used++] = hex[from[i] >> 4];
        text[used++] = hex[from[i] & 15];
    }
    text[used] = 0;
    *ret_taken = i;
    return used;
}

size_t log_escape(char *text, size_t text_bytes, const void *data, size_t bytes) {
    size_t taken;
    return log_escape_some(text, text_bytes, data, bytes, &taken);
}

/* All or nothing, up to `room` bytes of the line. */
__attribute__((format(printf, 3, 4))) static bool log_put(struct log_line *line, size_t room,
                                                          const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line->text + line->used, room - line->used, format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= room - line->used) {
        line->cut = true;
        return false;
    }
    line->used += (size_t)n;
    return true;
}

/* The value as words, in `text`; the kinds that are text are escaped. Returns: whether it is one.
 */
static bool log_value(const struct log_field *field, char text[LOG_VALUE_BYTES]) {
    switch (field->kind) {
    case LOG_FIELD_STR:
    case LOG_FIELD_BYTES: {
        const char *str = field->value.str;
        size_t bytes = field->kind == LOG_FIELD_BYTES ? field->bytes : str ? strlen(str) : 0;
        size_t taken;
        size_t used = log_escape_some(text, LOG_VALUE_BYTES - 3, str, bytes, &taken);
        if (taken < bytes) {
            memcpy(text + used, "...", 4);
        }
        return true;
    }
    case LOG_FIELD_U64:
        snprintf(text, LOG_VALUE_BYTES, "%llu", (unsigned long long)field->value.u64);
        return false;
    case LOG_FIELD_I64:
        snprintf(text, LOG_VALUE_BYTES, "%lld", (long long)field->value.i64);
        return false;
    case LOG_FIELD_F64: {
        snprintf(text, LOG_VALUE_BYTES, "%.9g", field->value.f64);
        char *comma = strchr(text, ','); /* the locale of a terminal program is not the log's */
        if (comma) {
            *comma = '.';
        }
        return false;
    }
    case LOG_FIELD_END:
        break;
    }
    never("a field without a kind");
}

/* Copies `value` with a backslash before quotes and backslashes. Returns: false where it is too
 * long. */
static bool log_quote(char *text, size_t text_bytes, const char *value) {
    size_t used = 0;
    for (; *value; value++) {
        bool marked = *value == '"' || *value == '\\';
        if (used + marked + 1 >= text_bytes) {
            return false;
        }
        if (marked) {
            text[used++] = '\\';
        }
        text[used++] = *value;
    }
    text[used] = 0;
    return true;
}

/* " name=value" for each field, quoted where a reader or a script would split it. */
static void log_put_words(struct log_line *line, size_t room, const struct log_event *event) {
    char value[LOG_VALUE_BYTES], quoted[2 * LOG_VALUE_BYTES];
    for (const struct log_field *field = event->fields; field->kind != LOG_FIELD_END; field++) {
        bool text = log_value(field, value);
        if (!text || (*value && strpbrk(value, " =\"") == NULL)) {
            log_put(line, room, " %s=%s", field->name, value);
            continue;
        }
        /* Backslashes are left alone: between these quotes only a quote must be marked. */
        size_t used = 0;
        for (const char *c = value; *c; c++) {
            if (*c == '"') {
                quoted[used++] = '\\';
            }
            quoted[used++] = *c;
        }
        quoted[used] = 0;
        log_put(line, room, " %s=\"%s\"", field->name, quoted);
    }
    if (line->cut) {
        log_put(line, room + LOG_TAIL_BYTES / 3, " (cut)");
    }
    if (event->dropped > 0) {
        log_put(line, room + LOG_TAIL_BYTES / 2, " (%u like it dropped)", event->dropped);
    }
}

static void log_begin(struct log_line *line) {
    line->used = 0;
    line->cut = false;
}

void log_line_text(struct log_line *line, const struct log_event *event) {
    log_begin(line);
    time_t seconds = (time_t)(event->wall_us / 1000000u);
    struct tm when;
    localtime_r(&seconds, &when);
    const size_t room = LOG_LINE_BYTES - LOG_TAIL_BYTES;
    char message[LOG_VALUE_BYTES];
    log_escape(message, sizeof message, event->message, strlen(event->message));
    log_put(line, room, "%04d-%02d-%02d %02d:%02d:%02d.%03u %s %s", when.tm_year + 1900,
            when.tm_mon + 1, when.tm_mday, when.tm_hour, when.tm_min, when.tm_sec,
            (unsigned)(event->wall_us / 1000u % 1000u), log_levels[event->level].text, message);
    log_put_words(line, room, event);
    log_put(line, LOG_LINE_BYTES, "\n");
}

void log_line_json(struct log_line *line, const struct log_event *event) {
    log_begin(line);
    time_t seconds = (time_t)(event->wall_us / 1000000u);
    struct tm when;
    gmtime_r(&seconds, &when);
    const size_t room = LOG_LINE_BYTES - LOG_TAIL_BYTES;
    char value[LOG_VALUE_BYTES], quoted[2 * LOG_VALUE_BYTES];
    log_escape(value, sizeof value, event->message, strlen(event->message));
    must(log_quote(quoted, sizeof quoted, value));
    log_put(line, room,
            "{\"time\":\"%04d-%02d-%02dT%02d:%02d:%02d.%06uZ\",\"level\":\"%s\",\"message\":\"%s\","
            "\"source\":\"%s:%d\"",
            when.tm_year + 1900, when.tm_mon + 1, when.tm_mday, when.tm_hour, when.tm_min,
            when.tm_sec, (unsigned)(event->wall_us % 1000000u), log_levels[event->level].json,
            quoted, event->file, event->line);
    for (const struct log_field *field = event->fields; field->kind != LOG_FIELD_END; field++) {
        if (log_value(field, value)) {
            must(log_quote(quoted, sizeof quoted, value));
            log_put(line, room, ",\"%s\":\"%s\"", field->name, quoted);
        } else if (field->kind == LOG_FIELD_F64 && !isfinite(field->value.f64)) {
            log_put(line, room, ",\"%s\":null", field->name); /* JSON has no infinity */
        } else {
            log_put(line, room, ",\"%s\":%s", field->name, value);
        }
    }
    if (line->cut) {
        log_put(line, LOG_LINE_BYTES, ",\"cut\":true");
    }
    if (event->dropped > 0) {
        log_put(line, LOG_LINE_BYTES, ",\"dropped\":%u", event->dropped);
    }
    log_put(line, LOG_LINE_BYTES, "}\n");
}

/* Field names of the journal are capitals, digits and underscores; the prefix keeps ours apart from
 * those it gives a meaning to. */
static void log_journal_name(char *text, size_t text_bytes, const char *name) {
    size_t used = 0;
    for (; *name && used + 1 < text_bytes; name++) {
        bool lower = *name >= 'a' && *name <= 'z';
        bool plain = (*name >= 'A' && *name <= 'Z') || (*name >= '0' && *name <= '9');
        text[used++] = (char)(lower ? *name - 'a' + 'A' : plain ? *name : '_');
    }
    text[used] = 0;
}

void log_line_journal(struct log_line *line, const struct log_event *event) {
    log_begin(line);
    /* Half for the sentence with its words, as people read it; half for the same as fields. */
    const size_t half = LOG_LINE_BYTES / 2;
    char value[LOG_VALUE_BYTES], name[64];
    log_put(line, half, "PRIORITY=%d\nSYSLOG_IDENTIFIER=millrace\nCODE_FILE=%s\nCODE_LINE=%d\n",
            log_levels[event->level].priority, event->file, event->line);
    log_escape(value, sizeof value, event->message, strlen(event->message));
    log_put(line, half, "MESSAGE=%s", value);
    log_put_words(line, half, event);
    log_put(line, LOG_LINE_BYTES, "\n");
    for (const struct log_field *field = event->fields; field->kind != LOG_FIELD_END; field++) {
        log_value(field, value);
        log_journal_name(name, sizeof name, field->name);
        log_put(line, LOG_LINE_BYTES, "MILLRACE_%s=%s\n", name, value);
    }
    if (event->dropped > 0) {
        log_put(line, LOG_LINE_BYTES, "MILLRACE_DROPPED=%u\n", event->dropped);
    }
}
