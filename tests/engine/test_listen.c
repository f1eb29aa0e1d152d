/* SPDX-License-Identifier: MIT */
#include "engine/listen.h"

#include "engine/engine_private.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct engine *engine;
static char why[512];

static void setup(void) {
    engine = aligned_alloc(CACHE_PAIR, (sizeof *engine + CACHE_PAIR - 1) / CACHE_PAIR * CACHE_PAIR);
    memset(engine, 0, sizeof *engine);
    option_defaults(settings_table, settings_rows, &engine->settings);
}

static void teardown(void) {
    listen_close(engine);
    free(engine);
}

TestSuite(listen, .init = setup, .fini = teardown);

static int open_on(const char *listeners) {
    (void)snprintf(engine->settings.tlv_listen, sizeof engine->settings.tlv_listen, "%s",
                   listeners);
    why[0] = '\0';
    int r = listen_open(engine, why, sizeof why);
    return r == 0 ? listen_start(engine, why, sizeof why) : r;
}

static int connected(uint16_t port) {
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static int option_of(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    cr_assert_eq(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

Test(listen, port_zero_takes_one_and_says_which) {
    cr_assert_eq(open_on("127.0.0.1:0"), 0, "%s", why);
    cr_assert_eq(engine->listener_count, 1);
    uint16_t port = engine->listeners[0].address.port;
    cr_assert_neq(port, 0);
    close(connected(port));
    cr_assert_eq(engine->listeners[0].address.ceiling, CLASS_CRITICAL);
}

Test(listen, each_of_several_has_a_port_of_its_own) {
    cr_assert_eq(open_on("127.0.0.1:0 127.0.0.1:0,ceiling=low"), 0, "%s", why);
    cr_assert_eq(engine->listener_count, 2);
    cr_assert_neq(engine->listeners[0].address.port, engine->listeners[1].address.port);
    cr_assert_eq(engine->listeners[1].address.ceiling, CLASS_LOW);
}

Test(listen, peers_of_ipfs_have_listeners_of_their_own) {
    (void)snprintf(engine->settings.bitswap_listen, sizeof engine->settings.bitswap_listen,
                   "127.0.0.1:0");
    cr_assert_eq(open_on("127.0.0.1:0"), 0, "%s", why);
    cr_assert_eq(engine->listener_count, 2);
    cr_assert_eq(engine->listeners[0].address.protocol, LISTENER_TLV);
    cr_assert_eq(engine->listeners[1].address.protocol, LISTENER_BITSWAP);
    cr_assert_neq(engine->listeners[1].address.port, 0);
    close(connected(engine->listeners[1].address.port));
}

Test(listen, ipv6_loopback_listens_where_the_host_has_it) {
    int probe = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    if (probe < 0 || bind(probe, (struct sockaddr *)&any, sizeof any) != 0) {
        cr_skip_test("no IPv6 loopback here");
    }
    close(probe);
    cr_assert_eq(open_on("[::1]:0"), 0, "%s", why);
    cr_assert_neq(engine->listeners[0].address.port, 0);
}

Test(listen, who_comes_before_the_start_is_refused) {
    cr_assert_eq(open_on("127.0.0.1:0"), 0, "%s", why);
    listen_close(engine);
    cr_assert_eq(listen_open(engine, why, sizeof why), 0, "%s", why);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons(engine->listeners[0].address.port)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), -1);
    close(fd);
    cr_assert_eq(listen_start(engine, why, sizeof why), 0, "%s", why);
    close(connected(engine->listeners[0].address.port));
}

Test(listen, a_taken_port_is_named) {
    cr_assert_eq(open_on("127.0.0.1:0"), 0);
    uint16_t port = engine->listeners[0].address.port;
    int held = engine->listeners[0].fd;
    engine->listener_count = 0;
    char again[64], with_port[16];
    (void)snprintf(again, sizeof again, "127.0.0.1:%u", port);
    (void)snprintf(with_port, sizeof with_port, ":%u", port);
    cr_assert_eq(open_on(again), ENGINE_HOST);
    cr_assert(strstr(why, with_port), "%s", why);
    cr_assert(strstr(why, "in use"), "%s", why);
    cr_assert_eq(engine->listener_count, 0);
    close(held);
}

Test(listen, those_opened_before_one_failed_are_closed_again) {
    int probe = dup(0);
    close(probe);
    cr_assert_eq(open_on("127.0.0.1:0"), 0);
    char both[64];
    (void)snprintf(both, sizeof both, "127.0.0.1:0 127.0.0.1:%u",
                   engine->listeners[0].address.port);
    int held = engine->listeners[0].fd;
    engine->listener_count = 0;
    cr_assert_eq(open_on(both), ENGINE_HOST);
    listen_close(engine);
    close(held);
    int after = dup(0);
    close(after);
    cr_assert_eq(after, probe, "a descriptor is left");
}

Test(listen, an_address_of_another_machine_is_refused) {
    cr_assert_eq(open_on("192.0.2.1:0"), ENGINE_HOST);
    cr_assert(strstr(why, "192.0.2.1"), "%s", why);
}

Test(listen, what_is_no_listener_is_a_matter_of_configuration) {
    const char *bad[] = {"",          "nowhere",         "example.org:1",
                         "127.0.0.1", "127.0.0.1:99999", "127.0.0.1:1,ceiling=huge"};
    for (size_t i = 0; i < array_count(bad); i++) {
        cr_assert_eq(open_on(bad[i]), ENGINE_CONFIG, "%s", bad[i]);
        cr_assert_gt(strlen(why), 10, "a sentence: %s", why);
    }
}

Test(listen, connections_inherit_the_options) {
    cr_assert_eq(open_on("127.0.0.1:0"), 0);
    int fd = engine->listeners[0].fd;
    cr_assert_neq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    cr_assert_neq(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    int peer = connected(engine->listeners[0].address.port);
    int near = accept(fd, NULL, NULL);
    cr_assert_geq(near, 0);
    cr_assert_eq(option_of(near, IPPROTO_TCP, TCP_NODELAY), 1);
    cr_assert_eq(option_of(near, SOL_SOCKET, SO_KEEPALIVE), 1);
    close(near);
    close(peer);
}

static void *let_go_soon(void *fd) {
    (void)poll(NULL, 0, 100); /* not waited for: the port may as well be free sooner */
    close(*(int *)fd);
    return NULL;
}

/* The kernel closes what a killed daemon's ring was waiting for some time after the process. */
Test(listen, a_port_that_is_let_go_soon_is_waited_for) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    char listeners[32];
    pthread_t thread;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(listen(fd, 1), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)snprintf(listeners, sizeof listeners, "127.0.0.1:%u", ntohs(address.sin_port));
    cr_assert_eq(pthread_create(&thread, NULL, let_go_soon, &fd), 0);
    cr_assert_eq(open_on(listeners), 0, "%s", why);
    pthread_join(thread, NULL);
}
