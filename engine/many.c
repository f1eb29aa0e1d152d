/* SPDX-License-Identifier: MIT */
#include "engine/many.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/net.h"

#include <errno.h>
#include <string.h>

#define MANY_COPY_MAX (4 * KiB) /* smaller blocks are copied behind each other */
#define LOOK_UP_GROUP 64u

static_assert(TLV_MANY_MOST + TLV_MANY_MAX * TLV_VALUE_ITEM_HEAD <= TLV_VALUES_BODY_MAX, "VALUES");

/* The struct stands first, so that its place does not depend on the body; the body comes last. */
static uint32_t ops_end(uint32_t count) {
    return (uint32_t)round_up(sizeof(struct many) + count * sizeof(struct store_op), 16);
}

uint32_t many_footprint(const struct tlv_request *request) {
    return ops_end(request->count) + request->body_bytes;
}

void many_begin(struct job *job, const struct tlv_request *request) {
    struct many *many = job->data;
    bool put = request->type == TLV_PUT_MANY;
    uint32_t most = request->length == 0 ? MANY_BYTES_MAX : request->length;
    job->kind = put ? JOB_PUT_MANY : JOB_GET_MANY;
    job->arg = request->count;
    *many = (struct many){.body_bytes = request->body_bytes,
                          .most = min_u32(most, MANY_BYTES_MAX),
                          .scan = !put && (request->flags & TLV_FLAG_SCAN) != 0};
    many->bundle = (struct store_bundle){.user = job,
                                         .ops = many->ops,
                                         .count = request->count,
                                         .atomic = put && (request->flags & TLV_FLAG_ALL) != 0};
}

uint8_t *many_body(struct job *job) {
    return (uint8_t *)job->data + ops_end(job->arg);
}

bool many_take_puts(struct job *job) {
    struct many *many = job->data;
    const uint8_t *at = many_body(job);
    const uint8_t *end = at + many->body_bytes;
    for (uint32_t i = 0; i < job->arg; i++) {
        struct tlv_put_item item;
        size_t used = 0;
        if (tlv_put_item_read(at, (size_t)(end - at), &item, &used) != 0) {
            return false;
        }
        at += used;
        many->ops[i] = (struct store_op){.kind = STORE_PUT,
                                         .key = item.key,
                                         .data = item.block,
                                         .bytes = item.bytes,
                                         .codec = item.codec,
                                         .result = item.unknown_hash ? STORE_HASH : 0};
    }
    return at == end;
}

/* ---- looking up ----------------------------------------------------------------------------- */

static bool take_keys(struct job *job) {
    struct many *many = job->data;
    const uint8_t *at = many_body(job);
    const uint8_t *end = at + many->body_bytes;
    for (uint32_t i = 0; i < job->arg; i++) {
        struct key key = {0};
        size_t used = 0;
        int r = key_read(at, (size_t)(end - at), &key, &used);
        if (r != 0 && r != KEY_UNKNOWN_HASH) {
            return false;
        }
        at += used;
        many->ops[i] = (struct store_op){.kind = STORE_READ,
                                         .key = key,
                                         .no_admit = many->scan,
                                         .result = r == 0 ? 0 : STORE_ABSENT};
    }
    return at == end;
}

/* Room in the answer for a block of this size? The first one always finds some. */
static bool fits(const struct many *many, uint64_t *held, uint32_t bytes) {
    if (*held > 0 && *held + bytes > many->most) {
        return false;
    }
    *held += max_u32(bytes, 1);
    return true;
}

/* What a look-up says of one item. Returns: whether it is to be read from disk. */
static bool take_find(const struct many *many, struct store_op *op, const struct find *find,
                      uint64_t *held) {
    switch (find->state) {
    case FIND_FRAME:
        if (fits(many, held, frame_bytes(find->frame))) {
            op->frame = find->frame;
        } else {
            frame_give_back(find->frame);
            op->result = STORE_RETRY;
        }
        return false;
    case FIND_DISK:
        if (!fits(many, held, find_record_bytes(find))) {
            op->result = STORE_RETRY;
        }
        return op->result == 0;
    case FIND_ABSENT:
        op->result = STORE_ABSENT;
        return false;
    case FIND_RETRY:
        op->result = STORE_RETRY;
        return false;
    }
    never("a look-up of no state");
}

enum many_way many_look_up(struct net *net, struct job *job) {
    struct many *many = job->data;
    struct find finds[LOOK_UP_GROUP];
    struct store_op *ops[LOOK_UP_GROUP];
    uint32_t reads = 0;
    uint64_t held = 0;
    if (!take_keys(job)) {
        return MANY_BAD;
    }
    for (uint32_t i = 0; i < job->arg;) {
        uint32_t group = 0;
        for (; i < job->arg && group < LOOK_UP_GROUP; i++) {
            if (many->ops[i].result == 0) {
                ops[group] = &many->ops[i];
                finds[group++] = (struct find){.key = &many->ops[i].key};
            }
        }
        store_find(net->store, net->core->index, finds, group);
        for (uint32_t n = 0; n < group; n++) {
            reads += take_find(many, ops[n], &finds[n], &held);
        }
    }
    return reads > 0 ? MANY_READ : MANY_WRITE;
}

void many_drop(struct job *job) {
    struct many *many = job->data;
    for (uint32_t i = 0; i < job->arg; i++) {
        struct store_op *op = &many->ops[i];
        if (op->kind == STORE_READ && op->frame) {
            frame_give_back(op->frame);
            op->frame = NULL;
        }
    }
}

/* ---- writing -------------------------------------------------------------------------------- */

static uint16_t result_of(int32_t result) {
    static const uint16_t results[] = {
        [0] = TLV_RESULT_DONE,
        [STORE_ABSENT] = TLV_RESULT_NOT_FOUND,
        [STORE_RETRY] = TLV_RESULT_AGAIN,
        [STORE_CORRUPT] = TLV_CODE_CORRUPT,
        [STORE_MISMATCH] = TLV_CODE_MISMATCH,
        [STORE_HASH] = TLV_CODE_UNKNOWN_HASH,
        [STORE_SIZE] = TLV_CODE_TOO_LARGE,
        [STORE_FULL] = TLV_CODE_FULL,
        [STORE_LOCKED] = TLV_CODE_IO,
        [STORE_FORMAT] = TLV_CODE_IO,
        [STORE_READONLY] = TLV_CODE_READONLY,
        [STORE_PINNED] = TLV_CODE_POLICY,
        [STORE_ABORTED] = TLV_RESULT_ABORTED,
    };
    if (result < 0) {
        return result == -ENOSPC ? TLV_CODE_FULL : TLV_CODE_IO;
    }
    must((size_t)result < array_count(results));
    return results[result];
}

/* Blocks that turned out larger than their records (they were compressed) may not fit after all. */
static void hold_bound(struct many *many) {
    uint64_t held = 0;
    for (uint32_t i = 0; i < many->bundle.count; i++) {
        struct store_op *op = &many->ops[i];
        if (op->frame && !fits(many, &held, frame_bytes(op->frame))) {
            frame_give_back(op->frame);
            op->frame = NULL;
            op->result = STORE_RETRY;
        }
    }
}

struct many_size {
    uint32_t body;   /* bytes of the answer's body */
    uint32_t copied; /* of those */
    uint32_t leased; /* pieces */
};

static struct many_size measure(const struct many *many) {
    struct many_size size = {0};
    for (uint32_t i = 0; i < many->bundle.count; i++) {
        const struct frame *frame = many->ops[i].frame;
        uint32_t bytes = frame ? frame_bytes(frame) : 0;
        bool leased = bytes > MANY_COPY_MAX;
        size.body += TLV_VALUE_ITEM_HEAD + bytes;
        size.copied += TLV_VALUE_ITEM_HEAD + (leased ? 0 : bytes);
        size.leased += leased;
    }
    return size;
}

/* Pieces of OUT_SMALL_BYTES may leave half of a chunk empty; a head behind a lease takes one. */
static bool room_for(const struct net *net, const struct many_size *size) {
    return net->outs.leased.free_count >= size->leased &&
           (size->leased == 0 || out_lease_fits(&net->outs, size->body - size->copied)) &&
           out_pools_free(&net->outs) >= 2 * (size->copied / OUT_SMALL_BYTES + size->leased + 4);
}

static void write_item(struct net *net, struct conn *conn, struct store_op *op) {
    struct frame *frame = op->frame;
    uint8_t head[TLV_VALUE_ITEM_HEAD];
    struct tlv_value_item item = {.result = result_of(op->result)};
    if (frame) {
        item.codec = (uint32_t)frame_codec(frame);
        item.bytes = frame_bytes(frame);
    }
    tlv_value_item_head(&item, head);
    bool room = conn_append(&net->outs, conn, head, sizeof head);
    if (item.bytes > MANY_COPY_MAX) {
        enum out_way way = net_way(net, conn, frame, item.bytes);
        room =
            room && conn_append_frame(&net->outs, conn, frame, frame_body(frame), item.bytes, way);
    } else if (frame) {
        room = room && conn_append(&net->outs, conn, frame_body(frame), item.bytes);
        frame_give_back(frame);
    }
    must(room); /* room_for saw it */
    op->frame = NULL;
}

static bool write_values(struct net *net, struct conn *conn, struct job *job) {
    struct many *many = job->data;
    uint8_t head[TLV_REPLY_MAX];
    hold_bound(many);
    struct many_size size = measure(many);
    if (!room_for(net, &size)) {
        return false;
    }
    size_t used = tlv_many_head(head, TLV_VALUES, job->id, (uint16_t)job->arg, size.body);
    bool room = conn_append(&net->outs, conn, head, (uint32_t)used);
    must(room);
    for (uint32_t i = 0; i < job->arg; i++) {
        write_item(net, conn, &many->ops[i]);
    }
    return true;
}

static bool write_results(struct net *net, struct conn *conn, struct job *job) {
    const struct many *many = job->data;
    uint8_t frame[12 + 2 * TLV_MANY_MAX];
    size_t used = tlv_many_head(frame, TLV_RESULTS, job->id, (uint16_t)job->arg, 2 * job->arg);
    for (uint32_t i = 0; i < job->arg; i++) {
        put_be16(frame + used, result_of(many->ops[i].result));
        used += 2;
    }
    return conn_append(&net->outs, conn, frame, (uint32_t)used);
}

bool many_write(struct net *net, struct conn *conn, struct job *job) {
    return job->kind == JOB_GET_MANY ? write_values(net, conn, job) : write_results(net, conn, job);
}
