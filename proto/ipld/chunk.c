/* SPDX-License-Identifier: MIT */
#include "proto/ipld/chunk.h"

#include "base/must.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define BUZHASH_MIN  (128u << 10)
#define BUZHASH_MAX  (512u << 10)
#define BUZHASH_MASK ((1u << 17) - 1)
#define RABIN_MIN    16u /* a chunk is not shorter than the window */

/* The irreducible polynomial that Kubo's fingerprints are taken modulo. */
#define POLYNOMIAL        UINT64_C(0x3df305dfb2a805)
#define POLYNOMIAL_DEGREE 53u

/* A random word for each byte; the same table in every implementation of this format. */
static const uint32_t buzhash_words[256] = {
    0x6236e7d5, 0x10279b0b, 0x72818182, 0xdc526514, 0x2fd41e3d, 0x777ef8c8, 0x83ee5285, 0x2c8f3637,
    0x2f049c1a, 0x57df9791, 0x9207151f, 0x9b544818, 0x74eef658, 0x2028ca60, 0x0271d91a, 0x27ae587e,
    0xecf9fa5f, 0x236e71cd, 0xf43a8a2e, 0x0bb13380, 0x9e57912c, 0x89a26cdb, 0x9fcf3d71, 0xa86da6f1,
    0x9c49f376, 0x346aecc7, 0xf094a9ee, 0xea99e9cb, 0xb01713c6, 0x088acffb, 0x2960a0fb, 0x344a626c,
    0x7ff22a46, 0x6d7a1aa5, 0x6a714916, 0x41d454ca, 0x8325b830, 0x0b65f563, 0x447fecca, 0xf9d0ea5e,
    0xc1d9d3d4, 0xcb5ec574, 0x55aae902, 0x86edc0e7, 0x0d3a9e33, 0xe70dc1e1, 0xe3c5f639, 0x9b43140a,
    0xc6490ac5, 0x5e4030fb, 0x8e976dd5, 0xa87468ea, 0xf830ef6f, 0xcc1ed5a5, 0x611f4e78, 0xddd11905,
    0xf2613904, 0x566c67b9, 0x905a5ccc, 0x7b37b3a4, 0x4b53898a, 0x6b8fd29d, 0xaad81575, 0x511be414,
    0x3cfac1e7, 0x8029a179, 0xd40efeda, 0x07380e02, 0xdc9beffd, 0x2d049082, 0x99bc7831, 0xff5002a8,
    0x21ce7646, 0x01cd049b, 0x0f43994f, 0xc3c6c5a5, 0xbbda5f50, 0x0ec15ec7, 0x9adb19b6, 0x0c1e80b9,
    0xb9b52968, 0xae162419, 0x2542b405, 0x91a42e9d, 0x6be0f668, 0x6ed7a6b9, 0xbc2777b4, 0xe162ce56,
    0x4266aad5, 0x60fdb704, 0x66f832a5, 0x9595f6ca, 0xfee83ced, 0x55228d99, 0x12bf0e28, 0x66896459,
    0x0789afda, 0x0282baa8, 0x2367a343, 0x591491b0, 0x2ff1a4b1, 0x410739b6, 0x9b7055a0, 0x2e0eb229,
    0x24fc8252, 0x3327d3df, 0xb0782669, 0x1c62e069, 0x7f503101, 0xf50593ae, 0xd9eb275d, 0xe00eb678,
    0x5917ccde, 0x97b9660a, 0xdd06202d, 0xed229e22, 0xa9c735bf, 0xd6316fe6, 0x6fc72e4c, 0x0206dfa2,
    0xd6b15c5a, 0x69d87b49, 0x09c97745, 0x13445d61, 0x35a975aa, 0x859aa9b9, 0x65380013, 0xd1fb6391,
    0xc29255fd, 0x784a3b91, 0xb9e74c26, 0x63ce4d40, 0xc07cbe9e, 0xe6e4529e, 0x0fb3632f, 0x9438d9c9,
    0x682f94a8, 0xf8fd4611, 0x257ec1ed, 0x475ce3d6, 0x60ee2db1, 0x2afab002, 0x2b9e4878, 0x86b340de,
    0x1482fdca, 0xfe41b3bf, 0xd4a412b0, 0xe09db98c, 0xc1af5d53, 0x7e55e25f, 0xd3346b38, 0xb7a12cbd,
    0x9c6827ba, 0x71f78bee, 0x8c3a0f52, 0x150491b0, 0xf26de912, 0x233e3a4e, 0xd309ebba, 0xa0a9e0ff,
    0xca2b5921, 0xeeb9893c, 0x33829e88, 0x9870cc2a, 0x23c4b9d0, 0xeba32ea3, 0xbdac4d22, 0x3bc8c44c,
    0x1e8d0397, 0xf9327735, 0x783b009f, 0x0eb83742, 0x2621dc71, 0xed017d03, 0x5c760aa1, 0x5a69814b,
    0x96e3047f, 0xa93c9cde, 0x615c86f5, 0xb4322aa5, 0x4225534d, 0x0d2e2de3, 0xccfccc4b, 0x0bac2a57,
    0xf0a06d04, 0xbc78d737, 0xf2d1f766, 0xf5a7953c, 0xbcdfda85, 0x5213b7d5, 0xbce8a328, 0xd38f5f18,
    0xdb094244, 0xfe571253, 0x317fa7ee, 0x4a324f43, 0x3ffc39d9, 0x51b3fa8e, 0x7a4bee9f, 0x78bbc682,
    0x9f5c0350, 0x02fe286c, 0x245ab686, 0xed6bf7d7, 0x0ac4988a, 0x3fe010fa, 0xc65fe369, 0xa45749cb,
    0x2b84e537, 0xde9ff363, 0x20540f9a, 0xaa8c9b34, 0x5bc476b3, 0x1d574bd7, 0x929100ad, 0x4721de4d,
    0x27df1b05, 0x58b18546, 0xb7e76764, 0xdf904e58, 0x97af57a1, 0xbd4dc433, 0xa6256dfd, 0xf63998f3,
    0xf1e05833, 0xe20acf26, 0xf57fd9d6, 0x90300b4d, 0x89df4290, 0x68d01cbc, 0xcf893ee3, 0xcc42a046,
    0x778e181b, 0x67265c76, 0xe981a4c4, 0x82991da1, 0x708f7294, 0xe6e2ae62, 0xfc441870, 0x95e1b0b6,
    0x0445f825, 0x5a93b47f, 0x5e9cf4be, 0x84da71e7, 0x9d9582b0, 0x9bf835ef, 0x591f61e2, 0x43325985,
    0x5d2de32e, 0x8d8fbf0f, 0x95b30f38, 0x07ad5b6e, 0x4e934edf, 0x3cd4990e, 0x9053e259, 0x5c41857d,
};

/* ---- plans ----------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static int bad(char *why, size_t why_bytes,
                                                     const char *format, ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(why, why_bytes, format, args);
    va_end(args);
    return CHUNK_BAD_PLAN;
}

/* Reads "-123-456..." into numbers. Returns: how many there were; 0 also for what is not that. */
static uint32_t numbers_read(const char *text, uint64_t numbers[], uint32_t room) {
    uint32_t count = 0;
    while (*text != '\0') {
        uint64_t value = 0;
        const char *digit = text + 1;
        for (; *digit >= '0' && *digit <= '9' && digit - text <= 10; digit++) {
            value = 10 * value + (uint64_t)(*digit - '0');
        }
        if (*text != '-' || digit == text + 1 || count == room || (*digit != '-' && *digit)) {
            return 0;
        }
        numbers[count++] = value;
        text = digit;
    }
    return count;
}

static int size_plan(const char *text, struct chunk_plan *ret_plan, char *why, size_t why_bytes) {
    uint64_t size;
    if (numbers_read(text, &size, 1) != 1) {
        return bad(why, why_bytes, "write it as size-N, as in size-262144");
    }
    if (size == 0 || size > CHUNK_MAX) {
        return bad(why, why_bytes, "a chunk has 1 to %u bytes", CHUNK_MAX);
    }
    uint32_t bytes = (uint32_t)size;
    *ret_plan = (struct chunk_plan){CHUNK_SIZE, bytes, bytes, bytes};
    return 0;
}

static int rabin_plan(const char *text, struct chunk_plan *ret_plan, char *why, size_t why_bytes) {
    uint64_t numbers[3] = {0, CHUNK_DEFAULT, 0};
    uint32_t count = *text == '\0' ? 0 : numbers_read(text, numbers, array_count(numbers));
    if ((count == 0 && *text != '\0') || count == 2) {
        return bad(why, why_bytes, "write it as rabin-MIN-AVERAGE-MAX, rabin-AVERAGE or rabin");
    }
    if (count < 3) {
        uint64_t average = count == 1 ? numbers[0] : CHUNK_DEFAULT;
        numbers[0] = average / 3;
        numbers[1] = average;
        numbers[2] = average + average / 2;
    }
    if (numbers[0] < RABIN_MIN || numbers[2] > CHUNK_MAX) {
        return bad(why, why_bytes, "rabin's chunks have %u to %u bytes, not %llu to %llu",
                   RABIN_MIN, CHUNK_MAX, (unsigned long long)numbers[0],
                   (unsigned long long)numbers[2]);
    }
    if (numbers[0] >= numbers[1] || numbers[1] >= numbers[2]) {
        return bad(why, why_bytes, "rabin's three numbers grow: MIN < AVERAGE < MAX");
    }
    *ret_plan = (struct chunk_plan){CHUNK_RABIN, (uint32_t)numbers[0], (uint32_t)numbers[1],
                                    (uint32_t)numbers[2]};
    return 0;
}

int chunk_plan_read(const char *text, struct chunk_plan *ret_plan, char *why, size_t why_bytes) {
    if (strcmp(text, "buzhash") == 0) {
        *ret_plan = (struct chunk_plan){CHUNK_BUZHASH, BUZHASH_MIN, BUZHASH_MASK + 1, BUZHASH_MAX};
        return 0;
    }
    if (strncmp(text, "size", 4) == 0) {
        return size_plan(text + 4, ret_plan, why, why_bytes);
    }
    if (strncmp(text, "rabin", 5) == 0) {
        return rabin_plan(text + 5, ret_plan, why, why_bytes);
    }
    return bad(why, why_bytes, "it takes size-N, buzhash or rabin-MIN-AVERAGE-MAX");
}

/* ---- the Rabin fingerprint: bytes as a polynomial over GF(2), modulo POLYNOMIAL ----------------
 */

/* The remainder of value * x^8, for a value that is one. */
static uint64_t times_byte(uint64_t value) {
    for (uint32_t i = 0; i < 8; i++) {
        value <<= 1;
        value ^= (value >> POLYNOMIAL_DEGREE & 1) != 0 ? POLYNOMIAL : 0;
    }
    return value;
}

/* reduce[b]: what clears byte b above the degree and adds its remainder, in one exclusive or.
 * leave[b]: what byte b weighs when it is the oldest of the window. */
static void rabin_tables(struct chunker *chunker) {
    for (uint32_t b = 0; b < 256; b++) {
        /* b * x^degree = b * x^(degree - 8) * x^8 */
        uint64_t high = (uint64_t)b << (POLYNOMIAL_DEGREE - 8);
        chunker->reduce[b] = times_byte(high) | (uint64_t)b << POLYNOMIAL_DEGREE;
        uint64_t weight = b;
        for (uint32_t i = 1; i < CHUNK_RABIN_WINDOW; i++) {
            weight = times_byte(weight);
        }
        chunker->leave[b] = weight;
    }
}

/* ---- chunks ---------------------------------------------------------------------------------- */

void chunker_restart(struct chunker *chunker) {
    chunker->count = 0;
    chunker->hash = 0;
    memset(chunker->window, 0, sizeof chunker->window);
    if (chunker->plan.kind == CHUNK_RABIN) {
        /* A byte of 1 stands before every chunk, so that leading zeros count. */
        chunker->window[CHUNK_RABIN_WINDOW - 1] = 1;
        chunker->hash = 1;
    }
}

static uint64_t low_bits_of_log2(uint32_t value) {
    return (UINT64_C(1) << (31 - __builtin_clz(value))) - 1;
}

void chunker_init(struct chunker *chunker, const struct chunk_plan *plan) {
    must(plan->min > 0);
    must(plan->min <= plan->max);
    must(plan->max <= CHUNK_MAX);
    memset(chunker, 0, sizeof *chunker);
    chunker->plan = *plan;
    switch (plan->kind) {
    case CHUNK_SIZE:
        chunker->begin = plan->max;
        break;
    case CHUNK_BUZHASH:
        chunker->begin = plan->min - CHUNK_BUZHASH_WINDOW;
        chunker->mask = BUZHASH_MASK;
        break;
    case CHUNK_RABIN:
        chunker->begin = plan->min - CHUNK_RABIN_WINDOW;
        chunker->mask = low_bits_of_log2(plan->average);
        rabin_tables(chunker);
        break;
    default:
        never("a kind of chunks that does not exist");
    }
    chunker_restart(chunker);
}

static uint64_t buzhash_roll(uint64_t hash, uint8_t in, uint32_t out_word) {
    uint32_t turned = (uint32_t)hash << 1 | (uint32_t)hash >> 31;
    return turned ^ buzhash_words[in] ^ out_word;
}

static uint64_t rabin_roll(const struct chunker *chunker, uint64_t hash, uint8_t in, uint8_t out) {
    hash ^= chunker->leave[out];
    return (hash << 8 | in) ^ chunker->reduce[hash >> (POLYNOMIAL_DEGREE - 8)];
}

/* The hash of one kind over up to `count` bytes, from the chunk's byte `at` on. `out` is the window
 * before them: out[i] leaves when bytes[i] comes. Returns: how many bytes until a cut, or count. */
static size_t buzhash_run(struct chunker *chunker, const uint8_t *bytes, const uint8_t *out,
                          size_t count, bool *ret_cut) {
    uint64_t hash = chunker->hash;
    uint32_t min = chunker->plan.min, at = chunker->count;
    size_t i = 0;
    /* The first window fills: nothing leaves, and no cut is possible before it is full. */
    for (; i < count && at + i < min; i++) {
        hash = buzhash_roll(hash, bytes[i], 0);
    }
    bool cut = i > 0 && at + i == min && (hash & BUZHASH_MASK) == 0;
    while (i < count && !cut) {
        hash = buzhash_roll(hash, bytes[i], buzhash_words[out[i]]);
        i++;
        cut = (hash & BUZHASH_MASK) == 0;
    }
    chunker->hash = hash;
    *ret_cut = cut;
    return i;
}

static size_t rabin_run(struct chunker *chunker, const uint8_t *bytes, const uint8_t *out,
                        size_t count, bool *ret_cut) {
    uint64_t hash = chunker->hash, mask = chunker->mask;
    uint32_t min = chunker->plan.min, at = chunker->count;
    size_t i = 0;
    bool cut = false;
    while (i < count && !cut) {
        hash = rabin_roll(chunker, hash, bytes[i], out[i]);
        i++;
        cut = (hash & mask) == 0 && at + i >= min;
    }
    chunker->hash = hash;
    *ret_cut = cut;
    return i;
}

/* Runs the hash over bytes of which the first leave a window that is the chunker's, the others one
 * that is `bytes` themselves. */
static size_t hash_run(struct chunker *chunker, const uint8_t *bytes, size_t count, bool *ret_cut) {
    bool buzhash = chunker->plan.kind == CHUNK_BUZHASH;
    uint32_t width = buzhash ? CHUNK_BUZHASH_WINDOW : CHUNK_RABIN_WINDOW;
    size_t (*run)(struct chunker *, const uint8_t *, const uint8_t *, size_t, bool *) =
        buzhash ? buzhash_run : rabin_run;
    size_t head = count < width ? count : width;
    size_t used = run(chunker, bytes, chunker->window, head, ret_cut);
    chunker->count += (uint32_t)used;
    if (used == width && !*ret_cut && count > width) {
        size_t more = run(chunker, bytes + width, bytes, count - width, ret_cut);
        chunker->count += (uint32_t)more;
        used += more;
    }
    /* The last `width` bytes are the window that the next call begins with. */
    if (used >= width) {
        memcpy(chunker->window, bytes + used - width, width);
    } else {
        memmove(chunker->window, chunker->window + used, width - used);
        memcpy(chunker->window + width - used, bytes, used);
    }
    return used;
}

size_t chunker_step(struct chunker *chunker, const uint8_t *bytes, size_t count, bool *ret_cut) {
    size_t used = 0;
    uint32_t room = chunker->plan.max - chunker->count;
    bool cut = false;
    count = count < room ? count : room;
    if (chunker->count < chunker->begin) {
        uint32_t skip = chunker->begin - chunker->count;
        used = count < skip ? count : skip;
        chunker->count += (uint32_t)used;
    }
    if (used < count) {
        used += hash_run(chunker, bytes + used, count - used, &cut);
    }
    *ret_cut = cut || chunker->count == chunker->plan.max;
    if (*ret_cut) {
        chunker_restart(chunker);
    }
    return used;
}
