/* SPDX-License-Identifier: MIT */
#pragma once

/* Bytes from hexadecimal text, as vectors are published. */

#include "base/must.h"

#include <string.h>

static inline uint8_t hex_digit(char c) {
    const char *digits = "0123456789abcdef";
    const char *at = strchr(digits, c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
    must(c && at);
    return (uint8_t)(at - digits);
}

/* Returns: bytes. */
static inline size_t hex_read(const char *text, uint8_t *out) {
    size_t count = strlen(text) / 2;
    for (size_t i = 0; i < count; i++) {
        out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    }
    return count;
}
