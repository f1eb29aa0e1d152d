/* SPDX-License-Identifier: MIT */
#pragma once

/* prefix — how many connections each address has, so that one host cannot take them all.
 *
 * What one host owns for nothing counts as one: an IPv4 address, an IPv6 /56. IPv4 inside IPv6
 * (::ffff:a.b.c.d) is IPv4. Loopback and what is no IP address are never counted.
 *
 * An open-addressed table under a salted hash, as large as twice the connections there may be, so
 * it cannot fill. Memory: the caller's, prefix_footprint() bytes aligned to CACHE_LINE. Cost: O(1).
 * Pure. Thread: owner. */

#include "base/base.h"

#include <sys/socket.h>

struct prefix {
    uint64_t bits; /* of the prefix, family told apart */
    bool counted;  /* false: exempt */
};
struct prefix prefix_of(const struct sockaddr *address);

struct prefix_config {
    uint32_t connections_max; /* most that are taken at once */
    uint32_t each_max;        /* of one prefix; 0: no bound */
    uint64_t salt;            /* random */
};
struct prefix_slot;
struct prefix_table {
    struct prefix_config config;
    struct prefix_slot *slots;
    uint32_t mask;
    uint32_t used;
};
size_t prefix_footprint(const struct prefix_config *config);
void prefix_init(struct prefix_table *table, void *memory, const struct prefix_config *config);

/* Counts a connection in. Returns: false, counted: its prefix has its most already; close it. */
must_check bool prefix_take(struct prefix_table *table, struct prefix prefix);
/* As prefix_take without the bound, for connections that we dialled. */
void prefix_take_any(struct prefix_table *table, struct prefix prefix);
/* One that was taken is closed. */
void prefix_give_back(struct prefix_table *table, struct prefix prefix);
uint32_t prefix_count(const struct prefix_table *table, struct prefix prefix);
