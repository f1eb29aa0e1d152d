/* SPDX-License-Identifier: MIT */
#pragma once

/* cid — content identifiers, version 0 and 1, binary and text.
 *
 * Text bases: base58btc without prefix (v0), and for v1 b (base32), k (base36), z (base58btc),
 * f (base16); upper-case prefixes B, K, F too. Varints are minimal and at most 9 bytes.
 * Source: multiformats/cid, multiformats/multibase, multiformats/unsigned-varint. */

#include "base/base.h"

#define CID_DIGEST_MAX 128 /* identity CIDs carry up to this much block */
#define CID_BYTES_MAX  (9 + 9 + 9 + 9 + CID_DIGEST_MAX)
#define CID_TEXT_MAX   320 /* longest text form with its NUL */

enum cid_codec {
    CID_RAW = 0x55,
    CID_DAG_PB = 0x70,
    CID_DAG_CBOR = 0x71,
    CID_LIBP2P_KEY = 0x72,
    CID_DAG_JSON = 0x0129,
    CID_JSON = 0x0200,
    CID_CBOR = 0x51,
};

struct cid {
    uint32_t version;      /* 0 or 1 */
    uint32_t digest_bytes; /* 0 .. CID_DIGEST_MAX */
    uint64_t codec;        /* v0: CID_DAG_PB */
    uint64_t hash;         /* multihash code */
    uint8_t digest[CID_DIGEST_MAX];
};

struct key;

enum { CID_BAD = 1, CID_SHORT = 2, CID_UNKNOWN_HASH = 3, CID_IDENTITY = 4 };

/* cid_read takes one binary CID from the front of `bytes`. Returns: 0 and *ret_used; CID_SHORT when
 * the bytes end inside it; CID_BAD. */
must_check int cid_read(const uint8_t *bytes, size_t count, struct cid *ret_cid, size_t *ret_used);
size_t cid_write(const struct cid *cid, uint8_t out[CID_BYTES_MAX]);

/* cid_parse takes the whole text ("/ipfs/" or "ipfs://" in front is allowed). Returns: 0 or CID_BAD
 * with a sentence for people in `why` (may be NULL). */
must_check int cid_parse(const char *text, struct cid *ret_cid, char *why, size_t why_bytes);
/* cid_format writes v0 as base58btc, v1 as base32. Always terminated. */
size_t cid_format(const struct cid *cid, char text[CID_TEXT_MAX]);
/* As cid_format in multibase `base` ('b', 'k', 'z' or 'f'); v0 only has base58btc. */
size_t cid_format_base(const struct cid *cid, char base, char text[CID_TEXT_MAX]);

/* cid_key gives the key a CID's block is stored under. Returns: 0; CID_UNKNOWN_HASH: a hash
 * function we do not have; CID_IDENTITY: the digest is the block, nothing is stored; CID_BAD:
 * digest too long or short. */
must_check int cid_key(const struct cid *cid, struct key *ret_key);
/* A CIDv1 for a stored block. */
void cid_of_key(const struct key *key, uint64_t codec, struct cid *ret_cid);

const char *cid_codec_name(uint64_t codec); /* NULL for one without a name */
must_check int cid_codec_of(const char *name, uint64_t *ret_codec);
