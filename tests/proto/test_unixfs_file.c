/* SPDX-License-Identifier: MIT */
/* proto/ipld/unixfs_file.c: leaves become the tree that Kubo makes of them. The root CIDs are those
 * of Kubo 0.42 (ipfs add --chunker size-N) for the same bytes. */

#include "proto/ipld/unixfs_file.h"
#include "tests/proto/seeded.h"
#include "tests/proto/unixfs_make.h"

#include <criterion/criterion.h>
#include <stdlib.h>

static struct unixfs_file file;
static uint32_t nodes;

static void take_nodes(uint32_t version) {
    uint8_t out[UNIXFS_FILE_NODE_MAX];
    size_t bytes;
    while ((bytes = unixfs_file_node(&file, out)) > 0) {
        struct cid cid = cid_of(version, CID_DAG_PB, out, bytes);
        unixfs_file_named(&file, &cid);
        nodes++;
    }
}

/* The root over `count` bytes in chunks of `chunk`. */
static const char *root_of(size_t count, uint32_t chunk, uint32_t version, bool raw) {
    uint8_t *content = malloc(count + 1), leaf[2048];
    seeded_fill(7, content, count);
    nodes = 0;
    unixfs_file_init(&file);
    for (size_t at = 0; at < count || at == 0; at += chunk) {
        uint32_t bytes = count - at < chunk ? (uint32_t)(count - at) : chunk;
        struct unixfs_link link = raw_leaf(content + at, bytes);
        if (!raw) {
            size_t size = unixfs_leaf_write(content + at, bytes, leaf);
            struct cid cid = cid_of(version, CID_DAG_PB, leaf, size);
            unixfs_link_init(&link, &cid, size);
            link.file_bytes = bytes;
        }
        unixfs_file_add(&file, &link);
        take_nodes(version);
    }
    unixfs_file_end(&file);
    take_nodes(version);
    free(content);
    cr_assert_eq(unixfs_file_root(&file)->file_bytes, count);
    return link_text(unixfs_file_root(&file));
}

static void root_is(size_t count, uint32_t chunk, uint32_t version, bool raw,
                    const char *expected) {
    const char *root = root_of(count, chunk, version, raw);
    cr_assert_str_eq(root, expected, "%zu bytes by %u: %s", count, chunk, root);
}

Test(unixfs_file, a_file_of_one_leaf_is_that_leaf) {
    root_is(1, 1, 1, true, "bafkreibticedvljqhdozsoz4stjnglb3edqhqwmwtlfech37sovyqr6hiy");
    cr_assert_eq(nodes, 0);
    root_is(0, 1, 1, true, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
}

Test(unixfs_file, a_node_has_174_links_and_the_next_leaf_makes_the_tree_deeper) {
    root_is(2, 1, 1, true, "bafybeigmtpegtnzsvze3hz5rhzi4t4e436lx4fum7yonlvb2hpnvsxibny");
    root_is(173, 1, 1, true, "bafybeicfclhhuftt6u725ngk46gh2myamoos3yt7wtztnyvdotcuyekqei");
    root_is(174, 1, 1, true, "bafybeicbxkxtqplaixoden6bjllwjn6ebq7ahfn26swnk2fsbx4t74ggdu");
    cr_assert_eq(nodes, 1);
    root_is(175, 1, 1, true, "bafybeiahlcqn2docd4qldsthpzrp2xspcoiksfr5zldki4mkbgmk3pru3m");
    cr_assert_eq(nodes, 3);
}

Test(unixfs_file, three_levels_are_those_of_kubo) {
    root_is(30276, 1, 1, true, "bafybeihxlgzjb6qwq4guxxx27waajbgpo5x5433yoigq7jtvzev2mgtdqm");
    cr_assert_eq(nodes, 175);
    root_is(30277, 1, 1, true, "bafybeiddxcsdo6f77lknwq6gccplinxpsfqabfjj3d5uiyy6sefc3wrweu");
    cr_assert_eq(nodes, 178);
}

Test(unixfs_file, leaves_may_be_nodes_and_names_of_version_0) {
    root_is(0, 1000, 0, false, "QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH");
    root_is(1, 1000, 0, false, "QmVb2nQKSpHn7t8t2Mw9uxnVtrhaUc1t6Dx5DXCgc5r2rr");
    root_is(1000, 1000, 0, false, "QmR1VtpP22NbZUBBN1yVGwtbVkAcDGM65McYyhYP6UezZm");
    root_is(1001, 1000, 0, false, "QmfFv4XqgqbzV47im7SD9EHfTvFYNn6iG45TJVa4ae8wt5");
    root_is(200000, 1000, 0, false, "QmRzwGJw1v8QZ73oiwoDHEstNe39Rbvw2nsyepu4GJ8syk");
    root_is(1001, 1000, 0, true, "QmbdxkiGgY7VBjKKU4Cx2CxX3NaSsZgiimPGRCAFCDRtt4");
    root_is(200000, 1000, 0, true, "QmVkQBKF3dUhz7L9iir5mkaEHfzHbeeQLA62Z4cbc2ngKS");
}

Test(unixfs_file, sizes_and_links_say_what_is_below) {
    struct unixfs_node node;
    struct unixfs_child child;
    uint8_t out[UNIXFS_FILE_NODE_MAX];
    struct unixfs_link leaves[2] = {raw_leaf("abc", 3), raw_leaf("de", 2)};
    unixfs_file_init(&file);
    unixfs_file_add(&file, &leaves[0]);
    unixfs_file_add(&file, &leaves[1]);
    cr_assert_eq(unixfs_file_node(&file, out), 0, "not before it is full");
    unixfs_file_end(&file);
    size_t bytes = unixfs_file_node(&file, out);
    cr_assert_eq(unixfs_read(out, bytes, &node), 0);
    cr_assert_eq(node.type, UNIXFS_FILE);
    cr_assert_eq(node.file_bytes, 5);
    cr_assert_eq(node.links, 2);
    cr_assert_eq(unixfs_next(&node, &child), 0);
    cr_assert_eq(child.file_bytes, 3);
    cr_assert_eq(child.total_bytes, 3);
    cr_assert_eq(unixfs_next(&node, &child), 0);
    cr_assert_eq(child.file_bytes, 2);
    cr_assert_eq(unixfs_next(&node, &child), UNIXFS_END);
    struct cid cid = cid_of(1, CID_DAG_PB, out, bytes);
    unixfs_file_named(&file, &cid);
    cr_assert_eq(unixfs_file_root(&file)->total_bytes, 5 + bytes);
}
