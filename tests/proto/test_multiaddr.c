/* SPDX-License-Identifier: MIT */
#include "proto/libp2p/multiaddr.h"

#include "base/multibase.h"

#include <criterion/criterion.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PEER     "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"
#define PEER_HEX "0024080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"

static const struct {
    const char *text, *hex;
} vectors[] = {
    {"/ip4/127.0.0.1/tcp/4001", "047f000001060fa1"},
    {"/ip4/127.0.0.1/tcp/4001/p2p/" PEER, "047f000001060fa1a50326" PEER_HEX},
    {"/ip6/::1/tcp/80", "2900000000000000000000000000000001060050"},
    {"/ip6/2001:db8::5/tcp/65535/p2p/" PEER,
     "2920010db800000000000000000000000506ffffa50326" PEER_HEX},
    {"/dns/a.example/tcp/1", "3509612e6578616d706c65060001"},
    {"/dns4/b/tcp/0", "360162060000"},
    {"/dns6/xn--bcher-kva.example./tcp/443",
     "3716786e2d2d62636865722d6b76612e6578616d706c652e0601bb"},
};

static size_t unhex(const char *text, uint8_t *out, size_t room) {
    size_t count;
    cr_assert_eq(multibase_read('f', text, strlen(text), out, room, &count), 0);
    return count;
}

Test(multiaddr, text_and_bytes_of_an_address_are_one_and_the_same) {
    for (size_t i = 0; i < array_count(vectors); i++) {
        struct multiaddr parsed, read;
        uint8_t bytes[MULTIADDR_BYTES_MAX], out[MULTIADDR_BYTES_MAX];
        char text[MULTIADDR_TEXT_MAX], why[160];
        size_t count = unhex(vectors[i].hex, bytes, sizeof bytes);
        cr_assert_eq(multiaddr_parse(vectors[i].text, &parsed, why, sizeof why), 0);
        cr_assert_eq(multiaddr_read(bytes, count, &read), 0, "%s", vectors[i].text);
        cr_assert_eq(memcmp(&parsed, &read, sizeof read), 0, "%s", vectors[i].text);
        cr_assert_eq(multiaddr_write(&parsed, out), count);
        cr_assert_eq(memcmp(out, bytes, count), 0, "%s", vectors[i].text);
        cr_assert_eq(multiaddr_format(&read, text), strlen(vectors[i].text));
        cr_assert_str_eq(text, vectors[i].text);
    }
}

Test(multiaddr, fields_are_what_was_said) {
    struct multiaddr address;
    cr_assert_eq(multiaddr_parse("/ip4/10.1.2.3/tcp/7412/ipfs/" PEER "/", &address, NULL, 0), 0);
    cr_assert_eq(address.host, MULTIADDR_IP4);
    cr_assert_eq(memcmp(address.address, "\x0a\x01\x02\x03", 4), 0);
    cr_assert_eq(address.port, 7412);
    cr_assert_eq(address.peer.count, 38);
    cr_assert_eq(multiaddr_parse("/dns4/node.example/tcp/9", &address, NULL, 0), 0);
    cr_assert_eq(address.host, MULTIADDR_DNS4);
    cr_assert_str_eq(address.name, "node.example");
    cr_assert_eq(address.peer.count, 0);
}

/* The outcome; a refusal says why. */
static int parse(const char *text) {
    struct multiaddr address = {.port = 99};
    char why[200] = "";
    int r = multiaddr_parse(text, &address, why, sizeof why);
    cr_assert(r == 0 || strlen(why) > 0, "%s", text);
    cr_assert(r == 0 || address.port == 99, "untouched unless it succeeds");
    cr_assert(r != 0 || strlen(why) == 0);
    for (const char *c = why; *c; c++) {
        cr_assert(*c >= ' ' && *c <= '~', "%s", text);
    }
    return r;
}

Test(multiaddr, addresses_of_other_protocols_are_passed_over) {
    static const char *const others[] = {
        "/ip4/1.2.3.4/udp/4001/quic-v1",
        "/ip4/1.2.3.4/udp/4001/quic-v1/p2p/" PEER,
        "/ip4/1.2.3.4/udp/4001/quic-v1/webtransport/certhash/uEiDikp5KVUgkLta1EjUN-IKb/p2p/" PEER,
        "/ip4/1.2.3.4/tcp/4001/ws",
        "/dns4/a.example/tcp/443/wss/p2p/" PEER,
        "/dns/a.example/tcp/443/tls/sni/b.example/ws",
        "/ip4/1.2.3.4/tcp/4001/p2p/" PEER "/p2p-circuit/p2p/" PEER,
        "/dnsaddr/bootstrap.libp2p.io/p2p/" PEER,
        "/unix/run/some/socket",
        "/p2p/" PEER,
        "/ip4/1.2.3.4",
        "/tcp/80",
        "/ip4/1.2.3.4/ip4/1.2.3.4/tcp/80",
        "/ip4/1.2.3.4/p2p/" PEER,
    };
    for (size_t i = 0; i < array_count(others); i++) {
        cr_assert_eq(parse(others[i]), MULTIADDR_OTHER, "%s", others[i]);
    }
    struct multiaddr address;
    char words[200] = "";
    cr_assert_eq(multiaddr_parse("/dnsaddr/a.example", &address, words, sizeof words),
                 MULTIADDR_OTHER);
    cr_assert(strstr(words, "a list in the DNS") != NULL, "%s", words);
}

Test(multiaddr, text_that_is_no_address_is_refused) {
    static const char *const bad[] = {
        "",
        "/",
        "//",
        "ip4/1.2.3.4/tcp/80",
        "1.2.3.4:80",
        "/ip4/1.2.3.4/tpc/80",
        "/ip4/1.2.3.4//tcp/80",
        "/ip4/1.2.3.4/tcp/80//",
        "/ip4/1.2.3/tcp/80",
        "/ip4/1.2.3.256/tcp/80",
        "/ip4//tcp/80",
        "/ip4",
        "/ip4/",
        "/ip4/1.2.3.4/tcp",
        "/ip4/1.2.3.4/tcp/65536",
        "/ip4/1.2.3.4/tcp/100000",
        "/ip4/1.2.3.4/tcp/-1",
        "/ip4/1.2.3.4/tcp/ 80",
        "/ip6/fe80::1%eth0/tcp/80",
        "/ip6zone/eth0/ip6/fe80::1/tcp/80",
        "/ip6/1.2.3.4/tcp/80",
        "/dns/a b/tcp/80",
        "/dns/b\xc3\xbc"
        "cher.example/tcp/80",
        "/ip4/1.2.3.4/tcp/80/p2p/",
        "/ip4/1.2.3.4/tcp/80/p2p/12D3KooW",
        "/ip4/1.2.3.4/tcp/80/\x1b[31m",
        "/IP4/1.2.3.4/tcp/80",
    };
    for (size_t i = 0; i < array_count(bad); i++) {
        cr_assert_eq(parse(bad[i]), MULTIADDR_BAD, "%s", bad[i]);
    }
}

static void dns_text(char *out, size_t room, size_t name) {
    char host[300];
    memset(host, 'a', name);
    host[name] = 0;
    snprintf(out, room, "/dns4/%s/tcp/65535/p2p/%s", host, PEER);
}

Test(multiaddr, the_longest_address_fits_its_room_and_a_longer_one_is_refused) {
    struct multiaddr address, again;
    char text[600], out[MULTIADDR_TEXT_MAX];
    uint8_t bytes[MULTIADDR_BYTES_MAX];
    dns_text(text, sizeof text, MULTIADDR_NAME_MAX - 1);
    cr_assert_eq(multiaddr_parse(text, &address, NULL, 0), 0);
    cr_assert_eq(multiaddr_format(&address, out), strlen(text));
    size_t count = multiaddr_write(&address, bytes);
    cr_assert_eq(multiaddr_read(bytes, count, &again), 0);
    cr_assert_str_eq(again.name, address.name);
    dns_text(text, sizeof text, MULTIADDR_NAME_MAX);
    cr_assert_eq(parse(text), MULTIADDR_BAD);
    memset(text, 'x', sizeof text);
    text[0] = '/';
    text[sizeof text - 1] = 0;
    cr_assert_eq(parse(text), MULTIADDR_BAD);
    text[0] = 0;
    for (int i = 0; i < 60; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), "/ws");
    }
    cr_assert_eq(parse(text), MULTIADDR_BAD, "too many parts");
}

static int read_hex(const char *hex) {
    uint8_t bytes[600];
    struct multiaddr address;
    size_t count = unhex(hex, bytes, sizeof bytes);
    return multiaddr_read(bytes, count, &address);
}

Test(multiaddr, bytes_that_are_cut_off_are_bad_or_an_address_with_less) {
    uint8_t bytes[MULTIADDR_BYTES_MAX];
    size_t count = unhex(vectors[1].hex, bytes, sizeof bytes);
    for (size_t i = 0; i < count; i++) {
        struct multiaddr address;
        int r = multiaddr_read(bytes, i, &address);
        int expected = i == 8 ? 0 : i == 5 ? MULTIADDR_OTHER : MULTIADDR_BAD;
        cr_assert_eq(r, expected, "cut to %zu", i);
    }
}

Test(multiaddr, bytes_of_other_protocols_are_passed_over_and_odd_ones_refused) {
    cr_assert_eq(read_hex("0401020304"
                          "910210e1"
                          "cd03"),
                 MULTIADDR_OTHER, "udp, quic-v1");
    cr_assert_eq(read_hex("0401020304"
                          "060050"
                          "dd03"),
                 MULTIADDR_OTHER, "ws");
    cr_assert_eq(read_hex("0401020304"
                          "060050"
                          "ffff7f"),
                 MULTIADDR_OTHER, "nobody's code");
    cr_assert_eq(read_hex("0401020304"
                          "060050"
                          "8600"),
                 MULTIADDR_BAD, "a code spelt long");
    cr_assert_eq(read_hex("2a0465746830"), MULTIADDR_BAD, "a zone");
    cr_assert_eq(read_hex("3500060050"), MULTIADDR_BAD, "a host without a name");
    cr_assert_eq(read_hex("35026100060050"), MULTIADDR_BAD, "a NUL in a name");
    cr_assert_eq(read_hex("3502612f060050"), MULTIADDR_BAD, "a slash in a name");
    cr_assert_eq(read_hex("0401020304"
                          "060050"
                          "a5030100"),
                 MULTIADDR_BAD, "a peer cut off");
    cr_assert_eq(read_hex("0401020304"
                          "060050"
                          "a503ffffffff7f00"),
                 MULTIADDR_BAD, "34 GB");
    char many[2 * 40 * 2 + 1] = "";
    for (int i = 0; i < 40; i++) {
        snprintf(many + 4 * i, 5, "dd03");
    }
    cr_assert_eq(read_hex(many), MULTIADDR_BAD, "too many parts");
}
