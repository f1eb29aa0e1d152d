/* SPDX-License-Identifier: MIT */
#include "tools/load/bitswap/letter.h"

#define LIST_HEAD_MAX 8u

void letter_add(struct letter *letter, const struct bitswap_want *want) {
    uint8_t *out = bytes_room(&letter->entries, BITSWAP_ENTRY_MAX);
    letter->entries.used += (uint32_t)bitswap_put_entry(want, out);
    letter->count++;
}

void letter_send(struct letter *letter, struct peer *peer, struct peer_stream *stream) {
    uint8_t list[LIST_HEAD_MAX];
    uint32_t bytes = letter->entries.used;
    size_t head = bitswap_put_list_head(bytes, false, list);
    uint8_t *out = bytes_room(&stream->out, BITSWAP_LENGTH_MAX + head + bytes);
    stream->out.used += (uint32_t)bitswap_put_length((uint32_t)head + bytes, out);
    bytes_add(&stream->out, list, head);
    bytes_add(&stream->out, letter->entries.at, bytes);
    letter->entries.used = 0;
    letter->count = 0;
    peer_queue(peer, stream);
}

void letter_close(struct letter *letter) {
    bytes_free(&letter->entries);
}
