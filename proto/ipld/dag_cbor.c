/* SPDX-License-Identifier: MIT */
#include "proto/ipld/dag_cbor.h"

#include "base/bits.h"

enum major {
    CBOR_UNSIGNED,
    CBOR_NEGATIVE,
    CBOR_BYTES,
    CBOR_TEXT,
    CBOR_ARRAY,
    CBOR_MAP,
    CBOR_TAG,
    CBOR_SIMPLE
};

enum { TAG_LINK = 42 };
enum { SIMPLE_FALSE = 20, SIMPLE_NULL = 22, SIMPLE_BYTE = 24 };

struct item {
    enum major major;
    uint8_t info;   /* the low bits of its first byte */
    uint64_t value; /* number, length, count or tag; bits of a float */
};

static size_t bytes_left(const struct links *links) {
    return (size_t)(links->end - links->at);
}

/* The head of an item: first byte and what it announces. Returns: false where it is none. */
static bool head_take(struct links *links, struct item *item) {
    if (links->at == links->end) {
        return false;
    }
    const uint8_t *at = links->at;
    uint8_t first = *at++;
    item->major = (enum major)(first >> 5);
    item->info = first & 0x1f;
    item->value = item->info;
    if (item->info >= SIMPLE_BYTE) {
        if (item->info > 27) {
            return false; /* reserved, or of indefinite length */
        }
        size_t wide = (size_t)1 << (item->info - SIMPLE_BYTE);
        if (bytes_left(links) - 1 < wide) {
            return false;
        }
        item->value = wide == 1   ? *at
                      : wide == 2 ? get_be16(at)
                      : wide == 4 ? get_be32(at)
                                  : get_be64(at);
        at += wide;
    }
    links->at = at;
    return true;
}

static bool simple_is_known(const struct item *item) {
    return item->info > SIMPLE_BYTE || (item->info >= SIMPLE_FALSE && item->info <= SIMPLE_NULL);
}

/* What stands behind tag 42. */
static int link_take(struct links *links, struct cid *ret_cid) {
    struct item item;
    size_t used;
    if (!head_take(links, &item) || item.major != CBOR_BYTES || item.value > bytes_left(links) ||
        item.value < 1 || links->at[0] != 0) {
        return LINKS_BAD;
    }
    size_t cid_bytes = (size_t)item.value - 1;
    if (cid_read(links->at + 1, cid_bytes, ret_cid, &used) != 0 || used != cid_bytes) {
        return LINKS_BAD;
    }
    links->at += item.value;
    return 0;
}

/* More items are expected; each has a byte at least, so that the block's size bounds them. */
static bool expect(struct links *links, uint64_t count, uint64_t each) {
    if (count > bytes_left(links) / each) {
        return false;
    }
    links->left += count * each;
    return links->left <= bytes_left(links);
}

/* One item. Returns: 0 with a link; LINKS_END where it was something else; LINKS_BAD. */
static int item_take(struct links *links, struct cid *ret_cid) {
    struct item item;
    if (!head_take(links, &item)) {
        return LINKS_BAD;
    }
    bool sound = true;
    switch (item.major) {
    case CBOR_UNSIGNED:
    case CBOR_NEGATIVE:
        break;
    case CBOR_BYTES:
    case CBOR_TEXT:
        sound = item.value <= bytes_left(links);
        links->at += sound ? item.value : 0;
        break;
    case CBOR_ARRAY:
        sound = expect(links, item.value, 1);
        break;
    case CBOR_MAP:
        sound = expect(links, item.value, 2);
        break;
    case CBOR_TAG:
        return item.value == TAG_LINK ? link_take(links, ret_cid) : LINKS_BAD;
    case CBOR_SIMPLE:
        sound = simple_is_known(&item);
        break;
    }
    return sound ? LINKS_END : LINKS_BAD;
}

int dag_cbor_next(struct links *links, struct cid *ret_cid) {
    while (links->left > 0) {
        links->left--;
        int r = item_take(links, ret_cid);
        if (r != LINKS_END) {
            return r;
        }
    }
    return links->at == links->end ? LINKS_END : LINKS_BAD;
}
