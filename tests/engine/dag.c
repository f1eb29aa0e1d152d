/* SPDX-License-Identifier: MIT */
#include "tests/engine/dag.h"

#include "base/varint.h"

#include <stdlib.h>
#include <string.h>

uint64_t dag_random(uint64_t *state) {
    *state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t x = *state;
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static uint32_t add(struct dag *dag, uint64_t codec, const void *bytes, uint32_t count) {
    struct dag_block *block = &dag->blocks[dag->count];
    block->bytes = malloc(count + 1);
    memcpy(block->bytes, bytes, count);
    block->count = count;
    block->key = (struct key){.code = HASH_SHA2_256, .digest_bytes = 32};
    if (hash_compute(HASH_SHA2_256, bytes, count, block->key.digest, 32) != 0) {
        abort();
    }
    cid_of_key(&block->key, codec, &block->cid);
    dag->bytes += count;
    return dag->count++;
}

static size_t put_link(uint8_t *out, const struct cid *cid) {
    uint8_t name[CID_BYTES_MAX];
    size_t count = cid_write(cid, name);
    size_t used = 0;
    out[used++] = 2 << 3 | 2;
    used += varint_write((count > 127 ? 3 : 2) + count, out + used);
    out[used++] = 1 << 3 | 2;
    used += varint_write(count, out + used);
    memcpy(out + used, name, count);
    return used + count;
}

static uint32_t add_node(struct dag *dag, const uint32_t children[], uint32_t count, bool odd) {
    static uint8_t node[65536];
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        used += put_link(node + used, &dag->blocks[children[i]].cid);
    }
    if (odd) { /* one of those that carry their block in their name */
        struct cid identity = {.version = 1, .codec = CID_RAW, .hash = 0, .digest_bytes = 5};
        memcpy(identity.digest, "hello", 5);
        used += put_link(node + used, &identity);
    }
    return add(dag, CID_DAG_PB, node, (uint32_t)used);
}

void dag_make(struct dag *dag, uint64_t *random, uint32_t leaves, uint32_t leaf_max,
              uint32_t fanout) {
    static uint32_t level[DAG_BLOCKS_MAX];
    uint32_t in_level = 0;
    *dag = (struct dag){0};
    level[in_level++] = add(dag, CID_RAW, "", 0);
    uint8_t *leaf = malloc(leaf_max);
    for (uint32_t i = 0; i < leaves; i++) {
        if (i > 4 && dag_random(random) % 16 == 0) {
            level[in_level++] = level[dag_random(random) % i]; /* named a second time */
            continue;
        }
        uint32_t count = 8 + (uint32_t)(dag_random(random) % (leaf_max - 7));
        for (uint32_t b = 0; b < count; b++) {
            leaf[b] = (uint8_t)dag_random(random);
        }
        level[in_level++] = add(dag, CID_RAW, leaf, count);
    }
    free(leaf);
    do {
        uint32_t next = 0;
        for (uint32_t at = 0; at < in_level; at += fanout) {
            uint32_t count = in_level - at < fanout ? in_level - at : fanout;
            level[next++] = add_node(dag, &level[at], count, dag_random(random) % 3 == 0);
        }
        in_level = next;
    } while (in_level > 1);
}

void dag_free(struct dag *dag) {
    for (uint32_t i = 0; i < dag->count; i++) {
        free(dag->blocks[i].bytes);
    }
}

uint32_t dag_find(const struct dag *dag, const struct key *key) {
    for (uint32_t i = 0; i < dag->count; i++) {
        if (key_equal(&dag->blocks[i].key, key)) {
            return i;
        }
    }
    return UINT32_MAX;
}
