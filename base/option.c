/* SPDX-License-Identifier: MIT */
#include "base/option.h"

#include "base/must.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define OPTION_NAME_MAX 64

static const char *const option_booleans[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};

/* --- one value ------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int option_refuse(char *why, size_t why_bytes,
                                                               const char *format, ...) {
    if (why && why_bytes > 0) {
        va_list args;
        va_start(args, format);
        vsnprintf(why, why_bytes, format, args);
        va_end(args);
    }
    return OPTION_BAD;
}

/* The value's text for a sentence: long or unprintable texts are cut, so that a sentence stays one
 * line. */
struct option_shown {
    char text[64];
};
static struct option_shown option_show(const char *text) {
    struct option_shown shown = {{0}};
    size_t i = 0;
    for (; text[i] && i < sizeof shown.text - 4; i++) {
        shown.text[i] = text[i] >= ' ' && text[i] <= '~' ? text[i] : '?';
    }
    if (text[i]) {
        memcpy(shown.text + i, "...", 4);
    }
    return shown;
}

static int option_parse_bool(const struct option *row, bool *field, const char *text, char *why,
                             size_t why_bytes) {
    for (size_t i = 0; i < array_count(option_booleans); i++) {
        if (strcmp(option_booleans[i], text) == 0) {
            *field = i % 2 == 1;
            return 0;
        }
    }
    return option_refuse(why, why_bytes, "%s: '%s' is neither on nor off", row->name,
                         option_show(text).text);
}

static int option_number(enum option_kind kind, const char *text, uint64_t *ret_value) {
    if (kind == OPTION_SIZE) {
        return option_size(text, ret_value);
    }
    return kind == OPTION_DURATION ? option_duration(text, ret_value)
                                   : option_count(text, ret_value);
}

static size_t option_number_format(enum option_kind kind, uint64_t value, char *text,
                                   size_t text_bytes) {
    if (kind == OPTION_SIZE) {
        return option_size_format(value, text, text_bytes);
    }
    if (kind == OPTION_DURATION) {
        return option_duration_format(value, text, text_bytes);
    }
    int n = snprintf(text, text_bytes, "%llu", (unsigned long long)value);
    return n > 0 ? (size_t)n : 0;
}

static int option_parse_number(const struct option *row, uint64_t *field, const char *text,
                               char *why, size_t why_bytes) {
    const char *what = row->kind == OPTION_SIZE       ? "a size (try 4096, 256KiB, 64MiB, 2GiB)"
                       : row->kind == OPTION_DURATION ? "a duration (try 500ms, 10s, 2m)"
                                                      : "a count (try 4096)";
    uint64_t value;
    if (option_number(row->kind, text, &value) != 0) {
        return option_refuse(why, why_bytes, "%s: '%s' is not %s", row->name,
                             option_show(text).text, what);
    }
    bool low = value < row->min;
    bool high = row->max != 0 && value > row->max;
    if (low || high) {
        char bound[32];
        option_number_format(row->kind, low ? row->min : row->max, bound, sizeof bound);
        return option_refuse(why, why_bytes, "%s: '%s' is too %s (%s at %s)", row->name,
                             option_show(text).text, low ? "small" : "large", bound,
                             low ? "least" : "most");
    }
    *field = value;
    return 0;
}

static int option_parse_ratio(const struct option *row, double *field, const char *text, char *why,
                              size_t why_bytes) {
    double value;
    if (option_ratio(text, &value) != 0) {
        return option_refuse(why, why_bytes,
                             "%s: '%s' is not a ratio between 0 and 1 (try 0.25 or 25%%)",
                             row->name, option_show(text).text);
    }
    *field = value;
    return 0;
}

static int option_parse_choice(const struct option *row, uint32_t *field, const char *text,
                               char *why, size_t why_bytes) {
    char words[256] = "";
    size_t used = 0;
    for (uint32_t i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            *field = i;
            return 0;
        }
        if (used < sizeof words) {
            int n =
                snprintf(words + used, sizeof words - used, "%s%s", i ? ", " : "", row->choices[i]);
            used += n > 0 ? (size_t)n : 0;
        }
    }
    return option_refuse(why, why_bytes, "%s: '%s' is not one of: %s", row->name,
                         option_show(text).text, words);
}

static int option_parse_text(const struct option *row, char *field, const char *text, char *why,
                             size_t why_bytes) {
    size_t bytes = strlen(text);
    if (bytes >= row->max) {
        return option_refuse(why, why_bytes, "%s: %zu characters are too many (%llu at most)",
                             row->name, bytes, (unsigned long long)row->max - 1);
    }
    memcpy(field, text, bytes + 1);
    return 0;
}

int option_parse(const struct option *row, void *settings, const char *text, char *why,
                 size_t why_bytes) {
    void *field = (uint8_t *)settings + row->offset;
    switch (row->kind) {
    case OPTION_BOOL:
        return option_parse_bool(row, field, text, why, why_bytes);
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        return option_parse_number(row, field, text, why, why_bytes);
    case OPTION_RATIO:
        return option_parse_ratio(row, field, text, why, why_bytes);
    case OPTION_CHOICE:
        return option_parse_choice(row, field, text, why, why_bytes);
    case OPTION_TEXT:
        return option_parse_text(row, field, text, why, why_bytes);
    }
    never("a kind of option that does not exist");
}

static size_t option_choice_format(const struct option *row, uint32_t chosen, char *text,
                                   size_t text_bytes) {
    uint32_t count = 0;
    while (row->choices[count]) {
        count++;
    }
    must(chosen < count);
    int n = snprintf(text, text_bytes, "%s", row->choices[chosen]);
    return n > 0 ? (size_t)n : 0;
}

size_t option_format(const struct option *row, const void *settings, char *text,
                     size_t text_bytes) {
    must(text_bytes > 0);
    const void *field = (const uint8_t *)settings + row->offset;
    size_t used = 0;
    switch (row->kind) {
    case OPTION_BOOL:
        used = (size_t)snprintf(text, text_bytes, "%s", *(const bool *)field ? "on" : "off");
        break;
    case OPTION_COUNT:
    case OPTION_SIZE:
    case OPTION_DURATION:
        used = option_number_format(row->kind, *(const uint64_t *)field, text, text_bytes);
        break;
    case OPTION_RATIO:
        used = option_ratio_format(*(const double *)field, text, text_bytes);
        break;
    case OPTION_CHOICE:
        used = option_choice_format(row, *(const uint32_t *)field, text, text_bytes);
        break;
    case OPTION_TEXT:
        used = (size_t)snprintf(text, text_bytes, "%s", (const char *)field);
        break;
    }
    return used < text_bytes ? used : text_bytes - 1;
}

/* --- the table ------------------------------------------------------------------------------- */

void option_defaults(const struct option *table, size_t rows, void *settings) {
    for (size_t i = 0; i < rows; i++) {
        char why[256];
        if (option_parse(&table[i], settings, table[i].fallback, why, sizeof why) != 0) {
            panic(why, __FILE__, __LINE__);
        }
    }
}

const struct option *option_find(const struct option *table, size_t rows, const char *name) {
    for (size_t i = 0; i < rows; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return &table[i];
        }
    }
    return NULL;
}

/* Inserts, deletions and replacements that make one name of the other, one row of the table at a
 * time; '-', '_' and '.' count as one letter. */
static uint32_t option_distance(const char *a, const char *b) {
    size_t b_chars = strlen(b);
    uint32_t row[OPTION_NAME_MAX + 1];
    must(b_chars <= OPTION_NAME_MAX);
    for (uint32_t j = 0; j <= b_chars; j++) {
        row[j] = j;
    }
    for (uint32_t i = 1; a[i - 1]; i++) {
        uint32_t corner = row[0]; /* the row above, one to the left */
        row[0] = i;
        for (size_t j = 1; j <= b_chars; j++) {
            bool joins = strchr("-_.", a[i - 1]) && strchr("-_.", b[j - 1]);
            uint32_t best = corner + (a[i - 1] != b[j - 1] && !joins);
            corner = row[j];
            best = best <= corner ? best : corner + 1;
            row[j] = best <= row[j - 1] ? best : row[j - 1] + 1;
        }
    }
    return row[b_chars];
}

const char *option_nearest(const struct option *table, size_t rows, const char *name) {
    size_t chars = strnlen(name, OPTION_NAME_MAX + 1);
    if (chars == 0 || chars > OPTION_NAME_MAX) {
        return NULL;
    }
    const char *nearest = NULL;
    uint32_t least = UINT32_MAX;
    for (size_t i = 0; i < rows; i++) {
        /* People forget the section: "memory" is near to store.memory. */
        const char *key = strchr(table[i].name, '.');
        uint32_t whole = option_distance(name, table[i].name);
        uint32_t tail = key ? 1 + option_distance(name, key + 1) : whole;
        uint32_t distance = whole < tail ? whole : tail;
        if (distance < least) {
            least = distance;
            nearest = table[i].name;
        }
    }
    /* Where more than half must change, a suggestion is noise. */
    return least <= chars / 2 + 1 ? nearest : NULL;
}
