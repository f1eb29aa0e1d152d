/* SPDX-License-Identifier: MIT */
#include "proto/bitswap/bitswap.h"

#include "base/must.h"
#include "base/varint.h"
#include "proto/wire.h"

#include <string.h>

#define FLAG_BYTES 2u /* a field whose value is 0 or 1 */

static size_t name_size(const struct key *key, const struct bitswap_form *form) {
    if (form->version == 0) {
        return 2 + 32;
    }
    return 1 + varint_bytes(form->codec) + varint_bytes(key->code) + 1 + key->digest_bytes;
}

/* The CID, as it was asked for. */
static size_t name_put(const struct key *key, const struct bitswap_form *form, uint8_t *out) {
    size_t used = 0;
    if (form->version == 0) {
        must(key->code == HASH_SHA2_256);
        must(key->digest_bytes == 32);
    } else {
        out[used++] = 1;
        used += varint_write(form->codec, out + used);
    }
    return used + key_write(key, out + used);
}

static size_t prefix_size(const struct key *key, const struct bitswap_form *form) {
    return 1 + varint_bytes(form->codec) + varint_bytes(key->code) +
           varint_bytes(key->digest_bytes);
}

static size_t prefix_put(const struct key *key, const struct bitswap_form *form, uint8_t *out) {
    size_t used = 0;
    out[used++] = form->version;
    used += varint_write(form->codec, out + used);
    used += varint_write(key->code, out + used);
    return used + varint_write(key->digest_bytes, out + used);
}

size_t bitswap_put_length(uint32_t message_bytes, uint8_t *out) {
    must(message_bytes <= BITSWAP_MESSAGE_MAX);
    return varint_write(message_bytes, out);
}

size_t bitswap_put_empty_list(uint8_t *out) {
    return wire_put_head(out, 1, 0);
}

/* ---- wants ---- */

/* int32 on the wire: ten bytes where it is below zero. */
static uint64_t priority_value(const struct bitswap_want *want) {
    return (uint64_t)(int64_t)want->priority;
}

static size_t entry_inside(const struct bitswap_want *want) {
    return wire_bytes_size(name_size(&want->key, &want->form)) +
           (want->priority == 0 ? 0 : wire_varint_size(priority_value(want))) +
           (want->cancel ? FLAG_BYTES : 0u) + (want->have ? FLAG_BYTES : 0u) +
           (want->send_dont_have ? FLAG_BYTES : 0u);
}

size_t bitswap_entry_size(const struct bitswap_want *want) {
    return wire_bytes_size(entry_inside(want));
}

size_t bitswap_put_list_head(uint32_t entries_bytes, bool full, uint8_t *out) {
    return wire_put_head(out, 1, entries_bytes + (full ? FLAG_BYTES : 0u));
}

size_t bitswap_put_entry(const struct bitswap_want *want, uint8_t *out) {
    size_t used = wire_put_head(out, 1, entry_inside(want));
    used += wire_put_head(out + used, 1, name_size(&want->key, &want->form));
    used += name_put(&want->key, &want->form, out + used);
    if (want->priority != 0) {
        used += wire_put_varint(out + used, 2, priority_value(want));
    }
    if (want->cancel) {
        used += wire_put_varint(out + used, 3, 1);
    }
    if (want->have) {
        used += wire_put_varint(out + used, 4, 1);
    }
    if (want->send_dont_have) {
        used += wire_put_varint(out + used, 5, 1);
    }
    return used;
}

size_t bitswap_put_full(uint8_t *out) {
    return wire_put_varint(out, 2, 1);
}

/* ---- blocks and presences ---- */

static size_t payload_inside(const struct key *key, const struct bitswap_form *form,
                             uint32_t block_bytes) {
    return wire_bytes_size(prefix_size(key, form)) + wire_bytes_size(block_bytes);
}

size_t bitswap_block_size(const struct key *key, const struct bitswap_form *form,
                          uint32_t block_bytes) {
    return wire_bytes_size(payload_inside(key, form, block_bytes));
}

size_t bitswap_put_block_head(const struct key *key, const struct bitswap_form *form,
                              uint32_t block_bytes, uint8_t out[BITSWAP_BLOCK_HEAD_MAX]) {
    size_t used = wire_put_head(out, 3, payload_inside(key, form, block_bytes));
    used += wire_put_head(out + used, 1, prefix_size(key, form));
    used += prefix_put(key, form, out + used);
    return used + wire_put_head(out + used, 2, block_bytes);
}

size_t bitswap_block_size_100(uint32_t block_bytes) {
    return wire_bytes_size(block_bytes);
}

size_t bitswap_put_block_head_100(uint32_t block_bytes, uint8_t out[BITSWAP_BLOCK_HEAD_MAX]) {
    return wire_put_head(out, 2, block_bytes);
}

size_t bitswap_put_presence(const struct key *key, const struct bitswap_form *form, bool have,
                            uint8_t out[BITSWAP_PRESENCE_MAX]) {
    size_t name_bytes = name_size(key, form);
    size_t used = wire_put_head(out, 4, wire_bytes_size(name_bytes) + (have ? 0u : FLAG_BYTES));
    used += wire_put_head(out + used, 1, name_bytes);
    used += name_put(key, form, out + used);
    if (!have) {
        used += wire_put_varint(out + used, 2, 1);
    }
    return used;
}
