/* SPDX-License-Identifier: MIT */
#include "engine/store_links.h"

#include "base/cid.h"
#include "proto/ipld/links.h"

static bool has_links(uint64_t codec) {
    return codec == CID_DAG_PB || codec == CID_DAG_CBOR || codec == CID_DAG_JSON;
}

static int read_links(uint64_t codec, const uint8_t *bytes, uint32_t count,
                      void (*each)(void *context, const struct cid *link), void *context) {
    struct links links;
    struct cid cid;
    int r;
    links_init(&links, codec, bytes, count);
    while ((r = links_next(&links, &cid)) == 0) {
        each(context, &cid);
    }
    return r == LINKS_END ? 0 : LINKS_BAD;
}

const struct store_links store_links = {
    .known = links_codec_known, .has = has_links, .read = read_links};
