/* SPDX-License-Identifier: MIT */
#include "proto/wire.h"

#include "base/bits.h"
#include "base/must.h"

#include <string.h>

#define VARINT_MAX      10u /* bytes of 64 bits, seven at a time */
#define NUMBER_PUT_MAX  15u /* largest whose key is one byte */
#define NUMBER_MAX      ((1u << 29) - 1)
#define KEY_TYPE_BITS   3u
#define LAST_BYTE_VALUE 1u /* the tenth byte holds bit 63 and nothing above */

/* Moves *at behind one varint. Returns: 0 or WIRE_BAD, also for one that the end cuts off. */
static int take_varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value) {
    const uint8_t *p = *at;
    uint64_t value = 0;
    for (uint32_t i = 0; i < VARINT_MAX; i++) {
        if (p == end) {
            return WIRE_BAD;
        }
        uint8_t byte = *p++;
        if (i == VARINT_MAX - 1 && byte > LAST_BYTE_VALUE) {
            return WIRE_BAD;
        }
        value |= (uint64_t)(byte & 0x7fu) << (7 * i);
        if ((byte & 0x80u) == 0) {
            *at = p;
            *ret_value = value;
            return 0;
        }
    }
    return WIRE_BAD;
}

/* Moves *at behind `count` bytes. */
static int take_bytes(const uint8_t **at, const uint8_t *end, size_t count,
                      const uint8_t **ret_bytes) {
    if (count > (size_t)(end - *at)) {
        return WIRE_BAD;
    }
    *ret_bytes = *at;
    *at += count;
    return 0;
}

static int take_value(const uint8_t **at, const uint8_t *end, struct wire_field *field) {
    const uint8_t *bytes;
    uint64_t count;
    switch (field->type) {
    case WIRE_VARINT:
        return take_varint(at, end, &field->value);
    case WIRE_FIXED64:
        if (take_bytes(at, end, 8, &bytes) != 0) {
            return WIRE_BAD;
        }
        field->value = get_le64(bytes);
        return 0;
    case WIRE_FIXED32:
        if (take_bytes(at, end, 4, &bytes) != 0) {
            return WIRE_BAD;
        }
        field->value = get_le32(bytes);
        return 0;
    case WIRE_BYTES:
        if (take_varint(at, end, &count) != 0 || count > UINT32_MAX) {
            return WIRE_BAD;
        }
        field->count = (size_t)count;
        return take_bytes(at, end, field->count, &field->bytes);
    default: /* groups, and types nobody has given a meaning */
        return WIRE_BAD;
    }
}

int wire_next(const uint8_t **at, const uint8_t *end, struct wire_field *ret_field) {
    const uint8_t *p = *at;
    uint64_t key;
    if (p == end) {
        return WIRE_END;
    }
    if (take_varint(&p, end, &key) != 0 || key > UINT32_MAX) {
        return WIRE_BAD;
    }
    struct wire_field field = {
        .number = (uint32_t)key >> KEY_TYPE_BITS,
        .type = (uint32_t)key & ((1u << KEY_TYPE_BITS) - 1),
    };
    static_assert(UINT32_MAX >> KEY_TYPE_BITS == NUMBER_MAX, "a key of 32 bits has no larger one");
    if (field.number == 0 || take_value(&p, end, &field) != 0) {
        return WIRE_BAD;
    }
    *at = p;
    *ret_field = field;
    return 0;
}

static size_t put_bare(uint8_t *out, uint64_t value) {
    size_t used = 0;
    while (value >= 0x80) {
        out[used++] = (uint8_t)(value | 0x80u);
        value >>= 7;
    }
    out[used++] = (uint8_t)value;
    return used;
}

static size_t bare_size(uint64_t value) {
    return value == 0 ? 1 : (size_t)(63 - __builtin_clzll(value)) / 7 + 1;
}

static uint8_t key_of(uint32_t number, enum wire_type type) {
    must(number >= 1);
    must(number <= NUMBER_PUT_MAX);
    return (uint8_t)(number << KEY_TYPE_BITS | type);
}

size_t wire_put_varint(uint8_t *out, uint32_t number, uint64_t value) {
    out[0] = key_of(number, WIRE_VARINT);
    return 1 + put_bare(out + 1, value);
}

size_t wire_put_head(uint8_t *out, uint32_t number, size_t count) {
    must(count <= UINT32_MAX);
    out[0] = key_of(number, WIRE_BYTES);
    return 1 + put_bare(out + 1, count);
}

size_t wire_put_bytes(uint8_t *out, uint32_t number, const void *bytes, size_t count) {
    size_t used = wire_put_head(out, number, count);
    if (count > 0) {
        memcpy(out + used, bytes, count);
    }
    return used + count;
}

size_t wire_varint_size(uint64_t value) {
    return 1 + bare_size(value);
}

size_t wire_bytes_size(size_t count) {
    return 1 + bare_size(count) + count;
}
