/* SPDX-License-Identifier: MIT */
#pragma once

/* unixfs_make — blocks become links and names in tests of UnixFS. */

#include "base/cid.h"
#include "base/hash.h"
#include "base/must.h"
#include "proto/ipld/unixfs.h"

#include <string.h>

static inline struct cid cid_of(uint32_t version, uint64_t codec, const void *block, size_t bytes) {
    struct cid cid = {
        .version = version, .codec = codec, .hash = HASH_SHA2_256, .digest_bytes = 32};
    must(hash_compute(HASH_SHA2_256, block, bytes, cid.digest, 32) == 0);
    return cid;
}

static inline struct unixfs_link raw_leaf(const void *data, uint32_t bytes) {
    struct unixfs_link link;
    struct cid cid = cid_of(1, CID_RAW, data, bytes);
    unixfs_link_init(&link, &cid, bytes);
    link.file_bytes = bytes;
    return link;
}

static inline const char *link_text(const struct unixfs_link *link) {
    static char text[CID_TEXT_MAX];
    struct cid cid;
    size_t used;
    must(cid_read(link->cid, link->cid_bytes, &cid, &used) == 0);
    cid_format(&cid, text);
    return text;
}
