/* SPDX-License-Identifier: MIT */
#include "tools/load/wire.h"

#include "base/must.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct wire *const wires[] = {&wire_tlv, &wire_resp, &wire_memcache, &wire_http,
                                           &wire_echo};

const struct wire *wire_at(uint32_t n) {
    return n < array_count(wires) ? wires[n] : NULL;
}

const struct wire *wire_find(const char *name) {
    for (uint32_t i = 0; i < array_count(wires); i++) {
        if (strcmp(wires[i]->name, name) == 0) {
            return wires[i];
        }
    }
    return NULL;
}

void wire_text_keep(struct wire_reply *reply, const char *text, size_t bytes) {
    size_t kept = bytes < sizeof reply->text - 1 ? bytes : sizeof reply->text - 1;
    for (size_t i = 0; i < kept; i++) {
        reply->text[i] = isprint((unsigned char)text[i]) ? text[i] : '.';
    }
    reply->text[kept] = '\0';
}

void wire_reader_init(struct wire_reader *reader) {
    *reader = (struct wire_reader){0};
}

void wire_reader_fini(struct wire_reader *reader) {
    free(reader->stash);
    reader->stash = NULL;
}

/* The head is complete: what follows it is known. */
static void head_done(struct wire_reader *reader) {
    reader->begun = true;
    reader->body_left = reader->reply.body_bytes;
    reader->trailer_left = reader->reply.trailer_bytes;
}

static enum wire_event stash_more(struct wire_reader *reader, const uint8_t *bytes, size_t count,
                                  struct wire_run *run) {
    if (reader->stash == NULL) {
        reader->stash = malloc(WIRE_REPLY_MAX);
    }
    if (reader->stash == NULL || count > WIRE_REPLY_MAX - reader->stashed) {
        return WIRE_EVENT_BAD;
    }
    memcpy(reader->stash + reader->stashed, bytes, count);
    reader->stashed = (uint16_t)(reader->stashed + count);
    run->used += count;
    return WIRE_EVENT_MORE;
}

/* A head that was cut: the stash is topped up and read again. What the head does not take of it
 * came from the caller's bytes, and is left to the caller. */
static int head_read_stashed(const struct wire *wire, struct wire_reader *reader,
                             const uint8_t *bytes, size_t count, struct wire_run *run) {
    size_t old = reader->stashed;
    size_t add = WIRE_REPLY_MAX - old < count ? WIRE_REPLY_MAX - old : count;
    memcpy(reader->stash + old, bytes, add);
    size_t used = 0;
    int r = wire->read(reader->stash, old + add, &reader->reply, &used);
    if (r == WIRE_SHORT) {
        if (add < count) {
            return WIRE_BAD; /* longer than any head may be */
        }
        reader->stashed = (uint16_t)(old + add);
        run->used = add;
        return WIRE_SHORT;
    }
    if (r == 0) {
        must(used > old); /* it was short before */
        reader->stashed = 0;
        run->used = used - old;
    }
    return r;
}

static enum wire_event tail_step(struct wire_reader *reader, const uint8_t *bytes, size_t count,
                                 struct wire_run *run) {
    while (reader->trailer_left > 0) {
        if (run->used == count) {
            return WIRE_EVENT_MORE;
        }
        if (bytes[run->used] != (reader->trailer_left == 2 ? '\r' : '\n')) {
            return WIRE_EVENT_BAD;
        }
        run->used++;
        reader->trailer_left--;
    }
    reader->begun = false;
    return WIRE_EVENT_REPLY;
}

enum wire_event wire_reader_step(const struct wire *wire, struct wire_reader *reader,
                                 const uint8_t *bytes, size_t count, struct wire_run *ret_run) {
    ret_run->used = 0;
    if (!reader->begun) {
        if (count == 0) {
            return WIRE_EVENT_MORE;
        }
        int r;
        if (reader->stashed == 0) {
            r = wire->read(bytes, count, &reader->reply, &ret_run->used);
            if (r == WIRE_SHORT) {
                return stash_more(reader, bytes, count, ret_run);
            }
        } else {
            r = head_read_stashed(wire, reader, bytes, count, ret_run);
            if (r == WIRE_SHORT) {
                return WIRE_EVENT_MORE;
            }
        }
        if (r != 0) {
            return WIRE_EVENT_BAD;
        }
        head_done(reader);
    }
    if (reader->body_left > 0) {
        size_t rest = count - ret_run->used;
        if (rest == 0) {
            return WIRE_EVENT_MORE;
        }
        ret_run->body = bytes + ret_run->used;
        ret_run->body_at = reader->reply.body_bytes - reader->body_left;
        ret_run->body_bytes = rest < reader->body_left ? (uint32_t)rest : reader->body_left;
        ret_run->used += ret_run->body_bytes;
        reader->body_left -= ret_run->body_bytes;
        return WIRE_EVENT_BODY;
    }
    return tail_step(reader, bytes, count, ret_run);
}
