/* SPDX-License-Identifier: MIT */
#pragma once

/* tlv_decode — captured frames as lines for people, both directions.
 *
 *   > GET id=7 class=high deadline=50ms key=bafkrei...
 *   < VALUE id=7 codec=raw total=64 offset=0 body=64
 *
 * The type says the direction: ">" towards the server, "<" towards the client. Bytes of peers are
 * escaped; tokens are never shown, only their length. Thread: any. */

#include "base/base.h"

#define TLV_DECODE_TEXT_MAX 1024u

/* tlv_decode renders the first frame of `bytes` with its body as one line (no newline) in `text`,
 * always terminated. Returns: 0 and *ret_used, head and body; TLV_SHORT: the bytes end inside the
 * frame, `text` says where, and *ret_used is all of them; TLV_BAD: no frame, `text` says why, and
 * *ret_used is 0: there is no way to find the next. */
must_check int tlv_decode(const uint8_t *bytes, size_t count, char text[TLV_DECODE_TEXT_MAX],
                          size_t *ret_used);

/* "GET", "VALUE" ...; NULL for a type of no frame. */
const char *tlv_type_name(uint8_t type);
