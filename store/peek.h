/* SPDX-License-Identifier: MIT */
#pragma once

/* peek — one record read from disk and proven, off the tiles: the porter, the helper and tools.
 *
 * A peek is two buffers and a way to fill them; one thread at a time. What it found is valid until
 * the next look. The segment is pinned while it is read, so a look may race with its end: then it
 * says STORE_RETRY, and the block has another place. Nothing is admitted to memory. */

#include "store/format.h"
#include "store/store.h"
#include "store/zip.h"

enum peek_depth {
    PEEK_HEADER,    /* header and key: the payload is not read */
    PEEK_CHECKSUM,  /* and XXH3 of the payload as stored; a compressed one stays so */
    PEEK_MULTIHASH, /* and the payload, decompressed, hashes to the key */
};

struct peek {
    struct store *store;
    uint8_t *buffer;
    size_t buffer_bytes;
    uint64_t
        ahead; /* the asker's: read at least so much at once, for looks in order (PEEK_AHEAD) */
    uint64_t generation, at, filled; /* what is in the buffer */
    /* what was found */
    const struct record_header *record;
    const uint8_t *payload; /* the block; NULL: it is compressed, and that was not opened */
    uint32_t bytes;         /* of the block */
    struct key key;
    struct unzip unzip;
    uint8_t *block; /* what was compressed goes here: STORE_BLOCK_HARD_MAX */
    bool rotten;    /* STORE_CORRUPT, but the header is sound: record and key are known */
};

#define PEEK_AHEAD (1 * MiB)

/* Returns: 0 or -ENOMEM. */
must_check int peek_open(struct peek *peek, struct store *store);
void peek_close(struct peek *peek);

/* peek_look reads the record at a place as the catalog packs it, of any type. A read that fails or
 * does not verify is done once more. Returns: 0; STORE_RETRY; STORE_CORRUPT; -errno. Blocks: on the
 * disk. */
must_check int peek_look(struct peek *peek, uint64_t place, enum peek_depth depth);
