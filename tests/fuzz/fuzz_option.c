/* SPDX-License-Identifier: MIT */
/* The first byte picks a row of a table with every kind of option, the rest is its value. What is
 * accepted must survive being formatted and parsed again; what is refused must leave the field as
 * it was and be explained. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "base/option.h"

#include <string.h>

struct fuzzed {
    bool flag;
    uint64_t count, size, duration;
    double ratio;
    uint32_t choice;
    char text[32];
};

static const char *const words[] = {"auto", "text", "json", NULL};

#define FIELD(name) offsetof(struct fuzzed, name)
static const struct option table[] = {
    {"a.flag", OPTION_BOOL, FIELD(flag), "on", 0, 0, NULL, false, "word", "A switch."},
    {"a.count", OPTION_COUNT, FIELD(count), "5", 1, 1000000, NULL, false, "count", "A number."},
    {"a.size", OPTION_SIZE, FIELD(size), "4KiB", 0, 0, NULL, false, "bytes", "A size."},
    {"b.duration", OPTION_DURATION, FIELD(duration), "1s", 0, 0, NULL, false, "time", "A time."},
    {"b.ratio", OPTION_RATIO, FIELD(ratio), "0.5", 0, 0, NULL, false, "ratio", "A part."},
    {"b.choice", OPTION_CHOICE, FIELD(choice), "auto", 0, 0, words, false, "word", "A word."},
    {"b.text", OPTION_TEXT, FIELD(text), "", 0, 32, NULL, false, "text", "A text."},
};

static void check_row(const struct option *row, const char *text) {
    struct fuzzed first, again, before;
    memset(&first, 0, sizeof first);
    option_defaults(table, array_count(table), &first);
    memcpy(&before, &first, sizeof before);
    memcpy(&again, &first, sizeof again);
    char why[256] = "";
    if (option_parse(row, &first, text, why, sizeof why) != 0) {
        must(memcmp(&first, &before, sizeof first) == 0);
        must(strncmp(why, row->name, strlen(row->name)) == 0);
        return;
    }
    char shown[64];
    size_t chars = option_format(row, &first, shown, sizeof shown);
    must(chars == strlen(shown));
    must(option_parse(row, &again, shown, why, sizeof why) == 0);
    if (row->kind == OPTION_RATIO) {
        double apart = first.ratio - again.ratio;
        must(apart < 1e-9 && apart > -1e-9);
    } else if (row->kind == OPTION_TEXT) {
        must(strcmp(first.text, again.text) == 0);
    } else {
        must(memcmp(&first, &again, sizeof first) == 0);
    }
}

static void check_cores(const char *text) {
    uint64_t map[CORES_MAX / 64];
    bool automatic;
    if (option_cores(text, map, &automatic) == 0) {
        uint32_t cores = 0;
        for (size_t i = 0; i < array_count(map); i++) {
            cores += (uint32_t)__builtin_popcountll(map[i]);
        }
        must(automatic == (cores == 0));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    char text[256];
    if (bytes == 0 || bytes > sizeof text) {
        return 0;
    }
    memcpy(text, data + 1, bytes - 1);
    text[bytes - 1] = 0;
    check_row(&table[data[0] % array_count(table)], text);
    check_cores(text);
    const char *near = option_nearest(table, array_count(table), text);
    must(near == NULL || option_find(table, array_count(table), near) != NULL);
    return 0;
}
