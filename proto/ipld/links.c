/* SPDX-License-Identifier: MIT */
#include "proto/ipld/links.h"

#include "proto/ipld/dag_cbor.h"
#include "proto/ipld/dag_json.h"
#include "proto/ipld/dag_pb.h"

bool links_codec_known(uint64_t codec) {
    switch (codec) {
    case CID_RAW:
    case CID_DAG_PB:
    case CID_DAG_CBOR:
    case CID_DAG_JSON:
    case CID_LIBP2P_KEY:
    case CID_JSON:
    case CID_CBOR:
        return true;
    default:
        return false;
    }
}

void links_init(struct links *links, uint64_t codec, const uint8_t *block, size_t bytes) {
    links->at = block;
    links->end = block + bytes;
    links->codec = codec;
    links->depth = 0;
    links->state = 0;
    links->left = 1; /* dag-cbor: one item */
    links->over = 0;
}

static int next_by_codec(struct links *links, struct cid *ret_cid) {
    switch (links->codec) {
    case CID_DAG_PB:
        return dag_pb_next(links, ret_cid);
    case CID_DAG_CBOR:
        return dag_cbor_next(links, ret_cid);
    case CID_DAG_JSON:
        return dag_json_next(links, ret_cid);
    default:
        return LINKS_END;
    }
}

int links_next(struct links *links, struct cid *ret_cid) {
    if (links->over == 0) {
        links->over = (uint8_t)next_by_codec(links, ret_cid);
    }
    return links->over;
}
