/* SPDX-License-Identifier: MIT */
#include "base/bits.h"
#include "base/log.h"
#include "base/must.h"
#include "tools/client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Requests in flight and what becomes of them. */

uint32_t slot_id(const struct mr_client *client, uint32_t index) {
    return (uint32_t)client->slots[index].generation << 16 | index;
}

static int slots_grow(struct mr_client *client) {
    uint32_t count = client->slots_count ? client->slots_count * 2 : 32;
    struct slot *slots = realloc(client->slots, count * sizeof *slots);
    if (!slots) {
        return -ENOMEM;
    }
    memset(slots + client->slots_count, 0, (count - client->slots_count) * sizeof *slots);
    for (uint32_t i = count; i-- > client->slots_count;) {
        slots[i].generation = 1; /* id 0 is nobody's: FAULTs about no request have it */
        slots[i].next = client->slots_free;
        client->slots_free = i;
    }
    client->slots = slots;
    client->slots_count = count;
    return 0;
}

int slot_take(struct mr_client *client, int kind, uint32_t *ret_slot) {
    if (client->fd < 0) {
        return client_say_closed(client);
    }
    uint32_t limit = min_u32(max_u32(client->server.credits, 1), CLIENT_SLOTS_MAX);
    if (client->unanswered >= limit) {
        return client_say(client, MR_FULL, "%u requests are unanswered already",
                          client->unanswered);
    }
    if (client->slots_free == CLIENT_NONE) {
        /* Answered but not yet taken by mr_poll: they hold their slots. */
        if (client->slots_count == CLIENT_SLOTS_MAX) {
            return client_say(client, MR_FULL, "mr_poll has not taken %u completions",
                              client->slots_count - client->unanswered);
        }
        if (slots_grow(client) < 0) {
            return client_say(client, -ENOMEM, "out of memory");
        }
    }
    uint32_t index = client->slots_free;
    struct slot *slot = &client->slots[index];
    uint16_t generation = slot->generation;
    client->slots_free = slot->next;
    memset(slot, 0, offsetof(struct slot, text) + 1);
    slot->generation = generation;
    slot->state = SLOT_WAITING;
    slot->kind = (uint8_t)kind;
    slot->next = CLIENT_NONE;
    client->unanswered++;
    *ret_slot = index;
    return 0;
}

void slot_release(struct mr_client *client, uint32_t index) {
    struct slot *slot = &client->slots[index];
    must(slot->state != SLOT_FREE);
    if (slot->state == SLOT_WAITING) {
        client->unanswered--;
    }
    slot->state = SLOT_FREE;
    slot->generation = (uint16_t)(slot->generation == UINT16_MAX ? 1 : slot->generation + 1);
    slot->next = client->slots_free;
    client->slots_free = index;
}

void slot_forget(struct mr_client *client, uint32_t index) {
    struct slot *slot = &client->slots[index];
    must(slot->state == SLOT_WAITING && slot->blocking);
    if (slot->done.data_owned) {
        free(slot->done.data);
    }
    slot->done.data = NULL;
    slot->done.data_owned = false;
    slot->forgotten = true;
    if (client->body_slot == index) {
        client->body_slot = CLIENT_NONE;
        slot_release(client, index);
    }
}

static void drop_data(struct slot *slot) {
    if (slot->done.data_owned) {
        free(slot->done.data);
    }
    slot->done.data = NULL;
    slot->done.data_owned = false;
    slot->done.size = 0;
}

void slot_finish(struct mr_client *client, uint32_t index, int result) {
    struct slot *slot = &client->slots[index];
    must(slot->state == SLOT_WAITING);
    if (slot->forgotten) {
        slot_release(client, index);
        return;
    }
    if (result == 0 && slot->check &&
        mr_cid_check(&slot->cid, slot->done.data, slot->done.size) != 0) {
        result = MR_CORRUPT;
    }
    if (result != 0) {
        size_t needed = slot->done.size;
        drop_data(slot);
        slot->done.size = result == MR_TOO_SMALL ? needed : 0;
        if (slot->text[0] == '\0') {
            snprintf(slot->text, sizeof slot->text, "%s", mr_result_text(result));
        }
    }
    slot->done.result = result;
    slot->done.text = slot->text;
    slot->state = SLOT_DONE;
    client->unanswered--;
    if (slot->blocking) {
        return;
    }
    slot->next = CLIENT_NONE;
    if (client->done_head == CLIENT_NONE) {
        client->done_head = index;
    } else {
        client->slots[client->done_tail].next = index;
    }
    client->done_tail = index;
}

/* ---- what the server answers ---- */

static void protocol_broken(struct mr_client *client, const char *what) {
    char why[160];
    snprintf(why, sizeof why, "the server broke the protocol: %s", what);
    client_fail(client, MR_PROTOCOL, why);
}

int client_result_of_fault(uint32_t code) {
    switch (code) {
    case TLV_CODE_MISMATCH:
    case TLV_CODE_CORRUPT:
        return MR_CORRUPT;
    case TLV_CODE_TOO_LARGE:
        return MR_TOO_LARGE;
    default:
        return MR_REFUSED;
    }
}

static void take_fault(struct mr_client *client, struct slot *slot, uint32_t index,
                       const struct tlv_reply *reply) {
    char said[CLIENT_TEXT_BYTES];
    log_escape(said, sizeof said, reply->text, strlen(reply->text));
    if (slot) {
        slot->done.fault = reply->code;
        snprintf(slot->text, sizeof slot->text, "%s", said);
        slot_finish(client, index, client_result_of_fault(reply->code));
    }
    if (reply->code < TLV_CODE_BAD_KEY) {
        char why[CLIENT_TEXT_BYTES + 64];
        client->fault = reply->code;
        snprintf(why, sizeof why, "the server ended the connection: %s (code %u)", said,
                 reply->code);
        client_fail(client, MR_CLOSED, why);
    }
}

/* Where a GET's bytes go. Returns: 0, or the result that makes the body one to throw away. */
static int value_room(struct slot *slot, const struct tlv_reply *reply) {
    slot->done.codec = reply->codec;
    slot->done.total = reply->total;
    slot->done.offset = reply->offset;
    slot->done.size = reply->body_bytes;
    if (slot->buffer_set) {
        return reply->body_bytes > slot->capacity ? MR_TOO_SMALL : 0;
    }
    slot->done.data = malloc(max_u32(reply->body_bytes, 1));
    slot->done.data_owned = slot->done.data != NULL;
    return slot->done.data ? 0 : -ENOMEM;
}

/* Documents and lists: memory with a terminating NUL. */
static int text_room(struct slot *slot, const struct tlv_reply *reply) {
    slot->done.data = calloc(1, (size_t)reply->body_bytes + 1);
    slot->done.data_owned = slot->done.data != NULL;
    slot->done.size = reply->body_bytes;
    return slot->done.data ? 0 : -ENOMEM;
}

/* HAVES: the answers were allotted with the request; 0xff marks those the server has to fill. */
static uint32_t answers_open(const struct slot *slot) {
    const uint8_t *answers = slot->done.data;
    uint32_t open = 0;
    for (size_t i = 0; i < slot->done.size; i++) {
        open += answers[i] == 0xff;
    }
    return open;
}

static bool value_fits(const struct slot *slot, const struct tlv_reply *reply) {
    if (slot->kind != MR_KIND_GET || reply->offset != slot->done.offset) {
        return false;
    }
    uint32_t rest = reply->total - reply->offset;
    uint32_t most = slot->asked_bytes == 0 ? rest : min_u32(rest, slot->asked_bytes);
    return reply->body_bytes == most;
}

/* Is this the kind of answer the request may get? */
static bool reply_fits(const struct slot *slot, const struct tlv_reply *reply) {
    switch (reply->type) {
    case TLV_WELCOME:
        return slot->kind == KIND_HELLO;
    case TLV_PONG:
        return slot->kind == MR_KIND_PING;
    case TLV_VALUE:
        return value_fits(slot, reply);
    case TLV_DONE:
        return slot->kind == MR_KIND_PUT || slot->kind == MR_KIND_DELETE ||
               slot->kind == MR_KIND_VERIFY || slot->kind == KIND_PIN || slot->kind == KIND_UNPIN;
    case TLV_NOT_FOUND:
        return slot->kind == MR_KIND_GET || slot->kind == MR_KIND_DELETE ||
               slot->kind == MR_KIND_VERIFY || slot->kind == KIND_PIN || slot->kind == KIND_UNPIN;
    case TLV_HAVES:
        return slot->kind == MR_KIND_HAVE && reply->count == answers_open(slot);
    case TLV_STATS:
        return slot->kind == KIND_STAT;
    case TLV_ITEMS:
        return slot->kind == KIND_LIST;
    case TLV_VALUES:
        return slot->kind == KIND_GET_MANY;
    case TLV_RESULTS:
        return slot->kind == KIND_PUT_MANY;
    default: /* BUSY, RETRY */
        return true;
    }
}

static void take_welcome(struct mr_client *client, const struct tlv_reply *reply) {
    client->server = (struct mr_server){
        .version = reply->version,
        .class_ = reply->class,
        .features = reply->features,
        .credits = reply->credits,
        .block_max = reply->block_max,
    };
}

/* A reply without a body. */
static void take_plain(struct mr_client *client, struct slot *slot, uint32_t index,
                       const struct tlv_reply *reply) {
    slot->done.retry_ms = reply->retry_ms;
    int result = 0;
    if (reply->type == TLV_NOT_FOUND) {
        result = MR_NOT_FOUND;
    } else if (reply->type == TLV_BUSY) {
        result = MR_BUSY;
        client->server.credits = reply->credits;
    } else if (reply->type == TLV_RETRY) {
        result = MR_RETRY;
    } else if (reply->type == TLV_WELCOME) {
        take_welcome(client, reply);
    }
    slot_finish(client, index, result);
}

/* A reply with a body, which may be empty. */
static void take_body_head(struct mr_client *client, struct slot *slot, uint32_t index,
                           const struct tlv_reply *reply) {
    int r = 0;
    if (!slot->forgotten) {
        if (reply->type == TLV_VALUE) {
            r = value_room(slot, reply);
        } else if (reply->type != TLV_HAVES) {
            r = text_room(slot, reply);
        }
        slot->cursor = reply->cursor;
    }
    if (r != 0 || slot->forgotten || reply->body_bytes == 0) {
        slot_finish(client, index, r);
        client->body_slot = CLIENT_NONE;
    } else {
        client->body_slot = index;
    }
    client->body_left = reply->body_bytes;
}

static void take_reply(struct mr_client *client, const struct tlv_reply *reply) {
    uint32_t index = reply->id & 0xffff;
    struct slot *slot = NULL;
    if (index < client->slots_count && client->slots[index].state == SLOT_WAITING &&
        slot_id(client, index) == reply->id) {
        slot = &client->slots[index];
    }
    if (reply->type == TLV_FAULT && (slot || reply->code < TLV_CODE_BAD_KEY)) {
        take_fault(client, slot, index, reply);
        return;
    }
    if (!slot) {
        protocol_broken(client, "an answer to no request");
        return;
    }
    if (!reply_fits(slot, reply)) {
        protocol_broken(client, "an answer that does not fit its request");
        return;
    }
    switch (reply->type) {
    case TLV_VALUE:
    case TLV_HAVES:
    case TLV_STATS:
    case TLV_ITEMS:
    case TLV_VALUES:
    case TLV_RESULTS:
        take_body_head(client, slot, index, reply);
        break;
    default:
        take_plain(client, slot, index, reply);
        break;
    }
}

uint8_t *client_body_room(struct mr_client *client) {
    if (client->body_slot == CLIENT_NONE) {
        return NULL;
    }
    struct slot *slot = &client->slots[client->body_slot];
    return slot->kind == MR_KIND_HAVE ? NULL : (uint8_t *)slot->done.data + slot->filled;
}

void client_body_push(struct mr_client *client, uint32_t bytes) {
    must(bytes <= client->body_left);
    client->body_left -= bytes;
    if (client->body_slot == CLIENT_NONE) {
        return;
    }
    uint32_t index = client->body_slot;
    client->slots[index].filled += bytes;
    if (client->body_left == 0) {
        client->body_slot = CLIENT_NONE;
        slot_finish(client, index, 0);
    }
}

static void answers_fill(struct slot *slot, const uint8_t *bytes, uint32_t count) {
    uint8_t *answers = slot->done.data;
    size_t at = slot->filled; /* here: a place among the answers */
    for (uint32_t i = 0; i < count; i++) {
        while (answers[at] != 0xff) {
            at++;
        }
        answers[at] = bytes[i] > 2 ? 2 : bytes[i];
    }
    slot->filled = at;
}

static void feed_body(struct mr_client *client, const uint8_t *bytes, uint32_t run) {
    if (client->body_slot == CLIENT_NONE) {
        client->body_left -= run;
        return;
    }
    struct slot *slot = &client->slots[client->body_slot];
    if (slot->kind != MR_KIND_HAVE) {
        memcpy(client_body_room(client), bytes, run);
        client_body_push(client, run);
        return;
    }
    answers_fill(slot, bytes, run);
    client->body_left -= run;
    if (client->body_left == 0) {
        uint32_t index = client->body_slot;
        client->body_slot = CLIENT_NONE;
        slot_finish(client, index, 0);
    }
}

size_t client_feed(struct mr_client *client, const uint8_t *bytes, size_t count) {
    size_t at = 0;
    while (at < count && client->fd >= 0) {
        if (client->body_left > 0) {
            uint32_t run = (uint32_t)min_u64(client->body_left, count - at);
            feed_body(client, bytes + at, run);
            at += run;
            continue;
        }
        struct tlv_reply reply;
        size_t used = 0;
        enum tlv_code code = 0;
        int r = tlv_reply_read(bytes + at, count - at, &reply, &used, &code);
        if (r == TLV_SHORT) {
            break;
        }
        if (r != 0) {
            protocol_broken(client, tlv_code_text(code));
            break;
        }
        at += used;
        take_reply(client, &reply);
    }
    return at;
}
