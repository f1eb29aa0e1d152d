/* SPDX-License-Identifier: MIT */
#include "engine/io.h"

#include <errno.h>
#include <unistd.h>

/* Linked into tests that need a real io_uring: where it is forbidden (containers, sysctl) or
 * missing, the program says so before Criterion's main begins, and counts as skipped. */

#define EXIT_SKIPPED 77

__attribute__((constructor)) static void need_uring(void) {
    static const char words[] = "skipped: io_uring is not to be had here\n";
    struct io io;
    int r = io_open(&io, 8);
    if (r == -ENOSYS || r == -EPERM || r == -EACCES) {
        ssize_t n = write(STDOUT_FILENO, words, sizeof words - 1);
        _exit(n < 0 ? 1 : EXIT_SKIPPED);
    }
    if (r == 0) {
        io_close(&io);
    }
}
