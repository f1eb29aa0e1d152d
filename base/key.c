/* SPDX-License-Identifier: MIT */
#include "base/key.h"

#include "base/must.h"
#include "base/varint.h"

/* The longest digest of a hash we lack that still counts as well formed. */
#define KEY_FOREIGN_MAX 128

size_t key_write(const struct key *key, uint8_t out[KEY_MULTIHASH_MAX]) {
    must(key->digest_bytes <= HASH_DIGEST_MAX);
    size_t used = varint_write(key->code, out);
    used += varint_write(key->digest_bytes, out + used);
    memcpy(out + used, key->digest, key->digest_bytes);
    return used + key->digest_bytes;
}

static int key_varint(const uint8_t *bytes, size_t count, size_t *at, uint64_t *ret_value) {
    size_t used;
    int r = varint_read(bytes + *at, count - *at, ret_value, &used);
    if (r != 0) {
        return r == VARINT_SHORT ? KEY_SHORT : KEY_BAD;
    }
    *at += used;
    return 0;
}

int key_read(const uint8_t *bytes, size_t count, struct key *ret_key, size_t *ret_used) {
    size_t at = 0;
    uint64_t code, digest_bytes;
    int r = key_varint(bytes, count, &at, &code);
    if (r == 0) {
        r = key_varint(bytes, count, &at, &digest_bytes);
    }
    if (r != 0) {
        return r;
    }
    if (code == HASH_IDENTITY || digest_bytes > KEY_FOREIGN_MAX) {
        return KEY_BAD;
    }
    r = hash_check(code, (uint32_t)digest_bytes);
    if (r == HASH_LENGTH) {
        return KEY_BAD;
    }
    if (digest_bytes > count - at) {
        return KEY_SHORT;
    }
    *ret_used = at + digest_bytes;
    if (r == HASH_UNKNOWN) {
        return KEY_UNKNOWN_HASH;
    }
    /* The check bounds both: codes we compute are below 2^16 and their digests fit. */
    must(r == 0);
    ret_key->code = (uint16_t)code;
    ret_key->digest_bytes = (uint8_t)digest_bytes;
    ret_key->zero = 0;
    memcpy(ret_key->digest, bytes + at, digest_bytes);
    return 0;
}
