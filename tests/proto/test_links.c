/* SPDX-License-Identifier: MIT */
/* proto/ipld/links.c and, behind it, proto/ipld/dag_pb.c, proto/ipld/dag_cbor.c and
 * proto/ipld/dag_json.c: links in the order they stand, and what is not of its codec. */

#include "proto/ipld/links.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define DIGEST   "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define RAW      "01551220" DIGEST
#define PB       "1220" DIGEST
#define RAW_TEXT "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
#define PB_TEXT  "QmRN6wdp1S2A5EtjW9A3M1vKSBuQQGcgvuhoMUoEz4iiT5"

static uint8_t block[1 << 16];

static size_t of_hex(const char *hex) {
    size_t count = 0;
    for (unsigned value; *hex;) {
        if (*hex == ' ') {
            hex++;
            continue;
        }
        cr_assert_eq(sscanf(hex, "%2x", &value), 1);
        block[count++] = (uint8_t)value;
        hex += 2;
    }
    return count;
}

/* One letter a link: r and p for the two CIDs above, ? for any other; then . or ! */
static const char *story_of(uint64_t codec, const uint8_t *bytes, size_t count) {
    static char story[256];
    /* In a block of exactly its size, so that a sanitizer sees a read past its end. */
    uint8_t *exact = malloc(count ? count : 1);
    cr_assert(exact);
    memcpy(exact, bytes, count);
    struct links links;
    struct cid cid;
    size_t used = 0;
    int r;
    memset(&links, 0xa5, sizeof links);
    links_init(&links, codec, exact, count);
    while ((r = links_next(&links, &cid)) == 0) {
        char text[CID_TEXT_MAX];
        cid_format(&cid, text);
        cr_assert_lt(used, sizeof story - 2);
        story[used++] = strcmp(text, RAW_TEXT) == 0 ? 'r' : strcmp(text, PB_TEXT) == 0 ? 'p' : '?';
    }
    cr_assert(r == LINKS_END || r == LINKS_BAD);
    cr_assert_eq(links_next(&links, &cid), r, "an end stays one");
    free(exact);
    story[used++] = r == LINKS_END ? '.' : '!';
    story[used] = 0;
    return story;
}

static void hex_tells(uint64_t codec, const char *hex, const char *story) {
    cr_assert_str_eq(story_of(codec, block, of_hex(hex)), story, "%s", hex);
}

static void pb(const char *hex, const char *story) {
    hex_tells(CID_DAG_PB, hex, story);
}

static void cbor(const char *hex, const char *story) {
    hex_tells(CID_DAG_CBOR, hex, story);
}

static void json(const char *text, const char *story) {
    cr_assert_str_eq(story_of(CID_DAG_JSON, (const uint8_t *)text, strlen(text)), story, "%s",
                     text);
}

/* Cut anywhere, a block is damaged, or the end of a shorter one: never more links than before. */
static void cuts_are_safe(uint64_t codec, size_t count) {
    char whole[256];
    snprintf(whole, sizeof whole, "%s", story_of(codec, block, count));
    for (size_t cut = 0; cut < count; cut++) {
        const char *story = story_of(codec, block, cut);
        cr_assert_eq(strncmp(story, whole, strlen(story) - 1), 0, "cut at %zu", cut);
    }
}

Test(links, codecs_without_links_end_at_once) {
    static const uint64_t codecs[] = {CID_RAW, CID_LIBP2P_KEY, CID_JSON, CID_CBOR, 0x78, 0};
    for (size_t i = 0; i < array_count(codecs); i++) {
        cr_assert_str_eq(story_of(codecs[i], (const uint8_t *)"\x12\x00", 2), ".");
    }
}

Test(links, known_codecs_are_told_from_others) {
    cr_assert(links_codec_known(CID_RAW));
    cr_assert(links_codec_known(CID_DAG_PB));
    cr_assert(links_codec_known(CID_DAG_CBOR));
    cr_assert(links_codec_known(CID_DAG_JSON));
    cr_assert(links_codec_known(CID_LIBP2P_KEY));
    cr_assert(links_codec_known(CID_JSON));
    cr_assert(links_codec_known(CID_CBOR));
    cr_assert(!links_codec_known(0x78)); /* git */
}

/* ---- dag-pb ---- */

Test(links, pb_links_come_in_order) {
    pb("", ".");
    pb("0a03616263", ".");
    pb("1226 0a24" RAW "1224 0a22" PB "0a0161", "rp.");
    pb("122e 0a24" RAW "1203616263 1880 01", "r.");
    cuts_are_safe(CID_DAG_PB, of_hex("1226 0a24" RAW "1224 0a22" PB "0a0161"));
}

Test(links, pb_is_read_in_any_order) {
    pb("0a0161 1226 0a24" RAW, "r.");
    pb("1224 0a22" PB "0a0161 1226 0a24" RAW, "pr.");
    pb("122a 1804 12 00 0a24" RAW, "r.");
}

Test(links, pb_identity_links_are_links) {
    pb("120a 0a08 0155000461626364", "?.");
}

Test(links, pb_that_is_not_pb_is_bad_behind_the_links_before) {
    pb("1226 0a24" RAW "1200", "r!");          /* no Hash */
    pb("1226 0a24" RAW "1204 12026161", "r!"); /* a name alone */
    pb("124c 0a24" RAW "0a24" RAW, "!");       /* two of them */
    pb("1202 0a00", "!");                      /* an empty one */
    pb("1227 0a25" RAW "00", "!");             /* bytes behind it */
    pb("1225 0a23 01551220 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b98", "!");
    pb("1a0161", "!"); /* a field dag-pb does not have */
    pb("1001", "!");   /* links of another type */
    pb("0801", "!");
    pb("1228 0a24" RAW "2001", "!");
    pb("1228 0a24" RAW "1001", "!");
    pb("1229 0a24" RAW "1a0161", "!");
    pb("1226 0a24" RAW "0a05616263", "r!"); /* beyond the end */
    pb("1227 0a24" RAW, "!");
    pb("1226 0a25" RAW, "!");
    pb("ff", "!");
}

/* ---- dag-cbor ---- */

#define LINK  "d82a 582500" RAW
#define LINK0 "d82a 582300" PB

Test(links, cbor_links_come_in_order) {
    cbor(LINK, "r.");
    cbor("82" LINK LINK0, "rp.");
    cbor("a2 6161" LINK "6162 82" LINK0 LINK, "rpr.");
    cbor("a1 6161 a1 6162 81 81 81" LINK0, "p.");
    cuts_are_safe(CID_DAG_CBOR, of_hex("a2 6161" LINK "6162 82" LINK0 LINK));
}

Test(links, cbor_without_links_ends) {
    static const char *const sound[] = {
        "00",         "17",         "1818",
        "190100",     "1a00010000", "1b0000000100000000", /* unsigned */
        "20",         "3863",       "3b7fffffffffffffff", /* negative */
        "40",         "43616263",   "60",
        "63616263",   "5803616263", /* strings */
        "80",         "a0",         "83010203",
        "a1 6161 01", /* collections */
        "f4",         "f5",         "f6",
        "f93c00",     "fa3f800000", "fb3ff0000000000000", /* simple */
        "1800",       "9803010203", "b801616101",         /* not the shortest */
    };
    for (size_t i = 0; i < array_count(sound); i++) {
        cbor(sound[i], ".");
    }
}

Test(links, cbor_that_is_not_dag_cbor_is_bad) {
    static const char *const bad[] = {
        "", /* nothing at all */
        "0000",
        "80 00", /* more than one item */
        "9f01ff",
        "bf616101ff",
        "5f4161ff",
        "7f6161ff",
        "ff", /* of indefinite length */
        "1c",
        "3d",
        "5e",
        "fc", /* reserved */
        "f7",
        "e0",
        "f0",
        "f818",
        "f8ff", /* undefined and other simple values */
        "c000",
        "d82b4100",
        "d9d9f700", /* tags but 42 */
        "d82a 00",
        "d82a 6100",
        "d82a 80",
        "d82a",
        "d82a d82a 4100", /* not a byte string */
        "d82a 40",
        "d82a 4100",
        "d82a 4101", /* not a CID behind a zero */
        "d82a 5824" RAW,
        "d82a 582600" RAW "00",
        "d82a 582601" RAW "01",
        "43 6162",
        "63 6162",
        "5b ffffffffffffffff 61",
        "7a ffffffff 61", /* beyond the end */
        "81",
        "82 01",
        "a1 6161",
        "a1",
        "9a ffffffff",
        "9b ffffffffffffffff",
        "ba 80000000",
        "bb 8000000000000000",
        "bb 7fffffffffffffff 00",
        "bb ffffffffffffffff",
        "18",
        "1901",
        "1a000100",
        "1b00000001000000",
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        cbor(bad[i], "!");
    }
    cbor("82" LINK "ff", "r!");
    cbor("82" LINK LINK0 "00", "rp!");
    cbor("83" LINK LINK0, "rp!");
}

Test(links, cbor_nests_as_deep_as_its_bytes) {
    memset(block, 0x81, sizeof block);
    block[sizeof block - 1] = 0x00;
    cr_assert_str_eq(story_of(CID_DAG_CBOR, block, sizeof block), ".");
    cr_assert_str_eq(story_of(CID_DAG_CBOR, block, sizeof block - 1), "!");
}

/* ---- dag-json ---- */

Test(links, json_links_come_in_order) {
    json("{\"/\":\"" RAW_TEXT "\"}", "r.");
    json("[{\"/\":\"" RAW_TEXT "\"},{\"/\":\"" PB_TEXT "\"}]", "rp.");
    json("{\"a\":{\"/\":\"" PB_TEXT "\"},\"b\":[1,[{\"/\":\"" RAW_TEXT "\"}]],\"c\":null}", "pr.");
    json(" { \"/\" :\t\"" RAW_TEXT "\"\n} ", "r.");
    static const char text[] =
        "{\"a\":{\"/\":\"" PB_TEXT "\"},\"b\":[1,[{\"/\":\"" RAW_TEXT "\"}]]}";
    memcpy(block, text, sizeof text);
    cuts_are_safe(CID_DAG_JSON, sizeof text - 1);
}

Test(links, json_escapes_are_read) {
    json("{\"\\/\":\"" RAW_TEXT "\"}", "r.");
    json("{\"\\u002f\":\"" RAW_TEXT "\"}", "r.");
    json("{\"\\u002F\":\"\\u0062afkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq\"}",
         "r.");
    json("[\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\ud83d\\ude00\\u0000\",{\"\\\"\":1}]", ".");
}

Test(links, json_bytes_and_objects_with_more_are_no_links) {
    json("{\"/\":{\"bytes\":\"aGVsbG8\"}}", ".");
    json("{\"/\":\"" RAW_TEXT "\",\"a\":1}", ".");
    json("{\"a\":1,\"/\":\"" RAW_TEXT "\"}", ".");
    json("{\"/\":1}", ".");
    json("{\"/\":[{\"/\":\"" RAW_TEXT "\"}]}", "r.");
    json("{\"//\":\"" RAW_TEXT "\"}", ".");
    json("\"" RAW_TEXT "\"", ".");
}

Test(links, json_lone_slash_that_is_no_cid_is_bad) {
    json("{\"/\":\"\"}", "!");
    json("{\"/\":\"hello\"}", "!");
    json("{\"/\":\"/ipfs/" RAW_TEXT "\"}", "!");
    json("{\"/\":\"" RAW_TEXT "x\"}", "!");
    json("{\"/\":\"" RAW_TEXT "\\u0000\"}", "!");
    json("{\"/\":\"" RAW_TEXT "\\u00e9\"}", "!");
    char text[2048];
    snprintf(text, sizeof text, "{\"/\":\"%01000d\"}", 0);
    json(text, "!");
}

Test(links, json_without_links_ends) {
    static const char *const sound[] = {
        "{}",
        "[]",
        "null",
        "true",
        "false",
        "\"\"",
        "0",
        "-0",
        "12",
        "-1.5",
        "1e9",
        "1E+9",
        "0.5e-9",
        "[0,[],{},\"a\"]",
        "{\"a\":{},\"b\":[],\"\":0}",
        " [ 1 , 2 ] ",
        "{ \"a\" : 1 }",
        "\"\xc3\xa9 \x7f\"",
    };
    for (size_t i = 0; i < array_count(sound); i++) {
        json(sound[i], ".");
    }
}

Test(links, json_that_is_not_json_is_bad) {
    static const char *const bad[] = {
        "",
        " ",
        "x",
        "nul",
        "nulL",
        "tru",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "0x1",
        "NaN",
        "[",
        "{",
        "]",
        "}",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{\"a\":1]",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "{,}",
        "{a:1}",
        "{1:1}",
        "{\"a\":1 \"b\":2}",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\",
        "\"\\u",
        "\"\n\"",
        "1 2",
        "{}{}",
        "[]]",
        "{\"/\"",
        "{\"/\":",
        "{\"/\":\"",
        "{\"/\":\"" RAW_TEXT "\"",
        "{\"/\":\"" RAW_TEXT "\",",
        "'a'",
        "//",
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        json(bad[i], "!");
    }
    json("[{\"/\":\"" RAW_TEXT "\"},", "r!");
    json("[{\"/\":\"" RAW_TEXT "\"}}", "r!");
}

Test(links, json_nul_byte_behind_a_backslash_is_bad) {
    cr_assert_str_eq(story_of(CID_DAG_JSON, (const uint8_t *)"\"\\\0\"", 4), "!");
}

Test(links, json_nests_up_to_its_limit) {
    for (uint32_t depth = LINKS_DEPTH_MAX; depth <= LINKS_DEPTH_MAX + 1; depth++) {
        memset(block, '[', depth);
        memset(block + depth, ']', depth);
        cr_assert_str_eq(story_of(CID_DAG_JSON, block, 2 * depth),
                         depth == LINKS_DEPTH_MAX ? "." : "!");
    }
}

Test(links, json_levels_know_what_they_are) {
    size_t used = 0;
    for (int i = 0; i < 500; i++) {
        memcpy(block + used, "[{\"a\":", 6);
        used += 6;
    }
    block[used++] = '1';
    for (int i = 0; i < 500; i++) {
        memcpy(block + used, "}]", 2);
        used += 2;
    }
    cr_assert_str_eq(story_of(CID_DAG_JSON, block, used), ".");
    block[used - 1] = '}';
    cr_assert_str_eq(story_of(CID_DAG_JSON, block, used), "!");
}
