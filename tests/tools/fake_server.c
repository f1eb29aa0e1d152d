/* SPDX-License-Identifier: MIT */
#include "tests/tools/fake_server.h"

#include "base/must.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t body[FAKE_BODY_MAX];

static void fake_accept(struct fake *fake) {
    int on = 1;
    fake->fd = accept(fake->listener, NULL, NULL);
    must(fake->fd >= 0);
    must(setsockopt(fake->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
}

static void *fake_run(void *argument) {
    struct fake *fake = argument;
    fake_accept(fake);
    fake->script(fake);
    if (fake->fd >= 0) {
        close(fake->fd);
    }
    return NULL;
}

void fake_start(struct fake *fake, void (*script)(struct fake *fake), void *user) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_bytes = sizeof address;
    *fake = (struct fake){.script = script, .user = user, .credits = 64, .block_max = 4u << 20};
    fake->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fake->listener >= 0);
    must(bind(fake->listener, (struct sockaddr *)&address, sizeof address) == 0);
    must(listen(fake->listener, 8) == 0);
    must(getsockname(fake->listener, (struct sockaddr *)&address, &address_bytes) == 0);
    snprintf(fake->address, sizeof fake->address, "127.0.0.1:%u", ntohs(address.sin_port));
    must(pthread_create(&fake->thread, NULL, fake_run, fake) == 0);
}

void fake_stop(struct fake *fake) {
    must(pthread_join(fake->thread, NULL) == 0);
    close(fake->listener);
}

static bool exact(struct fake *fake, uint8_t *out, size_t count) {
    while (count > 0) {
        ssize_t got = recv(fake->fd, out, count, 0);
        if (got <= 0) {
            return false;
        }
        out += got;
        count -= (size_t)got;
    }
    return true;
}

bool fake_take(struct fake *fake, struct fake_request *ret_request) {
    uint8_t frame[TLV_REQUEST_MAX];
    size_t used = 0;
    enum tlv_code code;
    if (!exact(fake, frame, 2) || !exact(fake, frame + 2, frame[1])) {
        return false;
    }
    must(tlv_request_read(frame, 2 + (size_t)frame[1], &ret_request->head, &ret_request->key, &used,
                          &code) == 0);
    ret_request->body = body;
    return exact(fake, body, ret_request->head.body_bytes);
}

/* The client may have left meanwhile: that is a test's business, not an error here. */
void fake_send(struct fake *fake, const void *bytes, size_t count) {
    const uint8_t *at = bytes;
    while (count > 0) {
        ssize_t sent = send(fake->fd, at, count, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        at += sent;
        count -= (size_t)sent;
    }
}

void fake_send_bytewise(struct fake *fake, const void *bytes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fake_send(fake, (const uint8_t *)bytes + i, 1);
    }
}

void fake_plain(struct fake *fake, enum tlv_type type, uint32_t id) {
    uint8_t frame[8];
    fake_send(fake, frame, tlv_plain(frame, type, id));
}

void fake_value(struct fake *fake, uint32_t id, const void *block, uint32_t bytes) {
    uint8_t head[TLV_VALUE_HEAD];
    fake_send(fake, head, tlv_value_head(head, id, 0x55, bytes, 0, bytes));
    fake_send(fake, block, bytes);
}

void fake_welcome(struct fake *fake) {
    struct fake_request request;
    uint8_t frame[TLV_REPLY_MAX];
    must(fake_take(fake, &request) && request.head.type == TLV_HELLO);
    uint8_t class = request.head.class <= 3 ? request.head.class : 2;
    fake_send(
        fake, frame,
        tlv_welcome(frame, request.head.id, class, fake->features, fake->credits, fake->block_max));
}

void fake_next_connection(struct fake *fake) {
    close(fake->fd);
    fake_accept(fake);
}

void fake_swallow(struct fake *fake) {
    struct fake_request request;
    while (fake_take(fake, &request)) {
    }
}
