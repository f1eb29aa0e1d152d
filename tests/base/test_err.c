/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

Test(err, nothing_raised_is_an_empty_trace) {
    char text[64] = "x";
    cr_assert_eq(err_trace(text, sizeof text), 0);
    cr_assert_str_empty(text);
}

Test(err, success_and_outcomes_pass_without_a_trace) {
    char text[64];
    cr_assert_eq(err_raise(0), 0);
    cr_assert_eq(err_pass(3), 3);
    cr_assert_eq(err_trace(text, sizeof text), 0);
}

Test(err, a_trace_names_birth_way_and_words) {
    char text[512], wanted[512];
    int line = __LINE__ + 1;
    cr_assert_eq(err_raise(-ENOSPC), -ENOSPC);
    cr_assert_eq(err_pass(-ENOSPC), -ENOSPC);
    snprintf(wanted, sizeof wanted,
             "tests/base/test_err.c:%d <- tests/base/test_err.c:%d: No space left on device", line,
             line + 1);
    cr_assert_eq(err_trace(text, sizeof text), strlen(wanted));
    cr_assert_str_eq(text, wanted);
}

Test(err, a_new_birth_forgets_the_old_path) {
    char text[512];
    cr_assert_eq(err_note_slow(-EIO, "a.c", 1, true), -EIO);
    cr_assert_eq(err_note_slow(-EIO, "b.c", 2, false), -EIO);
    cr_assert_eq(err_note_slow(-ENOENT, "c.c", 3, true), -ENOENT);
    err_trace(text, sizeof text);
    cr_assert_str_eq(text, "c.c:3: No such file or directory");
}

Test(err, a_passed_value_nobody_raised_begins_a_path) {
    char text[512];
    cr_assert_eq(err_note_slow(-EIO, "a.c", 1, true), -EIO);
    cr_assert_eq(err_note_slow(-EPERM, "b.c", 2, false), -EPERM);
    err_trace(text, sizeof text);
    cr_assert_str_eq(text, "b.c:2: Operation not permitted");
}

Test(err, a_long_path_keeps_its_ends) {
    char text[2048];
    cr_assert_eq(err_note_slow(-EIO, "birth.c", 1, true), -EIO);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(err_note_slow(-EIO, "way.c", i, false), -EIO);
    }
    err_trace(text, sizeof text);
    cr_assert_eq(strncmp(text, "birth.c:1 <- ... <- way.c:85 <- ", 32), 0, "%s", text);
    cr_assert_not_null(strstr(text, "way.c:99: Input/output error"));
}

Test(err, a_small_buffer_is_filled_and_terminated) {
    cr_assert_eq(err_note_slow(-EIO, "birth.c", 1, true), -EIO);
    cr_assert_eq(err_note_slow(-EIO, "way.c", 1, false), -EIO);
    for (size_t room = 1; room < 50; room++) {
        char text[64];
        memset(text, 'x', sizeof text);
        size_t used = err_trace(text, room);
        cr_assert_eq(used, strlen(text));
        cr_assert_lt(used, room);
        cr_assert_eq(text[room], 'x');
    }
}

Test(err, words_exist_for_every_value) {
    cr_assert_str_eq(err_text(-ENOENT), "No such file or directory");
    cr_assert_str_eq(err_text(-123456), "unknown error");
    cr_assert_str_eq(err_text(INT32_MIN), "unknown error");
    cr_assert_str_eq(err_text(0), "no error");
}

Test(err, source_paths_begin_at_the_tree) {
    cr_assert_str_eq(err_source(__FILE__), "tests/base/test_err.c");
    cr_assert_str_eq(err_source("elsewhere.c"), "elsewhere.c");
}

Test(err, raising_a_positive_value_slowly_panics, .signal = SIGABRT) {
    err_note_slow(1, "a.c", 1, true);
}
