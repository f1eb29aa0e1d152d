/* SPDX-License-Identifier: MIT */
#include "engine/settings.h"

#include "base/option.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct settings defaults(void) {
    struct settings settings;
    memset(&settings, 0, sizeof settings);
    option_defaults(settings_table, settings_rows, &settings);
    return settings;
}

static char why[512];
static const char *named; /* the row a refusal names */

static int both_listeners(const char *tlv, const char *bitswap, struct listener_address *list,
                          uint32_t *count) {
    struct settings settings = defaults();
    snprintf(settings.tlv_listen, sizeof settings.tlv_listen, "%s", tlv);
    snprintf(settings.bitswap_listen, sizeof settings.bitswap_listen, "%s", bitswap);
    why[0] = '\0';
    named = "";
    return settings_listeners(&settings, list, count, &named, why, sizeof why);
}

static int listeners(const char *text, struct listener_address *list, uint32_t *count) {
    return both_listeners(text, "", list, count);
}

Test(settings, defaults_lie_in_their_ranges_and_pass_the_check) {
    struct settings settings = defaults();
    const char *name = NULL;
    cr_assert_eq(settings_check(&settings, &name, why, sizeof why), 0, "%s", why);
    cr_assert_str_eq(settings.tlv_listen, "127.0.0.1:7411");
    cr_assert_str_eq(settings.store_dir, "./run");
    cr_assert_eq(settings.cores_idle, IDLE_ADAPTIVE);
    cr_assert(settings.sched_shed);
    cr_assert_not(settings.cores_overcommit);
}

Test(settings, every_row_has_help_and_a_name_of_section_and_key) {
    for (size_t i = 0; i < settings_rows; i++) {
        const struct option *row = &settings_table[i];
        cr_assert(strchr(row->name, '.') != NULL, "%s", row->name);
        cr_assert(row->help[strlen(row->help) - 1] == '.', "%s: a sentence ends in a stop",
                  row->name);
        cr_assert_eq(option_find(settings_table, settings_rows, row->name), row);
        cr_assert(row->unit != NULL && row->fallback != NULL);
    }
}

Test(settings, every_default_survives_format_and_parse) {
    struct settings settings = defaults(), again = defaults();
    for (size_t i = 0; i < settings_rows; i++) {
        char text[1200];
        option_format(&settings_table[i], &settings, text, sizeof text);
        cr_assert_eq(option_parse(&settings_table[i], &again, text, why, sizeof why), 0, "%s", why);
    }
    cr_assert_eq(memcmp(&settings, &again, sizeof settings), 0);
}

Test(settings, a_listener_has_address_port_and_ceiling) {
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    uint32_t count = 0;
    cr_assert_eq(listeners("127.0.0.1:7411  0.0.0.0:80,ceiling=low\t[::1]:1,ceiling=high "
                           "localhost:0 [2001:db8::1]:65535",
                           list, &count),
                 0);
    cr_assert_eq(count, 5);
    cr_assert_str_eq(list[0].host, "127.0.0.1");
    cr_assert_eq(list[0].port, 7411);
    cr_assert_eq(list[0].ceiling, CLASS_CRITICAL, "loopback");
    cr_assert(list[0].loopback);
    cr_assert_eq(list[1].ceiling, CLASS_LOW);
    cr_assert_not(list[1].loopback);
    cr_assert_str_eq(list[2].host, "::1");
    cr_assert_eq(list[2].ceiling, CLASS_HIGH);
    cr_assert(list[2].loopback);
    cr_assert_str_eq(list[3].host, "127.0.0.1");
    cr_assert_eq(list[3].port, 0);
    cr_assert_eq(list[4].ceiling, CLASS_NORMAL, "not loopback");
}

Test(settings, what_is_no_listener_is_refused_with_a_sentence) {
    static const char *const bad[] = {
        "",
        "   ",
        "7411",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "127.0.0.1:+1",
        "127.0.0.1:7411x",
        "::1:7411",
        "[::1:7411",
        "[127.0.0.1]:7411",
        "example.org:7411",
        "127.0.0.1:1,ceiling=vip",
        "127.0.0.1:1,roof=low",
        "127.0.0.1:1,",
        "256.0.0.1:1",
        ":7411",
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        struct listener_address list[SETTINGS_LISTENERS_MAX];
        uint32_t count = 77;
        cr_assert_eq(listeners(bad[i], list, &count), OPTION_BAD, "'%s' was taken", bad[i]);
        cr_assert_eq(strncmp(why, "tlv.listen: ", 12), 0, "%s", why);
        cr_assert_str_eq(named, "tlv.listen");
        cr_assert_eq(count, 77, "untouched");
        bool empty = strspn(bad[i], " ") == strlen(bad[i]);
        if (!empty) { /* TLV has its listener: that of IPFS peers may be left out */
            cr_assert_eq(both_listeners("127.0.0.1:1", bad[i], list, &count), OPTION_BAD);
            cr_assert_str_eq(named, "bitswap.listen");
            cr_assert_eq(strncmp(why, "bitswap.listen: ", 16), 0, "%s", why);
        }
    }
}

Test(settings, both_lists_make_listeners_that_know_their_protocol) {
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    uint32_t count = 0;
    cr_assert_eq(both_listeners("127.0.0.1:1 127.0.0.1:2", "[::]:4001,ceiling=low", list, &count),
                 0);
    cr_assert_eq(count, 3);
    cr_assert_eq(list[0].protocol, LISTENER_TLV);
    cr_assert_eq(list[1].protocol, LISTENER_TLV);
    cr_assert_eq(list[2].protocol, LISTENER_BITSWAP);
    cr_assert_eq(list[2].port, 4001);
    cr_assert_eq(list[2].ceiling, CLASS_LOW);
    cr_assert_str_eq(listener_protocol_names[list[2].protocol], "bitswap");
    cr_assert_eq(both_listeners("", "127.0.0.1:4001", list, &count), 0, "one protocol is enough");
    cr_assert_eq(count, 1);
    cr_assert_eq(list[0].protocol, LISTENER_BITSWAP);
}

Test(settings, announced_addresses_are_multiaddrs_without_an_id) {
    struct settings settings = defaults();
    struct multiaddr list[SETTINGS_ANNOUNCE_MAX];
    uint32_t count = 9;
    cr_assert_eq(settings_announced(&settings, list, &count, &named, why, sizeof why), 0);
    cr_assert_eq(count, 0, "nothing by default");
    snprintf(settings.bitswap_announce, sizeof settings.bitswap_announce,
             " /dns4/node.example/tcp/4001  /ip6/2001:db8::1/tcp/4001");
    cr_assert_eq(settings_announced(&settings, list, &count, &named, why, sizeof why), 0, "%s",
                 why);
    cr_assert_eq(count, 2);
    cr_assert_str_eq(list[0].name, "node.example");
    cr_assert_eq(list[1].host, MULTIADDR_IP6);
    static const char *const bad[] = {
        "node.example:4001",
        "/ip4/1.2.3.4/udp/4001/quic-v1",
        "/ip4/1.2.3.4/tcp/4001 /ip4/1.2.3.4",
        "/ip4/1.2.3.4/tcp/1/p2p/12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        snprintf(settings.bitswap_announce, sizeof settings.bitswap_announce, "%s", bad[i]);
        count = 77;
        cr_assert_eq(settings_announced(&settings, list, &count, &named, why, sizeof why),
                     OPTION_BAD, "%s", bad[i]);
        cr_assert_eq(count, 77);
        cr_assert_str_eq(named, "bitswap.announce");
        cr_assert_eq(strncmp(why, "bitswap.announce: ", 18), 0, "%s", why);
    }
    settings.bitswap_announce[0] = '\0';
    for (int i = 0; i <= SETTINGS_ANNOUNCE_MAX; i++) {
        size_t used = strlen(settings.bitswap_announce);
        snprintf(settings.bitswap_announce + used, sizeof settings.bitswap_announce - used,
                 "/ip4/1.2.3.4/tcp/%d ", i);
    }
    cr_assert_eq(settings_announced(&settings, list, &count, &named, why, sizeof why), OPTION_BAD);
}

Test(settings, sixteen_listeners_fit_and_seventeen_do_not) {
    struct listener_address list[SETTINGS_LISTENERS_MAX];
    uint32_t count = 0;
    char text[1024] = "";
    for (int i = 0; i < SETTINGS_LISTENERS_MAX; i++) {
        size_t used = strlen(text);
        snprintf(text + used, sizeof text - used, "127.0.0.1:%d ", 7000 + i);
    }
    cr_assert_eq(listeners(text, list, &count), 0);
    cr_assert_eq(count, SETTINGS_LISTENERS_MAX);
    cr_assert_eq(both_listeners(text, "127.0.0.1:9", list, &count), OPTION_BAD);
    cr_assert_str_eq(named, "bitswap.listen", "the bound is for both together");
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, "127.0.0.1:9");
    cr_assert_eq(listeners(text, list, &count), OPTION_BAD);
}

static const char *checked(const struct settings *settings) {
    const char *name = NULL;
    return settings_check(settings, &name, why, sizeof why) == 0 ? NULL : name;
}

Test(settings, the_check_names_the_row_that_is_wrong) {
    struct settings settings = defaults();
    settings.store_segment_bytes = 5 * MiB;
    cr_assert_str_eq(checked(&settings), "store.segment_size");
    settings.store_segment_bytes = 2 * MiB;
    cr_assert_str_eq(checked(&settings), "store.segment_size");
    settings.store_segment_bytes = 4 * MiB;
    cr_assert_null(checked(&settings));
    snprintf(settings.cores_net, sizeof settings.cores_net, "0-");
    cr_assert_str_eq(checked(&settings), "cores.net");
    snprintf(settings.cores_net, sizeof settings.cores_net, "0-3,8");
    snprintf(settings.cores_sched, sizeof settings.cores_sched, "1-2");
    cr_assert_str_eq(checked(&settings), "cores.sched");
    snprintf(settings.cores_sched, sizeof settings.cores_sched, "4");
    snprintf(settings.tlv_listen, sizeof settings.tlv_listen, "nowhere");
    cr_assert_str_eq(checked(&settings), "tlv.listen");
    settings = defaults();
    snprintf(settings.bitswap_listen, sizeof settings.bitswap_listen, "nowhere");
    cr_assert_str_eq(checked(&settings), "bitswap.listen");
    settings = defaults();
    snprintf(settings.bitswap_announce, sizeof settings.bitswap_announce, "nowhere");
    cr_assert_str_eq(checked(&settings), "bitswap.announce");
    settings = defaults();
    settings.bitswap_low_water = settings.bitswap_high_water + 1;
    cr_assert_str_eq(checked(&settings), "bitswap.low_water");
    settings.bitswap_low_water = settings.bitswap_high_water;
    cr_assert_null(checked(&settings));
}
