/* SPDX-License-Identifier: MIT */
#pragma once

/* zip — payloads that are stored compressed (RECORD_ZSTD): one zstd frame that says its size, no
 * dictionary, nothing before or behind it.
 *
 * XXH3 of the stored bytes comes first, so zstd sees what some program of ours wrote, or somebody
 * who can write our files; even then unzip gives what the record says it holds, or nothing. Memory
 * is taken when a context is opened, none while it works. A context is one thread's at a time. */

#include "store/format.h"
#include "store/store.h"

#define ZIP_BYTES_MIN 512u /* of a block: below that units of 64 bytes eat what is saved */

struct unzip {
    void *context;
};
/* Returns: 0 or -ENOMEM. Thread: boot, or any off the tiles. */
must_check int unzip_open(struct unzip *unzip);
void unzip_close(struct unzip *unzip);
size_t unzip_footprint(const struct unzip *unzip);

static inline bool record_zipped(const struct record_header *header) {
    return (header->flags & RECORD_ZSTD) != 0;
}
/* Bytes of the block in a record that zip_header_sound has passed. */
static inline uint32_t record_block_bytes(const struct record_header *header) {
    return record_zipped(header) ? header->logical_bytes : header->stored_bytes;
}
/* Whether a checked header, if it says compressed, says what can be: a block, no dictionary, larger
 * than what is stored, no larger than a block may be. */
bool zip_header_sound(const struct record_header *header);

/* unzip_record puts the block of a compressed record with a sound header into `to`, which has room
 * for logical_bytes. Returns: 0; STORE_CORRUPT: it is not that many bytes, or no such frame; what
 * is in `to` is nobody's then. Cost: about 1 ms a MB. */
must_check int unzip_record(struct unzip *unzip, const struct record_header *header,
                            const uint8_t *stored, uint8_t *to);

/* What compresses: with memory of its own to hold each result against the block. */
struct zip {
    void *context;
    struct unzip unzip;
    uint8_t *proof; /* STORE_BLOCK_HARD_MAX */
};
/* Returns: 0 or -ENOMEM. */
must_check int zip_open(struct zip *zip);
void zip_close(struct zip *zip);
/* zip_block compresses into `to`, with room for `bytes`, if that saves an eighth and gives the same
 * bytes back. Returns: how many bytes; 0: store it as it is. Cost: about 3 ms a MB. */
uint32_t zip_block(struct zip *zip, const uint8_t *block, uint32_t bytes, uint8_t *to);
