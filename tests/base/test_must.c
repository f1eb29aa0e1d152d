/* SPDX-License-Identifier: MIT */
#include "base/must.h"

#include "base/err.h"

#include <criterion/criterion.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `body` in a child and gives back what it wrote to stderr; the child must die by SIGABRT. */
static void panic_words(void (*body)(void), char *text, size_t text_bytes) {
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t n;
    while (used + 1 < text_bytes && (n = read(ends[0], text + used, text_bytes - 1 - used)) > 0) {
        used += (size_t)n;
    }
    text[used] = 0;
    close(ends[0]);
    int status;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFSIGNALED(status));
    cr_assert_eq(WTERMSIG(status), SIGABRT);
}

static void dump_number(int fd, const void *object) {
    dprintf(fd, "number %d\n", *(const int *)object);
}

static void dump_that_panics(int fd, const void *object) {
    dprintf(fd, "before\n");
    must(object != NULL);
    dprintf(fd, "after\n");
}

static void body_with_all(void) {
    static const int first = 41, second = 42;
    if (!panic_dump_add(dump_number, &first) || !panic_dump_add(dump_number, &second)) {
        _exit(1);
    }
    if (err_raise(-EIO) == 0) {
        _exit(1);
    }
    must(first == second);
}

Test(must, a_panic_prints_condition_place_error_and_dumps) {
    char text[4096];
    panic_words(body_with_all, text, sizeof text);
    cr_assert_eq(strncmp(text, "panic: first == second at tests/base/test_must.c:", 49), 0, "%s",
                 text);
    const char *error = strstr(text, "last error: tests/base/test_must.c:");
    cr_assert_not_null(error);
    cr_assert_not_null(strstr(error, ": Input/output error\nnumber 41\nnumber 42\n"), "%s", text);
}

static void body_with_bad_dump(void) {
    if (panic_dump_add(dump_that_panics, NULL)) {
        never("the first");
    }
}

Test(must, a_panic_within_a_dump_ends_at_once) {
    char text[4096];
    panic_words(body_with_bad_dump, text, sizeof text);
    cr_assert_not_null(strstr(text, "panic: the first at "));
    cr_assert_not_null(strstr(text, "before\n"));
    cr_assert_null(strstr(text, "after"));
    cr_assert_null(strstr(text, "object"));
}

Test(must, a_true_condition_is_silent) {
    must(1 + 1 == 2);
}

Test(must, dumps_past_the_limit_are_refused) {
    for (int i = 0; i < PANIC_DUMPS_MAX; i++) {
        cr_assert(panic_dump_add(dump_number, NULL));
    }
    cr_assert_not(panic_dump_add(dump_number, NULL));
}
