/* SPDX-License-Identifier: MIT */
/* proto/ipld/unixfs.c: nodes as Kubo 0.42 writes them, read in every form that others write, and
 * what is no node. */

#include "proto/ipld/unixfs.h"
#include "tests/proto/hex.h"
#include "tests/proto/seeded.h"
#include "tests/proto/unixfs_make.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define RAW_A \
    "0155122" \
    "0ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
#define LINK_A "122a0a24" RAW_A "12001801" /* to "a": empty name, one byte */

static struct unixfs_node node;

/* In memory of exactly its size, so that a sanitizer sees a read past its end. */
static int read_hex(const char *hex) {
    static uint8_t *exact;
    static uint8_t bytes[1 << 16];
    must(strlen(hex) / 2 <= sizeof bytes);
    size_t count = hex_read(hex, bytes);
    free(exact);
    exact = malloc(count > 0 ? count : 1);
    memcpy(exact, bytes, count);
    return unixfs_read(exact, count, &node);
}

static struct unixfs_entry entry_of(const char *name, struct unixfs_link link) {
    return (struct unixfs_entry){.link = link, .name = name, .name_bytes = (uint32_t)strlen(name)};
}

static struct unixfs_link directory_of(const struct unixfs_entry entries[], uint32_t count) {
    static uint8_t out[4096];
    struct unixfs_link link;
    cr_assert_leq(unixfs_directory_room(entries, count), sizeof out);
    size_t bytes = unixfs_directory_write(entries, count, out);
    cr_assert_leq(bytes, unixfs_directory_room(entries, count));
    struct cid cid = cid_of(1, CID_DAG_PB, out, bytes);
    unixfs_link_init(&link, &cid, bytes);
    for (uint32_t i = 0; i < count; i++) {
        link.total_bytes += entries[i].link.total_bytes;
    }
    return link;
}

Test(unixfs, a_directory_is_the_one_that_kubo_makes) {
    uint8_t content[1000], out[64];
    seeded_fill(7, content, sizeof content);
    struct unixfs_entry inner[] = {entry_of("f", raw_leaf(content, sizeof content))};
    struct unixfs_link symlink, a = directory_of(inner, 1), b = directory_of(NULL, 0);
    size_t bytes = unixfs_symlink_write("a/f", 3, out);
    struct cid cid = cid_of(1, CID_DAG_PB, out, bytes);
    unixfs_link_init(&symlink, &cid, bytes);
    cr_assert_str_eq(link_text(&a), "bafybeia2ngxtyzrmpvo5we6cty5a4jjn5ov3733axdzj4qls7jzqk7eiw4");
    cr_assert_str_eq(link_text(&b), "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354");
    cr_assert_str_eq(link_text(&symlink),
                     "bafybeibswbd3ma7ectflsqowkpqdr7phz6ucr4aumznpgppzc2dt2tj3fy");
    struct unixfs_entry entries[] = {
        entry_of("Z \xc3\xbc", raw_leaf("z", 1)),
        entry_of("a", a),
        entry_of("a-b", raw_leaf("y", 1)),
        entry_of("ab", raw_leaf("x", 1)),
        entry_of("b", b),
        entry_of("l", symlink),
    };
    struct unixfs_link root = directory_of(entries, array_count(entries));
    cr_assert_str_eq(link_text(&root),
                     "bafybeiflnuakhspq5racf2ktm7rnu6odnaeuw3rxhotbddykbhu5zq6qdu");
}

Test(unixfs, names_are_ordered_by_their_bytes_and_a_shorter_one_first) {
    struct unixfs_entry a = entry_of("a", raw_leaf("", 0)), ab = entry_of("ab", a.link),
                        upper = entry_of("B", a.link), high = entry_of("\xff", a.link);
    cr_assert_lt(unixfs_entry_compare(&a, &ab), 0);
    cr_assert_gt(unixfs_entry_compare(&ab, &a), 0);
    cr_assert_lt(unixfs_entry_compare(&upper, &a), 0);
    cr_assert_gt(unixfs_entry_compare(&high, &a), 0);
    cr_assert_eq(unixfs_entry_compare(&a, &a), 0);
}

Test(unixfs, a_directory_is_read_as_it_was_written) {
    static uint8_t out[1024];
    struct unixfs_entry entries[] = {entry_of("one", raw_leaf("1", 1)),
                                     entry_of("two", raw_leaf("22", 2))};
    size_t bytes = unixfs_directory_write(entries, 2, out);
    struct unixfs_child child;
    cr_assert_eq(unixfs_read(out, bytes, &node), 0);
    cr_assert_eq(node.type, UNIXFS_DIRECTORY);
    cr_assert_eq(node.links, 2);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t cid[CID_BYTES_MAX];
        cr_assert_eq(unixfs_next(&node, &child), 0);
        cr_assert_eq(child.name_bytes, 3);
        cr_assert_eq(memcmp(child.name, entries[i].name, 3), 0);
        cr_assert_eq(child.total_bytes, i + 1);
        cr_assert_eq(cid_write(&child.cid, cid), entries[i].link.cid_bytes);
        cr_assert_eq(memcmp(cid, entries[i].link.cid, entries[i].link.cid_bytes), 0);
    }
    cr_assert_eq(unixfs_next(&node, &child), UNIXFS_END);
}

Test(unixfs, a_leaf_holds_its_bytes_and_an_empty_one_none) {
    uint8_t out[64];
    cr_assert_eq(unixfs_leaf_write((const uint8_t *)"abc", 3, out), 11);
    cr_assert_eq(unixfs_read(out, 11, &node), 0);
    cr_assert_eq(node.type, UNIXFS_FILE);
    cr_assert_eq(node.file_bytes, 3);
    cr_assert_eq(node.data_bytes, 3);
    cr_assert_eq(memcmp(node.data, "abc", 3), 0);
    cr_assert_eq(unixfs_leaf_write(NULL, 0, out), 6);
    cr_assert_eq(memcmp(out, "\x0a\x04\x08\x02\x18\x00", 6), 0);
}

Test(unixfs, a_symbolic_link_says_where_it_leads) {
    cr_assert_eq(read_hex("0a0908041205"
                          "612f622f63"),
                 0);
    cr_assert_eq(node.type, UNIXFS_SYMLINK);
    cr_assert_eq(node.data_bytes, 5);
    cr_assert_eq(memcmp(node.data, "a/b/c", 5), 0);
}

Test(unixfs, either_order_and_packed_sizes_are_read) {
    static const char *const forms[] = {
        LINK_A LINK_A "0a08"
                      "08021802"
                      "20012001",
        "0a08"
        "08021802"
        "20012001" LINK_A LINK_A,
        LINK_A "0a08"
               "08021802"
               "22020101" LINK_A,
        LINK_A LINK_A "0a09"
                      "08021802"
                      "220101"
                      "2001",
        LINK_A LINK_A "0a0a"
                      "08021802"
                      "2200"
                      "20012001",
        /* a field that is not known, and a mode */
        LINK_A LINK_A "0a0e"
                      "08021802"
                      "38a403"
                      "4a0178"
                      "20012001",
    };
    for (size_t i = 0; i < array_count(forms); i++) {
        struct unixfs_child child;
        cr_assert_eq(read_hex(forms[i]), 0, "%s", forms[i]);
        cr_assert_eq(node.file_bytes, 2);
        cr_assert_eq(node.links, 2);
        for (uint32_t k = 0; k < 2; k++) {
            cr_assert_eq(unixfs_next(&node, &child), 0, "%s", forms[i]);
            cr_assert_eq(child.file_bytes, 1);
            cr_assert_eq(child.cid.codec, CID_RAW);
        }
        cr_assert_eq(unixfs_next(&node, &child), UNIXFS_END);
    }
}

Test(unixfs, a_node_may_hold_bytes_before_its_parts) {
    cr_assert_eq(read_hex(LINK_A "0a09080212017818022001"), 0);
    cr_assert_eq(node.file_bytes, 2);
    cr_assert_eq(node.data_bytes, 1);
}

Test(unixfs, what_is_no_node_is_refused) {
    static const char *const bad[] = {
        "",         /* nothing */
        "0a00",     /* no type */
        "0a020806", /* a type that does not exist */
        "0a0209"
        "01", /* a type that is cut off */
        "0a0a"
        "0901000000000000"
        "0000", /* a type that is no varint */
        "0a02080"
        "10a020801",       /* two of them */
        "0801",            /* not dag-pb: a varint */
        "1a020801",        /* not dag-pb: field 3 */
        "0a0408021001",    /* data that is no bytes */
        LINK_A "0a020802", /* a link without its size */
        LINK_A "0a06"
               "0802"
               "20012001", /* a size without its link */
        "0a04"
        "08022001", /* the same */
        LINK_A "0a05"
               "0802"
               "220180", /* a packed size that is cut off */
        LINK_A "0a07"
               "0802"
               "2501000000", /* a size of the wrong type */
        LINK_A "0a0d"
               "0802"
               "20ffffffffffffffffff01", /* a length below zero */
        LINK_A LINK_A "0a17"
                      "0802"
                      "20ffffffffffffffff7f"
                      "20ffffffffffffffff7f" /* their sum */
                      "00",
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        cr_assert_eq(read_hex(bad[i]), UNIXFS_BAD, "%zu: %s", i, bad[i]);
    }
}

Test(unixfs, a_link_without_a_cid_is_told_at_its_turn) {
    struct unixfs_child child;
    static const char *const bad[] = {
        "1204"
        "12001801"
        "0a020801", /* none */
        "1202"
        "0a00"
        "0a020801", /* an empty one */
        "1208"
        "0a06"
        "015512"
        "207888"
        "0a020801", /* a short one */
        "1202"
        "2001"
        "0a020801", /* a field that dag-pb does not have */
        "1202"
        "0801"
        "0a020801", /* of the wrong type */
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        cr_assert_eq(read_hex(bad[i]), 0, "%s", bad[i]);
        cr_assert_eq(unixfs_next(&node, &child), UNIXFS_BAD, "%s", bad[i]);
    }
}
