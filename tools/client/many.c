/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/cid.h"
#include "tools/client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Many blocks in one request. A part that the server puts off (it found no room in the answer, or
 * met another transaction) is asked for again; a server that knows no such requests gets single
 * ones, but for all or nothing. */

#define PART_BYTES (1u << 20) /* of blocks in one PUT_MANY that may be split */

/* The code of a refusal is kept for mr_fault. */
static int result_of(struct mr_client *client, uint16_t result) {
    switch (result) {
    case TLV_RESULT_DONE:
        return 0;
    case TLV_RESULT_NOT_FOUND:
        return MR_NOT_FOUND;
    case TLV_RESULT_AGAIN:
        return MR_RETRY;
    case TLV_RESULT_ABORTED:
        return MR_ABORTED;
    default:
        client->fault = result;
        return client_result_of_fault(result);
    }
}

static bool many_spoken(const struct mr_client *client) {
    return (client->server.features & TLV_FEATURE_MANY) != 0;
}

static int broken(struct mr_client *client) {
    return client_say(client, MR_PROTOCOL, "the server's answer for many blocks cannot be read");
}

static int say_item(struct mr_client *client, int result, size_t index) {
    const char *why = result == MR_REFUSED && client->fault != 0
                          ? tlv_code_text((enum tlv_code)client->fault)
                          : mr_result_text(result);
    return client_say(client, result, "block %zu: %s", index, why);
}

/* Returns: the first result other than 0, said. */
static int first_failure(struct mr_client *client, const int results[], size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (results[i] != 0) {
            return say_item(client, results[i], i);
        }
    }
    return 0;
}

/* ---- get ------------------------------------------------------------------------------------- */

struct wanted {
    size_t index[TLV_MANY_MAX];
    uint32_t count;
    uint8_t *body;
    uint32_t bytes;
};

/* Keys of the next blocks that have no result yet; what needs no server is answered here. */
static int want_next(struct mr_client *client, const struct mr_cid cids[], size_t count,
                     struct mr_block blocks[], int results[], struct wanted *wanted) {
    wanted->count = wanted->bytes = 0;
    for (size_t i = 0; i < count && wanted->count < TLV_MANY_MAX; i++) {
        struct cid cid;
        struct key key;
        if (results[i] != MR_RETRY) {
            continue;
        }
        int r = client_key_of(client, &cids[i], &cid, &key);
        if (r == CID_IDENTITY) {
            results[i] = mr_get(client, &cids[i], &blocks[i]);
        } else if (r != 0) {
            results[i] = r;
        } else {
            wanted->bytes += (uint32_t)key_write(&key, wanted->body + wanted->bytes);
            wanted->index[wanted->count++] = i;
        }
    }
    return 0;
}

static int value_take(struct mr_client *client, const struct tlv_value_item *item,
                      const struct mr_cid *cid, struct mr_block *ret_block) {
    int result = result_of(client, item->result);
    if (result != 0) {
        return result;
    }
    if (client->options.verify && mr_cid_check(cid, item->block, item->bytes) != 0) {
        return MR_CORRUPT;
    }
    void *data = malloc(max_u32(item->bytes, 1));
    if (!data) {
        return -ENOMEM;
    }
    memcpy(data, item->block, item->bytes);
    *ret_block = (struct mr_block){.data = data, .size = item->bytes, .codec = item->codec};
    return 0;
}

/* Returns: how many got a result, or a failure of the whole. */
static int get_part(struct mr_client *client, const struct mr_cid cids[], struct mr_block blocks[],
                    int results[], const struct wanted *wanted, uint32_t *ret_settled) {
    struct mr_completion done;
    int r = client_call(client,
                        (struct asking){.kind = KIND_GET_MANY,
                                        .data = wanted->body,
                                        .data_bytes = wanted->bytes,
                                        .count = (uint16_t)wanted->count},
                        &done);
    if (r != 0) {
        return r;
    }
    const uint8_t *bytes = done.data;
    size_t at = 0;
    *ret_settled = 0;
    for (uint32_t i = 0; i < wanted->count && r == 0; i++) {
        struct tlv_value_item item;
        size_t used = 0, index = wanted->index[i];
        r = tlv_value_item_read(bytes + at, done.size - at, &item, &used);
        at += used;
        if (r == 0) {
            results[index] = value_take(client, &item, &cids[index], &blocks[index]);
            *ret_settled += results[index] != MR_RETRY;
        }
    }
    bool whole = r == 0 && at == done.size;
    mr_completion_free(&done);
    return whole ? 0 : broken(client);
}

static int get_single(struct mr_client *client, const struct mr_cid cids[], size_t count,
                      struct mr_block blocks[], int results[]) {
    for (size_t i = 0; i < count; i++) {
        results[i] = mr_get(client, &cids[i], &blocks[i]);
        if (results[i] == MR_CLOSED || results[i] == MR_TIMEOUT || results[i] == MR_PROTOCOL) {
            return results[i];
        }
    }
    return 0;
}

int mr_get_many(struct mr_client *client, const struct mr_cid cids[], size_t count,
                struct mr_block blocks[], int results[]) {
    struct wanted wanted;
    for (size_t i = 0; i < count; i++) {
        blocks[i] = (struct mr_block){0};
        results[i] = MR_RETRY;
    }
    if (!many_spoken(client)) {
        int r = get_single(client, cids, count, blocks, results);
        return r != 0 ? r : first_failure(client, results, count);
    }
    wanted.body = malloc((size_t)TLV_MANY_MAX * KEY_MULTIHASH_MAX);
    int r = wanted.body ? 0 : client_say(client, -ENOMEM, "out of memory");
    uint32_t idle = 0; /* rounds in which nothing came */
    while (r == 0 && idle <= client->options.retries) {
        uint32_t settled = 0;
        r = want_next(client, cids, count, blocks, results, &wanted);
        if (wanted.count == 0) {
            break;
        }
        r = r == 0 ? get_part(client, cids, blocks, results, &wanted, &settled) : r;
        idle = settled > 0 ? 0 : idle + 1;
        r = r == 0 && settled == 0 ? client_pause(client, 5u << min_u32(idle, 6)) : r;
    }
    free(wanted.body);
    return r != 0 ? r : first_failure(client, results, count);
}

/* ---- put ------------------------------------------------------------------------------------- */

/* Blocks from `from` on that go into one request, laid down in `body`. */
struct part {
    uint8_t *body;
    size_t room, bytes;
    size_t index[TLV_MANY_MAX];
    uint32_t count;
    size_t next; /* the first that is not in it */
};

static size_t item_room(const struct mr_put_item *item) {
    return TLV_PUT_ITEM_MAX + item->size;
}

static int part_room(struct mr_client *client, struct part *part, size_t bytes) {
    if (bytes <= part->room) {
        return 0;
    }
    uint8_t *body = realloc(part->body, bytes);
    if (!body) {
        return client_say(client, -ENOMEM, "out of memory");
    }
    part->body = body;
    part->room = bytes;
    return 0;
}

static int part_add(struct mr_client *client, struct part *part, struct mr_put_item *item,
                    size_t index) {
    struct cid cid;
    struct tlv_put_item head = {.bytes = (uint32_t)item->size};
    int r = client_key_of(client, &item->cid, &cid, &head.key);
    if (r != 0 && r != CID_IDENTITY) {
        return r;
    }
    item->result = mr_cid_check(&item->cid, item->data, item->size);
    if (r == CID_IDENTITY || item->result != 0) {
        return 0;
    }
    r = part_room(client, part, part->bytes + item_room(item));
    if (r != 0) {
        return r;
    }
    head.codec = (uint32_t)cid.codec;
    part->bytes += tlv_put_item_head(&head, part->body + part->bytes);
    if (item->size > 0) {
        memcpy(part->body + part->bytes, item->data, item->size);
    }
    part->bytes += item->size;
    part->index[part->count++] = index;
    return 0;
}

static int part_fill(struct mr_client *client, struct part *part, struct mr_put_item items[],
                     size_t count, bool all) {
    part->bytes = 0;
    part->count = 0;
    for (; part->next < count; part->next++) {
        struct mr_put_item *item = &items[part->next];
        size_t most = all ? TLV_PUT_MANY_BODY_MAX : PART_BYTES;
        bool full = part->count == TLV_MANY_MAX ||
                    (part->count > 0 && part->bytes + item_room(item) > most);
        if (item->size > client->server.block_max) {
            return client_say(client, MR_TOO_LARGE, "block %zu has %zu bytes; this server takes %u",
                              part->next, item->size, client->server.block_max);
        }
        if (full && all) {
            return client_say(client, MR_TOO_LARGE,
                              "all or nothing: at most %u blocks and %u bytes together",
                              TLV_MANY_MAX, TLV_BLOCK_MAX);
        }
        if (full) {
            return 0;
        }
        int r = part_add(client, part, item, part->next);
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static int part_send(struct mr_client *client, struct part *part, struct mr_put_item items[],
                     bool all, bool *ret_again) {
    struct mr_completion done;
    int r = client_call(client,
                        (struct asking){.kind = KIND_PUT_MANY,
                                        .data = part->body,
                                        .data_bytes = part->bytes,
                                        .flags = all ? TLV_FLAG_ALL : 0,
                                        .count = (uint16_t)part->count},
                        &done);
    if (r != 0) {
        return r;
    }
    *ret_again = false;
    bool whole = done.size == 2 * (size_t)part->count;
    for (uint32_t i = 0; i < part->count && whole; i++) {
        int result = result_of(client, get_be16((const uint8_t *)done.data + 2 * i));
        items[part->index[i]].result = result;
        *ret_again |= result == MR_RETRY;
    }
    mr_completion_free(&done);
    return whole ? 0 : broken(client);
}

static int put_part(struct mr_client *client, struct part *part, struct mr_put_item items[],
                    bool all) {
    bool again = part->count > 0;
    int r = 0;
    for (uint32_t tries = 0; r == 0 && again && tries <= client->options.retries; tries++) {
        r = tries > 0 ? client_pause(client, 5u << min_u32(tries, 6)) : 0;
        r = r == 0 ? part_send(client, part, items, all, &again) : r;
    }
    return r;
}

static int put_single(struct mr_client *client, struct mr_put_item items[], size_t count) {
    for (size_t i = 0; i < count; i++) {
        items[i].result = mr_put_cid(client, &items[i].cid, items[i].data, items[i].size);
        if (!mr_connected(client)) {
            return items[i].result;
        }
    }
    return 0;
}

int mr_put_many(struct mr_client *client, struct mr_put_item items[], size_t count, bool all) {
    struct part part = {0};
    int r = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].result = MR_CLOSED;
    }
    if (client->fd < 0) {
        return client_say_closed(client);
    }
    if (!many_spoken(client)) {
        r = all ? client_say(client, MR_REFUSED, "this server stores no blocks all or nothing")
                : put_single(client, items, count);
    }
    while (many_spoken(client) && r == 0 && part.next < count) {
        r = part_fill(client, &part, items, count, all);
        for (size_t i = 0; all && r == 0 && i < count; i++) {
            r = items[i].result != MR_CLOSED ? items[i].result : 0; /* nothing has been sent */
        }
        r = r == 0 ? put_part(client, &part, items, all) : r;
    }
    free(part.body);
    for (size_t i = 0; i < count && r == 0; i++) {
        r = items[i].result == MR_ABORTED ? 0 : items[i].result;
        if (r != 0) {
            r = say_item(client, r, i);
        }
    }
    return r;
}
