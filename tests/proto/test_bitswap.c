/* SPDX-License-Identifier: MIT */
/* proto/bitswap/bitswap.c and proto/bitswap/bitswap_entry.c: messages as other implementations
 * write them, as the format allows them, and as nobody should; cut everywhere. */

#include "proto/bitswap/bitswap.h"

#include "base/varint.h"
#include "tests/proto/bitswap_story.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* The block "hello", raw, sha2-256. */
#define DIGEST "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
#define CID    "01551220" DIGEST
#define NAME   "v1 55 12-2cf24dba/32"

struct message {
    uint8_t bytes[1 << 14];
    size_t count;
};

/* The length of what was added since `start`, put before it. */
static void add_length(struct message *message, size_t start) {
    uint8_t length[VARINT_BYTES_MAX];
    size_t bytes = message->count - start, used = varint_write(bytes, length);
    cr_assert_leq(message->count + used, sizeof message->bytes);
    memmove(message->bytes + start + used, message->bytes + start, bytes);
    memcpy(message->bytes + start, length, used);
    message->count += used;
}

/* Hex digits; [ and ] stand around what a length precedes, spaces are for the eye. */
static void add_hex(struct message *message, const char *hex) {
    size_t starts[4], depth = 0;
    for (unsigned value; *hex;) {
        if (*hex == '[') {
            cr_assert_lt(depth, array_count(starts));
            starts[depth++] = message->count;
        } else if (*hex == ']') {
            cr_assert_gt(depth, 0);
            add_length(message, starts[--depth]);
        } else if (*hex != ' ') {
            cr_assert_eq(sscanf(hex, "%2x", &value), 1);
            cr_assert_lt(message->count, sizeof message->bytes);
            message->bytes[message->count++] = (uint8_t)value;
            hex++;
        }
        hex++;
    }
    cr_assert_eq(depth, 0);
}

/* One message of these bytes, behind its length. */
static struct message framed(const char *hex) {
    struct message message = {.count = 0};
    add_hex(&message, hex);
    add_length(&message, 0);
    return message;
}

static struct bitswap_story whole, cut;

static void same_for_every_split(const struct message *message) {
    bitswap_story_read(&whole, message->bytes, message->count, message->count, 1);
    for (size_t piece = 1; piece <= 64 && piece < message->count; piece++) {
        bitswap_story_read(&cut, message->bytes, message->count, piece, piece);
        cr_assert_str_eq(cut.text, whole.text, "pieces of %zu", piece);
        cr_assert_eq(cut.skipped, whole.skipped);
        cr_assert_eq(cut.idle, whole.idle);
    }
    for (size_t first = 0; first < message->count && first < 600; first++) {
        bitswap_story_read(&cut, message->bytes, message->count, first, message->count);
        cr_assert_str_eq(cut.text, whole.text, "cut at %zu", first);
    }
}

static void message_tells(const struct message *message, const char *story, uint32_t skipped) {
    same_for_every_split(message);
    cr_assert_str_eq(whole.text, story);
    cr_assert_eq(whole.skipped, skipped);
}

/* One message whose inside is `hex`: what it tells between its BEGIN and its END. */
static void tells_skipping(const char *hex, const char *story, uint32_t skipped) {
    struct message message = framed(hex);
    uint64_t length;
    size_t used;
    char expected[1024];
    cr_assert_eq(varint_read(message.bytes, message.count, &length, &used), 0);
    snprintf(expected, sizeof expected, "begin %zu\n%send\n", (size_t)length, story);
    message_tells(&message, expected, skipped);
    cr_assert(whole.idle);
}

static void tells(const char *hex, const char *story) {
    tells_skipping(hex, story, 0);
}

static void is_bad(const char *hex) {
    struct message message = framed(hex);
    same_for_every_split(&message);
    cr_assert_gt(whole.used, 4);
    cr_assert_str_eq(whole.text + whole.used - 4, "bad\n", "%s", whole.text);
    cr_assert(!whole.idle);
}

/* ---- as they are written in the field ---- */

Test(bitswap, what_helia_writes_is_read) {
    tells("0a021000", "");
    tells("0a320a2e0a24" CID "10011800200028011000", "want " NAME " 1 dont\n");
    tells("0a320a2e0a24" CID "10011800200128001001", "want " NAME " 1 have\nfull\n");
    tells("0a0210001a0d0a0401551220120568656c6c6f", "block 5\n68656c6c6f\nis v1 55 12/32\n");
    tells("0a02100022260a24" CID, "have " NAME "\n");
    tells("0a02100022280a24" CID "1001", "dont have " NAME "\n");
}

Test(bitswap, empty_list_as_go_writes_it_is_a_message) {
    tells("0a00", "");
}

Test(bitswap, many_messages_follow_each_other_on_one_stream) {
    struct message message = framed("0a00"), other = framed("2805");
    for (int i = 0; i < 3; i++) {
        memcpy(message.bytes + message.count, other.bytes, other.count);
        message.count += other.count;
    }
    message_tells(&message,
                  "begin 2\nend\n"
                  "begin 2\npending 5\nend\nbegin 2\npending 5\nend\nbegin 2\npending 5\nend\n",
                  0);
}

Test(bitswap, message_of_length_zero_is_passed_over) {
    struct message message = {.count = 0};
    add_hex(&message, "00 00 02 0a00 00");
    message_tells(&message, "begin 2\nend\n", 0);
    cr_assert(whole.idle);
}

Test(bitswap, end_comes_with_the_last_byte_and_not_with_the_next_message) {
    struct message message = framed("0a320a2e0a24" CID "10011800200028011000");
    bitswap_story_read(&whole, message.bytes, message.count, message.count, 1);
    cr_assert_str_eq(whole.text + whole.used - 4, "end\n");
}

/* A loop that looks at the bytes left and not at MORE. */
Test(bitswap, events_are_all_told_while_bytes_are_left) {
    struct message message =
        framed("0a021001 1a0d0a0401551220120568656c6c6f 1a00 1200 12[61] 0a[0a[0a[" CID "]]]");
    bitswap_story_read(&whole, message.bytes, message.count, message.count, 1);
    for (size_t piece = 1; piece <= message.count; piece++) {
        struct bitswap_reader reader;
        struct bitswap_step step;
        bitswap_reader_init(&reader);
        cut = (struct bitswap_story){.used = 0};
        for (size_t at = 0, end = 0; at < message.count;) {
            for (end = message.count - end < piece ? message.count : end + piece; at < end;) {
                enum bitswap_event event =
                    bitswap_step(&reader, message.bytes + at, end - at, &step);
                at += step.used;
                bitswap_say_event(&cut, event, &step);
            }
        }
        cr_assert_str_eq(cut.text, whole.text, "pieces of %zu", piece);
        cr_assert(bitswap_reader_idle(&reader));
    }
}

Test(bitswap, stream_may_end_between_messages_only) {
    struct message message = framed("0a0210001a0d0a0401551220120568656c6c6f");
    for (size_t count = 1; count < message.count; count++) {
        bitswap_story_read(&whole, message.bytes, count, count, 1);
        cr_assert(!whole.idle, "after %zu bytes", count);
    }
    struct message long_length = {.count = 0};
    add_hex(&long_length, "80");
    bitswap_story_read(&whole, long_length.bytes, 1, 1, 1);
    cr_assert(!whole.idle, "inside a length");
}

/* ---- CIDs ---- */

Test(bitswap, version_0_is_a_bare_multihash) {
    tells("0a26 0a24 0a22 1220" DIGEST, "want v0 70 12-2cf24dba/32 0\n");
    tells("2224 0a22 1220" DIGEST, "have v0 70 12-2cf24dba/32\n");
}

Test(bitswap, codecs_and_hashes_keep_their_form) {
    tells("0a29 0a27 0a25 01a902 1220" DIGEST, "want v1 129 12-2cf24dba/32 0\n");
    tells("0a2a 0a28 0a26 0155 a0e40220" DIGEST, "want v1 55 b220-2cf24dba/32 0\n");
    tells("0a1c 0a1a 0a18 0155 1214 2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c",
          "want v1 55 12-2cf24dba/20 0\n");
}

Test(bitswap, entry_without_a_cid_we_can_store_is_skipped_and_counted) {
    tells_skipping("0a[0a[]]", "", 1);
    tells_skipping("0a[0a[0a[]]]", "", 1);
    tells_skipping("0a[0a[10011801]]", "", 1);
    tells_skipping("0a[0a[0a[01550003616263]]]", "", 1);       /* identity: it is the block */
    tells_skipping("0a[0a[0a[01551e20" DIGEST "]]]", "", 1);   /* blake3 */
    tells_skipping("0a[0a[0a[02551220" DIGEST "]]]", "", 1);   /* version 2 */
    tells_skipping("0a[0a[0a[01551220" DIGEST "00]]]", "", 1); /* bytes behind it */
    tells_skipping("0a[0a[0a[01551221" DIGEST "]]]", "", 1);   /* cut off */
    tells_skipping("0a[0a[0a[1220" DIGEST "00]]]", "", 1);
    tells_skipping("0a[0a[0a[018080808010 1220" DIGEST "]]]", "", 1); /* codec above 32 bits */
    tells_skipping("22[1001]", "", 1);
    tells_skipping("22[0a[01551e20" DIGEST "]]", "", 1);
}

Test(bitswap, what_follows_a_skipped_entry_is_read) {
    tells_skipping("0a[0a[0a[0155]] 0a[0a[" CID "] 1005 2801]]", "want " NAME " 5 dont\n", 1);
}

/* Puts a key and the length of all there is before it. */
static void wrap(struct message *message) {
    add_length(message, 0);
    memmove(message->bytes + 1, message->bytes, message->count++);
    message->bytes[0] = 0x0a;
}

Test(bitswap, cid_longer_than_the_limit_is_skipped) {
    struct message message = {.count = 0};
    add_hex(&message, "01551ea401"); /* a hash we do not have, of any length */
    for (size_t i = 0; i < 164; i++) {
        add_hex(&message, "77");
    }
    cr_assert_eq(message.count, BITSWAP_CID_MAX + 1);
    wrap(&message); /* the CID */
    wrap(&message); /* the entry */
    wrap(&message); /* the list */
    add_length(&message, 0);
    message_tells(&message, "begin 178\nend\n", 1);
}

Test(bitswap, entry_longer_than_the_limit_is_skipped_unread) {
    for (size_t bytes = BITSWAP_ENTRY_MAX; bytes <= BITSWAP_ENTRY_MAX + 1; bytes++) {
        struct message message = {.count = 0};
        add_hex(&message, bytes % 2 ? "0a[" CID "] 1080808000" : "0a[" CID "] 1000");
        while (message.count < bytes) {
            add_hex(&message, "1009");
        }
        cr_assert_eq(message.count, bytes);
        wrap(&message); /* the entry */
        wrap(&message); /* the list */
        add_length(&message, 0);
        if (bytes == BITSWAP_ENTRY_MAX) {
            message_tells(&message, "begin 262\nwant " NAME " 9\nend\n", 0);
        } else {
            message_tells(&message, "begin 263\nend\n", 1);
        }
    }
}

/* ---- legal, if odd ---- */

Test(bitswap, fields_of_an_entry_come_in_any_order_and_the_last_counts) {
    tells("0a[0a[2801 2001 1007 1003 0a[" CID "]]]", "want " NAME " 3 have dont\n");
    tells("0a[0a[1801 1800 2801 2000 2800 0a[" CID "]]]", "want " NAME " 0\n");
    tells("0a[0a[0a[0155] 1801 0a[" CID "]]]", "want " NAME " 0 cancel\n");
}

Test(bitswap, priorities_and_types_out_of_range_are_legal) {
    tells("0a33 0a31 0a24" CID "10 ffffffffffffffffff01", "want " NAME " -1\n");
    tells("0a33 0a31 0a24" CID "10 80808080f8ffffffff01", "want " NAME " -2147483648\n");
    tells("0a2e 0a2c 0a24" CID "10 ffffffff07", "want " NAME " 2147483647\n");
    tells("0a2a 0a28 0a24" CID "2002", "want " NAME " 0\n");
    tells("0a33 0a31 0a24" CID "20 ffffffffffffffffff01", "want " NAME " 0\n");
    tells("0a2b 0a29 0a24" CID "18 8001", "want " NAME " 0 cancel\n");
    tells_skipping("22280a24" CID "1002", "", 1);
}

Test(bitswap, varints_need_not_be_the_shortest) {
    tells("0a8200 1000", "");
    tells("8a00 02 1000", "");
    tells("28 85808080808080808000", "pending 5\n");
    tells("28 80808080f8ffffffff01", "pending -2147483648\n");
}

Test(bitswap, unknown_fields_of_every_type_are_passed_over_everywhere) {
#define UNKNOWN "78ff01 790102030405060708 7d01020304 7a[616263]"
    tells(UNKNOWN "0a[" UNKNOWN "0a[" UNKNOWN "0a[" CID "]" UNKNOWN "]" UNKNOWN "]" UNKNOWN,
          "want " NAME " 0\n");
    tells("1a[" UNKNOWN "12[616263]" UNKNOWN "0a[01551220]" UNKNOWN "]",
          "block 3\n616263\nis v1 55 12/32\n");
    tells("22[" UNKNOWN "0a[" CID "]" UNKNOWN "]", "have " NAME "\n");
}

Test(bitswap, known_fields_of_another_type_are_unknown_fields) {
    tells("08 01 2a03 616263 10 01 1d 01020304", "");
    tells("0a07 0801 12 03 616263", "");
    tells("0a[0a[0a[" CID "] 0801 12[0801]]]", "want " NAME " 0\n");
}

Test(bitswap, full_is_told_once_and_as_said_last) {
    tells("0a021001 0a021001", "full\n");
    tells("0a021001 0a021000", "");
    tells("0a[108001 1000 0a[0a[" CID "]]]", "want " NAME " 0\n");
    tells("0a[1001 0a[0a[" CID "]]]", "want " NAME " 0\nfull\n");
}

Test(bitswap, full_of_one_message_is_not_that_of_the_next) {
    struct message message = framed("0a021001");
    add_hex(&message, "02 0a00");
    message_tells(&message, "begin 4\nfull\nend\nbegin 2\nend\n", 0);
}

Test(bitswap, lists_and_blocks_may_be_mixed) {
    tells("1a0d0a0401551220120568656c6c6f 0a28 0a26 0a24" CID "2803 1a0d0a0401701220120568656c6c6f"
          "22260a24" CID "0a021001",
          "block 5\n68656c6c6f\nis v1 55 12/32\nwant " NAME " 0\npending 3\n"
          "block 5\n68656c6c6f\nis v1 70 12/32\nhave " NAME "\nfull\n");
}

/* ---- blocks ---- */

Test(bitswap, prefix_may_come_behind_its_data) {
    tells("1a0d120568656c6c6f0a0401551220", "block 5\n68656c6c6f\nis v1 55 12/32\n");
}

Test(bitswap, block_may_be_empty_said_or_unsaid) {
    tells("1a08 0a0401551220 1200", "block 0\nis v1 55 12/32\n");
    tells("1a06 0a0401551220", "block 0\nis v1 55 12/32\n");
    tells("1a00", "block 0\nis unknown\n");
}

Test(bitswap, last_data_and_last_prefix_of_a_payload_count) {
    tells("1a12 0a0401551220 1203616263 120568656c6c6f",
          "block 3\n616263\nis unknown\nblock 5\n68656c6c6f\nis v1 55 12/32\n");
    tells("1a13 0a0401551220 1205 68656c6c6f 0a0401701220",
          "block 5\n68656c6c6f\nis v1 70 12/32\n");
    tells("1a0f 0a0401551220 120568656c6c6f 0a00", "block 5\n68656c6c6f\nis unknown\n");
}

Test(bitswap, prefix_of_one_block_is_not_that_of_the_next) {
    tells("1a0d0a0401551220120568656c6c6f 1a03 120161",
          "block 5\n68656c6c6f\nis v1 55 12/32\nblock 1\n61\nis unknown\n");
}

Test(bitswap, block_of_the_first_protocol_is_a_version_0) {
    tells("0a02 1000 12 05 68656c6c6f", "block 5\n68656c6c6f\nis v0 70 12/32\n");
    tells("1200 12 01 61", "block 0\nis v0 70 12/32\nblock 1\n61\nis v0 70 12/32\n");
}

Test(bitswap, prefixes_are_read) {
    tells("1a06 0a0400701220", "block 0\nis v0 70 12/32\n");
    tells("1a08 0a06 0155a0e40220", "block 0\nis v1 55 b220/32\n");
    tells("1a06 0a0401551214", "block 0\nis v1 55 12/20\n");
    tells("1a0f 0a0d 015512 ffffffffffffffffff01", "block 0\nis v1 55 12/-1\n");
    tells("1a07 0a05 01a9021220", "block 0\nis v1 129 12/32\n");
}

Test(bitswap, prefixes_of_nothing_we_can_hash_are_unknown) {
    static const char *const prefixes[] = {
        "1a06 0a0401551e20",          /* blake3 */
        "1a06 0a0401550003",          /* identity */
        "1a06 0a0401551213",          /* 19 bytes are no name */
        "1a06 0a0401551221",          /* more than there are */
        "1a06 0a0402551220",          /* version 2 */
        "1a06 0a0400551220",          /* version 0 is dag-pb */
        "1a06 0a0400701214",          /* of all its bytes */
        "1a06 0a0400701320",          /* of SHA-256 */
        "1a05 0a03015512",            /* cut off */
        "1a0a 0a08 01551220ffffffff", /* fine: what follows is not looked at */
        "1a0a 0a08 015512ffffffff0f", /* 2^32 - 1 bytes are not "its own" */
        "1a07 0a05 018055 1220",      /* not minimal: 80 55 is */
        "1a07 0a05 01d500 1220",      /* not minimal */
        "1a0f 0a0d 01551e ffffffffffffffffff01",
    };
    for (size_t i = 0; i < array_count(prefixes); i++) {
        bool sound = i == 9, codec = i == 11;
        tells(prefixes[i], sound   ? "block 0\nis v1 55 12/32\n"
                           : codec ? "block 0\nis v1 2a80 12/32\n"
                                   : "block 0\nis unknown\n");
    }
}

Test(bitswap, prefix_longer_than_the_limit_is_unknown) {
    struct message message = {.count = 0};
    add_hex(&message, "32 1a30 0a29 01551220");
    while (message.count < 5 + 41) {
        add_hex(&message, "00");
    }
    add_hex(&message, "1203616263");
    message_tells(&message, "begin 50\nblock 3\n616263\nis unknown\nend\n", 0);
    message.bytes[0] = 0x31; /* one less, at the limit */
    message.bytes[2] = 0x2f;
    message.bytes[4] = 0x28;
    memmove(message.bytes + 45, message.bytes + 46, 5);
    message.count--;
    message_tells(&message, "begin 49\nblock 3\n616263\nis v1 55 12/32\nend\n", 0);
}

Test(bitswap, data_is_handed_out_in_place) {
    struct message message = framed("1a0d0a0401551220120568656c6c6f");
    struct bitswap_reader reader;
    struct bitswap_step step;
    size_t at = 0;
    bitswap_reader_init(&reader);
    cr_assert_eq(bitswap_step(&reader, message.bytes, message.count, &step), BITSWAP_BEGIN);
    at += step.used;
    cr_assert_eq(bitswap_step(&reader, message.bytes + at, message.count - at, &step),
                 BITSWAP_BLOCK);
    at += step.used;
    cr_assert_eq(bitswap_step(&reader, message.bytes + at, message.count - at, &step),
                 BITSWAP_DATA);
    cr_assert_eq(step.bytes, message.bytes + message.count - 5);
    cr_assert_eq(step.count, 5);
}

/* ---- what nobody should write ---- */

Test(bitswap, lengths_that_exceed_what_holds_them_are_bad) {
    is_bad("0a01");           /* a list beyond the message */
    is_bad("0a020a01");       /* an entry beyond its list */
    is_bad("0a030a010a 00");  /* a key beyond its entry... */
    is_bad("0a04 0a02 0a01"); /* a CID beyond its entry */
    is_bad("1a02 1201");      /* data beyond its payload */
    is_bad("1a02 0a01");      /* a prefix beyond its payload */
    is_bad("1a03 120261 61"); /* the same, with bytes of the message behind it */
    is_bad("2202 0a01");      /* a CID beyond its presence */
    is_bad("7a01");           /* unknown bytes */
    is_bad("79 01020304050607");
    is_bad("7d 010203");
    is_bad("0a01 79");
    is_bad("12ffffffff0f");
    is_bad("12ffffffffffffffffff01");
}

Test(bitswap, varints_that_leave_what_holds_them_are_bad) {
    is_bad("28");
    is_bad("2880");
    is_bad("80");
    is_bad("0a01 10 00");
    is_bad("0a02 1080 00");
    is_bad("0a80");
}

Test(bitswap, varints_of_more_than_64_bits_are_bad) {
    is_bad("28 ffffffffffffffffff02");
    is_bad("28 8080808080808080808000");
    is_bad("0a33 0a31 0a24" CID "10 ffffffffffffffffff02");
}

Test(bitswap, keys_that_protobuf_does_not_have_are_bad) {
    is_bad("0000"); /* number 0 */
    is_bad("7b7c"); /* groups */
    is_bad("7e00"); /* types without a meaning */
    is_bad("7f00");
    is_bad("ffffffff1f00"); /* a number above 2^29 */
    is_bad("0a04 0a02 0b0c");
    is_bad("2202 0000");
}

Test(bitswap, message_above_the_limit_is_bad_at_its_length) {
    struct message message = {.count = 0};
    add_hex(&message, "81808002");
    message_tells(&message, "bad\n", 0);
    message.count = 0;
    add_hex(&message, "80808002"); /* 4 MiB are none too many */
    message_tells(&message, "begin 4194304\n", 0);
    message.count = 0;
    add_hex(&message, "8080808001");
    message_tells(&message, "bad\n", 0);
    message.count = 0;
    add_hex(&message, "ffffffffffffffffff01");
    message_tells(&message, "bad\n", 0);
}

Test(bitswap, length_of_a_message_is_the_shortest_or_bad) {
    struct message message = {.count = 0};
    add_hex(&message, "8200 0a00");
    message_tells(&message, "bad\n", 0);
    message.count = 0;
    add_hex(&message, "8000");
    message_tells(&message, "bad\n", 0);
}

Test(bitswap, bad_is_for_good) {
    struct message message = framed("0000");
    struct bitswap_reader reader;
    struct bitswap_step step;
    bitswap_reader_init(&reader);
    cr_assert_eq(bitswap_step(&reader, message.bytes, message.count, &step), BITSWAP_BEGIN);
    cr_assert_eq(bitswap_step(&reader, message.bytes + 1, message.count - 1, &step), BITSWAP_BAD);
    message = framed("0a00");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(bitswap_step(&reader, message.bytes, message.count, &step), BITSWAP_BAD);
        cr_assert_eq(step.used, 0);
    }
}

Test(bitswap, what_came_before_the_bad_stands) {
    struct message message = framed("0a28 0a26 0a24" CID "0000");
    message_tells(&message, "begin 44\nwant " NAME " 0\nbad\n", 0);
}

Test(bitswap, reader_costs_a_few_hundred_bytes) {
    cr_assert_leq(sizeof(struct bitswap_reader), 384);
}
