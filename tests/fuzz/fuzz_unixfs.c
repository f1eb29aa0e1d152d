/* SPDX-License-Identifier: MIT */
/* Any input is read as a UnixFS node. What is one must hand out as many links as it counted, their
 * sizes must add up to its own, and a file's node written anew from them must say the same. */

#include "tests/fuzz/fuzz.h"

#include "base/must.h"
#include "proto/ipld/unixfs.h"

#include <stdlib.h>
#include <string.h>

#define LINKS_MAX 64u

static bool is_file(const struct unixfs_node *node) {
    return node->type == UNIXFS_FILE || node->type == UNIXFS_RAW;
}

static void check_again(const struct unixfs_link links[], uint32_t count, uint64_t file_bytes) {
    struct unixfs_node node;
    struct unixfs_child child;
    size_t room = unixfs_file_room(count);
    uint8_t *out = malloc(room), cid[CID_BYTES_MAX];
    size_t bytes = unixfs_file_write(links, count, out);
    must(bytes <= room);
    must(unixfs_read(out, bytes, &node) == 0);
    must(node.file_bytes == file_bytes);
    must(node.links == count);
    for (uint32_t i = 0; i < count; i++) {
        must(unixfs_next(&node, &child) == 0);
        must(child.file_bytes == links[i].file_bytes);
        must(child.total_bytes == links[i].total_bytes);
        must(cid_write(&child.cid, cid) == links[i].cid_bytes);
        must(memcmp(cid, links[i].cid, links[i].cid_bytes) == 0);
    }
    must(unixfs_next(&node, &child) == UNIXFS_END);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    struct unixfs_link links[LINKS_MAX];
    struct unixfs_node node;
    struct unixfs_child child;
    uint8_t cid[CID_BYTES_MAX];
    uint32_t count = 0, kept = 0;
    int r = unixfs_read(data, bytes, &node);
    must(r == 0 || r == UNIXFS_BAD);
    if (r != 0) {
        return 0;
    }
    must(node.type < UNIXFS_TYPE_COUNT);
    must(node.data >= data);
    must(node.data + node.data_bytes <= data + bytes);
    uint64_t sum = node.data_bytes, parts = 0;
    bool file = is_file(&node);
    while ((r = unixfs_next(&node, &child)) == 0) {
        size_t size = cid_write(&child.cid, cid);
        must(child.name_bytes == 0 || (const uint8_t *)child.name > data);
        must(file || child.file_bytes == 0);
        sum += child.file_bytes;
        count++;
        if (kept < LINKS_MAX && size <= UNIXFS_CID_MAX) {
            unixfs_link_init(&links[kept], &child.cid, child.total_bytes);
            links[kept].file_bytes = child.file_bytes;
            parts += child.file_bytes;
            kept++;
        }
    }
    must(r == UNIXFS_END || r == UNIXFS_BAD);
    must(count <= node.links);
    if (r == UNIXFS_END) {
        must(count == node.links);
        must(!file || sum == node.file_bytes);
    }
    check_again(links, kept, parts);
    return 0;
}
