/* SPDX-License-Identifier: MIT */
#include "tools/millrace/flatfs.h"

#include "base/key.h"
#include "tools/millrace/ahead.h"
#include "tools/millrace/cli.h"
#include "tools/millrace/known.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* tools/millrace/flatfs.c, ahead.c and known.c by themselves; tests/e2e/test_import.py has them
 * whole. */

const struct cli_command *const cli_commands[] = {NULL};

static char dir[256];

static void make_dir(void) {
    const char *parent = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/millrace-flatfs-XXXXXX", parent ? parent : "/var/tmp");
    cr_assert_not_null(mkdtemp(dir));
}

static void write_file(const char *name, const char *words) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *file = fopen(path, "we");
    cr_assert_not_null(file, "%s", path);
    fputs(words, file);
    fclose(file);
}

static void remove_file(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(remove(path), 0, "%s", path);
}

Test(flatfs, a_name_is_a_multihash_or_an_old_cid) {
    struct cid cid;
    /* "hello worldn" of every IPFS tutorial */
    const char *name = "CIQJGO2B3D45R5V5AWGFHXU4WP6IOW63W3RSTWNQM3G37VRP25RX6AY.data";
    int r = flatfs_cid(name, &cid);
    cr_assert_eq(r, 0);
    cr_assert_eq(cid.version, 1);
    cr_assert_eq(cid.codec, CID_RAW);
    cr_assert_eq(cid.hash, HASH_SHA2_256);
    cr_assert_eq(cid.digest_bytes, 32);
    char old[128];
    uint8_t binary[CID_BYTES_MAX];
    struct cid again;
    cid.codec = CID_DAG_PB;
    size_t bytes = cid_write(&cid, binary);
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    size_t chars = 0;
    for (size_t bit = 0; bit < bytes * 8; bit += 5) {
        uint32_t window =
            (uint32_t)binary[bit / 8] << 8 | (bit / 8 + 1 < bytes ? binary[bit / 8 + 1] : 0u);
        old[chars++] = digits[window >> (11 - bit % 8) & 31];
    }
    snprintf(old + chars, sizeof old - chars, ".data");
    cr_assert_eq(flatfs_cid(old, &again), 0, "%s", old);
    cr_assert_arr_eq(again.digest, cid.digest, 32);
    cr_assert_eq(again.codec, CID_RAW, "whatever it was: nothing is said of the others' either");
}

Test(flatfs, other_names_are_nobodys) {
    static const char *const names[] = {
        "",
        ".data",
        "SHARDING",
        "put-1234",
        "CIQ.data",
        "CIQJGO2B3D45R5V5AWGFHXU4WP6IOW63W3RSTWNQM3G37VRP25RX6AY",
        "CIQJGO2B3D45R5V5AWGFHXU4WP6IOW63W3RSTWNQM3G37VRP25RX6A1.data",
        "CIQJGO2B3D45R5V5AWGFHXU4WP6IOW63W3RSTWNQM3G37VRP25RX6AYAA.data",
        "CIQJGO2B3D45R5V5AWGFHXU4WP6IOW63W3RSTWNQM3G37VRP25RX6AY.data.bak",
    };
    struct cid cid;
    for (size_t i = 0; i < array_count(names); i++) {
        cr_expect_eq(flatfs_cid(names[i], &cid), FLATFS_NOT, "%s", names[i]);
    }
}

Test(flatfs, a_folder_without_sharding_is_none) {
    static struct flatfs flatfs;
    make_dir();
    cr_assert_eq(flatfs_open(&flatfs, dir), FLATFS_NOT);
    write_file("SHARDING", "something else\n");
    cr_assert_eq(flatfs_open(&flatfs, dir), FLATFS_REFUSED);
    cr_assert_not_null(strstr(flatfs.why, "something else"));
    write_file("SHARDING", "/repo/flatfs/shard/v1/next-to-last/2\n");
    cr_assert_eq(flatfs_open(&flatfs, dir), 0);
    cr_assert_eq(flatfs_shard(&flatfs), 0, "no folder, no block");
    flatfs_close(&flatfs);
    remove_file("SHARDING");
    rmdir(dir);
}

Test(ahead, files_come_in_the_order_they_were_asked_for) {
    char name[64], path[512], words[64];
    enum { FILES = 300 };
    make_dir();
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%u", i);
        snprintf(words, sizeof words, "content of %u", i);
        write_file(name, words);
    }
    struct ahead *ahead = ahead_open(100);
    cr_assert_not_null(ahead);
    uint32_t asked = 0;
    for (uint32_t i = 0; i <= FILES; i++) {
        for (; asked <= FILES && !ahead_full(ahead); asked++) { /* one more than there are */
            snprintf(path, sizeof path, "%s/%u", dir, asked);
            ahead_ask(ahead, path, asked);
        }
        const struct ahead_file *file = ahead_next(ahead);
        cr_assert_not_null(file);
        cr_assert_eq(file->tag, i);
        snprintf(words, sizeof words, "content of %u", i);
        cr_assert_eq(file->error, i < FILES ? 0 : -ENOENT);
        cr_assert(i == FILES ||
                  (file->bytes == strlen(words) && memcmp(file->data, words, file->bytes) == 0));
    }
    cr_assert_null(ahead_next(ahead));
    ahead_close(ahead);
    for (uint32_t i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "%u", i);
        remove_file(name);
    }
    rmdir(dir);
}

Test(ahead, a_file_of_more_bytes_than_allowed_is_an_error_and_one_of_just_as_many_is_not) {
    char path[512];
    make_dir();
    write_file("a", "12345678");
    write_file("b", "123456789");
    struct ahead *ahead = ahead_open(8);
    snprintf(path, sizeof path, "%s/a", dir);
    ahead_ask(ahead, path, 0);
    snprintf(path, sizeof path, "%s/b", dir);
    ahead_ask(ahead, path, 1);
    cr_assert_eq(ahead_next(ahead)->error, 0);
    cr_assert_eq(ahead_next(ahead)->error, -EFBIG);
    ahead_ask(ahead, path, 2);
    ahead_close(ahead); /* with a file that nobody took */
    remove_file("a");
    remove_file("b");
    rmdir(dir);
}

Test(known, what_does_not_fit_waits_for_the_next_group) {
    static struct known known;
    static uint8_t bytes[KNOWN_BYTES];
    struct known_item item = {.data = bytes, .bytes = KNOWN_BYTES - 1};
    cr_assert(known_add(&known, &item));
    item.bytes = 2;
    cr_assert_not(known_add(&known, &item));
    item.bytes = 1;
    cr_assert(known_add(&known, &item));
    known_clear(&known);
    item.data = NULL;
    item.bytes = KNOWN_BYTES;
    for (uint32_t i = 0; i < KNOWN_ITEMS; i++) {
        cr_assert(known_add(&known, &item), "items without bytes take none");
    }
    cr_assert_not(known_add(&known, &item));
}
