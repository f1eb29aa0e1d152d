/* SPDX-License-Identifier: MIT */
#include "base/cid.h"

#include "base/hash.h"
#include "base/key.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct cid cid_of(const void *data, size_t bytes, uint64_t codec, uint32_t version) {
    struct cid cid = {
        .version = version, .codec = codec, .hash = HASH_SHA2_256, .digest_bytes = 32};
    cr_assert_eq(hash_compute(HASH_SHA2_256, data, bytes, cid.digest, 32), 0);
    return cid;
}

static bool same(const struct cid *a, const struct cid *b) {
    return a->version == b->version && a->codec == b->codec && a->hash == b->hash &&
           a->digest_bytes == b->digest_bytes && memcmp(a->digest, b->digest, a->digest_bytes) == 0;
}

Test(cid, hello_world_has_its_well_known_names) {
    struct cid cid = cid_of("hello world", 11, CID_RAW, 1);
    char text[CID_TEXT_MAX];
    cr_assert_eq(cid_format(&cid, text), 59);
    cr_assert_str_eq(text, "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e");
    cid_format_base(&cid, 'z', text);
    cr_assert_str_eq(text, "zb2rhj7crUKTQYRGCRATFaQ6YFLTde2YzdqbbhAASkL9uRDXn");
    cid_format_base(&cid, 'k', text);
    cr_assert_str_eq(text, "k2cwued9o1pvrt3q271rrqbo49x30tbxwpoeaq75z14e5ui2rzygpbe1");
    cid_format_base(&cid, 'f', text);
    cr_assert_str_eq(text,
                     "f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
}

Test(cid, the_empty_directory_has_its_well_known_names) {
    static const uint8_t empty_directory[] = {0x0a, 0x02, 0x08, 0x01};
    struct cid cid = cid_of(empty_directory, 4, CID_DAG_PB, 0), parsed;
    char text[CID_TEXT_MAX];
    cr_assert_eq(cid_format(&cid, text), 46);
    cr_assert_str_eq(text, "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
    cr_assert_eq(cid_parse(text, &parsed, NULL, 0), 0);
    cr_assert(same(&cid, &parsed));
    cid.version = 1;
    cid_format(&cid, text);
    cr_assert_str_eq(text, "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
}

Test(cid, the_empty_identity_is_bafkqaaa) {
    struct cid cid;
    struct key key;
    cr_assert_eq(cid_parse("bafkqaaa", &cid, NULL, 0), 0);
    cr_assert_eq(cid.hash, HASH_IDENTITY);
    cr_assert_eq(cid.digest_bytes, 0);
    cr_assert_eq(cid_key(&cid, &key), CID_IDENTITY);
}

Test(cid, random_ones_come_back_from_bytes_and_from_every_base) {
    static const uint64_t codecs[] = {CID_RAW, CID_DAG_PB, CID_DAG_JSON, 0x3fffffffffffffff};
    static const uint64_t hashes[] = {0, HASH_SHA1, HASH_SHA2_256, HASH_BLAKE2B_256, INT64_MAX};
    srand(3);
    for (int round = 0; round < 2000; round++) {
        struct cid cid = {.version = 1,
                          .codec = codecs[rand() % 4],
                          .hash = hashes[rand() % 5],
                          .digest_bytes = (uint32_t)rand() % (CID_DIGEST_MAX + 1)};
        for (uint32_t i = 0; i < cid.digest_bytes; i++) {
            cid.digest[i] = (uint8_t)rand();
        }
        uint8_t bytes[CID_BYTES_MAX];
        size_t used, count = cid_write(&cid, bytes);
        struct cid again;
        cr_assert_eq(cid_read(bytes, count, &again, &used), 0);
        cr_assert_eq(used, count);
        cr_assert(same(&cid, &again));
        for (size_t cut = 0; cut < count; cut++) {
            cr_assert_eq(cid_read(bytes, cut, &again, &used), CID_SHORT);
        }
        for (const char *base = "bkzfBKF"; *base; base++) {
            char text[CID_TEXT_MAX], path[CID_TEXT_MAX + 8];
            cr_assert_eq(cid_format_base(&cid, *base, text), strlen(text));
            cr_assert_eq(text[0], *base);
            snprintf(path, sizeof path, "/ipfs/%s", text);
            cr_assert_eq(cid_parse(text, &again, NULL, 0), 0, "%s", text);
            cr_assert(same(&cid, &again));
            cr_assert_eq(cid_parse(path, &again, NULL, 0), 0);
            snprintf(path, sizeof path, "ipfs://%s", text);
            cr_assert_eq(cid_parse(path, &again, NULL, 0), 0);
            cr_assert(same(&cid, &again));
        }
    }
}

Test(cid, the_longest_one_fits_its_text) {
    struct cid cid = {
        .version = 1, .codec = INT64_MAX, .hash = INT64_MAX, .digest_bytes = CID_DIGEST_MAX};
    memset(cid.digest, 0xff, sizeof cid.digest);
    for (const char *base = "bkzfBKF"; *base; base++) {
        char text[CID_TEXT_MAX];
        cr_assert_lt(cid_format_base(&cid, *base, text), CID_TEXT_MAX);
    }
}

Test(cid, bad_bytes_are_refused_as_soon_as_they_show) {
    static const struct {
        size_t count;
        uint8_t bytes[16];
        int wanted;
    } cases[] = {
        {0, {0}, CID_SHORT},
        {1, {0x12}, CID_SHORT},
        {2, {0x12, 0x20}, CID_SHORT},
        {2, {0x12, 0x21}, CID_BAD},
        {1, {0}, CID_BAD},
        {1, {2}, CID_BAD},
        {1, {0x81}, CID_BAD},
        {1, {1}, CID_SHORT},
        {3, {1, 0xd5, 0}, CID_BAD},
        {4, {1, 0x55, 0x92, 0}, CID_BAD},
        {5, {1, 0x55, 0x00, 0x81, 0x01}, CID_BAD},
        {11, {1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, CID_BAD},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        struct cid cid;
        size_t used;
        cr_assert_eq(cid_read(cases[i].bytes, cases[i].count, &cid, &used), cases[i].wanted,
                     "case %zu", i);
    }
}

Test(cid, bad_texts_are_refused_in_words) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "empty"},
        {"/ipfs/", "empty"},
        {"ipfs://", "empty"},
        {"hello", "begins neither"},
        {"bafkqaaa/readme", "path"},
        {"baf!", "character other than"},
        {"bafkqaa", "cut off"},
        {"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n", "too early"},
        {"QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3N", "begins neither"},
        {"QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3N0", "base lacks"},
        {"zQmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", "without a base prefix"},
        {"f0155000000", "followed by bytes"},
        {"f00", "not as they should be"},
    };
    for (size_t i = 0; i < array_count(cases); i++) {
        char why[200] = "";
        struct cid cid = {.version = 77};
        cr_assert_eq(cid_parse(cases[i].text, &cid, why, sizeof why), CID_BAD, "%s", cases[i].text);
        cr_assert_not_null(strstr(why, cases[i].why), "%s: %s", cases[i].text, why);
        cr_assert_eq(cid.version, 77);
        cr_assert_eq(cid_parse(cases[i].text, &cid, NULL, 0), CID_BAD);
    }
    static char endless[10000];
    memset(endless, 'b', sizeof endless - 1);
    struct cid cid;
    char why[8];
    cr_assert_eq(cid_parse(endless, &cid, why, sizeof why), CID_BAD);
    cr_assert_str_eq(why, "too lon");
}

Test(cid, versions_and_codecs_of_one_hash_are_one_key) {
    struct cid v0 = cid_of("x", 1, CID_DAG_PB, 0), pb = cid_of("x", 1, CID_DAG_PB, 1),
               raw = cid_of("x", 1, CID_RAW, 1), back;
    struct key a, b, c;
    cr_assert_eq(cid_key(&v0, &a), 0);
    cr_assert_eq(cid_key(&pb, &b), 0);
    cr_assert_eq(cid_key(&raw, &c), 0);
    cr_assert(key_equal(&a, &b));
    cr_assert(key_equal(&a, &c));
    cid_of_key(&a, CID_RAW, &back);
    cr_assert(same(&back, &raw));
}

Test(cid, what_is_no_key_says_why) {
    struct cid cid = cid_of("x", 1, CID_RAW, 1);
    struct key key = {.code = 9};
    cid.hash = 0x1e;
    cr_assert_eq(cid_key(&cid, &key), CID_UNKNOWN_HASH);
    cid.hash = HASH_SHA2_256;
    cid.digest_bytes = 19;
    cr_assert_eq(cid_key(&cid, &key), CID_BAD);
    cid.digest_bytes = 33;
    cr_assert_eq(cid_key(&cid, &key), CID_BAD);
    cr_assert_eq(key.code, 9);
}

Test(cid, codecs_have_names) {
    uint64_t codec;
    cr_assert_str_eq(cid_codec_name(CID_DAG_PB), "dag-pb");
    cr_assert_eq(cid_codec_of("dag-json", &codec), 0);
    cr_assert_eq(codec, CID_DAG_JSON);
    cr_assert_null(cid_codec_name(0xabcdef));
    cr_assert_eq(cid_codec_of("dag-xml", &codec), CID_BAD);
}

Test(cid, version_0_in_another_base_panics, .signal = SIGABRT) {
    struct cid cid = cid_of("x", 1, CID_DAG_PB, 0);
    char text[CID_TEXT_MAX];
    cid_format_base(&cid, 'b', text);
}
