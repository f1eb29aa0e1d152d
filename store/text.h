/* SPDX-License-Identifier: MIT */
#pragma once

/* text — sentences for people and paths, put together in a buffer of the caller's; what does not
 * fit is cut, and the end is always terminated. */

#include "base/base.h"

struct text {
    char *buffer;
    size_t bytes;
    size_t used;
};

static inline void text_add(struct text *text, const char *words) {
    while (*words && text->used + 1 < text->bytes) {
        text->buffer[text->used++] = *words++;
    }
    text->buffer[text->used] = 0;
}

static inline void text_add_hex(struct text *text, uint64_t value, uint32_t digits) {
    for (uint32_t i = digits; i > 0; i--) {
        char digit[2] = {"0123456789abcdef"[value >> (4 * (i - 1)) & 15], 0};
        text_add(text, digit);
    }
}

static inline void text_add_number(struct text *text, uint64_t value) {
    char digits[24] = {0};
    size_t at = sizeof digits - 1;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    text_add(text, digits + at);
}
