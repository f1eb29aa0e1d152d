/* SPDX-License-Identifier: MIT */
#include "tools/millrace/import.h"

#include "proto/ipld/car.h"
#include "tools/millrace/cli.h"

#include <criterion/criterion.h>
#include <string.h>

const struct cli_command *const cli_commands[] = {NULL};

Test(import, an_archive_is_known_by_its_first_bytes) {
    struct cid root = {.version = 1, .codec = CID_RAW};
    uint8_t bytes[256];
    size_t count = car_header_write(&root, 1, bytes, sizeof bytes);
    cr_assert_gt(count, 0);
    cr_assert(import_is_car(bytes, count));
    static const uint8_t version_2[] = {0x0a, 0xa1, 0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 0x02};
    cr_assert(import_is_car(version_2, sizeof version_2));
}

Test(import, other_files_are_plain) {
    static const char *const plain[] = {
        "",        "a", "hello, world: this is text", "\x7f\x45LF\x02\x01", "\x3a\xa2\x65rootz",
        "\x3a\xa2"};
    for (size_t i = 0; i < array_count(plain); i++) {
        cr_assert_not(import_is_car((const uint8_t *)plain[i], strlen(plain[i])), "%s", plain[i]);
    }
}
