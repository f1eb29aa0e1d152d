/* SPDX-License-Identifier: MIT */
#include "base/multibase.h"

#include "base/must.h"

#include <string.h>

static const char lower16[] = "0123456789abcdef";
static const char upper16[] = "0123456789ABCDEF";
static const char lower32[] = "abcdefghijklmnopqrstuvwxyz234567";
static const char upper32[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
static const char lower36[] = "0123456789abcdefghijklmnopqrstuvwxyz";
static const char upper36[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
static const char mixed58[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

struct multibase_kind {
    char base;
    uint8_t bits;  /* per character; 0: not a power of two, the text is one large number */
    uint8_t radix; /* of that number */
    const char *digits;
    const char *other_case; /* also read; NULL: case counts */
};

static const struct multibase_kind multibase_kinds[] = {
    {'f', 4, 0, lower16, upper16}, {'F', 4, 0, upper16, lower16},  {'b', 5, 0, lower32, upper32},
    {'B', 5, 0, upper32, lower32}, {'k', 0, 36, lower36, upper36}, {'K', 0, 36, upper36, lower36},
    {'z', 0, 58, mixed58, NULL},
};

static const struct multibase_kind *multibase_find(char base) {
    for (size_t i = 0; i < array_count(multibase_kinds); i++) {
        if (multibase_kinds[i].base == base) {
            return &multibase_kinds[i];
        }
    }
    return NULL;
}

bool multibase_known(char base) {
    return multibase_find(base) != NULL;
}

/* Returns: the digit's value, -1 for a character that is none. */
static int multibase_digit(const struct multibase_kind *kind, char c) {
    if (c == 0) {
        return -1;
    }
    const char *at = strchr(kind->digits, c);
    if (at) {
        return (int)(at - kind->digits);
    }
    at = kind->other_case ? strchr(kind->other_case, c) : NULL;
    return at ? (int)(at - kind->other_case) : -1;
}

static size_t multibase_write_bits(const struct multibase_kind *kind, const uint8_t *bytes,
                                   size_t count, char *text, size_t room) {
    uint32_t mask = BIT(kind->bits) - 1;
    uint32_t held = 0, held_bits = 0;
    size_t used = 0;
    for (size_t i = 0; i < count; i++) {
        held = (held << 8 | bytes[i]) & 0xffffu;
        held_bits += 8;
        while (held_bits >= kind->bits) {
            held_bits -= kind->bits;
            must(used < room);
            text[used++] = kind->digits[held >> held_bits & mask];
        }
    }
    if (held_bits > 0) {
        must(used < room);
        text[used++] = kind->digits[held << (kind->bits - held_bits) & mask];
    }
    return used;
}

static int multibase_read_bits(const struct multibase_kind *kind, const char *text, size_t chars,
                               uint8_t *out, size_t room, size_t *ret_count) {
    uint32_t held = 0, held_bits = 0;
    size_t used = 0;
    for (size_t i = 0; i < chars; i++) {
        int digit = multibase_digit(kind, text[i]);
        if (digit < 0) {
            return MULTIBASE_BAD;
        }
        held = (held << kind->bits | (uint32_t)digit) & 0xffffu;
        held_bits += kind->bits;
        if (held_bits >= 8) {
            held_bits -= 8;
            if (used == room) {
                return MULTIBASE_BAD;
            }
            out[used++] = (uint8_t)(held >> held_bits);
        }
    }
    /* A whole unused character, or bits that say something nobody reads, is another spelling. */
    if (held_bits >= kind->bits || (held & (BIT(held_bits) - 1)) != 0) {
        return MULTIBASE_BAD;
    }
    *ret_count = used;
    return 0;
}

/* Leading zero bytes are leading zero digits, one for one; the rest is one number. */
static size_t multibase_write_number(const struct multibase_kind *kind, const uint8_t *bytes,
                                     size_t count, char *text, size_t room) {
    size_t zeros = 0;
    while (zeros < count && bytes[zeros] == 0) {
        zeros++;
    }
    uint8_t digits[MULTIBASE_TEXT_MAX]; /* least significant first */
    size_t digit_count = 0;
    for (size_t i = zeros; i < count; i++) {
        uint32_t carry = bytes[i];
        for (size_t d = 0; d < digit_count; d++) {
            carry += (uint32_t)digits[d] << 8;
            digits[d] = (uint8_t)(carry % kind->radix);
            carry /= kind->radix;
        }
        while (carry > 0) {
            must(digit_count < sizeof digits);
            digits[digit_count++] = (uint8_t)(carry % kind->radix);
            carry /= kind->radix;
        }
    }
    must(zeros + digit_count <= room);
    memset(text, kind->digits[0], zeros);
    for (size_t d = 0; d < digit_count; d++) {
        text[zeros + d] = kind->digits[digits[digit_count - 1 - d]];
    }
    return zeros + digit_count;
}

static int multibase_read_number(const struct multibase_kind *kind, const char *text, size_t chars,
                                 uint8_t *out, size_t room, size_t *ret_count) {
    size_t zeros = 0;
    while (zeros < chars && text[zeros] == kind->digits[0]) {
        zeros++;
    }
    if (zeros > room) {
        return MULTIBASE_BAD;
    }
    uint8_t bytes[MULTIBASE_TEXT_MAX]; /* least significant first; never more than characters */
    size_t byte_count = 0;
    for (size_t i = zeros; i < chars; i++) {
        int digit = multibase_digit(kind, text[i]);
        if (digit < 0) {
            return MULTIBASE_BAD;
        }
        uint32_t carry = (uint32_t)digit;
        for (size_t b = 0; b < byte_count; b++) {
            carry += (uint32_t)bytes[b] * kind->radix;
            bytes[b] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry > 0) {
            bytes[byte_count++] = (uint8_t)carry;
        }
    }
    if (zeros + byte_count > room) {
        return MULTIBASE_BAD;
    }
    memset(out, 0, zeros);
    for (size_t b = 0; b < byte_count; b++) {
        out[zeros + b] = bytes[byte_count - 1 - b];
    }
    *ret_count = zeros + byte_count;
    return 0;
}

size_t multibase_write(char base, const uint8_t *bytes, size_t count, char *text,
                       size_t text_bytes) {
    const struct multibase_kind *kind = multibase_find(base);
    must(kind != NULL);
    must(text_bytes > 0);
    size_t room = text_bytes - 1;
    size_t used = kind->bits ? multibase_write_bits(kind, bytes, count, text, room)
                             : multibase_write_number(kind, bytes, count, text, room);
    text[used] = 0;
    return used;
}

int multibase_read(char base, const char *text, size_t chars, uint8_t *out, size_t room,
                   size_t *ret_count) {
    const struct multibase_kind *kind = multibase_find(base);
    if (kind == NULL || chars >= MULTIBASE_TEXT_MAX) {
        return MULTIBASE_BAD;
    }
    return kind->bits ? multibase_read_bits(kind, text, chars, out, room, ret_count)
                      : multibase_read_number(kind, text, chars, out, room, ret_count);
}
