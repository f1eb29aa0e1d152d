/* SPDX-License-Identifier: MIT */
#include "proto/ipld/car_header.h"

#include "base/bits.h"
#include "base/must.h"
#include "base/varint.h"

#include <string.h>

enum { CBOR_UINT = 0, CBOR_BYTES = 2, CBOR_TEXT = 3, CBOR_ARRAY = 4, CBOR_MAP = 5, CBOR_TAG = 6 };
enum { TAG_CID = 42 };

struct cursor {
    const uint8_t *at;
    const uint8_t *end;
};

/* One head of an item: its major type and number. Lengths must be definite and in their shortest
 * form, as dag-cbor has them. */
static bool cbor_head(struct cursor *cursor, uint32_t *ret_major, uint64_t *ret_value) {
    size_t left = (size_t)(cursor->end - cursor->at);
    if (left == 0) {
        return false;
    }
    uint32_t info = cursor->at[0] & 31u;
    size_t extra = info < 24 ? 0 : info <= 27 ? (size_t)1 << (info - 24) : SIZE_MAX;
    if (extra == SIZE_MAX || left - 1 < extra) {
        return false;
    }
    uint64_t value = extra == 0 ? info : 0;
    for (size_t i = 0; i < extra; i++) {
        value = value << 8 | cursor->at[1 + i];
    }
    static const uint64_t least[9] = {[1] = 24, [2] = 1u << 8, [4] = 1u << 16, [8] = 1ull << 32};
    if (value < least[extra]) {
        return false;
    }
    *ret_major = cursor->at[0] >> 5;
    *ret_value = value;
    cursor->at += 1 + extra;
    return true;
}

static bool cbor_is(struct cursor *cursor, uint32_t major, uint64_t *ret_value) {
    uint32_t found;
    return cbor_head(cursor, &found, ret_value) && found == major;
}

static bool cbor_take(struct cursor *cursor, uint64_t count, const uint8_t **ret_bytes) {
    if (count > (uint64_t)(cursor->end - cursor->at)) {
        return false;
    }
    *ret_bytes = cursor->at;
    cursor->at += count;
    return true;
}

/* tag 42, a byte string, a zero byte, the CID. */
static bool root_read(struct cursor *cursor, struct cid *ret_root) {
    uint64_t tag, count;
    const uint8_t *bytes;
    size_t used = 0;
    return cbor_is(cursor, CBOR_TAG, &tag) && tag == TAG_CID &&
           cbor_is(cursor, CBOR_BYTES, &count) && cbor_take(cursor, count, &bytes) && count > 1 &&
           bytes[0] == 0 && cid_read(bytes + 1, count - 1, ret_root, &used) == 0 &&
           used == count - 1;
}

bool car_root_next(struct car_roots *roots, struct cid *ret_root) {
    if (roots->count == 0) {
        return false;
    }
    struct cursor cursor = {roots->bytes, roots->bytes + roots->bytes_left};
    bool good = root_read(&cursor, ret_root);
    must(good);
    roots->bytes_left = (uint32_t)(cursor.end - cursor.at);
    roots->bytes = cursor.at;
    roots->count--;
    return true;
}

static const char *roots_read(struct cursor *cursor, struct car_header *header) {
    uint64_t count;
    struct cid root;
    if (header->roots_present) {
        return "the key 'roots' stands twice";
    }
    if (!cbor_is(cursor, CBOR_ARRAY, &count) || count > (uint64_t)(cursor->end - cursor->at)) {
        return "'roots' is not a list";
    }
    header->roots_present = true;
    header->roots.bytes = cursor->at;
    header->roots.count = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++) {
        if (!root_read(cursor, &root)) {
            return "a root is not a CID";
        }
    }
    header->roots.bytes_left = (uint32_t)(cursor->at - header->roots.bytes);
    return NULL;
}

const char *car_header_read(const uint8_t *bytes, uint32_t count, struct car_header *ret_header) {
    struct cursor cursor = {bytes, bytes + count};
    struct car_header header = {.version = UINT64_MAX};
    uint64_t pairs;
    if (!cbor_is(&cursor, CBOR_MAP, &pairs) || pairs > 2) {
        return "not a dag-cbor map of 'roots' and 'version'";
    }
    for (uint64_t i = 0; i < pairs; i++) {
        uint64_t key_bytes;
        const uint8_t *key;
        if (!cbor_is(&cursor, CBOR_TEXT, &key_bytes) || !cbor_take(&cursor, key_bytes, &key)) {
            return "a key is not text";
        }
        if (key_bytes == 5 && memcmp(key, "roots", 5) == 0) {
            const char *why = roots_read(&cursor, &header);
            if (why) {
                return why;
            }
        } else if (key_bytes == 7 && memcmp(key, "version", 7) == 0) {
            if (header.version != UINT64_MAX) {
                return "the key 'version' stands twice";
            }
            if (!cbor_is(&cursor, CBOR_UINT, &header.version)) {
                return "'version' is not a number";
            }
        } else {
            return "a key other than 'roots' and 'version'";
        }
    }
    if (header.version == UINT64_MAX) {
        return "no 'version'";
    }
    if (cursor.at != cursor.end) {
        return "bytes behind the map";
    }
    *ret_header = header;
    return NULL;
}

/* ---- writing ---- */

static size_t cbor_head_write(uint8_t *out, uint32_t major, uint32_t value) {
    uint8_t top = (uint8_t)(major << 5);
    if (value < 24) {
        out[0] = (uint8_t)(top | value);
        return 1;
    }
    if (value <= UINT8_MAX) {
        out[0] = top | 24;
        out[1] = (uint8_t)value;
        return 2;
    }
    if (value <= UINT16_MAX) {
        out[0] = top | 25;
        put_be16(out + 1, (uint16_t)value);
        return 3;
    }
    out[0] = top | 26;
    put_be32(out + 1, value);
    return 5;
}

#define ROOT_MAX (2u + 3 + 1 + CID_BYTES_MAX)

static size_t root_write(const struct cid *root, uint8_t out[ROOT_MAX]) {
    uint8_t bytes[1 + CID_BYTES_MAX] = {0};
    size_t count = 1 + cid_write(root, bytes + 1);
    size_t head = cbor_head_write(out, CBOR_TAG, TAG_CID);
    head += cbor_head_write(out + head, CBOR_BYTES, (uint32_t)count);
    memcpy(out + head, bytes, count);
    return head + count;
}

size_t car_header_write(const struct cid roots[], uint32_t count, uint8_t *out, size_t out_bytes) {
    static const uint8_t roots_key[] = {0xa2, 0x65, 'r', 'o', 'o', 't', 's'};
    static const uint8_t version_pair[] = {0x67, 'v', 'e', 'r', 's', 'i', 'o', 'n', 0x01};
    uint8_t head[5], root[ROOT_MAX];
    size_t head_bytes = cbor_head_write(head, CBOR_ARRAY, count);
    size_t bytes = sizeof roots_key + head_bytes + sizeof version_pair;
    for (uint32_t i = 0; i < count; i++) {
        bytes += root_write(&roots[i], root);
    }
    if (bytes > CAR_HEADER_MAX || varint_bytes(bytes) + bytes > out_bytes) {
        return 0;
    }
    uint8_t *p = out + varint_write(bytes, out);
    memcpy(p, roots_key, sizeof roots_key);
    p += sizeof roots_key;
    memcpy(p, head, head_bytes);
    p += head_bytes;
    for (uint32_t i = 0; i < count; i++) {
        size_t root_bytes = root_write(&roots[i], root);
        memcpy(p, root, root_bytes);
        p += root_bytes;
    }
    memcpy(p, version_pair, sizeof version_pair);
    return (size_t)(p - out) + sizeof version_pair;
}

size_t car_section_head(const struct cid *cid, uint32_t data_bytes,
                        uint8_t out[CAR_SECTION_HEAD_MAX]) {
    uint8_t bytes[CID_BYTES_MAX];
    size_t count = cid_write(cid, bytes);
    size_t head = varint_write(count + data_bytes, out);
    memcpy(out + head, bytes, count);
    return head + count;
}
