/* SPDX-License-Identifier: MIT */
#include "engine/swarm/guard.h"

#include "base/bits.h"
#include "base/mem.h"
#include "engine/net.h"
#include "engine/swarm/peer.h"

#define OFFERS_A_TICK 4096u
#define REST_NS       (5 * NS_PER_S)

static struct prefix_config prefix_config_of(const struct settings *settings, uint32_t net_count,
                                             uint64_t salt) {
    uint32_t each = (uint32_t)settings->bitswap_address_peers_max;
    return (struct prefix_config){
        .connections_max = (uint32_t)(settings->bitswap_peers_max / net_count + 16),
        .each_max = each == 0 ? 0 : max_u32(1, (each + net_count - 1) / net_count),
        .salt = salt,
    };
}

static struct trim_config trim_config_of(const struct settings *settings, uint32_t net_count) {
    uint32_t high = (uint32_t)max_u64(2, settings->bitswap_high_water / net_count);
    uint32_t low = (uint32_t)(settings->bitswap_low_water / net_count);
    return (struct trim_config){.high = high,
                                .low = min_u32(max_u32(1, low), high - 1),
                                .grace_ns = settings->bitswap_grace_ns};
}

size_t guard_footprint(const struct settings *settings, uint32_t net_count) {
    struct prefix_config config = prefix_config_of(settings, net_count, 0);
    return mem_need(0, prefix_footprint(&config), CACHE_PAIR);
}

void guard_open(struct guard *guard, struct mem_region *region, const struct settings *settings,
                uint32_t net_count, uint64_t salt) {
    struct prefix_config config = prefix_config_of(settings, net_count, salt);
    prefix_init(&guard->prefixes, mem_carve(region, prefix_footprint(&config), CACHE_PAIR),
                &config);
    struct trim_config trim = trim_config_of(settings, net_count);
    trim_init(&guard->trim, &trim);
    guard->net_count = net_count;
}

void guard_apply(struct guard *guard, const struct settings *settings) {
    guard->trim.config = trim_config_of(settings, guard->net_count);
}

bool guard_take(struct guard *guard, struct peer *peer, const struct sockaddr *address,
                bool dialled) {
    peer->prefix = prefix_of(address);
    if (dialled) {
        prefix_take_any(&guard->prefixes, peer->prefix);
        return true;
    }
    return prefix_take(&guard->prefixes, peer->prefix);
}

void guard_give_back(struct guard *guard, struct peer *peer) {
    prefix_give_back(&guard->prefixes, peer->prefix);
}

static void offer(struct swarm *swarm, const struct peer *peer, uint32_t slot) {
    uint64_t now_ns = swarm->net->core->now_ns;
    uint32_t neighbours = prefix_count(&swarm->guard.prefixes, peer->prefix);
    struct trim_candidate candidate = {
        .id = (uint64_t)pool_generation(&swarm->peers, slot) << 32 | slot,
        .age_ns = now_ns - peer->opened_ns,
        .idle_ns = now_ns - peer->useful_ns,
        .bytes_received = peer->lately_received,
        .bytes_sent = peer->lately_sent,
        .wants_queued = peer->ledger.queued + peer->ledger.serving,
        .neighbours = neighbours > 0 ? neighbours - 1 : 0,
        .outbound = peer->dialer,
        .protected = peer->protected,
        .in_use = peer_is_used(peer),
    };
    trim_offer(&swarm->guard.trim, &candidate);
}

/* The round is over: those chosen go, if they are still who they were. */
static void close_chosen(struct swarm *swarm) {
    uint64_t ids[TRIM_BATCH];
    uint32_t count = trim_end(&swarm->guard.trim, ids);
    for (uint32_t i = 0; i < count; i++) {
        struct peer *peer = pool_find(&swarm->peers, (uint32_t)ids[i], (uint32_t)(ids[i] >> 32));
        if (peer && peer->state == PEER_OPEN && !peer->protected && !peer_is_used(peer)) {
            counter_add(&swarm->counters.trimmed, 1);
            peer_end(peer, CONN_END_IDLE);
        }
    }
    swarm->guard.rest_ns = count == 0 ? swarm->net->core->now_ns + REST_NS : 0;
}

void guard_tick(struct swarm *swarm) {
    struct guard *guard = &swarm->guard;
    if (guard->next == 0 &&
        (swarm->net->core->now_ns < guard->rest_ns ||
         !trim_begin(&guard->trim, (uint32_t)counter_get(&swarm->counters.peers)))) {
        return;
    }
    uint32_t end = min_u32(guard->next + OFFERS_A_TICK, swarm->peers.slots_max);
    for (uint32_t slot = guard->next; slot < end; slot++) {
        const struct peer *peer = pool_at(&swarm->peers, slot);
        if (peer->state == PEER_OPEN && peer->conn) {
            offer(swarm, peer, slot);
        }
    }
    guard->next = end;
    if (end == swarm->peers.slots_max) {
        guard->next = 0;
        close_chosen(swarm);
    }
}

void guard_sweep(struct peer *peer) {
    uint64_t sent = peer->ledger.bytes_sent, received = peer->ledger.bytes_received;
    peer->lately_sent += sent - peer->swept_sent - peer->lately_sent / 8;
    peer->lately_received += received - peer->swept_received - peer->lately_received / 8;
    peer->swept_sent = sent;
    peer->swept_received = received;
}
