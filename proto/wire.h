/* SPDX-License-Identifier: MIT */
#pragma once

/* wire — protobuf fields, read and written one by one: no schema, no allocation, no recursion.
 *
 * A message is a run of fields: varint key (number << 3 | type), then a varint, four or eight
 * bytes, or a length and bytes. Reading hands out each field in place; unknown ones are the
 * caller's to pass over. Groups (types 3 and 4) are not of proto3 and refused. Varints of the wire
 * are read up to ten bytes, as protobuf writes negative numbers; keys and lengths must fit 32 bits.
 * Thread: any. Source: protobuf encoding guide. */

#include "base/base.h"

enum wire_type { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };
enum { WIRE_END = 1, WIRE_BAD = 2 };

struct wire_field {
    uint32_t number;
    uint32_t type;        /* enum wire_type */
    uint64_t value;       /* of a varint or fixed field */
    const uint8_t *bytes; /* of WIRE_BYTES, in place */
    size_t count;
};

/* Takes one field from *at, which moves behind it. Returns: 0; WIRE_END at `end`; WIRE_BAD. */
must_check int wire_next(const uint8_t **at, const uint8_t *end, struct wire_field *ret_field);

/* Each writes one field and returns its bytes; `out` has room (wire_*_size says how much). A number
 * is below 16, so that its key is one byte. */
size_t wire_put_varint(uint8_t *out, uint32_t number, uint64_t value);
size_t wire_put_bytes(uint8_t *out, uint32_t number, const void *bytes, size_t count);
/* Key and length alone: `count` bytes follow. */
size_t wire_put_head(uint8_t *out, uint32_t number, size_t count);
size_t wire_varint_size(uint64_t value); /* field with its key */
size_t wire_bytes_size(size_t count);    /* field with key and length */
