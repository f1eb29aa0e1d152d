/* SPDX-License-Identifier: MIT */
#include "base/clock.h"
#include "base/must.h"
#include "tools/client/client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Addresses, the socket, and HELLO. */

struct endpoint {
    char host[256];
    char port[8];
};

/* "HOST:PORT" or "[HOST]:PORT". Returns: whether it is one. */
static bool endpoint_parse(const char *address, struct endpoint *ret_endpoint) {
    const char *colon = strrchr(address, ':');
    if (!colon || colon == address) {
        return false;
    }
    size_t host_bytes = (size_t)(colon - address);
    size_t port_bytes = strlen(colon + 1);
    if (address[0] == '[') {
        if (host_bytes < 3 || colon[-1] != ']') {
            return false;
        }
        address++;
        host_bytes -= 2;
    } else if (memchr(address, ':', host_bytes)) {
        return false; /* a bare IPv6 address: where its port begins is anybody's guess */
    }
    if (host_bytes >= sizeof ret_endpoint->host || port_bytes == 0 ||
        port_bytes >= sizeof ret_endpoint->port || strspn(colon + 1, "0123456789") != port_bytes) {
        return false;
    }
    memcpy(ret_endpoint->host, address, host_bytes);
    ret_endpoint->host[host_bytes] = '\0';
    memcpy(ret_endpoint->port, colon + 1, port_bytes + 1);
    return true;
}

/* Returns: 0, MR_TIMEOUT, -errno. */
static int finish_connect(int fd, uint64_t deadline_ns) {
    for (;;) {
        uint64_t now_ns = clock_ns();
        if (now_ns >= deadline_ns) {
            return MR_TIMEOUT;
        }
        struct pollfd waiting = {.fd = fd, .events = POLLOUT};
        int r = poll(&waiting, 1, (int)((deadline_ns - now_ns) / NS_PER_MS + 1));
        if (r < 0 && errno != EINTR) {
            return -errno;
        }
        if (r > 0) {
            int error = 0;
            socklen_t error_bytes = sizeof error;
            if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_bytes) < 0) {
                return -errno;
            }
            return -error;
        }
    }
}

static int connect_one(const struct addrinfo *to, uint64_t deadline_ns, int *ret_fd) {
    int fd = socket(to->ai_family, to->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, to->ai_protocol);
    if (fd < 0) {
        return -errno;
    }
    int r = connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : -errno;
    if (r == -EINPROGRESS) {
        r = finish_connect(fd, deadline_ns);
    }
    if (r != 0) {
        close(fd);
        return r;
    }
    /* A request is small and waited for: it must not wait for company. */
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    *ret_fd = fd;
    return 0;
}

static int connect_any(struct mr_client *client, const char *address, uint64_t deadline_ns) {
    struct endpoint endpoint;
    if (!endpoint_parse(address, &endpoint)) {
        return client_say(client, MR_BAD_ARGUMENT, "'%s' is not HOST:PORT", address);
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int r = getaddrinfo(endpoint.host, endpoint.port, &hints, &found);
    if (r != 0) {
        return client_say(client, -EHOSTUNREACH, "%s: %s", address, gai_strerror(r));
    }
    r = -EHOSTUNREACH;
    for (struct addrinfo *to = found; to && r != 0 && r != MR_TIMEOUT; to = to->ai_next) {
        r = connect_one(to, deadline_ns, &client->fd);
    }
    freeaddrinfo(found);
    return r == 0 ? 0 : client_say(client, r, "%s: %s", address, mr_result_text(r));
}

static int hello(struct mr_client *client, uint64_t deadline_ns) {
    const struct mr_options *options = &client->options;
    struct tlv_credentials credentials = {
        .name = (const uint8_t *)options->name,
        .name_bytes = options->name ? (uint32_t)strlen(options->name) : 0,
        .token = options->token,
        .token_bytes = (uint32_t)options->token_size,
    };
    uint32_t index;
    int r = slot_take(client, KIND_HELLO, &index);
    if (r != 0) {
        return r;
    }
    client->slots[index].blocking = true;
    uint8_t *room = client_out_room(client, TLV_REQUEST_MAX + TLV_HELLO_BODY_MAX);
    uint8_t body[TLV_HELLO_BODY_MAX];
    size_t body_bytes = 0;
    if (options->name || options->token) {
        body_bytes = tlv_credentials_write(&credentials, body);
    }
    if (!room) {
        slot_release(client, index);
        return client_say(client, -ENOMEM, "out of memory");
    }
    struct tlv_request request = {
        .type = TLV_HELLO,
        .id = slot_id(client, index),
        .version = TLV_VERSION,
        .class = (uint8_t)options->class_,
        .body_bytes = (uint32_t)body_bytes,
    };
    size_t head = tlv_request_write(&request, NULL, room);
    memcpy(room + head, body, body_bytes);
    client_out_push(client, head + body_bytes);
    r = client_wait(client, index, deadline_ns);
    if (r == MR_TIMEOUT || (r < 0 && client->slots[index].state != SLOT_DONE)) {
        return r;
    }
    if (r != 0) {
        client->fault = client->slots[index].done.fault;
        client_say(client, r, "%s", client->slots[index].text);
    }
    slot_release(client, index);
    return r;
}

static int options_check(struct mr_client *client, const struct mr_options *options) {
    if (options->class_ != MR_CLASS_DEFAULT &&
        (options->class_ < MR_CRITICAL || options->class_ > MR_LOW)) {
        return client_say(client, MR_BAD_ARGUMENT, "%d is no class", options->class_);
    }
    size_t name_bytes = options->name ? strlen(options->name) : 0;
    if (name_bytes > TLV_NAME_MAX || options->token_size > TLV_HELLO_BODY_MAX - 2 - name_bytes ||
        (options->token_size > 0 && !options->token)) {
        return client_say(client, MR_BAD_ARGUMENT, "credentials longer than the protocol allows");
    }
    return 0;
}

int mr_connect(struct mr_client *client, const char *address, const struct mr_options *options) {
    struct mr_options plain;
    mr_options_default(&plain);
    options = options ? options : &plain;
    mr_disconnect(client);
    int r = options_check(client, options);
    if (r != 0) {
        return r;
    }
    client->options = *options;
    client->server = (struct mr_server){.block_max = TLV_BLOCK_MAX};
    client->fault = 0;
    client->lost[0] = '\0';
    uint64_t deadline_ns = clock_ns() + options->connect_timeout_ms * NS_PER_MS;
    r = connect_any(client, address, deadline_ns);
    if (r == 0) {
        r = hello(client, deadline_ns);
        if (r != 0) {
            mr_disconnect(client);
        }
    }
    client->options.name = NULL;
    client->options.token = NULL;
    client->options.token_size = 0;
    return r;
}
