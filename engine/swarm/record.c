/* SPDX-License-Identifier: MIT */
#include "engine/swarm/record.h"

#include "base/bits.h"
#include "base/must.h"
#include "engine/net.h"
#include "engine/swarm/message.h"
#include "engine/swarm/peer.h"

static_assert(OUT_LARGE_BYTES >= SECURE_RECORD_BYTES, "a large chunk holds a whole record");
static_assert(OUT_SMALL_BYTES > SECURE_HEAD + SECURE_TAIL + 1024, "small talk fits a small one");

static uint32_t plain_max(const struct out *record) {
    return min_u32(record->size - SECURE_HEAD - SECURE_TAIL, SECURE_PLAIN_MAX);
}

static uint8_t *plain_at(const struct out *record, uint32_t offset) {
    return (uint8_t *)(uintptr_t)record->bytes + SECURE_HEAD + offset;
}

uint32_t record_left(const struct peer *peer) {
    return peer->record ? plain_max(peer->record) - peer->record_used : 0;
}

void record_trim(struct peer *peer, uint32_t bytes) {
    must(peer->record && peer->record_used >= bytes);
    peer->record_used -= bytes;
}

void record_drop(struct peer *peer) {
    if (peer->record) {
        out_put(&peer->swarm->net->outs, peer->record);
        peer->record = NULL;
        peer->record_used = 0;
        peer->message.stream = NULL;
    }
}

bool record_seal_with(struct peer *peer, const uint8_t *body, uint32_t body_bytes) {
    struct net *net = peer->swarm->net;
    struct out *record = peer->record;
    must(record && peer->message.stream == NULL && peer->record_used + body_bytes > 0);
    uint32_t start = 0, bytes = 0;
    int r = secure_seal(peer->secure, (uint8_t *)(uintptr_t)record->bytes, peer->record_used, body,
                        body_bytes, &start, &bytes);
    if (unlikely(r < 0)) {
        record_drop(peer);
        peer_end(peer, CONN_END_ERROR);
        return false;
    }
    record->bytes += start;
    record->used = bytes;
    peer->record = NULL;
    peer->record_used = 0;
    peer->bytes_out += bytes;
    out_append(&net->outs, peer->conn, record);
    counter_add(&peer->swarm->counters.records_out, 1);
    net_conn_dirty(net, peer->conn);
    return true;
}

bool record_seal(struct peer *peer) {
    message_end(peer);
    if (!peer->record) {
        return true;
    }
    if (peer->record_used == 0) {
        record_drop(peer);
        return true;
    }
    return record_seal_with(peer, NULL, 0);
}

/* Where much is being said already, more will follow: a large chunk then. */
static bool take_record(struct peer *peer, uint32_t bytes) {
    struct out_pools *outs = &peer->swarm->net->outs;
    const uint32_t small_max = OUT_SMALL_BYTES - SECURE_HEAD - SECURE_TAIL;
    bool large = bytes > small_max || peer->conn->out_head != NULL || peer->jobs_out > 1;
    struct out *record = out_take(outs, large);
    if (!record && (large ? bytes <= small_max : true)) {
        record = out_take(outs, !large);
    }
    peer->record = record;
    peer->record_used = 0;
    return record != NULL;
}

uint8_t *record_room(struct peer *peer, uint32_t bytes, bool keep_message) {
    must(bytes <= 16u * KiB);
    if (peer->state == PEER_GONE) {
        return NULL;
    }
    if (!keep_message) {
        message_end(peer);
    }
    if (peer->record && record_left(peer) < bytes) {
        if (peer->message.stream || !record_seal(peer)) {
            return NULL;
        }
    }
    if (!peer->record && !take_record(peer, bytes)) {
        return NULL;
    }
    uint8_t *room = plain_at(peer->record, peer->record_used);
    peer->record_used += bytes;
    net_conn_dirty(peer->swarm->net, peer->conn);
    return room;
}

bool record_begin_large(struct peer *peer) {
    if (!record_seal(peer)) {
        return false;
    }
    peer->record = out_take(&peer->swarm->net->outs, true);
    peer->record_used = 0;
    return peer->record != NULL;
}
