/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/cid.h"
#include "base/key.h"
#include "base/must.h"
#include "tools/client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Frames for the server, and the answers that need no server: an identity CID is its own block. */

#define HAVE_HEAD_BYTES 16u

static uint8_t frame_type(const struct asking *asking) {
    switch (asking->kind) {
    case MR_KIND_PING:
        return TLV_PING;
    case MR_KIND_GET:
        return asking->offset == 0 && asking->length == 0 ? TLV_GET : TLV_GET_RANGE;
    case MR_KIND_PUT:
        return TLV_PUT;
    case MR_KIND_HAVE:
        return TLV_HAVE;
    case MR_KIND_DELETE:
        return TLV_DELETE;
    case MR_KIND_VERIFY:
        return TLV_VERIFY;
    case KIND_STAT:
        return TLV_STAT;
    case KIND_LIST:
        return TLV_LIST;
    case KIND_GET_MANY:
        return TLV_GET_MANY;
    case KIND_PUT_MANY:
        return TLV_PUT_MANY;
    case KIND_PIN:
        return TLV_PIN;
    case KIND_UNPIN:
        return TLV_UNPIN;
    default:
        never("a kind without a frame");
    }
}

static uint8_t frame_flags(const struct mr_client *client, const struct asking *asking) {
    bool reads = asking->kind == MR_KIND_GET || asking->kind == KIND_GET_MANY;
    bool spoken = (client->server.features & TLV_FEATURE_SCAN) != 0;
    return asking->flags | (reads && spoken && client->scan ? TLV_FLAG_SCAN : 0);
}

static struct tlv_request frame_of(const struct mr_client *client, const struct asking *asking,
                                   uint32_t id) {
    const struct mr_ask *ask = asking->ask;
    uint32_t deadline_ms = ask && ask->deadline_ms ? ask->deadline_ms : client->options.deadline_ms;
    return (struct tlv_request){
        .type = frame_type(asking),
        .class = ask && ask->class_set ? (uint8_t)ask->class_ : TLV_CLASS_DEFAULT,
        .deadline_ms = (uint16_t)min_u32(deadline_ms, UINT16_MAX),
        .id = id,
        .offset = asking->offset,
        .length = asking->length,
        .mode = asking->mode,
        .cursor = asking->cursor,
        .count = asking->count,
        .flags = frame_flags(client, asking),
        .body_bytes = (uint32_t)asking->data_bytes,
    };
}

static int out_of_memory(struct mr_client *client) {
    return client_say(client, -ENOMEM, "out of memory");
}

/* What can be said before anything is taken or sent. */
static int asking_check(struct mr_client *client, const struct asking *asking) {
    const struct mr_ask *ask = asking->ask;
    if (client->fd < 0) {
        return client_say_closed(client);
    }
    if (ask && ask->class_set && (ask->class_ < MR_CRITICAL || ask->class_ > MR_LOW)) {
        return client_say(client, MR_BAD_ARGUMENT, "%d is no class", ask->class_);
    }
    uint32_t block_max = min_u32(client->server.block_max, TLV_BLOCK_MAX);
    bool many = asking->kind == KIND_GET_MANY || asking->kind == KIND_PUT_MANY;
    if (!many && asking->data_bytes > block_max) {
        return client_say(client, MR_TOO_LARGE, "%zu bytes; this server takes blocks up to %u",
                          asking->data_bytes, block_max);
    }
    if (client->out_tail - client->out_head > CLIENT_OUT_MAX) {
        return client_say(client, MR_FULL, "%zu bytes are still unsent",
                          client->out_tail - client->out_head);
    }
    if (asking->in_file && client->pieces_count == CLIENT_PIECES) {
        return client_say(client, MR_FULL, "%u blocks of files are still unsent", CLIENT_PIECES);
    }
    return 0;
}

int client_key_of(struct mr_client *client, const struct mr_cid *from, struct cid *ret_cid,
                  struct key *ret_key) {
    size_t used = 0;
    if (from->size > MR_CID_MAX || cid_read(from->bytes, from->size, ret_cid, &used) != 0 ||
        used != from->size) {
        return client_say(client, MR_BAD_CID, "not a CID");
    }
    int r = cid_key(ret_cid, ret_key);
    if (r == CID_UNKNOWN_HASH) {
        return client_say(client, MR_BAD_CID, "hash function 0x%llx is not known here",
                          (unsigned long long)ret_cid->hash);
    }
    if (r == CID_IDENTITY) {
        return CID_IDENTITY;
    }
    if (r != 0 || ret_cid->codec > UINT32_MAX) {
        return client_say(client, MR_BAD_CID, "no block can be stored under this CID");
    }
    return 0;
}

static void identity_get(struct mr_client *client, uint32_t index, const struct asking *asking,
                         const struct cid *cid) {
    struct slot *slot = &client->slots[index];
    uint32_t offset = min_u32(asking->offset, cid->digest_bytes);
    uint32_t rest = cid->digest_bytes - offset;
    uint32_t bytes = asking->length == 0 ? rest : min_u32(rest, asking->length);
    slot->done.codec = (uint32_t)cid->codec;
    slot->done.total = cid->digest_bytes;
    slot->done.size = bytes;
    if (!slot->buffer_set) {
        slot->done.data = malloc(max_u32(bytes, 1));
        slot->done.data_owned = slot->done.data != NULL;
    }
    if (!slot->done.data || (slot->buffer_set && bytes > slot->capacity)) {
        slot_finish(client, index, slot->buffer_set ? MR_TOO_SMALL : -ENOMEM);
        return;
    }
    memcpy(slot->done.data, cid->digest + offset, bytes);
    slot_finish(client, index, 0);
}

/* Nothing is stored for an identity CID, and nothing has to be. */
static void identity_answer(struct mr_client *client, uint32_t index, const struct asking *asking,
                            const struct cid *cid) {
    if (asking->kind == MR_KIND_GET) {
        identity_get(client, index, asking, cid);
    } else if (asking->kind == MR_KIND_PUT) {
        bool same = asking->data && asking->data_bytes == cid->digest_bytes &&
                    memcmp(asking->data, cid->digest, cid->digest_bytes) == 0;
        slot_finish(client, index, same ? 0 : MR_CORRUPT);
    } else {
        slot_finish(client, index, asking->kind == MR_KIND_DELETE ? MR_NOT_FOUND : 0);
    }
}

/* Allots the answers and writes the multihashes the server must see. */
static int have_body(struct mr_client *client, uint32_t index, const struct asking *asking,
                     uint8_t *body, struct tlv_request *frame) {
    struct slot *slot = &client->slots[index];
    uint8_t *answers = malloc(asking->cids_count);
    if (!answers) {
        return out_of_memory(client);
    }
    slot->done.data = answers;
    slot->done.data_owned = true;
    slot->done.size = asking->cids_count;
    frame->count = 0;
    frame->body_bytes = 0;
    for (size_t i = 0; i < asking->cids_count; i++) {
        struct cid cid;
        struct key key;
        size_t used = 0;
        const struct mr_cid *from = &asking->cids[i];
        if (from->size > MR_CID_MAX || cid_read(from->bytes, from->size, &cid, &used) != 0 ||
            used != from->size) {
            free(answers);
            return client_say(client, MR_BAD_CID, "number %zu is not a CID", i);
        }
        int r = cid_key(&cid, &key);
        answers[i] = r == 0 ? 0xff : r == CID_IDENTITY;
        if (r == 0) {
            frame->body_bytes += (uint32_t)key_write(&key, body + frame->body_bytes);
            frame->count++;
        }
    }
    return 0;
}

static int ask_have(struct mr_client *client, uint32_t index, const struct asking *asking) {
    uint8_t *room =
        client_out_room(client, TLV_REQUEST_MAX + asking->cids_count * KEY_MULTIHASH_MAX);
    if (!room) {
        return out_of_memory(client);
    }
    struct tlv_request frame = frame_of(client, asking, slot_id(client, index));
    int r = have_body(client, index, asking, room + HAVE_HEAD_BYTES, &frame);
    if (r != 0) {
        return r;
    }
    if (frame.count == 0) {
        slot_finish(client, index, 0);
        return 0;
    }
    must(tlv_request_write(&frame, NULL, room) == HAVE_HEAD_BYTES);
    client_out_push(client, HAVE_HEAD_BYTES + frame.body_bytes);
    return 0;
}

static int ask_frame(struct mr_client *client, uint32_t index, const struct asking *asking) {
    struct tlv_request frame = frame_of(client, asking, slot_id(client, index));
    struct cid cid;
    struct key key;
    if (asking->cid) {
        int r = client_key_of(client, asking->cid, &cid, &key);
        if (r == CID_IDENTITY && asking->in_file) {
            return client_say(client, MR_BAD_CID, "this CID is its own block: nothing is stored");
        }
        if (r == CID_IDENTITY) {
            identity_answer(client, index, asking, &cid);
            return 0;
        }
        if (r != 0) {
            return r;
        }
        frame.codec = (uint32_t)cid.codec;
    }
    size_t copied = asking->data ? asking->data_bytes : 0;
    uint8_t *room = client_out_room(client, TLV_REQUEST_MAX + copied);
    if (!room) {
        return out_of_memory(client);
    }
    size_t head = tlv_request_write(&frame, asking->cid ? &key : NULL, room);
    if (copied > 0) {
        memcpy(room + head, asking->data, copied);
    }
    client_out_push(client, head + copied);
    if (asking->in_file) {
        client_out_file(client, asking->fd, asking->file_offset, (uint32_t)asking->data_bytes);
    }
    return 0;
}

int client_ask(struct mr_client *client, const struct asking *asking, uint32_t *ret_slot) {
    uint32_t index = 0;
    int r = asking_check(client, asking);
    if (r == 0) {
        r = slot_take(client, asking->kind, &index);
    }
    if (r != 0) {
        return r;
    }
    struct slot *slot = &client->slots[index];
    slot->blocking = asking->blocking;
    slot->check = asking->check;
    slot->asked_bytes = asking->length;
    slot->done.user = asking->user;
    slot->done.kind = (enum mr_kind)asking->kind;
    slot->done.offset = asking->offset;
    slot->buffer_set = asking->buffer != NULL;
    slot->done.data = asking->buffer;
    slot->capacity = asking->buffer_bytes;
    if (asking->cid) {
        slot->cid = *asking->cid;
    }
    r = asking->kind == MR_KIND_HAVE ? ask_have(client, index, asking)
                                     : ask_frame(client, index, asking);
    if (r != 0) {
        slot_release(client, index);
        return r;
    }
    *ret_slot = index;
    return 0;
}
