/* SPDX-License-Identifier: MIT */
#include "base/multibase.h"

#include <criterion/criterion.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char all_bases[] = "fFbBkKz";

/* RFC 4648 section 10 in lower case, the base58 draft's vectors, and sums done by hand. */
static const struct {
    char base;
    const char *bytes, *text;
} vectors[] = {
    {'b', "", ""},
    {'b', "f", "my"},
    {'b', "fo", "mzxq"},
    {'b', "foo", "mzxw6"},
    {'b', "foob", "mzxw6yq"},
    {'b', "fooba", "mzxw6ytb"},
    {'b', "foobar", "mzxw6ytboi"},
    {'B', "foobar", "MZXW6YTBOI"},
    {'f', "foobar", "666f6f626172"},
    {'F', "foz", "666F7A"},
    {'z', "Hello World!", "2NEpo7TZRRrLZSi2U"},
    {'z', "The quick brown fox jumps over the lazy dog.",
     "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z"},
    {'k', "yes mani !", "2lcpzo5yikidynfl"},
};

Test(multibase, known_texts_come_out_and_back) {
    for (size_t i = 0; i < array_count(vectors); i++) {
        char text[MULTIBASE_TEXT_MAX];
        uint8_t bytes[MULTIBASE_TEXT_MAX];
        size_t count = strlen(vectors[i].bytes), back;
        size_t chars = multibase_write(vectors[i].base, (const uint8_t *)vectors[i].bytes, count,
                                       text, sizeof text);
        cr_assert_str_eq(text, vectors[i].text);
        cr_assert_eq(chars, strlen(text));
        cr_assert_eq(multibase_read(vectors[i].base, text, chars, bytes, sizeof bytes, &back), 0);
        cr_assert_eq(back, count);
        cr_assert_eq(memcmp(bytes, vectors[i].bytes, count), 0);
    }
}

Test(multibase, random_bytes_with_leading_zeros_come_back_in_every_base) {
    srand(11);
    for (int round = 0; round < 2000; round++) {
        uint8_t bytes[200], again[200];
        size_t count = (size_t)rand() % sizeof bytes, zeros = (size_t)rand() % 4, back;
        for (size_t i = 0; i < count; i++) {
            bytes[i] = i < zeros ? 0 : (uint8_t)rand();
        }
        for (const char *base = all_bases; *base; base++) {
            char text[2 * sizeof bytes + 1];
            size_t chars = multibase_write(*base, bytes, count, text, 2 * count + 1);
            cr_assert_eq(chars, strlen(text));
            cr_assert_eq(multibase_read(*base, text, chars, again, count, &back), 0);
            cr_assert_eq(back, count);
            cr_assert_eq(memcmp(bytes, again, count), 0);
            if (count > 0) {
                cr_assert_eq(multibase_read(*base, text, chars, again, count - 1, &back),
                             MULTIBASE_BAD);
            }
        }
    }
}

static int read_text(char base, const char *text) {
    uint8_t bytes[64];
    size_t count;
    return multibase_read(base, text, strlen(text), bytes, sizeof bytes, &count);
}

Test(multibase, both_cases_are_read_except_in_base58) {
    cr_assert_eq(read_text('b', "MZxw6"), 0);
    cr_assert_eq(read_text('B', "mzxw6"), 0);
    cr_assert_eq(read_text('f', "Ab"), 0);
    cr_assert_eq(read_text('k', "2LCPZO5YIKIDYNFL"), 0);
}

Test(multibase, second_spellings_and_foreign_characters_are_refused) {
    cr_assert_eq(read_text('b', "mz"), MULTIBASE_BAD);  /* leftover bits are not zero */
    cr_assert_eq(read_text('b', "m"), MULTIBASE_BAD);   /* half a byte */
    cr_assert_eq(read_text('b', "mya"), MULTIBASE_BAD); /* a character nobody needs */
    cr_assert_eq(read_text('b', "m1"), MULTIBASE_BAD);
    cr_assert_eq(read_text('b', "my======"), MULTIBASE_BAD);
    cr_assert_eq(read_text('f', "abc"), MULTIBASE_BAD);
    cr_assert_eq(read_text('f', "ag"), MULTIBASE_BAD);
    cr_assert_eq(read_text('z', "0"), MULTIBASE_BAD);
    cr_assert_eq(read_text('z', "l"), MULTIBASE_BAD);
    cr_assert_eq(read_text('k', "a-b"), MULTIBASE_BAD);
    cr_assert_eq(read_text('u', "aa"), MULTIBASE_BAD);
    cr_assert_eq(multibase_known('u'), false);
    char odd[3] = {'m', 0, 'y'};
    uint8_t out[8];
    size_t count;
    cr_assert_eq(multibase_read('b', odd, 3, out, sizeof out, &count), MULTIBASE_BAD);
}

Test(multibase, more_text_than_the_limit_is_refused) {
    static char text[MULTIBASE_TEXT_MAX + 1];
    static uint8_t bytes[MULTIBASE_TEXT_MAX];
    size_t count;
    memset(text, '2', sizeof text);
    cr_assert_eq(multibase_read('z', text, MULTIBASE_TEXT_MAX, bytes, sizeof bytes, &count),
                 MULTIBASE_BAD);
    cr_assert_eq(multibase_read('z', text, MULTIBASE_TEXT_MAX - 1, bytes, sizeof bytes, &count), 0);
}

Test(multibase, too_little_room_panics, .signal = SIGABRT) {
    char text[4];
    multibase_write('f', (const uint8_t *)"ab", 2, text, sizeof text);
}
