/* SPDX-License-Identifier: MIT */
#include "base/option.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <string.h>

struct things {
    bool flag;
    uint64_t count, size, duration;
    double ratio;
    uint32_t choice;
    char text[8];
};

static const char *const forms[] = {"auto", "text", "json", NULL};

#define FIELD(name) offsetof(struct things, name)
static const struct option table[] = {
    {"net.spread", OPTION_BOOL, FIELD(flag), "on", 0, 0, NULL, true, "word", "A switch."},
    {"net.backlog", OPTION_COUNT, FIELD(count), "512", 16, 65535, NULL, false, "count", "A count."},
    {"store.memory", OPTION_SIZE, FIELD(size), "64MiB", 4096, GiB, NULL, false, "bytes", "A size."},
    {"tlv.idle_timeout", OPTION_DURATION, FIELD(duration), "10s", NS_PER_MS, 0, NULL, true, "time",
     "A time."},
    {"sched.boost", OPTION_RATIO, FIELD(ratio), "0.1", 0, 0, NULL, true, "ratio", "A part."},
    {"log.form", OPTION_CHOICE, FIELD(choice), "auto", 0, 0, forms, false, "word", "A word."},
    {"tlv.name", OPTION_TEXT, FIELD(text), "", 0, 8, NULL, false, "text", "A text."},
};
enum { ROWS = array_count(table) };

static struct things defaults(void) {
    struct things things;
    memset(&things, 0xff, sizeof things);
    option_defaults(table, ROWS, &things);
    return things;
}

Test(option, defaults_come_from_the_table) {
    struct things things = defaults();
    cr_assert_eq(things.flag, true);
    cr_assert_eq(things.count, 512);
    cr_assert_eq(things.size, 64 * MiB);
    cr_assert_eq(things.duration, 10 * NS_PER_S);
    cr_assert_float_eq(things.ratio, 0.1, 1e-12);
    cr_assert_eq(things.choice, 0);
    cr_assert_str_empty(things.text);
}

static void set(struct things *things, const char *name, const char *text) {
    char why[256] = "";
    const struct option *row = option_find(table, ROWS, name);
    cr_assert_not_null(row);
    cr_assert_eq(option_parse(row, things, text, why, sizeof why), 0, "%s", why);
}

Test(option, each_kind_is_parsed_and_shown_as_it_is_parsed_back) {
    static const char *const values[ROWS][3] = {
        {"off", "no", "off"},         {"16", "16", "16"},       {"1073741824", "1024m", "1GiB"},
        {"1500ms", "1.5s", "1500ms"}, {"25%", "0.250", "0.25"}, {"json", "json", "json"},
        {"a b", "a b", "a b"},
    };
    struct things things = defaults();
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t v = 0; v < 3; v++) {
            char shown[32];
            set(&things, table[i].name, values[i][v]);
            size_t chars = option_format(&table[i], &things, shown, sizeof shown);
            cr_assert_str_eq(shown, values[i][2]);
            cr_assert_eq(chars, strlen(shown));
        }
    }
}

static void refuse(const char *name, const char *text, const char *sentence) {
    struct things things = defaults(), before = things;
    char why[256] = "";
    const struct option *row = option_find(table, ROWS, name);
    cr_assert_eq(option_parse(row, &things, text, why, sizeof why), OPTION_BAD);
    cr_assert_str_eq(why, sentence);
    cr_assert_eq(things.flag, before.flag);
    cr_assert_eq(things.count, before.count);
    cr_assert_eq(things.size, before.size);
    cr_assert_eq(things.duration, before.duration);
    cr_assert_eq(things.ratio, before.ratio);
    cr_assert_eq(things.choice, before.choice);
    cr_assert_str_eq(things.text, before.text);
    cr_assert_eq(option_parse(row, &things, text, NULL, 0), OPTION_BAD);
}

Test(option, a_bad_value_is_explained_in_a_sentence) {
    refuse("net.spread", "maybe", "net.spread: 'maybe' is neither on nor off");
    refuse("net.backlog", "many", "net.backlog: 'many' is not a count (try 4096)");
    refuse("net.backlog", "-1", "net.backlog: '-1' is not a count (try 4096)");
    refuse("net.backlog", "15", "net.backlog: '15' is too small (16 at least)");
    refuse("net.backlog", "65536", "net.backlog: '65536' is too large (65535 at most)");
    refuse("store.memory", "4 cows",
           "store.memory: '4 cows' is not a size (try 4096, 256KiB, 64MiB, 2GiB)");
    refuse("store.memory", "1K", "store.memory: '1K' is too small (4KiB at least)");
    refuse("store.memory", "2GiB", "store.memory: '2GiB' is too large (1GiB at most)");
    refuse("tlv.idle_timeout", "10 parsecs",
           "tlv.idle_timeout: '10 parsecs' is not a duration (try 500ms, 10s, 2m)");
    refuse("tlv.idle_timeout", "10",
           "tlv.idle_timeout: '10' is not a duration (try 500ms, 10s, 2m)");
    refuse("tlv.idle_timeout", "1us", "tlv.idle_timeout: '1us' is too small (1ms at least)");
    refuse("sched.boost", "1.5",
           "sched.boost: '1.5' is not a ratio between 0 and 1 (try 0.25 or 25%)");
    refuse("log.form", "xml", "log.form: 'xml' is not one of: auto, text, json");
    refuse("tlv.name", "eightlet", "tlv.name: 8 characters are too many (7 at most)");
}

Test(option, a_long_or_odd_value_is_cut_and_cleaned_in_the_sentence) {
    char long_text[500], why[256];
    struct things things = defaults();
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = 0;
    long_text[0] = '\n';
    cr_assert_eq(option_parse(&table[1], &things, long_text, why, sizeof why), OPTION_BAD);
    cr_assert_eq(strncmp(why, "net.backlog: '?xxx", 18), 0);
    cr_assert_not_null(strstr(why, "xxx...' is not a count"));
}

Test(option, a_short_why_is_terminated) {
    char why[10];
    struct things things = defaults();
    cr_assert_eq(option_parse(&table[1], &things, "many", why, sizeof why), OPTION_BAD);
    cr_assert_str_eq(why, "net.backl");
}

Test(option, a_short_text_is_cut_and_terminated) {
    struct things things = defaults();
    char text[4];
    cr_assert_eq(option_format(&table[2], &things, text, sizeof text), 3);
    cr_assert_str_eq(text, "64M");
}

Test(option, names_are_found_exactly) {
    cr_assert_eq(option_find(table, ROWS, "log.form"), &table[5]);
    cr_assert_null(option_find(table, ROWS, "log.for"));
    cr_assert_null(option_find(table, ROWS, ""));
}

Test(option, the_nearest_name_is_what_was_meant) {
    cr_assert_str_eq(option_nearest(table, ROWS, "store.memroy"), "store.memory");
    cr_assert_str_eq(option_nearest(table, ROWS, "memory"), "store.memory");
    cr_assert_str_eq(option_nearest(table, ROWS, "tlv-idle-timeout"), "tlv.idle_timeout");
    cr_assert_str_eq(option_nearest(table, ROWS, "net.backlogs"), "net.backlog");
    cr_assert_null(option_nearest(table, ROWS, "qqqqqqqqqq"));
    cr_assert_null(option_nearest(table, ROWS, ""));
    cr_assert_null(option_nearest(table, 0, "log.form"));
    char endless[300];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = 0;
    cr_assert_null(option_nearest(table, ROWS, endless));
}

Test(option, a_default_that_does_not_parse_panics, .signal = SIGABRT) {
    struct option bad = table[1];
    struct things things;
    bad.fallback = "many";
    option_defaults(&bad, 1, &things);
}
