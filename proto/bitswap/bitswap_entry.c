/* SPDX-License-Identifier: MIT */
#include "proto/bitswap/bitswap_entry.h"

#include "base/hash.h"
#include "base/varint.h"
#include "proto/wire.h"

#include <string.h>

enum { SHA2_256_BYTES = 32 };

static void sha2_256_set(struct key *key, const uint8_t *digest) {
    key->code = HASH_SHA2_256;
    key->digest_bytes = SHA2_256_BYTES;
    key->zero = 0;
    memcpy(key->digest, digest, SHA2_256_BYTES);
}

/* Any CID, all of `bytes`. Returns: 0 or BITSWAP_ENTRY_SKIP. */
static int name_read_any(const uint8_t *bytes, size_t count, struct key *ret_key,
                         struct bitswap_form *ret_form) {
    struct cid cid;
    struct key key;
    size_t used;
    if (count > BITSWAP_CID_MAX || cid_read(bytes, count, &cid, &used) != 0 || used != count ||
        cid.codec > UINT32_MAX || cid_key(&cid, &key) != 0) {
        return BITSWAP_ENTRY_SKIP;
    }
    *ret_key = key;
    *ret_form = (struct bitswap_form){(uint32_t)cid.codec, (uint8_t)cid.version};
    return 0;
}

/* Nearly every CID asked for is a SHA-256, of version 0 or with a codec of one byte: those are
 * looked at without the general reader. */
static int name_read(const uint8_t *bytes, size_t count, struct key *ret_key,
                     struct bitswap_form *ret_form) {
    if (count == 4 + SHA2_256_BYTES && bytes[0] == 1 && bytes[1] < 0x80 &&
        bytes[2] == HASH_SHA2_256 && bytes[3] == SHA2_256_BYTES) {
        sha2_256_set(ret_key, bytes + 4);
        *ret_form = (struct bitswap_form){bytes[1], 1};
        return 0;
    }
    if (count == 2 + SHA2_256_BYTES && bytes[0] == HASH_SHA2_256 && bytes[1] == SHA2_256_BYTES) {
        sha2_256_set(ret_key, bytes + 2);
        *ret_form = (struct bitswap_form){CID_DAG_PB, 0};
        return 0;
    }
    return name_read_any(bytes, count, ret_key, ret_form);
}

int bitswap_want_read(const uint8_t *bytes, size_t count, struct bitswap_want *ret_want) {
    const uint8_t *at = bytes, *end = bytes + count, *name = NULL;
    size_t name_bytes = 0;
    uint64_t priority = 0, type = 0;
    bool cancel = false, send_dont_have = false;
    struct wire_field field;
    int r;
    while ((r = wire_next(&at, end, &field)) == 0) {
        if (field.type == WIRE_BYTES && field.number == 1) {
            name = field.bytes;
            name_bytes = field.count;
        } else if (field.type == WIRE_VARINT) {
            switch (field.number) {
            case 2:
                priority = field.value;
                break;
            case 3:
                cancel = field.value != 0;
                break;
            case 4:
                type = field.value;
                break;
            case 5:
                send_dont_have = field.value != 0;
                break;
            default:
                break;
            }
        }
    }
    if (r == WIRE_BAD) {
        return BITSWAP_ENTRY_BAD;
    }
    if (name_bytes == 0 || name_read(name, name_bytes, &ret_want->key, &ret_want->form) != 0) {
        return BITSWAP_ENTRY_SKIP;
    }
    ret_want->priority = (int32_t)(uint32_t)priority; /* int32 on the wire: the low half counts */
    ret_want->cancel = cancel;
    ret_want->have = (uint32_t)type == 1;
    ret_want->send_dont_have = send_dont_have;
    return 0;
}

int bitswap_presence_read(const uint8_t *bytes, size_t count,
                          struct bitswap_presence *ret_presence) {
    const uint8_t *at = bytes, *end = bytes + count, *name = NULL;
    size_t name_bytes = 0;
    uint32_t type = 0;
    struct wire_field field;
    int r;
    while ((r = wire_next(&at, end, &field)) == 0) {
        if (field.type == WIRE_BYTES && field.number == 1) {
            name = field.bytes;
            name_bytes = field.count;
        } else if (field.type == WIRE_VARINT && field.number == 2) {
            type = (uint32_t)field.value;
        }
    }
    if (r == WIRE_BAD) {
        return BITSWAP_ENTRY_BAD;
    }
    /* A type from the future says neither that the block is there nor that it is not. */
    if (type > 1 || name_bytes == 0 ||
        name_read(name, name_bytes, &ret_presence->key, &ret_presence->form) != 0) {
        return BITSWAP_ENTRY_SKIP;
    }
    ret_presence->have = type == 0;
    return 0;
}

/* Go writes "the hash's own length" as the two's complement of one below zero. */
static bool length_is_own(const uint8_t *bytes, size_t count) {
    static const uint8_t below_zero[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    return count >= sizeof below_zero && memcmp(bytes, below_zero, sizeof below_zero) == 0;
}

void bitswap_prefix_read(const uint8_t *bytes, size_t count, struct bitswap_prefix *ret_prefix) {
    uint64_t field[4] = {0}; /* version, codec, hash, digest length */
    size_t at = 0;
    bool own = false;
    *ret_prefix = (struct bitswap_prefix){.known = false};
    for (size_t i = 0; i < array_count(field); i++) {
        size_t used;
        if (i == 3 && length_is_own(bytes + at, count - at)) {
            own = true;
        } else if (varint_read(bytes + at, count - at, &field[i], &used) != 0) {
            return;
        } else {
            at += used;
        }
    }
    uint64_t digest_bytes = own ? hash_full_bytes(field[2]) : field[3];
    bool whole_sha = field[2] == HASH_SHA2_256 && digest_bytes == SHA2_256_BYTES;
    if (field[0] > 1 || field[1] > UINT32_MAX ||
        (field[0] == 0 && (!whole_sha || field[1] != CID_DAG_PB)) ||
        digest_bytes > HASH_DIGEST_MAX || hash_check(field[2], (uint32_t)digest_bytes) != 0) {
        return;
    }
    ret_prefix->form = (struct bitswap_form){(uint32_t)field[1], (uint8_t)field[0]};
    ret_prefix->hash = field[2];
    ret_prefix->digest_bytes = own ? UINT32_MAX : (uint32_t)digest_bytes;
    ret_prefix->known = true;
}
