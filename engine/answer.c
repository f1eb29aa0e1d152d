/* SPDX-License-Identifier: MIT */
#include "engine/answer.h"

#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

json_t *answer_error(const char *format, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return json_pack("{s:s}", "error", text);
}

const char *answer_show(const char *text, struct answer_shown *shown) {
    (void)log_escape(shown->text, sizeof shown->text, text, strlen(text));
    return shown->text;
}
