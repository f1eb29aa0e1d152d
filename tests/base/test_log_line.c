/* SPDX-License-Identifier: MIT */
#include "base/log_line.h"

#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct log_line line;

static const char *text_of(void (*make)(struct log_line *, const struct log_event *),
                           const struct log_field *fields, uint32_t dropped) {
    static char text[LOG_LINE_BYTES + 1];
    struct log_event event = {.level = LOG_LEVEL_INFO,
                              .line = 7,
                              .dropped = dropped,
                              .wall_us = UINT64_C(1700000000123456),
                              .file = "store/log.c",
                              .message = "store opened",
                              .fields = fields};
    setenv("TZ", "UTC", 1);
    tzset();
    make(&line, &event);
    cr_assert_leq(line.used, LOG_LINE_BYTES);
    memcpy(text, line.text, line.used);
    text[line.used] = 0;
    return text;
}

#define END \
    { .kind = LOG_FIELD_END }

Test(log_line, every_kind_of_field_is_written_in_each_form) {
    const struct log_field fields[] = {log_str("dir", "/a b"),         log_str("none", NULL),
                                       log_bytes("peer", "\"\\\n", 3), log_u64("big", UINT64_MAX),
                                       log_i64("low", INT64_MIN),      log_f64("ratio", 0.25),
                                       log_f64("odd", INFINITY),       END};
    cr_assert_str_eq(text_of(log_line_text, fields, 0),
                     "2023-11-14 22:13:20.123 INFO  store opened dir=\"/a b\" none=\"\" "
                     "peer=\"\\\"\\x5c\\x0a\" big=18446744073709551615 "
                     "low=-9223372036854775808 ratio=0.25 odd=inf\n");
    cr_assert_str_eq(text_of(log_line_json, fields, 0),
                     "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"level\":\"info\","
                     "\"message\":\"store opened\",\"source\":\"store/log.c:7\",\"dir\":\"/a b\","
                     "\"none\":\"\",\"peer\":\"\\\"\\\\x5c\\\\x0a\",\"big\":18446744073709551615,"
                     "\"low\":-9223372036854775808,\"ratio\":0.25,\"odd\":null}\n");
    cr_assert_str_eq(text_of(log_line_journal, fields, 0),
                     "PRIORITY=6\nSYSLOG_IDENTIFIER=millrace\nCODE_FILE=store/log.c\nCODE_LINE=7\n"
                     "MESSAGE=store opened dir=\"/a b\" none=\"\" peer=\"\\\"\\x5c\\x0a\" "
                     "big=18446744073709551615 low=-9223372036854775808 ratio=0.25 odd=inf\n"
                     "MILLRACE_DIR=/a b\nMILLRACE_NONE=\nMILLRACE_PEER=\"\\x5c\\x0a\n"
                     "MILLRACE_BIG=18446744073709551615\nMILLRACE_LOW=-9223372036854775808\n"
                     "MILLRACE_RATIO=0.25\nMILLRACE_ODD=inf\n");
}

Test(log_line, dropped_lines_are_told_in_each_form) {
    const struct log_field fields[] = {END};
    cr_assert_not_null(
        strstr(text_of(log_line_text, fields, 5), "store opened (5 like it dropped)\n"));
    cr_assert_not_null(strstr(text_of(log_line_json, fields, 5), ",\"dropped\":5}\n"));
    cr_assert_not_null(strstr(text_of(log_line_journal, fields, 5), "\nMILLRACE_DROPPED=5\n"));
}

Test(log_line, a_long_value_is_cut_with_a_mark) {
    static char value[5000];
    memset(value, 'v', sizeof value);
    const struct log_field fields[] = {log_bytes("v", value, sizeof value), END};
    const char *text = text_of(log_line_text, fields, 0);
    cr_assert_not_null(strstr(text, "vvv...\n"));
    cr_assert_lt(strlen(text), 1200);
    const struct log_field exact[] = {log_bytes("v", value, LOG_VALUE_BYTES - 4), END};
    cr_assert_null(strstr(text_of(log_line_text, exact, 0), "..."));
}

Test(log_line, a_line_that_is_full_says_so_and_stays_whole) {
    static char value[1000];
    for (int kind = 0; kind < 2; kind++) {
        memset(value, kind ? '"' : 1, sizeof value);
        struct log_field fields[12];
        for (size_t i = 0; i < 11; i++) {
            fields[i] = log_bytes("v", value, sizeof value);
        }
        fields[11] = (struct log_field)END;
        const char *text = text_of(log_line_text, fields, UINT32_MAX);
        cr_assert_not_null(strstr(text, " (cut) (4294967295 like it dropped)\n"), "%s", text);
        text = text_of(log_line_json, fields, UINT32_MAX);
        cr_assert_not_null(strstr(text, ",\"cut\":true,\"dropped\":4294967295}\n"), "%s", text);
        text = text_of(log_line_journal, fields, UINT32_MAX);
        cr_assert_eq(text[strlen(text) - 1], '\n');
        cr_assert_not_null(strstr(text, " (cut) (4294967295 like it dropped)\nMILLRACE_V="), "%s",
                           text);
    }
}
