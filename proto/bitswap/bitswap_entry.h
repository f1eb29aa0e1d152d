/* SPDX-License-Identifier: MIT */
#pragma once

/* bitswap_entry — the small submessages of a Bitswap message, each whole in memory: an entry of a
 * wantlist, a presence, a block's prefix. Used by bitswap.c alone. */

#include "base/base.h"
#include "proto/bitswap/bitswap.h"

enum {
    BITSWAP_ENTRY_SKIP = 1, /* well formed, but of nothing we could name or store */
    BITSWAP_ENTRY_BAD = 2   /* not a protobuf message */
};

/* Both return: 0, SKIP, BAD. */
must_check int bitswap_want_read(const uint8_t *bytes, size_t count, struct bitswap_want *ret_want);
must_check int bitswap_presence_read(const uint8_t *bytes, size_t count,
                                     struct bitswap_presence *ret_presence);
/* What cannot be read is a prefix that is not known. */
void bitswap_prefix_read(const uint8_t *bytes, size_t count, struct bitswap_prefix *ret_prefix);
