/* SPDX-License-Identifier: MIT */
#include "base/sha256.h"

#include "base/bits.h"
#include "base/must.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#include <stdatomic.h>

#define BLOCK_BYTES 64u
#define LANES       2u
#define SHA_BIT     (1u << 29) /* leaf 7, EBX; SSE4.1 every processor has that we are built for */
#define SHA_TARGET  __attribute__((target("sha,sse4.1")))

#if defined(__clang__)
#define UNROLL(n) _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define UNROLL_AS(text) _Pragma(#text)
#define UNROLL(n)       UNROLL_AS(GCC unroll n)
#endif

/* Cube roots of the first 64 primes: FIPS 180-4, 4.2.2. */
static const uint32_t rounds[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

/* As the instructions want it: words a, b, e, f from the top down, and c, d, g, h. */
struct lane {
    __m128i abef, cdgh;
};

static const uint32_t start_abef[4] = {0x9b05688c, 0x510e527f, 0xbb67ae85, 0x6a09e667};
static const uint32_t start_cdgh[4] = {0x5be0cd19, 0x1f83d9ab, 0xa54ff53a, 0x3c6ef372};

/* The same block of both lanes. Fully unrolled the schedule stays in registers. */
SHA_TARGET static inline void two_blocks(struct lane lanes[LANES], const uint8_t *const at[LANES]) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    struct lane before[LANES] = {lanes[0], lanes[1]};
    __m128i words[LANES][4];
    for (uint32_t lane = 0; lane < LANES; lane++) {
        for (uint32_t i = 0; i < 4; i++) {
            const void *from = at[lane] + i * 16;
            words[lane][i] = _mm_shuffle_epi8(_mm_loadu_si128(from), swap);
        }
    }
    UNROLL(16)
    for (uint32_t four = 0; four < 16; four++) {
        const __m128i constants = _mm_load_si128((const void *)&rounds[four * 4]);
        UNROLL(2)
        for (uint32_t lane = 0; lane < LANES; lane++) {
            struct lane *state = &lanes[lane];
            __m128i *here = words[lane];
            __m128i sum = _mm_add_epi32(here[four & 3], constants);
            state->cdgh = _mm_sha256rnds2_epu32(state->cdgh, state->abef, sum);
            sum = _mm_shuffle_epi32(sum, 0x0e);
            state->abef = _mm_sha256rnds2_epu32(state->abef, state->cdgh, sum);
            if (four < 12) {
                __m128i next = _mm_sha256msg1_epu32(here[four & 3], here[(four + 1) & 3]);
                __m128i seven = _mm_alignr_epi8(here[(four + 3) & 3], here[(four + 2) & 3], 4);
                next = _mm_add_epi32(next, seven);
                here[four & 3] = _mm_sha256msg2_epu32(next, here[(four + 3) & 3]);
            }
        }
    }
    for (uint32_t lane = 0; lane < LANES; lane++) {
        lanes[lane].abef = _mm_add_epi32(lanes[lane].abef, before[lane].abef);
        lanes[lane].cdgh = _mm_add_epi32(lanes[lane].cdgh, before[lane].cdgh);
    }
}

SHA_TARGET static void take(struct lane lanes[LANES], const uint8_t *const from[LANES],
                            uint64_t blocks) {
    struct lane held[LANES] = {lanes[0], lanes[1]};
    for (uint64_t i = 0; i < blocks; i++) {
        const uint8_t *at[LANES] = {from[0] + i * BLOCK_BYTES, from[1] + i * BLOCK_BYTES};
        two_blocks(held, at);
    }
    lanes[0] = held[0];
    lanes[1] = held[1];
}

/* One lane goes on, the other is hashed along and forgotten. */
SHA_TARGET static void take_one(struct lane *lane, const uint8_t *from, uint64_t blocks) {
    struct lane lanes[LANES] = {*lane, *lane};
    const uint8_t *both[LANES] = {from, from};
    take(lanes, both, blocks);
    *lane = lanes[0];
}

/* What is left of a message, a one bit, zeroes, and its length in bits. Returns: how many blocks.
 */
static uint64_t pad(const struct sha256_piece *piece, uint8_t out[2 * BLOCK_BYTES]) {
    size_t rest = piece->bytes % BLOCK_BYTES;
    uint64_t blocks = rest + 9 > BLOCK_BYTES ? 2 : 1;
    uint64_t bits = (uint64_t)piece->bytes * 8;
    memset(out, 0, 2 * BLOCK_BYTES);
    if (rest > 0) {
        memcpy(out, (const uint8_t *)piece->data + piece->bytes - rest, rest);
    }
    out[rest] = 0x80;
    for (uint32_t i = 0; i < 8; i++) {
        out[blocks * BLOCK_BYTES - 1 - i] = (uint8_t)(bits >> (8 * i));
    }
    return blocks;
}

SHA_TARGET static void give(const struct lane *lane, uint8_t digest[SHA256_BYTES]) {
    uint32_t abef[4], cdgh[4];
    _mm_storeu_si128((void *)abef, lane->abef);
    _mm_storeu_si128((void *)cdgh, lane->cdgh);
    const uint32_t words[8] = {abef[3], abef[2], cdgh[3], cdgh[2],
                               abef[1], abef[0], cdgh[1], cdgh[0]};
    for (uint32_t i = 0; i < SHA256_BYTES; i++) {
        digest[i] = (uint8_t)(words[i / 4] >> (24 - 8 * (i % 4)));
    }
}

bool sha256_two_here(void) {
    /* Asking a processor that is a virtual one takes longer than the hash of a small block. Whoever
     * asks at the same time finds the same: relaxed. */
    static _Atomic int known; /* 0: not asked yet, 1: no, 2: yes */
    int answer = atomic_load_explicit(&known, memory_order_relaxed);
    if (unlikely(answer == 0)) {
        unsigned a = 0, b = 0, c = 0, d = 0;
        answer = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & SHA_BIT) ? 2 : 1;
        atomic_store_explicit(&known, answer, memory_order_relaxed);
    }
    return answer == 2;
}

SHA_TARGET void sha256_two(const struct sha256_piece pieces[2], uint8_t digests[2][SHA256_BYTES]) {
    struct lane lanes[LANES];
    const uint8_t *from[LANES] = {pieces[0].data, pieces[1].data};
    const uint64_t blocks[LANES] = {pieces[0].bytes / BLOCK_BYTES, pieces[1].bytes / BLOCK_BYTES};
    const uint64_t both = min_u64(blocks[0], blocks[1]);
    for (uint32_t i = 0; i < LANES; i++) {
        lanes[i].abef = _mm_loadu_si128((const void *)start_abef);
        lanes[i].cdgh = _mm_loadu_si128((const void *)start_cdgh);
    }
    take(lanes, from, both);
    for (uint32_t i = 0; i < LANES; i++) {
        uint8_t last[2 * BLOCK_BYTES];
        if (blocks[i] > both) {
            take_one(&lanes[i], from[i] + both * BLOCK_BYTES, blocks[i] - both);
        }
        uint64_t count = pad(&pieces[i], last);
        take_one(&lanes[i], last, count);
        give(&lanes[i], digests[i]);
    }
}

#else

bool sha256_two_here(void) {
    return false;
}

void sha256_two(const struct sha256_piece pieces[2], uint8_t digests[2][SHA256_BYTES]) {
    (void)pieces;
    (void)digests;
    never("asked for where it is not to be had");
}

#endif
