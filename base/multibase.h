/* SPDX-License-Identifier: MIT */
#pragma once

/* multibase — bytes as text in the bases that content identifiers and peer names use.
 *
 * Bases by their prefix letter: 'f' base16, 'b' base32 (RFC 4648, no padding), 'k' base36, 'z'
 * base58btc; 'F', 'B', 'K' write upper case. The prefix itself is the caller's. Reading takes both
 * cases (host names lose theirs) except in base58, and refuses a second spelling of the same bytes:
 * leftover bits must be zero. Source: multiformats/multibase. Thread: any.
 * Cost: base36 and base58 are quadratic; text is bounded by MULTIBASE_TEXT_MAX. */

#include "base/base.h"

#define MULTIBASE_TEXT_MAX 512 /* longest text read or written, with its NUL */

enum { MULTIBASE_BAD = 1 };

bool multibase_known(char base);

/* Returns: characters written before the NUL. Panics where `text_bytes` is too small: two
 * characters a byte and the NUL are always enough. */
size_t multibase_write(char base, const uint8_t *bytes, size_t count, char *text,
                       size_t text_bytes);

/* Returns: 0 and *ret_count bytes in `out`; MULTIBASE_BAD: a character, a length or leftover bits
 * that this base does not have, or more bytes than `room`. `out` is scratch in either case. */
must_check int multibase_read(char base, const char *text, size_t chars, uint8_t *out, size_t room,
                              size_t *ret_count);
