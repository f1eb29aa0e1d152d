/* SPDX-License-Identifier: MIT */
#pragma once

/* err — results in three bands, and where an error was born.
 *
 *   r == 0  done
 *   r <  0  -errno: the world failed; pass it up unchanged with err_pass()
 *   r >  0  an outcome of the called function (an enum in its header); its direct caller handles or
 *           translates it, never forwards it
 *
 * err_raise() notes file, line and value in a small ring of the calling thread, so that whoever at
 * last reports the error (err_trace) can say where it began. Success costs one compare. */

#include "base/base.h"

#define err_raise(r) err_note((r), __FILE__, __LINE__, true)
#define err_pass(r)  err_note((r), __FILE__, __LINE__, false)

int err_note_slow(int result, const char *file, int line, bool origin);

static inline int err_note(int result, const char *file, int line, bool origin) {
    return likely(result >= 0) ? result : err_note_slow(result, file, line, origin);
}

/* err_text gives the words for a negative result ("No space left on device"). Lives: static. */
const char *err_text(int result);

/* err_trace writes the calling thread's last error path ("store/log.c:120 <- engine/work.c:88:
 * ...") into `text`, always terminated, and returns its length; 0 where nothing was raised. */
size_t err_trace(char *text, size_t text_bytes);

/* err_source gives a __FILE__ as its path inside the tree ("store/log.c"), whatever directory the
 * build ran in. Lives: as long as `file`. */
const char *err_source(const char *file);
