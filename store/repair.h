/* SPDX-License-Identifier: MIT */
#pragma once

/* repair — another sound copy of a block whose record is damaged: a frame in memory, or a record
 * elsewhere that no entry names (moves leave such behind until their source goes). Any record of
 * the key whose bytes hash to it will do, whatever its birth. Thread: porter, tools. Blocks: reads
 * footers of all segments. */

#include "store/peek.h"
#include "store/seal.h"

struct repair {
    struct store *store;
    uint32_t reader; /* its place in store->turns */
    struct peek peek;
    struct footer footer;
    uint8_t *page;
    uint8_t *body; /* a copy of what lay in memory */
    size_t body_bytes;
    union {
        struct record_header header; /* made for the copy: as move_add wants it */
        uint8_t header_bytes[RECORD_HEADER_MAX];
    };
    const uint8_t *payload;
};

must_check int repair_open(struct repair *repair, struct store *store, uint32_t reader);
void repair_close(struct repair *repair);

/* What is known of the block that is damaged at `place`. */
struct repair_want {
    const struct key *key;
    uint64_t hash;
    uint64_t birth_lsn;
    uint64_t place;
    uint32_t codec;
};
/* Returns: 0, header and payload are there until the next search; STORE_ABSENT: no copy; -ENOMEM.
 */
must_check int repair_find(struct repair *repair, const struct repair_want *want);

/* A header for `bytes` of payload, with its multihash; LSN and CRC are the writer's. */
void repair_header(struct record_header *header, const struct repair_want *want, uint32_t bytes,
                   uint64_t payload_xxh3);
/* The key in a footer entry; false: it is longer than the entry holds. */
bool footer_key(const struct footer_entry *entry, struct key *ret_key);
