/* SPDX-License-Identifier: MIT */
#include "engine/listen.h"

#include "base/clock.h"
#include "engine/engine_private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BIND_PATIENCE_NS NS_PER_S

static int complain(char *why, size_t why_bytes, const struct listener_address *address,
                    const char *what) {
    (void)snprintf(why, why_bytes, "listening on %s:%u: %s", address->host, address->port, what);
    return ENGINE_HOST;
}

static void set_option(int fd, int level, int name, int value) {
    (void)setsockopt(fd, level, name, &value, sizeof value); /* each is a help, none a need */
}

static void set_options(int fd) {
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 60);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 10);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
}

/* A daemon that was killed may hold its port for a moment more: the kernel lets go of what a ring
 * was waiting for after the process has ended. Returns: as bind(2). */
static int bind_patiently(int fd, const struct addrinfo *to) {
    uint64_t give_up = clock_ns() + BIND_PATIENCE_NS;
    int r;
    while ((r = bind(fd, to->ai_addr, to->ai_addrlen)) != 0 && errno == EADDRINUSE &&
           clock_ns() < give_up) {
        (void)poll(NULL, 0, 20);
        errno = EADDRINUSE;
    }
    return r;
}

/* What is wrong with an address, and what to do about it. */
static const char *bind_text(int error) {
    switch (error) {
    case EADDRINUSE:
        return "it is in use by another program ('ss -ltnp' names it): end it, or name another "
               "port";
    case EACCES:
        return "a port below 1024 takes CAP_NET_BIND_SERVICE: allow that, or name a higher one";
    case EADDRNOTAVAIL:
        return "that is no address of this host ('ip addr' lists them)";
    default:
        return strerror(error);
    }
}

static int open_one(struct listener *listener, char *why, size_t why_bytes) {
    struct listener_address *address = &listener->address;
    char port[8];
    (void)snprintf(port, sizeof port, "%u", address->port);
    struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int r = getaddrinfo(address->host, port, &hints, &found);
    if (r != 0) {
        return complain(why, why_bytes, address, gai_strerror(r));
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        freeaddrinfo(found);
        return complain(why, why_bytes, address, strerror(errno));
    }
    set_options(fd);
    r = bind_patiently(fd, found);
    int error = errno;
    freeaddrinfo(found);
    if (r != 0) {
        close(fd);
        return complain(why, why_bytes, address, bind_text(error));
    }
    struct sockaddr_storage bound;
    socklen_t length = sizeof bound;
    if (getsockname(fd, (struct sockaddr *)&bound, &length) == 0) {
        address->port =
            ntohs(bound.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&bound)->sin6_port
                                              : ((struct sockaddr_in *)(void *)&bound)->sin_port);
    }
    listener->fd = fd;
    return 0;
}

int listen_open(struct engine *engine, char *why, size_t why_bytes) {
    struct listener_address addresses[SETTINGS_LISTENERS_MAX];
    const char *row;
    uint32_t count = 0;
    if (settings_listeners(&engine->settings, addresses, &count, &row, why, why_bytes) != 0) {
        return ENGINE_CONFIG;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct listener *listener = &engine->listeners[i];
        *listener = (struct listener){.fd = -1, .address = addresses[i]};
        int r = open_one(listener, why, why_bytes);
        if (r != 0) {
            return r;
        }
        engine->listener_count++;
    }
    return 0;
}

int listen_start(struct engine *engine, char *why, size_t why_bytes) {
    for (uint32_t i = 0; i < engine->listener_count; i++) {
        const struct listener *listener = &engine->listeners[i];
        if (listen(listener->fd, (int)engine->settings.net_backlog) != 0) {
            return complain(why, why_bytes, &listener->address, strerror(errno));
        }
    }
    return 0;
}

void listen_close(struct engine *engine) {
    for (uint32_t i = 0; i < engine->listener_count; i++) {
        close(engine->listeners[i].fd);
    }
    engine->listener_count = 0;
}
