/* SPDX-License-Identifier: MIT */
#include "base/varint.h"

#include "base/must.h"

int varint_read(const uint8_t *bytes, size_t count, uint64_t *ret_value, size_t *ret_used) {
    uint64_t value = 0;
    for (size_t i = 0; i < VARINT_BYTES_MAX; i++) {
        if (i == count) {
            return VARINT_SHORT;
        }
        value |= (uint64_t)(bytes[i] & 0x7fu) << (7 * i);
        if ((bytes[i] & 0x80u) == 0) {
            if (bytes[i] == 0 && i > 0) {
                return VARINT_BAD; /* a shorter spelling exists: two names for one number */
            }
            *ret_value = value;
            *ret_used = i + 1;
            return 0;
        }
    }
    return VARINT_BAD;
}

size_t varint_write(uint64_t value, uint8_t out[VARINT_BYTES_MAX]) {
    must(value < UINT64_C(1) << 63);
    size_t used = 0;
    while (value >= 0x80) {
        out[used++] = (uint8_t)(value | 0x80u);
        value >>= 7;
    }
    out[used++] = (uint8_t)value;
    return used;
}

size_t varint_bytes(uint64_t value) {
    must(value < UINT64_C(1) << 63);
    return value == 0 ? 1 : (size_t)(63 - __builtin_clzll(value)) / 7 + 1;
}
