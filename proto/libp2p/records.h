/* SPDX-License-Identifier: MIT */
#pragma once

/* records — the reading half of an encrypted channel: bytes as they come, plaintext of one record
 * after another. Noise and TLS differ in the head alone.
 *
 *   Noise: length:16                         then ciphertext, tag
 *   TLS:   23, 3, 3, length:16 (associated)  then ciphertext, tag
 *
 * A record that lies whole in the input opens in the shared scratch. One that comes in parts opens
 * as it comes, into memory taken for it (4 KiB, then 16 KiB, then all there can be), so no byte is
 * copied and the work is spread; nothing is handed out before its tag was right. Memory goes back
 * with the call after the one that handed its plaintext out.
 * Thread: the channel's owner. Cost: no allocation but secure_memory's. */

#include "proto/libp2p/crypto.h"
#include "proto/libp2p/secure.h"

#define RECORDS_HEAD_MAX 5u

struct records {
    struct crypto_aead open;
    bool tls;
    uint8_t head_count; /* bytes of the head that came before the rest of it */
    uint8_t head[RECORDS_HEAD_MAX];
    bool begun;     /* the head is whole, the record is not */
    uint32_t plain; /* bytes of plaintext of this record; the tag follows */
    uint32_t taken; /* bytes of plaintext and tag that came */
    uint8_t *part;  /* plaintext not proved yet, or handed out just now */
    uint32_t part_bytes;
    uint8_t tag[CRYPTO_TAG_BYTES];
};

/* Zeroed before. `open` is keyed by whoever finishes the handshake. */
must_check bool records_init(struct records *records, bool tls);
void records_fini(struct records *records, const struct secure_memory *memory);
/* Takes up to one record. Returns: 0 with its plaintext (of any length, none too); MORE, all bytes
 * taken; BAD; MEMORY, no byte taken. */
must_check int records_read(struct records *records, const struct secure_memory *memory,
                            const uint8_t *in, size_t count, size_t *ret_used,
                            const uint8_t **ret_plain, size_t *ret_plain_bytes);
static inline bool records_in_record(const struct records *records) {
    return records->begun || records->head_count > 0;
}
