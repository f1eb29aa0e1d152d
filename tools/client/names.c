/* SPDX-License-Identifier: MIT */
#include "base/cid.h"
#include "base/hash.h"
#include "base/key.h"
#include "base/must.h"
#include "tools/client/client.h"

#include <string.h>

static_assert(MR_CID_MAX == CID_BYTES_MAX, "the public header promises room for the longest CID");
static_assert(MR_CID_TEXT == CID_TEXT_MAX, "the public header promises room for the longest text");

/* Written CIDs are canonical, so the text and the binary form of one CID give equal bytes. */
static int cid_store(const struct cid *cid, struct mr_cid *ret_cid) {
    ret_cid->size = (uint32_t)cid_write(cid, ret_cid->bytes);
    return 0;
}

static int cid_load(const struct mr_cid *from, struct cid *ret_cid) {
    size_t used = 0;
    if (from->size > MR_CID_MAX || cid_read(from->bytes, from->size, ret_cid, &used) != 0 ||
        used != from->size) {
        return MR_BAD_CID;
    }
    return 0;
}

int mr_cid_parse(const char *text, struct mr_cid *ret_cid) {
    struct cid cid;
    if (cid_parse(text, &cid, NULL, 0) != 0) {
        return MR_BAD_CID;
    }
    return cid_store(&cid, ret_cid);
}

int mr_cid_read(const void *bytes, size_t size, struct mr_cid *ret_cid) {
    struct cid cid;
    size_t used = 0;
    if (cid_read(bytes, size, &cid, &used) != 0 || used != size) {
        return MR_BAD_CID;
    }
    return cid_store(&cid, ret_cid);
}

int mr_cid_of_multihash(const void *multihash, size_t size, uint64_t codec,
                        struct mr_cid *ret_cid) {
    struct key key;
    struct cid cid;
    size_t used = 0;
    if (codec >> 63 || key_read(multihash, size, &key, &used) != 0 || used != size) {
        return MR_BAD_CID;
    }
    cid_of_key(&key, codec, &cid);
    return cid_store(&cid, ret_cid);
}

int mr_cid_of_data(const void *data, size_t size, uint64_t codec, uint64_t hash,
                   struct mr_cid *ret_cid) {
    hash = hash ? hash : HASH_SHA2_256;
    struct cid cid = {.version = 1,
                      .codec = codec ? codec : CID_RAW,
                      .hash = hash,
                      .digest_bytes = hash_full_bytes(hash)};
    if (codec >> 63 || cid.digest_bytes == 0 ||
        hash_compute(hash, data, size, cid.digest, cid.digest_bytes) != 0) {
        return MR_BAD_CID;
    }
    return cid_store(&cid, ret_cid);
}

size_t mr_cid_format(const struct mr_cid *from, char text[MR_CID_TEXT]) {
    struct cid cid;
    if (cid_load(from, &cid) != 0) {
        text[0] = '\0';
        return 0;
    }
    return cid_format(&cid, text);
}

uint64_t mr_cid_codec(const struct mr_cid *from) {
    struct cid cid;
    return cid_load(from, &cid) == 0 ? cid.codec : 0;
}

int mr_cid_check(const struct mr_cid *from, const void *data, size_t size) {
    struct cid cid;
    uint8_t digest[CID_DIGEST_MAX];
    if (cid_load(from, &cid) != 0) {
        return MR_BAD_CID;
    }
    if (cid.hash == HASH_IDENTITY) {
        return size == cid.digest_bytes && memcmp(cid.digest, data, size) == 0 ? 0 : MR_CORRUPT;
    }
    if (hash_compute(cid.hash, data, size, digest, cid.digest_bytes) != 0) {
        return MR_BAD_CID;
    }
    return memcmp(digest, cid.digest, cid.digest_bytes) == 0 ? 0 : MR_CORRUPT;
}
