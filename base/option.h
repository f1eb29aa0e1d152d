/* SPDX-License-Identifier: MIT */
#pragma once

/* option — one table of settings makes the struct's defaults, the parser, --help and the man page.
 *
 * Each row names a field of a plain struct. Values are text with units: sizes "64MiB", "256K",
 * "1048576"; durations "10ms", "1s"; counts "4096"; booleans "on"/"off"; choices by word; core
 * lists as taskset takes them ("0-3,8", "0-10/2") or "auto".
 *
 * Sizes: K, KB and KiB are all 1,024 bytes, and so on to T, in either case, as nginx and systemd
 * read them; no unit means bytes. Durations: ns us ms s m h d, also in parts ("1h30m"); a number
 * alone is refused, but for 0. Both may have a fraction ("1.5GiB") that comes to a whole number.
 *
 * Errors are sentences for people: option_parse writes one into `why` ("tlv.idle_timeout: '10
 * parsecs' is not a duration (try 500ms, 10s, 2m)"). File and line are the caller's to add. */

#include "base/base.h"

enum option_kind {
    OPTION_BOOL,     /* bool */
    OPTION_COUNT,    /* uint64_t, min..max (max 0: no upper limit; so for the next two) */
    OPTION_SIZE,     /* uint64_t bytes, min..max */
    OPTION_DURATION, /* uint64_t nanoseconds, min..max */
    OPTION_RATIO,    /* double, 0..1: "0.25" or "25%", nine decimals */
    OPTION_CHOICE,   /* uint32_t index into `choices` */
    OPTION_TEXT,     /* char[], room = max */
};

struct option {
    const char *name; /* "store.memory": section.key */
    enum option_kind kind;
    size_t offset;              /* of the field in the settings struct */
    const char *fallback;       /* the default, as text */
    uint64_t min, max;          /* COUNT, SIZE, DURATION: range; TEXT: max = bytes with its NUL */
    const char *const *choices; /* CHOICE: NULL-terminated words */
    bool reloadable;            /* SIGHUP may change it */
    const char *unit;           /* for people: "bytes", "time", "count", "word" */
    const char *help;           /* one sentence */
};

/* option_defaults sets every field of `settings` from its row. Panics if a default does not parse.
 */
void option_defaults(const struct option *table, size_t rows, void *settings);
/* Returns: 0, or OPTION_BAD with a sentence in `why` and the field untouched. */
enum { OPTION_BAD = 1 };
must_check int option_parse(const struct option *row, void *settings, const char *text, char *why,
                            size_t why_bytes);
/* option_format writes the field's value as text that option_parse takes back. */
size_t option_format(const struct option *row, const void *settings, char *text, size_t text_bytes);
/* Returns: the row of that name, or NULL; option_nearest: the closest name, for "did you mean",
 * NULL where none is close. Names are at most 64 characters. */
const struct option *option_find(const struct option *table, size_t rows, const char *name);
const char *option_nearest(const struct option *table, size_t rows, const char *name);

/* The parsers by themselves, for command lines. Returns: 0 or OPTION_BAD. */
must_check int option_size(const char *text, uint64_t *ret_bytes);
must_check int option_duration(const char *text, uint64_t *ret_ns);
must_check int option_count(const char *text, uint64_t *ret_count);
must_check int option_ratio(const char *text, double *ret_ratio);
/* And back: the largest unit that leaves a whole number ("64MiB", "1500ms"). Returns: characters as
 * snprintf counts them. */
size_t option_size_format(uint64_t bytes, char *text, size_t text_bytes);
size_t option_duration_format(uint64_t ns, char *text, size_t text_bytes);
size_t option_ratio_format(double ratio, char *text, size_t text_bytes);
/* A core list into a bitmap of CORES_MAX bits; "auto" gives *ret_auto = true and an empty map. A
 * core named twice is OPTION_BAD. */
#define CORES_MAX 1024
must_check int option_cores(const char *text, uint64_t ret_map[CORES_MAX / 64], bool *ret_auto);
