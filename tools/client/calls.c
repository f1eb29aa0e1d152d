/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/clock.h"
#include "base/must.h"
#include "tools/client/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Calls that wait for their answer: ask, wait, and ask again while the server says later. */

int client_wait(struct mr_client *client, uint32_t index, uint64_t deadline_ns) {
    while (client->slots[index].state == SLOT_WAITING) {
        int r = client_turn(client, deadline_ns);
        if (r == 0 && client->slots[index].state == SLOT_WAITING && clock_ns() >= deadline_ns) {
            r = MR_TIMEOUT;
        }
        if (r != 0) {
            slot_forget(client, index);
            return client_say(client, r, "%s", mr_result_text(r));
        }
    }
    return client->slots[index].done.result;
}

/* The connection is worked on meanwhile, so that pipelined requests go on. */
static int wait_until(struct mr_client *client, uint64_t until_ns) {
    while (clock_ns() < until_ns) {
        if (client->fd < 0) {
            return client_say_closed(client);
        }
        int r = client_turn(client, until_ns);
        if (r != 0) {
            return client_say(client, r, "poll: %s", mr_result_text(r));
        }
    }
    return 0;
}

/* As client_ask, but a full pipeline is waited for. */
static int ask_patiently(struct mr_client *client, const struct asking *asking,
                         uint64_t deadline_ns, uint32_t *ret_slot) {
    for (;;) {
        int r = client_ask(client, asking, ret_slot);
        if (r != MR_FULL || client->unanswered == 0) {
            return r;
        }
        if (clock_ns() >= deadline_ns) {
            return client_say(client, MR_TIMEOUT, "no room for the request in time");
        }
        r = client_turn(client, deadline_ns);
        if (r != 0) {
            return client_say(client, r, "poll: %s", mr_result_text(r));
        }
    }
}

static uint64_t call_deadline_ns(const struct mr_client *client) {
    return clock_ns() + client->options.timeout_ms * NS_PER_MS;
}

/* Takes the answer out of its slot. */
static int call_result(struct mr_client *client, uint32_t index, struct mr_completion *ret_done) {
    struct slot *slot = &client->slots[index];
    int result = slot->done.result;
    *ret_done = slot->done;
    if (result != 0) {
        client->fault = slot->done.fault ? slot->done.fault : client->fault;
        client_say(client, result, "%s", slot->text);
    }
    if (result == 0 && slot->kind == KIND_LIST) {
        *(uint64_t *)slot->done.user = slot->cursor;
    }
    slot_release(client, index);
    return result;
}

int client_call(struct mr_client *client, struct asking asking, struct mr_completion *ret_done) {
    uint64_t deadline_ns = call_deadline_ns(client);
    asking.blocking = true;
    client->fault = 0;
    for (uint32_t tries = 0;; tries++) {
        uint32_t index;
        int r = ask_patiently(client, &asking, deadline_ns, &index);
        if (r != 0) {
            return r;
        }
        r = client_wait(client, index, deadline_ns);
        if (r == MR_TIMEOUT || (r < 0 && client->slots[index].state != SLOT_DONE)) {
            return r;
        }
        r = call_result(client, index, ret_done);
        if ((r != MR_BUSY && r != MR_RETRY) || tries == client->options.retries) {
            return r;
        }
        uint32_t pause_ms =
            min_u32(max_u32(ret_done->retry_ms, 1), max_u32(client->options.retry_max_ms, 1));
        uint64_t until_ns = clock_ns() + pause_ms * NS_PER_MS;
        if (until_ns >= deadline_ns) {
            return r;
        }
        int waited = wait_until(client, until_ns);
        if (waited != 0) {
            return waited;
        }
    }
}

int client_pause(struct mr_client *client, uint32_t pause_ms) {
    return wait_until(client, clock_ns() + pause_ms * NS_PER_MS);
}

int mr_ping(struct mr_client *client) {
    struct mr_completion done;
    return client_call(client, (struct asking){.kind = MR_KIND_PING}, &done);
}

int mr_get(struct mr_client *client, const struct mr_cid *cid, struct mr_block *ret_block) {
    struct mr_completion done;
    int r = client_call(
        client, (struct asking){.kind = MR_KIND_GET, .cid = cid, .check = client->options.verify},
        &done);
    if (r == 0) {
        *ret_block = (struct mr_block){.data = done.data, .size = done.size, .codec = done.codec};
    }
    return r;
}

int mr_get_into(struct mr_client *client, const struct mr_cid *cid, void *buffer,
                size_t buffer_size, size_t *ret_size) {
    uint8_t nowhere;
    struct mr_completion done;
    int r = client_call(client,
                        (struct asking){
                            .kind = MR_KIND_GET,
                            .cid = cid,
                            .buffer = buffer ? buffer : &nowhere,
                            .buffer_bytes = buffer ? buffer_size : 0,
                            .check = client->options.verify,
                        },
                        &done);
    if (r == 0 || r == MR_TOO_SMALL) {
        *ret_size = done.size;
    }
    return r;
}

int mr_get_range(struct mr_client *client, const struct mr_cid *cid, uint32_t offset,
                 uint32_t length, void *buffer, size_t *ret_size, uint32_t *ret_total) {
    if (length == 0 || !buffer) {
        return client_say(client, MR_BAD_ARGUMENT, "an empty range");
    }
    struct mr_completion done;
    int r = client_call(client,
                        (struct asking){
                            .kind = MR_KIND_GET,
                            .cid = cid,
                            .offset = offset,
                            .length = length,
                            .buffer = buffer,
                            .buffer_bytes = length,
                        },
                        &done);
    if (r == 0) {
        *ret_size = done.size;
        if (ret_total) {
            *ret_total = done.total;
        }
    }
    return r;
}

int mr_have(struct mr_client *client, const struct mr_cid cids[], size_t count, uint8_t present[]) {
    for (size_t at = 0; at < count;) {
        size_t part = min_u64(count - at, TLV_HAVE_KEYS_MAX);
        struct mr_completion done;
        int r = client_call(
            client, (struct asking){.kind = MR_KIND_HAVE, .cids = cids + at, .cids_count = part},
            &done);
        if (r != 0) {
            return r;
        }
        memcpy(present + at, done.data, part);
        mr_completion_free(&done);
        at += part;
    }
    return 0;
}

/* The server hashes what it stores, always; `check` only finds the caller's mistake sooner. */
static int put_checked(struct mr_client *client, const struct mr_cid *cid, const void *data,
                       size_t size, bool check) {
    if (check) {
        int r = mr_cid_check(cid, data, size);
        if (r != 0) {
            return client_say(client, r, "%s", mr_result_text(r));
        }
    }
    struct mr_completion done;
    return client_call(
        client,
        (struct asking){
            .kind = MR_KIND_PUT, .cid = cid, .data = size > 0 ? data : "", .data_bytes = size},
        &done);
}

int mr_put(struct mr_client *client, const void *data, size_t size, uint64_t codec, uint64_t hash,
           struct mr_cid *ret_cid) {
    struct mr_cid cid;
    if (mr_cid_of_data(data, size, codec, hash, &cid) != 0) {
        return client_say(client, MR_BAD_CID, "hash function 0x%llx is not known here",
                          (unsigned long long)hash);
    }
    int r = put_checked(client, &cid, data, size, false);
    if (r == 0 && ret_cid) {
        *ret_cid = cid;
    }
    return r;
}

int mr_put_cid(struct mr_client *client, const struct mr_cid *cid, const void *data, size_t size) {
    return put_checked(client, cid, data, size, client->options.verify);
}

/* Sends the body as the caller yields it; what is unsent stays within two pieces. */
static int put_body(struct mr_client *client, size_t size, mr_give give, void *user,
                    uint64_t deadline_ns) {
    enum { PIECE = 64 * 1024 };
    for (size_t left = size; left > 0 && client->fd >= 0;) {
        uint8_t *room = client_out_room(client, min_u64(left, PIECE));
        if (!room) {
            client_fail(client, MR_CLOSED, "out of memory in the middle of a body");
            return client_say(client, -ENOMEM, "out of memory");
        }
        long given = give(user, room, min_u64(left, PIECE));
        if (given <= 0 || (size_t)given > left) {
            client_fail(client, MR_CLOSED, "disconnected: a body was not given to its end");
            return client_say(client, MR_STOPPED, "the body ended %zu bytes early", left);
        }
        client_out_push(client, (size_t)given);
        left -= (size_t)given;
        while (client->fd >= 0 && client->out_tail - client->out_head > PIECE) {
            int r = client_turn(client, deadline_ns);
            if (r == 0 && clock_ns() >= deadline_ns) {
                client_fail(client, MR_CLOSED, "disconnected: a body was not taken in time");
                r = MR_TIMEOUT;
            }
            if (r != 0) {
                return client_say(client, r, "%s", mr_result_text(r));
            }
        }
    }
    return 0;
}

int mr_put_stream(struct mr_client *client, const struct mr_cid *cid, size_t size, mr_give give,
                  void *user) {
    uint64_t deadline_ns = call_deadline_ns(client);
    uint32_t index;
    client->fault = 0;
    struct asking asking = {.kind = MR_KIND_PUT, .cid = cid, .data_bytes = size, .blocking = true};
    int r = ask_patiently(client, &asking, deadline_ns, &index);
    if (r != 0) {
        return r;
    }
    if (client->slots[index].state == SLOT_DONE) {
        slot_release(client, index);
        return client_say(client, MR_BAD_CID, "an identity CID has no block to stream");
    }
    r = put_body(client, size, give, user, deadline_ns);
    if (r != 0) {
        if (client->slots[index].state == SLOT_WAITING) {
            slot_forget(client, index);
        } else {
            slot_release(client, index);
        }
        return r;
    }
    r = client_wait(client, index, deadline_ns);
    if (r == MR_TIMEOUT || (r < 0 && client->slots[index].state != SLOT_DONE)) {
        return r;
    }
    struct mr_completion done;
    return call_result(client, index, &done);
}

int mr_delete(struct mr_client *client, const struct mr_cid *cid) {
    struct mr_completion done;
    return client_call(client, (struct asking){.kind = MR_KIND_DELETE, .cid = cid}, &done);
}

int mr_verify(struct mr_client *client, const struct mr_cid *cid) {
    struct mr_completion done;
    return client_call(client, (struct asking){.kind = MR_KIND_VERIFY, .cid = cid}, &done);
}

int mr_pin(struct mr_client *client, const struct mr_cid *cid, bool direct) {
    struct mr_completion done;
    return client_call(
        client, (struct asking){.kind = KIND_PIN, .cid = cid, .mode = direct ? 2 : 1}, &done);
}

int mr_unpin(struct mr_client *client, const struct mr_cid *cid) {
    struct mr_completion done;
    return client_call(client, (struct asking){.kind = KIND_UNPIN, .cid = cid}, &done);
}

int mr_stat(struct mr_client *client, char **ret_json, size_t *ret_size) {
    struct mr_completion done;
    int r = client_call(client, (struct asking){.kind = KIND_STAT}, &done);
    if (r == 0) {
        *ret_json = done.data;
        *ret_size = done.size;
    }
    return r;
}

static int items_read(const uint8_t *bytes, size_t size, struct mr_item items[], uint32_t max,
                      uint32_t *ret_count) {
    size_t at = 0, used = 0;
    uint32_t count = 0;
    while (at < size && count < max) {
        struct tlv_item item;
        uint8_t multihash[KEY_MULTIHASH_MAX];
        if (tlv_item_read(bytes + at, size - at, &item, &used) != 0) {
            return MR_PROTOCOL;
        }
        if (mr_cid_of_multihash(multihash, key_write(&item.key, multihash), item.codec,
                                &items[count].cid) != 0) {
            return MR_PROTOCOL;
        }
        items[count++].size = item.bytes;
        at += used;
    }
    *ret_count = count;
    return at == size ? 0 : MR_PROTOCOL;
}

int mr_list(struct mr_client *client, uint64_t *cursor, struct mr_item items[], uint32_t max,
            uint32_t *ret_count) {
    if (max == 0 || max > TLV_LIST_MAX) {
        return client_say(client, MR_BAD_ARGUMENT, "%u items a page; 1 to %u are possible", max,
                          TLV_LIST_MAX);
    }
    uint64_t next = 0;
    struct mr_completion done;
    int r = client_call(
        client,
        (struct asking){
            .kind = KIND_LIST, .cursor = *cursor, .count = (uint16_t)max, .user = &next},
        &done);
    if (r != 0) {
        return r;
    }
    r = items_read(done.data, done.size, items, max, ret_count);
    if (r == 0) {
        *cursor = next;
    } else {
        client_say(client, r, "the server's list cannot be read");
    }
    free(done.data);
    return r;
}
