/* SPDX-License-Identifier: MIT */
/* What tools/load/bitswap/swarm_options.c makes of a command line. */
#include "tools/load/bitswap/swarm_plan.h"

#include "tools/load/options.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct swarm_plan plan;
static char why[400];

static int read_line(const char *line) {
    static char copy[400];
    char *words[40] = {"bitswap"}, *rest = NULL;
    int count = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        words[count++] = word;
    }
    why[0] = '\0';
    return swarm_options(count, words, &plan, why, sizeof why);
}

static void refused(const char *line, const char *words) {
    cr_assert_eq(read_line(line), OPTIONS_BAD, "%s", line);
    cr_assert(strstr(why, words) != NULL, "%s: %s", line, why);
}

Test(swarm_options, a_multiaddr_says_where_and_who) {
    cr_assert_eq(read_line("--to /ip4/127.0.0.1/tcp/4001/p2p/"
                           "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq"),
                 0, "%s", why);
    const struct sockaddr_in *to = (const struct sockaddr_in *)(const void *)&plan.plan.to;
    cr_assert_eq(to->sin_family, AF_INET);
    cr_assert_eq(ntohs(to->sin_port), 4001);
    cr_assert_eq(to->sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    cr_assert_gt(plan.expected.count, 0);
    cr_assert_eq(read_line("--to /ip6/::1/tcp/4001"), 0, "%s", why);
    cr_assert_eq(plan.plan.to.ss_family, AF_INET6);
    cr_assert_eq(plan.expected.count, 0);
    cr_assert_eq(read_line("--to 127.0.0.1:4001"), 0, "%s", why);
    refused("--to /ip4/127.0.0.1/udp/4001/quic-v1", "--to");
    refused("--to 127.0.0.1", "ADDR:PORT");
    refused("", "--to ADDR is missing");
}

Test(swarm_options, what_is_not_said_has_its_default) {
    cr_assert_eq(read_line("--to 127.0.0.1:1"), 0);
    cr_assert_eq(plan.plan.conns, 50);
    cr_assert_eq(plan.active, 50);
    cr_assert_eq(plan.plan.depth, 64);
    cr_assert_eq(plan.plan.size, 1024);
    cr_assert_eq(plan.verify_percent, 100);
    cr_assert_eq(plan.security, SECURE_NOISE);
    cr_assert_eq(plan.fill_to_bytes, 0);
    cr_assert_eq(plan.priority_count, 1);
}

Test(swarm_options, everything_that_can_be_said_is_kept) {
    cr_assert_eq(read_line("--to 127.0.0.1:1 --conns 100 --active 10 --security tls --verify 25% "
                           "--priorities 5,-1,2147483647 --cancels 0.25 --mix 3:1 --dialing 7 "
                           "--tlv 127.0.0.1:2 --rate 5000 --keys 1k00"),
                 OPTIONS_BAD);
    cr_assert_eq(read_line("--to 127.0.0.1:1 --conns 100 --active 10 --security tls --verify 25% "
                           "--priorities 5,-1,2147483647 --cancels 0.25 --mix 3:1 --dialing 7 "
                           "--tlv 127.0.0.1:2 --rate 5000 --keys 1000"),
                 0, "%s", why);
    cr_assert_eq(plan.active, 10);
    cr_assert_eq(plan.security, SECURE_TLS);
    cr_assert_eq(plan.verify_percent, 25);
    cr_assert_eq(plan.priority_count, 3);
    cr_assert_eq(plan.priorities[1], -1);
    cr_assert_eq(plan.priorities[2], INT32_MAX);
    cr_assert_eq(plan.cancels, 0.25);
    cr_assert_eq(plan.plan.reads, 3);
    cr_assert_eq(plan.plan.writes, 1);
    cr_assert_eq(plan.dialing, 7);
    cr_assert_gt(plan.fill_to_bytes, 0);
    cr_assert_str_eq(plan.fill_to_text, "127.0.0.1:2");
    cr_assert_str_eq(plan.plan.to_text, "127.0.0.1:1");
    cr_assert_eq(read_line("--to 127.0.0.1:1 --active 100"), 0);
    cr_assert_eq(plan.active, 50, "no more than there are");
}

Test(swarm_options, what_makes_no_sense_is_refused_with_a_reason) {
    refused("--to 127.0.0.1:1 --security rot13", "noise or tls");
    refused("--to 127.0.0.1:1 --verify 101%", "--verify");
    refused("--to 127.0.0.1:1 --verify often", "--verify");
    refused("--to 127.0.0.1:1 --cancels 1", "--cancels");
    refused("--to 127.0.0.1:1 --priorities 1,x", "--priorities");
    refused("--to 127.0.0.1:1 --priorities 99999999999", "--priorities");
    refused("--to 127.0.0.1:1 --size 4MiB", "2 MiB");
    refused("--to 127.0.0.1:1 --keys 100 --depth 64", "--keys");
    refused("--to 127.0.0.1:1 --cids x --tlv 127.0.0.1:2", "--cids");
    refused("--to 127.0.0.1:1 --hostile kindness", "no attack");
    refused("--to 127.0.0.1:1 --what", "no option");
    refused("--to 127.0.0.1:1 more", "one word too many");
    refused("--to 127.0.0.1:1 --active 0", "--active");
    cr_assert_eq(read_line("--help"), OPTIONS_HELP);
}
