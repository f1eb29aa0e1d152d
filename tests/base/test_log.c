/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/clock.h"

#include <criterion/criterion.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* stderr becomes a temporary file; captured() reads what was written to it. Each test of Criterion
 * is a process of its own, so nothing needs to be put back. */
static FILE *capture;

static void capture_begin(void) {
    capture = tmpfile();
    cr_assert_not_null(capture);
    cr_assert_geq(dup2(fileno(capture), STDERR_FILENO), 0);
}

static const char *captured(void) {
    static char text[65536];
    ssize_t n = pread(fileno(capture), text, sizeof text - 1, 0);
    cr_assert_geq(n, 0);
    text[n] = 0;
    return text;
}

static uint32_t lines_in(const char *text) {
    uint32_t lines = 0;
    for (; *text; text++) {
        lines += *text == '\n';
    }
    return lines;
}

Test(log, peer_bytes_are_escaped_and_terminated) {
    char text[64];
    cr_assert_eq(log_escape(text, sizeof text, "ab\n\x1b\x7f\xff\\", 7), 22);
    cr_assert_str_eq(text, "ab\\x0a\\x1b\\x7f\\xff\\x5c");
    cr_assert_eq(log_escape(text, sizeof text, NULL, 0), 0);
    cr_assert_str_empty(text);
    cr_assert_eq(log_escape(text, 6, "a\nb\n", 4), 5);
    cr_assert_str_eq(text, "a\\x0a");
    cr_assert_eq(log_escape(text, 5, "a\nb\n", 4), 1);
    cr_assert_str_eq(text, "a");
    cr_assert_eq(log_escape(text, 1, "a", 1), 0);
}

Test(log, a_site_speaks_ten_times_a_second_and_then_says_what_it_dropped) {
    struct log_site site = {0};
    uint32_t dropped = 99, spoken = 0;
    const uint64_t begin = 5 * NS_PER_S;
    for (uint64_t i = 0; i < 25; i++) {
        spoken += log_admit(&site, begin + i * NS_PER_MS, &dropped);
    }
    cr_assert_eq(spoken, 10);
    cr_assert_eq(dropped, 0);
    cr_assert_not(log_admit(&site, begin + 999 * NS_PER_MS, &dropped));
    cr_assert(log_admit(&site, begin + 1000 * NS_PER_MS, &dropped));
    cr_assert_eq(dropped, 16);
    cr_assert(log_admit(&site, begin + 1001 * NS_PER_MS, &dropped));
    cr_assert_eq(dropped, 0);
}

static struct log_site shared_site;
static _Atomic uint32_t shared_spoken;

static void *speak(void *unused) {
    for (int i = 0; i < 10000; i++) {
        uint32_t dropped;
        atomic_fetch_add(&shared_spoken, log_admit(&shared_site, 7 * NS_PER_S, &dropped));
    }
    return unused;
}

Test(log, four_threads_at_one_site_speak_ten_times_together) {
    pthread_t threads[4];
    uint32_t dropped;
    for (size_t i = 0; i < array_count(threads); i++) {
        cr_assert_eq(pthread_create(&threads[i], NULL, speak, NULL), 0);
    }
    for (size_t i = 0; i < array_count(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    cr_assert_eq(atomic_load(&shared_spoken), 10);
    cr_assert(log_admit(&shared_site, 9 * NS_PER_S, &dropped));
    cr_assert_eq(dropped, 39990);
}

Test(log, lines_below_the_level_are_not_written) {
    capture_begin();
    log_setup(LOG_LEVEL_WARN, LOG_FORM_TEXT);
    log_debug("one");
    log_info("two");
    log_warn("three");
    log_error("four", log_u64("n", 4));
    cr_assert_eq(lines_in(captured()), 2);
    cr_assert_not_null(strstr(captured(), " WARN  three\n"));
    cr_assert_not_null(strstr(captured(), " ERROR four n=4\n"));
}

Test(log, a_busy_site_is_limited_and_another_is_not) {
    capture_begin();
    log_setup(LOG_LEVEL_INFO, LOG_FORM_TEXT);
    uint64_t begin_ns = clock_ns();
    for (int i = 0; i < 50; i++) {
        log_info("busy");
    }
    log_info("other");
    /* On a machine that took longer than a second for this, the site may rightly speak again. */
    if (clock_ns() - begin_ns < NS_PER_S) {
        cr_assert_eq(lines_in(captured()), 11);
    }
    cr_assert_not_null(strstr(captured(), " other\n"));
}

Test(log, off_a_terminal_auto_is_json) {
    unsetenv("JOURNAL_STREAM");
    capture_begin();
    log_setup(LOG_LEVEL_INFO, LOG_FORM_AUTO);
    log_info("store opened", log_str("dir", "/a \"b\""), log_u64("blocks", 3));
    cr_assert_eq(captured()[0], '{');
    cr_assert_not_null(strstr(captured(), ",\"dir\":\"/a \\\"b\\\"\",\"blocks\":3}\n"), "%s",
                       captured());
    cr_assert_not_null(strstr(captured(), "\"source\":\"tests/base/test_log.c:"), "%s", captured());
}

static int journal_at(char path[64]) {
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char directory[] = "/tmp/test_log.XXXXXX";
    cr_assert_not_null(mkdtemp(directory));
    snprintf(path, 64, "%s/socket", directory);
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static void journal_remove(char path[64]) {
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
}

Test(log, under_the_journal_lines_are_datagrams_of_fields) {
    char path[64], got[4096] = "", stream[64];
    int fd = journal_at(path);
    struct stat status;
    capture_begin();
    cr_assert_eq(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    cr_assert(log_setup_journal(path));
    log_setup(LOG_LEVEL_INFO, LOG_FORM_AUTO);
    log_warn("peer refused", log_bytes("peer-id", "a\nb", 3), log_i64("left", -2));
    cr_assert_gt(recv(fd, got, sizeof got - 1, MSG_DONTWAIT), 0);
    journal_remove(path);
    cr_assert_not_null(strstr(got, "PRIORITY=4\n"));
    cr_assert_not_null(strstr(got, "\nMESSAGE=peer refused peer-id=a\\x0ab left=-2\n"), "%s", got);
    cr_assert_not_null(strstr(got, "\nMILLRACE_PEER_ID=a\\x0ab\nMILLRACE_LEFT=-2\n"));
    cr_assert_not_null(strstr(got, "\nCODE_FILE=tests/base/test_log.c\n"));
    cr_assert_str_empty(captured());
}

Test(log, a_journal_that_is_away_leaves_json_on_stderr) {
    capture_begin();
    cr_assert(log_setup_journal("/nonexistent/socket"));
    log_setup(LOG_LEVEL_INFO, LOG_FORM_JOURNAL);
    log_info("still here");
    cr_assert_not_null(strstr(captured(), "\"message\":\"still here\""));
}

Test(log, a_stream_that_is_not_the_journals_is_not_taken_for_it) {
    capture_begin();
    setenv("JOURNAL_STREAM", "1:2", 1);
    log_setup(LOG_LEVEL_INFO, LOG_FORM_AUTO);
    log_info("plain");
    cr_assert_eq(captured()[0], '{');
}

Test(log, a_journal_path_that_is_too_long_is_refused) {
    char path[300];
    memset(path, 'a', sizeof path - 1);
    path[sizeof path - 1] = 0;
    cr_assert_not(log_setup_journal(path));
}
