/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/log_line.h"
#include "base/must.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINES_PER_WINDOW 10
#define LOG_WINDOW_MS        1000
#define LOG_JOURNAL          "/run/systemd/journal/socket"

/* Written by log_setup, read by every writer of lines. Relaxed: each is a choice by itself, and a
 * line that is written while a reload changes them may go either way. */
static _Atomic int log_level_now = LOG_LEVEL_INFO;
static _Atomic int log_form_now = LOG_FORM_TEXT;

/* The journal's socket, opened at boot and kept for the life of the process. */
static _Atomic int log_journal_fd = -1;
static struct sockaddr_un log_journal_at = {.sun_family = AF_UNIX, .sun_path = LOG_JOURNAL};

/* systemd names the stream it gave us as device:inode; a stderr that was redirected since is not
 * the journal's any more. */
static bool log_stderr_is_journal(void) {
    const char *text = getenv("JOURNAL_STREAM");
    struct stat status;
    char name[64];
    if (text == NULL || fstat(STDERR_FILENO, &status) != 0) {
        return false;
    }
    snprintf(name, sizeof name, "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    return strcmp(text, name) == 0;
}

static enum log_form log_form_auto(void) {
    if (log_stderr_is_journal()) {
        return LOG_FORM_JOURNAL;
    }
    return isatty(STDERR_FILENO) ? LOG_FORM_TEXT : LOG_FORM_JSON;
}

static bool log_journal_open(void) {
    if (atomic_load_explicit(&log_journal_fd, memory_order_relaxed) >= 0) {
        return true;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    atomic_store_explicit(&log_journal_fd, fd, memory_order_relaxed);
    return fd >= 0;
}

void log_setup(enum log_level level, enum log_form form) {
    tzset(); /* reads the zone file now, while files may still be opened */
    if (form == LOG_FORM_AUTO) {
        form = log_form_auto();
    }
    if (form == LOG_FORM_JOURNAL && !log_journal_open()) {
        form = LOG_FORM_JSON;
    }
    atomic_store_explicit(&log_level_now, level, memory_order_relaxed);
    atomic_store_explicit(&log_form_now, form, memory_order_relaxed);
}

bool log_setup_journal(const char *socket_path) {
    if (strlen(socket_path) >= sizeof log_journal_at.sun_path) {
        return false;
    }
    strncpy(log_journal_at.sun_path, socket_path, sizeof log_journal_at.sun_path - 1);
    return true;
}

/* The site's word is {milliseconds at which its second began : 56, lines in it : 8}. One
 * compare-and-swap decides who speaks, so that exactly ten do. Relaxed: the words guard no data. */
bool log_admit(struct log_site *site, uint64_t now_ns, uint32_t *ret_dropped) {
    uint64_t now_ms = now_ns / NS_PER_MS;
    uint64_t seen = atomic_load_explicit(&site->window, memory_order_relaxed);
    uint64_t next;
    do {
        uint64_t began_ms = seen >> 8;
        bool fresh = seen == 0 || now_ms - began_ms >= LOG_WINDOW_MS;
        if (!fresh && (seen & 0xff) >= LOG_LINES_PER_WINDOW) {
            atomic_fetch_add_explicit(&site->dropped, 1, memory_order_relaxed);
            return false;
        }
        next = fresh ? now_ms << 8 | 1 : seen + 1;
    } while (!atomic_compare_exchange_weak_explicit(&site->window, &seen, next,
                                                    memory_order_relaxed, memory_order_relaxed));
    *ret_dropped = 0;
    if ((next & 0xff) == 1) {
        *ret_dropped = atomic_exchange_explicit(&site->dropped, 0, memory_order_relaxed);
    }
    return true;
}

/* Returns: whether the journal took it; it may be restarting, or full. */
static bool log_send(const struct log_line *line) {
    int fd = atomic_load_explicit(&log_journal_fd, memory_order_relaxed);
    ssize_t sent = sendto(fd, line->text, line->used, MSG_DONTWAIT | MSG_NOSIGNAL,
                          (const struct sockaddr *)&log_journal_at, sizeof log_journal_at);
    return sent >= 0;
}

/* One write call a line: lines of two threads do not mix. A log that cannot be written has nobody
 * left to tell. */
static void log_print(const struct log_line *line) {
    ssize_t written;
    do {
        written = write(STDERR_FILENO, line->text, line->used);
    } while (written < 0 && errno == EINTR);
}

void log_write(struct log_site *site, enum log_level level, const char *file, int line,
               const char *message, const struct log_field *fields) {
    if ((int)level < atomic_load_explicit(&log_level_now, memory_order_relaxed)) {
        return;
    }
    struct log_event event = {.level = level, .line = line, .message = message, .fields = fields};
    if (!log_admit(site, clock_ns(), &event.dropped)) {
        return;
    }
    event.wall_us = clock_wall_us();
    event.file = err_source(file);
    enum log_form form = (enum log_form)atomic_load_explicit(&log_form_now, memory_order_relaxed);
    struct log_line made;
    if (form == LOG_FORM_JOURNAL) {
        log_line_journal(&made, &event);
        if (log_send(&made)) {
            return;
        }
        form = LOG_FORM_JSON;
    }
    if (form == LOG_FORM_JSON) {
        log_line_json(&made, &event);
    } else {
        log_line_text(&made, &event);
    }
    log_print(&made);
}
