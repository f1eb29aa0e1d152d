/* SPDX-License-Identifier: MIT */
#pragma once

/* der — elements of DER, one by one: tag, length, content in place. Only what certificates and keys
 * of libp2p need: one-byte tags, definite minimal lengths below 64 KiB; anything else is refused.
 * Thread: any. Source: ITU-T X.690, 8.1 and 10.1. */

#include "base/base.h"

enum der_tag {
    DER_INTEGER = 0x02,
    DER_BITS = 0x03,
    DER_OCTETS = 0x04,
    DER_NULL = 0x05,
    DER_OID = 0x06,
    DER_SEQUENCE = 0x30,
};

/* A run of bytes being read. */
struct der {
    const uint8_t *at;
    const uint8_t *end;
};

/* Takes one element off the run. Returns: false, and nothing taken, when it is not whole or not of
 * this tag. */
must_check bool der_take(struct der *der, enum der_tag tag, struct der *ret_content);
/* The same for an element of which every byte, tag and length too, is known. */
must_check bool der_take_exact(struct der *der, const uint8_t *bytes, size_t count);
/* A positive INTEGER without its leading zero. */
must_check bool der_take_positive(struct der *der, struct der *ret_digits);
static inline size_t der_count(const struct der *der) {
    return (size_t)(der->end - der->at);
}
