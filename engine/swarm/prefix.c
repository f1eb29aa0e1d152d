/* SPDX-License-Identifier: MIT */
#include "engine/swarm/prefix.h"

#include "base/bits.h"
#include "base/must.h"

#include <netinet/in.h>

/* Above the 56 bits of a prefix: which family it is of. */
#define PREFIX_IP4 (UINT64_C(4) << 56)
#define PREFIX_IP6 (UINT64_C(6) << 56)

struct prefix_slot {
    uint64_t bits; /* 0: empty */
    uint32_t count;
    uint32_t zero;
};

static struct prefix prefix_ip4(uint32_t address) {
    return (struct prefix){.bits = PREFIX_IP4 | address, .counted = address >> 24 != 127};
}

struct prefix prefix_of(const struct sockaddr *address) {
    if (address->sa_family == AF_INET) {
        struct sockaddr_in ip4;
        memcpy(&ip4, address, sizeof ip4);
        return prefix_ip4(ntohl(ip4.sin_addr.s_addr));
    }
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 ip6;
        memcpy(&ip6, address, sizeof ip6);
        if (IN6_IS_ADDR_V4MAPPED(&ip6.sin6_addr)) {
            return prefix_ip4(get_be32(ip6.sin6_addr.s6_addr + 12));
        }
        return (struct prefix){.bits = PREFIX_IP6 | get_be64(ip6.sin6_addr.s6_addr) >> 8,
                               .counted = !IN6_IS_ADDR_LOOPBACK(&ip6.sin6_addr)};
    }
    return (struct prefix){.bits = 0, .counted = false};
}

static uint64_t slots_count(const struct prefix_config *config) {
    return power_of_two_above(2 * (uint64_t)config->connections_max);
}

size_t prefix_footprint(const struct prefix_config *config) {
    return round_up(slots_count(config) * sizeof(struct prefix_slot), CACHE_LINE);
}

void prefix_init(struct prefix_table *table, void *memory, const struct prefix_config *config) {
    must(config->connections_max >= 1);
    must((uintptr_t)memory % CACHE_LINE == 0);
    *table = (struct prefix_table){
        .config = *config,
        .slots = memory,
        .mask = (uint32_t)(slots_count(config) - 1),
    };
    memset(memory, 0, prefix_footprint(config));
}

static uint32_t home(const struct prefix_table *table, uint64_t bits) {
    uint64_t x = bits ^ table->config.salt;
    x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
    x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return (uint32_t)(x ^ x >> 33) & table->mask;
}

/* Returns: where the prefix is, or the empty slot where it would be. */
static uint32_t place(const struct prefix_table *table, uint64_t bits) {
    uint32_t at = home(table, bits);
    while (table->slots[at].bits != 0 && table->slots[at].bits != bits) {
        at = (at + 1) & table->mask;
    }
    return at;
}

void prefix_take_any(struct prefix_table *table, struct prefix prefix) {
    if (!prefix.counted) {
        return;
    }
    struct prefix_slot *slot = &table->slots[place(table, prefix.bits)];
    if (slot->bits == 0) {
        must(table->used < table->config.connections_max);
        table->used++;
        slot->bits = prefix.bits;
    }
    slot->count++;
}

bool prefix_take(struct prefix_table *table, struct prefix prefix) {
    uint32_t most = table->config.each_max;
    if (most > 0 && prefix_count(table, prefix) >= most) {
        return false;
    }
    prefix_take_any(table, prefix);
    return true;
}

/* Empties a slot and moves back what stands behind it only because it was taken. */
static void empty(struct prefix_table *table, uint32_t hole) {
    for (uint32_t at = (hole + 1) & table->mask; table->slots[at].bits != 0;
         at = (at + 1) & table->mask) {
        uint32_t wanted = home(table, table->slots[at].bits);
        if (((at - wanted) & table->mask) >= ((at - hole) & table->mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole] = (struct prefix_slot){0};
    table->used--;
}

void prefix_give_back(struct prefix_table *table, struct prefix prefix) {
    if (!prefix.counted) {
        return;
    }
    uint32_t at = place(table, prefix.bits);
    must(table->slots[at].count > 0);
    if (--table->slots[at].count == 0) {
        empty(table, at);
    }
}

uint32_t prefix_count(const struct prefix_table *table, struct prefix prefix) {
    return prefix.counted ? table->slots[place(table, prefix.bits)].count : 0;
}
