/* SPDX-License-Identifier: MIT */
#pragma once

/* fake_server — a TLV server that does what a test's script says, on a thread and a port of its
 * own. The script takes requests and sends whatever bytes it likes. */

#include "base/base.h"
#include "proto/tlv/tlv.h"

#include <pthread.h>

#define FAKE_BODY_MAX (5u << 20)

struct fake {
    void (*script)(struct fake *fake);
    void *user; /* the test's */
    int listener;
    int fd; /* of the connection being served */
    uint32_t credits;
    uint32_t block_max;
    uint32_t features; /* of its WELCOME; set by the script before it welcomes */
    char address[32];  /* for mr_connect */
    pthread_t thread;
};

struct fake_request {
    struct tlv_request head;
    struct key key;
    uint8_t *body; /* head.body_bytes; valid until the next take */
};

/* The script runs once, with the first connection accepted (fake->fd). */
void fake_start(struct fake *fake, void (*script)(struct fake *fake), void *user);
/* Waits for the script's end and closes everything. */
void fake_stop(struct fake *fake);

/* For scripts. */
bool fake_take(struct fake *fake, struct fake_request *ret_request); /* false: the client left */
void fake_send(struct fake *fake, const void *bytes, size_t count);
void fake_send_bytewise(struct fake *fake, const void *bytes, size_t count);
void fake_plain(struct fake *fake, enum tlv_type type, uint32_t id);
void fake_value(struct fake *fake, uint32_t id, const void *block, uint32_t bytes);
/* Takes the HELLO and welcomes it. */
void fake_welcome(struct fake *fake);
/* Closes this connection and accepts the next. */
void fake_next_connection(struct fake *fake);
/* Takes requests and answers nothing until the client leaves. */
void fake_swallow(struct fake *fake);
