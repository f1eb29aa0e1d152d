/* SPDX-License-Identifier: MIT */
/* proto/ipld/unixfs_shard.c: the hash of names, and the trie that Kubo 0.42 makes over them. */

#include "proto/ipld/unixfs_shard.h"
#include "tests/proto/unixfs_make.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static struct unixfs_shard shard;
static char names[10000][64];
static struct unixfs_entry entries[10000];

static int by_hash(const void *a, const void *b) {
    uint64_t x = ((const struct unixfs_entry *)a)->hash, y = ((const struct unixfs_entry *)b)->hash;
    return x < y ? -1 : x > y;
}

static void entries_sort(uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        entries[i].link = raw_leaf("", 0);
        entries[i].name = names[i];
        entries[i].name_bytes = (uint32_t)strlen(names[i]);
        entries[i].hash = unixfs_shard_hash(names[i], entries[i].name_bytes);
    }
    qsort(entries, count, sizeof entries[0], by_hash);
}

/* Returns: how many nodes there were. */
static uint32_t build(uint32_t count, uint32_t version) {
    static uint8_t out[UNIXFS_SHARD_ROOM];
    uint32_t nodes = 0;
    size_t bytes;
    entries_sort(count);
    cr_assert_eq(unixfs_shard_init(&shard, entries, count), 0);
    while ((bytes = unixfs_shard_node(&shard, out)) > 0) {
        struct unixfs_node node;
        struct cid cid = cid_of(version, CID_DAG_PB, out, bytes);
        cr_assert_eq(unixfs_read(out, bytes, &node), 0);
        cr_assert_eq(node.type, UNIXFS_SHARD);
        unixfs_shard_named(&shard, &cid);
        nodes++;
    }
    return nodes;
}

Test(unixfs_shard, eight_thousand_names_make_the_tree_of_kubo) {
    for (uint32_t i = 0; i < 8000; i++) {
        snprintf(names[i], sizeof names[i], "name-%u", i + 1);
    }
    build(8000, 1);
    cr_assert_str_eq(link_text(&shard.root),
                     "bafybeifcyk6fzyb4vhv2yyghkvniwigdpuuwsr3mcgum4pn72bejdwa47u");
}

Test(unixfs_shard, names_longer_than_a_block_of_the_hash_make_the_tree_of_kubo) {
    for (uint32_t i = 0; i < 5956; i++) {
        snprintf(names[i], sizeof names[i], "n%07u", i);
    }
    memset(names[5956], 'x', 45);
    build(5957, 1);
    cr_assert_str_eq(link_text(&shard.root),
                     "bafybeibq3asurk24mhmgaruwwb5dszd24ljch7esln4l7b7d27ue2ld5xy");
}

Test(unixfs_shard, the_hash_is_murmur3) {
    cr_assert_eq(unixfs_shard_hash("", 0), 0);
    cr_assert_eq(unixfs_shard_hash("hello", 5), UINT64_C(0xcbd8a7b341bd9b02));
    cr_assert_eq(unixfs_shard_hash("hello, world", 12), UINT64_C(0x342fac623a5ebc8e));
    cr_assert_eq(unixfs_shard_hash("The quick brown fox jumps over the lazy dog.", 44),
                 UINT64_C(0xcd99481f9ee902c9));
}

Test(unixfs_shard, names_that_share_a_byte_of_the_hash_get_a_node_of_their_own) {
    uint32_t count = 0;
    /* Two names whose hashes begin alike, and one that does not. */
    snprintf(names[count++], sizeof names[0], "name-0");
    uint64_t first = unixfs_shard_hash(names[0], 6);
    for (uint32_t i = 1, same = 0, other = 0; count < 3; i++) {
        char name[64];
        snprintf(name, sizeof name, "name-%u", i);
        bool alike = unixfs_shard_hash(name, (uint32_t)strlen(name)) >> 56 == first >> 56;
        if (alike ? same++ == 0 : other++ == 0) {
            memcpy(names[count++], name, sizeof name);
        }
    }
    cr_assert_eq(build(3, 1), 2);
    cr_assert_eq(build(1, 1), 1);
}

Test(unixfs_shard, two_names_of_one_hash_are_refused) {
    snprintf(names[0], sizeof names[0], "a");
    snprintf(names[1], sizeof names[1], "b");
    entries_sort(2);
    entries[0].hash = entries[1].hash;
    cr_assert_eq(unixfs_shard_init(&shard, entries, 2), UNIXFS_SHARD_CLASH);
}

Test(unixfs_shard, hashes_that_differ_in_their_last_bit_alone_fill_every_level) {
    snprintf(names[0], sizeof names[0], "a");
    snprintf(names[1], sizeof names[1], "b");
    entries_sort(2);
    entries[0].hash = UINT64_C(0x0123456789abcdee);
    entries[1].hash = UINT64_C(0x0123456789abcdef);
    static uint8_t out[UNIXFS_SHARD_ROOM];
    uint32_t nodes = 0;
    size_t bytes;
    cr_assert_eq(unixfs_shard_init(&shard, entries, 2), 0);
    while ((bytes = unixfs_shard_node(&shard, out)) > 0) {
        struct cid cid = cid_of(1, CID_DAG_PB, out, bytes);
        unixfs_shard_named(&shard, &cid);
        nodes++;
    }
    cr_assert_eq(nodes, UNIXFS_SHARD_LEVELS);
}
