/* SPDX-License-Identifier: MIT */
#include "engine/swarm/self.h"

#include "base/must.h"
#include "build_info.h"
#include "engine/engine_private.h"
#include "proto/libp2p/secure.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>

const char self_agent[] = "millrace/" MILLRACE_VERSION;
const char self_protocol_version[] = "ipfs/0.1.0";
const char *const self_protocols[] = {
    "/ipfs/id/1.0.0",      "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/ipfs/bitswap/1.2.0",
    "/ipfs/bitswap/1.1.0", "/ipfs/bitswap/1.0.0", "/ipfs/bitswap",    NULL,
};

static void add(struct engine *engine, const struct multiaddr *address) {
    if (engine->address_count < SELF_ADDRESSES_MAX) {
        engine->addresses[engine->address_count++] = *address;
    }
}

/* The address of an interface as another peer would dial it. */
static bool dialable(const struct sockaddr *of, struct multiaddr *address) {
    if (of->sa_family == AF_INET) {
        const struct sockaddr_in *four = (const struct sockaddr_in *)(const void *)of;
        address->host = MULTIADDR_IP4;
        memcpy(address->address, &four->sin_addr, sizeof four->sin_addr);
        return true;
    }
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)of;
    if (of->sa_family != AF_INET6 || IN6_IS_ADDR_LINKLOCAL(&six->sin6_addr)) {
        return false;
    }
    address->host = MULTIADDR_IP6;
    memcpy(address->address, &six->sin6_addr, sizeof six->sin6_addr);
    return true;
}

/* Adds the addresses of the host's interfaces: those of loopback, or all others. */
static void add_interfaces(struct engine *engine, const struct ifaddrs *all, bool six,
                           bool loopback, uint16_t port) {
    for (const struct ifaddrs *each = all; each != NULL; each = each->ifa_next) {
        struct multiaddr address = {.port = port};
        bool wanted = each->ifa_addr != NULL && (each->ifa_flags & IFF_UP) != 0 &&
                      ((each->ifa_flags & IFF_LOOPBACK) != 0) == loopback;
        if (wanted && (six || each->ifa_addr->sa_family == AF_INET) &&
            dialable(each->ifa_addr, &address)) {
            add(engine, &address);
        }
    }
}

/* A listener on every address: IPv6's takes IPv4 as well. What others can reach comes first. */
static void add_everywhere(struct engine *engine, bool six, uint16_t port) {
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) == 0) {
        add_interfaces(engine, all, six, false, port);
        add_interfaces(engine, all, six, true, port);
        freeifaddrs(all);
    }
}

static void add_listener(struct engine *engine, const struct listener_address *listener) {
    static const uint8_t anywhere[16];
    struct multiaddr address = {.port = listener->port};
    bool six = strchr(listener->host, ':') != NULL;
    address.host = six ? MULTIADDR_IP6 : MULTIADDR_IP4;
    int r = inet_pton(six ? AF_INET6 : AF_INET, listener->host, address.address);
    must(r == 1); /* settings_listeners wrote it */
    if (memcmp(address.address, anywhere, sizeof anywhere) == 0) {
        add_everywhere(engine, six, listener->port);
    } else {
        add(engine, &address);
    }
}

void self_locate(struct engine *engine) {
    struct multiaddr announced[SETTINGS_ANNOUNCE_MAX];
    const char *row;
    char why[256];
    uint32_t count = 0;
    int r = settings_announced(&engine->settings, announced, &count, &row, why, sizeof why);
    must(r == 0); /* settings_check looked at it */
    engine->address_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        add(engine, &announced[i]);
    }
    for (uint32_t i = 0; count == 0 && i < engine->listener_count; i++) {
        if (engine->listeners[i].address.protocol == LISTENER_BITSWAP) {
            add_listener(engine, &engine->listeners[i].address);
        }
    }
}

json_t *self_json(const struct engine *engine) {
    char id[PEER_ID_TEXT_MAX], text[MULTIADDR_TEXT_MAX];
    const struct peer_id *peer = secure_self_id(engine->self);
    json_t *root = json_object(), *addresses = json_array(), *protocols = json_array();
    peer_id_format(peer, id);
    json_object_set_new(root, "id", json_string(id));
    for (uint32_t i = 0; i < engine->address_count; i++) {
        struct multiaddr whole = engine->addresses[i];
        whole.peer = *peer;
        multiaddr_format(&whole, text);
        json_array_append_new(addresses, json_string(text));
    }
    json_object_set_new(root, "addrs", addresses);
    json_object_set_new(root, "agent", json_string(self_agent));
    for (const char *const *name = self_protocols; *name != NULL; name++) {
        json_array_append_new(protocols, json_string(*name));
    }
    json_object_set_new(root, "protocols", protocols);
    return root;
}
