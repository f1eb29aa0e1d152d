/* SPDX-License-Identifier: MIT */
#pragma once

/* log — events with fields, written for a person, a machine or journald.
 *
 * A line is an event: level, a short sentence, and fields. On a terminal it is text; otherwise JSON
 * lines; under systemd (JOURNAL_STREAM) native journald fields. Peer bytes are always escaped:
 * anything but printable ASCII becomes \xNN. Each call site is limited to 10 lines a second; what
 * is dropped is counted and said when the site may speak again.
 *
 *   log_info("store opened", log_str("dir", dir), log_u64("blocks", n));
 *
 * Thread: control, helpers, tools. A tile never logs (style: tiles count). */

#include "base/base.h"

#include <stdatomic.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_form { LOG_FORM_AUTO, LOG_FORM_TEXT, LOG_FORM_JSON, LOG_FORM_JOURNAL };

enum log_field_kind {
    LOG_FIELD_END,
    LOG_FIELD_STR,
    LOG_FIELD_BYTES,
    LOG_FIELD_U64,
    LOG_FIELD_I64,
    LOG_FIELD_F64
};
struct log_field {
    enum log_field_kind kind;
    const char *name;
    union {
        const char *str;
        uint64_t u64;
        int64_t i64;
        double f64;
    } value;
    size_t bytes; /* LOG_FIELD_BYTES: length of value.str */
};

static inline struct log_field log_str(const char *name, const char *value) {
    return (struct log_field){LOG_FIELD_STR, name, {.str = value}, 0};
}
static inline struct log_field log_bytes(const char *name, const void *value, size_t bytes) {
    return (struct log_field){LOG_FIELD_BYTES, name, {.str = value}, bytes};
}
static inline struct log_field log_u64(const char *name, uint64_t value) {
    return (struct log_field){LOG_FIELD_U64, name, {.u64 = value}, 0};
}
static inline struct log_field log_i64(const char *name, int64_t value) {
    return (struct log_field){LOG_FIELD_I64, name, {.i64 = value}, 0};
}
static inline struct log_field log_f64(const char *name, double value) {
    return (struct log_field){LOG_FIELD_F64, name, {.f64 = value}, 0};
}

struct log_site { /* one per call site, static: its rate limit; any thread, no lock */
    _Atomic uint64_t window;
    _Atomic uint32_t dropped;
};

/* log_setup chooses level and form for the process; AUTO looks at stderr and JOURNAL_STREAM.
 * Thread: boot, and again on reload. */
void log_setup(enum log_level level, enum log_form form);
void log_write(struct log_site *site, enum log_level level, const char *file, int line,
               const char *message, const struct log_field *fields);

#define log_at_(level, message, ...)                                                              \
    do {                                                                                          \
        static struct log_site log_site_;                                                         \
        log_write(&log_site_, (level), __FILE__, __LINE__, (message),                             \
                  (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.kind = LOG_FIELD_END}}); \
    } while (0)
#define log_debug(message, ...) log_at_(LOG_LEVEL_DEBUG, message __VA_OPT__(, ) __VA_ARGS__)
#define log_info(message, ...)  log_at_(LOG_LEVEL_INFO, message __VA_OPT__(, ) __VA_ARGS__)
#define log_warn(message, ...)  log_at_(LOG_LEVEL_WARN, message __VA_OPT__(, ) __VA_ARGS__)
#define log_error(message, ...) log_at_(LOG_LEVEL_ERROR, message __VA_OPT__(, ) __VA_ARGS__)

/* log_admit says whether this site may speak at `now_ns`, and how many lines were dropped since it
 * last could. log_write asks it; it stands here to be tested and for others who limit lines. */
bool log_admit(struct log_site *site, uint64_t now_ns, uint32_t *ret_dropped);
/* Where the journal listens, if not in the usual place. Returns: false where the path is too long.
 * Thread: boot, before log_setup. */
bool log_setup_journal(const char *socket_path);

/* log_escape writes `bytes` of untrusted data as printable ASCII, the backslash as \x5c so that it
 * can be undone; always terminated. */
size_t log_escape(char *text, size_t text_bytes, const void *data, size_t bytes);
