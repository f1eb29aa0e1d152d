/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/peer_id.h"

#include "base/cid.h"
#include "base/hash.h"
#include "base/multibase.h"
#include "base/must.h"
#include "proto/wire.h"

#include <string.h>

#define KEY_BYTES_MAX  4096u
#define KEY_INLINE_MAX 42u /* longer keys are named by their hash */
#define DIGEST_BYTES   32u
#define MULTIHASH_HEAD 2u

/* Fields of the PublicKey message. */
enum { KEY_TYPE = 1, KEY_DATA = 2 };

static_assert(MULTIHASH_HEAD + KEY_INLINE_MAX == PEER_ID_MAX, "the longest name");
/* base16 of version, codec and multihash, its prefix letter and the NUL */
static_assert(1 + 2 * (2 + PEER_ID_MAX) + 1 <= PEER_ID_TEXT_MAX, "every form of it fits");

bool peer_id_equal(const struct peer_id *a, const struct peer_id *b) {
    return a->count == b->count && memcmp(a->bytes, b->bytes, a->count) == 0;
}

/* The one spelling that names are made of: type, then data, minimal, nothing else. With another
 * spelling one key would have two names. */
static bool key_is_canonical(const uint8_t *key, size_t count) {
    const uint8_t *at = key, *end = key + count;
    struct wire_field type, data;
    return wire_next(&at, end, &type) == 0 && type.number == KEY_TYPE && type.type == WIRE_VARINT &&
           wire_next(&at, end, &data) == 0 && data.number == KEY_DATA && data.type == WIRE_BYTES &&
           data.count > 0 && at == end &&
           count == wire_varint_size(type.value) + wire_bytes_size(data.count);
}

int peer_id_of_key(const uint8_t *key, size_t count, struct peer_id *ret_id) {
    if (count > KEY_BYTES_MAX || !key_is_canonical(key, count)) {
        return PEER_ID_BAD;
    }
    struct peer_id id = {0};
    if (count <= KEY_INLINE_MAX) {
        id.bytes[0] = HASH_IDENTITY;
        id.bytes[1] = (uint8_t)count;
        memcpy(id.bytes + MULTIHASH_HEAD, key, count);
        id.count = (uint8_t)(MULTIHASH_HEAD + count);
    } else {
        id.bytes[0] = HASH_SHA2_256;
        id.bytes[1] = DIGEST_BYTES;
        id.count = MULTIHASH_HEAD + DIGEST_BYTES;
        if (hash_compute(HASH_SHA2_256, key, count, id.bytes + MULTIHASH_HEAD, DIGEST_BYTES) != 0) {
            return PEER_ID_BAD; /* libcrypto has no SHA-256: nobody can be named */
        }
    }
    *ret_id = id;
    return 0;
}

int peer_id_read(const uint8_t *bytes, size_t count, struct peer_id *ret_id) {
    if (count <= MULTIHASH_HEAD || count > PEER_ID_MAX || bytes[1] != count - MULTIHASH_HEAD) {
        return PEER_ID_BAD;
    }
    bool hashed = bytes[0] == HASH_SHA2_256 && bytes[1] == DIGEST_BYTES;
    if (!hashed && bytes[0] != HASH_IDENTITY) {
        return PEER_ID_BAD;
    }
    struct peer_id id = {.count = (uint8_t)count};
    memcpy(id.bytes, bytes, count);
    *ret_id = id;
    return 0;
}

/* A content identifier whose codec says that it names a key. */
static int parse_cid(const char *text, struct peer_id *ret_id) {
    struct cid cid;
    if (text[0] == '/' || cid_parse(text, &cid, NULL, 0) != 0) {
        return PEER_ID_BAD; /* the slash: cid_parse passes over a path's "/ipfs/" */
    }
    if (cid.version != 1 || cid.codec != CID_LIBP2P_KEY || cid.digest_bytes > KEY_INLINE_MAX ||
        cid.hash > HASH_SHA2_256) {
        return PEER_ID_BAD;
    }
    uint8_t bytes[PEER_ID_MAX] = {(uint8_t)cid.hash, (uint8_t)cid.digest_bytes};
    memcpy(bytes + MULTIHASH_HEAD, cid.digest, cid.digest_bytes);
    return peer_id_read(bytes, MULTIHASH_HEAD + cid.digest_bytes, ret_id);
}

int peer_id_parse(const char *text, struct peer_id *ret_id) {
    size_t chars = strnlen(text, PEER_ID_TEXT_MAX), count;
    if (chars == PEER_ID_TEXT_MAX) {
        return PEER_ID_BAD;
    }
    bool bare = text[0] == '1' || strncmp(text, "Qm", 2) == 0;
    if (!bare) {
        return parse_cid(text, ret_id);
    }
    uint8_t bytes[PEER_ID_TEXT_MAX];
    if (multibase_read('z', text, chars, bytes, sizeof bytes, &count) != 0) {
        return PEER_ID_BAD;
    }
    return peer_id_read(bytes, count, ret_id);
}

size_t peer_id_format(const struct peer_id *id, char text[PEER_ID_TEXT_MAX]) {
    must(id->count <= PEER_ID_MAX);
    return multibase_write('z', id->bytes, id->count, text, PEER_ID_TEXT_MAX);
}
