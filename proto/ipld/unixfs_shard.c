/* SPDX-License-Identifier: MIT */
#include "proto/ipld/unixfs_shard.h"

#include "base/bits.h"
#include "base/must.h"
#include "proto/wire.h"

#include <string.h>

enum { NODE_DATA = 1 };
enum { DATA_TYPE = 1, DATA_DATA = 2, DATA_HASH_TYPE = 5, DATA_FANOUT = 6 };

#define MURMUR3_X64_64 0x22u /* its multihash code */
#define MAP_BYTES      (UNIXFS_SHARD_FANOUT / 8u)

static_assert(UNIXFS_SHARD_FANOUT * (UNIXFS_LINK_MAX + UNIXFS_NAME_MAX + 4u) + 128u <=
                  UNIXFS_SHARD_ROOM,
              "a full node fits");

/* ---- MurmurHash3 ----------------------------------------------------------------------------- */

#define MIX_A UINT64_C(0x87c37b91114253d5)
#define MIX_B UINT64_C(0x4cf5ad432745937f)

static uint64_t turn(uint64_t x, uint32_t bits) {
    return x << bits | x >> (64 - bits);
}

static uint64_t last_mix(uint64_t x) {
    x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

uint64_t unixfs_shard_hash(const char *name, uint32_t name_bytes) {
    uint64_t a = 0, b = 0;
    uint8_t rest[16] = {0};
    uint32_t at = 0;
    for (; name_bytes - at >= 16; at += 16) {
        a ^= turn(get_le64(name + at) * MIX_A, 31) * MIX_B;
        a = (turn(a, 27) + b) * 5 + 0x52dce729;
        b ^= turn(get_le64(name + at + 8) * MIX_B, 33) * MIX_A;
        b = (turn(b, 31) + a) * 5 + 0x38495ab5;
    }
    if (at < name_bytes) { /* zeros behind the end mix to nothing */
        memcpy(rest, name + at, name_bytes - at);
    }
    b ^= turn(get_le64(rest + 8) * MIX_B, 33) * MIX_A;
    a ^= turn(get_le64(rest) * MIX_A, 31) * MIX_B;
    a ^= name_bytes;
    b ^= name_bytes;
    a += b;
    b += a;
    return last_mix(a) + last_mix(b);
}

/* ---- the trie -------------------------------------------------------------------------------- */

static void level_begin(struct unixfs_shard *shard, uint32_t at, uint32_t end) {
    must(shard->depth < UNIXFS_SHARD_LEVELS);
    struct unixfs_shard_level *level = &shard->levels[shard->depth++];
    level->at = at;
    level->end = end;
    level->count = 0;
    level->below = 0;
}

int unixfs_shard_init(struct unixfs_shard *shard, const struct unixfs_entry entries[],
                      uint32_t count) {
    for (uint32_t i = 1; i < count; i++) {
        must(entries[i - 1].hash <= entries[i].hash);
        if (entries[i - 1].hash == entries[i].hash) {
            return UNIXFS_SHARD_CLASH;
        }
    }
    shard->entries = entries;
    shard->entries_count = count;
    shard->depth = 0;
    shard->waiting = false;
    level_begin(shard, 0, count);
    return 0;
}

static uint8_t place_of(const struct unixfs_entry *entry, uint32_t depth) {
    return (uint8_t)(entry->hash >> (56 - 8 * depth));
}

/* Fills places until the level is whole or one of them needs a level of its own, which then has
 * begun. Returns: whether it is whole. */
static bool level_fill(struct unixfs_shard *shard) {
    uint32_t depth = shard->depth - 1;
    struct unixfs_shard_level *level = &shard->levels[depth];
    while (level->at < level->end) {
        uint32_t first = level->at, index = level->count++;
        uint8_t place = place_of(&shard->entries[first], depth);
        do {
            level->at++;
        } while (level->at < level->end && place_of(&shard->entries[level->at], depth) == place);
        level->places[index] = place;
        if (level->at - first > 1) {
            level->entry[index] = shard->entries_count;
            level_begin(shard, first, level->at);
            return false;
        }
        level->entry[index] = first;
        level->below += shard->entries[first].link.total_bytes;
    }
    return true;
}

static size_t level_write(const struct unixfs_shard *shard, const struct unixfs_shard_level *level,
                          uint8_t *out) {
    static const char digits[] = "0123456789ABCDEF";
    uint8_t map[MAP_BYTES] = {0};
    size_t used = 0;
    uint32_t zeros = 0;
    for (uint32_t i = 0; i < level->count; i++) {
        uint8_t place = level->places[i];
        char prefix[3] = {digits[place >> 4], digits[place & 15], '\0'};
        map[MAP_BYTES - 1 - place / 8] |= (uint8_t)BIT(place % 8);
        if (level->entry[i] == shard->entries_count) {
            used += unixfs_link_write(&level->nodes[i], prefix, "", 0, out + used);
        } else {
            const struct unixfs_entry *entry = &shard->entries[level->entry[i]];
            used +=
                unixfs_link_write(&entry->link, prefix, entry->name, entry->name_bytes, out + used);
        }
    }
    while (zeros < MAP_BYTES && map[zeros] == 0) { /* the map is a number: none in front */
        zeros++;
    }
    size_t inside = wire_varint_size(UNIXFS_SHARD) + wire_bytes_size(MAP_BYTES - zeros) +
                    wire_varint_size(MURMUR3_X64_64) + wire_varint_size(UNIXFS_SHARD_FANOUT);
    used += wire_put_head(out + used, NODE_DATA, inside);
    used += wire_put_varint(out + used, DATA_TYPE, UNIXFS_SHARD);
    used += wire_put_bytes(out + used, DATA_DATA, map + zeros, MAP_BYTES - zeros);
    used += wire_put_varint(out + used, DATA_HASH_TYPE, MURMUR3_X64_64);
    return used + wire_put_varint(out + used, DATA_FANOUT, UNIXFS_SHARD_FANOUT);
}

size_t unixfs_shard_node(struct unixfs_shard *shard, uint8_t out[UNIXFS_SHARD_ROOM]) {
    must(!shard->waiting);
    if (shard->depth == 0) {
        return 0;
    }
    while (!level_fill(shard)) {
        /* The level above waits for the one that has begun. */
    }
    shard->made = level_write(shard, &shard->levels[shard->depth - 1], out);
    must(shard->made <= UNIXFS_SHARD_ROOM);
    shard->waiting = true;
    return shard->made;
}

void unixfs_shard_named(struct unixfs_shard *shard, const struct cid *cid) {
    struct unixfs_link link;
    must(shard->waiting);
    shard->waiting = false;
    unixfs_link_init(&link, cid, shard->made + shard->levels[shard->depth - 1].below);
    if (--shard->depth == 0) {
        shard->root = link;
        return;
    }
    struct unixfs_shard_level *level = &shard->levels[shard->depth - 1];
    level->nodes[level->count - 1] = link;
    level->below += link.total_bytes;
}
