/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include "base/must.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The origin keeps its place and the newest passes follow it in a ring: a path that is longer than
 * the ring loses its middle, which is the part nobody asks for. */
#define ERR_PASSES_MAX 15

struct err_place {
    const char *file;
    int line;
};

struct err_path {
    int result;      /* 0: nothing was raised on this thread */
    uint32_t passes; /* ever noted since the origin */
    struct err_place origin;
    struct err_place ring[ERR_PASSES_MAX];
};

static _Thread_local struct err_path err_path;

int err_note_slow(int result, const char *file, int line, bool origin) {
    must(result < 0);
    struct err_place place = {file, line};
    /* A pass of a value that was never raised here (a library's, another thread's) begins a path.
     */
    if (origin || err_path.result != result) {
        err_path.result = result;
        err_path.passes = 0;
        err_path.origin = place;
        return result;
    }
    err_path.ring[err_path.passes++ % ERR_PASSES_MAX] = place;
    return result;
}

const char *err_text(int result) {
    if (result >= 0) {
        return "no error";
    }
    /* Not strerror: that one may write to a buffer all threads share. */
    const char *text = result == INT32_MIN ? NULL : strerrordesc_np(-result);
    return text ? text : "unknown error";
}

const char *err_source(const char *file) {
    /* This file stands at base/err.c, so what the compiler put before that is the way to the tree.
     */
    static const char here[] = __FILE__;
    const size_t prefix = sizeof here - sizeof "base/err.c";
    return strncmp(file, here, prefix) == 0 ? file + prefix : file;
}

/* Appends one step to the text; past the end nothing is added. */
static size_t err_step(char *text, size_t text_bytes, size_t used, const char *join,
                       const struct err_place *place) {
    if (used >= text_bytes) {
        return used;
    }
    int n = snprintf(text + used, text_bytes - used, "%s%s:%d", join, err_source(place->file),
                     place->line);
    return used + (n > 0 ? (size_t)n : 0);
}

size_t err_trace(char *text, size_t text_bytes) {
    must(text_bytes > 0);
    text[0] = 0;
    if (err_path.result == 0) {
        return 0;
    }
    size_t used = err_step(text, text_bytes, 0, "", &err_path.origin);
    uint32_t first = err_path.passes > ERR_PASSES_MAX ? err_path.passes - ERR_PASSES_MAX : 0;
    for (uint32_t i = first; i < err_path.passes; i++) {
        const char *join = i == first && first > 0 ? " <- ... <- " : " <- ";
        used = err_step(text, text_bytes, used, join, &err_path.ring[i % ERR_PASSES_MAX]);
    }
    if (used < text_bytes) {
        int n = snprintf(text + used, text_bytes - used, ": %s", err_text(err_path.result));
        used += n > 0 ? (size_t)n : 0;
    }
    return used < text_bytes ? used : text_bytes - 1;
}
