/* SPDX-License-Identifier: MIT */
#include "tools/load/run.h"

#include "tools/load/options.h"
#include "tools/load/report.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A server for RESP's reads that makes up the content from the key's name, one thread a connection;
 * some of what it says may be wrong. Under test is the whole generator: tools/load/run.h,
 * tools/load/worker.h, tools/load/worker.c, tools/load/setup.c, tools/load/requests.c,
 * tools/load/replies.c, and tools/load/main.c by running the program. */

enum lie { LIE_NONE, LIE_BYTE, LIE_LENGTH, LIE_ABSENT, LIE_CLOSE, LIE_SILENCE };

static struct content content;
static enum lie lie;
static int listener;
static _Atomic uint32_t served;

static bool lies_now(void) {
    return lie != LIE_NONE && ++served % 10 == 0;
}

static bool resp_answer(int fd, uint64_t index) {
    char out[300];
    uint8_t block[200];
    bool now = lies_now();
    content_copy(&content, index, block);
    if (now && (lie == LIE_CLOSE || lie == LIE_SILENCE)) {
        return lie == LIE_SILENCE;
    }
    if (now && lie == LIE_ABSENT) {
        return write(fd, "$-1\r\n", 5) == 5;
    }
    uint32_t bytes = now && lie == LIE_LENGTH ? 99 : 100;
    block[50] ^= now && lie == LIE_BYTE;
    int head = snprintf(out, sizeof out, "$%u\r\n", bytes);
    memcpy(out + head, block, bytes);
    memcpy(out + head + (int)bytes, "\r\n", 2);
    ssize_t whole = head + (ssize_t)bytes + 2;
    return write(fd, out, (size_t)whole) == whole;
}

static void *conn_serve(void *argument) {
    int fd = (int)(intptr_t)argument;
    char in[4096];
    size_t held = 0;
    for (bool open = true; open;) {
        ssize_t got = read(fd, in + held, sizeof in - held);
        if (got <= 0) {
            break;
        }
        held += (size_t)got;
        static const char head[] = "*2\r\n$3\r\nGET\r\n$18\r\nk:";
        const size_t request = sizeof head - 1 + 16 + 2;
        size_t at = 0;
        for (; open && held - at >= request; at += request) {
            open = resp_answer(fd, strtoull(in + at + sizeof head - 1, NULL, 16));
        }
        memmove(in, in + at, held - at);
        held -= at;
    }
    close(fd);
    return NULL;
}

static void *serve(void *unused) {
    (void)unused;
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        pthread_t thread;
        cr_assert_eq(pthread_create(&thread, NULL, conn_serve, (void *)(intptr_t)fd), 0);
        pthread_detach(thread);
    }
    return NULL;
}

static uint16_t server_start(enum lie what) {
    lie = what;
    cr_assert_eq(content_open(&content, 500, 100, 1, false), 0);
    listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof at;
    cr_assert_eq(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    cr_assert_eq(listen(listener, 100), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&at, &bytes), 0);
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, serve, NULL), 0);
    pthread_detach(thread);
    return ntohs(at.sin_port);
}

static struct result result;
static char why[400];

static int run(enum lie what, const char *more) {
    char line[300], *words[64];
    int count = 0;
    snprintf(line, sizeof line,
             "resp --to 127.0.0.1:%u --size 100 --keys 500 --fill no --seconds 0.5 --warmup 0 "
             "--drain 5 %s",
             server_start(what), more);
    for (char *rest = line, *word; (word = strsep(&rest, " ")) != NULL;) {
        words[count++] = word;
    }
    static struct plan plan;
    words[count] = NULL;
    cr_assert_eq(options_read(count, words, &plan, why, sizeof why), 0, "%s", why);
    return run_plan(&plan, &content, &result, why, sizeof why);
}

Test(load_run, right_replies_are_counted_and_nothing_else) {
    cr_assert_eq(run(LIE_NONE, "--conns 7 --depth 5"), 0, "%s", why);
    cr_assert(result.total.requests > 0);
    cr_assert_eq(result.total.bytes, result.total.requests * 100);
    cr_assert_eq(result.total.errors + result.total.wrong + result.total.not_found, 0, "%s",
                 result.fault);
    cr_assert_eq(hist_total(&result.total.latency), result.total.requests);
}

Test(load_run, threads_share_the_connections) {
    cr_assert_eq(run(LIE_NONE, "--conns 7 --depth 3 --threads 3"), 0, "%s", why);
    cr_assert(result.total.requests > 0);
    cr_assert(report_good(&result));
}

Test(load_run, one_wrong_byte_in_a_body_is_seen) {
    cr_assert_eq(run(LIE_BYTE, "--conns 3 --depth 4"), 0, "%s", why);
    cr_assert(result.total.wrong > 0 && result.total.errors == 0);
    cr_assert_not(report_good(&result));
}

Test(load_run, a_body_of_another_length_is_wrong) {
    cr_assert_eq(run(LIE_LENGTH, "--conns 3"), 0, "%s", why);
    cr_assert(result.total.wrong > 0 && result.total.errors == 0);
}

Test(load_run, absent_keys_are_counted_apart) {
    cr_assert_eq(run(LIE_ABSENT, "--conns 3"), 0, "%s", why);
    cr_assert(result.total.not_found > 0 && result.total.wrong == 0);
}

Test(load_run, a_server_that_hangs_up_is_an_error_and_the_run_ends) {
    cr_assert_eq(run(LIE_CLOSE, "--conns 2 --depth 2"), 0, "%s", why);
    cr_assert(result.total.errors > 0);
    cr_assert_neq(result.fault[0], '\0');
}

Test(load_run, an_open_loop_accounts_for_every_intended_request) {
    cr_assert_eq(run(LIE_NONE, "--conns 4 --rate 2000"), 0, "%s", why);
    /* Sent and answered, or never sent: a busy machine moves requests between the two. */
    cr_assert_eq(result.total.requests + result.total.late, 1000);
    cr_assert(report_good(&result), "%s", result.fault);
}

Test(load_run, replies_that_never_come_are_errors_in_an_open_loop) {
    cr_assert_eq(run(LIE_SILENCE, "--conns 1 --depth 4 --rate 1000 --drain 0.2"), 0, "%s", why);
    cr_assert(result.unanswered > 0);
    cr_assert(result.total.errors >= result.unanswered);
}

static int program(const char *arguments) {
    char line[500];
    snprintf(line, sizeof line, "%s %s >/dev/null 2>&1", LOAD_PROGRAM, arguments);
    int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* tools/load/limit.c */
Test(load_run, a_protocol_without_a_hello_names_no_limit) {
    static struct plan plan = {.wire = &wire_resp};
    uint32_t block_max = 1;
    cr_assert_eq(run_limit(&plan, &block_max, why, sizeof why), 0);
    cr_assert_eq(block_max, 0);
}

Test(load_main, the_exit_status_says_what_happened) {
    char arguments[200];
    cr_assert_eq(program("--help"), 0);
    cr_assert_eq(program("tlv --nonsense"), 2);
    uint16_t port = server_start(LIE_NONE);
    snprintf(arguments, sizeof arguments,
             "resp --to 127.0.0.1:%u --size 100 --keys 500 --fill no --seconds 0.2 --json", port);
    cr_assert_eq(program(arguments), 0);
    lie = LIE_BYTE;
    cr_assert_eq(program(arguments), 1, "wrong bytes");
    close(listener);
    cr_assert_eq(program("tlv --to 127.0.0.1:1 --seconds 0.1"), 1, "nobody listens there");
}
