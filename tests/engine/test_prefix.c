/* SPDX-License-Identifier: MIT */
#include "engine/swarm/prefix.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

static struct prefix of(const char *text) {
    struct sockaddr_in ip4 = {.sin_family = AF_INET};
    struct sockaddr_in6 ip6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &ip4.sin_addr) == 1) {
        return prefix_of((struct sockaddr *)&ip4);
    }
    cr_assert_eq(inet_pton(AF_INET6, text, &ip6.sin6_addr), 1);
    return prefix_of((struct sockaddr *)&ip6);
}

static struct prefix_table *table_make(uint32_t connections_max, uint32_t each_max) {
    struct prefix_config config = {
        .connections_max = connections_max, .each_max = each_max, .salt = 99};
    struct prefix_table *table = calloc(1, sizeof *table);
    prefix_init(table, aligned_alloc(CACHE_LINE, prefix_footprint(&config)), &config);
    return table;
}

static void table_free(struct prefix_table *table) {
    free(table->slots);
    free(table);
}

Test(prefix, is_an_ip4_address_or_an_ip6_56) {
    cr_assert_neq(of("10.0.0.1").bits, of("10.0.0.2").bits);
    cr_assert_eq(of("::ffff:10.0.0.1").bits, of("10.0.0.1").bits);
    cr_assert_eq(of("2001:db8:1:aa00::1").bits, of("2001:db8:1:aaff:9::2").bits);
    cr_assert_neq(of("2001:db8:1:aa00::1").bits, of("2001:db8:1:ab00::1").bits);
    cr_assert_neq(of("::10.0.0.1").bits, of("10.0.0.1").bits);
    cr_assert(of("10.0.0.1").counted);
    cr_assert(of("2001:db8::1").counted);
}

Test(prefix, does_not_count_loopback_or_what_is_no_ip) {
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    cr_assert_not(of("127.0.0.1").counted);
    cr_assert_not(of("127.9.9.9").counted);
    cr_assert_not(of("::1").counted);
    cr_assert_not(of("::ffff:127.0.0.1").counted);
    cr_assert_not(prefix_of((struct sockaddr *)&un).counted);
    struct prefix_table *table = table_make(2, 1);
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert(prefix_take(table, of("127.0.0.1")));
    }
    prefix_give_back(table, of("127.0.0.1"));
    cr_assert_eq(table->used, 0);
    table_free(table);
}

Test(prefix, refuses_above_its_bound_until_one_is_given_back) {
    struct prefix_table *table = table_make(16, 2);
    struct prefix one = of("10.0.0.1");
    cr_assert(prefix_take(table, one));
    cr_assert(prefix_take(table, one));
    cr_assert_not(prefix_take(table, one));
    cr_assert(prefix_take(table, of("10.0.0.2")));
    prefix_take_any(table, one);
    cr_assert_eq(prefix_count(table, one), 3);
    prefix_give_back(table, one);
    cr_assert_not(prefix_take(table, one));
    prefix_give_back(table, one);
    cr_assert(prefix_take(table, one));
    table_free(table);
    table = table_make(16, 0);
    for (uint32_t i = 0; i < 100; i++) {
        cr_assert(prefix_take(table, one), "0 is no bound");
    }
    table_free(table);
}

/* Slots are found again whatever was taken and given back in between. */
Test(prefix, agrees_with_plain_counts_over_random_calls) {
    struct prefix_table *table = table_make(64, 5);
    uint32_t counts[64] = {0}, total = 0;
    uint64_t random = 3;
    for (uint32_t i = 0; i < 200000; i++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
        uint32_t at = (uint32_t)(random >> 40) % 64;
        struct prefix prefix = {.bits = UINT64_C(1) << 58 | at, .counted = true};
        if ((random >> 60) % 2 == 0 && total < 64) {
            bool took = prefix_take(table, prefix);
            cr_assert_eq(took, counts[at] < 5);
            counts[at] += took;
            total += took;
        } else if (counts[at] > 0) {
            prefix_give_back(table, prefix);
            counts[at]--;
            total--;
        }
        uint32_t other = (uint32_t)(random >> 34) % 64;
        struct prefix another = {.bits = UINT64_C(1) << 58 | other, .counted = true};
        cr_assert_eq(prefix_count(table, another), counts[other]);
    }
    table_free(table);
}
