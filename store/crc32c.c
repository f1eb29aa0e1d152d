/* SPDX-License-Identifier: MIT */
#include "store/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

static uint32_t table[256];
static bool table_made;
static bool have_instruction;

void crc32c_open(void) {
    if (table_made) {
        return;
    }
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (uint32_t bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78u : crc >> 1;
        }
        table[byte] = crc;
    }
#if defined(__x86_64__)
    have_instruction = __builtin_cpu_supports("sse4.2");
#endif
    table_made = true;
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *at = data;
    crc = ~crc;
    for (size_t i = 0; i < bytes; i++) {
        crc = table[(crc ^ at[i]) & 0xff] ^ crc >> 8;
    }
    return ~crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t crc32c_fast(uint32_t crc, const uint8_t *at,
                                                              size_t bytes) {
    uint64_t wide = ~crc;
    for (; bytes >= 8; bytes -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        wide = _mm_crc32_u64(wide, word);
    }
    crc = (uint32_t)wide;
    for (; bytes > 0; bytes--, at++) {
        crc = _mm_crc32_u8(crc, *at);
    }
    return ~crc;
}
#endif

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes) {
#if defined(__x86_64__)
    if (likely(have_instruction)) {
        return crc32c_fast(crc, data, bytes);
    }
#endif
    return crc32c_table(crc, data, bytes);
}
