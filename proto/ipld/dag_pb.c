/* SPDX-License-Identifier: MIT */
#include "proto/ipld/dag_pb.h"

#include "proto/wire.h"

enum { NODE_DATA = 1, NODE_LINK = 2 };
enum { LINK_HASH = 1, LINK_NAME = 2, LINK_TSIZE = 3 };

static int link_read(const uint8_t *at, const uint8_t *end, struct cid *ret_cid) {
    struct wire_field field;
    bool found = false;
    int r;
    while ((r = wire_next(&at, end, &field)) == 0) {
        bool sound = field.type == (field.number == LINK_TSIZE ? WIRE_VARINT : WIRE_BYTES) &&
                     field.number <= LINK_TSIZE;
        size_t used;
        if (!sound) {
            return LINKS_BAD;
        }
        if (field.number != LINK_HASH) {
            continue;
        }
        if (found || cid_read(field.bytes, field.count, ret_cid, &used) != 0 ||
            used != field.count) {
            return LINKS_BAD;
        }
        found = true;
    }
    return r == WIRE_END && found ? 0 : LINKS_BAD;
}

int dag_pb_next(struct links *links, struct cid *ret_cid) {
    struct wire_field field;
    int r;
    while ((r = wire_next(&links->at, links->end, &field)) == 0) {
        if (field.type != WIRE_BYTES || field.number > NODE_LINK) {
            return LINKS_BAD;
        }
        if (field.number == NODE_LINK) {
            return link_read(field.bytes, field.bytes + field.count, ret_cid);
        }
    }
    return r == WIRE_END ? LINKS_END : LINKS_BAD;
}
