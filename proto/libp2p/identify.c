/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/identify.h"

#include "base/bits.h"
#include "base/log.h"
#include "base/must.h"
#include "base/varint.h"
#include "proto/wire.h"

#include <string.h>

/* Fields of the message. Addresses, a version and a signed record (8) may come too: passed over. */
enum {
    FIELD_KEY = 1,
    FIELD_ADDRESS = 2,
    FIELD_PROTOCOL = 3,
    FIELD_OBSERVED = 4,
    FIELD_VERSION = 5,
    FIELD_AGENT = 6,
};

#define PREFIX_MAX 2u /* length of what is written */

static_assert(IDENTIFY_WRITE_MAX <= 1u << 14, "two bytes say the length of what is written");
static_assert(IDENTIFY_BYTES_MAX < 1u << 21, "the varint of the reader has room");

static const struct {
    const char *name;
    enum identify_speaks bit;
} spoken[] = {
    {"/ipfs/bitswap/1.2.0", SPEAKS_BITSWAP_120},
    {"/ipfs/bitswap/1.1.0", SPEAKS_BITSWAP_110},
    {"/ipfs/bitswap/1.0.0", SPEAKS_BITSWAP_100},
    {"/ipfs/bitswap", SPEAKS_BITSWAP},
    {"/ipfs/ping/1.0.0", SPEAKS_PING},
    {"/ipfs/id/1.0.0", SPEAKS_IDENTIFY},
    {"/ipfs/id/push/1.0.0", SPEAKS_IDENTIFY_PUSH},
};

/* ---- what we say ---- */

struct writer {
    uint8_t *out;
    size_t used;
};

/* What must be said fits; only addresses, which may be many, may not. */
static void put(struct writer *writer, uint32_t number, const void *bytes, size_t count) {
    must(wire_bytes_size(count) <= IDENTIFY_WRITE_MAX - writer->used);
    writer->used += wire_put_bytes(writer->out + writer->used, number, bytes, count);
}

static void put_address(struct writer *writer, uint32_t number, const struct multiaddr *address) {
    uint8_t bytes[MULTIADDR_BYTES_MAX];
    size_t count = multiaddr_write(address, bytes);
    if (wire_bytes_size(count) <= IDENTIFY_WRITE_MAX - writer->used) {
        put(writer, number, bytes, count);
    }
}

size_t identify_write(const struct identify_self *self, uint8_t out[IDENTIFY_WRITE_MAX]) {
    struct writer writer = {out, PREFIX_MAX};
    put(&writer, FIELD_KEY, self->key, self->key_bytes);
    for (const char *const *name = self->protocols; *name; name++) {
        put(&writer, FIELD_PROTOCOL, *name, strlen(*name));
    }
    put(&writer, FIELD_VERSION, self->protocol_version, strlen(self->protocol_version));
    put(&writer, FIELD_AGENT, self->agent, strlen(self->agent));
    if (self->observed) {
        put_address(&writer, FIELD_OBSERVED, self->observed);
    }
    for (uint32_t i = 0; i < self->address_count && i < IDENTIFY_ADDRESSES_MAX; i++) {
        put_address(&writer, FIELD_ADDRESS, &self->addresses[i]);
    }
    size_t count = writer.used - PREFIX_MAX, prefix = varint_bytes(count);
    memmove(out + prefix, out + PREFIX_MAX, count);
    varint_write(count, out);
    return prefix + count;
}

/* ---- what a peer says ---- */

void identify_reader_init(struct identify_reader *reader, const struct peer_id *peer,
                          uint8_t *buffer) {
    *reader = (struct identify_reader){.peer = *peer, .buffer = buffer};
}

static uint32_t speaks_bit(const struct wire_field *field) {
    for (size_t i = 0; i < array_count(spoken); i++) {
        if (field->count == strlen(spoken[i].name) &&
            memcmp(field->bytes, spoken[i].name, field->count) == 0) {
            return spoken[i].bit;
        }
    }
    return 0;
}

/* A key that is said twice must be the right one both times. */
static void merge_key(struct identify_info *info, const struct peer_id *peer,
                      const struct wire_field *field) {
    struct peer_id id;
    bool same = peer_id_of_key(field->bytes, field->count, &id) == 0 && peer_id_equal(&id, peer);
    info->key_matches = same && (info->key_matches || !info->key_seen);
    info->key_seen = true;
}

static int merge(struct identify_info *info, const struct peer_id *peer, const uint8_t *bytes,
                 size_t count) {
    const uint8_t *at = bytes, *end = bytes + count;
    struct wire_field field;
    int r;
    while ((r = wire_next(&at, end, &field)) == 0) {
        if (field.type != WIRE_BYTES) {
            continue; /* nothing we know is a number */
        }
        switch (field.number) {
        case FIELD_KEY:
            merge_key(info, peer, &field);
            break;
        case FIELD_PROTOCOL:
            info->speaks |= speaks_bit(&field);
            break;
        case FIELD_AGENT:
            log_escape(info->agent, sizeof info->agent, field.bytes,
                       min_u64(field.count, sizeof info->agent));
            break;
        default:
            break;
        }
    }
    return r;
}

static enum identify_event end_bad(struct identify_reader *reader) {
    reader->ended = true;
    return IDENTIFY_BAD;
}

/* The message in the buffer is whole. */
static enum identify_event end_message(struct identify_reader *reader) {
    struct identify_info info = reader->info;
    if (merge(&info, &reader->peer, reader->buffer, reader->wanted) != WIRE_END) {
        return end_bad(reader);
    }
    reader->info = info;
    reader->messages++;
    reader->varint_count = 0;
    reader->in_message = false;
    return IDENTIFY_MESSAGE;
}

static enum identify_event take_length(struct identify_reader *reader, uint8_t byte) {
    uint64_t length;
    size_t used;
    if (reader->messages == IDENTIFY_MESSAGES_MAX ||
        reader->varint_count == sizeof reader->varint) {
        return end_bad(reader);
    }
    reader->varint[reader->varint_count++] = byte;
    int r = varint_read(reader->varint, reader->varint_count, &length, &used);
    if (r == VARINT_SHORT) {
        return IDENTIFY_MORE;
    }
    if (r != 0 || length > IDENTIFY_BYTES_MAX) {
        return end_bad(reader);
    }
    reader->wanted = (uint32_t)length;
    reader->gathered = 0;
    reader->in_message = true;
    return length == 0 ? end_message(reader) : IDENTIFY_MORE;
}

enum identify_event identify_step(struct identify_reader *reader, const uint8_t *bytes,
                                  size_t count, size_t *ret_used) {
    size_t at = 0;
    enum identify_event event = reader->ended ? IDENTIFY_BAD : IDENTIFY_MORE;
    while (event == IDENTIFY_MORE && at < count) {
        if (!reader->in_message) {
            event = take_length(reader, bytes[at++]);
            continue;
        }
        size_t take = min_u64(count - at, reader->wanted - reader->gathered);
        memcpy(reader->buffer + reader->gathered, bytes + at, take);
        reader->gathered += (uint32_t)take;
        at += take;
        if (reader->gathered == reader->wanted) {
            event = end_message(reader);
        }
    }
    *ret_used = at;
    return event;
}
