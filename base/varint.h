/* SPDX-License-Identifier: MIT */
#pragma once

/* varint — unsigned LEB128, minimal, at most 9 bytes (63 bits). Source:
 * multiformats/unsigned-varint. */

#include "base/base.h"

#define VARINT_BYTES_MAX 9

enum { VARINT_SHORT = 1, VARINT_BAD = 2 };

/* Returns: 0 and *ret_used; VARINT_SHORT: more bytes needed; VARINT_BAD: not minimal or too long.
 */
must_check int varint_read(const uint8_t *bytes, size_t count, uint64_t *ret_value,
                           size_t *ret_used);
/* value < 2^63. Returns: bytes written. */
size_t varint_write(uint64_t value, uint8_t out[VARINT_BYTES_MAX]);
size_t varint_bytes(uint64_t value);
