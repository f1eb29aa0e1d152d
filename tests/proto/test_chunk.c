/* SPDX-License-Identifier: MIT */
/* proto/ipld/chunk.c: cuts where Kubo cuts, however the bytes come; plans and what is none.
 *
 * The lengths below are those of the leaves that Kubo 0.42 made (ipfs add --raw-leaves --chunker)
 * of the same bytes. */

#include "proto/ipld/chunk.h"
#include "tests/proto/seeded.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define CUTS_MAX 256u

static uint8_t *content;
static size_t content_bytes;

/* 3 MiB without pattern, 1,500,000 zeros, or noise with 400,000 zeros in it. */
static void content_make(char kind) {
    content_bytes = kind == 'r' ? 3u << 20 : kind == 'z' ? 1500000 : 900000;
    content = calloc(1, content_bytes);
    cr_assert(content);
    if (kind == 'r') {
        seeded_fill(1, content, content_bytes);
    } else if (kind == 'm') {
        seeded_fill(2, content, 200000);
        seeded_fill(3, content + 600000, 300000);
    }
}

static uint32_t cut(struct chunker *chunker, const uint8_t *bytes, size_t count, size_t most,
                    uint32_t lengths[]) {
    uint32_t chunks = 0, length = 0;
    for (size_t at = 0; at < count;) {
        size_t give = count - at < most ? count - at : most;
        bool ended = false;
        /* In memory of exactly its size, so that a sanitizer sees a read past its end. */
        uint8_t *exact = malloc(give);
        memcpy(exact, bytes + at, give);
        size_t used = chunker_step(chunker, exact, give, &ended);
        free(exact);
        cr_assert(used > 0);
        cr_assert(used == give || ended);
        at += used;
        length += (uint32_t)used;
        if (ended) {
            cr_assert_lt(chunks, CUTS_MAX);
            lengths[chunks++] = length;
            length = 0;
        }
    }
    if (length > 0) {
        lengths[chunks++] = length;
    }
    return chunks;
}

static void plan_read(const char *text, struct chunk_plan *ret_plan) {
    char why[128];
    cr_assert_eq(chunk_plan_read(text, ret_plan, why, sizeof why), 0, "%s: %s", text, why);
}

/* expected: lengths, ended by 0. */
static void cuts_are(const char *text, const uint8_t *bytes, size_t count,
                     const uint32_t expected[]) {
    static const size_t splits[] = {SIZE_MAX, 1u << 20, 87381, 4096, 33, 16, 1};
    static struct chunker chunker;
    struct chunk_plan plan;
    plan_read(text, &plan);
    chunker_init(&chunker, &plan);
    for (size_t i = 0; i < array_count(splits); i++) {
        if (splits[i] < 33 && count > 1000000) {
            continue; /* byte by byte, a shorter one shows it as well */
        }
        uint32_t lengths[CUTS_MAX + 1], chunks;
        chunker_restart(&chunker);
        chunks = cut(&chunker, bytes, count, splits[i], lengths);
        for (uint32_t k = 0; k < chunks; k++) {
            cr_assert_eq(lengths[k], expected[k], "%s by %zu: chunk %u has %u bytes, not %u", text,
                         splits[i], k, lengths[k], expected[k]);
        }
        cr_assert_eq(expected[chunks], 0, "%s by %zu: %u chunks", text, splits[i], chunks);
    }
}

Test(chunk, buzhash_cuts_where_kubo_does) {
    static const uint32_t noise[] = {225222, 140232, 216717, 515154, 216415, 301171, 193686,
                                     195560, 227564, 174291, 339354, 270456, 129906, 0},
                          zeros[] = {131072, 131072, 131072, 131072, 131072, 131072, 131072,
                                     131072, 131072, 131072, 131072, 58208,  0},
                          mixed[] = {143864, 131072, 131072, 131072, 244400, 118520, 0};
    content_make('r');
    cuts_are("buzhash", content, content_bytes, noise);
    content_make('z');
    cuts_are("buzhash", content, content_bytes, zeros);
    content_make('m');
    cuts_are("buzhash", content, content_bytes, mixed);
}

Test(chunk, rabin_cuts_where_kubo_does) {
    static const uint32_t noise[] = {149896, 139702, 102544, 207981, 92473,  393216, 393216,
                                     393216, 89642,  221634, 393216, 182833, 386159, 0},
                          mixed[] = {200016, 87381, 87381, 87381, 87381, 174155, 176305, 0},
                          tenth[] = {46553, 146678, 33333, 33333,  33333, 33333, 33333,
                                     33333, 33333,  33333, 33333,  33333, 33333, 33333,
                                     82171, 48297,  39372, 136933, 0},
                          small[] = {3012,  5104, 6264, 1957, 1469,  4042, 2789,
                                     11250, 1282, 7877, 4470, 16020, 0};
    content_make('r');
    cuts_are("rabin", content, content_bytes, noise);
    cuts_are("rabin-87381-262144-393216", content, content_bytes, noise);
    content_make('m');
    cuts_are("rabin", content, content_bytes, mixed);
    cuts_are("rabin-100000", content, content_bytes, tenth);
    seeded_fill(5, content, 65536);
    cuts_are("rabin-1024-4096-16384", content, 65536, small);
}

Test(chunk, rabin_of_the_shortest_chunks_cuts_where_kubo_does) {
    static const uint32_t expected[] = {
        51, 83, 128, 128, 53,  35,  107, 72,  71,  128, 31,  34, 128, 19,  94, 128,
        30, 73, 65,  20,  30,  128, 128, 32,  106, 41,  61,  84, 19,  128, 40, 17,
        38, 17, 69,  60,  17,  95,  90,  29,  106, 39,  102, 40, 18,  70,  22, 85,
        41, 53, 67,  102, 128, 46,  65,  128, 60,  45,  128, 43, 1,   0,
    };
    content_make('m');
    seeded_fill(5, content, 4096);
    cuts_are("rabin-16-64-128", content, 4096, expected);
}

Test(chunk, size_cuts_at_every_multiple) {
    static const uint32_t uneven[] = {262144, 262144, 262144, 113568, 0},
                          even[] = {450000, 450000, 0}, whole[] = {900000, 0};
    content_make('m');
    cuts_are("size-262144", content, content_bytes, uneven);
    cuts_are("size-450000", content, content_bytes, even);
    cuts_are("size-2097152", content, content_bytes, whole);
}

Test(chunk, a_file_that_ends_with_a_chunk_has_no_empty_one_behind) {
    static struct chunker chunker;
    struct chunk_plan plan;
    bool ended = false;
    plan_read("size-4", &plan);
    chunker_init(&chunker, &plan);
    cr_assert_eq(chunker_step(&chunker, (const uint8_t *)"abcdefgh", 8, &ended), 4);
    cr_assert(ended);
    cr_assert_eq(chunker_step(&chunker, (const uint8_t *)"efgh", 4, &ended), 4);
    cr_assert(ended);
}

Test(chunk, what_is_no_plan_is_told_with_a_reason) {
    static const char *const bad[] = {
        "",
        "default",
        "size",
        "size-",
        "size-0",
        "size-2097153",
        "size-x",
        "size-10-20",
        "size--1",
        "size-99999999999",
        "rabin-",
        "rabin-10-20",
        "rabin-1-2-3",
        "rabin-64-32-128",
        "rabin-64-64-128",
        "rabin-64-128-128",
        "rabin-16-32-3000000",
        "rabin-40",
        "rabin-2000000",
        "rabin-1-2-3-4",
        "buzhash-1",
        "size-18446744073709551617",
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        struct chunk_plan plan = {.max = 77};
        char why[128] = "";
        cr_assert_eq(chunk_plan_read(bad[i], &plan, why, sizeof why), CHUNK_BAD_PLAN, "%s", bad[i]);
        cr_assert_gt(strlen(why), 10, "%s", bad[i]);
        cr_assert_eq(plan.max, 77, "%s", bad[i]);
    }
}

Test(chunk, plans_at_their_bounds_are_taken) {
    struct chunk_plan plan;
    plan_read("size-1", &plan);
    cr_assert_eq(plan.max, 1);
    plan_read("size-2097152", &plan);
    cr_assert_eq(plan.max, 2097152);
    plan_read("rabin-48", &plan);
    cr_assert_eq(plan.min, 16);
    cr_assert_eq(plan.max, 72);
    plan_read("rabin", &plan);
    cr_assert_eq(plan.min, 87381);
    cr_assert_eq(plan.max, 393216);
    plan_read("rabin-16-17-2097152", &plan);
    cr_assert_eq(plan.average, 17);
}
