/* SPDX-License-Identifier: MIT */
#include "engine/swarm/identity.h"

#include "base/hash.h"
#include "base/multibase.h"
#include "proto/libp2p/peer_id.h"
#include "proto/libp2p/secure.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* RFC 8032, section 7.1, test 1: seed, then its public key. */
static const char known_data[] = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
                                 "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
static const char known_public[] =
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

static char dir[64], path[128], temporary[128], why[512];
static struct secure_self *self;
static bool made;

static void setup(void) {
    (void)snprintf(dir, sizeof dir, "/tmp/millrace-identity-XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    (void)snprintf(path, sizeof path, "%s/%s", dir, IDENTITY_FILE);
    (void)snprintf(temporary, sizeof temporary, "%s/%s.new", dir, IDENTITY_FILE);
    cr_assert_eq(hash_open(), 0);
    self = NULL;
    made = false;
    why[0] = '\0';
}

static void teardown(void) {
    secure_self_close(self);
    (void)chmod(dir, 0700);
    (void)unlink(path);
    (void)rmdir(path);
    (void)unlink(temporary);
    (void)rmdir(dir);
}

TestSuite(identity, .init = setup, .fini = teardown);

static int open_key(void) {
    secure_self_close(self);
    self = NULL;
    why[0] = '\0';
    return identity_open(dir, &self, &made, why, sizeof why);
}

static void write_file(const void *bytes, size_t count, mode_t mode) {
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, count), (ssize_t)count);
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
}

static size_t read_file(char text[512]) {
    int fd = open(path, O_RDONLY);
    cr_assert_geq(fd, 0);
    ssize_t n = read(fd, text, 511);
    cr_assert_gt(n, 0);
    close(fd);
    text[n] = '\0';
    return (size_t)n;
}

/* A file that holds this message (base16) in the way keys are kept. */
static void write_message(const char *hex, const char *ending) {
    uint8_t bytes[256];
    char text[600] = "b";
    size_t count;
    cr_assert_eq(multibase_read('f', hex, strlen(hex), bytes, sizeof bytes, &count), 0);
    size_t chars = 1 + multibase_write('b', bytes, count, text + 1, sizeof text - 8);
    (void)snprintf(text + chars, sizeof text - chars, "%s", ending);
    write_file(text, strlen(text), 0600);
}

static struct peer_id opened_id(void) {
    cr_assert_eq(open_key(), 0, "%s", why);
    return *secure_self_id(self);
}

Test(identity, a_first_start_makes_a_key_and_the_next_finds_it) {
    struct stat stat;
    char first[512], second[512], id[PEER_ID_TEXT_MAX];
    struct peer_id made_id = opened_id();
    cr_assert(made);
    peer_id_format(&made_id, id);
    cr_assert_eq(strncmp(id, "12D3KooW", 8), 0, "%s", id);
    cr_assert_eq(lstat(path, &stat), 0);
    cr_assert(S_ISREG(stat.st_mode));
    cr_assert_eq(stat.st_mode & 07777, 0600);
    cr_assert_eq(access(temporary, F_OK), -1, "nothing is left beside it");
    cr_assert_eq(read_file(first), 111, "68 bytes in base32, its letter, a newline");
    cr_assert_eq(first[0], 'b');
    cr_assert_eq(first[110], '\n');
    struct peer_id found = opened_id();
    cr_assert_not(made);
    cr_assert(peer_id_equal(&made_id, &found));
    (void)read_file(second);
    cr_assert_str_eq(first, second);
}

Test(identity, no_two_keys_are_the_same) {
    struct peer_id first = opened_id();
    cr_assert_eq(unlink(path), 0);
    struct peer_id second = opened_id();
    cr_assert(made);
    cr_assert_not(peer_id_equal(&first, &second));
}

Test(identity, the_file_is_the_private_key_message_of_libp2p) {
    char hex[200], key_hex[200];
    uint8_t bytes[128];
    struct peer_id known;
    size_t count, key_bytes;
    (void)snprintf(hex, sizeof hex, "08011240%s", known_data);
    (void)snprintf(key_hex, sizeof key_hex, "08011220%s", known_public);
    cr_assert_eq(multibase_read('f', key_hex, strlen(key_hex), bytes, sizeof bytes, &count), 0);
    cr_assert_eq(peer_id_of_key(bytes, count, &known), 0);
    static const char *const endings[] = {"\n", "", "\r\n", " \n\n"};
    for (size_t i = 0; i < array_count(endings); i++) {
        write_message(hex, endings[i]);
        struct peer_id id = opened_id();
        cr_assert(peer_id_equal(&id, &known), "%zu", i);
        cr_assert_not(made);
    }
    const uint8_t *key = secure_self_key(self, &key_bytes);
    cr_assert_eq(key_bytes, count);
    cr_assert_eq(memcmp(key, bytes, count), 0);
    /* What we write is that message, to the byte. */
    cr_assert_eq(unlink(path), 0);
    char text[512];
    cr_assert_eq(open_key(), 0);
    size_t chars = read_file(text);
    cr_assert_eq(multibase_read('b', text + 1, chars - 2, bytes, sizeof bytes, &count), 0);
    cr_assert_eq(count, 68);
    cr_assert_eq(memcmp(bytes, "\x08\x01\x12\x40", 4), 0);
    key = secure_self_key(self, &key_bytes);
    cr_assert_eq(memcmp(bytes + 36, key + 4, 32), 0, "the seed, then the public half");
}

static void expect(int outcome, const char *words) {
    cr_assert_eq(open_key(), outcome, "%s", why);
    cr_assert_null(self);
    cr_assert_eq(strncmp(why, path, strlen(path)), 0, "%s", why);
    cr_assert(strstr(why, words) != NULL, "'%s' is not in: %s", words, why);
}

Test(identity, a_key_that_others_may_read_is_refused_and_left_as_it_is) {
    static const mode_t modes[] = {0604, 0640, 0602, 0610, 0777};
    struct stat stat;
    (void)opened_id();
    for (size_t i = 0; i < array_count(modes); i++) {
        cr_assert_eq(chmod(path, modes[i]), 0);
        expect(IDENTITY_EXPOSED, "chmod 600");
        cr_assert_eq(lstat(path, &stat), 0);
        cr_assert_eq(stat.st_mode & 07777, modes[i]);
    }
    cr_assert_eq(chmod(path, 0400), 0);
    cr_assert_eq(open_key(), 0, "less is allowed: %s", why);
}

Test(identity, a_key_of_another_user_is_refused) {
    (void)opened_id();
    if (geteuid() != 0 || chown(path, 12345, 12345) != 0) {
        cr_skip_test("only root can give a file away");
    }
    expect(IDENTITY_EXPOSED, "12345");
}

Test(identity, what_is_not_a_key_is_damaged_and_not_replaced) {
    char hex[400], text[512];
    write_file("", 0, 0600);
    expect(IDENTITY_DAMAGED, "empty");
    write_file("\n", 1, 0600);
    expect(IDENTITY_DAMAGED, "empty");
    write_file("CAESQJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g", 48, 0600);
    expect(IDENTITY_DAMAGED, "base32");
    write_file("b\0b", 3, 0600);
    expect(IDENTITY_DAMAGED, "not a private key");
    memset(text, 'b', sizeof text);
    write_file(text, sizeof text, 0600);
    expect(IDENTITY_DAMAGED, "not a");
    static const char *const odd[] = {
        "08011241",     /* cut off */
        "12400801",     /* in another order */
        "080112401a00", /* cut off, and more */
        "",             /* nothing at all */
    };
    for (size_t i = 0; i < array_count(odd); i++) {
        write_message(odd[i], "\n");
        expect(IDENTITY_DAMAGED, "");
    }
    (void)snprintf(hex, sizeof hex, "08001240%s", known_data);
    write_message(hex, "\n");
    expect(IDENTITY_DAMAGED, "not an Ed25519 key");
    (void)snprintf(hex, sizeof hex, "08011220%s", known_public);
    write_message(hex, "\n");
    expect(IDENTITY_DAMAGED, "wrong length");
    (void)snprintf(hex, sizeof hex, "08011240%s00", known_data);
    write_message(hex, "\n");
    expect(IDENTITY_DAMAGED, "not a private key");
    (void)snprintf(hex, sizeof hex, "08011240%s", known_data);
    hex[10] ^= 1; /* a digit of the seed */
    write_message(hex, "\n");
    expect(IDENTITY_DAMAGED, "do not belong together");
    size_t before = read_file(text);
    (void)open_key();
    char after[512];
    cr_assert_eq(read_file(after), before);
    cr_assert_eq(memcmp(text, after, before), 0);
}

Test(identity, other_things_of_that_name_are_refused) {
    cr_assert_eq(symlink("/dev/null", path), 0);
    expect(IDENTITY_DAMAGED, "symbolic link");
    cr_assert_eq(unlink(path), 0);
    cr_assert_eq(mkdir(path, 0700), 0);
    expect(IDENTITY_DAMAGED, "regular file");
    cr_assert_eq(rmdir(path), 0);
    cr_assert_eq(mkfifo(path, 0600), 0);
    expect(IDENTITY_DAMAGED, "regular file");
}

Test(identity, a_start_that_ended_in_the_middle_leaves_nothing_in_the_way) {
    int fd = open(temporary, O_WRONLY | O_CREAT, 0644);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, "bhalf", 5), 5);
    close(fd);
    (void)opened_id();
    cr_assert(made);
    cr_assert_eq(access(temporary, F_OK), -1);
}

Test(identity, a_directory_that_is_not_there_is_the_hosts_fault) {
    cr_assert_eq(rmdir(dir), 0);
    cr_assert_eq(open_key(), -ENOENT);
    cr_assert(strstr(why, "No such file") != NULL, "%s", why);
    cr_assert_eq(mkdir(dir, 0700), 0);
}
