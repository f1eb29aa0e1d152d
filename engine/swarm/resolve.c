/* SPDX-License-Identifier: MIT */
#include "engine/swarm/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libc's thread writes into it until it says that it is done: it is never freed before. */
struct resolve {
    struct gaicb query;
    struct addrinfo hints;
    char name[MULTIADDR_NAME_MAX], port[8];
};

static void add_address(struct dial_target *target, const void *address, size_t bytes) {
    if (target->count < DIAL_ADDRESSES_MAX && bytes <= sizeof target->addresses[0]) {
        memcpy(&target->addresses[target->count++], address, bytes);
    }
}

/* Returns: false: it is a name. */
static bool is_address(const struct multiaddr *address, struct dial_target *target) {
    if (address->host == MULTIADDR_IP4) {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(address->port)};
        memcpy(&in.sin_addr, address->address, 4);
        add_address(target, &in, sizeof in);
        return true;
    }
    if (address->host == MULTIADDR_IP6) {
        struct sockaddr_in6 in = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)};
        memcpy(&in.sin6_addr, address->address, 16);
        add_address(target, &in, sizeof in);
        return true;
    }
    return false;
}

struct resolve *resolve_begin(const struct multiaddr *address, struct dial_target *target,
                              bool *ret_failed) {
    memset(target, 0, sizeof *target);
    target->peer = address->peer;
    *ret_failed = false;
    if (is_address(address, target)) {
        return NULL;
    }
    struct resolve *resolve = calloc(1, sizeof *resolve);
    if (!resolve) {
        *ret_failed = true;
        return NULL;
    }
    int family = address->host == MULTIADDR_DNS4   ? AF_INET
                 : address->host == MULTIADDR_DNS6 ? AF_INET6
                                                   : AF_UNSPEC;
    memcpy(resolve->name, address->name, sizeof resolve->name);
    (void)snprintf(resolve->port, sizeof resolve->port, "%u", address->port);
    resolve->hints = (struct addrinfo){
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    resolve->query = (struct gaicb){
        .ar_name = resolve->name, .ar_service = resolve->port, .ar_request = &resolve->hints};
    struct gaicb *queries[1] = {&resolve->query};
    if (getaddrinfo_a(GAI_NOWAIT, queries, 1, NULL) != 0) {
        free(resolve);
        *ret_failed = true;
        return NULL;
    }
    return resolve;
}

int resolve_poll(struct resolve *resolve, struct dial_target *target, char *why, size_t why_bytes) {
    int r = gai_error(&resolve->query);
    if (r == EAI_INPROGRESS) {
        return RESOLVE_WAIT;
    }
    if (r != 0) {
        (void)snprintf(why, why_bytes, "%s: %s", resolve->name, gai_strerror(r));
        free(resolve);
        return RESOLVE_FAILED;
    }
    for (const struct addrinfo *at = resolve->query.ar_result; at; at = at->ai_next) {
        add_address(target, at->ai_addr, at->ai_addrlen);
    }
    freeaddrinfo(resolve->query.ar_result);
    free(resolve);
    if (target->count == 0) {
        (void)snprintf(why, why_bytes, "the name has no address");
        return RESOLVE_FAILED;
    }
    return 0;
}
