/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/der.h"

#include <string.h>

bool der_take(struct der *der, enum der_tag tag, struct der *ret_content) {
    const uint8_t *at = der->at;
    if (der->end - at < 2 || at[0] != tag) {
        return false;
    }
    size_t count = at[1];
    at += 2;
    if (count >= 0x80) { /* then it is the number of length bytes */
        size_t digits = count & 0x7f;
        if (digits < 1 || digits > 2 || (size_t)(der->end - at) < digits) {
            return false;
        }
        count = digits == 1 ? at[0] : (size_t)(at[0] << 8 | at[1]);
        if (count < (digits == 1 ? 0x80 : 0x100)) {
            return false;
        }
        at += digits;
    }
    if ((size_t)(der->end - at) < count) {
        return false;
    }
    *ret_content = (struct der){at, at + count};
    der->at = at + count;
    return true;
}

bool der_take_exact(struct der *der, const uint8_t *bytes, size_t count) {
    if (der_count(der) < count || memcmp(der->at, bytes, count) != 0) {
        return false;
    }
    der->at += count;
    return true;
}

bool der_take_positive(struct der *der, struct der *ret_digits) {
    struct der rest = *der, digits;
    if (!der_take(&rest, DER_INTEGER, &digits) || der_count(&digits) == 0 || digits.at[0] & 0x80) {
        return false;
    }
    if (digits.at[0] == 0) {
        digits.at++; /* there only to keep the sign positive */
        if (der_count(&digits) == 0 || !(digits.at[0] & 0x80)) {
            return false;
        }
    }
    *ret_digits = digits;
    *der = rest;
    return true;
}
