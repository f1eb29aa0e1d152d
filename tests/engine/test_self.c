/* SPDX-License-Identifier: MIT */
#include "engine/swarm/self.h"

#include "engine/engine_private.h"
#include "engine/listen.h"
#include "engine/swarm/stream.h"
#include "proto/libp2p/secure.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct engine *engine;

static void setup(void) {
    engine = aligned_alloc(CACHE_PAIR, (sizeof *engine + CACHE_PAIR - 1) / CACHE_PAIR * CACHE_PAIR);
    memset(engine, 0, sizeof *engine);
    option_defaults(settings_table, settings_rows, &engine->settings);
    (void)snprintf(engine->settings.tlv_listen, sizeof engine->settings.tlv_listen, "127.0.0.1:0");
}

static void teardown(void) {
    listen_close(engine);
    secure_self_close(engine->self);
    free(engine);
}

TestSuite(self, .init = setup, .fini = teardown);

/* Listeners that are not opened: only what they say matters. */
static void listen_at(const char *text) {
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    const char *row;
    char why[512];
    (void)snprintf(engine->settings.bitswap_listen, sizeof engine->settings.bitswap_listen, "%s",
                   text);
    cr_assert_eq(
        settings_listeners(&engine->settings, list, &engine->listener_count, &row, why, sizeof why),
        0);
    for (uint32_t i = 0; i < engine->listener_count; i++) {
        engine->listeners[i] = (struct listener){.fd = -1, .address = list[i]};
    }
    self_locate(engine);
}

static const char *address(uint32_t index) {
    static char text[MULTIADDR_TEXT_MAX];
    cr_assert_lt(index, engine->address_count);
    multiaddr_format(&engine->addresses[index], text);
    return text;
}

Test(self, the_listeners_of_peers_are_where_we_are) {
    listen_at("127.0.0.1:7412 [2001:db8::1]:4001");
    cr_assert_eq(engine->address_count, 2);
    cr_assert_str_eq(address(0), "/ip4/127.0.0.1/tcp/7412");
    cr_assert_str_eq(address(1), "/ip6/2001:db8::1/tcp/4001");
}

Test(self, a_node_that_peers_cannot_dial_has_no_address) {
    listen_at("");
    cr_assert_eq(engine->address_count, 0);
}

Test(self, a_listener_on_every_address_is_said_by_what_the_host_has) {
    bool loopback = false;
    listen_at("0.0.0.0:4001");
    for (uint32_t i = 0; i < engine->address_count; i++) {
        cr_assert_eq(strncmp(address(i), "/ip4/", 5), 0, "%s", address(i));
        cr_assert_str_neq(address(i), "/ip4/0.0.0.0/tcp/4001");
        loopback |= strcmp(address(i), "/ip4/127.0.0.1/tcp/4001") == 0;
    }
    cr_assert(loopback);
    uint32_t four = engine->address_count;
    listen_at("[::]:4001");
    cr_assert_geq(engine->address_count, four, "IPv4 peers reach it as well");
    for (uint32_t i = 0; i < engine->address_count; i++) {
        cr_assert_str_neq(address(i), "/ip6/::/tcp/4001");
        cr_assert_neq(strncmp(address(i), "/ip6/fe80:", 10), 0, "a zone cannot be said");
    }
}

Test(self, what_is_announced_stands_for_the_listeners) {
    (void)snprintf(engine->settings.bitswap_announce, sizeof engine->settings.bitswap_announce,
                   "/dns4/node.example/tcp/4001 /ip4/192.0.2.7/tcp/4002");
    listen_at("127.0.0.1:7412");
    cr_assert_eq(engine->address_count, 2);
    cr_assert_str_eq(address(0), "/dns4/node.example/tcp/4001");
    cr_assert_str_eq(address(1), "/ip4/192.0.2.7/tcp/4002");
}

Test(self, more_addresses_than_can_be_said_are_left_out) {
    char text[1024] = "";
    (void)snprintf(engine->settings.tlv_listen, sizeof engine->settings.tlv_listen, "%s", "");
    for (int i = 0; i < SETTINGS_LISTENERS_MAX; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "0.0.0.0:%d ", 4001 + i);
    }
    listen_at(text);
    cr_assert_leq(engine->address_count, SELF_ADDRESSES_MAX);
}

Test(self, the_answer_of_id_is_whole) {
    static const uint8_t seed[SECURE_SEED_BYTES] = {1, 2, 3};
    char id[PEER_ID_TEXT_MAX], whole[MULTIADDR_TEXT_MAX];
    cr_assert_eq(secure_self_open(seed, &engine->self), 0);
    listen_at("127.0.0.1:7412");
    json_t *answer = self_json(engine);
    peer_id_format(secure_self_id(engine->self), id);
    (void)snprintf(whole, sizeof whole, "/ip4/127.0.0.1/tcp/7412/p2p/%s", id);
    cr_assert_str_eq(json_string_value(json_object_get(answer, "id")), id);
    const json_t *addresses = json_object_get(answer, "addrs");
    cr_assert_eq(json_array_size(addresses), 1);
    cr_assert_str_eq(json_string_value(json_array_get(addresses, 0)), whole);
    cr_assert_str_eq(json_string_value(json_object_get(answer, "agent")), self_agent);
    cr_assert_eq(strncmp(self_agent, "millrace/", 9), 0);
    const json_t *protocols = json_object_get(answer, "protocols");
    size_t bitswap = 0;
    for (size_t i = 0; i < json_array_size(protocols); i++) {
        for (uint32_t j = 0; j < BITSWAP_PROTOCOLS; j++) { /* what streams take */
            const char *name = json_string_value(json_array_get(protocols, i));
            bitswap += strcmp(name, bitswap_protocols[j]) == 0;
        }
    }
    cr_assert_eq(bitswap, BITSWAP_PROTOCOLS);
    json_decref(answer);
}
