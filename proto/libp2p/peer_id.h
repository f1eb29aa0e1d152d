/* SPDX-License-Identifier: MIT */
#pragma once

/* peer_id — the name of a libp2p peer: a multihash of its public key.
 *
 * A serialized PublicKey of at most 42 bytes is carried whole (identity multihash), a longer one as
 * its sha2-256. Text: base58btc of the multihash (12D3Koo..., Qm...), or a CIDv1 of codec
 * libp2p-key (bafz..., and in other bases); both are read, base58btc is written.
 * Thread: any. Source: libp2p specs, peer-ids/peer-ids.md. */

#include "base/base.h"

#define PEER_ID_MAX      44u /* 2 + 42 */
#define PEER_ID_TEXT_MAX 96u /* longest text form with its NUL */

struct peer_id {
    uint8_t count; /* 0: nobody */
    uint8_t bytes[PEER_ID_MAX];
};

enum { PEER_ID_BAD = 1 };

bool peer_id_equal(const struct peer_id *a, const struct peer_id *b);
/* From a serialized PublicKey protobuf of any length up to 4 KiB. Returns: 0 or PEER_ID_BAD. */
must_check int peer_id_of_key(const uint8_t *key, size_t count, struct peer_id *ret_id);
/* From the multihash's bytes, all of them. Returns: 0 or PEER_ID_BAD. */
must_check int peer_id_read(const uint8_t *bytes, size_t count, struct peer_id *ret_id);
/* From the whole text. Returns: 0 or PEER_ID_BAD. */
must_check int peer_id_parse(const char *text, struct peer_id *ret_id);
/* Returns: characters before the NUL. */
size_t peer_id_format(const struct peer_id *id, char text[PEER_ID_TEXT_MAX]);
