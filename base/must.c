/* SPDX-License-Identifier: MIT */
#include "base/must.h"

#include "base/err.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PANIC_SECONDS 10

struct panic_dump {
    panic_dump_fn dump;
    const void *object;
};

static struct panic_dump panic_dumps[PANIC_DUMPS_MAX];
/* Written at boot, read by whichever thread panics. Release on store pairs with the acquire in
 * panic: a count that is seen has its entry behind it. */
static _Atomic uint32_t panic_dump_count;
static _Atomic bool panic_begun;
static _Thread_local bool panic_mine;

bool panic_dump_add(panic_dump_fn dump, const void *object) {
    uint32_t count = atomic_load_explicit(&panic_dump_count, memory_order_relaxed);
    if (count == PANIC_DUMPS_MAX) {
        return false;
    }
    panic_dumps[count] = (struct panic_dump){dump, object};
    atomic_store_explicit(&panic_dump_count, count + 1, memory_order_release);
    return true;
}

/* A stderr that nobody drains must not keep a broken process alive: after this long the alarm,
 * which nobody handles, ends it without the rest of its words. */
static void panic_limit_time(void) {
    sigset_t alarm_only;
    sigemptyset(&alarm_only);
    sigaddset(&alarm_only, SIGALRM);
    signal(SIGALRM, SIG_DFL);
    sigprocmask(SIG_UNBLOCK, &alarm_only, NULL);
    alarm(PANIC_SECONDS);
}

void panic(const char *what, const char *file, int line) {
    if (panic_mine) {
        abort(); /* a dump panicked: what it has printed is what there is */
    }
    panic_mine = true;
    panic_limit_time();
    dprintf(STDERR_FILENO, "panic: %s at %s:%d\n", what, err_source(file), line);
    /* The first thread tells the story; the others wait for its abort to end them all, so that
     * their lines do not cut through it. */
    if (atomic_exchange(&panic_begun, true)) {
        for (;;) {
            pause();
        }
    }
    char trace[1024];
    if (err_trace(trace, sizeof trace) > 0) {
        dprintf(STDERR_FILENO, "last error: %s\n", trace);
    }
    uint32_t count = atomic_load_explicit(&panic_dump_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        panic_dumps[i].dump(STDERR_FILENO, panic_dumps[i].object);
    }
    abort();
}
