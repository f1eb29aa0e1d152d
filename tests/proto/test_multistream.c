/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/multistream.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define HEADER  "\x13/multistream/1.0.0\n"
#define BITSWAP "\x14/ipfs/bitswap/1.2.0\n"

/* What the reader said, as text: "H" for the header, names, "?" for one too long, "BAD". */
struct story {
    char text[2048];
    size_t used; /* bytes taken when reading stopped */
};

static void tell(struct story *story, const char *words) {
    size_t at = strlen(story->text);
    snprintf(story->text + at, sizeof story->text - at, "%s ", words);
}

/* Reads at most `tokens` tokens behind the header, handing in `piece` bytes at a time. */
static struct story read_tokens(const void *bytes, size_t count, size_t piece, int tokens) {
    struct story story = {0};
    struct multistream reader;
    multistream_init(&reader);
    while (story.used < count) {
        size_t give = count - story.used < piece ? count - story.used : piece, used;
        enum multistream_event event =
            multistream_step(&reader, (const uint8_t *)bytes + story.used, give, &used);
        cr_assert(used <= give);
        story.used += used;
        if (event == MULTISTREAM_BAD) {
            tell(&story, "BAD");
            cr_assert_eq(multistream_step(&reader, bytes, count, &used), MULTISTREAM_BAD);
            cr_assert_eq(used, 0);
            break;
        }
        if (event == MULTISTREAM_MORE) {
            cr_assert_eq(used, give);
            continue;
        }
        tell(&story, event == MULTISTREAM_HEADER ? "H" : reader.name_chars ? reader.name : "?");
        if (event == MULTISTREAM_TOKEN && --tokens == 0) {
            break;
        }
    }
    return story;
}

/* However it is cut, the story is the same. */
static struct story read_cut(const void *bytes, size_t count, int tokens) {
    struct story whole = read_tokens(bytes, count, count, tokens);
    for (size_t piece = 1; piece < 30; piece++) {
        struct story cut = read_tokens(bytes, count, piece, tokens);
        cr_assert_str_eq(cut.text, whole.text, "in pieces of %zu", piece);
        cr_assert_eq(cut.used, whole.used);
    }
    return whole;
}

#define READ(text, tokens) read_cut(text, sizeof(text) - 1, tokens)

Test(multistream, tokens_have_the_bytes_that_other_peers_send) {
    static const struct {
        const char *name, *bytes;
    } vectors[] = {
        {multistream_header, HEADER},
        {"/noise", "\x07/noise\n"},
        {"/tls/1.0.0", "\x0b/tls/1.0.0\n"},
        {"/yamux/1.0.0", "\x0d/yamux/1.0.0\n"},
        {"/ipfs/id/1.0.0", "\x0f/ipfs/id/1.0.0\n"},
        {"/ipfs/id/push/1.0.0", "\x14/ipfs/id/push/1.0.0\n"},
        {"/ipfs/ping/1.0.0", "\x11/ipfs/ping/1.0.0\n"},
        {"/ipfs/bitswap/1.2.0", BITSWAP},
        {multistream_na, "\x03na\n"},
    };
    for (size_t i = 0; i < array_count(vectors); i++) {
        uint8_t out[MULTISTREAM_WRITE_MAX];
        size_t count = multistream_write(vectors[i].name, out);
        cr_assert_eq(count, strlen(vectors[i].bytes));
        cr_assert_eq(memcmp(out, vectors[i].bytes, count), 0, "%s", vectors[i].name);
    }
}

Test(multistream, header_and_proposals_are_yielded_in_order) {
    struct story story = READ(HEADER "\x0b/tls/1.0.0\n\x07/noise\n", 2);
    cr_assert_str_eq(story.text, "H /tls/1.0.0 /noise ");
}

Test(multistream, what_follows_the_agreed_token_is_left_alone) {
    struct story story = READ(HEADER BITSWAP "\x0a\x0a\x02\x10\x00 application", 1);
    cr_assert_str_eq(story.text, "H /ipfs/bitswap/1.2.0 ");
    cr_assert_eq(story.used, strlen(HEADER BITSWAP));
}

Test(multistream, a_first_token_that_is_not_the_header_is_bad) {
    cr_assert_str_eq(READ("\x07/noise\n", 1).text, "BAD ");
    cr_assert_str_eq(READ("\x13/multistream/2.0.0\n", 1).text, "BAD ");
    cr_assert_str_eq(READ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1).text, "BAD ");
    cr_assert_eq(READ("GET / HTTP/1.1\r\n\r\n", 1).used, 1, "its first byte says so");
    cr_assert_str_eq(READ(HEADER HEADER, 1).text, "H /multistream/1.0.0 ");
}

Test(multistream, a_token_without_its_newline_is_bad) {
    cr_assert_str_eq(READ(HEADER "\x07/noise ", 1).text, "H BAD ");
    cr_assert_str_eq(READ("\x13/multistream/1.0.0 ", 1).text, "BAD ");
    cr_assert_str_eq(READ(HEADER "\x00", 1).text, "H BAD ");
}

Test(multistream, an_empty_name_is_nobodys_protocol) {
    cr_assert_str_eq(READ(HEADER "\x01\n\x03na\n", 2).text, "H ? na ");
}

Test(multistream, lengths_are_held_to_the_limit_and_to_one_spelling) {
    cr_assert_str_eq(READ(HEADER "\x81\x08", 1).text, "H BAD ", "1025");
    cr_assert_str_eq(READ(HEADER "\x81\x88\x01", 1).text, "H BAD ", "three bytes");
    cr_assert_str_eq(READ(HEADER "\x83\x00na\n", 1).text, "H BAD ", "3 in two bytes");
    cr_assert_str_eq(READ("\x93\x00/multistream/1.0.0\n", 1).text, "BAD ");
}

Test(multistream, a_name_up_to_63_characters_is_kept_and_a_longer_one_passed_over) {
    for (size_t chars = 60; chars < MULTISTREAM_TOKEN_MAX + 2; chars += chars < 70 ? 1 : 53) {
        uint8_t bytes[MULTISTREAM_TOKEN_MAX + 64];
        size_t count = strlen(HEADER), length = chars + 1;
        memcpy(bytes, HEADER, count);
        if (length >= 128) {
            bytes[count++] = (uint8_t)(0x80u | (length & 0x7f));
            bytes[count++] = (uint8_t)(length >> 7);
        } else {
            bytes[count++] = (uint8_t)length;
        }
        memset(bytes + count, 'x', chars);
        bytes[count + chars] = '\n';
        memcpy(bytes + count + chars + 1, "\x03na\n", 4);
        char expected[100] = "H BAD ";
        if (chars <= MULTISTREAM_NAME_MAX) {
            snprintf(expected, sizeof expected, "H %.*s na ", (int)chars, bytes + count);
        } else if (length <= MULTISTREAM_TOKEN_MAX) {
            snprintf(expected, sizeof expected, "H ? na ");
        }
        cr_assert_str_eq(read_cut(bytes, count + chars + 5, 2).text, expected, "%zu", chars);
    }
}

Test(multistream, endless_proposals_end) {
    uint8_t bytes[512];
    size_t count = strlen(HEADER);
    memcpy(bytes, HEADER, count);
    for (int i = 0; i < 40; i++) {
        memcpy(bytes + count, "\x03na\n", 4);
        count += 4;
    }
    struct story story = read_cut(bytes, count, 100);
    cr_assert_str_eq(story.text + strlen(story.text) - 4, "BAD ");
    cr_assert_eq(story.used, strlen(HEADER) + (MULTISTREAM_TOKENS_MAX - 1) * 4 + 1);
}

Test(multistream, a_name_is_compared_whole_also_with_a_nul_in_it) {
    struct multistream reader;
    size_t used;
    static const uint8_t odd[] = HEADER "\x07na\0abc\n";
    multistream_init(&reader);
    cr_assert_eq(multistream_step(&reader, odd, sizeof odd - 1, &used), MULTISTREAM_HEADER);
    cr_assert(multistream_is(&reader, multistream_header));
    cr_assert_eq(multistream_step(&reader, odd + used, sizeof odd - 1 - used, &used),
                 MULTISTREAM_TOKEN);
    cr_assert_not(multistream_is(&reader, "na"));
    cr_assert_not(multistream_is(&reader, "na\0abd"));
    cr_assert_not(multistream_is(&reader, ""));
}

Test(multistream, a_name_too_long_to_write_panics, .signal = SIGABRT) {
    char name[MULTISTREAM_NAME_MAX + 2];
    uint8_t out[MULTISTREAM_WRITE_MAX];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    multistream_write(name, out);
}
